"""Events under way: each arrives once, in its sample, whatever the blocks; and they can be put away and taken back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noble_net.errors import OutputError
from noble_net.network import underway_kernels
from noble_net.network.underway import Underway
from noble_net.network.underway_kernels import CHUNK, FIXED_POINT

CELLS, LONGEST = 5, 30


@st.composite
def traffic(draw: st.DrawFn) -> list[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks as (samples, delay, target, amount) of what is sent at the end of each."""
    found = []
    for _ in range(draw(st.integers(1, 8))):
        size = draw(st.sampled_from([0, 1, 7, CHUNK - 1, CHUNK, 3 * CHUNK + 5]))
        random = np.random.default_rng(draw(st.integers(0, 1000)))
        delays = random.integers(10, draw(st.sampled_from([11, LONGEST + 1])), size)
        targets = random.integers(0, CELLS, size).astype(np.int32)
        found.append(
            (draw(st.integers(1, 10)), delays, targets, random.normal(0, 1, size).astype(np.float32))
        )
    return found


def push_all(underway: Underway, arrival: np.ndarray, target: np.ndarray, amount: np.ndarray) -> None:
    underway.make_room(len(target))
    for each in zip(arrival % underway.slots, target, amount, strict=True):
        underway_kernels.push(underway.pool, *each)


@given(traffic(), st.booleans())
def test_every_event_arrives_once_in_its_sample(
    blocks: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]], put_away: bool
) -> None:
    underway, start, total = Underway(LONGEST), 0, sum(block[0] for block in blocks) + LONGEST + 11
    expected, found = np.zeros((total, CELLS), np.int64), np.zeros((total, CELLS), np.int64)
    silent = (LONGEST + 1, *(np.empty(0, kind) for kind in (np.int64, np.int32, np.float32)))
    for samples, delay, target, amount in [*blocks, silent]:
        arriving = np.zeros((samples, CELLS), np.int64)
        underway_kernels.arrive(underway.pool, start, samples, arriving)
        rows = (start + np.arange(samples)) % samples
        found[start : start + samples] = arriving[rows]
        arrival = start + samples + delay - 10
        np.add.at(expected, (arrival, target), (amount.astype(np.float64) * FIXED_POINT).astype(np.int64))
        push_all(underway, arrival, target, amount)
        if put_away:
            other = Underway(LONGEST)
            other.restore(*underway.packed())
            underway = other
        start += samples
    assert np.array_equal(found, expected)
    counts, target, amount = underway.packed()
    assert not counts.any() and not target.size and not amount.size
    assert underway.pool.unused_count[0] == len(underway.pool.following)
    assert sorted(underway.pool.unused) == list(range(len(underway.pool.following)))


def test_memory_is_that_of_what_is_under_way() -> None:
    underway, random = Underway(LONGEST), np.random.default_rng(1)
    arriving = np.zeros((10, CELLS), np.int64)
    for block in range(200):
        underway_kernels.arrive(underway.pool, 10 * block, 10, arriving)
        arrival = 10 * (block + 1) + random.integers(0, 20, 500)
        push_all(underway, arrival, random.integers(0, CELLS, 500), np.ones(500, np.float32))
    most = (3 * 500 // CHUNK + LONGEST + 1) * CHUNK
    assert underway.pool.target.size <= 2 * most


def test_events_that_do_not_fit_are_refused() -> None:
    underway = Underway(LONGEST)
    for counts in (np.ones(LONGEST, np.int64), np.ones(LONGEST + 1, np.int64)):
        with pytest.raises(OutputError, match="damaged"):
            underway.restore(counts, np.zeros(3, np.int32), np.zeros(3, np.float32))
