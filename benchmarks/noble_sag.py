"""Fine-tuning NOBLE on the sag: L(λ) = L_data + λ·L_F on hyperpolarising steps, λ = 0, 25, and little. Scoreboard rows.

    python benchmarks/noble_sag.py [CORE]               default: noble-paper where it ships, else noble-small

CORE: a shipped name, or a checkpoint's folder named like its recipe. Goes on where it was interrupted, and begins anew
for a core that was trained anew. Measured on hyperpolarising steps that no training has seen, before and after. Trains
and measures on the GPU where there is one. Table: benchmarks/results/noble_sag.json. Needs the core's dataset and the
extras [reference] and [train].
"""

from __future__ import annotations

import json
import shutil
from typing import Any

import numpy as np
from noble_shared import chosen_core, errors, read_recipe, show_progress
from scoreboard import RESULTS, Target, record

from noble_net.cache import cache_folder
from noble_net.registry import checkpoint_folder, load_family, load_step_core
from noble_net.surrogate.noble import device_here
from noble_net.training.noble_data import Traces, build_noble_dataset, read_part
from noble_net.training.noble_evaluate import compare
from noble_net.training.noble_plan import trained_members
from noble_net.training.noble_train import train_noble

COMMAND = "python benchmarks/noble_sag.py"
RESULT = RESULTS / "noble_sag.json"
TRAINED = 0.8
"""Share of the hyperpolarising traces, the first ones, that is trained and validated on; the others are measured."""
PLAIN: dict[str, Any] = {"learning_rate": 5e-4, "schedule": "cosine", "batch": 8, "epochs": 4}
THEN = 0.03
TRAININGS: dict[str, tuple[float, dict[str, Any]]] = {
    "λ = 0": (0.0, PLAIN),
    "λ = 25": (25.0, {**PLAIN, "learning_rate": 5e-5, "epochs": 6}),
    f"λ = 25, then {THEN:g}": (THEN, {**PLAIN, "learning_rate": 2e-5, "epochs": 1}),
}
"""λ and training by the row they end in; each goes on from the weights of the one before. What a sag's gradient, far
larger than a voltage's, throws off in the second, the third takes back. The paper: 19,600 traces, 300 epochs by rates
that fall where nothing gets better."""
LAST = list(TRAININGS)[-1]


def main() -> None:
    """Fine-tune, measure and record."""
    shipped = checkpoint_folder(chosen_core())
    name = shipped.name
    recipe = read_recipe(name)
    family = load_family(recipe.family)
    build_noble_dataset(recipe, family, parts=["hyperpolarising"])
    ids, traces = read_part(recipe, family, "hyperpolarising")
    trained, unseen = parted(traces, [ids.index(member) for member in trained_members(recipe, family)])
    folder = cache_folder("noble-variants")
    # Over what an earlier call left there: the core may have been trained anew.
    shutil.copytree(shipped, folder / name, dirs_exist_ok=True)
    before = load_step_core(str(shipped), device_here())
    table = {"before": errors(compare(recipe.dataset, family, before, ids, unseen))}
    base = name
    for label, (weight, training) in TRAININGS.items():
        tuned = recipe.variant(
            f"{name}-sag-{weight:g}".replace(".", "-"),
            training={**training, "traces": trained},
            fine_tune={"base": base, "weight": weight},
        )
        core = load_step_core(str(train_noble(tuned, family, folder, show_progress)), device_here())
        table[label] = errors(compare(recipe.dataset, family, core, ids, unseen))
        base = tuned.name
    result = {"core": name, "trained": trained, "traces": len(unseen.member), "table": table}
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = targets(name, trained, len(unseen.member), table)
    record(lines)
    for target in lines:
        print(target.line())


def parted(traces: Traces, members: list[int]) -> tuple[int, Traces]:
    """How many traces of ``members`` (rows of the dataset's ids) are trained on, the first ones, and the others."""
    of_members = traces.take(np.isin(traces.member, members))
    trained = round(TRAINED * len(of_members.member))
    return trained, of_members.take(np.arange(len(of_members.member)) >= trained)


def targets(name: str, trained: int, traces: int, table: dict[str, dict[str, float]]) -> list[Target]:
    """The sag after fine-tuning with its own loss, and the voltage beside what it was."""
    after = table[LAST]
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
