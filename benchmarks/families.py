"""What the shipped families hold: members, hall of fame, how far the evolution went. Scoreboard rows.

    python benchmarks/families.py

Reads surrogate/families/; `noble-net family surrogate/recipes/<name>.family.yaml` makes them again.
"""

from __future__ import annotations

import json
from pathlib import Path

from scoreboard import Target, record

from noble_net.cells.family import Family
from noble_net.registry import load_family, shipped

FOLDER = Path(__file__).parent.parent / "surrogate/families"
COMMAND = "python benchmarks/families.py"
MEMBERS = {"allen-pv": 500, "allen-nr5a1": 60, "allen-rorb": 60, "vip-like": 60}
GENERATIONS = 250


def main() -> None:
    """Count and record."""
    rows = []
    for name, wanted in MEMBERS.items():
        if name not in shipped()["families"]:
            print(f"{name}: not made yet")
            continue
        family = load_family(name)
        hall = family.ids(hall_of_fame=True)
        conditions = (
            f"distinct, mean z-score ≤ {family.about['evolution']['max_z']:g}, {len(family.ids('held_out'))} held out; "
            f"hall of fame {len(hall)} ({len(family.ids('held_out', hall_of_fame=True))} held out); "
            f"{generations(family)} generations per seed"
        )
        rows.append(Target(3, f"{name}: members", f"≥ {wanted}", len(family.ids()), "", conditions, COMMAND))
        if name == "allen-pv":
            rows += [
                Target(3, f"{name}: hall of fame", "= 60", len(hall), "", conditions, COMMAND),
                Target(
                    3, f"{name}: generations per seed", f"≥ {GENERATIONS}", generations(family), "",
                    "second stage, at 16 offspring", COMMAND,
                ),
            ]  # fmt: skip
    record(rows)
    for target in rows:
        print(target.line())


def generations(family: Family) -> int:
    """Generations of the second stage, per seed."""
    history = json.loads((FOLDER / f"{family.name}.history.json").read_text())
    seeds = {row["seed"] for row in history}
    return sum(row["stage"] == 2 for row in history) // len(seeds)


if __name__ == "__main__":
    main()
