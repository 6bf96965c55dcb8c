"""Sending synaptic events and letting them arrive, compiled: see `noble_net.network.underway`.

Amounts are float32 and are added up in fixed point, so that sums do not depend on the order of events.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from noble_net.compiled import compiled
from noble_net.types import Float32, Float64, Int32, Int64, UInt16

FIXED_POINT = 2.0**32
"""Units of a sum of amounts per nS or pA."""
CHUNK = 256
"""Events that lie together; a power of two."""


class Pool(NamedTuple):
    """Chunks of events. Entry ``c``·CHUNK + i of ``target`` and ``amount`` is event i of chunk c.

    ``following`` [chunks] is the chunk that continues one, −1 at the end, ``newest`` [slots] each slot's first, −1
    without any; all but that one are full. ``free`` [slots] is where the slot's next event goes, a multiple of CHUNK
    where it takes another chunk. The first ``unused_count[0]`` of ``unused`` are chunks nobody has.
    """

    target: Int32
    amount: Float32
    following: Int32
    newest: Int32
    free: Int64
    unused: Int32
    unused_count: Int64


def new_pool(slots: int) -> Pool:
    """A pool without chunks."""
    nothing = np.empty(0, np.int32)
    newest, free = np.full(slots, -1, np.int32), np.zeros(slots, np.int64)
    return Pool(
        nothing, np.empty(0, np.float32), nothing.copy(), newest, free, nothing.copy(), np.zeros(1, np.int64)
    )


@compiled()
def push(pool: Pool, slot: int, target: int, amount: np.float32) -> None:
    """Add an event to a slot, for which there must be room."""
    at = pool.free[slot]
    if at & (CHUNK - 1) == 0:
        pool.unused_count[0] -= 1
        chunk = pool.unused[pool.unused_count[0]]
        pool.following[chunk] = pool.newest[slot]
        pool.newest[slot] = chunk
        at = np.int64(chunk) * CHUNK
    pool.target[at] = target
    pool.amount[at] = amount
    pool.free[slot] = at + 1


@compiled()
def outgoing(event_cell: Int32, first_cell: int, indptr: Int64) -> int:
    """How many synapses the spikes of a block pass; see `send`."""
    total = 0
    for event in range(event_cell.size):
        source = event_cell[event] - first_cell
        if 0 <= source < indptr.size - 1:
            total += indptr[source + 1] - indptr[source]
    return total


@compiled()
def send(
    event_cell: Int32,
    event_sample: Int32,
    first_cell: int,
    start: int,
    indptr: Int64,
    target: Int32,
    weight: Float32,
    delay: UInt16,
    share: Float64,
    pool: Pool,
) -> None:
    """Send the spikes of the block from sample ``start`` on through one projection; the pool has room for them.

    Events are those of a whole group of cells; ``first_cell`` is where the source population starts in it. ``share``
    [events] of the weight is sent; empty: all of it. A spike confirmed at sample n arrives at sample n + 1 + delay.
    """
    # Most of a network's own time passes here: `push` written out, with stretches of the arrays, no division and no
    # indices that could be negative, is half as fast again.
    slots, free, unused = np.int64(pool.free.size), pool.free, pool.unused_count[0]
    targets, amounts = pool.target, pool.amount
    for event in range(event_cell.size):
        source = event_cell[event] - first_cell
        if source < 0 or source >= indptr.size - 1:
            continue
        after = (start + event_sample[event] + 1) % slots
        own = slice(indptr[source], indptr[source + 1])
        cells, weights, delays = target[own], weight[own], delay[own]
        scale = np.float32(share[event]) if share.size else np.float32(1.0)
        for entry in range(cells.size):
            slot = after + np.int64(delays[entry])
            if slot >= slots:
                slot -= slots
            at = free[np.uint64(slot)]
            if at & (CHUNK - 1) == 0:
                unused -= 1
                chunk = pool.unused[unused]
                pool.following[chunk] = pool.newest[slot]
                pool.newest[slot] = chunk
                at = np.int64(chunk) * CHUNK
            targets[np.uint64(at)] = cells[entry]
            amounts[np.uint64(at)] = weights[entry] * scale
            free[np.uint64(slot)] = at + 1
    pool.unused_count[0] = unused


@compiled()
def arrive(pool: Pool, start: int, samples: int, arriving: Int64) -> None:
    """Let the events of ``samples`` samples from ``start`` on arrive: sample k's amounts are added to row
    (start + k) modulo the rows of ``arriving`` [rows, cells], in fixed point. Their slots are empty then."""
    slots, unused = pool.free.size, pool.unused_count[0]
    for k in range(samples):
        slot = (start + k) % slots
        row = arriving[(start + k) % arriving.shape[0]]
        chunk = np.int64(pool.newest[slot])
        count = pool.free[slot] - chunk * CHUNK
        while chunk >= 0:
            held = slice(chunk * CHUNK, chunk * CHUNK + count)
            targets, amounts = pool.target[held], pool.amount[held]
            for i in range(count):
                row[np.uint64(targets[i])] += np.int64(float(amounts[i]) * FIXED_POINT)
            pool.unused[unused] = chunk
            unused += 1
            chunk, count = np.int64(pool.following[chunk]), CHUNK
        pool.newest[slot], pool.free[slot] = -1, 0
    pool.unused_count[0] = unused


@compiled()
def pack(pool: Pool) -> tuple[Int64, Int32, Float32]:
    """Number of events in every slot, and in that order their targets and amounts."""
    counts = np.zeros(pool.free.size, np.int64)
    for slot in range(counts.size):
        chunk = np.int64(pool.newest[slot])
        if chunk >= 0:
            counts[slot] = pool.free[slot] - chunk * CHUNK
            while pool.following[chunk] >= 0:
                counts[slot] += CHUNK
                chunk = np.int64(pool.following[chunk])
    target, amount = np.empty(counts.sum(), np.int32), np.empty(counts.sum(), np.float32)
    at = 0
    for slot in range(counts.size):
        chunk = np.int64(pool.newest[slot])
        count = pool.free[slot] - chunk * CHUNK
        while chunk >= 0:
            held = slice(chunk * CHUNK, chunk * CHUNK + count)
            target[at : at + count], amount[at : at + count] = pool.target[held], pool.amount[held]
            at += count
            chunk, count = np.int64(pool.following[chunk]), CHUNK
    return counts, target, amount


@compiled()
def refill(pool: Pool, counts: Int64, target: Int32, amount: Float32) -> None:
    """Add packed events to a pool that has room for them."""
    at = 0
    for slot in range(counts.size):
        for _ in range(counts[slot]):
            push(pool, slot, target[at], amount[at])
            at += 1
