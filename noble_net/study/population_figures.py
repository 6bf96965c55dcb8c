"""Figures of a population study: measures, spectra and coherences against the spread of the cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from noble_net.config import NetworkSpec
from noble_net.report import plots
from noble_net.report.statistics import PopulationStatistics
from noble_net.results import load_results
from noble_net.study.population import Run, information_about
from noble_net.types import Float64

if TYPE_CHECKING:
    import pandas as pd

TITLES = {
    "rate_hz": "rate (Hz)",
    "rate_std_hz": "rate: sd over cells (Hz)",
    "silent_share": "share of silent cells",
    "cv": "CV of intervals",
    "correlation": "pairwise correlation",
    "synchrony_chi": "synchrony χ",
    "peak_hz": "rhythm (Hz, where clear)",
    "peak_contrast": "rhythm: peak over median",
    "information_bits_s": "information (bits/s)",
}
"""Columns of the table, as they are called in figures."""
COLUMNS = 3
HIGHEST = 200.0
"""End of the spectra shown, Hz."""
RASTER = 500.0
"""Time shown of the spikes, ms."""


def receives(network: NetworkSpec, population: str, stimulus: str) -> bool:
    """Whether a stimulus goes to a population."""
    return any(
        each.name == stimulus and network.population_of(each.to) == population for each in network.stimuli
    )


def measures(table: pd.DataFrame, population: str) -> str:
    """A panel per measure: a line per condition over the spread, its runs as dots."""
    mine = table[table["population"] == population]
    shown = [column for column in TITLES if mine[column].notna().any()]
    rows = -(-len(shown) // COLUMNS)
    figure = plots.new_figure(plots.WIDE, 2.1 * rows)
    grid = figure.subplots(rows, COLUMNS, sharex=True, squeeze=False).ravel()
    conditions = list(dict.fromkeys(mine["condition"]))
    for axes, column in zip(grid, shown, strict=False):
        for index, condition in enumerate(conditions):
            found = mine[mine["condition"] == condition]
            _line(axes, found, column, plots.colour(index), condition)
        axes.set_title(TITLES[column])
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, 0.0) if low < 0.4 * high else low, high)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    for axes in grid[max(len(shown) - COLUMNS, 0) : len(shown)]:
        axes.set_xlabel("spread")
        axes.tick_params(labelbottom=True)
    if len(conditions) > 1:
        grid[0].legend(fontsize=7)
    return plots.as_svg(figure)


def _line(axes: Any, found: pd.DataFrame, column: str, paint: str, label: str) -> None:
    values = found[["spread", column]].dropna()
    if not len(values):
        return
    grouped = values.groupby("spread")[column]
    middle, deviation = grouped.mean(), grouped.std().fillna(0.0)
    axes.errorbar(
        middle.index,
        middle,
        deviation,
        color=paint,
        lw=1.3,
        marker="o",
        ms=3.5,
        capsize=2,
        elinewidth=0.8,
        label=label,
    )
    axes.plot(values["spread"], values[column], "o", color=paint, ms=2, alpha=0.4, mew=0)


def spectra(runs: Sequence[Run], population: str) -> str:
    """Mean spectra over seeds: a panel per condition, a line per spread."""

    def of(run: Run) -> tuple[Float64, Float64]:
        found = PopulationStatistics.of(load_results(run.folder), population).spectrum
        return found.frequency, found.power

    return _per_condition(runs, of, "power (Hz²/Hz)", "log")


def coherences(runs: Sequence[Run], population: str, signal: str) -> str:
    """Mean coherences with the shared stimulus over seeds: a panel per condition, a line per spread."""

    def of(run: Run) -> tuple[Float64, Float64]:
        found = PopulationStatistics.of(load_results(run.folder), population)
        information = information_about(signal, run.network, found)
        return information.frequency, information.coherence

    return _per_condition(runs, of, "coherence", "linear")


def _per_condition(runs: Sequence[Run], of: Any, label: str, scale: str) -> str:
    conditions = list(dict.fromkeys(run.condition for run in runs))
    figure = plots.new_figure(plots.WIDE, 2.7)
    row = figure.subplots(1, len(conditions), sharey=True, squeeze=False)[0]
    for axes, condition in zip(row, conditions, strict=True):
        drawn = False
        for spread, paint, group in _by_spread([run for run in runs if run.condition == condition]):
            found = [curve for run in group if len((curve := of(run))[0])]
            if not found:
                continue
            drawn = True
            frequency, mean = found[0][0], np.mean([power for _, power in found], axis=0)
            shown = (frequency >= 2.0) & (frequency <= HIGHEST) & (mean > 0)
            axes.plot(frequency[shown], mean[shown], color=paint, lw=1.2, label=f"{spread:g}")
        axes.set(xlabel="frequency (Hz)", title=condition)
        if not drawn:
            plots.say(axes, "too few spikes, or too short runs")
        elif axes is row[-1]:
            axes.legend(title="spread", fontsize=7, title_fontsize=7)
        axes.set_yscale(scale) if drawn else None
    row[0].set_ylabel(label)
    return plots.as_svg(figure)


def _by_spread(runs: Sequence[Run]) -> Iterator[tuple[float, Any, list[Run]]]:
    """The runs of each spread, with its colour."""
    import matplotlib

    spreads = sorted({run.spread for run in runs})
    colours = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, len(spreads)))
    for spread, paint in zip(spreads, colours, strict=True):
        yield spread, paint, [run for run in runs if run.spread == spread]


def rasters(runs: Sequence[Run], population: str) -> str:
    """The spikes of one run with the smallest spread and of one with the largest."""
    first = [run for run in runs if (run.condition, run.seed) == (runs[0].condition, runs[0].seed)]
    chosen = [min(first, key=lambda run: run.spread), max(first, key=lambda run: run.spread)]
    figure = plots.new_figure(plots.WIDE, 3.6)
    for axes, run in zip(figure.subplots(2, 1, sharex=True), chosen, strict=True):
        trains = load_results(run.folder).trains(population)
        end = run.network.duration
        times = [train[train >= end - RASTER] for train in trains]
        cells = np.repeat(np.arange(len(trains)), [len(train) for train in times])
        size = float(np.clip(180 / max(len(trains), 1), 1.0, 5.0))
        axes.plot(
            np.concatenate([np.empty(0), *times]),
            cells,
            "|",
            color="#2b3440",
            ms=size,
            mew=0.7,
            rasterized=True,
        )
        axes.set_title(f"{run.condition}, spread {run.spread:g}, seed {run.seed}")
        axes.set(ylabel="cell", xlim=(max(end - RASTER, 0.0), end), ylim=(-0.5, len(trains) - 0.5))
    axes.set_xlabel("time (ms)")
    return plots.as_svg(figure)
