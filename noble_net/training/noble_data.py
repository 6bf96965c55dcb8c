"""Datasets of NOBLE: step responses of a family's members, solved in NEURON, in a compact HDF5 file for each part.

Parts are ``train``, ``test`` (every member, new amplitudes), ``fi`` (every member over a grid of amplitudes) and
``hyperpolarising``. Layout: ``/ids`` names the members; the group named like the part holds ``member`` int32 [traces]
(row of /ids), ``amplitude`` float64 [traces] (nA) and ``voltage`` int16 [traces, samples] in units of `VOLTAGE_UNIT`,
each trace as its first sample and then differences, which gzip packs well. The step begins ``lead`` ms into a stored
trace. The root's attribute ``provenance`` says how it was made. Traces are solved in pieces, one file each in
``<part>.parts``, so an interrupted build resumes with at most a piece lost per process.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from noble_net.cells.family import Family
from noble_net.cells.solver import exact_cell
from noble_net.errors import OutputError, SolverError
from noble_net.processes import in_processes
from noble_net.specs.noble import NobleDatasetSpec, NobleRecipe, window_samples
from noble_net.spikes import spike_times
from noble_net.surrogate.step_core import NOBLE_PROTOCOL
from noble_net.training.dataset import dataset_file, open_dataset
from noble_net.training.noble_plan import (
    Steps,
    amplitude_range,
    dataset_ids,
    plan_traces,
    select_members,
)
from noble_net.types import DT, Float32, Float64, Int32

VOLTAGE_UNIT = 0.01
"""mV per integer in the file: rounding adds 0.003 mV, some 3e-5 of the voltage's norm."""
PIECE = 24
"""Traces solved and written at once."""
_MAX_NUDGES = 20
_NUDGE = 1e-5
"""What the amplitude is moved by when the solver meets a singular rate, nA."""

Solve = Callable[[Mapping[str, float], Float64, float], Float32]
"""(parameters, current in nA float [samples of 0.1 ms], sampling in ms) → voltage in mV from t = 0 to the end."""
Progress = Callable[[int, int], None]

SIZES = {
    "train": "traces",
    "test": "test_traces",
    "fi": "fi_points",
    "hyperpolarising": "hyperpolarising",
}
"""Key of a recipe's ``dataset`` that says how large each part is, which no other part hangs on."""
TESTS = ("test", "fi")
"""The parts that evaluate a trained core."""


class Traces(NamedTuple):
    """One part of a dataset."""

    member: Int32
    """Row of the dataset's ids, [traces]."""
    amplitude: Float64
    """nA, [traces]."""
    voltage: NDArray[np.int16]
    """[traces, stored samples], in units of `VOLTAGE_UNIT`."""

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Traces:
        """The traces marked in bool [traces], or those of these rows."""
        return Traces(self.member[rows], self.amplitude[rows], self.voltage[rows])


class Piece(NamedTuple):
    """Traces solved together: their part, the first one's row, the piece's file, parameters and amplitudes (nA)."""

    part: str
    start: int
    file: Path
    parameters: tuple[dict[str, float], ...]
    amplitudes: tuple[float, ...]


def part_path(recipe: NobleRecipe, family: Family, part: str) -> Path:
    """Where a part of a dataset lies. Recipes that agree in what a part hangs on share its file."""
    others = dict.fromkeys(SIZES[other] for other in SIZES if other != part)
    spec = recipe.dataset.model_copy(update=others)
    return dataset_file(f"noble-{family.name}-{part}", spec, family)


