"""What is asked of a network that holds, and whether it does: a verdict for every population and measure.

Definitions. N: reference runs, S: surrogate runs, i and j: noise seeds. Distributions over cells (or pairs of cells)
are compared by earth mover's distance (EMD), medians over pairs i ≠ j:

    EMD(Sᵢ, Nⱼ) ≤ max(1.15·EMD(Nᵢ, Nⱼ), EMD(N at its step, N at the finer step))

Cells and edges are the same throughout. Seeds alone would hold a surrogate to less than the reference's own step is
worth; redrawn cells would hide a bias of some per cent. Hence both terms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from statistics import median
from typing import Any

import numpy as np

from noble_net.report.compare import MEASURES
from noble_net.report.statistics import PopulationStatistics, earth_movers_distance, mean
from noble_net.types import Float64
from noble_net.validation.plan import BASE, FINE, REFERENCE, SURROGATE, Plan
from noble_net.validation.records import Record

BySeed = Mapping[int, PopulationStatistics]


@dataclass(frozen=True)
class Verdict:
    """One number, what it is held against, and whether it holds; None: there is nothing to judge.

    ``relation`` of the value to the limit where it holds: ≤ or ≥. ``yardstick``: where the limit comes from.
    ``terms``: the numbers that it is made of.
    """

    part: str
    population: str
    measure: str
    value: float
    limit: float
    unit: str
    holds: bool | None
    yardstick: str
    terms: Mapping[str, float] = field(default_factory=dict)
    relation: str = "≤"


@dataclass(frozen=True)
class Distances:
    """EMD of one measure of one population after a simulated duration (ms): medians, NaN where there is none.

    ``across``: surrogate to reference; ``within``: the reference from seed to seed; ``fine``: the reference to itself
    at the finer step.
    """

    population: str
    measure: str
    duration: float
    across: float
    within: float
    fine: float


class Sides:
    """The statistics of a plan's runs: by side, condition, population and seed, over any first part of their time."""

    def __init__(self, plan: Plan, records: Mapping[str, Record]) -> None:
        self._records = {(run.side, run.condition, run.seed): records[run.key] for run in plan.runs}
        self._durations = {(run.side, run.condition, run.seed): run.network.duration for run in plan.runs}
        self._known: dict[tuple[str, str, str, float], dict[int, PopulationStatistics]] = {}
        self.populations = tuple(plan.network.populations)

    def of(self, side: str, condition: str, population: str, duration: float) -> BySeed:
        """Statistics by seed over the first ``duration`` ms after the warm-up; empty where there are no such runs."""
        key = side, condition, population, duration
        if key not in self._known:
            self._known[key] = {
                seed: PopulationStatistics(
                    population, [train[train < duration] for train in record.trains[population]], duration
                )
                for (of, under, seed), record in self._records.items()
                if (of, under) == (side, condition) and self._durations[of, under, seed] >= duration
            }
        return self._known[key]


def distances(plan: Plan, sides: Sides) -> list[Distances]:
    """Every measure of every population after every duration of the settings."""
    found = []
    for name, duration in product(sides.populations, plan.settings.times):
        reference, surrogate, fine = (
            sides.of(side, condition, name, duration)
            for side, condition in ((REFERENCE, BASE), (SURROGATE, BASE), (REFERENCE, FINE))
        )
        across = [(surrogate[i], reference[j]) for i in surrogate for j in reference if i != j]
        within = [(reference[i], reference[j]) for i, j in combinations(reference, 2)]
        finer = [(reference[i], fine[i]) for i in fine]
        for measure, of in MEASURES.items():
            medians = (_median_distance(pairs, of) for pairs in (across, within, finer))
            found.append(Distances(name, measure, duration, *medians))
    return found


def distribution_verdicts(plan: Plan, found: Sequence[Distances]) -> Iterator[Verdict]:
    """Rates, CV of intervals and correlations after the whole duration."""
    ratio = plan.settings.tolerances.emd_ratio
    units = {"rate": "Hz"}
    for each in found:
        if each.duration != plan.settings.times[-1]:
            continue
        terms = {f"{ratio:g} × seed to seed": ratio * each.within, "the reference's step": each.fine}
        known = {name: value for name, value in terms.items() if not math.isnan(value)}
        limit = max(known.values(), default=math.nan)
        holds = None if math.isnan(each.across) or not math.isfinite(limit) else each.across <= limit
        source = max(known, key=lambda name: known[name]) if known else "undefined in the reference"
        if math.isinf(limit):
            source = "undefined in some of the reference's runs"
        elif math.isinf(each.across) and holds is False:
            source = "undefined on one side alone"
        yield Verdict(
            "network",
            each.population,
            f"EMD of {each.measure}",
            each.across,
            limit,
            units.get(each.measure, ""),
            holds,
            source,
            {"seed to seed": each.within, "finer step": each.fine},
        )


