"""Stimuli, compiled: cell by cell, bitwise the same for any split into blocks.

``cells`` are ids within the population and key the random numbers, so that a cell's noise does not depend on which
other cells a stimulus goes to. Samples are absolute; where a kernel says so, they count from the stimulus's beginning.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from noble_net.compiled import compiled
from noble_net.network.random_kernels import philox, uniform
from noble_net.types import Float32, Float64, Int32, Int64

_TURN = 2.0 * math.pi
MOST_EVENTS = 100.0
"""Events per sample (1e6 Hz) beyond which a rate counts as that."""
_SILENT = 1e-15
"""State of shot noise (nA or nS) that is set to zero, before it turns into slow denormal numbers."""
_CLOSE = 1e-6
"""Share of a sample by which an edge on the grid may miss it."""


@compiled(parallel=True)
def ornstein_uhlenbeck(
    noise: Float64,
    deviation: Float64,
    sigma: Float64,
    decay: Float64,
    first: bool,
    mean: Float64,
    out: Float32,
) -> None:
    """Continue Ornstein-Uhlenbeck processes by the samples of ``noise`` [cells, samples] into ``out``.

    Exact discretisation y ← decay·y + σ√(1 − decay²)·ξ around ``mean`` (all [cells]); with ``first`` the first
    sample is drawn from the stationary distribution. ``deviation`` [cells] is the last y, updated in place.
    """
    for cell in prange(out.shape[0]):
        y, keep = deviation[cell], decay[cell]
        kick = sigma[cell] * math.sqrt(1.0 - keep * keep)
        for k in range(out.shape[1]):
            y = sigma[cell] * noise[cell, k] if first and k == 0 else keep * y + kick * noise[cell, k]
            out[cell, k] = np.float32(mean[cell] + y)
        deviation[cell] = y


@compiled(inline="always")
def _poisson(chance: float, expected: float, none: float) -> int:
    """A Poisson number by inversion of a uniform; ``none`` is e^−expected."""
    count, mass, total = 0, none, none
    while chance > total and mass > 1e-14 * total:
        count += 1
        mass *= expected / count
        total += mass
    return count


@compiled(parallel=True)
def poisson_counts(
    key: np.uint64, cells: Int64, expected: Float64, factor: Float64, start: int, out: Int32, first: int
) -> None:
    """Numbers of Poisson events per cell and sample into the rows ``cells`` of ``out``, int32 [population, samples],
    whose rows count from cell ``first``.

    Cell ``cells[i]`` has expected[i]·factor[k] events in sample k. ``start`` and the number of samples are multiples
    of 4.
    """
    for i in prange(cells.size):
        cell, last, mean, none = cells[i], -1.0, 0.0, 1.0
        for k in range(0, out.shape[1], 4):
            group = (start + k) >> 2
            words = philox(group & 0xFFFFFFFF, group >> 32, cell, 2, key)
            for lane in range(4):
                if factor[k + lane] != last:
                    last = factor[k + lane]
                    mean = min(expected[i] * last, MOST_EVENTS)
                    none = math.exp(-mean)
                chance = (float(words[lane]) + 0.5) * 2.0**-32
                out[cell - first, k + lane] = _poisson(chance, mean, none)


@compiled()
def gamma(key: np.uint64, cell: int, sample: int, shape: float) -> float:
    """A gamma-distributed number of unit scale for one cell and sample, by rejection.

    Marsaglia and Tsang 2000, "A simple method for generating gamma variables"; a shape below 1 is raised by 1 and the
    result multiplied with U^(1/shape). Every attempt has a counter of its own.
    """
    boosted = shape if shape >= 1.0 else shape + 1.0
    d = boosted - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    attempt = 0
    while True:
        words = philox(sample & 0xFFFFFFFF, (sample >> 32) | (attempt << 8), cell, 3, key)
        x = math.sqrt(-2.0 * math.log((float(words[0]) + 0.5) * 2.0**-32))
        x *= math.cos(_TURN * 2.0**-32 * float(words[1]))
        v = (1.0 + c * x) ** 3
        chance = (float(words[2]) + 0.5) * 2.0**-32
        if v > 0.0 and math.log(chance) < 0.5 * x * x + d - d * v + d * math.log(v):
            if shape >= 1.0:
                return d * v
            return float(d * v * ((float(words[3]) + 0.5) * 2.0**-32) ** (1.0 / shape))
        attempt += 1


@compiled(parallel=True)
def shot_noise(
    key: np.uint64,
    cells: Int64,
    constants: Float64,
    decaying: Float64,
    rising: Float64,
    start: int,
    first: int,
    last: int,
    out: Float32,
) -> None:
    """Continue shot noise by the samples of ``out`` [cells, samples], with shots in samples ``first`` … ``last`` − 1.

    ``constants`` [cells, 8]: shots per sample, mean and variance of a shot's peak, peak factor, decay over a sample and
    mean over a sample of the decaying and of the rising part. The sum of n gamma-distributed peaks of one shape is
    gamma-distributed with n times that shape. ``start`` and the number of samples are multiples of 4.
    """
    for i in prange(cells.size):
        expected, mean, variance, factor, keep_d, keep_r, mean_d, mean_r = constants[i]
        expected = min(expected, MOST_EVENTS)
        none = math.exp(-expected)
        d, r = decaying[i], rising[i]
        for k in range(out.shape[1]):
            sample = start + k
            if k % 4 == 0:
                group = sample >> 2
                words = philox(group & 0xFFFFFFFF, group >> 32, cells[i], 2, key)
            count = 0
            if first <= sample < last:
                count = _poisson((float(words[k % 4]) + 0.5) * 2.0**-32, expected, none)
            if count > 0:
                height = count * mean
                if variance > 0.0 and mean != 0.0:
                    shape = count * (mean * mean / variance)
                    height = gamma(key, cells[i], sample, shape) * (variance / mean)
                d += factor * height
                r += factor * height
            out[i, k] = np.float32(d * mean_d - r * mean_r)
            d, r = d * keep_d, r * keep_r
            if abs(d) < _SILENT and abs(r) < _SILENT:
                d, r = 0.0, 0.0
        decaying[i], rising[i] = d, r


@compiled()
def ramp(begin: Float64, end: Float64, first: int, total: int, out: Float32) -> None:
    """A line from ``begin`` to ``end`` [cells] over ``total`` samples: its mean over each sample from ``first`` (from
    the ramp's beginning) on."""
    for cell in range(out.shape[0]):
        for k in range(out.shape[1]):
            share = (first + k + 0.5) / total
            out[cell, k] = np.float32(begin[cell] + (end[cell] - begin[cell]) * share)


@compiled()
def pulses(amplitude: Float64, width: Float64, period: Float64, first: int, out: Float32) -> None:
    """Rectangular pulses; ``width`` and ``period`` in samples [cells], ``first`` from the first pulse's beginning on.

    A pulse that begins within a sample acts from the next one on, for a whole number of samples.
    """
    for cell in range(out.shape[0]):
        lasting = max(1.0, round(width[cell]))
        for k in range(out.shape[1]):
            number = math.floor((first + k + _CLOSE) / period[cell])
            onset = math.ceil(number * period[cell] - _CLOSE)
            out[cell, k] = np.float32(amplitude[cell] if first + k - onset < lasting else 0.0)


@compiled()
def sinusoid(amplitude: Float64, step: Float64, phase: Float64, first: int, every: int, out: Float32) -> None:
    """A sine, held for ``every`` samples at the value of their middle; ``step`` radians per sample [cells]; ``first``
    from its beginning on."""
    for cell in range(out.shape[0]):
        for k in range(out.shape[1]):
            middle = ((first + k) // every + 0.5) * every
            out[cell, k] = np.float32(amplitude[cell] * math.sin(step[cell] * middle + phase[cell]))


@compiled()
def modulation(depth: float, step: float, phase: float, first: int, out: Float64) -> None:
    """1 + depth·sin at the middle of each sample, float64 [samples]; ``step`` radians per sample."""
    for k in range(out.size):
        out[k] = 1.0 + depth * math.sin(step * (first + k + 0.5) + phase)


@compiled()
def replay_counts(
    source: Int64,
    sample: Int64,
    each: bool,
    probability: float,
    key: np.uint64,
    out: Int32,
    cells: Int64,
    skipped: int,
    first: int,
) -> None:
    """Count replayed spikes of ``source`` in ``sample`` (of the block) for ``out``, int32 [population, samples].

    A source drives the target of its own number, or ``each`` target; of these pairs, a share ``probability`` is
    connected. ``cells`` are the targets from number ``skipped`` on; the rows of ``out`` count from cell ``first``.
    """
    for event in range(source.size):
        number, k = source[event], sample[event]
        low, high = 0, cells.size
        if not each:
            low, high = max(number - skipped, 0), min(number - skipped + 1, cells.size)
        for i in range(low, high):
            if probability >= 1.0 or uniform(key, cells[i], number) < probability:
                out[cells[i] - first, k] += 1


@compiled()
def add_counts(counts: Int32, weight: Int64, start: int, arriving: Int64) -> None:
    """Add counted events of fixed-point weight [cells] to what arrives, at the samples they belong to."""
    rows = arriving.shape[0]
    for cell in range(counts.shape[0]):
        for k in range(counts.shape[1]):
            if counts[cell, k] > 0:
                arriving[(start + k) % rows, cell] += counts[cell, k] * weight[cell]


@compiled()
def add_events(cells: Int64, samples: Int64, weights: Int64, arriving: Int64) -> None:
    """Add single events of fixed-point weight to what arrives, at the absolute samples they belong to."""
    rows = arriving.shape[0]
    for event in range(cells.size):
        arriving[samples[event] % rows, cells[event]] += weights[event]


@compiled()
def edge_arrivals(
    source: Int64, sample: Int64, samples: int, indptr: Int64, delay: Int64, edge: Int64, arrival: Int64
) -> int:
    """Spikes of ``source`` in ``sample`` (of the block, or before it) along edges, grouped by source and ascending in
    ``delay``: number of those that arrive in the block; the first of them go into ``edge`` and ``arrival``."""
    number = 0
    for event in range(source.size):
        cell = source[event]
        if cell < 0 or cell >= indptr.size - 1:
            continue
        first, last = indptr[cell], indptr[cell + 1]
        e = first + np.searchsorted(delay[first:last], -sample[event])
        while e < last and sample[event] + delay[e] < samples:
            if number < edge.size:
                edge[number], arrival[number] = e, sample[event] + delay[e]
            number += 1
            e += 1
    return number
