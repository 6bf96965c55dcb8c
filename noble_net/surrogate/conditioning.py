"""A cell's code made part of a streaming core: embedded once, and folded into the biases that every step adds."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from noble_net.surrogate.tiles import LANES
from noble_net.types import Float32


@njit(cache=True, error_model="numpy")
def fold_code(weight: Float32, bias: Float32, code: Float32) -> Float32:
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


@njit(cache=True, error_model="numpy")
def silu(x: Float32) -> None:
    """x / (1 + e^(−x)), in place; cell by cell the same number wherever it stands."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] = x[i, j] / (1.0 + math.exp(-x[i, j]))


def by_lanes(rows: Float32) -> Float32:
    """Rows of cells [cells, rows] as micro-batches with the cells along the lanes, [micro-batches, rows, LANES]."""
    cells, width = rows.shape
    padded = np.zeros((-(-cells // LANES) * LANES, width), np.float32)
    padded[:cells] = rows
    return np.ascontiguousarray(padded.reshape(-1, LANES, width).transpose(0, 2, 1))
