"""All compiled loops of the network floor: keyed random numbers, wiring, noise, synapses, spike delivery.

Every kernel works cell by cell (or synapse by synapse) in a fixed order without fast-math, so results are
bitwise the same for any split into blocks. Sums of synaptic weights are int64 fixed point, so they do not
depend on the order of delivery. Kernels are compiled on first use and cached on disk.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from noble_net.types import Float32, Float64, Int32, Int64

FIXED_POINT = 2.0**32
"""Weight units of the ring buffer per nS or pA."""

_MASK = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_MUL_0, _MUL_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_Words = tuple[np.uint64, np.uint64, np.uint64, np.uint64]
_SILENT = 1e-12
"""Synaptic state (nS or pA) below which it is set to zero, before it turns into slow denormal numbers."""


# --- random numbers ---------------------------------------------------------------------------------------


@njit(cache=True, inline="always")
def philox(c0: int, c1: int, c2: int, c3: int, key: np.uint64) -> _Words:
    """Philox4x32-10: four 32-bit words (held in uint64) from a 128-bit counter and a 64-bit key."""
    a, b, c, d = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3)
    k0, k1 = key & _MASK, key >> _SHIFT
    for _ in range(10):
        first, second = _MUL_0 * a, _MUL_1 * c
        a, b = (second >> _SHIFT) ^ b ^ k0, second & _MASK
        c, d = (first >> _SHIFT) ^ d ^ k1, first & _MASK
        k0, k1 = (k0 + _WEYL_0) & _MASK, (k1 + _WEYL_1) & _MASK
    return a, b, c, d


@njit(cache=True)
def philox_words(counter: Int64, key: np.uint64) -> Int64:
    """Philox4x32-10 of one counter given as four words, int64 [4]."""
    out = np.empty(4, np.int64)
    words = philox(counter[0], counter[1], counter[2], counter[3], key)
    for i in range(4):
        out[i] = words[i]
    return out


@njit(cache=True, inline="always")
def _uniform(key: np.uint64, row: int, index: int) -> float:
    """Draw number ``index`` of a row, in the open interval (0, 1), with 52 random bits."""
    a, b, _, _ = philox(index & 0xFFFFFFFF, index >> 32, row, 0, key)
    return (float(((a << _SHIFT) | b) >> np.uint64(12)) + 0.5) * 2.0**-52


@njit(cache=True, inline="always")
def _four_normals(key: np.uint64, cell: int, group: int) -> tuple[float, float, float, float]:
    """Standard normals of a cell for samples 4·group … 4·group + 3 (Box-Muller)."""
    a, b, c, d = philox(group & 0xFFFFFFFF, group >> 32, cell, 1, key)
    r0 = math.sqrt(-2.0 * math.log((float(a) + 0.5) * 2.0**-32))
    r1 = math.sqrt(-2.0 * math.log((float(c) + 0.5) * 2.0**-32))
    turn = 2.0 * math.pi * 2.0**-32
    x, y = turn * float(b), turn * float(d)
    return r0 * math.cos(x), r0 * math.sin(x), r1 * math.cos(y), r1 * math.sin(y)


@njit(cache=True)
def row_uniforms(key: np.uint64, indptr: Int64) -> Float64:
    """Uniforms in (0, 1) for the entries of sparse rows: entry j of row r is draw j of row r."""
    out = np.empty(indptr[-1], np.float64)
    for row in range(indptr.size - 1):
        for entry in range(indptr[row], indptr[row + 1]):
            out[entry] = _uniform(key, row, entry - indptr[row])
    return out


@njit(cache=True)
def normal_block(key: np.uint64, start: int, out: Float64) -> None:
    """Fill ``out`` [cells, samples] with noise from absolute sample ``start`` on; both are multiples of 4."""
    for cell in range(out.shape[0]):
        for k in range(0, out.shape[1], 4):
            values = _four_normals(key, cell, (start + k) >> 2)
            for lane in range(4):
                out[cell, k + lane] = values[lane]


# --- wiring -----------------------------------------------------------------------------------------------


@njit(cache=True)
def bernoulli_row(key: np.uint64, target: int, candidates: int, log_miss: float, out: Int32) -> int:
    """Sources of one target when each candidate connects independently; the number found.

    Jumps from hit to hit with geometric gaps, so the cost is that of the synapses, not of the pairs.
    ``log_miss`` is log(1 − p) < 0. Writes only as far as ``out`` reaches (an empty one merely counts).
    """
    position, count, draw = 0, 0, 0
    while True:
        gap = math.log(_uniform(key, target, draw)) / log_miss  # compared as a float: it can be huge
        if gap >= candidates - position:
            return count
        position += int(gap)
        if count < out.size:
            out[count] = position
        position += 1
        count += 1
        draw += 1


@njit(cache=True)
def bernoulli_counts(key: np.uint64, targets: int, candidates: int, log_miss: float) -> Int64:
    """Row pointers int64 [targets + 1] of a pairwise Bernoulli projection."""
    nothing = np.empty(0, np.int32)
    indptr = np.zeros(targets + 1, np.int64)
    for target in range(targets):
        indptr[target + 1] = indptr[target] + bernoulli_row(key, target, candidates, log_miss, nothing)
    return indptr


@njit(cache=True)
def bernoulli_fill(key: np.uint64, indptr: Int64, candidates: int, log_miss: float) -> Int32:
    """Candidate indices of a pairwise Bernoulli projection, ascending within each target."""
    source = np.empty(indptr[-1], np.int32)
    for target in range(indptr.size - 1):
        row = source[indptr[target] : indptr[target + 1]]
        bernoulli_row(key, target, candidates, log_miss, row)
    return source


@njit(cache=True)
def indegree_fill(key: np.uint64, targets: int, candidates: int, degree: int, repeat: bool) -> Int32:
    """``degree`` candidates for each target, ascending; with ``repeat`` the same one may come twice.

    Without, a uniformly random subset by redrawing repeats; beyond half of the candidates the ones left
    out are drawn instead, so that few redraws are needed.
    """
    source = np.empty(targets * degree, np.int32)
    invert = not repeat and 2 * degree > candidates
    wanted = candidates - degree if invert else degree
    drawn_for = np.full(candidates, -1, np.int64)
    for target in range(targets):
        row = source[target * degree : (target + 1) * degree]
        count, draw = 0, 0
        while count < wanted:
            pick = min(int(_uniform(key, target, draw) * candidates), candidates - 1)
            draw += 1
            if not repeat and drawn_for[pick] == target:
                continue
            drawn_for[pick] = target
            if not invert:
                row[count] = pick
            count += 1
        if invert:
            count = 0
            for candidate in range(candidates):
                if drawn_for[candidate] != target:
                    row[count] = candidate
                    count += 1
        else:
            row.sort()
    return source


@njit(cache=True)
def skip_self(indptr: Int64, source: Int32) -> None:
    """Turn candidate indices that leave out each target's own cell into cell indices, in place."""
    for target in range(indptr.size - 1):
        for entry in range(indptr[target], indptr[target + 1]):
            if source[entry] >= target:
                source[entry] += 1


