"""CARD.md: what a core stands for, how it was made, how accurate it is and where it ends, from its own JSON files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, get_args

from noble_net.cells.family import Family
from noble_net.markdown import write_markdown
from noble_net.training.inputs import FLUCTUATING, MEAN_DRIVEN, UNTRAINED
from noble_net.training.zone_regimes import ZONE_FLUCTUATING, ZONE_MEAN_DRIVEN
from noble_net.types import Precision

_JUDGED_BY_SPIKES = ("fluctuating, all", *FLUCTUATING, *ZONE_FLUCTUATING, *UNTRAINED)


def write_card(folder: Path, family: Family, notes: str = "") -> Path:
    """Write ``CARD.md`` into a checkpoint folder that holds core.json and accuracy.json; returns its path.

    ``notes`` is Markdown of the recipe: what was tried and what failed.
    """
    about = json.loads((folder / "core.json").read_text())
    accuracy = json.loads((folder / "accuracy.json").read_text())
    values = {
        "core": about,
        "family": family,
        "members": {role: len(family.ids(role)) for role in ("train", "held_out")},
        "table": accuracy["table"],
        "rounded": {name: accuracy[name] for name in get_args(Precision) if name in accuracy},
        "dataset": accuracy["dataset"],
        "r2": accuracy["feature_r2"],
        "rows": tuple(accuracy["table"]["steps"]),
        "fluctuating": [name for name in _JUDGED_BY_SPIKES if name in accuracy["table"]],
        "untrained": UNTRAINED,
        "mean_driven": [name for name in (*MEAN_DRIVEN, *ZONE_MEAN_DRIVEN) if name in accuracy["table"]],
        "notes": notes.strip(),
    }
    return write_markdown(folder / "CARD.md", __package__, "card.md.j2", values, {"number": _number})


def _number(value: Any, digits: int = 3, percent: bool = False) -> str:
    """A number for a table; an em dash where there is none."""
    if value is None or not math.isfinite(value):
        return "—"
    return f"{100.0 * value:.{max(digits - 2, 0)}f} %" if percent else f"{value:.{digits}f}"
