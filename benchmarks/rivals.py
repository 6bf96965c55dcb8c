"""pv-stream beside fitted point neurons, on the same cells, inputs and measures, and what each costs.

    python benchmarks/rivals.py [--members N | --cost]

An adaptive exponential (AdEx) and a generalised leaky integrate-and-fire model (GLIF: after-spike currents, moving
threshold) are fitted to every test member: to the training recording of members the core was trained on, to one half
of the test recordings of the others, for which the core has only their conductances. All are judged on the other half.
Fits are kept in results/rivals/ as they come and are not done again. Writes results/rivals.json and the tables of
docs/rivals.md. Needs the dataset of surrogate/recipes/pv-stream.yaml (extra [train]; made here if missing).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numba
import numpy as np
from noble_shared import table
from scoreboard import RESULTS, write_between

from noble_net.cells.family import Family
from noble_net.output import write_json
from noble_net.provenance import machine
from noble_net.registry import load_family
from noble_net.rivals.fit import Budget, Fit, Task
from noble_net.rivals.fits import fit_all, fitted_cells, read_fits
from noble_net.rivals.judge import Judgement, Player, judge, lines
from noble_net.rivals.models import MODELS, PointNeurons
from noble_net.rivals.recordings import test_stretches, training_stretches
from noble_net.specs.cores import CoreRecipe
from noble_net.specs.specification import validate_document
from noble_net.specs.yaml_source import load_document
from noble_net.surrogate.streaming import StreamingCore
from noble_net.training.dataset import build_dataset, open_dataset, regimes
from noble_net.training.evaluate import run_from
from noble_net.training.inputs import test_input
from noble_net.types import DT, Drive

ROOT = Path(__file__).parent.parent
BUDGET = Budget()
FITTED = 15_000.0
"""Of the training recording, ms."""
FITTED_EACH = 1_500.0
"""Of the fitted half of each test recording but the steps, ms: with those, 14 s."""
COST_CELLS, COST_SAMPLES, COST_TURNS, COST_SEED = 256, 2000, 7, 3
PAGE = ROOT / "docs/rivals.md"
COLUMNS = {"pv-stream": "pv-stream", "adex": "AdEx", "glif": "GLIF", "floor": "solver's floor"}
"""Of the page: model → its head."""


def main(members: int | None) -> None:
    """Fit, judge, time, print, write results/rivals.json and the page."""
    recipe = validate_document(CoreRecipe, load_document(ROOT / "surrogate/recipes/pv-stream.yaml"))
    family = load_family(recipe.family)
    with open_dataset(build_dataset(recipe, family), family) as file:
        rows = judged_members(file, members or recipe.dataset.test.members)
        print(f"fitting {', '.join(MODELS)} to {sum(map(len, rows.values()))} members", flush=True)
        fits = fit_all(tasks(file, rows), RESULTS / "rivals", progress=say)
        core = StreamingCore.load(ROOT / "surrogate/checkpoints" / recipe.name)
        players = players_of(core, family, fits)
        found = judge(file, players, rows, regimes(recipe.dataset))
    print("\n".join(lines(found)))
    costs = spent(players, rows)
    if members is None:
        write(found, costs, rows, fits)


def costs_alone() -> None:
    """Time anew what results/rivals.json was made with, and write that and the page."""
    content = json.loads((RESULTS / "rivals.json").read_text(encoding="utf-8"))
    family = load_family("allen-pv-peri")
    fits = {name: read_fits(RESULTS / "rivals" / f"{name}.csv", model) for name, model in MODELS.items()}
    core = StreamingCore.load(ROOT / "surrogate/checkpoints/pv-stream")
    content["microseconds_per_cell_ms"] = spent(players_of(core, family, fits), content["members"])
    write_json(RESULTS / "rivals.json", content)
    write_between(PAGE, page(content))


def spent(players: Mapping[str, Player], rows: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What the players cost, printed, and on what that was measured."""
    costs = cost(players, rows)
    print(", ".join(f"{name}: {value:.3g} µs per cell-ms" for name, value in costs.items()))
    measured = {"threads": 1, "cells": COST_CELLS, "turns": COST_TURNS, "machine": machine()["processor"]}
    return {**measured, **costs}


def judged_members(file: h5py.File, number: int) -> dict[str, list[str]]:
    """The first seen and the first unseen members of a dataset's tests."""
    ids = [str(i) for i in file["test"]["steps"]["ids"].asstr()[:]]
    half = len(ids) // 2
    return {"seen": ids[:half][:number], "unseen": ids[half:][:number]}


def tasks(file: h5py.File, rows: Mapping[str, Sequence[str]]) -> list[Task]:
    """A fit of every model to every member, the slower model first."""
    recorded = {member: training_stretches(file, member, FITTED) for member in rows["seen"]}
    recorded |= {member: test_stretches(file, member, FITTED_EACH) for member in rows["unseen"]}
    return [Task(model, member, each, BUDGET) for model in MODELS for member, each in recorded.items()]


