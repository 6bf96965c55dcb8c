"""Connections between the processes of a run, here threads of one: everything arrives, strangers and silence do not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from noble_net.ranks.lines import LineError, Lines

LARGE = 5_000_000
"""Bytes, more than a connection holds that nobody reads."""


class Together:
    """A call that all of some threads make, and whose answers each of them gets."""

    def __init__(self, ranks: int, before: Callable[[list[Any]], None] = lambda told: None) -> None:
        self._told: list[Any] = [None] * ranks
        self._all, self._read = threading.Barrier(ranks, lambda: before(self._told)), threading.Barrier(ranks)

    def at(self, rank: int) -> Callable[[Any], list[Any]]:
        def call(mine: Any) -> list[Any]:
            self._told[rank] = mine
            self._all.wait(20)
            found = list(self._told)
            self._read.wait(20)
            return found

        return call


@contextmanager
def connected(
    ranks: int, patience: float = 20.0, before: Callable[[list[Any]], None] = lambda told: None
) -> Iterator[tuple[ThreadPoolExecutor, list[Lines]]]:
    together = Together(ranks, before)
    with ThreadPoolExecutor(ranks) as pool:
        lines = list(pool.map(lambda r: Lines(r, ranks, "127.0.0.1", together.at(r), patience), range(ranks)))
        try:
            yield pool, lines
        finally:
            for each in lines:
                each.close()


@pytest.mark.parametrize("ranks", [2, 3, 5])
@pytest.mark.parametrize("size", [0, 1, LARGE])
def test_everyone_hears_those_behind(ranks: int, size: int) -> None:
    with connected(ranks) as (pool, lines):
        for distance in (d for d in (1, 2, 4) if d < ranks):

            def swap(rank: int, distance: int = distance) -> np.ndarray:
                heard = np.empty(size, np.uint8)
                lines[rank].swap(distance, np.full(size, rank, np.uint8), heard)
                return heard

            for rank, heard in enumerate(pool.map(swap, range(ranks))):
                assert np.all(heard == (rank + distance) % ranks)


def test_the_leader_hears_each() -> None:
    with connected(3) as (pool, lines):
        sent = [pool.submit(lines[rank].send, np.full(LARGE, rank, np.uint8)) for rank in (1, 2)]
        for rank in (2, 1):
            heard = np.empty(LARGE, np.uint8)
            lines[0].receive(rank, heard)
            assert np.all(heard == rank)
        for each in sent:
            each.result()


def test_strangers_are_not_taken_up() -> None:
    strangers = []

    def knock(told: list[Any]) -> None:
        if told[0] is not None and not strangers:
            for words in (b"", b"x" * 24):
                strangers.append(socket.create_connection(told[0][:2]))
                strangers[-1].sendall(words)
            strangers[0].close()

    with connected(2, before=knock) as (pool, lines):
        heard = np.empty(4, np.uint8)
        sent = pool.submit(lines[1].swap, 1, np.arange(4, dtype=np.uint8), np.empty(4, np.uint8))
        lines[0].swap(1, np.zeros(4, np.uint8), heard)
        sent.result()
        assert heard.tolist() == [0, 1, 2, 3]
    strangers[1].close()


def test_who_hangs_up_or_is_silent_is_told() -> None:
    with connected(2, patience=0.2) as (_, lines):
        with pytest.raises(LineError, match="silent"):
            lines[0].receive(1, np.empty(4, np.uint8))
        lines[1].close()
        with pytest.raises(LineError):
            lines[0].receive(1, np.empty(4, np.uint8))
