"""The figures of a report, each an SVG text to be put into a page; dense parts inside are pixels at twice the
size.

Text is left to the page's fonts. All functions take what they plot and touch no global matplotlib state.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np

from noble_net.report.statistics import BAND, PopulationStatistics
from noble_net.results import Results
from noble_net.types import Float64

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#2a6f97", "#d1603d", "#3f8f5f", "#8a5fa8", "#b08900", "#5c677d")
"""One per population, in order, in every figure and table."""

WIDE, HALF = 10.4, 5.05
"""Widths of figures, inches; the page shows an inch as 100 px."""

_INK, _FAINT = "#2b3440", "#c9d1d9"
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "noble-net",
    "font.size": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8b95a1",
    "axes.linewidth": 0.7,
    "axes.labelcolor": _INK,
    "axes.titlesize": 8.0,
    "axes.titlelocation": "left",
    "axes.titlecolor": _INK,
    "text.color": _INK,
    "xtick.color": "#5c6773",
    "ytick.color": "#5c6773",
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "legend.frameon": False,
    "legend.handlelength": 1.2,
    "path.simplify_threshold": 0.3,
}
_PIXELS_PER_INCH = 200
_RASTER_ROWS = 1200
_MOST_TRACES = 8


def style() -> AbstractContextManager[None]:
    """The look of all figures, as a context."""
    import matplotlib

    return matplotlib.rc_context(_STYLE)  # type: ignore[arg-type]


def colour(index: int) -> str:
    """The colour of population number ``index``."""
    return COLOURS[index % len(COLOURS)]


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, ``width`` × ``height`` inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def as_svg(figure: Figure) -> str:
    """The figure as an <svg> element without a file's preamble; the same figure gives the same text."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", dpi=_PIXELS_PER_INCH, transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def raster(populations: Sequence[PopulationStatistics], window: tuple[float, float]) -> str:
    """Spikes of all cells (rows of large populations thinned evenly) above the populations' rates, over a
    window.
    """
    total = sum(population.size for population in populations)
    height = float(np.clip(0.02 * total, 0.5, 3.5))
    figure = new_figure(WIDE, height + 1.1)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[height, 1.1])
    floor, ticks = 0, []
    for index, population in enumerate(populations):
        rows = max(1, min(population.size, round(_RASTER_ROWS * population.size / total)))
        cells = np.linspace(0, population.size - 1, rows).round().astype(int)
        _raster_rows(upper, [population.trains[cell] for cell in cells], floor, window, colour(index))
        _rate_line(lower, population, window, colour(index))
        ticks.append((floor + (rows - 1) / 2, population.name))
        floor += rows
        if index < len(populations) - 1:
            upper.axhline(floor - 0.5, color=_FAINT, lw=0.7)
    upper.set(ylim=(floor - 0.5, -0.5), xlim=window)  # the first population on top, as in the tables
    upper.set_yticks([at for at, _ in ticks], [name for _, name in ticks], rotation=90, va="center")
    for index, label in enumerate(upper.get_yticklabels()):
        label.set_color(colour(index))
    upper.tick_params(axis="both", length=0)
    upper.spines[["left", "bottom"]].set_visible(False)
    lower.set(xlabel="time (ms)", ylabel="rate (Hz)")
    lower.set_ylim(0, max(1.0, lower.get_ylim()[1]))
    return as_svg(figure)


def _raster_rows(
    axes: Axes, trains: Sequence[Float64], floor: int, window: tuple[float, float], paint: str
) -> None:
    shown = [train[(train >= window[0]) & (train < window[1])] for train in trains]
    rows = floor + np.repeat(np.arange(len(trains)), [len(train) for train in shown])
    size = float(np.clip(260 / max(len(trains), 1), 1.1, 6.0))
    times = np.concatenate([np.empty(0), *shown])
    axes.plot(times, rows, "|", color=paint, ms=size, mew=0.75, rasterized=True)


