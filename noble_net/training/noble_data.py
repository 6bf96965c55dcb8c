"""Datasets of NOBLE: step responses of a family's members, solved in NEURON, in one compact HDF5 file.

Layout: ``/ids`` names the members; the parts ``/train``, ``/test`` (every member, new amplitudes), ``/fi`` (every
member over a grid of amplitudes) and ``/hyperpolarising`` hold ``member`` int32 [traces] (row of /ids), ``amplitude``
float64 [traces] (nA) and ``voltage`` int16 [traces, samples] in units of `VOLTAGE_UNIT`, each trace as its first
sample and then differences, which gzip packs well. The step begins ``lead`` ms into a stored trace. The root's
attribute ``provenance`` says how it was made. Traces are solved in pieces, one file each in ``<file>.parts``, so an
interrupted build resumes with at most a piece lost per process.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
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
    """Traces solved together: their part, the first one's row, parameters and amplitudes (nA)."""

    part: str
    start: int
    parameters: tuple[dict[str, float], ...]
    amplitudes: tuple[float, ...]

    @property
    def file_name(self) -> str:
        """Name of this piece's file among the parts."""
        return f"{self.part}-{self.start:07d}.npz"


def noble_dataset_path(recipe: NobleRecipe, family: Family) -> Path:
    """Where a dataset lies. Recipes with the same dataset and family share it."""
    return dataset_file(f"noble-{family.name}", recipe.dataset, family)


def build_noble_dataset(
    recipe: NobleRecipe,
    family: Family,
    jobs: int | None = None,
    progress: Progress | None = None,
    solve: Solve | None = None,
) -> Path:
    """Solve what is not on disk yet, on ``jobs`` processes (default: all cores), and put the file together.

    ``solve``: used instead of NEURON, in this process. Returns the HDF5 file. Raises SolverError when a member
    keeps going to NaN, OutputError when the disk is full. ``progress`` gets traces done, and all.
    """
    path = noble_dataset_path(recipe, family)
    if path.exists():
        return path
    parts = path.with_suffix(".parts")
    parts.mkdir(parents=True, exist_ok=True)
    plan = plan_traces(recipe.dataset, family)
    pieces = _pieces(plan, family, dataset_ids(recipe.dataset, family))
    total = sum(len(piece.amplitudes) for piece in pieces)
    todo = [piece for piece in pieces if not (parts / piece.file_name).exists()]
    done = total - sum(len(piece.amplitudes) for piece in todo)
    work = partial(_piece_to_file, recipe.dataset, solve or family.model, parts)
    for count in map(work, todo) if solve else in_processes(work, todo, jobs):
        done += count
        if progress:
            progress(done, total)
    _assemble(path, parts, plan, pieces, _provenance(recipe.dataset, family))
    shutil.rmtree(parts)
    return path


def read_part(path: Path, family: Family, part: str) -> tuple[list[str], Traces]:
    """Ids of the members in a dataset, and one part. Raises CheckpointError when it is of another family, OutputError
    when it has no such part."""
    with open_dataset(path, family) as file:
        if part not in file:
            raise OutputError(
                f"{path} has no part {part!r}; it holds {', '.join(k for k in file if k != 'ids')}"
            )
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


def _pieces(plan: Mapping[str, Steps], family: Family, ids: Sequence[str]) -> list[Piece]:
    cells = family.cells(ids)
    parameters = [{k: float(v[i]) for k, v in cells.parameters.items()} for i in range(cells.size)]
    pieces = []
    for part, traces in plan.items():
        for start in range(0, len(traces.member), PIECE):
            rows = slice(start, start + PIECE)
            chosen = tuple(parameters[m] for m in traces.member[rows])
            pieces.append(Piece(part, start, chosen, tuple(float(a) for a in traces.amplitude[rows])))
    return pieces


def _piece_to_file(spec: NobleDatasetSpec, solver: Any, folder: Path, piece: Piece) -> int:
    """Solve a piece with ``solver``, a `Solve` or a cell model for NEURON; returns the number of traces."""
    solve = solver if callable(solver) else on_neuron(solver, spec)
    answers = [nudged(spec, solve, p, a) for p, a in zip(piece.parameters, piece.amplitudes, strict=True)]
    volts = np.stack([in_units(voltage) for voltage, _ in answers])
    differences = np.diff(volts, axis=1, prepend=0.0).clip(-32767, 32767).astype(np.int16)
    amplitudes = [amplitude for _, amplitude in answers]
    save_arrays(folder / piece.file_name, np.savez, voltage=differences, amplitude=amplitudes)
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


def _assemble(
    path: Path, parts: Path, plan: Mapping[str, Steps], pieces: list[Piece], provenance: dict[str, Any]
) -> None:
    unfinished = path.with_suffix(".tmp")
    with h5py.File(unfinished, "w") as file:
        file.attrs["provenance"] = json.dumps(provenance)
        file["ids"] = provenance["ids"]
        for piece in pieces:
            with np.load(parts / piece.file_name) as data:
                if piece.part not in file:
                    _create(file, piece.part, plan[piece.part], data["voltage"].shape[1])
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
