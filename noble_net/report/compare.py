"""How far apart runs of the same network are: distributions of rate, CV and correlation, and the rates cell
by cell.

Definitions: distributions are compared by earth mover's distance (EMD). Where runs of a reference backend
with several seeds are among them, their own seed-to-seed distance is the yardstick: a backend is as good as
the reference where median EMD(Sᵢ, Nⱼ) over different seeds i ≠ j is no larger than median EMD(Nᵢ, Nⱼ).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from noble_net.errors import OutputError
from noble_net.output import saving, write_text
from noble_net.report.statistics import PopulationStatistics, earth_movers_distance, mean, statistics
from noble_net.results import Results, load_results
from noble_net.types import Float64

REFERENCE = "neuron"
"""The backend whose seed-to-seed distance is the yardstick."""

MEASURES: Mapping[str, Callable[[PopulationStatistics], Float64]] = {
    "rate": lambda population: population.rates,
    "cv": lambda population: population.cv,
    "correlation": lambda population: population.correlations,
}
"""The distributions compared: firing rate (Hz), CV of intervals, pairwise spike-count correlation."""


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs: its short name, where it lies, the seed of its noise, its populations' statistics."""

    label: str
    path: Path
    backend: str
    seed: int | None
    duration: float
    statistics: Mapping[str, PopulationStatistics]


@dataclass(frozen=True)
class Pair:
    """Two runs of one population: EMD of each measure, and Pearson correlation of the rates cell by cell."""

    population: str
    first: str
    second: str
    rate: float
    cv: float
    correlation: float
    rate_correlation: float


@dataclass(frozen=True)
class Yardstick:
    """A backend against the reference, one measure of one population.

    ``between``: median EMD of its runs to reference runs of other seeds, over ``pairs`` pairs; ``within``:
    the same among reference runs; ``ratio`` of the two. NaN where undefined.
    """

    population: str
    measure: str
    backend: str
    between: float
    within: float
    ratio: float
    pairs: int