def build_noble_dataset(
    recipe: NobleRecipe,
    family: Family,
    jobs: int | None = None,
    progress: Progress | None = None,
    solve: Solve | None = None,
    parts: Collection[str] | None = None,
) -> list[Path]:
    """Solve what is not on disk yet, on ``jobs`` processes (default: all cores), and put the files together.

    ``solve``: used instead of NEURON, in this process. ``parts``: those that are wanted; all that the recipe has unless
    given. Returns their files. Raises SolverError when a member keeps going to NaN, OutputError when the disk is full.
    ``progress`` gets traces done, and all.
    """
    plan = plan_traces(recipe.dataset, family)
    files = {part: part_path(recipe, family, part) for part in plan if parts is None or part in parts}
    ids = dataset_ids(recipe.dataset, family)
    pieces = [
        piece
        for part, file in files.items()
        if not file.exists()
        for piece in _pieces(part, file.with_suffix(".parts"), plan[part], family, ids)
    ]
    if not pieces:
        return list(files.values())
    total = sum(len(piece.amplitudes) for piece in pieces)
    todo = [piece for piece in pieces if not piece.file.exists()]
    done = total - sum(len(piece.amplitudes) for piece in todo)
    work = partial(_piece_to_file, recipe.dataset, solve or family.model)
    for count in map(work, todo) if solve else in_processes(work, todo, jobs):
        done += count
        if progress:
            progress(done, total)
    provenance = _provenance(recipe.dataset, family)
    for part in dict.fromkeys(piece.part for piece in pieces):
        mine = [piece for piece in pieces if piece.part == part]
        _assemble(files[part], plan[part], mine, provenance)
        shutil.rmtree(files[part].with_suffix(".parts"))
    return list(files.values())


def read_part(recipe: NobleRecipe, family: Family, part: str) -> tuple[list[str], Traces]:
    """Ids of the members in the recipe's dataset, and one part. Raises CheckpointError when it is not there, or is of
    another family."""
    with open_dataset(part_path(recipe, family, part), family) as file:
        group = file[part]
        # Partial sums wrap around nowhere: they are the int16 samples themselves.
        voltage = np.cumsum(group["voltage"][:], axis=1, dtype=np.int16)
        ids = [str(i) for i in file["ids"].asstr()[:]]
        return ids, Traces(group["member"][:], group["amplitude"][:], voltage)


def stored_samples(spec: NobleDatasetSpec) -> int:
    """Samples of a stored trace: the window, and the lead before it."""
    return window_samples(spec.lead + NOBLE_PROTOCOL.total, spec.sampling)


def step_response(
    spec: NobleDatasetSpec, solve: Solve, parameters: Mapping[str, float], amplitude: float
) -> Float64:
    """One stored trace, mV, float64 [stored samples]: solved at ``dt``, low-pass filtered (zero phase), decimated."""
    current = np.zeros(round((spec.lead + NOBLE_PROTOCOL.total) / DT))
    onset = round(spec.lead / DT)
    current[onset : onset + round(NOBLE_PROTOCOL.duration / DT)] = amplitude
    voltage = solve(parameters, current, spec.dt).astype(np.float64)
    if spec.decimation > 1:
        voltage = resample_poly(voltage, 1, spec.decimation, padtype="edge")
    return voltage[: stored_samples(spec)]


def _pieces(part: str, folder: Path, traces: Steps, family: Family, ids: Sequence[str]) -> list[Piece]:
    cells = family.cells(ids)
    parameters = [{k: float(v[i]) for k, v in cells.parameters.items()} for i in range(cells.size)]
    pieces = []
    for start in range(0, len(traces.member), PIECE):
        rows = slice(start, start + PIECE)
        chosen = tuple(parameters[m] for m in traces.member[rows])
        file = folder / f"{start:07d}.npz"
        pieces.append(Piece(part, start, file, chosen, tuple(float(a) for a in traces.amplitude[rows])))
    return pieces


def _piece_to_file(spec: NobleDatasetSpec, solver: Any, piece: Piece) -> int:
    """Solve a piece with ``solver``, a `Solve` or a cell model for NEURON; returns the number of traces."""
    solve = solver if callable(solver) else on_neuron(solver, spec)
    answers = [nudged(spec, solve, p, a) for p, a in zip(piece.parameters, piece.amplitudes, strict=True)]
    volts = np.stack([in_units(voltage) for voltage, _ in answers])
    differences = np.diff(volts, axis=1, prepend=0.0).clip(-32767, 32767).astype(np.int16)
    amplitudes = [amplitude for _, amplitude in answers]
    piece.file.parent.mkdir(parents=True, exist_ok=True)
    save_arrays(piece.file, np.savez, voltage=differences, amplitude=amplitudes)
    return len(answers)


