"""Cells between cells: NOBLE's latent interpolation against interpolated conductances. Scoreboard rows.

    python benchmarks/noble_interpolation.py [CORE]        default: noble-paper where it ships, else noble-small

Every cell answers the steps of the family's F–I curves. A trace is within the family when each of the 16 e-features
lies in the range that NEURON gives for the hall-of-fame members trained on, widened by MARGIN of its width, and when
it has exactly the features they have. Ranges are taken twice: over all steps together, and for every step by itself
(strict). Beside NOBLE's cells: members held out and, each left out in turn, members trained on, both solved by NEURON
(what a perfect model would score), and cells solved by NEURON half-way between two members in their conductances,
straight (as in the paper, arXiv 2506.04536) and in their logarithms.

Table: benchmarks/results/noble_interpolation.json. Needs the core's dataset and the extras [reference] and [train].
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
from noble_shared import chosen_core, read_recipe
from scoreboard import RESULTS, Target, record

from noble_net.cells.family import Family
from noble_net.cells.features import NOBLE_FEATURES
from noble_net.cells.latent_space import LatentSpace
from noble_net.processes import in_processes
from noble_net.reference.exact_steps import load_exact_steps
from noble_net.registry import load_family, load_step_core
from noble_net.responses.respond import Responses, measure, respond
from noble_net.specs.noble import NobleDatasetSpec, NobleRecipe
from noble_net.surrogate.step_core import StepCore
from noble_net.training.noble_data import Traces, build_noble_dataset, noble_dataset_path, read_part
from noble_net.training.noble_evaluate import true_voltage
from noble_net.training.noble_plan import members_of
from noble_net.types import CellTable, Float64

COMMAND = "python benchmarks/noble_interpolation.py"
RESULT = RESULTS / "noble_interpolation.json"
MARGIN = 0.05
RADIUS = 0.05
"""Of the circle around a held-out member, as a share of the features' ranges."""
SEED = 5
CONDUCTANCE_CELLS = 50

Features = Float64
"""E-features, [cells, steps, features]; NaN where a trace lacks one."""


def main() -> None:
    """Measure and record."""
    name = chosen_core()
    recipe, core = read_recipe(name), load_step_core(name)
    family = load_family(recipe.family)
    build_noble_dataset(recipe, family)
    steps, members = member_features(recipe, family, core)
    train = members_of(recipe.dataset, family, "train")
    truth = np.stack([members[m] for m in train])
    groups = {
        "held-out members, NEURON": np.stack(
            [members[m] for m in members_of(recipe.dataset, family, "held_out")]
        ),
        **{label: answered(core, cells, steps) for label, cells in latent_cells(recipe, family).items()},
        **{label: solved(family, cells, steps) for label, cells in between(family, train).items()},
    }
    table = {label: shares(truth, found) for label, found in groups.items()}
    left_out = [shares(np.delete(truth, i, 0), truth[i : i + 1]) for i in range(len(truth))]
    table["members trained on, each left out, NEURON"] = {
        key: float(np.mean([each[key] for each in left_out])) for key in left_out[0]
    }
    result = {"core": name, "margin": MARGIN, "steps_nA": steps.tolist(), "table": table}
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for label, row in table.items():
        print(f"{label}: within {100 * row['within']:.1f} %, strict {100 * row['strict']:.1f} %")
    rows = targets(name, table)
    record(rows)
    for target in rows:
        print(target.line())


def member_features(
    recipe: NobleRecipe, family: Family, core: StepCore
) -> tuple[Float64, dict[str, Float64]]:
    """The steps of the F–I curves (nA), and every member's features, [steps, features], in the core's window."""
    ids, curves = read_part(noble_dataset_path(recipe, family), family, "fi")
    found, steps = {}, np.empty(0)
    for row in np.unique(curves.member):
        traces = curves.take(curves.member == row)
        steps = traces.amplitude
        found[ids[row]] = _features(recipe.dataset, core, traces)
    return steps, found


def latent_cells(recipe: NobleRecipe, family: Family) -> dict[str, CellTable]:
    """Cells drawn over the features NOBLE embeds: around a held-out member, and in the hull of those trained on."""
    names = recipe.model.features
    train = members_of(recipe.dataset, family, "train")
    values = family.table.loc[train, list(names)].to_numpy(np.float64)
    space = LatentSpace(names, values, tuple(train))
    held = members_of(recipe.dataset, family, "held_out")
    places = family.table.loc[held, list(names)].to_numpy(np.float64)
    inside = [place for place in places if space.contains(place[None])[0]]
    centre = inside[0] if inside else places[0]
    generator = partial(np.random.default_rng, SEED)
    return {
        "NOBLE, 50 cells around a held-out member": _cells(
            names, space.circle(generator(), centre, RADIUS, 50)
        ),
        "NOBLE, 50 cells in the hull": _cells(names, space.uniform(generator(), 50)),
        "NOBLE, 200 cells in the hull": _cells(names, space.uniform(generator(), 200)),
    }


