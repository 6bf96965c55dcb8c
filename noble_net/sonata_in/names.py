"""Names of a circuit as names of a network file."""

from __future__ import annotations

import re

_LONGEST = 64


class Names:
    """Gives out names, each once, near to those wanted: letters, digits, `_`, `.` and `-`, at most 64."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def new(self, *parts: object) -> str:
        """The parts joined by dashes, with a number behind where that is taken."""
        wanted = plain_name("-".join(str(part) for part in parts))
        name, number = wanted, 2
        while name in self._taken:
            name, number = f"{wanted[: _LONGEST - 6]}-{number}", number + 1
        self._taken.add(name)
        return name


def plain_name(text: str) -> str:
    """``text`` with everything replaced that a name cannot hold."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text).lstrip(".-")[:_LONGEST] or "_"
