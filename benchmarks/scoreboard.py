"""The scoreboard: every target an issue names, with the value last measured.

    python benchmarks/scoreboard.py             print it
    python benchmarks/scoreboard.py --readme    and write it into README.md and what is missed into docs/limits.md

Rows live in benchmarks/results/targets.json and are written by `record`, which the benchmarks call. A row tells what it
was measured on (`measured_on.py`); where that ships otherwise now, the scoreboard says so.
"""

from __future__ import annotations

import json
import math
import operator
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from measured_on import changed, parts_of

RESULTS = Path(__file__).parent / "results"
TARGETS = RESULTS / "targets.json"
ROOT = Path(__file__).parent.parent
README, LIMITS = ROOT / "README.md", ROOT / "docs/limits.md"
BEGIN, END = "<!-- scoreboard -->", "<!-- /scoreboard -->"
_COMPARE = {"≤": operator.le, "≥": operator.ge, "=": operator.eq}


class Target(NamedTuple):
    """A measured target. ``target`` reads like '≥ 0.95'; whether it holds follows from it and ``value``."""

    issue: int
    name: str
    target: str
    value: float
    unit: str
    conditions: str
    command: str

    @property
    def holds(self) -> bool:
        """Whether the value meets the target."""
        sign, limit = self.target.split()
        return bool(_COMPARE[sign](self.value, float(limit)))

    def line(self) -> str:
        """One line for people."""
        verdict = "holds" if self.holds else "missed"
        return f"{self.name}: {self.value:.4g} {self.unit} (target {self.target}): {verdict}"


def record(rows: Iterable[Target], whole: bool = False) -> None:
    """Put rows on the scoreboard, each in place of the one of the same issue and name.

    ``whole``: these are all the rows that their commands write; others of the same commands are dropped, so that what
    no benchmark measures any more does not stay. Raises ValueError, and writes nothing, for a value that is not finite.
    """
    rows = list(rows)
    rewritten = {row.command for row in rows} if whole else set()
    board = {(row["issue"], row["name"]): row for row in load() if row["command"] not in rewritten}
    for row in rows:
        if not math.isfinite(row.value):
            raise ValueError(f"{row.name}: {row.value} is no measurement")
        told = {**row._asdict(), "value": float(f"{row.value:.4g}"), "holds": row.holds}
        board[row.issue, row.name] = {**told, "measured_on": parts_of(told)}
    RESULTS.mkdir(exist_ok=True)
    ordered = sorted(board.values(), key=lambda row: (row["issue"], row["name"]))
    TARGETS.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load() -> list[dict[str, Any]]:
    """The rows on disk."""
    return json.loads(TARGETS.read_text(encoding="utf-8")) if TARGETS.exists() else []


def table(rows: Iterable[dict[str, Any]]) -> str:
    """The scoreboard as a Markdown table."""
    lines = ["| | target | measured | holds | command |", "|---|---|---|---|---|"]
    for row in rows:
        unit = f" {row['unit']}" if row["unit"] else ""
        verdict = ("yes" if row["holds"] else "**no**") + before(row)
        lines.append(
            f"| {row['name']} | {row['target']}{unit} | {row['value']:g}{unit} | {verdict} | `{row['command']}` |"
        )
    return "\n".join(lines)


def before(row: dict[str, Any]) -> str:
    """What to add to a row that was measured on another version of something, or nothing."""
    other = changed(row)
    return f" ({', '.join(other)} as before)" if other else ""


def missed(rows: Iterable[dict[str, Any]]) -> str:
    """The targets that do not hold, as a Markdown list."""
    return "\n".join(
        f"- {row['name']}: {row['value']:g} {row['unit']}".rstrip()
        + f" (target {row['target']}){before(row)}"
        for row in rows
        if not row["holds"]
    )


def write_between(path: Path, content: str) -> None:
    """Replace what stands between a page's scoreboard markers."""
    head, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    path.write_text(f"{head}{BEGIN}\n{content}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    print(table(load()))
    if "--readme" in sys.argv[1:]:
        write_between(README, table(load()))
        write_between(LIMITS, missed(load()))
