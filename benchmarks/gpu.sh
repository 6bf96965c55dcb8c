#!/bin/sh
# What only a GPU can do, on a machine that has one, the most wanted first: the tests of the device loop, networks of up to
# a million cells, step responses a second, and NOBLE as published, trained for as long as there is time.
#
#   benchmarks/gpu.sh CACHE OUT [LIMIT]
#
# CACHE: a folder with datasets/noble-allen-pv-*.h5 (made by `noble-net dataset surrogate/recipes/noble-small.yaml` where
# NEURON is) and, to go on, training/noble-paper-*.* of an earlier piece. LIMIT: the minutes that all of it may take,
# default 10, of which the first three parts have about 4; networks of a million cells want 100 GB of memory. OUT gets
# targets.json with the new rows of the scoreboard, logs, the checkpoint of noble-paper, and the state of its training:
# weights, two moments and the best weights, 7.2 MB each. Copy OUT/state to CACHE/training/NAME (NAME is in
# OUT/state.txt) to go on on another machine; `noble-net evaluate` there says how accurate the core is.
# PYTHON: the interpreter with PyTorch for CUDA, neuraloperator, NEURON, bmtk, pytest, hypothesis and what else
# pyproject.toml asks for.
#
# What fails keeps nothing else from being run; it is named at the end, and the exit code is then 1.
set -eu
cache=$1
out=$2
limit=${3:-10}
python=${PYTHON:-python3}
started=$(date +%s)
NOBLE_NET_CACHE=$(cd "$cache" && pwd)
export NOBLE_NET_CACHE PYTHONUNBUFFERED=1
mkdir -p "$out"
"$python" -c "import torch; print(torch.__version__, torch.cuda.get_device_name())"

checkpoints=$NOBLE_NET_CACHE/checkpoints
failed=

# try NAME COMMAND...: run it, told in full in OUT; its last lines, and whether it failed, here as well.
try() {
    name=$1
    shift
    code=0
    "$@" > "$out/$name.log" 2>&1 || code=$?
    echo "== $name, after $(($(date +%s) - started)) s"
    grep -E '^(FAILED|ERROR) ' "$out/$name.log" || true
    tail -n 8 "$out/$name.log"
    if [ "$code" -ne 0 ]; then
        failed="$failed $name"
    fi
    cp benchmarks/results/targets.json "$out"
}

tests() {
    NOBLE_NET_TEST_DEVICE=cuda "$python" -m pytest -o filterwarnings= tests/test_device.py tests/test_device_core.py \
        tests/test_device_parts.py tests/test_device_runs.py
}

try device "$python" benchmarks/device.py
try respond "$python" benchmarks/respond.py --device cuda noble-small
try tests tests
left=$((60 * limit - $(date +%s) + started - 20))
if [ "$left" -gt 30 ]; then
    try paper "$python" -m noble_net train surrogate/recipes/noble-paper.yaml --out "$checkpoints" \
        --minutes "$("$python" -c "print($left / 60)")"
    cp -r "$checkpoints/noble-paper" "$out" || true
    state=$(ls -dt "$NOBLE_NET_CACHE"/training/noble-paper-*.* | grep -v '\.tmp$' | head -n 1)
    [ -n "$state" ] && basename "$state" > "$out/state.txt" && cp -r "$state" "$out/state"
fi
if [ -n "$failed" ]; then
    echo "failed:$failed"
    exit 1
fi