def between(family: Family, members: list[str]) -> dict[str, CellTable]:
    """Cells half-way between two random members in their parameters, and in their code."""
    generator = np.random.default_rng(SEED)
    pairs = [generator.choice(len(members), 2, replace=False) for _ in range(CONDUCTANCE_CELLS)]
    first, second = (family.cells([members[p[i]] for p in pairs]) for i in range(2))
    names = family.parameter_names
    straight = {n: 0.5 * (first.parameters[n] + second.parameters[n]) for n in names}
    code = (0.5 * (first.code + second.code)).astype(np.float32)
    values = family.decode(code)
    logarithmic = {n: values[:, j] for j, n in enumerate(names)}
    return {
        f"{CONDUCTANCE_CELLS} cells between two members' {label}, NEURON": CellTable(
            len(pairs), code, parameters
        )
        for label, parameters in (("conductances", straight), ("log conductances", logarithmic))
    }


def answered(core: StepCore, cells: CellTable, steps: Float64) -> Features:
    """A core's features."""
    parts = [measure(each, core, NOBLE_FEATURES) for each in respond(core, cells, steps)]
    return np.stack(
        [np.concatenate([p[n] for p in parts]).reshape(cells.size, len(steps)) for n in NOBLE_FEATURES], -1
    )


def solved(family: Family, cells: CellTable, steps: Float64) -> Features:
    """NEURON's features, a cell at a time on all cores."""
    work = partial(_solved, family.name, steps)
    singles = [cells.take(slice(i, i + 1)) for i in range(cells.size)]
    found = dict(in_processes(work, list(enumerate(singles))))
    return np.concatenate([found[i] for i in range(cells.size)])


def _solved(family: str, steps: Float64, task: tuple[int, CellTable]) -> tuple[int, Features]:
    return task[0], answered(load_exact_steps(family), task[1], steps)


def shares(truth: Features, found: Features) -> dict[str, float]:
    """Shares of traces within the family: all steps' ranges together, and step by step."""
    return {
        "within": float(_within(_ranges(truth.reshape(-1, truth.shape[-1])[:, None]), found).mean()),
        "strict": float(_within(_ranges(truth), found).mean()),
    }


def _ranges(truth: Features) -> tuple[Float64, Float64, np.ndarray, np.ndarray]:
    """Lowest and highest value of every feature, [steps, features], whether any and whether all have it."""
    has = np.isfinite(truth)
    low = np.where(has, truth, np.inf).min(axis=0)
    high = np.where(has, truth, -np.inf).max(axis=0)
    width = np.where(has.any(axis=0), high - low, 0.0)
    return low - MARGIN * width - 1e-6, high + MARGIN * width + 1e-6, has.any(axis=0), has.all(axis=0)


def _within(ranges: tuple[Float64, Float64, np.ndarray, np.ndarray], found: Features) -> np.ndarray:
    """Whether every feature is as the family has it, bool [cells, steps]."""
    low, high, some, every = ranges
    has = np.isfinite(found)
    good = np.where(has, some & (found >= low) & (found <= high), ~every)
    return np.asarray(good.all(axis=-1))


def targets(name: str, table: dict[str, dict[str, float]]) -> list[Target]:
    """The least of NOBLE's ensembles is held against the target; conductance interpolation stands beside it."""
    noble = {label: row["within"] for label, row in table.items() if label.startswith("NOBLE")}
    beside = "; ".join(
        f"{label}: {100 * row['within']:.1f} %" for label, row in table.items() if label not in noble
    )
    worst = min(noble, key=noble.__getitem__)
    conditions = f"the least of its ensembles ({worst}), 16 e-features, ranges over all steps; {beside}"
    label = f"{name}: interpolated cells' traces within the family's e-feature ranges"
    return [Target(3, label, "≥ 95", 100 * noble[worst], "%", conditions, COMMAND)]


def _features(spec: NobleDatasetSpec, core: StepCore, traces: Traces) -> Any:
    voltage = true_voltage(spec, core, traces)
    measured = measure(
        Responses(traces.member.astype(np.int64), traces.amplitude, voltage), core, NOBLE_FEATURES
    )
    return np.stack([measured[name] for name in NOBLE_FEATURES], -1)


def _cells(names: tuple[str, ...], points: Float64) -> CellTable:
    return CellTable(
        len(points),
        np.zeros((len(points), 0), np.float32),
        {},
        {name: points[:, j] for j, name in enumerate(names)},
    )


if __name__ == "__main__":
    main()