def say(each: Fit, done: int, total: int) -> None:
    """A line for a fit that is done."""
    print(
        f"  {done} of {total}: {each.model} {each.member}, loss {each.start_loss:.3f} → {each.loss:.3f}, "
        f"{each.seconds:.0f} s",
        flush=True,
    )


def players_of(
    core: StreamingCore, family: Family, fits: Mapping[str, Mapping[str, Fit]]
) -> dict[str, Player]:
    """The trained core and the fitted models."""
    players = {core.name: Player(core, family.cells)}
    for name, model in MODELS.items():
        players[name] = Player(PointNeurons(model), partial(fitted_cells, model, fits[name]))
    return players


def cost(players: Mapping[str, Player], rows: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """µs of processor time per cell-ms on one thread, in turns, medians.

    `COST_CELLS` cells are driven by fluctuating conductances; what finding their rest takes does not count.
    """
    numba.set_num_threads(1)
    known = [member for each in rows.values() for member in each]
    members = [known[i % len(known)] for i in range(COST_CELLS)]
    drawn = [
        test_input("ou_conductance", np.random.default_rng([COST_SEED, number]), COST_SAMPLES * DT)
        for number in range(COST_CELLS)
    ]
    drive = Drive(("soma",), *(np.stack(each)[None] for each in zip(*drawn, strict=True)))
    seconds: dict[str, list[float]] = {name: [] for name in players}
    for turn in range(COST_TURNS + 1):  # the first warms up
        for name, player in players.items():
            state = player.core.begin(player.cells(members))
            began = time.process_time()
            run_from(player.core, state, drive)
            if turn:
                seconds[name].append(time.process_time() - began)
    cell_ms = COST_CELLS * COST_SAMPLES * DT
    return {name: 1e6 * statistics.median(each) / cell_ms for name, each in seconds.items()}


def write(
    found: Judgement,
    costs: Mapping[str, Any],
    rows: Mapping[str, Sequence[str]],
    fits: Mapping[str, Mapping[str, Fit]],
) -> None:
    """Write what was found."""
    losses = {name: {member: each.loss for member, each in by.items()} for name, by in fits.items()}
    content = {
        "table": numbers(found),
        "microseconds_per_cell_ms": costs,
        "members": rows,
        "fit": {
            "seen": f"first {FITTED / 1000:g} s of the member's training recording",
            "unseen": f"one half of the test recordings of trained kinds: {FITTED_EACH / 1000:g} s each, 5 s of steps",
            "judged": "the other half of every test recording, all models alike; of steps, every second one",
            "budget": BUDGET._asdict(),
            "seconds": sum(each.seconds for by in fits.values() for each in by.values()),
            "losses": losses,
        },
    }
    write_json(RESULTS / "rivals.json", content)
    write_between(PAGE, page(content))


def page(content: Mapping[str, Any]) -> str:
    """The tables of docs/rivals.md, of what `write` left in rivals.json."""
    judged, spent = content["table"], content["microseconds_per_cell_ms"]
    heads = ["input", *COLUMNS.values()]

    def of(measure: str, factor: float, digits: int, without: str = "") -> str:
        found = {name: models for name, models in judged.items() if name != without}
        return table(
            heads,
            [
                [name.replace("_", " "), *_both(models, measure, factor, digits)]
                for name, models in found.items()
            ],
        )

    timed = [name for name in COLUMNS if name in spent]
    parts = {
        "Spike times: Γ(±2 ms)": of("gamma", 1, 3, without="zero"),
        "Rate: error, % (under steps: of the F–I curve)": of("rate_error", 100, 1, without="zero"),
        "Voltage: clipped RMSE, mV": of("clipped_rmse", 1, 2),
        f"Cost: µs a cell-ms, one thread of {spent['machine']}, {spent['cells']} cells": table(
            [COLUMNS[name] for name in timed], [[f"{spent[name]:.2f}" for name in timed]]
        ),
    }
    return "\n\n".join(f"**{title}**\n\n{rows}" for title, rows in parts.items())


def _both(models: Mapping[str, Any], measure: str, factor: float, digits: int) -> Iterator[str]:
    """A row's cells: a measure of every model, seen / unseen."""
    for name in COLUMNS:
        values = [models.get(name, {}).get(row, {}).get(measure) for row in ("seen", "unseen")]
        yield " / ".join(f"{factor * value:.{digits}f}" for value in values if value is not None) or "—"


def numbers(found: Judgement) -> dict[str, Any]:
    """Measures as JSON holds them: null where there is none."""
    return {
        regime: {
            model: {row: {k: None if math.isnan(v) else v for k, v in m.items()} for row, m in by.items()}
            for model, by in models.items()
        }
        for regime, models in found.items()
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, help="of each kind, to try it out; writes no rivals.json")
    parser.add_argument("--cost", action="store_true", help="time the models anew, and nothing else")
    asked = parser.parse_args()
    if asked.cost:
        costs_alone()
    else:
        main(asked.members)
