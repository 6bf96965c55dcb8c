#!/bin/sh
# What only a GPU can do, on a machine that has one: NOBLE as published, in pieces, and step responses a second; or,
# with MINUTES 0, the device loop: its tests on the GPU and its speed.
#
#   benchmarks/gpu.sh CACHE OUT [MINUTES [LIMIT]]
#
# CACHE: a folder with datasets/noble-allen-pv-*.h5 (made by `noble-net dataset surrogate/recipes/noble-paper.yaml` where
# NEURON is) and, to go on, training/noble-paper-*.* of an earlier piece. OUT gets the checkpoint, its log and the state
# of training: weights, two moments and the best weights, 7.3 MB each, and a small JSON. Copy OUT/state back to
# CACHE/training/NAME (NAME is in OUT/state.txt) to go on on another machine. MINUTES: of training, default 8. Once that
# is whole, the core is evaluated, too, which takes some minutes, if EVALUATION of them are left of LIMIT (default 10), the
# minutes that all of this may take; if not, call again. targets.json has the new rows of the scoreboard.
# PYTHON: the interpreter with PyTorch for CUDA, neuraloperator, NEURON, bmtk and what else pyproject.toml asks for.
#
# What fails keeps nothing else from being run; it is named at the end, and the exit code is then 1.
set -eu
cache=$1
out=$2
minutes=${3:-8}
limit=${4:-10}
EVALUATION=3
python=${PYTHON:-python3}
started=$(date +%s)
NOBLE_NET_CACHE=$(cd "$cache" && pwd)
export NOBLE_NET_CACHE PYTHONUNBUFFERED=1
mkdir -p "$out"
"$python" -c "import torch; print(torch.__version__, torch.cuda.get_device_name())"

recipe=surrogate/recipes/noble-paper.yaml
checkpoints=$NOBLE_NET_CACHE/checkpoints
checkpoint=$checkpoints/noble-paper
failures=0
failed=

# try NAME COMMAND...: run it; count and remember it if it fails.
try() {
    name=$1
    shift
    if "$@"; then
        return
    fi
    failures=$((failures + 1))
    failed="$failed  $name
"
}

conclude() {
    try "copying targets.json" cp benchmarks/results/targets.json "$out"
    if [ "$failures" -gt 0 ]; then
        printf '%s failed:\n%s' "$failures" "$failed"
        exit 1
    fi
    exit 0
}

# The device loop's tests, told in full in OUT; those that failed, and how many of how many, here as well.
tests() {
    code=0
    NOBLE_NET_TEST_DEVICE=cuda "$python" -m pytest tests/test_device.py tests/test_device_core.py \
        tests/test_device_parts.py tests/test_device_runs.py > "$out/device-tests.txt" 2>&1 || code=$?
    grep -E '^(FAILED|ERROR) ' "$out/device-tests.txt" || true
    tail -n 3 "$out/device-tests.txt"
    return "$code"
}

keep_checkpoint() {
    mkdir -p "$out/checkpoint" && cp -r "$checkpoint/." "$out/checkpoint"
}

keep_state() {
    state=$(ls -dt "$NOBLE_NET_CACHE"/training/noble-paper-*.* | grep -v '\.tmp$' | head -n 1)
    [ -n "$state" ] && basename "$state" > "$out/state.txt" && cp -r "$state" "$out/state"
}

# Whether the training of the checkpoint has come to its end.
whole() {
    "$python" -c "import json, sys; sys.exit(not json.load(open(sys.argv[1]))['training']['finished'])" \
        "$checkpoint/core.json"
}

# Whether EVALUATION minutes are left.
time_left() {
    "$python" -c "import sys, time; s, l, e = map(float, sys.argv[1:]); sys.exit(time.time() - s > 60 * (l - e))" \
        "$started" "$limit" "$EVALUATION"
}

if [ "$minutes" = 0 ]; then
    try "tests of the device loop" tests
    try device.py "$python" benchmarks/device.py
    conclude
fi

try training "$python" -m noble_net train "$recipe" --out "$checkpoints" --minutes "$minutes"
try "keeping the checkpoint" keep_checkpoint
try "keeping the state of training" keep_state
try respond.py "$python" benchmarks/respond.py --device cuda "$checkpoint"
if [ ! -f "$checkpoint/core.json" ] || ! whole; then
    echo "noble-paper is not evaluated: its training is not whole yet"
elif ! time_left; then
    echo "noble-paper is not evaluated: less than $EVALUATION of $limit minutes are left; call again"
else
    try evaluation "$python" -m noble_net evaluate "$recipe" --out "$checkpoints"
    try "keeping the evaluation" keep_checkpoint
fi
conclude
