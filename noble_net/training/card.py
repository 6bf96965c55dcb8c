"""CARD.md: what a core stands for, how it was made, how accurate it is and where it ends, from its own JSON files."""

from __future__ import annotations

import json
import math
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from noble_net.cells.family import Family
from noble_net.training.inputs import FLUCTUATING, MEAN_DRIVEN, UNTRAINED


def write_card(folder: Path, family: Family, notes: str = "") -> Path:
    """Write ``CARD.md`` into a checkpoint folder that holds core.json and accuracy.json; returns its path.

    ``notes`` is Markdown of the recipe: what was tried and what failed.
    """
    about = json.loads((folder / "core.json").read_text())
    accuracy = json.loads((folder / "accuracy.json").read_text())
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.filters["number"] = _number
    template = environment.from_string((files(__package__) / "card.md.j2").read_text(encoding="utf-8"))
    text = template.render(
        core=about,
        family=family,
        members={role: len(family.ids(role)) for role in ("train", "held_out")},
        table=accuracy["table"],
        dataset=accuracy["dataset"],
        r2=accuracy["feature_r2"],
        rows=tuple(accuracy["table"]["steps"]),
        fluctuating=("fluctuating, all", *FLUCTUATING, *UNTRAINED),
        untrained=UNTRAINED,
        mean_driven=MEAN_DRIVEN,
        notes=notes.strip(),
    )
    path = folder / "CARD.md"
    path.write_text(text.rstrip() + "\n", encoding="utf-8")
    return path


def _number(value: Any, digits: int = 3, percent: bool = False) -> str:
    """A number for a table; an em dash where there is none."""
    if value is None or not math.isfinite(value):
        return "—"
    return f"{100.0 * value:.{max(digits - 2, 0)}f} %" if percent else f"{value:.{digits}f}"
