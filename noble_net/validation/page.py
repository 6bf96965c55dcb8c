"""The page of a validation: verdicts on top, below them what they were made from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noble_net.config import dump_network
from noble_net.report import plots
from noble_net.report.compare import ComparedRun, summary_numbers
from noble_net.report.compare_page import cell_by_cell, distributions, spectra
from noble_net.report.html import Figure, render
from noble_net.validation import figures
from noble_net.validation.plan import BASE, FINE, REFERENCE, REPLAY, SURROGATE
from noble_net.validation.verdicts import Verdict

if TYPE_CHECKING:
    from noble_net.validation.validate import Validation

_PARTS = {
    "network": "Network",
    "replay": "Single cells, each under the input it had in the reference network",
    "change": "Response to changed parameters",
}
_UNKNOWN = "–"


def page(found: Validation) -> str:
    """The validation as one HTML page that needs nothing but itself."""
    with plots.style():
        drawn = list(_figures(found))
    judged = [each for each in found.verdicts if each.holds is not None]
    return render(
        "validation.html.j2",
        {
            "name": found.plan.network.name,
            "facts": _facts(found),
            "holds": found.holds,
            "count": f"{sum(bool(each.holds) for each in judged)} of {len(judged)}",
            "reference": found.reference.name,
            "parts": [
                {"title": title, "rows": [_row(each) for each in found.verdicts if each.part == part]}
                for part, title in _PARTS.items()
                if any(each.part == part for each in found.verdicts)
            ],
            "notes": found.plan.notes,
            "figures": drawn,
            "header": ["run", "step, ms", "rate Hz", "CV", "correlation", "rhythm Hz", "silent", "outside"],
            "runs": list(_runs(found)),
            "asked": dump_network(found.plan.network),
        },
    )


def _facts(found: Validation) -> list[tuple[str, str]]:
    settings = found.plan.settings
    cells = sum(each.size for each in found.plan.network.populations.values())
    step = found.reference.step
    return [
        ("reference", found.reference.name + ("" if step is None else f" at {step:g} ms")),
        ("cells", f"{cells:,}"),
        ("recorded", f"{settings.duration / 1000:g} s after {settings.warmup / 1000:g} s"),
        ("noise seeds", ", ".join(map(str, settings.seeds))),
    ]


def _row(verdict: Verdict) -> dict[str, Any]:
    unit = f" {verdict.unit}" if verdict.unit else ""
    terms = ", ".join(f"{name} {_number(value)}" for name, value in verdict.terms.items())
    return {
        "cells": [
            verdict.population,
            verdict.measure,
            _number(verdict.value, unit),
            f"{verdict.relation} {_number(verdict.limit, unit)}",
        ],
        "yardstick": verdict.yardstick,
        "terms": terms,
        "verdict": "" if verdict.holds is None else "good" if verdict.holds else "bad",
        "word": "not judged" if verdict.holds is None else "holds" if verdict.holds else "fails",
    }


def _figures(found: Validation) -> Iterator[Figure]:
    end, several = found.plan.settings.times[-1], len(found.sides.populations) > 1
    seed = found.plan.settings.seeds[0]
    sides = (REFERENCE, SURROGATE)
    compared = [
        ComparedRun(side, Path(), side, number, end, by_name)
        for side in sides
        for number, by_name in _by_seed(found, side, end).items()
    ]
    paints = [figures.INKS[run.label] for run in compared]
    for name in found.sides.populations:
        of = f"{name}: " if several else ""
        shown = {
            found.reference.name if side == REFERENCE else SURROGATE: found.sides.of(side, BASE, name, end)[
                seed
            ]
            for side in sides
        }
        caption = f"The end of noise seed {seed} on both sides: same cells, edges and noise."
        yield Figure(f"{of}spikes", caption, figures.rasters(shown), wide=True)
        caption = (
            "Cumulative, a line per noise seed: the area between two lines is their earth mover's distance. "
            "Dark: the reference."
        )
        yield Figure(f"{of}distributions", caption, distributions(compared, name, paints), wide=True)
        caption = "Against the reference's first seed; dark: its other seeds."
        yield Figure(f"{of}rates cell by cell", caption, cell_by_cell(compared, name, paints))
        caption = "Power spectrum of the population rate, a line per seed."
        yield Figure(f"{of}rhythm", caption, spectra(compared, name, paints))
        caption = "Medians over pairs of seeds. Distances shrink with time; what stays is bias."
        ratio = found.plan.settings.tolerances.emd_ratio
        mine = [each for each in found.distances if each.population == name]
        svg = figures.distances_over_time(mine, ratio)
        yield Figure(f"{of}distances against simulated time", caption, svg, wide=True)
        yield from _of_cells(found, name, of)
        changed = [each for each in found.responses if each.population == name]
        if changed:
            about = "; ".join(dict.fromkeys(f"{each.kind}: {each.about}" for each in changed))
            caption = f"Mean rate, dark: the reference. {about}."
            yield Figure(f"{of}response to changes", caption, figures.changes(changed), wide=True)


def _of_cells(found: Validation, name: str, of: str) -> Iterator[Figure]:
    for run in found.plan.of(REFERENCE, REPLAY):
        if name not in found.replay:
            return
        floor = found.records[run.key].replay[name].floor
        caption = (
            "Every cell alone under the input it had in the reference network, from rest; lines: medians."
        )
        if floor is not None:
            checked = (
                float(np.nanmedian(floor.check_gamma)) if np.isfinite(floor.check_gamma).any() else math.nan
            )
            caption += (
                f" Given this input, {found.reference.name} at its own step repeats its network's spikes "
                f"with Γ {_number(checked)}."
            )
        svg = figures.replayed(found.replay[name], floor)
        yield Figure(f"{of}decoupled replay", caption, svg, wide=True)


def _by_seed(found: Validation, side: str, duration: float) -> dict[int, dict[str, Any]]:
    seeds: dict[int, dict[str, Any]] = {}
    for name in found.sides.populations:
        for seed, statistics in found.sides.of(side, BASE, name, duration).items():
            seeds.setdefault(seed, {})[name] = statistics
    return seeds


def _runs(found: Validation) -> Iterator[list[str]]:
    for run in found.plan.runs:
        about = found.records[run.key].about
        side = found.reference.name if run.side == REFERENCE else SURROGATE
        condition = (
            "" if run.condition == BASE else f", {'finer step' if run.condition == FINE else run.condition}"
        )
        for name in found.sides.populations:
            numbers = summary_numbers(
                found.sides.of(run.side, run.condition, name, run.network.duration)[run.seed]
            )
            yield [
                f"{side}{condition}, seed {run.seed}, {name}",
                _UNKNOWN if run.step is None else f"{run.step:g}",
                *(_number(numbers[key]) for key in ("rate", "cv", "correlation", "rhythm")),
                str(numbers["silent"]),
                f"{about['outside_share'][name]:.3%}",
            ]


def _number(value: float, unit: str = "") -> str:
    return _UNKNOWN if math.isnan(value) else ("∞" if math.isinf(value) else f"{value:.4g}") + unit
