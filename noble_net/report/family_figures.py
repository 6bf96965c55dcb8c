"""The figures of a family's card: spread of features, degeneracy of parameters, F–I curves, error by generation.

Each function returns a figure; `noble_net.report.family_page` writes them. Families without a hall of fame (drawn ones,
tables) and with a dozen members are drawn as well. Training members are blue, held-out ones green, the hall of fame
red.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from noble_net.cells.family import Family
from noble_net.report.family_statistics import (
    MAIN_FEATURES,
    NEARLY_EQUAL,
    UNITS,
    Distances,
    distances,
    known_features,
)
from noble_net.report.plots import COLOURS, WIDE, new_figure, say
from noble_net.types import Float64

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TRAIN, _HELD_OUT, _HALL = COLOURS[0], COLOURS[2], COLOURS[1]
_GREY = "#8b95a1"
_FEW_PAIRS = 3000
_LINES = 60


def feature_spread(family: Family) -> Figure:
    """Histograms of the main features; below each, a tick per held-out member and per member of the hall of fame."""
    names = [name for name in MAIN_FEATURES if name in family.table]
    figure = new_figure(WIDE, 1.75 * -(-len(names) // 4) + 0.3)
    grid = figure.subplots(-(-len(names) // 4), 4, squeeze=False).ravel()
    groups = _groups(family)
    for axes, name in zip(grid, names, strict=False):
        _one_spread(axes, family.table[name], groups)
        unit = UNITS.get(name)
        axes.set_xlabel(f"{name} ({unit})" if unit else name)
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    for axes in grid[::4]:
        axes.set_ylabel("members (%)", y=0.6)
    figure.align_ylabels(grid[::4])
    _legend(figure, {**groups, "train": (family.ids(), _TRAIN)}, {"train": "all members"})
    return figure


def parameters(family: Family) -> Figure:
    """Coded parameters as parallel coordinates: a line per member of the hall of fame, coloured by its mean z-score.

    Without a hall of fame: members at even ranks of I_thr, coloured by it.
    """
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection
    from matplotlib.colors import ListedColormap

    evolved = "z_score" in family.table and any(family.table.get("hall_of_fame", ()))
    by, label = ("z_score", "mean z-score") if evolved else ("I_thr", "I_thr (nA)")
    ids = family.ids(hall_of_fame=True) if evolved else family.ids()
    # The lines drawn last are seen best: those of the most typical members.
    ranked = family.table.loc[ids, by].sort_values(ascending=False)
    chosen = ranked.iloc[np.unique(np.linspace(0, len(ranked) - 1, min(len(ranked), _LINES)).astype(int))]
    if not evolved:
        chosen = chosen.sample(frac=1.0, random_state=0)
    code = family.codes([str(i) for i in chosen.index]).astype(np.float64)
    figure = new_figure(WIDE, 3.2)
    axes = figure.subplots()
    at = np.arange(code.shape[1])
    lines = LineCollection(
        [np.column_stack([at, row]) for row in code],
        array=chosen.to_numpy(np.float64),
        cmap=ListedColormap(colormaps["viridis"](np.linspace(0, 0.92, 8))),  # yellow is lost on white
        lw=0.9,
        alpha=float(np.clip(30 / len(code), 0.45, 0.9)),
    )
    axes.add_collection(lines)
    for place in at.tolist():
        axes.axvline(place, color=_GREY, lw=0.5, zorder=0)
    limit = 1.08 * float(np.abs(code).max())
    axes.set(xlim=(-0.2, len(at) - 0.8), ylim=(-limit, limit), ylabel="code (sd from the centre)")
    axes.set_xticks(at, family.parameter_names, rotation=35, ha="right", rotation_mode="anchor")
    axes.tick_params(axis="x", length=0)
    axes.spines["bottom"].set_visible(False)
    some = f"{len(code)} of " if len(code) < len(ids) else ""
    axes.set_title(f"{'hall of fame' if evolved else 'members'} ({some}{len(ids)})")
    bar = figure.colorbar(lines, ax=axes, label=label, pad=0.01, aspect=25)
    if bar.solids is not None:
        bar.solids.set_alpha(1.0)
    bar.outline.set_visible(False)
    return figure


def degeneracy(family: Family) -> Figure:
    """Correlations of the coded parameters, and distance in features against distance in parameters."""
    figure = new_figure(WIDE, 3.3 + 0.05 * len(family.parameter_names))
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1.0])
    _correlations(left, family)
    _distance_plot(right, distances(family))
    return figure


def fi_curves(family: Family, curves: pd.DataFrame) -> Figure:
    """F–I curves of all members, as measured and from their thresholds on.

    ``curves``: columns member, current (nA) and rate (Hz).
    """
    figure = new_figure(WIDE, 3.1)
    left, right = figure.subplots(1, 2, sharey=True)
    groups = _groups(family)
    thresholds = family.table["I_thr"]
    for ids, paint in groups.values():
        for member, curve in curves[curves["member"].isin(ids)].groupby("member", sort=False):
            curve = curve.sort_values("current")
            look: dict[str, Any] = {"color": paint, "lw": 0.7, "alpha": _opacity(len(ids))}
            left.plot(curve["current"], curve["rate"], **look)
            above = curve[curve["current"] >= thresholds[str(member)] - 1e-5]
            right.plot(above["current"] - thresholds[str(member)], above["rate"], **look)
    left.set(xlabel="step (nA)", ylabel="firing rate (Hz)", ylim=(0, None))
    right.set(xlabel="step above I_thr (nA)", xlim=(0, None))
    _legend(figure, groups)
    return figure


def evolution(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Best (line) and median (dots) mean z-score of every generation: a row per seed, a line where a target begins.

    ``history``: rows with seed, target, stage (1: passive parameters alone), generation, best and median, in order.
    """
    seeds = sorted({int(row["seed"]) for row in history})
    figure = new_figure(WIDE, 0.9 + 1.35 * len(seeds))
    grid = figure.subplots(len(seeds), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, seed in zip(grid, seeds, strict=True):
        _one_seed(axes, [row for row in history if row["seed"] == seed])
        axes.set_title(f"seed {seed}", pad=2)
    grid[-1].set_xlabel("generation")
    figure.supylabel("mean z-score", fontsize=8.0)
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=_GREY, lw=1.2, label="best, passive stage"),
        Line2D([], [], color=_TRAIN, lw=1.2, label="best, all parameters"),
        Line2D([], [], color=_TRAIN, marker=".", ms=3, lw=0, alpha=0.5, label="median of the generation"),
        Line2D([], [], color=_GREY, lw=0.6, ls=(0, (2, 2)), label="new target"),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=4)
    return figure