def in_units(voltage: Float64) -> Float64:
    """mV → whole numbers of `VOLTAGE_UNIT` that int16 holds."""
    return np.round(voltage / VOLTAGE_UNIT).clip(-32767, 32767)


def save_arrays(target: Path, save: Callable[..., None], **arrays: Any) -> None:
    """Write arrays by numpy's `savez` or `savez_compressed`: all of them, or no file. OutputError when the disk is
    full."""
    unfinished = target.with_suffix(f".{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            save(file, **arrays)
        unfinished.rename(target)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise OutputError(f"{target} cannot be written: {error}; free some space and run again") from error


def step_spikes(spec: NobleDatasetSpec, volts: Float32) -> list[Float64]:
    """When stored traces (mV, [traces, samples]) have spikes during their steps, ms after the onset."""
    since = spike_times(volts, start=-spec.lead, sampling=spec.sampling)
    return [each[(each > 0.0) & (each < NOBLE_PROTOCOL.duration)] for each in since]


def nudged(
    spec: NobleDatasetSpec, solve: Solve, parameters: Mapping[str, float], amplitude: float
) -> tuple[Float64, float]:
    """A trace and its amplitude, which is moved a little where the solver fails."""
    for _ in range(_MAX_NUDGES):
        try:
            return step_response(spec, solve, parameters, amplitude), amplitude
        except SolverError:
            amplitude += _NUDGE
    raise SolverError(f"a member went to NaN at {_MAX_NUDGES} amplitudes near {amplitude:.4f} nA")


def on_neuron(model: Any, spec: NobleDatasetSpec) -> Solve:
    """NEURON on the cell model; the cell is built once per process."""
    cell = exact_cell(model, dt=spec.dt, tolerance=spec.tolerance)

    def solve(parameters: Mapping[str, float], current: Float64, sampling: float) -> Float32:
        cell.set_parameters(parameters)
        return cell.run(current, settle=spec.settle, sampling=sampling)

    return solve


def _assemble(path: Path, traces: Steps, pieces: list[Piece], provenance: dict[str, Any]) -> None:
    unfinished = path.with_suffix(".tmp")
    with h5py.File(unfinished, "w") as file:
        file.attrs["provenance"] = json.dumps(provenance)
        file["ids"] = provenance["ids"]
        for piece in pieces:
            with np.load(piece.file) as data:
                if piece.part not in file:
                    _create(file, piece.part, traces, data["voltage"].shape[1])
                rows = slice(piece.start, piece.start + len(piece.amplitudes))
                for name in ("voltage", "amplitude"):
                    file[piece.part][name][rows] = data[name]
    unfinished.rename(path)


def _create(file: h5py.File, part: str, traces: Steps, samples: int) -> None:
    group, count = file.create_group(part), len(traces.member)
    group["member"] = traces.member
    group["amplitude"] = traces.amplitude
    group.create_dataset(
        "voltage",
        (count, samples),
        np.int16,
        chunks=(min(PIECE, count), samples),
        shuffle=True,
        compression="gzip",
        compression_opts=6,
    )


def _provenance(spec: NobleDatasetSpec, family: Family) -> dict[str, Any]:
    versions: dict[str, str | None] = {}
    for name in ("noble-net", "neuron", "bmtk", "numpy", "scipy"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {
        "dataset": spec.model_dump(),
        "amplitudes": amplitude_range(
            spec.amplitude, family, select_members(spec, family, spec.members)
        )._asdict(),
        "ids": dataset_ids(spec, family),
        "family": family.name,
        "family_hash": family.hash,
        "versions": versions,
    }
