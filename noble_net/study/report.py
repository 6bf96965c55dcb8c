"""The pages of studies: maps over the latent space, and measures of a network against its heterogeneity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noble_net.output import write_text
from noble_net.report import plots
from noble_net.report.html import Figure, render
from noble_net.report.responses_page import LABELS
from noble_net.specs.studies import StudySpec
from noble_net.study import map_figures, population_figures
from noble_net.study.single_cell import Map
from noble_net.types import Float64

if TYPE_CHECKING:
    import pandas as pd

    from noble_net.study.population import Run

CSV, PAGE = "study.csv", "report.html"
_DIGITS = "%.6g"


def write_map(study: StudySpec, found: Map, out: Path) -> Path:
    """Write study.csv and report.html of a single-cell study; returns the page's path."""
    _write_csv(found.table(), out)
    identity = found.cells.identity
    steps = ", ".join(f"{step:g}" for step in found.cells.amplitudes)
    facts = [
        ("core", identity["core"]),
        ("family", identity["family"]),
        (
            "cells",
            f"{len(found.x):,}" + (f" on a grid, {found.points} × {found.points}" if found.points else ""),
        ),
        ("steps", f"{steps} nA"),
    ]
    with plots.style():
        figures = list(_map_figures(found))
    return _write_page(study, out, "single-cell study", facts, figures, [_map_table(found)], [found.note])


def _map_figures(found: Map) -> Iterator[Figure]:
    outside = int((~found.inside).sum())
    beyond = f" Blank: beyond what the family covers, {outside} of {len(found.x)} cells." if outside else ""
    kind = "The map" if found.points else "Dots"
    for name in found.features:
        caption = f"{kind}: cells of the latent space. Ringed: members, coloured by their own value.{beyond}"
        yield Figure(LABELS.get(name, name), caption, map_figures.heat_maps(found, name), wide=True)
    if found.points:
        step = found.cells.amplitudes.max()
        caption = f"The same maps at {step:g} nA in relief."
        yield Figure("Surfaces", caption, map_figures.surfaces(found), wide=True)


def _map_table(found: Map) -> dict[str, Any]:
    rows = []
    for name in found.features:
        cells, members = found.cells.measured(name), found.members.measured(name)
        for i, step in enumerate(found.cells.amplitudes):
            mapped = cells[found.inside, i]
            rows.append([LABELS.get(name, name), f"{step:g}", *_range(mapped), *_range(members[:, i])])
    header = [
        "feature",
        "step, nA",
        "map: median",
        "5 to 95 %",
        "have it",
        "members: median",
        "5 to 95 %",
        "have it",
    ]
    caption = "How far a feature ranges over the map, and over the family's members."
    return {"title": "Ranges", "caption": caption, "header": header, "rows": rows}


def _range(values: Float64) -> list[str]:
    finite = values[np.isfinite(values)]
    share = f"{len(finite):,} of {len(values):,}"
    if not len(finite):
        return ["–", "–", share]
    low, middle, high = np.percentile(finite, [5, 50, 95])
    return [f"{middle:.4g}", f"{low:.4g} to {high:.4g}", share]


def write_population(study: StudySpec, table: pd.DataFrame, runs: Sequence[Run], out: Path) -> Path:
    """Write study.csv and report.html of a population study; returns the page's path."""
    _write_csv(table, out)
    first = runs[0].network
    conditions, spreads, seeds = ({run[i] for run in runs} for i in range(3))
    facts = [
        ("network", first.name),
        ("cells", f"{sum(each.size for each in first.populations.values()):,}"),
        ("recorded", f"{first.duration / 1000:g} s"),
        ("runs", f"{len(runs)}: {len(conditions)} conditions × {len(spreads)} spreads × {len(seeds)} seeds"),
    ]
    with plots.style():
        figures = list(_population_figures(table, runs, study))
    tables = [_population_table(table, name) for name in dict.fromkeys(table["population"])]
    return _write_page(study, out, "population study", facts, figures, tables, [])


def _population_figures(table: pd.DataFrame, runs: Sequence[Run], study: StudySpec) -> Iterator[Figure]:
    for name in dict.fromkeys(table["population"]):
        title = f"{name}: against heterogeneity"
        caption = (
            "Spread of the latent distribution: 0, all cells the medoid; 1, the family's own. A line per condition: "
            "mean over seeds; bars: standard deviation over seeds; dots: runs."
        )
        yield Figure(title, caption, population_figures.measures(table, name), wide=True)
        caption = "Power spectrum of the population rate, mean over seeds; a panel per condition."
        yield Figure(f"{name}: rhythm", caption, population_figures.spectra(runs, name), wide=True)
        signal = study.population.signal if study.population else None
        if signal and population_figures.receives(runs[0].network, name, signal):
            caption = (
                f"Coherence between {signal}, the input all cells share, and the population rate, as estimated: chance "
                "alone gives one over the number of segments. The information has that taken off."
            )
            yield Figure(
                f"{name}: coherence", caption, population_figures.coherences(runs, name, signal), wide=True
            )
        caption = "The first seed of the first condition: above, the smallest spread; below, the largest."
        yield Figure(f"{name}: spikes", caption, population_figures.rasters(runs, name), wide=True)


def _population_table(table: pd.DataFrame, name: str) -> dict[str, Any]:
    mine = table[table["population"] == name]
    shown = [column for column in population_figures.TITLES if mine[column].notna().any()]
    rows = []
    for (condition, spread), group in mine.groupby(["condition", "spread"], sort=False):
        cells = [_mean_and_deviation(group[column].to_numpy(np.float64)) for column in shown]
        rows.append([str(condition), f"{spread:g}", *cells])
    header = ["condition", "spread", *(population_figures.TITLES[column] for column in shown)]
    caption = "Mean ± standard deviation over seeds."
    return {"title": f"{name}: numbers", "caption": caption, "header": header, "rows": rows}


def _mean_and_deviation(values: Float64) -> str:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return "–"
    return f"{finite.mean():.3g}" + (f" ± {finite.std(ddof=1):.2g}" if len(finite) > 1 else "")


def _write_csv(table: pd.DataFrame, out: Path) -> None:
    write_text(out / CSV, table.to_csv(index=False, float_format=_DIGITS))


def _write_page(
    study: StudySpec,
    out: Path,
    kind: str,
    facts: Sequence[tuple[str, str]],
    figures: Sequence[Figure],
    tables: Sequence[Mapping[str, Any]],
    warnings: Sequence[str],
) -> Path:
    asked = (
        study.source.read_text(encoding="utf-8")
        if study.source is not None and study.source.is_file()
        else ""
    )
    content = {
        "kind": kind,
        "name": study.name,
        "facts": facts,
        "warnings": [warning for warning in warnings if warning],
        "figures": figures,
        "tables": tables,
        "footer": "Beside this page, study.csv holds every number.",
        "asked": asked,
    }
    write_text(out / PAGE, render("figures.html.j2", content))
    return out / PAGE
