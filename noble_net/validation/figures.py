"""Figures of a validation: spikes side by side, distances against time, replayed cells, changed networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from noble_net.report import plots
from noble_net.report.compare_page import REFERENCE_INK
from noble_net.report.statistics import PopulationStatistics
from noble_net.types import Float64
from noble_net.validation.plan import REFERENCE, SURROGATE
from noble_net.validation.records import Floor
from noble_net.validation.replay import CellErrors
from noble_net.validation.responses import ChangeResponse
from noble_net.validation.verdicts import Distances

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RASTER = 1000.0
"""Time shown of the spikes, ms."""
MOST_ROWS = 400
INKS = {REFERENCE: REFERENCE_INK, SURROGATE: plots.COLOURS[0]}
_FAINT = "#9aa5b1"


def rasters(sides: Mapping[str, PopulationStatistics]) -> str:
    """The end of a run on each side, under the same noise, and the population's rate below it."""
    figure = plots.new_figure(plots.WIDE, 3.4)
    grid = figure.subplots(2, len(sides), sharex=True, sharey="row", squeeze=False, height_ratios=[2.2, 1.0])
    for (title, found), upper, lower in zip(sides.items(), grid[0], grid[1], strict=True):
        begin, end = max(found.duration - RASTER, 0.0), found.duration
        ink = INKS[SURROGATE] if title == SURROGATE else INKS[REFERENCE]
        cells = np.linspace(0, found.size - 1, min(found.size, MOST_ROWS)).round().astype(int)
        trains = [found.trains[cell] for cell in cells]
        shown = [train[train >= begin] for train in trains]
        rows = np.repeat(np.arange(len(shown)), [len(each) for each in shown])
        size = float(np.clip(200 / max(len(shown), 1), 1.0, 5.0))
        times = np.concatenate([np.empty(0), *shown])
        upper.plot(times, rows, "|", color=ink, ms=size, mew=0.7, rasterized=True)
        upper.set(title=title, xlim=(begin, end), ylim=(len(shown) - 0.5, -0.5))
        smooth = np.convolve(found.population_rate, np.ones(5) / 5.0, mode="same")
        at = np.arange(len(smooth)) + 0.5
        lower.plot(at[at >= begin], smooth[at >= begin], color=ink, lw=0.9)
        lower.set(xlabel="time (ms)")
    grid[0, 0].set_ylabel("cell")
    grid[1, 0].set_ylabel("rate (Hz)")
    return plots.as_svg(figure)


def distances_over_time(found: Sequence[Distances], ratio: float) -> str:
    """EMD of every measure of one population against the simulated duration, with both terms of the yardstick."""
    measures = list(dict.fromkeys(each.measure for each in found))
    figure = plots.new_figure(plots.WIDE, 2.6)
    for axes, measure in zip(figure.subplots(1, len(measures), squeeze=False)[0], measures, strict=True):
        mine = [each for each in found if each.measure == measure]
        time = [each.duration / 1000.0 for each in mine]
        lines = (
            ("surrogate to reference", [each.across for each in mine], INKS[SURROGATE], "o-"),
            (
                f"{ratio:g} × reference, seed to seed",
                [ratio * each.within for each in mine],
                REFERENCE_INK,
                "s--",
            ),
            ("reference to its finer step", [each.fine for each in mine], _FAINT, "^:"),
        )
        for label, values, ink, mark in lines:
            drawn = np.where(np.isfinite(values), values, np.nan)
            if np.isfinite(drawn).any():
                axes.plot(time, drawn, mark, color=ink, lw=1.2, ms=4, label=label)
        unit = " (Hz)" if measure == "rate" else ""
        axes.set(xlabel="simulated time (s)", title=f"EMD of {measure}{unit}")
        if axes.lines:
            axes.set_ylim(0.0, max(axes.get_ylim()[1] * 1.05, 1e-9))
        else:
            plots.say(axes, "too few spikes")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=7)
    return plots.as_svg(figure)


def replayed(errors: CellErrors, floor: Floor | None) -> str:
    """Γ and clipped explained variance of the cells, and of the reference at its finer step."""
    figure = plots.new_figure(plots.WIDE, 2.5)
    left, middle, right = figure.subplots(1, 3)
    _cells(left, errors.gamma, None if floor is None else floor.gamma, "Γ(±2 ms)")
    own = None if floor is None else floor.explained_variance
    _cells(middle, errors.explained_variance, own, "clipped explained variance")
    top = max(errors.counts.max(initial=0), errors.reference_counts.max(initial=0)) * 1.05 + 1
    right.plot([0, top], [0, top], color="#c9d1d9", lw=0.8, zorder=0)
    right.scatter(errors.reference_counts, errors.counts, s=8, lw=0, color=INKS[SURROGATE], alpha=0.7)
    right.set(xlabel="spikes in the reference", ylabel="spikes replayed", xlim=(0, top), ylim=(0, top))
    return plots.as_svg(figure)


def _cells(axes: Axes, values: Float64, floor: Float64 | None, label: str) -> None:
    known = values[np.isfinite(values)]
    axes.set_xlabel(label)
    if not len(known):
        plots.say(axes, "no cell to judge")
        return
    low = float(min(known.min(), 0.9))
    edges = np.linspace(low, 1.0, 31).tolist()
    axes.hist(known, edges, color=INKS[SURROGATE], alpha=0.5)
    axes.axvline(float(np.median(known)), color=INKS[SURROGATE], lw=1.0)
    if floor is not None and np.isfinite(floor).any():
        lowest = float(np.nanmedian(floor))
        axes.axvline(lowest, color=REFERENCE_INK, lw=1.0, ls="--")
        axes.set_title("dashed: the reference at its finer step")
    axes.set_ylabel("cells")


def changes(found: Sequence[ChangeResponse]) -> str:
    """A population's rate against each changed parameter, on both sides."""
    figure = plots.new_figure(plots.WIDE, 2.5)
    row = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for axes, each in zip(row, found, strict=True):
        at = 100.0 * np.array([-each.share, 0.0, each.share])
        for side, mark in ((REFERENCE, "s--"), (SURROGATE, "o-")):
            axes.plot(at, each.rates[side], mark, color=INKS[side], lw=1.2, ms=4, label=side)
        axes.set(xlabel=f"{each.kind} (%)")
    row[0].set_ylabel("rate (Hz)")
    row[0].legend(fontsize=7)
    return plots.as_svg(figure)
