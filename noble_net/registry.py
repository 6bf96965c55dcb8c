"""Finding what ships with the package: cores, families, networks and studies, by name or by path.

Installed, they lie inside the package (``_checkpoints``, ``_families``, ``_networks``); in a checkout, in its
top-level folders. The packaged place is tried first.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from noble_net.errors import BackendError, CheckpointError, FamilyError, NobleNetError

if TYPE_CHECKING:
    from noble_net.cells.family import Family
    from noble_net.surrogate.core import Core
    from noble_net.surrogate.step_core import StepCore
    from noble_net.types import Precision

_CLOSED_FORM = {"integrate-and-fire": False, "integrate-and-fire-grid": True}
"""Cores without a checkpoint, and whether their spikes lie on the grid."""

_STEPS_ONLY = "noble"
"""The kind, in core.json, of cores that answer square steps and cannot run a network."""

_PACKAGE = Path(__file__).parent
_CHECKOUT = _PACKAGE.parent


def shipped() -> dict[str, list[str]]:
    """Names of the cores, families, networks and studies that come with this installation.

    ``cores`` run networks; ``step cores`` answer square steps alone.
    """
    kinds = {p.parent.name: _kind(p.parent) for p in _listing("checkpoints", "*/core.json")}
    steps = {name for name, kind in kinds.items() if kind == _STEPS_ONLY}
    return {
        "cores": sorted(_CLOSED_FORM.keys() | (kinds.keys() - steps)),
        "step cores": sorted(steps),
        "families": sorted({p.stem for p in _tables()}),
        "networks": sorted({p.stem for p in _listing("networks", "*.yaml")}),
        "studies": sorted({p.stem for p in _listing("networks", "studies/*.yaml")}),
    }


@cache
def load_core(name: str, precision: Precision = "float32") -> Core:
    """The core of a name (shipped) or of a path (a checkpoint folder). Raises CheckpointError.

    ``precision``: of its products, where it has weights. A core that answers square steps alone is refused: it has no
    state to run a network with.
    """
    if name in _CLOSED_FORM:
        from noble_net.surrogate.integrate_and_fire import IntegrateAndFire

        return IntegrateAndFire(on_grid=_CLOSED_FORM[name])
    path = checkpoint_folder(name)
    if _kind(path) == _STEPS_ONLY:
        raise CheckpointError(
            f"core {name!r} answers square steps alone and cannot run a network: give one of "
            f"{', '.join(shipped()['cores'])}, or ask for step responses (`noble-net respond`)"
        )
    from noble_net.surrogate.opening import open_core

    return open_core(path, precision)


@cache
def load_step_core(name: str, device: str = "cpu") -> StepCore:
    """What answers square steps for a core's name or path: NOBLE itself, or any other core driven by steps.

    ``device``, 'cpu' or 'cuda', is where NOBLE computes; other cores know CPUs alone. Raises CheckpointError, and
    BackendError for another device than theirs.
    """
    if name not in _CLOSED_FORM and _kind(path := checkpoint_folder(name)) == _STEPS_ONLY:
        from noble_net.surrogate.noble import Noble

        return Noble.load(path, device)
    if device != "cpu":
        raise BackendError(f"core {name} answers steps on CPUs alone: leave out --device {device}")
    from noble_net.surrogate.step_streaming import SteppedCore

    return SteppedCore(load_core(name))


@cache
def load_family(name: str) -> Family:
    """The family of a name (shipped) or of a path (its CSV table). Raises FamilyError."""
    from noble_net.cells.family import read_family

    found = [p for p in _tables() if p.stem == name]
    path = found[0] if found else Path(name)
    if path.suffix != ".csv" or not os.path.isfile(path):
        raise FamilyError(_unknown("family", name, shipped()["families"], "a family's CSV table"))
    return read_family(path)


def family_of(core: str) -> str | None:
    """The family that a core, of a name or a path, was trained on, by name. Raises CheckpointError."""
    return None if core in _CLOSED_FORM else _told(checkpoint_folder(core), "family") or None


def cores_of(family: str) -> list[str]:
    """The shipped cores that stand for a family where none is named: streaming ones, since a windowed core, a baseline
    hundreds of times as dear, is nobody's silent choice."""
    return [
        name
        for name in shipped()["cores"]
        if family_of(name) == family and _kind(checkpoint_folder(name)) != "windowed"
    ]


def find_network(name: str) -> Path:
    """The network file of a path, or of a shipped name. Raises NobleNetError."""
    path = Path(name)
    if path.exists() or path.suffix in (".yaml", ".yml"):
        return path
    found = [p for p in _listing("networks", "*.yaml") if p.stem == name]
    if not found:
        raise NobleNetError(_unknown("network", name, shipped()["networks"], "a network file"))
    return found[0]


def find_study(name: str) -> Path:
    """The study file of a path, or of a shipped name. Raises NobleNetError."""
    path = Path(name)
    if path.exists() or path.suffix in (".yaml", ".yml"):
        return path
    found = [p for p in _listing("networks", "studies/*.yaml") if p.stem == name]
    if not found:
        raise NobleNetError(_unknown("study", name, shipped()["studies"], "a study file"))
    return found[0]


def checkpoint_folder(name: str) -> Path:
    """The folder of a core's checkpoint, for its name (shipped) or its path. Raises CheckpointError."""
    found = [p.parent for p in _listing("checkpoints", "*/core.json") if p.parent.name == name]
    path = found[0] if found else Path(name)
    if not os.path.isfile(path / "core.json"):
        known = shipped()
        names = [*known["cores"], *known["step cores"]]
        raise CheckpointError(_unknown("core", name, names, "a checkpoint folder"))
    return path


def _kind(checkpoint: Path) -> str:
    return _told(checkpoint, "kind")


def _told(checkpoint: Path, key: str) -> str:
    """What core.json says of itself; empty where it cannot be read, which whoever loads it explains."""
    try:
        return str(json.loads((checkpoint / "core.json").read_text(encoding="utf-8"))[key])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _tables() -> list[Path]:
    """The families' tables: those with a description beside them."""
    return [path for path in _listing("families", "*.csv") if path.with_suffix(".json").is_file()]


def _listing(kind: str, pattern: str) -> list[Path]:
    packaged = _PACKAGE / f"_{kind}"
    checkout = _CHECKOUT / ("networks" if kind == "networks" else f"surrogate/{kind}")
    folder = packaged if packaged.is_dir() else checkout
    return sorted(folder.glob(pattern))


def _unknown(what: str, name: str, known: Sequence[str], otherwise: str) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"there is no {what} {name!r}: {hint}shipped are {', '.join(known) or 'none'}; a path must name {otherwise}"
