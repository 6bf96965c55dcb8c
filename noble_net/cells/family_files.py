"""The files of a family: its table, what its JSON says, its F–I curves."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from noble_net.cells.features import FEATURES, REASONS
from noble_net.cells.select import Candidate, with_hall_of_fame
from noble_net.cells.targets import Targets
from noble_net.errors import FamilyError
from noble_net.specs.families import FamilyRecipe, names_a_file

Row = dict[str, Any]
"""A slot's parameters, features, rates, and what was rejected before it."""


def coding_of(members: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """How the parameters become a code: by mean and standard deviation over the members, logarithmic where positive.

    Parameters that do not differ are left out: they become values of the cell (`write_family`).
    """
    coding: dict[str, dict[str, Any]] = {}
    for name in members[0] if members else ():
        values = np.array([each[name] for each in members])
        logarithmic = bool((values > 0).all())
        scaled = np.log(values) if logarithmic else values
        if np.ptp(scaled) > 0:
            centre = float(np.exp(scaled.mean()) if logarithmic else scaled.mean())
            coding[name] = {
                "centre": float(f"{centre:.9g}"),
                "sd": float(f"{scaled.std():.6g}"),
                "logarithmic": logarithmic,
            }
    return coding


def write_family(
    recipe: FamilyRecipe,
    folder: Path,
    rows: Sequence[Row],
    coding: Mapping[str, Mapping[str, Any]],
    about: Mapping[str, Any],
    chosen: Sequence[Candidate],
) -> Path:
    """Write the table, its JSON and the F–I curves (``<name>.fi.csv``: member, current nA, rate Hz)."""
    rejected: Counter[str] = Counter()
    for row in rows:
        rejected.update(row["rejected"])
    valid = [row for row in rows if row["features"]]
    if not valid:
        raise FamilyError(f"no candidate of {recipe.name} is a valid member: {dict(rejected)}")
    if not coding or len(valid) < 2:
        raise FamilyError(
            f"{recipe.name} has {len(valid)} valid members that differ in {len(coding)} parameters: a family needs two "
            f"that differ (rejected: {dict(rejected)})"
        )
    origins: list[Candidate | None] = [None] * len(valid)
    if recipe.evolve is not None:
        # Marked again, since a candidate that is no valid member may have been of the hall of fame.
        measured = [chosen[row["slot"]] for row in valid]
        origins = list(with_hall_of_fame(measured, recipe.evolve.hall_of_fame))
    records = []
    for index, (row, origin, role) in enumerate(zip(valid, origins, _roles(recipe, origins), strict=True)):
        record: Row = {"member": f"{recipe.name}-{index:03d}", "role": role}
        if origin is not None:
            record |= {
                "hall_of_fame": int(origin.hall_of_fame),
                "z_score": f"{origin.z_score:.4f}",
                "seed": origin.seed,
                "target": origin.target,
            }
        record |= {name: f"{row['parameters'][name]:.9g}" for name in coding}
        record |= {name: f"{row['features'][name]:.6g}" for name in FEATURES if name in row["features"]}
        records.append(record)
    csv = folder / f"{recipe.name}.csv"
    cell = _cell_beside(recipe, folder)
    same = {name: value for name, value in valid[0]["parameters"].items() if name not in coding}
    if same:  # given with the members, yet one for all: the cell's own value from now on
        cell["values"] = {**cell.get("values", {}), **same}
    content = {
        "name": recipe.name,
        "cell": cell,
        "parameters": coding,
        **about,
        "rejected": {reason: rejected[reason] for reason in REASONS},
        "source": recipe.attribution,
    }
    pd.DataFrame(records).to_csv(csv, index=False)
    curves = [
        {"member": record["member"], "current": amplitude, "rate": rate}
        for record, row in zip(records, valid, strict=True)
        for amplitude, rate in row.get("rates", ())
    ]
    if curves:
        pd.DataFrame(curves).to_csv(csv.with_suffix(".fi.csv"), index=False)
    csv.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n")
    return csv


def _roles(recipe: FamilyRecipe, origins: Sequence[Candidate | None]) -> list[str]:
    """Every fifth member is held out; of a hall of fame, evenly as many as the recipe says, at most half."""
    spec = recipe.evolve
    hall = [i for i, origin in enumerate(origins) if origin is not None and origin.hall_of_fame]
    out = {i for n, i in enumerate(i for i in range(len(origins)) if i not in set(hall)) if n % 5 == 4}
    held_out = min(spec.hall_held_out, len(hall) // 2) if spec is not None else 0
    if held_out:
        every = len(hall) // held_out
        out |= set(hall[every - 1 :: every][:held_out])
    return ["held_out" if i in out else "train" for i in range(len(origins))]


def _cell_beside(recipe: FamilyRecipe, folder: Path) -> dict[str, Any]:
    """The cell for the family's JSON, files named relative to the family's folder."""
    cell = recipe.about_cell()
    for key in ("morphology", "nmodl"):
        value = cell.get(key)
        if value is not None and (key == "nmodl" or names_a_file(str(value))):
            cell[key] = Path(os.path.relpath(value, folder)).as_posix()
    return cell


def targets_as_json(targets: Targets) -> dict[str, dict[str, list[float]]]:
    return {
        f"{step:g} nA": {name: [round(mean, 4), round(sd, 4)] for name, (mean, sd) in wanted.items()}
        for step, wanted in targets.at.items()
    }


def targets_of(recipe: FamilyRecipe) -> Row:
    """Whose responses the targets' means are, for the family's JSON; nothing where they are written by hand."""
    spec = recipe.targets
    if spec is None or spec.of_fit is None:
        return {}
    morphology = spec.on_morphology or recipe.cell.morphology
    name = Path(morphology).name if names_a_file(morphology) else morphology
    return {"targets_of": {"fit": spec.of_fit, "morphology": name}}