@dataclass(frozen=True)
class Comparison:
    """What `compare_runs` found. ``notes`` tells what limits its meaning."""

    runs: tuple[ComparedRun, ...]
    populations: tuple[str, ...]
    pairs: tuple[Pair, ...]
    yardsticks: tuple[Yardstick, ...]
    mean_rate_correlation: Mapping[str, Mapping[str, float]]
    """For each backend and population: Pearson correlation with the reference of the cells' rates, each
    averaged
    over that backend's runs."""
    notes: tuple[str, ...] = ()

    def table(self) -> str:
        """Everything as plain text."""
        from noble_net.report.compare_table import table

        return table(self)

    def to_json(self) -> str:
        """Everything as a JSON object; undefined values are null."""
        runs = [
            {
                "label": run.label,
                "path": str(run.path),
                "backend": run.backend,
                "seed": run.seed,
                "duration_ms": run.duration,
                "populations": {name: summary_numbers(run.statistics[name]) for name in self.populations},
            }
            for run in self.runs
        ]
        content = {
            "runs": runs,
            "pairs": [asdict(pair) for pair in self.pairs],
            "yardsticks": [asdict(found) for found in self.yardsticks],
            "mean_rate_correlation": self.mean_rate_correlation,
            "notes": self.notes,
        }
        return json.dumps(_without_nan(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def compare_runs(runs: Sequence[Path | str], out: Path | str | None = None) -> Comparison:
    """Compare two or more runs of the same network, say on two backends or with several seeds.

    With ``out``, also write compare.html and compare.json into that folder. OutputError when fewer than two
    runs are given, their populations or sizes differ (naming what differs), or a file cannot be read or
    written.
    """
    if len(runs) < 2:
        raise OutputError("A comparison needs two runs or more; give their directories.")
    results = [load_results(run) for run in runs]
    _require_same_populations(results)
    comparison = _compare(results)
    if out is not None:
        from noble_net.report.compare_page import page

        out = Path(out)
        with saving(out):
            out.mkdir(parents=True, exist_ok=True)
        write_text(out / "compare.html", page(comparison))
        write_text(out / "compare.json", comparison.to_json())
    return comparison


def _require_same_populations(results: Sequence[Results]) -> None:
    first = results[0]
    sizes = {name: first.size(name) for name in first.populations}
    for other in results[1:]:
        differing = [
            f"{name!r} is only in {(first if name in sizes else other).path}"
            for name in sorted(set(sizes) ^ set(other.populations))
        ]
        differing += [
            f"{name!r} has {size} cells in {first.path} and {other.size(name)} in {other.path}"
            for name, size in sizes.items()
            if name in other.populations and other.size(name) != size
        ]
        if differing:
            raise OutputError(
                f"These runs cannot be compared: {'; '.join(differing)}. Compare runs of one network."
            )


def _compare(results: Sequence[Results]) -> Comparison:
    names = _labels([one.path for one in results])
    runs = tuple(
        ComparedRun(name, one.path, one.backend, one.noise_seed, one.duration, statistics(one))
        for name, one in zip(names, results, strict=True)
    )
    populations = results[0].populations
    pairs = tuple(_pair(a, b, name) for name in populations for a, b in combinations(runs, 2))
    return Comparison(
        runs=runs,
        populations=populations,
        pairs=pairs,
        yardsticks=tuple(_yardsticks(runs, populations)),
        mean_rate_correlation=_mean_rate_correlations(runs, populations),
        notes=tuple(_notes(results)),
    )


def _labels(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    parts = [path.resolve().parts for path in paths]
    for depth in range(1, max(len(part) for part in parts) + 1):
        labels = ["/".join(part[-depth:]) for part in parts]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{path} ({number})" for number, path in enumerate(paths, 1)]


def _pair(a: ComparedRun, b: ComparedRun, name: str) -> Pair:
    one, two = a.statistics[name], b.statistics[name]
    distances = {key: earth_movers_distance(of(one), of(two)) for key, of in MEASURES.items()}
    return Pair(name, a.label, b.label, **distances, rate_correlation=_pearson(one.rates, two.rates))


def _pearson(a: Float64, b: Float64) -> float:
    if len(a) < 2 or a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _other_backends(runs: Sequence[ComparedRun]) -> list[str]:
    present = dict.fromkeys(run.backend for run in runs)
    return [backend for backend in present if backend != REFERENCE] if REFERENCE in present else []


def _differ(a: ComparedRun, b: ComparedRun) -> bool:
    return a is not b and (a.seed is None or a.seed != b.seed)


def _yardsticks(runs: Sequence[ComparedRun], populations: Sequence[str]) -> list[Yardstick]:
    reference = [run for run in runs if run.backend == REFERENCE]
    among = [(a, b) for a, b in combinations(reference, 2) if _differ(a, b)]
    found = []
    for backend, name in product(_other_backends(runs) if among else (), populations):
        across = [(s, n) for s in runs if s.backend == backend for n in reference if _differ(s, n)]
        for measure, of in MEASURES.items():
            between = _median_distance(across, name, of)
            within = _median_distance(among, name, of)
            ratio = between / within if within > 0 else float("nan")
            found.append(Yardstick(name, measure, backend, between, within, ratio, len(across)))
    return found


def _median_distance(
    pairs: Sequence[tuple[ComparedRun, ComparedRun]], name: str, of: Callable[[PopulationStatistics], Float64]
) -> float:
    distances = [earth_movers_distance(of(a.statistics[name]), of(b.statistics[name])) for a, b in pairs]
    known = [distance for distance in distances if not np.isnan(distance)]
    return median(known) if known else float("nan")


def _mean_rate_correlations(
    runs: Sequence[ComparedRun], populations: Sequence[str]
) -> dict[str, dict[str, float]]:
    def mean_rates(backend: str, name: str) -> Float64:
        rates = [run.statistics[name].rates for run in runs if run.backend == backend]
        return np.asarray(np.mean(rates, axis=0), np.float64)

    return {
        backend: {
            name: _pearson(mean_rates(backend, name), mean_rates(REFERENCE, name)) for name in populations
        }
        for backend in _other_backends(runs)
    }


def _notes(results: Sequence[Results]) -> list[str]:
    notes = []
    durations = sorted({one.duration for one in results})
    if len(durations) > 1:
        times = ", ".join(f"{duration / 1000:g} s" for duration in durations)
        notes.append(
            f"The runs differ in length ({times}): distances shrink with time, so compare equal lengths."
        )
    for name in results[0].populations:
        cells = [one.nodes(name) for one in results]
        if any(not cells[0].equals(other) for other in cells[1:]):
            notes.append(
                f"The cells of {name} differ between the runs: comparing rates cell by cell means little."
            )
    for one in results:
        if not one.summary.get("completed", True):
            notes.append(f"{one.path} was interrupted after {one.duration / 1000:g} s.")
    return notes


def summary_numbers(population: PopulationStatistics) -> dict[str, float]:
    """Mean rate (Hz), CV and correlation, frequency of a clear rhythm (Hz, else NaN), silent cells."""
    means = {key: mean(of(population)) for key, of in MEASURES.items()}
    rhythm = population.spectrum.peak if population.spectrum.is_clear else float("nan")
    return {**means, "rhythm": rhythm, "silent": int((population.counts == 0).sum())}


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
