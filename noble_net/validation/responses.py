"""Verdicts on single cells under the reference's input, and on what changes of parameters do to rates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from noble_net.report.statistics import mean
from noble_net.types import Float64
from noble_net.validation.plan import BASE, REFERENCE, REPLAY, SURROGATE, Plan
from noble_net.validation.records import Record
from noble_net.validation.replay import CellErrors
from noble_net.validation.verdicts import Sides, Verdict


@dataclass(frozen=True)
class ChangeResponse:
    """A population's rate in a network changed by −share, 0 and +share: Hz, means over seeds, on both sides.

    ``slopes``: change of the rate per change of the parameter by itself, Hz, of each side, by seed.
    """

    kind: str
    about: str
    share: float
    population: str
    rates: Mapping[str, tuple[float, float, float]]
    slopes: Mapping[str, Float64]


def change_responses(plan: Plan, sides: Sides) -> list[ChangeResponse]:
    """Every change of the plan, for every population."""
    found = []
    duration = plan.settings.changed_duration
    for change in plan.changed:
        for name in sides.populations:
            rates, slopes = {}, {}
            for side in (REFERENCE, SURROGATE):
                down, as_is, up = (
                    sides.of(side, condition, name, duration)
                    for condition in (f"{change.kind}-down", BASE, f"{change.kind}-up")
                )
                seeds = list(down)
                by_seed = [
                    np.array([each[seed].rates.mean() for seed in seeds]) for each in (down, as_is, up)
                ]
                rates[side] = (mean(by_seed[0]), mean(by_seed[1]), mean(by_seed[2]))
                slopes[side] = (by_seed[2] - by_seed[0]) / (2.0 * change.share)
            found.append(ChangeResponse(change.kind, change.about, change.share, name, rates, slopes))
    return found


def change_verdicts(plan: Plan, found: list[ChangeResponse]) -> Iterator[Verdict]:
    """Right sign and slope: the error within a share of the reference's slope, or within what the reference's slope
    varies by from seed to seed. The sign is asked for where it stands out of that."""
    tolerance = plan.settings.tolerances.slope
    for each in found:
        reference, surrogate = (mean(each.slopes[side]) for side in (REFERENCE, SURROGATE))
        own = each.slopes[REFERENCE]
        noise = float(np.abs(own - own.mean()).max()) if len(own) > 1 else math.nan
        shares = {"tolerance": tolerance * abs(reference), "the reference's seeds": noise}
        known = {name: value for name, value in shares.items() if not math.isnan(value)}
        limit = max(known.values())
        error = abs(surrogate - reference)
        sign_asked = math.isnan(noise) or abs(reference) > noise
        right = not sign_asked or surrogate * reference > 0.0 or reference == 0.0
        silent = not any(rate for side in each.rates.values() for rate in side)
        yield Verdict(
            "change",
            each.population,
            f"slope with {each.kind} ± {100 * each.share:g} %",
            error,
            limit,
            "Hz",
            None if silent else bool(right and error <= limit),
            "silent on both sides"
            if silent
            else max(known, key=lambda name: known[name])
            if right
            else "wrong sign",
            {"surrogate Hz": surrogate, "reference Hz": reference, "seeds Hz": noise},
        )


def replay_verdicts(
    plan: Plan, records: Mapping[str, Record], errors: Mapping[str, CellErrors]
) -> Iterator[Verdict]:
    """Medians over cells of Γ and of clipped explained variance: at most so far below the reference's own floor."""
    tolerances = plan.settings.tolerances
    for run, (name, found) in product(plan.of(REFERENCE, REPLAY), errors.items()):
        floor = records[run.key].replay[name].floor
        gammas = None if floor is None else floor.gamma
        terms = {"pooled": found.pooled}
        yield _at_least(name, "median Γ(±2 ms)", found.gamma, gammas, tolerances.gamma, terms)
        explained, own = found.explained_variance, None if floor is None else floor.explained_variance
        yield _at_least(name, "median clipped EV", explained, own, tolerances.explained_variance, {})


def _at_least(
    name: str,
    measure: str,
    values: Float64,
    floor: Float64 | None,
    tolerance: float,
    terms: Mapping[str, float],
) -> Verdict:
    value, lowest = _median(values), math.nan if floor is None else _median(floor)
    limit = (1.0 if math.isnan(lowest) else lowest) - tolerance
    holds = None if math.isnan(value) else bool(value >= limit)
    source = "perfect answer" if math.isnan(lowest) else "the reference's step"
    told = {"floor": lowest, **terms, "cells": float(np.isfinite(values).sum())}
    source = "no cell to judge" if holds is None else source
    return Verdict("replay", name, measure, value, limit, "", holds, source, told, "≥")


def _median(values: Float64) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else math.nan
