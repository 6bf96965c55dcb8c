"""Cells between cells: NOBLE's latent interpolation against interpolated conductances. Scoreboard rows.

    python benchmarks/noble_interpolation.py [CORE]        default: noble-paper where it ships, else noble-small
    python benchmarks/noble_interpolation.py [CORE] --kept
                                                the core's rows alone: those of cells between conductances, which
                                                NEURON solves and no core changes, are as they were measured last

Every cell answers the steps of the family's F–I curves. A trace is within the family when each of the 16 e-features
lies in the range that NEURON gives for the hall-of-fame members trained on, widened by MARGIN of its width, when it
lacks no feature that all of them have at its step (a silent trace where all fire is none of theirs), and has none that
no member has. Ranges are taken over a trace's own step and its two neighbours, which the scoreboard holds; at its own
step alone, where of few members some always exceed the others'; and over all steps. Beside NOBLE's cells: members held
out and, each left out in turn, members trained on, both solved by NEURON (what a perfect model would score), and cells
solved by NEURON half-way between two members in their conductances, straight (as in the paper, arXiv 2506.04536) and in
their logarithms.

A cell that NEURON has solved is not solved again: its features are in benchmarks/results/noble_interpolation.npz.
Table: benchmarks/results/noble_interpolation.json. Needs the core's dataset and the extras [reference] and [train].
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from noble_shared import chosen_core, read_recipe
from numpy.typing import NDArray
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
from noble_net.training.noble_data import Traces, build_noble_dataset, read_part, save_arrays
from noble_net.training.noble_evaluate import true_voltage
from noble_net.training.noble_plan import members_of, trained_members
from noble_net.types import CellTable, Float64

COMMAND = "python benchmarks/noble_interpolation.py"
RESULT = RESULTS / "noble_interpolation.json"
SOLVED = RESULTS / "noble_interpolation.npz"
MARGIN = 0.05
RADIUS = 0.05
"""Of the circle around a held-out member, as a share of the features' ranges."""
SEED = 5
CONDUCTANCE_CELLS = 50
REACHES = {"same step": 0, "neighbours": 1, "all steps": 10**6}
"""Over how many steps on either side ranges are taken."""
HELD_OUT, LEFT_OUT = "held-out members, NEURON", "members trained on, each left out, NEURON"

Features = Float64
"""E-features, [cells, steps, features]; NaN where a trace lacks one."""


def main() -> None:
    """Measure and record."""
    name = chosen_core()
    recipe, core = read_recipe(name), load_step_core(name)
    family = load_family(recipe.family)
    build_noble_dataset(recipe, family, parts=["fi"])
    steps, members = member_features(recipe, family, core)
    train = trained_members(recipe, family)
    truth = np.stack([members[m] for m in train])
    groups = {
        HELD_OUT: np.stack([members[m] for m in members_of(recipe.dataset, family, "held_out")]),
        **{label: answered(core, cells, steps) for label, cells in latent_cells(recipe, family).items()},
    }
    table = {label: shares(truth, found) for label, found in groups.items()}
    cells_between = between(family, train)
    if "--kept" in sys.argv:
        kept = json.loads(RESULT.read_text(encoding="utf-8"))["table"]
        table |= {label: kept[label] for label in cells_between}
    else:
        table |= {
            label: shares(truth, solved(family, cells, steps)) for label, cells in cells_between.items()
        }
    left_out = [shares(np.delete(truth, i, 0), truth[i : i + 1]) for i in range(len(truth))]
    table[LEFT_OUT] = {key: float(np.mean([each[key] for each in left_out])) for key in left_out[0]}
    result = {"core": name, "margin": MARGIN, "steps_nA": steps.tolist(), "table": table}
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for label, row in table.items():
        print(f"{label}: {', '.join(f'{key} {100 * share:.1f} %' for key, share in row.items())}")
    rows = targets(name, table)
    record(rows)
    for target in rows:
        print(target.line())


def member_features(
    recipe: NobleRecipe, family: Family, core: StepCore
) -> tuple[Float64, dict[str, Float64]]:
    """The steps of the F–I curves (nA), and every member's features, [steps, features], in the core's window."""
    ids, curves = read_part(recipe, family, "fi")
    found, steps = {}, np.empty(0)
    for row in np.unique(curves.member):
        traces = curves.take(curves.member == row)
        steps = traces.amplitude
        found[ids[row]] = _features(recipe.dataset, core, traces)
    return steps, found