def _rate_line(
    axes: Axes, population: PopulationStatistics, window: tuple[float, float], paint: str, width: float = 3.0
) -> None:
    kernel = np.exp(-0.5 * (np.arange(-9, 10) / width) ** 2)
    rate = np.convolve(population.population_rate, kernel / kernel.sum(), mode="same")[
        : len(population.population_rate)
    ]
    time = np.arange(len(rate)) + 0.5
    shown = (time >= window[0]) & (time < window[1])
    axes.plot(time[shown], rate[shown], color=paint, lw=1.0)
    axes.fill_between(time[shown], rate[shown], color=paint, alpha=0.12, lw=0)


def rate_histogram(populations: Sequence[PopulationStatistics]) -> str:
    """Distribution of the cells' firing rates, a line at each population's mean."""
    figure = new_figure(HALF, 2.5)
    axes = figure.subplots()
    top = max((float(population.rates.max()) for population in populations), default=0.0)
    _overlay(axes, populations, lambda population: population.rates, np.linspace(0, max(top, 1.0), 41))
    axes.set(xlabel="firing rate (Hz)", ylabel="cells (%)")
    return as_svg(figure)


def interval_histogram(populations: Sequence[PopulationStatistics]) -> str:
    """Distribution of the interspike intervals, logarithmic, and of the cells' CV."""
    figure = new_figure(HALF, 2.5)
    left, right = figure.subplots(1, 2)
    longest = max((population.intervals.max(initial=100.0) for population in populations), default=100.0)
    shortest = min((population.intervals.min(initial=2.0) for population in populations), default=2.0)
    bins = np.geomspace(max(shortest, 0.1) * 0.9, longest * 1.1, 45)
    _overlay(left, populations, lambda population: population.intervals, bins, mark_mean=False)
    left.set(xscale="log", xlabel="interval (ms)", ylabel="intervals (%)")
    left.xaxis.set_major_formatter("{x:g}")
    left.xaxis.set_minor_formatter("")
    highest = max(
        (population.cv[np.isfinite(population.cv)].max(initial=1.0) for population in populations),
        default=1.0,
    )
    _overlay(right, populations, lambda population: population.cv, np.linspace(0, highest * 1.05, 36))
    right.set(xlabel="CV of intervals", ylabel="cells (%)")
    return as_svg(figure)


def _overlay(
    axes: Axes,
    populations: Sequence[PopulationStatistics],
    values: Callable[[PopulationStatistics], Float64],
    bins: Float64,
    mark_mean: bool = True,
) -> None:
    """Histograms of all populations over each other, each with a line at its mean."""
    for index, population in enumerate(populations):
        data = values(population)
        data = data[np.isfinite(data)]
        if not len(data):
            continue
        share, paint, edges = np.full(len(data), 100.0 / len(data)), colour(index), bins.tolist()
        axes.hist(data, edges, weights=share, histtype="stepfilled", color=paint, alpha=0.35, lw=0)
        axes.hist(data, edges, weights=share, histtype="step", color=paint, lw=1.0)
        if mark_mean:
            axes.axvline(float(data.mean()), color=paint, lw=0.9, ls=(0, (3, 2)))
    if not any(np.isfinite(values(population)).any() for population in populations):
        say(axes, "too few spikes")
        return
    axes.locator_params(axis="y", nbins=5)
    axes.set_ylim(bottom=0)


def spectrum(populations: Sequence[PopulationStatistics], width: float = HALF) -> str:
    """Power spectra of the population rates, clear peaks marked."""
    figure = new_figure(width, 2.5)
    axes = figure.subplots()
    for index, population in enumerate(populations):
        found = population.spectrum
        shown = (found.frequency >= 2.0) & (found.frequency <= BAND[1]) & (found.power > 0)
        axes.plot(found.frequency[shown], found.power[shown], color=colour(index), lw=1.1)
        if found.is_clear:
            height = float(np.interp(found.peak, found.frequency, found.power))
            axes.plot(found.peak, height, "o", color=colour(index), ms=4)
            axes.annotate(
                f"{found.peak:.0f} Hz",
                (found.peak, height),
                (5, 3),
                textcoords="offset points",
                color=colour(index),
            )
    axes.set(xlabel="frequency (Hz)", ylabel="power (Hz²/Hz)", xlim=(0, 200))
    if any(len(population.spectrum.frequency) for population in populations):
        axes.set_yscale("log")
        axes.margins(y=0.12)
    else:
        say(axes, "too few spikes, or too short a run")
    return as_svg(figure)


