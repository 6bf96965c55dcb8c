"""Responses to square steps, for any number of cells and amplitudes, in memory that only a batch decides.

`respond` answers batch by batch. `save_responses` does the same into a folder, on several processes if wanted, and
goes on where it was interrupted. What answers is a `StepCore`: a surrogate (`noble_net.registry.load_step_core`) or
the exact cells themselves (`noble_net.reference.exact_steps`).
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from noble_net.cells.features import NOBLE_FEATURES, response_features
from noble_net.errors import MissingExtraError
from noble_net.processes import cores, in_processes
from noble_net.responses.files import ResponseFolder, write_part
from noble_net.spikes import spike_times
from noble_net.surrogate.step_core import StepCore
from noble_net.types import CellTable, Float32, Float64, Int64

Progress = Callable[[float, float], None]
"""Called with (done, total), in responses."""

SPIKES, RATE = "spikes", "rate_hz"
"""What is measured of every response by our own spike rule: spikes during the step, and those per second."""

PARTS_PER_JOB = 4
"""Parts each process gets at least, where there are enough responses: the last ones wait less for each other."""
FEWEST_RESPONSES = 32
"""Responses of a part at least, where a batch is as large."""

WITHOUT_EFEL = str(MissingExtraError("e-features (eFEL)", "reference"))
"""What to tell where eFEL is not installed and only spikes and rates are measured."""


@dataclass(frozen=True)
class Responses:
    """One batch of answers; row i is one cell under one step.

    ``cell`` int64 [rows] (index into the cells asked for), ``amplitude`` float64 [rows] (nA), ``voltage`` float32
    [rows, samples] (mV).
    """

    cell: Int64
    amplitude: Float64
    voltage: Float32


@dataclass(frozen=True)
class Request:
    """Every one of ``cells`` under every one of ``amplitudes`` (nA, float64 [amplitudes]).

    ``kept``: the cells, by index, whose voltage is stored; ``names``: the e-features measured, by eFEL's names.
    """

    cells: CellTable
    amplitudes: Float64
    kept: tuple[int, ...] = ()
    names: tuple[str, ...] = field(default_factory=lambda: measured_features())

    def __post_init__(self) -> None:
        if not self.cells.size or not len(self.amplitudes):
            raise ValueError(f"{self.cells.size} cells under {len(self.amplitudes)} amplitudes")
        if len(set(self.kept)) < len(self.kept) or not set(self.kept) <= set(range(self.cells.size)):
            raise ValueError(f"of {self.cells.size} cells, voltage is wanted of {self.kept}")

    @property
    def size(self) -> int:
        """Number of responses."""
        return self.cells.size * len(self.amplitudes)

    def identity(self, core: StepCore) -> dict[str, Any]:
        """What two requests must share for the answers of one to belong to the other, as JSON."""
        cells = hashlib.sha256(np.ascontiguousarray(self.cells.code).tobytes())
        for table in (self.cells.parameters, self.cells.features):
            for name, values in table.items():
                cells.update(name.encode() + np.ascontiguousarray(values, np.float64).tobytes())
        return {
            "core": core.name,
            "core_hash": getattr(core, "hash", None),
            "family": core.family,
            "family_hash": core.family_hash,
            "sampling_ms": core.sampling,
            "protocol_ms": core.protocol._asdict(),
            "cells": {"number": self.cells.size, "sha256": cells.hexdigest()},
            "amplitudes_nA": [float(amplitude) for amplitude in self.amplitudes],
            "voltage_of": list(self.kept),
            "features": list(self.names),
        }


def measured_features() -> tuple[str, ...]:
    """The e-features that can be measured here: NOBLE's 16, or none without eFEL."""
    return NOBLE_FEATURES if find_spec("efel") is not None else ()


def respond(
    core: StepCore, cells: CellTable, amplitudes: Float64, *, batch: int | None = None
) -> Iterator[Responses]:
    """Answer every cell under every amplitude (nA), cell by cell, ``batch`` responses at a time (the core's own
    number unless given).

    Memory is that of a batch, whatever is asked for. A batch changes no answer, beyond the last bits of a float32
    where the core says so. ValueError for a batch below 1.
    """
    size = core.batch if batch is None else batch
    if size < 1:
        raise ValueError(f"a batch of {size}")
    for start in range(0, cells.size * len(amplitudes), size):
        rows = np.arange(start, min(start + size, cells.size * len(amplitudes)), dtype=np.int64)
        cell, amplitude = rows // len(amplitudes), amplitudes[rows % len(amplitudes)]
        yield Responses(cell, amplitude, core.respond(cells.take(cell), amplitude))


