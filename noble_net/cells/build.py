"""Making a family: candidates come from a distribution, an evolution or a table; the valid ones are measured.

A slot is a place in the table. Every slot of a drawn family draws from its own generator until a candidate is valid, so
the table does not depend on the number of processes; slots of the other families have one candidate each. The work
resumes from the slots already on disk.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import truncnorm

from noble_net.cache import cache_folder
from noble_net.cells.archive import read_archive
from noble_net.cells.evolve import evolve
from noble_net.cells.family_files import Row, coding_of, targets_as_json, targets_of, write_family
from noble_net.cells.features import Rejected, measure
from noble_net.cells.model import CellModel
from noble_net.cells.parameter_sets import read_parameter_sets
from noble_net.cells.parameter_space import Space
from noble_net.cells.select import Candidate, candidates
from noble_net.cells.solver import STEP_TOLERANCE, exact_cell
from noble_net.cells.targets import Targets, read_targets
from noble_net.errors import FamilyError, SolverError
from noble_net.json_lines import read_rows
from noble_net.processes import in_processes, worker_pool
from noble_net.specs.families import DrawSpec, FamilyRecipe, names_a_file

SETTLE = 100.0
"""Zero input before a step protocol, ms: the published fit starts within 0.3 mV of rest."""

MOST_DRAWS = 200
"""Candidates drawn for one slot before a recipe is given up."""

Progress = Callable[[int, int], None]
Task = tuple[int, Mapping[str, float]]
"""A slot and its candidate's parameters (none where they are drawn)."""


def build_family(
    recipe: FamilyRecipe, folder: Path, jobs: int | None = None, progress: Progress | None = None
) -> Path:
    """Make the family of ``recipe`` in ``folder`` on ``jobs`` processes (default: all cores); returns the table's path.

    An evolution keeps its archive in the user's cache folder. Slots already measured are read from
    ``<name>.slots.jsonl`` in ``folder``, which is removed at the end. Raises FamilyError when no member is valid.
    """
    model = CellModel.from_spec(recipe.cell)
    slots = _Slots(folder / f"{recipe.name}.slots.jsonl", _digest(recipe), jobs, progress)
    chosen: list[Candidate] = []
    about: dict[str, Any] = {"bound": None}
    if recipe.draw is not None:
        tasks: list[Task] = [(slot, {}) for slot in range(recipe.draw.members)]
        rows = slots.fill(
            partial(draw_member, model, recipe.draw, recovers=recipe.recovers), tasks, len(tasks)
        )
        about = {"bound": recipe.draw.bound, "seed": recipe.draw.seed}
        coding = {
            name: {"centre": value, "sd": recipe.draw.sigma, "logarithmic": True}
            for name, value in varied_parameters(model, recipe.draw).items()
        }
    else:
        if recipe.evolve is not None:
            chosen, undrawn = evolved_candidates(recipe, model, jobs, progress)
            tasks, wanted = [(i, each.parameters) for i, each in enumerate(chosen)], recipe.evolve.members
            about["targets"] = targets_as_json(undrawn)
            about |= targets_of(recipe)
            about["evolution"] = recipe.evolve.model_dump(mode="json", exclude={"bounds", "vary"})
        else:
            assert recipe.table is not None
            tasks = list(enumerate(read_parameter_sets(recipe.table, model)))
            wanted = len(tasks)
            about["table"] = Path(recipe.table.file).name
        rows = slots.fill(partial(measure_member, model, recovers=recipe.recovers), tasks, wanted)
        coding = coding_of([row["parameters"] for row in rows if row["features"]])
    table = write_family(recipe, folder, rows, coding, about, chosen)
    slots.path.unlink()
    return table


def draw_member(model: CellModel, draw: DrawSpec, task: Task, *, recovers: bool = True) -> Row:
    """Draw candidates for one slot until one is valid: its parameters, features and what was rejected.

    Raises FamilyError when `MOST_DRAWS` of them are not.
    """
    slot, _ = task
    published = varied_parameters(model, draw)
    rejected: Counter[str] = Counter()
    generator = np.random.default_rng([draw.seed, slot])
    while rejected.total() < MOST_DRAWS:
        code = truncnorm.ppf(generator.random(len(published)), -draw.bound, draw.bound)
        parameters = {
            name: value * float(np.exp(draw.sigma * z))
            for (name, value), z in zip(published.items(), code, strict=True)
        }
        row, reason = _measured(model, slot, parameters, None, recovers)
        if row["features"]:
            return {**row, "rejected": dict(rejected)}
        rejected[reason] += 1
    raise FamilyError(
        f"none of {MOST_DRAWS} candidates drawn for one member is valid ({dict(rejected)}): does the cell fire between "
        "0 and 0.5 nA at its own values? Lower `sigma`, or correct `values`"
    )


def measure_member(model: CellModel, task: Task, *, recovers: bool = True) -> Row:
    """Features of a given parameter set; empty, with the reason, where it is no valid member."""
    slot, parameters = task
    row, reason = _measured(model, slot, parameters, STEP_TOLERANCE, recovers)
    return {**row, "rejected": {} if row["features"] else {reason: 1}}


