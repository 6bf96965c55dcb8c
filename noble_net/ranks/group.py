"""Processes that belong together: what they tell each other, and which of them has died where one does not answer.

The words are torch.distributed's, on its gloo backend, which needs CPUs and a network alone; what is told in every
block goes by `noble_net.ranks.lines`. A process that dies closes its connections, and whoever waits for it learns at
once. To say which it was, every process keeps a port open for as long as it lives, and the others knock. A process that
leaves because another has died says so at the ports of the rest: whoever finds out later does not take it for a dead
one.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, NamedTuple, cast

import numpy as np

from noble_net.errors import BackendError, MissingExtraError, NobleNetError
from noble_net.ranks.environment import Started
from noble_net.ranks.lines import WAITING, Bytes, LineError, Lines
from noble_net.types import Float32

PATIENCE = timedelta(minutes=10)
"""How long one process waits for another that is alive, such as one that builds a larger share or writes a state."""
_KNOCK = 1.0
_PAUSES = (0.1, 0.4, 1.5)
"""Seconds between knocks at processes whose ports do not all close at once as they die; for as long as all of them, one
that found another dead can itself be found alive by the rest."""


class RankLost(NobleNetError):
    """Another process has died, or does not answer; names it.

    ``told``: whether this is the process to say so; ``dead``: the numbers of those known to be gone.
    """

    def __init__(self, text: str, told: bool = True, dead: Sequence[int] = ()) -> None:
        super().__init__(text)
        self.told, self.dead = told, tuple(dead)


class Failed(NamedTuple):
    """What one process could not do."""

    rank: int
    text: str


class RankGroup:
    """The processes of a run, as `started` by a launcher. Use as a context manager.

    Every call but `close` is made by all of them, in the same order; a call raises RankLost where one is gone.
    MissingExtraError without PyTorch.
    """

    def __init__(self, started: Started) -> None:
        try:
            import torch.distributed as distributed
        except ImportError as error:
            raise MissingExtraError("a run on several processes", "device") from error
        self.rank, self.ranks = started.rank, started.ranks
        self._distributed = distributed
        self._lines: Lines | None = None
        self._listener = socket.create_server(("", 0), backlog=WAITING)
        self.failing = False
        """Whether one is known to be gone, or this process is about to end."""
        self._addresses: list[tuple[str, int, int]] = []
        with self._talking():
            distributed.init_process_group(
                "gloo", rank=started.rank, world_size=started.ranks, timeout=PATIENCE
            )
            host = _own_address()
            self._addresses = self.everyones((host, self._listener.getsockname()[1], os.getpid()))
            self._lines = Lines(self.rank, self.ranks, host, self.everyones, PATIENCE.total_seconds())

    def __enter__(self) -> RankGroup:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            with suppress(RankLost):
                self.everyones(None)  # none leaves while others still need it
        self.close()

    @property
    def leads(self) -> bool:
        """Whether this process writes the results and tells the others what to do."""
        return self.rank == 0

    def close(self) -> None:
        """Let go of the others."""
        self._hang_up()
        self._listener.close()

    def _hang_up(self) -> None:
        if self._lines:
            self._lines.close()
        with suppress(Exception):
            self._distributed.destroy_process_group()

    def everyones(self, mine: Any) -> list[Any]:
        """What every process gives, small things that can be pickled, by rank."""
        found: list[Any] = [None] * self.ranks
        with self._talking():
            self._distributed.all_gather_object(found, mine)
        return found

    def leaders(self, mine: Any = None) -> Any:
        """What the leader gives; ``mine`` of others is ignored."""
        box = [mine]
        with self._talking():
            self._distributed.broadcast_object_list(box, src=0)
        return box[0]

    def led(self, mine: Any) -> list[Any] | None:
        """What every process gives, by rank, to the leader alone."""
        found: list[Any] | None = [None] * self.ranks if self.leads else None
        with self._talking():
            self._distributed.gather_object(mine, found, dst=0)
        return found

    def command(self, words: Sequence[int] = (0, 0)) -> tuple[int, int]:
        """Two numbers of the leader's."""
        first, second = self.all_bytes(np.array(words, "<i8").view(np.uint8))[0].view("<i8").tolist()
        return first, second

    def all_bytes(self, mine: Bytes) -> list[Bytes]:
        """What every process gives, by rank: as many bytes of each.

        In ⌈log₂ ranks⌉ steps, in each of which a process passes on what it has. Source: Bruck et al. 1997, "Efficient
        algorithms for all-to-all communications in multiport message-passing systems".
        """
        rank, ranks = self.rank, self.ranks
        found = np.empty((ranks, mine.size), np.uint8)  # of this process, the next one, and so on around
        found[0] = mine
        have = 1
        with self._talking() as lines:
            while have < ranks:
                more = min(have, ranks - have)
                lines.swap(have, found[:more].reshape(-1), found[have : have + more].reshape(-1))
                have += more
        return [found[(other - rank) % ranks] for other in range(ranks)]

    def send(self, values: Float32) -> None:
        """Send values to the leader, which must `receive` as many."""
        with self._talking() as lines:
            lines.send(values.view(np.uint8))

    def receive(self, rank: int, values: Float32) -> None:
        """Receive values that another process sends to the leader."""
        with self._talking() as lines:
            lines.receive(rank, values.view(np.uint8))

    def agree(self, error: NobleNetError | None) -> None:
        """Raise where any process has an ``error``: in the leader its own, or that of another with its number; the
        others leave by SystemExit, so that it is told once."""
        failed = None if error is None else Failed(self.rank, str(error))
        found = [each for each in self.everyones(failed) if each is not None]
        if not found:
            return
        self.failing = True
        if not self.leads:
            raise SystemExit(2)
        if error is not None:
            raise error
        raise BackendError(f"rank {found[0].rank}: {found[0].text}")

    @contextmanager
    def _talking(self) -> Iterator[Lines]:
        try:
            yield cast(Lines, self._lines)
        except (RuntimeError, LineError) as error:  # the former is all that torch.distributed raises
            raise self.lost(str(error)) from error

    def lost(self, reason: str) -> RankLost:
        """Find out who is gone, let the others find out too, and say it."""
        self.failing = True
        dead = self._dead()
        self._hang_up()  # whoever waits for this one in vain learns of it now
        for pause in _PAUSES:
            time.sleep(pause)
            dead = dead or self._dead()
        dead = sorted(set(dead) - self._left())
        self._say_that_it_leaves(dead)
        if not dead:
            first = (reason.strip().splitlines() or ["no reason given"])[0]
            return RankLost(f"a process of this run did not answer: {first[:200]}", told=self.leads)
        names = ", ".join(self._name(rank) for rank in dead)
        plural = "ranks" if len(dead) > 1 else "rank"
        verb = "have" if len(dead) > 1 else "has"
        first_alive = min(set(range(self.ranks)) - set(dead))
        return RankLost(
            f"{plural} {names} of {self.ranks} processes {verb} died before the run was done",
            told=first_alive == self.rank,
            dead=dead,
        )

    def _dead(self) -> list[int]:
        """The processes whose ports are closed."""
        return [rank for rank in range(self.ranks) if rank != self.rank and not self._alive(rank)]

    def _say_that_it_leaves(self, dead: Sequence[int]) -> None:
        """Leave this process's number at the ports of the others that live."""
        for rank, (host, port, _) in enumerate(self._addresses):
            if rank != self.rank and rank not in dead:
                with suppress(OSError), socket.create_connection((host, port), timeout=_KNOCK) as door:
                    door.sendall(self.rank.to_bytes(4, "little"))

    def _left(self) -> set[int]:
        """The processes that have said here that they leave; they live, or have told what there is to tell."""
        self._listener.setblocking(False)
        found = set()
        with suppress(BlockingIOError):
            while True:
                door, _ = self._listener.accept()
                with door, suppress(OSError):
                    door.settimeout(_KNOCK)
                    said = door.recv(4)  # nothing, where somebody only knocked
                    found.update([int.from_bytes(said, "little")] if len(said) == 4 else [])
        return found

    def _name(self, rank: int) -> str:
        if not self._addresses:
            return str(rank)
        host, _, process = self._addresses[rank]
        return f"{rank} (process {process} on {host})"

    def _alive(self, rank: int) -> bool:
        if not self._addresses:
            return True
        host, port, _ = self._addresses[rank]
        try:
            socket.create_connection((host, port), timeout=_KNOCK).close()
        except OSError:
            return False
        return True


def _own_address() -> str:
    """The address of this machine at which the others reach it: that from which it reaches the first of them."""
    master = os.environ.get("MASTER_ADDR", "127.0.0.1")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((master, 9))  # sends nothing
            return str(probe.getsockname()[0])
    except OSError:
        return socket.gethostname()
