"""Whether this process is one of several, as `torchrun` and other launchers tell by the environment."""

from __future__ import annotations

import os
from typing import NamedTuple

from noble_net.errors import BackendError


class Started(NamedTuple):
    """This process's number, how many there are, and how many of them on this machine."""

    rank: int
    ranks: int
    here: int


def started() -> Started | None:
    """What RANK, WORLD_SIZE and LOCAL_WORLD_SIZE say; None in a process by itself. BackendError for other text."""
    if int(_number("WORLD_SIZE", 1)) < 2:
        return None
    ranks = _number("WORLD_SIZE", 1)
    if "RANK" not in os.environ:
        raise BackendError(f"WORLD_SIZE is {ranks}, but RANK is not set: start the processes with torchrun")
    rank = _number("RANK", 0)
    if not 0 <= rank < ranks:
        raise BackendError(f"RANK is {rank} of {ranks} processes: start them with torchrun")
    return Started(rank, ranks, max(1, min(_number("LOCAL_WORLD_SIZE", ranks), ranks)))


def _number(name: str, otherwise: int) -> int:
    text = os.environ.get(name, str(otherwise))
    if not text.strip().lstrip("-").isdigit():
        raise BackendError(
            f"the environment's {name} is {text!r}, not a number: start the processes with torchrun"
        )
    return int(text)
