"""Which cells of a population one of several processes advances: a stretch of them, as long as the others' are."""

from __future__ import annotations

from typing import NamedTuple


class Share(NamedTuple):
    """What process number ``rank`` of ``ranks`` has of a network: of every population a stretch of cells, and the
    synapses and stimuli that these receive."""

    rank: int
    ranks: int

    def of(self, size: int) -> range:
        """Its cells out of ``size``. Stretches follow each other by rank and differ by a cell at most."""
        return range(size * self.rank // self.ranks, size * (self.rank + 1) // self.ranks)
