"""A comparison as rows of text, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from noble_net.report.compare import REFERENCE, Comparison, summary_numbers

RUN_HEADER = ["", "backend", "noise seed", "time"]
STATISTICS_HEADER = ["", "rate Hz", "CV", "correlation", "rhythm Hz", "silent cells"]
PAIR_HEADER = ["earth mover's distance", "rate Hz", "CV", "correlation", "cell-by-cell rate r"]
YARDSTICK_HEADER = ["", "distribution of", f"to {REFERENCE}", "seed to seed", "ratio", "pairs"]

_STATISTICS_DIGITS = {"rate": 2, "cv": 3, "correlation": 4, "rhythm": 0, "silent": 0}
_PAIR_DIGITS = {"rate": 3, "cv": 4, "correlation": 5, "rate_correlation": 3}


def table(comparison: Comparison) -> str:
    """The whole comparison as plain text with aligned columns."""
    lines = ["Runs", *_aligned([RUN_HEADER, *run_rows(comparison)])]
    for name in comparison.populations:
        lines += ["", f"{name} ({comparison.runs[0].statistics[name].size} cells)"]
        lines += _aligned([STATISTICS_HEADER, *statistics_rows(comparison, name)])
        lines += ["", *_aligned([PAIR_HEADER, *pair_rows(comparison, name)])]
    if comparison.yardsticks:
        lines += [
            "",
            f"Against the distance of {REFERENCE} from seed to seed (medians of earth mover's distance)",
        ]
        lines += _aligned([YARDSTICK_HEADER, *yardstick_rows(comparison)])
    if comparison.mean_rate_correlation:
        lines += ["", f"Rates averaged over seeds, cell by cell against {REFERENCE}"]
        lines += [f"  {line}" for line in mean_rate_lines(comparison)]
    if comparison.notes:
        lines += ["", *(f"Note: {note}" for note in comparison.notes)]
    return "\n".join(lines)


def run_rows(comparison: Comparison) -> list[list[str]]:
    """Label, backend, noise seed and recorded time of every run."""
    return [
        [run.label, run.backend, "–" if run.seed is None else str(run.seed), f"{run.duration / 1000:g} s"]
        for run in comparison.runs
    ]


def statistics_rows(comparison: Comparison, name: str) -> list[list[str]]:
    """The population's summary numbers in every run."""
    rows = []
    for run in comparison.runs:
        found = summary_numbers(run.statistics[name])
        rows.append([run.label, *(as_text(found[key], n) for key, n in _STATISTICS_DIGITS.items())])
    return rows


def pair_rows(comparison: Comparison, name: str) -> list[list[str]]:
    """The distances of every pair of runs."""
    rows = []
    for pair in comparison.pairs:
        if pair.population == name:
            values = asdict(pair)
            cells = (as_text(values[key], n) for key, n in _PAIR_DIGITS.items())
            rows.append([f"{pair.first} – {pair.second}", *cells])
    return rows


def yardstick_rows(comparison: Comparison) -> list[list[str]]:
    """Every backend, population and measure against the reference's own distance."""
    return [
        [
            f"{found.backend}, {found.population}",
            found.measure,
            _significant(found.between),
            _significant(found.within),
            as_text(found.ratio, 2),
            str(found.pairs),
        ]
        for found in comparison.yardsticks
    ]


def mean_rate_lines(comparison: Comparison) -> list[str]:
    """The correlations of seed-averaged rates, one text per backend and population."""
    return [
        f"{backend}, {name}: r = {as_text(r, 3)}"
        for backend, by_name in comparison.mean_rate_correlation.items()
        for name, r in by_name.items()
    ]


def as_text(value: float, digits: int) -> str:
    """The number with so many decimals; a dash where it is undefined."""
    return "–" if np.isnan(value) else f"{value:.{digits}f}"


def _significant(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.4g}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines: the first column to the left, the others to the right, two spaces before each."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = "".join(f"  {cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True))
        lines.append(f"  {first:<{widths[0]}}{cells}".rstrip())
    return lines
