"""Figures of a single-cell study: maps of e-features over the latent space, flat and in relief."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from noble_net.report import plots
from noble_net.report.responses_page import LABELS
from noble_net.study.single_cell import Map
from noble_net.types import Float64

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_STEPS = 4
"""Maps beside each other; of more steps, the largest."""
COLUMNS = 3
_MOST_VECTORS = 1000


def heat_maps(found: Map, name: str) -> str:
    """One map per step, all in one scale of colour, members laid over."""
    values, members = found.cells.measured(name), found.members.measured(name)
    shown = np.argsort(found.cells.amplitudes)[-MOST_STEPS:]
    scale = _scale(values[found.inside][:, shown], members[:, shown])
    figure = plots.new_figure(plots.WIDE, 3.3 if len(shown) < 4 else 2.6)
    row = figure.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0]
    for axes, step in zip(row, shown, strict=True):
        axes.set_title(f"{found.cells.amplitudes[step]:g} nA")
        axes.set_xlabel(found.axes[0])
        if not np.isfinite(values[found.inside, step]).any():
            axes.text(0.5, 0.5, "no cell has it", transform=axes.transAxes, ha="center", color="#8b95a1")
            continue
        if found.points:
            _grid_map(axes, found, values[:, step], scale)
        else:
            dots = {"s": 8, "lw": 0, "alpha": 0.8, "rasterized": len(found.x) > _MOST_VECTORS}
            axes.scatter(found.x, found.y, c=values[:, step], **dots, **scale)
        ring = {"s": 14, "lw": 0.5, "edgecolors": "#ffffff" if found.points else "#1f2933"}
        axes.scatter(found.members_x, found.members_y, c=members[:, step], **ring, **scale)
    row[0].set_ylabel(found.axes[1])
    if scale["vmin"] is not None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        paint = ScalarMappable(Normalize(scale["vmin"], scale["vmax"]), scale["cmap"])
        bar = figure.colorbar(paint, ax=row.tolist(), label=LABELS.get(name, name), pad=0.01, aspect=30)
        bar.outline.set_visible(False)
    return plots.as_svg(figure)


def _scale(values: Float64, members: Float64) -> dict[str, Any]:
    """The colours: from the 1st to the 99th percentile, so that one odd cell does not bleach the rest."""
    pooled = np.concatenate([values.ravel(), members.ravel()])
    finite = pooled[np.isfinite(pooled)]
    if not len(finite):
        return {"cmap": "viridis", "vmin": None, "vmax": None}
    low, high = np.percentile(finite, [1, 99]).tolist()
    return {"cmap": "viridis", "vmin": low, "vmax": high if high > low else low + 1.0}


def _grid_map(axes: Axes, found: Map, values: Float64, scale: dict[str, Any]) -> None:
    x, y, z = _as_grid(found, values)
    axes.pcolormesh(x, y, np.where(np.isfinite(z), z, np.nan), shading="nearest", rasterized=True, **scale)
    if np.isfinite(z).sum() > 9 and float(np.nanmax(z)) > float(np.nanmin(z)):
        axes.contour(x, y, z, levels=6, colors="#1f2933", linewidths=0.5, alpha=0.6)


def _as_grid(found: Map, values: Float64) -> tuple[Float64, Float64, Float64]:
    """x [points], y [points] and values [points (y), points (x)], NaN outside what the family covers."""
    shape = (found.points, found.points)
    z = np.where(found.inside, values, np.nan).reshape(shape)
    return found.x.reshape(shape)[0], found.y.reshape(shape)[:, 0], z


def surfaces(found: Map) -> str:
    """The maps of all features at the largest step, in relief."""
    step = int(np.argmax(found.cells.amplitudes))
    rows = -(-len(found.features) // COLUMNS)
    figure = plots.new_figure(plots.WIDE, 3.1 * rows)
    for index, name in enumerate(found.features):
        axes: Any = figure.add_subplot(rows, COLUMNS, index + 1, projection="3d")
        x, y, z = _as_grid(found, found.cells.measured(name)[:, step])
        grid_x, grid_y = np.meshgrid(x, y)
        if np.isfinite(z).any():
            axes.plot_surface(
                grid_x, grid_y, z, cmap="viridis", lw=0.2, edgecolor="#ffffff", rstride=1, cstride=1
            )
        axes.set_title(LABELS.get(name, name))
        axes.set_xlabel(found.axes[0].split(" (")[0], labelpad=-4)
        axes.set_ylabel(found.axes[1].split(" (")[0], labelpad=-4)
        axes.tick_params(labelsize=6, pad=-2)
        for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
            axis.set_pane_color((1.0, 1.0, 1.0, 0.0))
            axis.line.set_color("#8b95a1")
    return plots.as_svg(figure)
