#!/bin/sh
# What only a GPU can do, on a machine that has one: NOBLE as published, in pieces, and step responses a second; or,
# with MINUTES 0, the device loop: its tests on the GPU and its speed.
#
#   benchmarks/gpu.sh CACHE OUT [MINUTES]
#
# CACHE: a folder with datasets/noble-allen-pv-*.h5 (made by `noble-net dataset surrogate/recipes/noble-paper.yaml` where
# NEURON is) and, to go on, training/noble-paper-*.* of an earlier piece. OUT gets the checkpoint, its log and the state
# of training: weights, two moments and the best weights, 7.3 MB each, and a small JSON. Copy OUT/state back to
# CACHE/training/NAME (NAME is in OUT/state.txt) to go on on another machine. MINUTES: of training, default 8.
# targets.json has the new rows of the scoreboard. PYTHON: the interpreter with PyTorch for CUDA, neuraloperator, NEURON,
# bmtk and what else pyproject.toml asks for.
set -eu
cache=$1
out=$2
minutes=${3:-8}
python=${PYTHON:-python3}
NOBLE_NET_CACHE=$(cd "$cache" && pwd)
export NOBLE_NET_CACHE PYTHONUNBUFFERED=1
mkdir -p "$out"
"$python" -c "import torch; print(torch.__version__, torch.cuda.get_device_name())"
if [ "$minutes" = 0 ]; then
    NOBLE_NET_TEST_DEVICE=cuda "$python" -m pytest tests/test_device.py tests/test_device_core.py tests/test_device_parts.py > "$out/device-tests.txt" 2>&1 || true
    tail -n 5 "$out/device-tests.txt"
    "$python" benchmarks/device.py
    cp benchmarks/results/targets.json "$out"
    exit
fi
"$python" -m noble_net train surrogate/recipes/noble-paper.yaml --out "$NOBLE_NET_CACHE/checkpoints" --minutes "$minutes"
cp -r "$NOBLE_NET_CACHE/checkpoints/noble-paper" "$out/checkpoint"
state=$(ls -d "$NOBLE_NET_CACHE"/training/noble-paper-* | tail -n 1)
basename "$state" > "$out/state.txt"
cp -r "$state" "$out/state"
"$python" benchmarks/respond.py --device cuda "$NOBLE_NET_CACHE/checkpoints/noble-paper"
cp benchmarks/results/targets.json "$out"
