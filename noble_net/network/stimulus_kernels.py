"""Noise and Poisson input, compiled: cell by cell, bitwise the same for any split into blocks."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from noble_net.network.random_kernels import philox
from noble_net.types import Float32, Float64, Int32, Int64


@njit(cache=True)
def ornstein_uhlenbeck(
    noise: Float64, deviation: Float64, sigma: float, decay: float, first: bool, mean: Float64, out: Float32
) -> None:
    """Continue Ornstein-Uhlenbeck processes by the samples of ``noise`` [cells, samples] into ``out``.

    Exact discretisation y ← decay·y + σ√(1 − decay²)·ξ around ``mean`` [cells]; with ``first`` the first
    sample is drawn from the stationary distribution. ``deviation`` [cells] is the last y, updated in place.
    """
    kick = sigma * math.sqrt(1.0 - decay * decay)
    for cell in range(out.shape[0]):
        y = deviation[cell]
        for k in range(out.shape[1]):
            y = sigma * noise[cell, k] if first and k == 0 else decay * y + kick * noise[cell, k]
            out[cell, k] = np.float32(mean[cell] + y)
        deviation[cell] = y


@njit(cache=True)
def poisson_counts(key: np.uint64, expected: float, start: int, out: Int32) -> None:
    """Numbers of Poisson events per cell and sample, int32 [cells, samples], by inversion of one uniform.

    ``start`` and the number of samples are multiples of 4; ``expected`` events per sample up to 100.
    """
    none = math.exp(-expected)
    for cell in range(out.shape[0]):
        for k in range(0, out.shape[1], 4):
            group = (start + k) >> 2
            words = philox(group & 0xFFFFFFFF, group >> 32, cell, 2, key)
            for lane in range(4):
                uniform = (float(words[lane]) + 0.5) * 2.0**-32
                count, mass, total = 0, none, none
                while uniform > total and mass > 1e-14 * total:
                    count += 1
                    mass *= expected / count
                    total += mass
                out[cell, k + lane] = count


@njit(cache=True)
def add_counts(counts: Int32, weight: Int64, start: int, ring: Int64) -> None:
    """Put counted events of fixed-point weight [cells] into the ring at the samples they belong to."""
    slots = ring.shape[1]
    for cell in range(counts.shape[0]):
        for k in range(counts.shape[1]):
            if counts[cell, k] > 0:
                ring[cell, (start + k) % slots] += counts[cell, k] * weight[cell]
