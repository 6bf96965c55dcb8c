"""Datasets: exact runs of a family's members under the input kinds of `noble_net.training.inputs`, in one HDF5 file.

Layout: ``/train`` and ``/test/<regime>`` hold ``ids``, ``voltage`` int16 [members, samples + 1] (units of
`VOLTAGE_UNIT`), ``current`` nA, ``conductance`` nS and ``reversal_current`` pA float32 [members, samples];
``/test/<regime>/floor`` is the voltage of the first members at a fifth of the solver's step. With dendritic zones,
``conductance`` and ``reversal_current`` are [members, zones, samples] in the order of the recipe's ``zones``; there are
``nmda_conductance`` nS float32 [members, dendritic zones, samples], which reverses at 0 mV, and ``nmda_half`` mV
float32 [members] where the recipe has NMDA. With ``record`` in the recipe, ``/train/slow`` float32 [members, variables,
samples + 1] are those of the soma. The root's attribute ``provenance`` says how it was made.

Runs are written one file each into ``<file>.parts`` and put together at the end, so an interrupted build resumes with
nothing lost. The tests alone, enough to judge a trained core, lie in ``<file>-tests.h5`` until the whole is made.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from pydantic import BaseModel

from noble_net.cache import cache_folder
from noble_net.cells.family import Family
from noble_net.cells.model import CellModel
from noble_net.cells.solver import ExactCell, exact_cell
from noble_net.errors import CheckpointError, OutputError, SolverError
from noble_net.processes import in_processes
from noble_net.specs.cores import DatasetSpec
from noble_net.specs.windowed import NetworkCoreRecipe
from noble_net.training.inputs import REGIMES, Input, test_input, training_input
from noble_net.training.zone_inputs import RANGES, zoned_training_input
from noble_net.training.zone_regimes import ZONE_REGIMES, zoned_test_input
from noble_net.training.zone_synapses import ZonedInput
from noble_net.types import Float32

VOLTAGE_UNIT = 0.01
"""mV per integer in the file: NEURON's own error is a hundred times larger."""

ARRAYS = Input._fields
"""What drives a cell whose only zone is the soma, in the file."""
FLOOR_FACTOR = 5
_MAX_REDRAWS = 20
_NUDGE = 1e-6
"""What a test's current is moved by when the solver meets a singular rate, nA."""

_TRAINING = {"mixed": ("train", 0), "strong": ("train:strong", 2), "alternating": ("train:alternating", 3)}
"""By the name of training inputs: the part that their runs belong to, and the first number of their seeds."""

Progress = Callable[[int, int], None]


class Run(NamedTuple):
    """One exact run: what it belongs to, the member, the seed of its input, and NEURON's step."""

    part: str
    """'train' or, of other inputs than mixed ones, 'train:strong'; a regime, or a regime with ':floor'."""
    member: str
    parameters: dict[str, float]
    seed: tuple[int, ...]
    duration: float
    dt: float

    @property
    def regime(self) -> str:
        """`train`, or the regime it is a test of."""
        return self.part.split(":")[0]

    @property
    def file_name(self) -> str:
        """Name of this run's file among the parts."""
        return f"{self.part.replace(':', '-')}--{self.member}.npz"


def dataset_path(recipe: NetworkCoreRecipe, family: Family) -> Path:
    """Where a recipe's dataset lies: under its name, or that of another recipe whose dataset is the same."""
    path = dataset_file(recipe.name, recipe.dataset, family)
    digest = path.stem.removeprefix(f"{recipe.name}-")
    equal = [] if path.exists() else sorted(path.parent.glob(f"*-{digest}.h5"))
    return equal[0] if equal else path


def path_of_tests(recipe: NetworkCoreRecipe, family: Family) -> Path:
    """Where the tests of a recipe's dataset lie: in the dataset, or by themselves while that is not made."""
    path = dataset_path(recipe, family)
    return path if path.exists() else path.with_name(f"{path.stem}-tests.h5")


def dataset_file(stem: str, spec: BaseModel, family: Family) -> Path:
    """A dataset's place in the user's cache folder: ``stem``, and a hash of what determines its content."""
    content = spec.model_dump_json() + family.hash
    return cache_folder("datasets") / f"{stem}-{zlib.crc32(content.encode()):08x}.h5"