@njit(cache=True)
def by_source(indptr: Int64, source: Int32, sources: int) -> tuple[Int64, Int64]:
    """Regroup rows-by-target into rows-by-source: the new row pointers and the order of the old entries.

    Stable, hence sorted by (source, target).
    """
    rows = np.zeros(sources + 1, np.int64)
    for entry in range(source.size):
        rows[source[entry] + 1] += 1
    for row in range(sources):
        rows[row + 1] += rows[row]
    free = rows[:-1].copy()
    order = np.empty(source.size, np.int64)
    for entry in range(source.size):
        row = source[entry]
        order[free[row]] = entry
        free[row] += 1
    return rows, order


# --- stimuli ----------------------------------------------------------------------------------------------


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


# --- synapses ---------------------------------------------------------------------------------------------


@njit(cache=True)
def synapse_block(
    ring: Int64,
    decaying: Float64,
    rising: Float64,
    constants: Float64,
    start: int,
    conductance: Float32,
    reversal_current: Float32,
) -> None:
    """Take a block's arrivals out of the ring, advance the synapses and add their drive.

    ``constants``: gain of the decaying and of the rising part per unit weight; their decay over a sample;
    their mean over a sample from its start; share that is conductance (1 or 0); reversal (mV) or sign.
    ``conductance`` and ``reversal_current`` are float32 [cells, samples].
    """
    gain_d, gain_r, keep_d, keep_r, mean_d, mean_r, share, factor = constants
    slots = ring.shape[1]
    for cell in range(conductance.shape[0]):
        d, r = decaying[cell], rising[cell]
        for k in range(conductance.shape[1]):
            slot = (start + k) % slots
            arrived = ring[cell, slot]
            if arrived != 0:
                ring[cell, slot] = 0
                weight = float(arrived) * (1.0 / FIXED_POINT)
                d += gain_d * weight
                r += gain_r * weight
            if d == 0.0 and r == 0.0:
                continue
            mean = d * mean_d - r * mean_r
            conductance[cell, k] += np.float32(share * mean)
            reversal_current[cell, k] += np.float32(factor * mean)
            d, r = d * keep_d, r * keep_r
            if abs(d) < _SILENT:
                d = 0.0
            if abs(r) < _SILENT:
                r = 0.0
        decaying[cell], rising[cell] = d, r


@njit(cache=True)
def deliver(
    event_cell: Int32,
    event_sample: Int32,
    first_cell: int,
    start: int,
    indptr: Int64,
    target: Int32,
    weight: Float32,
    delay: Int32,
    ring: Int64,
) -> None:
    """Send the spikes of one block through one projection into the ring of its target.

    Events are those of a whole group of cells; ``first_cell`` is where the source population starts in it.
    A spike confirmed at sample n arrives at sample n + 1 + delay.
    """
    slots = ring.shape[1]
    for event in range(event_cell.size):
        source = event_cell[event] - first_cell
        if source < 0 or source >= indptr.size - 1:
            continue
        after = start + event_sample[event] + 1
        for entry in range(indptr[source], indptr[source + 1]):
            slot = (after + delay[entry]) % slots
            ring[target[entry], slot] += np.int64(float(weight[entry]) * FIXED_POINT)