def latent_cells(recipe: NobleRecipe, family: Family) -> dict[str, CellTable]:
    """Cells drawn over the features NOBLE embeds: around a held-out member, and in the hull of those trained on."""
    names = recipe.model.features
    train = trained_members(recipe, family)
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
    """NEURON's features, a cell at a time on all cores. Each is kept in `SOLVED` when it is done."""
    singles = [cells.take(slice(i, i + 1)) for i in range(cells.size)]
    names = [_digest(family, each, steps) for each in singles]
    there = _solved_before()
    todo = [(name, each) for name, each in zip(names, singles, strict=True) if name not in there]
    begin = time.monotonic()
    for done, (name, found) in enumerate(in_processes(partial(_solved, family.name, steps), todo), 1):
        there[name] = found
        save_arrays(SOLVED, np.savez_compressed, **there)
        left = (time.monotonic() - begin) * (len(todo) / done - 1.0) / 60.0
        print(f"  {done} of {len(todo)} cells in NEURON, {left:.0f} min left", flush=True)
    return np.concatenate([there[name] for name in names])


def _solved_before() -> dict[str, Features]:
    if not SOLVED.exists():
        return {}
    with np.load(SOLVED) as file:
        return dict(file)


def _solved(family: str, steps: Float64, task: tuple[str, CellTable]) -> tuple[str, Features]:
    name, cell = task
    return name, answered(load_exact_steps(family), cell, steps)


def _digest(family: Family, cell: CellTable, steps: Float64) -> str:
    """Of all that a cell's answers hang on."""
    parameters = {name: values.tolist() for name, values in sorted(cell.parameters.items())}
    told = json.dumps([family.hash, parameters, steps.tolist(), NOBLE_FEATURES])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def shares(truth: Features, found: Features) -> dict[str, float]:
    """Shares of traces within the family, by where its ranges are taken (REACHES)."""
    return {key: float(within(truth, found, reach).mean()) for key, reach in REACHES.items()}


def within(truth: Features, found: Features, reach: int) -> NDArray[np.bool_]:
    """Whether every feature of a trace is as the members' ``truth`` has it, bool [cells, steps].

    ``reach``: steps on either side whose traces count for the ranges as well. What a trace must have is told by its own
    step alone: at high steps all members fire, and features of spikes are wanted there whatever the range.
    """
    low, high = _over(np.nanmin, truth, reach), _over(np.nanmax, truth, reach)  # NaN: no member has it
    slack = MARGIN * (high - low) + 1e-6
    has, wanted = np.isfinite(found), np.isfinite(truth).all(axis=0)
    good = np.where(has, (found >= low - slack) & (found <= high + slack), ~wanted)
    return np.asarray(good.all(axis=-1))


def _over(extreme: Callable[..., Float64], truth: Features, reach: int) -> Float64:
    """Lowest or highest value of every feature over members and steps within ``reach``, [steps, features]."""
    steps = range(truth.shape[1])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        return np.stack([extreme(truth[:, max(s - reach, 0) : s + reach + 1], axis=(0, 1)) for s in steps])


def targets(name: str, table: dict[str, dict[str, float]]) -> list[Target]:
    """The least of NOBLE's ensembles is held against the target, and against what NEURON's own members score."""
    label = f"{name}: interpolated cells' traces within the family's e-feature ranges"
    near, share = _least(table, "neighbours")
    same, alone = _least(table, "same step")
    return [
        Target(3, f"{label} near their step", "≥ 95", 100 * share, "%", near, COMMAND),
        Target(
            3,
            f"{label} at their step ÷ members left out",
            "≥ 1",
            alone / table[LEFT_OUT]["same step"],
            "",
            same,
            COMMAND,
        ),
    ]


def _least(table: dict[str, dict[str, float]], key: str) -> tuple[str, float]:
    """The least share of NOBLE's ensembles, and the conditions: all others beside it."""
    noble = {label: row[key] for label, row in table.items() if label.startswith("NOBLE")}
    worst = min(noble, key=noble.__getitem__)
    beside = "; ".join(f"{label}: {100 * row[key]:.1f} %" for label, row in table.items() if label != worst)
    conditions = (
        f"the least of NOBLE's ensembles ({worst}: {100 * noble[worst]:.1f} %), 16 e-features, ranges of the members "
        f"trained on ({key}), what all have at a step wanted there; {beside}"
    )
    return conditions, noble[worst]


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