def measure(responses: Responses, core: StepCore, names: Sequence[str] = ()) -> dict[str, Float64]:
    """Spikes and rate (Hz) during the step and the e-features ``names``, float64 [rows] each.

    NaN where a feature does not exist. Raises MissingExtraError when features are asked for without eFEL.
    """
    protocol = core.protocol
    spikes = spike_times(responses.voltage, sampling=core.sampling)
    counts = np.array(
        [np.count_nonzero((t >= protocol.onset) & (t < protocol.end)) for t in spikes], np.float64
    )
    found = {SPIKES: counts, RATE: counts * (1000.0 / protocol.duration)}
    if names:
        found |= response_features(
            responses.voltage,
            [float(amplitude) for amplitude in responses.amplitude],
            onset=protocol.onset,
            duration=protocol.duration,
            sampling=core.sampling,
            names=names,
        )
    return found


def save_responses(
    load: Callable[[], StepCore],
    request: Request,
    out: Path | str,
    *,
    batch: int | None = None,
    jobs: int | None = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ResponseFolder:
    """Answer a request into the folder ``out``: responses.h5 and features.csv.

    ``load`` makes what answers; with ``jobs`` other than 1 (None: one per core) it is called once in each of so many
    processes, so it must be picklable and should be cached (`noble_net.registry.load_step_core` is). Goes on from whole
    batches of cells that an interrupted call left; a finished folder is opened. ``overwrite``: discard what another
    request left there.

    Raises OutputError when the folder holds another request's answers or anything else, or the disk refuses; and
    what the core raises. Ctrl-C leaves what is needed to go on.
    """
    core, jobs = load(), jobs or cores()
    size = core.batch if batch is None else batch
    per_part = _cells_per_part(request, size, jobs)
    folder = ResponseFolder(Path(out))
    per_part = folder.open(request.identity(core), per_part, overwrite=overwrite)
    if folder.is_complete:
        return folder
    firsts = range(0, request.cells.size, per_part)
    todo = [_part(request, folder, first, per_part) for first in firsts if not folder.has_part(first)]
    done = (len(firsts) - len(todo)) * per_part
    answer = partial(_answer, load, request.names, size, jobs > 1)
    for cells in in_processes(answer, todo, jobs) if jobs > 1 else map(answer, todo):
        done += cells
        if progress is not None:
            progress(min(done, request.cells.size) * len(request.amplitudes), request.size)
    folder.assemble(request.cells, request.amplitudes, list(firsts))
    return folder


def _cells_per_part(request: Request, batch: int, jobs: int) -> int:
    """Cells that are answered and stored together: a batch of responses, or less so that all processes have work."""
    share = -(-request.cells.size // (PARTS_PER_JOB * jobs))
    fewest = min(FEWEST_RESPONSES, batch)
    return max(min(batch // len(request.amplitudes), max(share, fewest // len(request.amplitudes))), 1)


class _Part(NamedTuple):
    """Some cells under all amplitudes, and where the answers go; ``kept`` are indices into these cells."""

    cells: CellTable
    amplitudes: Float64
    kept: tuple[int, ...]
    path: Path


def _part(request: Request, folder: ResponseFolder, first: int, size: int) -> _Part:
    stop = min(first + size, request.cells.size)
    kept = tuple(cell - first for cell in request.kept if first <= cell < stop)
    return _Part(request.cells.take(slice(first, stop)), request.amplitudes, kept, folder.part_path(first))


def _answer(load: Callable[[], StepCore], names: Sequence[str], batch: int, alone: bool, part: _Part) -> int:
    """Answer and store one part; returns the number of its cells."""
    if alone:
        one_thread()
    core = load()
    measured: dict[str, list[Float64]] = {}
    traces: list[Float32] = []
    for responses in respond(core, part.cells, part.amplitudes, batch=batch):
        for name, values in measure(responses, core, names).items():
            measured.setdefault(name, []).append(values)
        traces.append(responses.voltage[np.isin(responses.cell, part.kept)])
    shape = (part.cells.size, len(part.amplitudes))
    columns = {name: np.concatenate(values).reshape(shape) for name, values in measured.items()}
    voltage = np.concatenate(traces).reshape(len(part.kept), shape[1], -1) if part.kept else None
    write_part(part.path, columns, voltage)
    return part.cells.size


def one_thread() -> None:
    """Let this process, one of several, compute on one thread."""
    import numba

    numba.set_num_threads(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def describe_request(request: Request, core: StepCore) -> str:
    """One line of what would be answered."""
    low, high = request.amplitudes.min(), request.amplitudes.max()
    return (
        f"{request.cells.size:,} cells × {len(request.amplitudes)} steps from {low:g} to {high:g} nA "
        f"of {core.protocol.duration:g} ms on {core.name}"
    )
