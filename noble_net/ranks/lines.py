"""Open connections between processes, for the little that all of them tell each other in every block.

torch.distributed's gloo hands each message to a thread of its own and back. Where every core computes, that thread
waits for its turn: milliseconds, as long as a block takes, where a connection that the waiting process reads itself
brings the message in some ten microseconds.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from select import POLLIN, POLLOUT, poll
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
_End = tuple[socket.socket, memoryview]
_SECRET = 16
_HELLO = _SECRET + 8
WAITING = 4096
"""Connections that may wait to be taken up."""
_GREETING = 10.0
"""Seconds within which a process that has connected says who it is."""


class LineError(Exception):
    """The process at the other end is gone, or silent."""


class Lines:
    """Connections of process ``rank`` with those at distances 1, 2, 4 … around the ring of all ``ranks``, and of
    everyone with the leader.

    ``together``: a call all processes make, which returns what each of them gives it, by rank. ``host``: where the
    others reach this one. ``patience``: seconds to wait for another's bytes. Raises LineError when one does not come.
    """

    def __init__(
        self, rank: int, ranks: int, host: str, together: Callable[[Any], list[Any]], patience: float
    ) -> None:
        self._rank, self._ranks, self._patience = rank, ranks, patience
        self._to: dict[int, socket.socket] = {}
        """By distance: to the process so far before this one; 0: to the leader."""
        self._from: dict[int, socket.socket] = {}
        """By distance: from the process so far behind this one."""
        self._followers: dict[int, socket.socket] = {}
        """In the leader, by rank."""
        self._distances = [1 << step for step in range((ranks - 1).bit_length())]
        with socket.create_server(("", 0), backlog=WAITING) as listener:
            told = together((host, listener.getsockname()[1], secrets.token_bytes(_SECRET)))
            addresses, secret = [each[:2] for each in told], told[0][2]
            try:
                for distance in self._distances:
                    self._to[distance] = self._opened(addresses[(rank - distance) % ranks], secret, distance)
                if rank:
                    self._to[0] = self._opened(addresses[0], secret, 0)
                together(None)  # now all of them wait to be taken up
                self._take_up(listener, secret)
            except OSError as error:
                self.close()
                raise LineError(f"no connection with another process: {error}") from error

    def _opened(self, address: Sequence[Any], secret: bytes, distance: int) -> socket.socket:
        line = socket.create_connection((address[0], address[1]), timeout=self._patience)
        line.sendall(secret + np.array([self._rank, distance], "<i4").tobytes())
        return _ready(line)

    def _take_up(self, listener: socket.socket, secret: bytes) -> None:
        """Accept those who know the ``secret``, and nobody else."""
        missing = len(self._distances) + (0 if self._rank else self._ranks - 1)
        listener.settimeout(self._patience)
        while missing:
            line, _ = listener.accept()
            said = _greeting(line)
            if len(said) < _HELLO or not secrets.compare_digest(said[:_SECRET], secret):
                line.close()
                continue
            rank, distance = np.frombuffer(said[_SECRET:], "<i4").tolist()
            (self._from if distance else self._followers)[distance or rank] = _ready(line)
            missing -= 1

    def close(self) -> None:
        """Hang up; whoever waits for this process learns of it."""
        for line in (*self._to.values(), *self._from.values(), *self._followers.values()):
            line.close()

    def swap(self, distance: int, mine: Bytes, theirs: Bytes) -> None:
        """Send ``mine`` to the process ``distance`` before this one, and fill ``theirs`` with what the one as far
        behind sends here. Neither has to wait for the other."""
        self._pass((self._to[distance], mine.data), (self._from[distance], theirs.data))

    def send(self, mine: Bytes) -> None:
        """Send bytes to the leader, which must `receive` as many."""
        self._pass((self._to[0], mine.data), None)

    def receive(self, rank: int, theirs: Bytes) -> None:
        """Fill ``theirs`` with what another process sends to the leader."""
        self._pass(None, (self._followers[rank], theirs.data))

    def _pass(self, sent: _End | None, received: _End | None) -> None:
        while sent or received:
            if sent:
                sent = _rest(sent, sent[0].send)
            if received:
                received = _rest(received, received[0].recv_into)
            if sent or received:
                watch = poll()
                for end, event in ((sent, POLLOUT), (received, POLLIN)):
                    if end:
                        watch.register(end[0], event)
                if not watch.poll(1000.0 * self._patience):
                    raise LineError(f"another process was silent for {self._patience:g} s")


def _rest(end: _End, moved: Callable[[memoryview], int]) -> _End | None:
    """What is left to send or receive after as much as goes without waiting; None: nothing."""
    line, left = end
    try:
        while left:
            count = moved(left)
            if not count:
                raise LineError("another process has hung up")
            left = left[count:]
    except BlockingIOError:
        return line, left
    except OSError as error:
        raise LineError(str(error)) from error
    return None


def _ready(line: socket.socket) -> socket.socket:
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # short messages go at once
    line.setblocking(False)
    return line


def _greeting(line: socket.socket) -> bytes:
    """What a process says first; less, or nothing, where it is none of this run."""
    line.settimeout(_GREETING)
    said = b""
    with suppress(OSError):
        while len(said) < _HELLO and (more := line.recv(_HELLO - len(said))):
            said += more
    return said