def build_dataset(
    recipe: NetworkCoreRecipe,
    family: Family,
    jobs: int | None = None,
    progress: Progress | None = None,
    *,
    tests_only: bool = False,
) -> Path:
    """Run what is not on disk yet, on ``jobs`` processes (default: all cores), and put the file together.

    Returns the HDF5 file; with ``tests_only`` that of the tests, whose runs a later call for all of it does not make
    again. A file from before there was some regime gets its tests. Raises SolverError when a member keeps going to NaN,
    OutputError when the disk is full.
    """
    whole = dataset_path(recipe, family)
    tests = path_of_tests(recipe, family)
    path = tests if tests_only else whole
    there = _parts_of(path)
    runs = [
        run
        for run in plan_runs(recipe, family)
        if run.regime not in there and not (tests_only and run.regime == "train")
    ]
    if not runs:
        return path
    parts = whole.with_suffix(".parts")
    parts.mkdir(parents=True, exist_ok=True)
    todo = [run for run in runs if not (parts / run.file_name).exists()]
    done = len(runs) - len(todo)
    for _ in in_processes(partial(_run_to_file, family.model, recipe.dataset, parts), todo, jobs):
        done += 1
        if progress:
            progress(done, len(runs))
    _assemble(path, parts, runs, _provenance(recipe, family))
    if path == whole:
        shutil.rmtree(parts)
        if tests != whole:
            tests.unlink(missing_ok=True)
    return path


def open_dataset(path: Path, family: Family) -> h5py.File:
    """Open a dataset to read. Raises CheckpointError when there is none, or one made from another family."""
    if not path.exists():
        raise CheckpointError(f"{path}: there is no dataset yet; `noble-net dataset RECIPE` makes it")
    file = h5py.File(path, "r")
    if json.loads(file.attrs["provenance"])["family_hash"] != family.hash:
        file.close()
        raise CheckpointError(f"{path} was made from another version of family {family.name}")
    return file


def recorded(file: h5py.File) -> tuple[str, ...]:
    """The slow variables of a dataset, by NEURON's names."""
    return tuple(json.loads(file.attrs["provenance"])["recipe"]["dataset"].get("record", ()))


def _parts_of(path: Path) -> set[str]:
    """What a dataset holds: `train`, and regimes of tests."""
    if not path.exists():
        return set()
    with h5py.File(path, "r") as file:
        return {*(name for name in file if name != "test"), *file["test"]}


def regimes(spec: DatasetSpec) -> tuple[str, ...]:
    """Names of a dataset's test regimes."""
    return tuple(ZONE_REGIMES if spec.zoned else REGIMES)


def plan_runs(recipe: NetworkCoreRecipe, family: Family) -> list[Run]:
    """Every run of a dataset, training first. Test inputs differ from member to member and from all training."""
    spec = recipe.dataset
    cells = family.cells(family.ids())
    rows = {member: row for row, member in enumerate(cells.labels)}

    def run(part: str, member: str, key: tuple[int, ...], duration: float, dt: float) -> Run:
        parameters = {name: float(values[rows[member]]) for name, values in cells.parameters.items()}
        return Run(part, member, parameters, (spec.seed, *key), duration, dt)

    train = family.ids("train")
    runs = [
        run(part, member, (key, i), spec.duration, spec.dt)
        for part, key in map(_TRAINING.__getitem__, spec.inputs)
        for i, member in enumerate(train)
    ]
    seen, unseen = train[: spec.test.members], family.ids("held_out")[: spec.test.members]
    for r, regime in enumerate(regimes(spec)):
        for i, member in enumerate([*seen, *unseen]):
            runs.append(run(regime, member, (1, r, i), spec.test.duration, spec.dt))
            if i < spec.test.floor_members:
                fine = spec.dt / FLOOR_FACTOR
                runs.append(run(f"{regime}:floor", member, (1, r, i), spec.test.duration, fine))
    return runs