def varied_parameters(model: CellModel, draw: DrawSpec) -> dict[str, float]:
    """Values of the parameters that differ between drawn members: every conductance of the cell that is not zero.

    Raises FamilyError when ``keep`` names none, and when nothing is left.
    """
    conductances = {
        name: value
        for name, value in model.parameters.items()
        if name.startswith(("gbar_", "g_pas")) and value > 0
    }
    unknown = sorted(set(draw.keep) - set(conductances))
    left = {name: value for name, value in conductances.items() if name not in draw.keep}
    if unknown or not left:
        raise FamilyError(
            f"draw.keep: the cell has no conductance {unknown}; it has {sorted(conductances)}"
            if unknown
            else "nothing to draw: the cell has no conductance (gbar_…, g_pas) besides those in `keep`"
        )
    return left


def evolved_candidates(
    recipe: FamilyRecipe, model: CellModel, jobs: int | None, progress: Progress | None
) -> tuple[list[Candidate], Targets]:
    """Run (or go on with) the evolution of a recipe; returns its candidates and the undrawn targets."""
    spec = recipe.evolve
    assert spec is not None
    with worker_pool(jobs) as pool:
        undrawn = pool.submit(read_targets, recipe).result()
        archive = evolve(recipe, model, undrawn, archive_path(recipe), pool, progress)
    found = candidates(read_archive(archive), undrawn, spec, Space.of(model, spec))
    if not found:
        raise FamilyError(
            f"no individual of {recipe.name} has a mean z-score up to {spec.max_z}: evolve for more generations, "
            "widen the bounds, or raise `max_z`"
        )
    return found, undrawn


def archive_path(recipe: FamilyRecipe) -> Path:
    """The archive of a recipe's evolution: in the user's cache folder, named by its cell and targets.

    Files of the recipe count by what is in them, wherever they lie.
    """
    folder = cache_folder("families")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{recipe.name}-{_digest(recipe, 'targets'):08x}.archive.jsonl"


def _digest(recipe: FamilyRecipe, *parts: str) -> int:
    """Check sum of a recipe's cell, of the files it names, and of ``parts`` (default: draw, table and `recovers`)."""
    cell = recipe.cell
    content = b""
    if names_a_file(cell.morphology):
        content += Path(cell.morphology).read_bytes()
        cell = cell.model_copy(update={"morphology": "file.swc"})
    if cell.nmodl is not None:
        content += b"".join(path.read_bytes() for path in sorted(Path(cell.nmodl).glob("*.mod")))
        cell = cell.model_copy(update={"nmodl": "files"})
    text = cell.model_dump_json()
    if not parts:
        text += str(recipe.recovers)
    for part in parts or ("draw", "table"):
        spec = getattr(recipe, part)
        text += "" if spec is None else spec.model_dump_json()
    return zlib.crc32(text.encode() + content)


def _measured(
    model: CellModel, slot: int, parameters: Mapping[str, float], tolerance: float | None, recovers: bool
) -> tuple[Row, str]:
    """A slot's row; without features, and the reason, where the cell is no valid member."""
    cell = exact_cell(model, tolerance=tolerance)
    cell.set_parameters(parameters)
    row: Row = {"slot": slot, "parameters": dict(parameters), "features": {}, "rates": []}
    try:
        found = measure(lambda current: cell.run(current, settle=SETTLE), recovers=recovers)
    except SolverError:
        return row, "nan"
    except Rejected as reason:
        return row, str(reason)
    rates = [[round(amplitude, 5), round(rate, 3)] for amplitude, rate in found.rates.items()]
    return {**row, "features": found.features, "rates": rates}, ""


class _Slots:
    """The rows of a family in the making, kept in a file line by line, for a recipe of one ``digest``."""

    def __init__(self, path: Path, digest: int, jobs: int | None, progress: Progress | None) -> None:
        self.path, self.jobs, self.progress = path, jobs, progress
        rows = read_rows(path)
        if any(row.get("recipe", digest) != digest for row in rows):
            rows = []  # what another recipe of this name has left
            path.unlink()
        if not rows:
            path.write_text(json.dumps({"recipe": digest}) + "\n")
        self.done: dict[int, Row] = {row["slot"]: row for row in rows if "slot" in row}

    def fill(self, function: Callable[[Task], Row], tasks: Sequence[Task], wanted: int) -> list[Row]:
        """Rows in the tasks' order, the rejected among them, until ``wanted`` are valid or there are no more tasks."""
        taken = 0
        with self.path.open("a") as log:
            while taken < len(tasks):
                valid = sum(bool(self.done[slot]["features"]) for slot, _ in tasks[:taken])
                if valid >= wanted:
                    break
                batch = tasks[taken : taken + wanted - valid]
                todo = [task for task in batch if not self._knows(*task)]
                for row in in_processes(function, todo, self.jobs):
                    self.done[row["slot"]] = row
                    log.write(json.dumps(row) + "\n")
                    log.flush()
                    if self.progress:
                        self.progress(min(len(self.done), wanted), wanted)
                taken += len(batch)
        return [self.done[slot] for slot, _ in tasks[:taken]]

    def _knows(self, slot: int, parameters: Mapping[str, float]) -> bool:
        """Whether a slot is measured: with its parameters, where the task gives any."""
        return slot in self.done and (not parameters or self.done[slot]["parameters"] == dict(parameters))
