"""What the benchmarks of NOBLE share: which core, its recipe, errors in a table, lines while training."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from noble_net.registry import shipped
from noble_net.specs.noble import NobleRecipe
from noble_net.specs.specification import validate_document
from noble_net.specs.yaml_source import load_document

ROOT = Path(__file__).parent.parent
_LINE_EVERY = 100
"""Batches between two lines."""


def chosen_core() -> str:
    """The core the command line names first; else noble-paper where it ships, else noble-small."""
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        return sys.argv[1]
    here = [name for name in ("noble-paper", "noble-small") if name in shipped()["step cores"]]
    if not here:
        raise SystemExit(
            "neither noble-paper nor noble-small ships: train one (surrogate/recipes), or name a core"
        )
    return here[0]


def read_recipe(name: str) -> NobleRecipe:
    """The recipe of a shipped core."""
    return validate_document(NobleRecipe, load_document(ROOT / f"surrogate/recipes/{name}.yaml"))


def errors(row: dict[str, Any]) -> dict[str, float]:
    """Relative L2 errors of one row of a table: the voltage's and that of every feature that has one."""
    features = {name: each["error"] for name, each in row["features"].items()}
    return {
        "V": float(row["voltage_rel_l2"]),
        **{name: float(error) for name, error in features.items() if error is not None},
    }


def show_progress(done: int, total: int, loss: float) -> None:
    """A line now and then while a core is trained."""
    if done % _LINE_EVERY == 0:
        print(f"  {done} of {total}: {loss:.4f}", flush=True)


def percent(share: float | None) -> str:
    """Three digits; a dash where there is none."""
    return "–" if share is None else f"{float(f'{100 * share:.3g}'):g} %"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of Markdown."""

    def lines() -> Iterator[str]:
        yield f"| {' | '.join(head)} |"
        yield "|---" * len(head) + "|"
        for row in rows:
            yield f"| {' | '.join(row)} |"

    return "\n".join(lines())
