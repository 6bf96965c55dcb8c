"""What a streaming core is told of a cell's code: computed once for every cell, the same wherever the cell stands."""

from __future__ import annotations

import math

import numpy as np

from noble_net.compiled import compiled
from noble_net.types import Float32


@compiled(error_model="numpy")
def linear(weight: Float32, bias: Float32, code: Float32) -> Float32:
    """bias + weight·code for every cell, summed in the code's order: float32 [cells, rows]."""
    cells, length = code.shape
    out = np.empty((cells, len(bias)), np.float32)
    for i in range(cells):
        for j in range(len(bias)):
            total = bias[j]
            for k in range(length):
                total += weight[j, k] * code[i, k]
            out[i, j] = total
    return out


@compiled(error_model="numpy")
def silu(x: Float32) -> Float32:
    """x / (1 + e^(−x)), in place."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] = x[i, j] / (1.0 + math.exp(-x[i, j]))
    return x