def rate_verdicts(plan: Plan, sides: Sides) -> Iterator[Verdict]:
    """Mean rates: within a share, or the bias that the reference's own step has."""
    duration, tolerance = plan.settings.times[-1], plan.settings.tolerances.rate
    for name in sides.populations:
        reference = _mean_rate(sides.of(REFERENCE, BASE, name, duration))
        surrogate = _mean_rate(sides.of(SURROGATE, BASE, name, duration))
        fine = sides.of(REFERENCE, FINE, name, duration)
        same = {
            seed: each for seed, each in sides.of(REFERENCE, BASE, name, duration).items() if seed in fine
        }
        bias = abs(_relative(_mean_rate(same), _mean_rate(fine))) if fine else math.nan
        error = _relative(surrogate, reference)
        limit = tolerance if math.isnan(bias) else max(tolerance, bias)
        silent = reference == 0.0 and surrogate == 0.0
        yield Verdict(
            "network",
            name,
            "mean rate",
            100 * abs(error),
            100 * limit,
            "%",
            None if silent else bool(abs(error) <= limit),
            "silent on both sides"
            if silent
            else "the reference's step"
            if limit > tolerance
            else "tolerance",
            {"surrogate Hz": surrogate, "reference Hz": reference, "bias of the step %": 100 * bias},
        )


def rhythm_verdicts(plan: Plan, sides: Sides) -> Iterator[Verdict]:
    """The spectral peak of the population rate, where most runs of either side show a clear one.

    A rhythm on one side alone is an error of its own frequency, as if the other side's were 0 Hz.
    """
    duration, tolerance = plan.settings.times[-1], plan.settings.tolerances.peak
    for name in sides.populations:
        reference, surrogate = (
            _peak(sides.of(side, BASE, name, duration)) for side in (REFERENCE, SURROGATE)
        )
        error = abs(surrogate - reference)
        terms = {"surrogate Hz": surrogate, "reference Hz": reference}
        if math.isnan(reference) and math.isnan(surrogate):
            holds, source = None, "no clear rhythm on either side"
        elif math.isnan(error):
            side = "surrogate" if math.isnan(reference) else "reference"
            holds, source = False, f"a clear rhythm on the {side} alone"
            error = surrogate if math.isnan(reference) else reference
        else:
            holds, source = bool(error <= tolerance), "tolerance"
        yield Verdict("network", name, "spectral peak", error, tolerance, "Hz", holds, source, terms)


def overall(verdicts: Sequence[Verdict]) -> bool:
    """Whether everything that can be judged holds, and something can."""
    judged = [each.holds for each in verdicts if each.holds is not None]
    return bool(judged) and all(judged)


def without_nan(value: Any) -> Any:
    """Plain data for JSON: what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return without_nan(value.tolist())
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, np.generic):
        return without_nan(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def distance(a: Float64, b: Float64) -> float:
    """EMD; infinite where only one of the distributions has values, NaN where none has."""
    known = [bool(np.isfinite(each).any()) for each in (a, b)]
    if all(known):
        return earth_movers_distance(a, b)
    return math.inf if any(known) else math.nan


def _median_distance(
    pairs: Sequence[tuple[PopulationStatistics, PopulationStatistics]],
    of: Callable[[PopulationStatistics], Float64],
) -> float:
    known = [each for a, b in pairs if not math.isnan(each := distance(of(a), of(b)))]
    return median(known) if known else math.nan


def _mean_rate(runs: BySeed) -> float:
    return mean([each.rates.mean() for each in runs.values()])


def _relative(value: float, reference: float) -> float:
    """value/reference − 1; infinite against silence, 0 where both are silent."""
    if reference == 0.0:
        return math.inf if value else 0.0
    return value / reference - 1.0


def _peak(runs: BySeed) -> float:
    """Median frequency of the clear peaks, if most runs have one, Hz."""
    clear = [each.spectrum.peak for each in runs.values() if each.spectrum.is_clear]
    return median(clear) if 2 * len(clear) > len(runs) else math.nan
