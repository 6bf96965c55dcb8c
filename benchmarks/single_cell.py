"""Accuracy of pv-stream on single cells, free-running on held-out inputs: accuracy.json, CARD.md, scoreboard rows.

    python benchmarks/single_cell.py

Needs the dataset of surrogate/recipes/pv-stream.yaml (extra [train]; made here if missing).
"""

from __future__ import annotations

from pathlib import Path

from scoreboard import Target, record

from noble_net.registry import load_family
from noble_net.specs.cores import CoreRecipe
from noble_net.specs.specification import validate_document
from noble_net.specs.yaml_source import load_document
from noble_net.training.dataset import build_dataset
from noble_net.training.evaluate import evaluate_both, write_accuracy

ROOT = Path(__file__).parent.parent
COMMAND = "python benchmarks/single_cell.py"
LIMITS = {"seen": 0.95, "unseen": 0.93}


def main() -> None:
    """Evaluate and record."""
    recipe = validate_document(CoreRecipe, load_document(ROOT / "surrogate/recipes/pv-stream.yaml"))
    family, folder = load_family(recipe.family), ROOT / "surrogate/checkpoints" / recipe.name
    build_dataset(recipe, family)
    result = evaluate_both(recipe, family, folder)
    write_accuracy(result, folder, family, recipe.notes)
    fluctuating, steps = result["table"]["fluctuating, all"], result["table"]["steps"]
    test = recipe.dataset.test
    rows = []
    for row, limit in LIMITS.items():
        conditions = (
            f"{test.members} {row} members, {test.duration / 1000:g} s free-running, 5 fluctuation-driven regimes "
            f"(somatic current and conductance), pooled; solver's floor Γ {fluctuating['floor']['gamma']:.3f}"
        )
        m = fluctuating[row]
        rows += [
            Target(2, f"single cell, {row}: Γ(±2 ms)", f"≥ {limit}", m["gamma"], "", conditions, COMMAND),
            Target(2, f"single cell, {row}: clipped RMSE", "≤ 2", m["clipped_rmse"], "mV", conditions, COMMAND),
            Target(
                2, f"single cell, {row}: F–I rate error", "≤ 5", 100 * steps[row]["rate_error"], "%",
                f"{test.members} {row} members, ten steps of 600 ms from −0.05 to 0.5 nA; "
                f"solver's floor {100 * steps['floor']['rate_error']:.1f} %", COMMAND,
            ),
        ]  # fmt: skip
    record(rows)
    for target in rows:
        print(target.line())


if __name__ == "__main__":
    main()
