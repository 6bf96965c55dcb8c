"""Synaptic events under way: who is going to get how much, kept by the sample in which it arrives.

Events of a sample lie in chunks linked to each other, out of a pool that grows when it has to, so that sending writes
to the end of a list and arriving reads one: memory and caches hold what is under way, not every cell at every delay.
"""

from __future__ import annotations

import numpy as np

from noble_net.errors import OutputError
from noble_net.network.underway_kernels import CHUNK, Pool, new_pool, pack, refill
from noble_net.types import Float32, Int32, Int64


class Underway:
    """Events on their way to the cells of one population, up to ``longest_delay`` samples ahead.

    Kernels take its ``pool``, after `make_room`.
    """

    def __init__(self, longest_delay: int) -> None:
        self.slots = longest_delay + 1
        self.pool: Pool = new_pool(self.slots)

    def make_room(self, events: int) -> None:
        """Have place for so many more events, however they are spread."""
        needed = min(events, events // CHUNK + self.slots)
        missing = needed - int(self.pool.unused_count[0])
        if missing > 0:
            self.pool = _grown(self.pool, max(missing, len(self.pool.following)))

    def packed(self) -> tuple[Int64, Int32, Float32]:
        """The events of every slot, their number int64 [slots], and in that order their targets and amounts. Slot i
        holds arrivals in samples that leave a remainder of i when divided by the slots."""
        return pack(self.pool)

    def restore(self, counts: Int64, target: Int32, amount: Float32) -> None:
        """Take `packed` events instead of its own. Raises OutputError where they do not fit together."""
        if counts.shape != (self.slots,) or not counts.sum() == len(target) == len(amount):
            raise OutputError("the state of the run is damaged. Start the run again with --overwrite.")
        self.pool = new_pool(self.slots)
        self.make_room(len(target))
        refill(self.pool, counts, target, amount)


def _grown(pool: Pool, chunks: int) -> Pool:
    """The same events with so many more chunks."""
    before, count = len(pool.following), int(pool.unused_count[0])
    unused = np.concatenate([pool.unused[:count], np.arange(before, before + chunks, dtype=np.int32)])
    return Pool(
        target=np.concatenate([pool.target, np.empty(chunks * CHUNK, np.int32)]),
        amount=np.concatenate([pool.amount, np.empty(chunks * CHUNK, np.float32)]),
        following=np.concatenate([pool.following, np.full(chunks, -1, np.int32)]),
        newest=pool.newest,
        free=pool.free,
        unused=np.concatenate([unused, np.zeros(before - count, np.int32)]),
        unused_count=np.array([count + chunks]),
    )
