"""Drawing synapses, compiled: target by target, each from its own random stream, in a fixed order."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from noble_net.network.random_kernels import uniform
from noble_net.types import Int32, Int64


@njit(cache=True)
def bernoulli_row(key: np.uint64, target: int, candidates: int, log_miss: float, out: Int32) -> int:
    """Sources of one target when each candidate connects independently; the number found.

    Jumps from hit to hit with geometric gaps, so the cost is that of the synapses, not of the pairs.
    ``log_miss`` is log(1 − p) < 0. Writes only as far as ``out`` reaches (an empty one merely counts).
    """
    position, count, draw = 0, 0, 0
    while True:
        gap = math.log(uniform(key, target, draw)) / log_miss  # compared as a float: it can be huge
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
            pick = min(int(uniform(key, target, draw) * candidates), candidates - 1)
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