def _one_seed(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    start = 0
    for (target, stage), group in groupby(rows, key=lambda row: (row["target"], row["stage"])):
        generations = list(group)
        at = np.arange(start, start + len(generations))
        paint = _GREY if stage == 1 else _TRAIN
        axes.plot(at, [row["best"] for row in generations], color=paint, lw=1.2, marker=".", ms=2.5)
        axes.plot(at, [row["median"] for row in generations], ".", color=paint, ms=3, alpha=0.5)
        # A target begins with its passive stage, where it has one.
        if start and (stage == 1 or not any(r["target"] == target and r["stage"] == 1 for r in rows)):
            axes.axvline(start - 0.5, color=_GREY, lw=0.6, ls=(0, (2, 2)))
        start += len(generations)
    axes.set(yscale="log", xlim=(-0.5, start - 0.5))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def _groups(family: Family) -> dict[str, tuple[list[str], str]]:
    """Label → ids and colour; the hall of fame, where there is one, is on top."""
    groups = {"train": (family.ids("train"), _TRAIN), "held out": (family.ids("held_out"), _HELD_OUT)}
    if "hall_of_fame" in family.table:
        groups["hall of fame"] = (family.ids(hall_of_fame=True), _HALL)
    return {label: (ids, paint) for label, (ids, paint) in groups.items() if ids}


def _legend(
    figure: Figure, groups: Mapping[str, tuple[list[str], str]], names: Mapping[str, str] | None = None
) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=paint, lw=2, label=f"{(names or {}).get(label, label)} ({len(ids)})")
        for label, (ids, paint) in groups.items()
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(groups))


