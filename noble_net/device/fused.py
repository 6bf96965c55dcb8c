"""Whether Triton's kernels run on a device: on a GPU where Triton is installed, as it comes with PyTorch for CUDA.

With TRITON_INTERPRET=1 in the environment Triton runs its kernels in Python, on any device: slow, but as right, so that
they can be tested where there is no GPU.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec

import torch


def fused(device: torch.device) -> bool:
    """Whether kernels run there; else PyTorch does the same, operation by operation."""
    return (device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1") and _installed()


@cache
def _installed() -> bool:
    return find_spec("triton") is not None