def voltage(
    results: Results, populations: Sequence[PopulationStatistics], window: tuple[float, float], limit: int = 5
) -> str:
    """Somatic voltage of recorded cells over a window, from the slowest to the fastest firing."""
    chosen = []
    share = max(1, limit // max(len(populations), 1))
    for index, population in enumerate(populations[:_MOST_TRACES]):
        table = results.voltage(population.name, *window)
        order = sorted(table.columns, key=lambda cell, rates=population.rates: rates[cell])  # type: ignore[misc]
        picks = np.unique(np.linspace(0, len(order) - 1, min(share, len(order))).round().astype(int))
        chosen += [(index, population, order[pick], table[order[pick]]) for pick in picks]
    figure = new_figure(WIDE, 0.3 + 0.85 * max(len(chosen), 1))
    rows = figure.subplots(max(len(chosen), 1), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (index, population, cell, trace) in zip(rows, chosen, strict=False):
        axes.plot(trace.index.to_numpy(), trace.to_numpy(), color=colour(index), lw=0.7)
        axes.set_title(f"{population.name} {cell} · {population.rates[cell]:.0f} Hz", pad=2)
        axes.spines["bottom"].set_visible(axes is rows[-1])
        axes.tick_params(axis="x", length=3 if axes is rows[-1] else 0)
        axes.set_yticks([-80, -40, 0])
    rows[-1].set(xlabel="time (ms)", xlim=window)
    figure.supylabel("voltage (mV)", fontsize=8.0)
    return as_svg(figure)


def with_rheobase(results: Results, populations: Sequence[PopulationStatistics]) -> list[int]:
    """Which of the populations know the rheobase of their cells, at most four."""
    tables = [results.nodes(population.name) for population in populations]
    return [i for i, table in enumerate(tables) if "I_thr" in table and np.isfinite(table["I_thr"]).any()][:4]


def latent_spread(
    results: Results, populations: Sequence[PopulationStatistics], chosen: Sequence[int], width: float
) -> str:
    """Firing rate of every cell of the ``chosen`` populations against its rheobase, coloured by its gain."""
    figure = new_figure(width, 2.5)
    row = figure.subplots(1, len(chosen), squeeze=False)[0]
    tables = [results.nodes(populations[index].name) for index in chosen]
    gains = np.concatenate(
        [table["s_thr"].to_numpy() for table in tables if "s_thr" in table] or [np.empty(0)]
    )
    known = gains[np.isfinite(gains)]
    scale = {"cmap": "viridis", "vmin": known.min(), "vmax": known.max()} if len(known) else {}
    for axes, index, table in zip(row, chosen, tables, strict=True):
        paint = table["s_thr"] if scale and "s_thr" in table else colour(index)
        rates = populations[index].rates
        dots = axes.scatter(
            table["I_thr"], rates, c=paint, s=9, lw=0, alpha=0.85, rasterized=len(rates) > 2000, **scale
        )
        axes.set(
            xlabel="rheobase I_thr (nA)", ylim=(-0.04 * max(rates.max(), 1.0), 1.06 * max(rates.max(), 1.0))
        )
        if len(chosen) > 1:
            axes.set_title(populations[index].name, color=colour(index))
    row[0].set_ylabel("firing rate (Hz)")
    if scale:
        bar = figure.colorbar(dots, ax=row.tolist(), label="gain s_thr (Hz/nA)", pad=0.02, aspect=30)
        bar.outline.set_visible(False)
    return as_svg(figure)


def say(axes: Axes, text: str) -> None:
    """Write ``text`` where data would be."""
    axes.set_yticks([])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#8b95a1")
