"""Synapses grouped by source brought into the order of their targets, a stretch at a time, compiled.

The input is compressed by source: synapses of source i are entries ``indptr[i]`` to ``indptr[i + 1]``, their targets
ascending. None of this holds more than a stretch beside the input.
"""

from __future__ import annotations

import numpy as np

from noble_net.compiled import compiled
from noble_net.types import Int32, Int64


@compiled()
def in_degrees(target: Int32, out: Int64) -> None:
    """Count the synapses of every target into ``out`` [targets]."""
    for entry in range(target.size):
        out[target[entry]] += 1


@compiled()
def targets_stretch(
    indptr: Int64, target: Int32, at: Int64, begins: Int64, first: int, last: int, source: Int64, entry: Int64
) -> None:
    """The synapses onto targets ``first`` … ``last``, sorted by (target, source): their sources and entries.

    ``at`` [sources], the first entry of each source not given out yet, moves on: stretches follow each other.
    ``begins`` [targets + 1]: where each target's synapses begin in the whole order.
    """
    place = begins[first:last] - begins[first]
    for cell in range(at.size):
        here = at[cell]
        while here < indptr[cell + 1] and target[here] < last:
            row = target[here] - first
            source[place[row]] = cell
            entry[place[row]] = here
            place[row] += 1
            here += 1
        at[cell] = here


@compiled()
def sources_stretch(
    indptr: Int64, target: Int32, free: Int64, first: int, last: int, ranges: Int64, counts: Int64
) -> int:
    """Where the synapses of sources ``first`` … ``last`` lie in the order by target, as runs [begin, end).

    ``free`` [targets], the place of each target's next synapse in that order, moves on: stretches follow each other.
    Runs go into ``ranges`` [synapses of the stretch, 2], their number for every source into ``counts``. Returns how
    many there are.
    """
    found = 0
    for cell in range(first, last):
        begin = found
        for here in range(indptr[cell], indptr[cell + 1]):
            place = free[target[here]]
            free[target[here]] += 1
            if found > begin and ranges[found - 1, 1] == place:
                ranges[found - 1, 1] = place + 1
            else:
                ranges[found, 0], ranges[found, 1] = place, place + 1
                found += 1
        counts[cell - first] = found - begin
    return found


def stretches(begins: Int64, most: int) -> list[tuple[int, int]]:
    """Consecutive rows with up to ``most`` entries together, at least one row each; ``begins`` [rows + 1]."""
    found, first = [], 0
    while first < begins.size - 1:
        last = int(np.searchsorted(begins, begins[first] + most, side="right")) - 1
        last = max(last, first + 1)
        found.append((first, last))
        first = last
    return found
