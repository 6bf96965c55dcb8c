"""Synapses of a projection grouped by target cell, as rules draw them, before they are grouped by source."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from noble_net.types import Float32, Float64, Int32, Int64

Fill = Callable[[int, Int64, Int32], int]
"""Fills rows: ``fill(first, indptr, out)``, see `noble_net.network.wiring_kernels`."""


class Rows(NamedTuple):
    """Row pointers int64 [targets + 1] and source cells, int32 [synapses], ascending within a target.

    A rule that reads a file may bring ``weight`` (float32, nS or pA) and ``delay`` (float64, ms) as well.
    """

    indptr: Int64
    source: Int32
    weight: Float32 | None = None
    delay: Float64 | None = None


def grown_rows(fill: Fill, targets: int, expected: float, own: range | None = None) -> Rows:
    """Rows of random length, filled in one pass into room for six standard deviations above ``expected``.

    More room is made where a draw needs it. Only the rows of ``own``, if given; the others stay empty.
    """
    indptr, own = np.zeros(targets + 1, np.int64), range(targets) if own is None else own
    expected *= len(own) / max(targets, 1)
    out = np.empty(int(expected + 6 * np.sqrt(expected)) + 64, np.int32)
    row, within = own.start, indptr[: own.stop + 1]
    while (row := fill(row, within, out)) < own.stop:
        larger = np.empty(out.size + out.size // 2, np.int32)
        larger[: indptr[row]] = out[: indptr[row]]
        out = larger
    indptr[own.stop :] = indptr[own.stop]
    return Rows(indptr, out[: indptr[-1]])


def only(rows: Rows, own: range | None) -> Rows:
    """The rows of ``own``, copied; the others are empty. All rows as they are where it is None."""
    if own is None:
        return rows
    begin, end = rows.indptr[own.start], rows.indptr[own.stop]
    if end - begin == len(rows.source):
        return rows
    weight = None if rows.weight is None else rows.weight[begin:end].copy()
    delay = None if rows.delay is None else rows.delay[begin:end].copy()
    indptr = np.clip(rows.indptr, begin, end) - begin
    return Rows(indptr, rows.source[begin:end].copy(), weight, delay)


def rows_of(
    source: Int64, target: Int64, targets: int, weight: Float32 | None = None, delay: Float64 | None = None
) -> Rows:
    """A list of synapses in any order as rows; those of one pair keep their order."""
    order = np.lexsort((source, target))
    indptr = np.zeros(targets + 1, np.int64)
    np.cumsum(np.bincount(target, minlength=targets), out=indptr[1:])
    return Rows(
        indptr,
        source[order].astype(np.int32),
        None if weight is None else weight[order],
        None if delay is None else delay[order],
    )
