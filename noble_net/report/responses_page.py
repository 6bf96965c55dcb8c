"""The page of step responses: F–I curves, example traces, how e-features spread over cells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from noble_net.output import write_text
from noble_net.report import plots
from noble_net.report.html import Figure, render
from noble_net.responses.files import ResponseFolder
from noble_net.surrogate.step_core import StepCore
from noble_net.types import CellTable, Float64

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CURVES = 150
"""F–I curves drawn; of more cells, so many are taken evenly."""
EXAMPLE_CELLS, EXAMPLE_STEPS = 3, 4
BAND = (5.0, 95.0)
"""Percentiles of the cells between which a band is drawn."""

LABELS = {
    "rate_hz": "rate (Hz)",
    "spikes": "spikes",
    "AHP_depth": "AHP_depth (mV)",
    "AHP_time_from_peak": "AHP_time_from_peak (ms)",
    "AHP1_depth_from_peak": "AHP1_depth_from_peak (mV)",
    "AP1_peak": "AP1_peak (mV)",
    "AP1_width": "AP1_width (ms)",
    "decay_time_constant_after_stim": "decay_time_constant (ms)",
    "inv_first_ISI": "inv_first_ISI (Hz)",
    "mean_AP_amplitude": "mean_AP_amplitude (mV)",
    "mean_frequency": "mean_frequency (Hz)",
    "sag_amplitude": "sag_amplitude (mV)",
    "steady_state_voltage": "steady_state_voltage (mV)",
    "steady_state_voltage_stimend": "steady_state_stimend (mV)",
    "time_to_first_spike": "time_to_first_spike (ms)",
    "voltage_base": "voltage_base (mV)",
    "I_thr": "I_thr (nA)",
    "s_thr": "s_thr (Hz/nA)",
}
"""Names of measures with their units, for axes."""

_OF_A_STEP = ("decay_time_constant_after_stim", "sag_amplitude")
"""Features that mean nothing without a step: not shown at 0 nA."""


def write_responses_report(folder: ResponseFolder, core: StepCore, cells: CellTable, note: str = "") -> Path:
    """Write ``report.html`` into a finished folder of responses; ``core`` answers the example traces anew.

    ``note`` is shown as a warning, such as that e-features could not be measured.
    """
    with plots.style():
        figures = list(_figures(folder, core, cells))
    identity = folder.identity
    protocol = identity["protocol_ms"]
    amplitudes = folder.amplitudes
    content = {
        "kind": "step responses",
        "name": f"{identity['core']}: {cells.size:,} cells × {len(amplitudes)} steps",
        "facts": [
            ("core", identity["core"]),
            ("family", identity["family"] or "none"),
            ("steps", f"{amplitudes.min():g} to {amplitudes.max():g} nA"),
            ("of", f"{protocol['duration']:g} ms from {protocol['onset']:g} ms on"),
        ],
        "warnings": [note] if note else [],
        "figures": figures,
        "tables": [],
        "footer": "Beside this page, responses.h5 and features.csv hold every number.",
        "asked": json.dumps(identity, indent=2, ensure_ascii=False),
    }
    path = folder.path / "report.html"
    write_text(path, render("figures.html.j2", content))
    return path


def _figures(folder: ResponseFolder, core: StepCore, cells: CellTable) -> Iterator[Figure]:
    rate = folder.measured("rate_hz")
    shown = f", {MOST_CURVES} of {len(rate):,} cells" if len(rate) > MOST_CURVES else ""
    caption = f"Spikes during the step over its duration, a line per cell{shown}; bold: the median of all."
    yield Figure("F–I curves", caption, _f_i(folder, rate))
    caption = "Of every cell: the smallest step asked for that makes it fire, and its rate at the largest."
    yield Figure("Excitability", caption, _excitability(folder, rate))
    caption = "Cells from the least to the most excitable; steps from the smallest to the largest."
    yield Figure("Example traces", caption, _traces(folder, core, cells, rate), wide=True)
    if folder.identity["features"]:
        caption = f"Against the step's amplitude: median, and {BAND[0]:g} to {BAND[1]:g} % of the cells that have it."
        yield Figure("E-features", caption, _spread(folder), wide=True)


def _f_i(folder: ResponseFolder, rate: Float64) -> str:
    figure = plots.new_figure(plots.HALF, 3.2)
    axes = figure.subplots()
    chosen = np.unique(np.linspace(0, len(rate) - 1, min(len(rate), MOST_CURVES)).round().astype(int))
    x = folder.amplitudes
    line = "-o" if len(x) < 3 else "-"
    axes.plot(x, rate[chosen].T, line, ms=2, color=plots.colour(0), lw=0.6, alpha=0.35)
    axes.plot(x, np.median(rate, axis=0), line, ms=3, color="#1f2933", lw=1.8)
    axes.set(xlabel="step (nA)", ylabel="rate (Hz)")
    axes.set_ylim(bottom=-0.02 * max(float(rate.max()), 1.0))
    return plots.as_svg(figure)


def _excitability(folder: ResponseFolder, rate: Float64) -> str:
    figure = plots.new_figure(plots.HALF, 3.2)
    axes = figure.subplots()
    order = np.argsort(folder.amplitudes)
    x, sorted_rate = folder.amplitudes[order], rate[:, order]
    fires = sorted_rate > 0
    first = np.where(fires.any(axis=1), x[fires.argmax(axis=1)], np.nan)
    jitter = (np.random.default_rng(0).random(len(first)) - 0.5) * 0.5 * float(np.diff(x).min(initial=0.02))
    axes.plot(first + jitter, sorted_rate[:, -1], "o", ms=3, mew=0, alpha=0.6, color=plots.colour(0))
    axes.set(xlabel="smallest step that fires (nA)", ylabel=f"rate at {x[-1]:g} nA (Hz)")
    silent = int(np.isnan(first).sum())
    if silent:
        axes.set_title(f"{silent} of {len(first)} cells never fire")
    return plots.as_svg(figure)


def _traces(folder: ResponseFolder, core: StepCore, cells: CellTable, rate: Float64) -> str:
    """Cells at quantiles of excitability × steps across the range, answered anew."""
    number = min(EXAMPLE_CELLS, len(rate))
    by_rate = np.argsort(rate.sum(axis=1), kind="stable")
    chosen = by_rate[np.linspace(0, len(rate) - 1, number).round().astype(int)]
    steps = _example_steps(folder.amplitudes, rate)
    voltage = core.respond(cells.take(np.repeat(chosen, len(steps))), np.tile(steps, number))
    traces = voltage.reshape(number, len(steps), -1)
    time = core.sampling * np.arange(traces.shape[2])
    figure = plots.new_figure(plots.WIDE, 0.5 + 1.2 * number)
    rows = figure.subplots(number, len(steps), sharex=True, sharey=True, squeeze=False)
    for row, cell, answers in zip(rows, chosen, traces, strict=True):
        for axes, step, trace in zip(row, steps, answers, strict=True):
            axes.plot(time, trace, color=plots.colour(0), lw=0.6)
            axes.axvspan(core.protocol.onset, core.protocol.end, color="#c9d1d9", alpha=0.25, lw=0)
            if axes in rows[0]:
                axes.set_title(f"{step:g} nA")
        label = folder.labels[cell]
        row[0].set_ylabel(f"cell {cell}\n{label}" if len(label) < 24 else f"cell {cell}", fontsize=7)
    for axes in rows[-1]:
        axes.set_xlabel("time (ms)")
    figure.supylabel("voltage (mV)", fontsize=8.0)
    return plots.as_svg(figure)


def _example_steps(amplitudes: Float64, rate: Float64) -> Float64:
    """The smallest and largest step, the first at which half of the cells fire, and one between."""
    ordered = np.sort(amplitudes)
    half = (np.median(rate, axis=0) > 0)[np.argsort(amplitudes)]
    first = int(half.argmax()) if half.any() else len(ordered) // 2
    between = (first + len(ordered) - 1) // 2
    wanted = np.unique([0, first, between, len(ordered) - 1])[-EXAMPLE_STEPS:]
    return np.asarray(ordered[wanted])


def _spread(folder: ResponseFolder) -> str:
    names = folder.identity["features"]
    columns = 4
    rows = -(-len(names) // columns)
    figure = plots.new_figure(plots.WIDE, 1.75 * rows)
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    for axes, name in zip(grid, names, strict=False):
        shown = (folder.amplitudes != 0) | (name not in _OF_A_STEP)
        _band(axes, folder.amplitudes[shown], folder.measured(name)[:, shown])
        axes.set_title(LABELS.get(name, name))
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    for axes in grid[-columns:]:
        axes.set_xlabel("step (nA)")
    return plots.as_svg(figure)


def _band(axes: Axes, amplitudes: Float64, values: Float64) -> None:
    """Median and BAND over cells, where at least one cell has the feature."""
    order = np.argsort(amplitudes)
    having = [i for i in order if np.isfinite(values[:, i]).any()]
    if not having:
        plots.say(axes, "no cell has it")
        return
    low, middle, high = np.array([np.nanpercentile(values[:, i], [BAND[0], 50.0, BAND[1]]) for i in having]).T
    x = amplitudes[having]
    axes.fill_between(x, low, high, color=plots.colour(0), alpha=0.2, lw=0)
    axes.plot(x, middle, "-o", ms=2, color=plots.colour(0), lw=1.1)
    if len(x) == 1:
        axes.vlines(x, low, high, color=plots.colour(0), lw=2, alpha=0.4)