def solve(
    model: CellModel, spec: DatasetSpec, run: Run
) -> tuple[Input | ZonedInput, Float32, Float32 | None]:
    """Input and exact voltage of one run, and in training the soma's variables that the recipe wants recorded.

    A training input the solver fails on is redrawn; in that of a test, which its floor has to share, the current is
    moved by `_NUDGE`.
    """
    cell = exact_cell(model, dt=run.dt)
    cell.set_parameters(run.parameters)
    for attempt in range(_MAX_REDRAWS):
        redrawn = attempt if run.regime == "train" else 0
        drive = _drawn(spec, run, np.random.default_rng([*run.seed, redrawn]))
        if redrawn < attempt:
            drive = drive._replace(current=drive.current + np.float32(attempt * _NUDGE))
        with suppress(SolverError):
            return drive, *_answer(cell, drive, spec.record if run.regime == "train" else ())
    raise SolverError(f"{run.member} ({run.part}) went to NaN {_MAX_REDRAWS} times")


def _drawn(spec: DatasetSpec, run: Run, generator: np.random.Generator) -> Input | ZonedInput:
    if spec.zoned:
        if run.regime == "train":
            _, _, kind = run.part.partition(":")
            ranges = RANGES[kind or "mixed"]
            return zoned_training_input(generator, run.duration, spec.nmda, spec.lowest_current, ranges)
        return zoned_test_input(run.regime, generator, run.duration, spec.nmda)
    if run.regime == "train":
        return training_input(generator, run.duration)
    return test_input(run.regime, generator, run.duration)


def _answer(
    cell: ExactCell, drive: Input | ZonedInput, record: tuple[str, ...]
) -> tuple[Float32, Float32 | None]:
    if isinstance(drive, Input):
        inputs, zones = drive, None
    else:
        inputs = Input(drive.current, drive.conductance[0], drive.reversal_current[0])
        zones = drive.dendrites()
    if not record:
        return cell.run(*inputs, zones=zones), None
    return cell.run_recording(record, *inputs, zones=zones)


def _run_to_file(model: CellModel, spec: DatasetSpec, folder: Path, run: Run) -> None:
    drive, voltage, slow = solve(model, spec, run)
    inputs = {k: v for k, v in drive._asdict().items() if spec.nmda or not k.startswith("nmda")}
    integers = np.clip(np.round(voltage / VOLTAGE_UNIT), -32767, 32767).astype(np.int16)
    target = folder / run.file_name
    unfinished = target.with_suffix(f".{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            arrays = inputs if slow is None else {**inputs, "slow": slow}
            np.savez(file, voltage=integers, **arrays)
        unfinished.rename(target)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise OutputError(f"{target} cannot be written: {error}; free some space and run again") from error


def _assemble(path: Path, parts: Path, runs: list[Run], provenance: dict[str, Any]) -> None:
    """Write the runs from ``parts`` into the file, beside what it holds."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault("train" if run.regime == "train" else run.part, []).append(run)
    unfinished = path.with_suffix(".tmp")
    unfinished.unlink(missing_ok=True)
    if path.exists():
        shutil.copyfile(path, unfinished)
    with h5py.File(unfinished, "a") as file:
        file.attrs["provenance"] = json.dumps(provenance)
        for part, members in groups.items():
            if part.endswith(":floor"):
                group, arrays = file[f"test/{members[0].regime}"], {"voltage": "floor"}
            else:
                group = file.create_group(part if part == "train" else f"test/{part}")
                group["ids"] = [run.member for run in members]
                arrays = {}
            for row, run in enumerate(members):
                with np.load(parts / run.file_name) as data:
                    for source, name in (arrays or {name: name for name in data.files}).items():
                        _write_row(group, name, row, len(members), data[source])
    unfinished.rename(path)


def _write_row(group: h5py.Group, name: str, row: int, rows: int, values: np.ndarray[Any, Any]) -> None:
    """Row of an array of the file, which is made with the first; stored by member and zone."""
    if name not in group:
        packed: dict[str, Any] = {}
        if values.ndim:
            chunks = (*(1 for _ in values.shape), values.shape[-1])
            packed = {"chunks": chunks, "shuffle": True, "compression": "lzf"}
        group.create_dataset(name, (rows, *values.shape), values.dtype, **packed)
    group[name][row] = values


def _provenance(recipe: NetworkCoreRecipe, family: Family) -> dict[str, Any]:
    return {
        "recipe": recipe.model_dump(),
        "family": family.name,
        "family_hash": family.hash,
        "versions": {name: version(name) for name in ("noble-net", "neuron", "bmtk", "numpy")},
    }
