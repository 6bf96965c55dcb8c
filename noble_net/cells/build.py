"""Making a family: draw candidates around a published fit, keep the valid ones, measure their features.

Every slot of the table draws from its own generator until a candidate is valid, so the table does not depend
on the number of processes, and the work resumes from the slots already on disk.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import truncnorm

from noble_net.cells.features import FEATURES, Rejected, measure
from noble_net.cells.solver import AllenModel, ExactCell
from noble_net.errors import SolverError
from noble_net.processes import in_processes
from noble_net.recipes import FamilyRecipe

SETTLE = 100.0
"""Zero input before a step protocol, ms: the published fit starts within 0.3 mV of rest."""

Progress = Callable[[int, int], None]

_cells: dict[tuple[str, str], ExactCell] = {}


def build_family(
    recipe: FamilyRecipe, folder: Path, jobs: int | None = None, progress: Progress | None = None
) -> Path:
    """Make the family of ``recipe`` in ``folder`` on ``jobs`` processes (default: all cores); returns the table's path.

    Slots already measured are read from ``<name>.slots.jsonl`` in the same folder, which is removed at the end.
    """
    slots_path = folder / f"{recipe.name}.slots.jsonl"
    done = _read_slots(slots_path)
    todo = [slot for slot in range(recipe.members) if slot not in done]
    with slots_path.open("a") as log:
        for row in in_processes(partial(draw_member, recipe), todo, jobs):
            done[row["slot"]] = row
            log.write(json.dumps(row) + "\n")
            log.flush()
            if progress:
                progress(len(done), recipe.members)
    table = _write(recipe, folder, [done[slot] for slot in range(recipe.members)])
    slots_path.unlink()
    return table


def draw_member(recipe: FamilyRecipe, slot: int) -> dict[str, Any]:
    """Draw candidates for one slot until one is valid: its parameters, features and what was rejected."""
    key = (recipe.fit, recipe.morphology)
    if key not in _cells:
        _cells[key] = ExactCell(AllenModel.load(*key))
    cell = _cells[key]
    published = varied_parameters(cell.model, recipe)
    rejected: Counter[str] = Counter()
    generator = np.random.default_rng([recipe.seed, slot])
    while True:
        code = truncnorm.ppf(generator.random(len(published)), -recipe.bound, recipe.bound)
        parameters = {
            name: value * float(np.exp(recipe.sigma * z))
            for (name, value), z in zip(published.items(), code, strict=True)
        }
        cell.set_parameters(parameters)
        try:
            features = measure(lambda current: cell.run(current, settle=SETTLE))
        except SolverError:
            rejected["nan"] += 1
        except Rejected as reason:
            rejected[str(reason)] += 1
        else:
            return {"slot": slot, "parameters": parameters, "features": features, "rejected": dict(rejected)}


def varied_parameters(model: AllenModel, recipe: FamilyRecipe) -> dict[str, float]:
    """Published values of the parameters that differ between members: every conductance of the fit."""
    return {
        name: value
        for name, (_, variable, value) in model.genome.items()
        if variable.startswith(("gbar_", "g_pas")) and name not in recipe.keep
    }


def _read_slots(path: Path) -> dict[int, dict[str, Any]]:
    if not path.exists():
        return {}
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue  # a kill cut the last line short; its slot is drawn again
    return {row["slot"]: row for row in rows}


def _write(recipe: FamilyRecipe, folder: Path, rows: list[dict[str, Any]]) -> Path:
    model = AllenModel.load(recipe.fit, recipe.morphology)
    published = varied_parameters(model, recipe)
    records = [
        {
            "member": f"{recipe.name}-{row['slot']:03d}",
            "role": "held_out" if row["slot"] % 5 == 4 else "train",
            **{name: f"{row['parameters'][name]:.9g}" for name in published},
            **{name: f"{row['features'][name]:.6g}" for name in FEATURES},
        }
        for row in rows
    ]
    rejected: Counter[str] = Counter()
    for row in rows:
        rejected.update(row["rejected"])
    about = {
        "name": recipe.name,
        "fit": recipe.fit,
        "morphology": recipe.morphology,
        "sigma": recipe.sigma,
        "bound": recipe.bound,
        "seed": recipe.seed,
        "parameters": published,
        "redrawn": {reason: rejected[reason] for reason in ("nan", "silent", "block")},
        "source": "Allen Cell Types Database perisomatic fit, read from bmtk 1.2.0; Allen Institute terms of use",
    }
    csv = folder / f"{recipe.name}.csv"
    pd.DataFrame(records).to_csv(csv, index=False)
    csv.with_suffix(".json").write_text(json.dumps(about, indent=2) + "\n")
    return csv
