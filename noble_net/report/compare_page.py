"""The page of a comparison: tables and overlaid distributions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from noble_net.report import plots
from noble_net.report.compare import MEASURES, REFERENCE, ComparedRun, Comparison
from noble_net.report.compare_table import (
    PAIR_HEADER,
    STATISTICS_HEADER,
    YARDSTICK_HEADER,
    mean_rate_lines,
    pair_rows,
    run_rows,
    statistics_rows,
    yardstick_rows,
)
from noble_net.report.html import Figure, render

_AXES = {"rate": "firing rate (Hz)", "cv": "CV of intervals", "correlation": "spike-count correlation"}
REFERENCE_INK = "#1f2933"
"""Colour of the reference's runs."""
GOOD_RATIO = 1.15
"""Up to this ratio to the reference's seed-to-seed distance a distribution counts as matched."""


def page(comparison: Comparison) -> str:
    """The comparison as one HTML page that needs nothing but itself."""
    paints = _paints(comparison.runs)
    with plots.style():
        figures = list(_figures(comparison, paints))
    first = comparison.runs[0].statistics
    return render(
        "compare.html.j2",
        {
            "runs": [
                {"cells": row, "colour": paint, "path": run.path}
                for row, paint, run in zip(run_rows(comparison), paints, comparison.runs, strict=True)
            ],
            "notes": comparison.notes,
            "populations": [
                {
                    "name": name,
                    "size": first[name].size,
                    "rows": statistics_rows(comparison, name),
                    "pairs": pair_rows(comparison, name),
                }
                for name in comparison.populations
            ],
            "headers": {
                "statistics": STATISTICS_HEADER,
                "pairs": PAIR_HEADER,
                "yardsticks": YARDSTICK_HEADER,
            },
            "yardsticks": [
                {"cells": row, "verdict": _verdict(found.ratio)}
                for row, found in zip(yardstick_rows(comparison), comparison.yardsticks, strict=True)
            ],
            "mean_rates": mean_rate_lines(comparison),
            "reference": REFERENCE,
            "good_ratio": GOOD_RATIO,
            "figures": figures,
        },
    )


def _verdict(ratio: float) -> str:
    return "" if np.isnan(ratio) else "good" if ratio <= GOOD_RATIO else "bad"


def _paints(runs: Sequence[ComparedRun]) -> list[str]:
    """A colour per backend where there are several, ink for the reference; otherwise one per run."""
    backends = list(dict.fromkeys(run.backend for run in runs))
    others = [backend for backend in backends if backend != REFERENCE]
    if len(backends) == 1:
        return [plots.colour(index) for index in range(len(runs))]
    return [
        REFERENCE_INK if run.backend == REFERENCE else plots.colour(others.index(run.backend)) for run in runs
    ]


def _figures(comparison: Comparison, paints: Sequence[str]) -> Iterator[Figure]:
    for name in comparison.populations:
        title = f"{name}: distributions" if len(comparison.populations) > 1 else "Distributions"
        caption = "Cumulative, a line per run: the area between two lines is their earth mover's distance."
        yield Figure(title, caption, distributions(comparison.runs, name, paints), wide=True)
        caption = f"Against {comparison.runs[0].label}; on the diagonal both fire alike."
        yield Figure("Rates cell by cell", caption, cell_by_cell(comparison.runs, name, paints))
        yield Figure(
            "Rhythm", "Power spectrum of the population rate.", spectra(comparison.runs, name, paints)
        )


def distributions(runs: Sequence[ComparedRun], name: str, paints: Sequence[str]) -> str:
    """Cumulative distributions of each measure, a line per run."""
    figure = plots.new_figure(plots.WIDE, 2.6)
    row = figure.subplots(1, len(MEASURES))
    levels = np.linspace(0.0, 1.0, 501)
    for axes, (measure, of) in zip(row, MEASURES.items(), strict=True):
        values = [of(run.statistics[name]) for run in runs]
        known = [data[np.isfinite(data)] for data in values]
        for data, paint in zip(known, paints, strict=True):
            if len(data):
                heights = levels if len(data) > len(levels) else np.arange(1, len(data) + 1) / len(data)
                axes.step(
                    np.quantile(data, heights, method="inverted_cdf"),
                    100 * heights,
                    color=paint,
                    lw=1.1,
                    where="post",
                )
        axes.set(xlabel=_AXES[measure], ylabel="up to here (%)", ylim=(0, 101))
        if not any(len(data) for data in known):
            plots.say(axes, "too few spikes")
    return plots.as_svg(figure)


def cell_by_cell(runs: Sequence[ComparedRun], name: str, paints: Sequence[str]) -> str:
    """Rates of every cell against those in the first run."""
    figure = plots.new_figure(plots.HALF, 3.4)
    axes = figure.subplots()
    base = runs[0].statistics[name].rates
    top = max(float(run.statistics[name].rates.max()) for run in runs) * 1.05 or 1.0
    axes.plot([0, top], [0, top], color="#c9d1d9", lw=0.8, zorder=0)
    for run, paint in zip(runs[1:], paints[1:], strict=True):
        rates = run.statistics[name].rates
        axes.scatter(base, rates, s=8, lw=0, color=paint, alpha=0.6, rasterized=len(rates) > 1000)
    axes.set(xlabel=f"rate in {runs[0].label} (Hz)", ylabel="rate (Hz)", xlim=(0, top), ylim=(0, top))
    axes.set_aspect("equal")
    return plots.as_svg(figure)


def spectra(runs: Sequence[ComparedRun], name: str, paints: Sequence[str]) -> str:
    """Power spectra of the population rate, a line per run."""
    figure = plots.new_figure(plots.HALF, 3.4)
    axes = figure.subplots()
    found = [run.statistics[name].spectrum for run in runs]
    for spectrum, paint in zip(found, paints, strict=True):
        shown = (spectrum.frequency >= 2.0) & (spectrum.power > 0)
        axes.plot(spectrum.frequency[shown], spectrum.power[shown], color=paint, lw=1.0)
    axes.set(xlabel="frequency (Hz)", ylabel="power (Hz²/Hz)", xlim=(0, 200))
    if any(len(spectrum.frequency) for spectrum in found):
        axes.set_yscale("log")
    else:
        plots.say(axes, "too few spikes, or too short a run")
    return plots.as_svg(figure)
