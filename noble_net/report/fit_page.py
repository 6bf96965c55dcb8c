"""The page of a fit: recording and core, each entry of the code with its interval, what is expected of the cell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from noble_net.output import write_text
from noble_net.report import plots
from noble_net.report.html import Figure, render
from noble_net.types import DT

if TYPE_CHECKING:
    from noble_net.fitting.fit import CellFit

SPAN = 1000.0
"""Longest time shown of a recording, ms."""


def write_fit_report(fit: CellFit, folder: Path) -> Path:
    """Write ``report.html`` into a folder and return its path."""
    with plots.style():
        figures = list(_figures(fit))
    about = fit.about
    facts = [("family", fit.family.name)]
    if "core" in about:
        facts += [("core", about["core"]), ("fitted", f"{about['seconds_fitted']:g} s")]
    content = {
        "kind": "fit",
        "name": f"A cell of {fit.family.name}",
        "facts": facts,
        "warnings": list(fit.warnings),
        "figures": figures,
        "tables": list(_tables(fit)),
        "footer": "Beside this page, fit.json holds every number; cells.h5 and network.yaml put it into networks.",
        "asked": json.dumps(
            {"given": about.get("given_features", about.get("sweeps"))}, indent=2, ensure_ascii=False
        ),
    }
    path = folder / "report.html"
    write_text(path, render("figures.html.j2", content))
    return path


def _figures(fit: CellFit) -> Iterator[Figure]:
    if fit.checks:
        where, shown = next(iter(fit.checks.items()))
        recorded, answered = shown.recorded[0], shown.answered[0]
        caption = (
            f"Of {where}: the recording, and the core free-running with the fitted code on the same current."
        )
        yield Figure("Recording and core", caption, _traces(recorded, answered), wide=True)
    caption = "Fitted value and 90 % interval, in standard deviations of the family; grey: the family's 90 %."
    yield Figure("The code", caption, _code(fit), wide=True)


def _traces(recorded: np.ndarray, answered: np.ndarray) -> str:
    figure = plots.new_figure(plots.WIDE, 2.6)
    axes = figure.subplots()
    first = max(0, (len(recorded) - round(SPAN / DT)) // 2)
    part = slice(first, first + round(SPAN / DT))
    time = DT * np.arange(len(recorded))[part]
    axes.plot(time, recorded[part], color="#1f2933", lw=0.8, label="recording")
    axes.plot(time, answered[part], color=plots.colour(1), lw=0.8, alpha=0.85, label="core")
    axes.set(xlabel="time (ms)", ylabel="voltage (mV)")
    axes.legend(loc="upper right")
    return plots.as_svg(figure)


def _code(fit: CellFit) -> str:
    names = fit.family.parameter_names
    figure = plots.new_figure(plots.WIDE, 0.6 + 0.2 * len(names))
    axes = figure.subplots()
    rows = np.arange(len(names))
    prior_sd = np.sqrt(np.diag(fit.prior.covariance))
    axes.barh(rows, 2 * 1.645 * prior_sd, left=fit.prior.mean - 1.645 * prior_sd, height=0.7, color="#e4e8ec")
    axes.errorbar(
        fit.posterior.mean,
        rows,
        xerr=1.645 * fit.posterior.sd,
        fmt="o",
        ms=4,
        color=plots.colour(0),
        capsize=2,
    )
    axes.set_yticks(rows, names)
    axes.invert_yaxis()
    axes.set_xlabel("standard deviations of the family")
    return plots.as_svg(figure)


def _tables(fit: CellFit) -> Iterator[dict[str, object]]:
    if fit.checks:
        names = list(next(iter(fit.checks.values())).measures)
        rows = [[name, *(_number(each.measures[name]) for each in fit.checks.values())] for name in names]
        titles = list(fit.checks)
        yield {
            "title": "Free-running",
            "caption": f"The core with the fitted code on {titles[0]}, beside the same core with the family's mean.",
            "header": ["", "fitted code", *titles[1:]],
            "rows": rows,
        }
    parameters, shrinkage = fit.parameters, fit.shrinkage
    yield {
        "title": "Parameters",
        "caption": "In the family's units; last, what is left of the family's uncertainty: 1 is nothing learned.",
        "header": ["", "fitted", "90 %, from", "to", "sd / family's"],
        "rows": [
            [n, *(_number(v) for v in parameters[n]), f"{s:.2f}"]
            for n, s in zip(parameters, shrinkage, strict=True)
        ],
    }
    yield {
        "title": "Expected of the cell",
        "caption": "Predicted from the code, with the uncertainty of code and prediction.",
        "header": ["", "expected", "sd", "90 %, from", "to"],
        "rows": [[name, *(_number(v) for v in each)] for name, each in fit.features.items()],
    }


def _number(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "–"
