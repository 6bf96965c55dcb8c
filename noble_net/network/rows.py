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


def grown_rows(fill: Fill, targets: int, expected: float) -> Rows:
    """Rows of random length, filled in one pass into room for six standard deviations above ``expected``.

    More room is made where a draw needs it.
    """
    indptr = np.zeros(targets + 1, np.int64)
    out = np.empty(int(expected + 6 * np.sqrt(expected)) + 64, np.int32)
    row = fill(0, indptr, out)
    while row < targets:
        larger = np.empty(out.size + out.size // 2, np.int32)
        larger[: indptr[row]] = out[: indptr[row]]
        out = larger
        row = fill(row, indptr, out)
    return Rows(indptr, out[: indptr[-1]])


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
