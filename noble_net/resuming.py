"""Going on with a run that was cut short: when its state is saved, what a folder holds of it, and what must fit.

A state is saved between two blocks, after everything recorded until then was brought to disk, so that the files hold at
least what the state counts on; what they hold beyond it is dropped when the run goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from noble_net.config import NetworkSpec, load_network
from noble_net.errors import ConfigError, OutputError
from noble_net.network.build import Network
from noble_net.output import read_json
from noble_net.run_state import FILE as STATE
from noble_net.run_state import Arrays, RunState, checksum, read_state, under
from noble_net.types import DT

WALL_CLOCK_INTERVAL = 10.0
"""Seconds between two states where a run is not told otherwise."""
_SHARE_OF_TIME = 0.02
"""What saving may cost at most then."""
_MADE_OF = ("backend", "device", "cores", "families", "files")


@runtime_checkable
class Resumable(Protocol):
    """An engine whose state can be saved and restored."""

    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes as the network runs, by path."""

    def restore(self, arrays: Arrays) -> None:
        """Go on from such a state. OutputError when it does not fit."""


class Schedule:
    """When a run saves its state: every so many ms of simulated time, or by the wall clock so that it costs little."""

    def __init__(self, every: float | None) -> None:
        self._every = None if every is None else max(1, round(every / DT))
        self._saved_at, self._saved, self._cost = 0, time.monotonic(), 0.0

    def start(self, position: int) -> None:
        """The run begins, or goes on, at this sample."""
        self._saved_at, self._saved = position, time.monotonic()

    def due(self, position: int) -> bool:
        """Whether to save before the block from this sample on."""
        if self._every is not None:
            return position // self._every > self._saved_at // self._every
        return time.monotonic() - self._saved > max(WALL_CLOCK_INTERVAL, self._cost / _SHARE_OF_TIME)

    def saved(self, position: int, seconds: float) -> None:
        """The state at this sample was saved, which took some seconds."""
        self._saved_at, self._saved, self._cost = position, time.monotonic(), seconds


class Saving(NamedTuple):
    """When a run saves its state, and what the run is `made_of`."""

    schedule: Schedule
    made_of: Mapping[str, Any]


class Left(NamedTuple):
    """What a folder holds of a run: all of it, or a state to go on from, or nothing of use."""

    completed: bool
    state: RunState | None


def what_is_left(folder: Path, spec: NetworkSpec) -> Left:
    """What ``folder``, whose files are whole, holds of a run of this network on surrogate cores.

    OutputError when it holds another network's run, or another backend's, or a damaged state.
    """
    if not (folder / "network.yaml").is_file():  # killed before the run began
        return Left(False, None)
    _same_network(folder, spec)
    _same_backend(folder)
    return Left(True, None) if _is_complete(folder) else Left(False, read_state(folder))


def is_anything_left(folder: Path) -> bool:
    """Whether ``folder`` seems to hold a complete run or a state to go on from; `what_is_left` looks closely."""
    return (folder / STATE).is_file() or _is_complete(folder)


def _is_complete(folder: Path) -> bool:
    summary = folder / "summary.json"
    return summary.is_file() and bool(read_json(summary, "summary").get("completed"))


def made_of(network: Network, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same for a run to go on as if it had never ended: backend, device, cores, families, files that
    the network names, and the arrays of the network itself. In terms that JSON can hold."""
    about = {key: provenance[key] for key in _MADE_OF}
    found: dict[str, Any] = json.loads(json.dumps({**about, "arrays": checksum(_drawn(network))}))
    return found


def check_fits(state: RunState, parts: Mapping[str, Any], folder: Path) -> None:
    """Raise OutputError, naming what differs, when a state is of a run `made_of` other parts."""
    before = state.about["made_of"]
    differing = [key for key, value in parts.items() if before.get(key) != value]
    if differing:
        told = {"arrays": "cells and synapses"}
        raise OutputError(
            f"{folder}: the run cannot go on: its {', '.join(told.get(key, key) for key in differing)} are not what "
            "they were when it began. Bring them back, or start it again with --overwrite."
        )


def _same_backend(folder: Path) -> None:
    file = folder / "provenance.json"
    backend = read_json(file, "provenance").get("backend") if file.is_file() else None
    if backend not in (None, "surrogate"):
        raise OutputError(
            f"{folder}: the run there is of the {backend} backend, which cannot go on where it ended. "
            f"Start it again with --backend {backend} --overwrite, or give another folder."
        )


def _same_network(folder: Path, spec: NetworkSpec) -> None:
    try:
        before = load_network(folder / "network.yaml")
    except ConfigError as error:
        raise OutputError(
            f"{folder}: the run there cannot go on: {error} Start it again with --overwrite."
        ) from error
    differing = [key for key in NetworkSpec.model_fields if getattr(before, key) != getattr(spec, key)]
    if differing:
        raise OutputError(
            f"{folder}: holds a run of another network: {', '.join(differing)} differ. Give the network and options it "
            "was started with (the folder itself stands for them), another folder, or --overwrite."
        )


def _drawn(network: Network) -> dict[str, NDArray[Any]]:
    """What tells whether everything is as it was drawn when the network was built, by path. The same whether one
    process has all synapses or several share them."""
    arrays: dict[str, NDArray[Any]] = {}
    for each in network.populations:
        arrays |= under(f"cells/{each.name}", {"code": each.cells.code, **each.cells.parameters})
    for projection in network.projections:
        arrays[f"projections/{projection.name}"] = np.array(projection.extent(), np.uint64)
    for junctions in network.gap_junctions:
        kept = {key: getattr(junctions, key) for key in ("first", "second", "conductance")}
        arrays |= under(f"gap_junctions/{junctions.name}", kept)
    return arrays
