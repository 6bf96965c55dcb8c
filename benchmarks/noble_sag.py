"""Fine-tuning NOBLE on the sag: L(λ) = L_data + λ·L_F on hyperpolarising steps, λ = 0 and 25. Scoreboard rows.

    python benchmarks/noble_sag.py [CORE]               default: noble-paper where it ships, else noble-small
    python benchmarks/noble_sag.py CORE --together      both λ at once, in processes of their own: for a GPU

CORE: a shipped name, or a checkpoint's folder named like its recipe. Goes on where it was interrupted, and begins anew
for a core that was trained anew. Measured on hyperpolarising steps that no training has seen, before and after. Trains
and measures on the GPU where there is one. Table: benchmarks/results/noble_sag.json. Needs the core's dataset and the
extras [reference] and [train].
"""

from __future__ import annotations

import json
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from noble_shared import chosen_core, errors, read_recipe, show_progress
from scoreboard import RESULTS, Target, record

from noble_net.cache import cache_folder
from noble_net.processes import in_processes
from noble_net.registry import checkpoint_folder, load_family, load_step_core
from noble_net.specs.noble import NobleRecipe
from noble_net.surrogate.noble import device_here
from noble_net.training.noble_data import Traces, build_noble_dataset, read_part
from noble_net.training.noble_evaluate import compare
from noble_net.training.noble_plan import trained_members
from noble_net.training.noble_train import train_noble

COMMAND = "python benchmarks/noble_sag.py"
RESULT = RESULTS / "noble_sag.json"
WEIGHTS = (0.0, 25.0)
TRAINED = 0.8
"""Share of the hyperpolarising traces, the first ones, that is trained and validated on; the others are measured."""
TRAINING: dict[str, Any] = {
    "learning_rate": 5e-4,
    "schedule": "plateau",
    "factor": 0.4,
    "patience": 12,
    "batch": 8,
    "epochs": 20,
}
"""The paper's, but for the number of epochs (300) and traces (19,600), and a batch for so few."""


def main() -> None:
    """Fine-tune, measure and record."""
    base = checkpoint_folder(chosen_core())
    name = base.name
    recipe = read_recipe(name)
    family = load_family(recipe.family)
    path = build_noble_dataset(recipe, family)
    ids, traces = read_part(path, family, "hyperpolarising")
    trained, unseen = parted(traces, [ids.index(member) for member in trained_members(recipe, family)])
    folder = cache_folder("noble-variants")
    # Over what an earlier call left there: the core may have been trained anew.
    shutil.copytree(base, folder / name, dirs_exist_ok=True)
    before = load_step_core(str(base), device_here())
    table = {"before": errors(compare(recipe.dataset, family, before, ids, unseen))}
    recipes = {
        f"λ = {weight:g}": recipe.variant(
            f"{name}-sag-{weight:g}",
            training={**TRAINING, "traces": trained},
            fine_tune={"base": name, "weight": weight},
        )
        for weight in WEIGHTS
    }
    work, todo = partial(tuned, folder=folder, ids=ids, unseen=unseen), recipes.values()
    after = dict(in_processes(work, todo, len(todo)) if "--together" in sys.argv else map(work, todo))
    table |= {label: after[each.name] for label, each in recipes.items()}
    result = {"core": name, "trained": trained, "traces": len(unseen.member), "table": table}
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = targets(name, trained, len(unseen.member), table)
    record(lines)
    for target in lines:
        print(target.line())


def tuned(recipe: NobleRecipe, folder: Path, ids: list[str], unseen: Traces) -> tuple[str, dict[str, float]]:
    """Fine-tune a core: its name and its errors."""
    family = load_family(recipe.family)
    trained = train_noble(recipe, family, folder, progress=show_progress)
    core = load_step_core(str(trained), device_here())
    return recipe.name, errors(compare(recipe.dataset, family, core, ids, unseen))


def parted(traces: Traces, members: list[int]) -> tuple[int, Traces]:
    """How many traces of ``members`` (rows of the dataset's ids) are trained on, the first ones, and the others."""
    of_members = traces.take(np.isin(traces.member, members))
    trained = round(TRAINED * len(of_members.member))
    return trained, of_members.take(np.arange(len(of_members.member)) >= trained)


def targets(name: str, trained: int, traces: int, table: dict[str, dict[str, float]]) -> list[Target]:
    """The sag after fine-tuning with its own loss, and the voltage beside what it was."""
    after = table["λ = 25"]
    sags = ", ".join(f"{label}: {100 * row['sag_amplitude']:.3g} %" for label, row in table.items())
    conditions = f"{traces} unseen hyperpolarising steps, trained on {trained}; {sags}; the paper: 69.6, 19.2 and 9.6 %"
    volts = ", ".join(f"{label}: {100 * row['V']:.3g} %" for label, row in table.items())
    label = f"{name}, fine-tuned on the sag"
    return [
        Target(3, f"{label}: sag", "≤ 10", 100 * after["sag_amplitude"], "%", conditions, COMMAND),
        Target(
            3,
            f"{label}: voltage error ÷ before",
            "≤ 1",
            after["V"] / table["before"]["V"],
            "",
            volts,
            COMMAND,
        ),
    ]


if __name__ == "__main__":
    main()