def _one_spread(axes: Axes, values: pd.Series[float], groups: Mapping[str, tuple[list[str], str]]) -> None:
    known = values[np.isfinite(values)]
    if not len(known) or np.ptp(known) == 0:
        say(axes, f"{known.iloc[0]:g} throughout" if len(known) else "no member has it")
        axes.set_xticks([])
        return
    heights, edges = np.histogram(known, _bins(np.asarray(known, np.float64)))
    shares = 100 * heights / len(known)
    axes.stairs(shares, edges, fill=True, color=_TRAIN, alpha=0.4)
    # One row of ticks under the histogram for every group that is part of it.
    row = 0.11 * float(shares.max())
    marked = [each for label, each in groups.items() if label != "train"]
    for index, (ids, paint) in enumerate(marked):
        at = values.loc[ids]
        high = -row * (index + 0.25)
        axes.vlines(at, high - 0.75 * row, high, color=paint, lw=0.7, alpha=max(_opacity(len(ids)), 0.4))
    axes.set_ylim(-row * (len(marked) + 0.3), 1.05 * float(shares.max()))
    axes.axhline(0, color=_GREY, lw=0.7)
    axes.spines["bottom"].set_visible(False)
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= shares.max()])


def _bins(values: Float64) -> Float64:
    """Edges of a histogram; bins of a quantity on a lattice (I_thr, counts) hold equally many of its values."""
    bins = int(np.clip(1.3 * np.sqrt(len(values)), 6, 24))
    low, extent = float(values.min()), float(np.ptp(values))
    gap = float(np.diff(np.unique(values)).min())
    if gap * 6 * bins < extent:
        return np.linspace(low, float(values.max()), bins + 1)
    width = gap * np.ceil(extent / gap / bins + 1e-9)
    return np.asarray(low - gap / 2 + width * np.arange(np.ceil((extent + gap) / width - 1e-9) + 1))


def _correlations(axes: Axes, family: Family) -> None:
    """Pearson correlation of the coded parameters with each other and with the features that matter most."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    names = list(family.parameter_names)
    told = [name for name in ("I_thr", "s_thr", "input_resistance") if name in known_features(family)]
    columns = np.column_stack(
        [
            family.codes(family.ids()).astype(np.float64),
            family.table[told].to_numpy(np.float64),
        ]
    )
    if columns.shape[1] < 2:
        say(axes, "one parameter: nothing to correlate")
        axes.set_xticks([])
        return
    found = np.corrcoef(columns, rowvar=False)
    shown = np.where(np.tri(len(found), k=-1, dtype=np.bool_), found, np.nan)[1:, : len(names)]
    image = axes.imshow(
        shown,
        cmap=ListedColormap(colormaps["RdBu_r"](np.linspace(0, 1, 21))),
        vmin=-1,
        vmax=1,
        aspect="auto",
        interpolation="nearest",
    )
    size = float(np.clip(110 / len(shown), 4.5, 7.5))
    axes.set_xticks(range(len(names)), names, rotation=55, ha="right", rotation_mode="anchor", fontsize=size)
    axes.set_yticks(range(len(shown)), [*names, *told][1:], fontsize=size)
    if told:
        axes.axhline(len(names) - 1.5, color=_GREY, lw=0.7)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("correlation over all members")
    bar = axes.figure.colorbar(image, ax=axes, pad=0.01, aspect=25)
    bar.outline.set_visible(False)


def _distance_plot(axes: Axes, apart: Distances) -> None:
    far = float(np.median(apart.parameters))
    if len(apart.features) > _FEW_PAIRS:
        axes.hexbin(
            apart.features,
            apart.parameters,
            gridsize=45,
            bins="log",
            cmap="Greys",
            mincnt=1,
            lw=0,
            rasterized=True,
        )
    else:
        axes.plot(apart.features, apart.parameters, ".", color=_GREY, ms=3)
    near = apart.degenerate
    axes.plot(apart.features[near], apart.parameters[near], ".", color=_HALL, ms=2.5)
    axes.axvline(NEARLY_EQUAL, color=_HALL, lw=0.7, ls=(0, (3, 2)))
    axes.axhline(far, color=_HALL, lw=0.7, ls=(0, (3, 2)))
    axes.set(xlabel="distance in main features (sd)", ylabel="distance in parameters (sd)", xlim=(0, None))
    axes.set_title(f"pairs of members; degenerate: {int(near.sum()):,}")


def _opacity(lines: int) -> float:
    return float(np.clip(18 / max(lines, 1), 0.15, 0.9))
