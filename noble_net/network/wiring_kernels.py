"""Drawing synapses, compiled: row by row, each from its own random stream, in a fixed order.

A row is a target cell and its entries the sources, ascending (for the fixed out-degree the other way round).
Where the number of synapses is random, a kernel fills ``out`` from row ``first`` on for as long as whole rows
fit, notes them in the row pointers ``indptr``, and returns the first row that did not fit.
"""

from __future__ import annotations

import math

import numpy as np

from noble_net.compiled import compiled
from noble_net.network.random_kernels import uniform
from noble_net.types import Float32, Int32, Int64, UInt16, UInt32


@compiled()
def bernoulli_row(key: np.uint64, row: int, candidates: int, log_miss: float, out: Int32) -> int:
    """Sources of one target when each candidate connects independently; the number found.

    Jumps from hit to hit with geometric gaps, so the cost is that of the synapses, not of the pairs.
    ``log_miss`` is log(1 − p) < 0. Writes only as far as ``out`` reaches.
    """
    position, count, draw = 0, 0, 0
    while True:
        gap = math.log(uniform(key, row, draw)) / log_miss  # compared as a float: it can be huge
        if gap >= candidates - position:
            return count
        position += int(gap)
        if count < out.size:
            out[count] = position
        position += 1
        count += 1
        draw += 1


@compiled()
def bernoulli_fill(
    key: np.uint64, first: int, indptr: Int64, out: Int32, candidates: int, log_miss: float
) -> int:
    """Candidate indices of a pairwise Bernoulli projection."""
    for row in range(first, indptr.size - 1):
        room = out[indptr[row] :]
        count = bernoulli_row(key, row, candidates, log_miss, room)
        if count > room.size:
            return row
        indptr[row + 1] = indptr[row] + count
    return indptr.size - 1


@compiled()
def poisson_fill(key: np.uint64, first: int, indptr: Int64, out: Int32, candidates: int, mean: float) -> int:
    """Candidate indices where each candidate has a Poisson number of synapses.

    The events of a Poisson process along the line of candidates, ``mean`` of them in each one's unit stretch.
    """
    for row in range(first, indptr.size - 1):
        room = out[indptr[row] :]
        position, count = 0.0, 0
        while True:
            position -= math.log(uniform(key, row, count)) / mean
            if position >= candidates:
                break
            if count < room.size:
                room[count] = int(position)
            count += 1
        if count > room.size:
            return row
        indptr[row + 1] = indptr[row] + count
    return indptr.size - 1


@compiled(nogil=True)
def subset_fill(
    key: np.uint64, indptr: Int64, candidates: int, repeat: bool, first: int, last: int, source: Int32
) -> None:
    """Fill ``source`` with as many random candidates for each row from ``first`` up to ``last`` as its pointers say;
    with ``repeat`` one may come twice.

    Without, a uniformly random subset by redrawing repeats; beyond half of the candidates the ones left
    out are drawn instead, so that few redraws are needed.
    """
    drawn_for = np.full(candidates, -1, np.int64)
    for target in range(first, last):
        row = source[indptr[target] : indptr[target + 1]]
        invert = not repeat and 2 * row.size > candidates
        wanted = candidates - row.size if invert else row.size
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


@compiled()
def small_world_fill(key: np.uint64, cells: int, neighbours: int, rewire: float) -> Int32:
    """Each cell's ``neighbours`` nearest ones on a ring, each replaced with probability ``rewire``.

    A replacement is any cell but itself and those it has by then, all equally likely.
    """
    source = np.empty(cells * neighbours, np.int32)
    chosen_for = np.full(cells, -1, np.int64)
    half = neighbours // 2
    for cell in range(cells):
        row = source[cell * neighbours : (cell + 1) * neighbours]
        chosen_for[cell] = cell
        count = 0
        for j in range(neighbours):
            if uniform(key, cell, j) >= rewire:
                step = j - half if j < half else j - half + 1
                row[count] = (cell + step) % cells
                chosen_for[row[count]] = cell
                count += 1
        draw = neighbours
        while count < neighbours:
            pick = min(int(uniform(key, cell, draw) * cells), cells - 1)
            draw += 1
            if chosen_for[pick] != cell:
                chosen_for[pick] = cell
                row[count] = pick
                count += 1
        row.sort()
    return source


@compiled()
def skip_self(indptr: Int64, source: Int32) -> None:
    """Turn candidate indices that leave out each row's own cell into cell indices, in place."""
    for target in range(indptr.size - 1):
        for entry in range(indptr[target], indptr[target + 1]):
            if source[entry] >= target:
                source[entry] += 1


@compiled(nogil=True)
def row_pointers(index: Int32, rows: int) -> Int64:
    """Row pointers int64 [rows + 1] of entries grouped by ``index``."""
    pointers = np.zeros(rows + 1, np.int64)
    for entry in range(index.size):
        pointers[index[entry] + 1] += 1
    for row in range(rows):
        pointers[row + 1] += pointers[row]
    return pointers


@compiled()
def grouped(index: Int32, rows: int) -> tuple[Int64, Int64]:
    """The entries of each row, given every entry's row: row pointers int64 [rows + 1] and entries, in order."""
    pointers = row_pointers(index, rows)
    free = pointers[:-1].copy()
    order = np.empty(index.size, np.int64)
    for entry in range(index.size):
        row = index[entry]
        order[free[row]] = entry
        free[row] += 1
    return pointers, order


@compiled()
def transpose(indptr: Int64, index: Int32, columns: int) -> tuple[Int64, Int32]:
    """The same entries grouped by column, ascending: pointers int64 [columns + 1] and their rows."""
    pointers = row_pointers(index, columns)
    free = pointers[:-1].copy()
    rows = np.empty(index.size, np.int32)
    for row in range(indptr.size - 1):
        for entry in range(indptr[row], indptr[row + 1]):
            column = index[entry]
            rows[free[column]] = row
            free[column] += 1
    return pointers, rows


@compiled(nogil=True)
def place(
    indptr: Int64,
    source: Int32,
    first: int,
    last: int,
    weights: Float32,
    delays: UInt16,
    free: Int64,
    target: Int32,
    weight: Float32,
    delay: UInt16,
) -> None:
    """Bring the rows ``first`` to ``last`` (targets) to their places in the arrays grouped by source.

    ``weights`` and ``delays`` hold the values of these rows' entries. ``free`` int64 [sources] is the next
    free place of every source and moves on, so that rows may come in pieces; stable, hence the result is
    sorted by (source, target).
    """
    begin = indptr[first]
    for row in range(first, last):
        for entry in range(indptr[row], indptr[row + 1]):
            at = free[source[entry]]
            free[source[entry]] += 1
            target[at] = row
            weight[at] = weights[entry - begin]
            delay[at] = delays[entry - begin]


@compiled()
def fingerprint(indptr: Int64, target: Int32, weight: UInt32, delay: UInt16, first: int) -> np.uint64:
    """A sum over synapses that tells sets of them apart, whatever their order and however many add up to it.

    Of each, source, target (counted from ``first``), the bits of its weight and its delay, through the finaliser of
    SplitMix64 (Steele et al. 2014).
    """
    total = np.uint64(0)
    for source in range(indptr.size - 1):
        for entry in range(indptr[source], indptr[source + 1]):
            word = (np.uint64(source) << np.uint64(32)) | np.uint64(target[entry] + first)
            for more in (np.uint64(weight[entry]), np.uint64(delay[entry])):
                word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                word = (word ^ (word >> np.uint64(31))) + more
            word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            total += word ^ (word >> np.uint64(27))
    return total
