"""Finding what ships with the package: cores, families and networks, by name or by path.

Installed, they lie inside the package (``_checkpoints``, ``_families``, ``_networks``); in a checkout, in its
top-level folders. The packaged place is tried first.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from noble_net.errors import CheckpointError, FamilyError, NobleNetError

if TYPE_CHECKING:
    from noble_net.cells.family import Family
    from noble_net.surrogate.core import Core

INTEGRATE_AND_FIRE = "integrate-and-fire"

_PACKAGE = Path(__file__).parent
_CHECKOUT = _PACKAGE.parent


def shipped() -> dict[str, list[str]]:
    """Names of the cores, families and networks that come with this installation."""
    cores = {INTEGRATE_AND_FIRE} | {p.parent.name for p in _listing("checkpoints", "*/core.json")}
    return {
        "cores": sorted(cores),
        "families": sorted({p.stem for p in _listing("families", "*.csv")}),
        "networks": sorted({p.stem for p in _listing("networks", "*.yaml")}),
    }


@cache
def load_core(name: str) -> Core:
    """The core of a name (shipped) or of a path (a checkpoint folder). Raises CheckpointError."""
    if name == INTEGRATE_AND_FIRE:
        from noble_net.surrogate.integrate_and_fire import IntegrateAndFire

        return IntegrateAndFire()
    from noble_net.surrogate.streaming import StreamingCore

    found = [p.parent for p in _listing("checkpoints", "*/core.json") if p.parent.name == name]
    path = found[0] if found else Path(name)
    if not (path / "core.json").is_file():
        raise CheckpointError(_unknown("core", name, shipped()["cores"], "a checkpoint folder"))
    return StreamingCore.load(path)


@cache
def load_family(name: str) -> Family:
    """The family of a name (shipped) or of a path (its CSV table). Raises FamilyError."""
    from noble_net.cells.family import read_family

    found = [p for p in _listing("families", "*.csv") if p.stem == name]
    path = found[0] if found else Path(name)
    if path.suffix != ".csv" or not path.is_file():
        raise FamilyError(_unknown("family", name, shipped()["families"], "a family's CSV table"))
    return read_family(path)


def find_network(name: str) -> Path:
    """The network file of a path, or of a shipped name. Raises NobleNetError."""
    path = Path(name)
    if path.exists() or path.suffix in (".yaml", ".yml"):
        return path
    found = [p for p in _listing("networks", "*.yaml") if p.stem == name]
    if not found:
        raise NobleNetError(_unknown("network", name, shipped()["networks"], "a network file"))
    return found[0]


def _listing(kind: str, pattern: str) -> list[Path]:
    packaged = _PACKAGE / f"_{kind}"
    checkout = _CHECKOUT / ("networks" if kind == "networks" else f"surrogate/{kind}")
    folder = packaged if packaged.is_dir() else checkout
    return sorted(folder.glob(pattern))


def _unknown(what: str, name: str, known: Sequence[str], otherwise: str) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"there is no {what} {name!r}: {hint}shipped are {', '.join(known) or 'none'}; a path must name {otherwise}"
