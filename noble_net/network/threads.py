"""Rows of synapses drawn by several threads at once, as many as numba has: what a row holds depends on none of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import numba
import numpy as np

from noble_net.types import Int64

_WORTH_A_THREAD = 1 << 18
"""Synapses."""

Block = tuple[int, int]
"""The rows from the first number up to the second."""
Part = TypeVar("Part")
Result = TypeVar("Result")


def blocks_of(indptr: Int64) -> list[Block]:
    """All rows, cut into blocks of about as many entries, one for each thread that is worth it."""
    rows, entries = indptr.size - 1, int(indptr[-1])
    number = max(1, min(numba.get_num_threads(), rows, entries // _WORTH_A_THREAD))
    cuts = np.searchsorted(indptr, np.linspace(0, entries, number + 1)[1:-1]).tolist()
    edges = [0, *cuts, rows]
    return list(pairwise(edges))


def in_threads(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """What ``work``, which lets other threads run, makes of every part, in their order. Raises what it raises."""
    if len(parts) == 1:
        return [work(parts[0])]
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(work, parts))
