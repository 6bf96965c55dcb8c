"""Population heterogeneity: the spread of a network's cells swept from identical to the family's own.

Runs of one seed and condition differ in nothing but the spread: edges, noise and the draw of cells are keyed by the
seed, and the spread contracts each drawn cell towards the medoid. Differences between spreads are therefore paired.
Every run has its own folder and is done when that says so, so a study that was cut off goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from noble_net.config import NetworkSpec, dump_network, load_network, network_from
from noble_net.errors import ConfigError, NobleNetError, OutputError
from noble_net.network.stimuli import shared_signal
from noble_net.output import read_json, saving
from noble_net.processes import in_processes
from noble_net.registry import find_network
from noble_net.report.statistics import RATE_BIN, PopulationStatistics, mean
from noble_net.results import Results, load_results
from noble_net.specs.specification import nearest
from noble_net.specs.studies import PopulationStudySpec, StudySpec
from noble_net.study.information import Information, information_rate, synchrony
from noble_net.study.overrides import as_data, overridden, replace
from noble_net.types import DT, Float64

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[float, float], None]

AS_IS = "as-is"
"""The condition of a study without conditions: the network as it is."""
MEASURES = (
    "rate_hz",
    "rate_std_hz",
    "silent_share",
    "cv",
    "correlation",
    "synchrony_chi",
    "peak_hz",
    "peak_contrast",
    "information_bits_s",
)
"""What is measured of every population in every run, in the order of the table."""


class Run(NamedTuple):
    """One run: where it stands in the study, its network and its folder."""

    condition: str
    spread: float
    seed: int
    network: NetworkSpec
    folder: Path


def plan(study: StudySpec, out: Path) -> list[Run]:
    """Every run of the study, each network checked, none run.

    Raises ConfigError at the study's line for an unknown network, population, signal or override, or a network that an
    override would make wrong; and for a population without a family to vary.
    """
    spec = _population(study)
    base = overridden(study, ("population", "set"), _network(study, spec), spec.overrides)
    vary = _varied(study, spec, base)
    conditions: Mapping[str, Mapping[str, Any]] = spec.conditions or {AS_IS: {}}
    runs = []
    for condition, overrides in conditions.items():
        network = overridden(study, ("population", "conditions", condition), base, overrides)
        _check(study, condition, spec, network)
        for spread in spec.spreads:
            for seed in spec.seeds:
                data = replace(as_data(network), "seed", seed)
                for name in vary:
                    data = replace(data, f"populations.{name}.sample.spread", spread)
                key = f"{condition}-spread-{spread:g}-seed-{seed}"
                runs.append(Run(condition, spread, seed, network_from(data), out / "runs" / key))
    return runs


def run_population(
    study: StudySpec,
    out: Path,
    *,
    jobs: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Run what is missing, on ``jobs`` processes of one thread each, and return the table: a row per run and
    population.

    Raises as `plan`, and OutputError when a folder holds a run of another study (unless ``overwrite``).
    """
    import pandas as pd

    runs = plan(study, out)
    todo = [run for run in runs if not is_done(run, overwrite)]
    with saving(out):
        (out / "runs").mkdir(parents=True, exist_ok=True)
    done = len(runs) - len(todo)
    if progress is not None:
        progress(done, len(runs))
    tasks = [(as_data(run.network), str(run.folder)) for run in todo]
    for _ in in_processes(simulate_one, tasks, jobs) if jobs != 1 else map(simulate_one, tasks):
        done += 1
        if progress is not None:
            progress(done, len(runs))
    measured = partial(measures, signal=_population(study).signal)
    return pd.DataFrame([row for run in runs for row in rows(run, measured)])


def is_done(run: Run, overwrite: bool = False) -> bool:
    """Whether this very run is complete in its folder.

    Raises OutputError when the folder holds a run of another network, unless ``overwrite`` allows to replace it.
    """
    wanted, written = dump_network(run.network), run.folder / "network.yaml"
    if not (run.folder / "summary.json").is_file() or not written.is_file():
        return False
    if written.read_text(encoding="utf-8") != wanted:
        if overwrite:
            return False
        raise OutputError(
            f"{run.folder}: holds a run of another network than the study asks for now. "
            "Give another folder, or ask to overwrite it (--overwrite)."
        )
    return bool(read_json(run.folder / "summary.json", "summary").get("completed"))


def simulate_one(task: tuple[dict[str, Any], str]) -> str:
    """Run one network (plain data) into a folder, on one thread; returns the folder."""
    from noble_net.simulation import simulate

    data, folder = task
    simulate(network_from(data), out=folder, threads=1, overwrite=True, report=False)
    return folder


def rows(
    run: Run, measured: Callable[[Results, NetworkSpec, str], dict[str, float]]
) -> Iterator[dict[str, Any]]:
    """One row per population of a finished run."""
    results = load_results(run.folder)
    for name in results.populations:
        place = {"condition": run.condition, "spread": run.spread, "seed": run.seed, "population": name}
        yield {**place, **measured(results, run.network, name)}


def measures(
    results: Results, network: NetworkSpec, name: str, signal: str | None = None
) -> dict[str, float]:
    """MEASURES of one population. NaN where undefined; information only for the population the signal goes to."""
    found = PopulationStatistics.of(results, name)
    told = next(
        (network.population_of(each.to) == name for each in network.stimuli if each.name == signal), False
    )
    return {
        "rate_hz": float(found.rates.mean()),
        "rate_std_hz": float(found.rates.std()),
        "silent_share": float((found.counts == 0).mean()),
        "cv": mean(found.cv),
        "correlation": mean(found.correlations),
        "synchrony_chi": synchrony(found.trains, found.duration),
        "peak_hz": found.spectrum.peak if found.spectrum.is_clear else np.nan,
        "peak_contrast": found.spectrum.contrast,
        "information_bits_s": information_about(signal, network, found).rate if told and signal else np.nan,
    }


def information_about(signal: str, network: NetworkSpec, found: PopulationStatistics) -> Information:
    """What a population's rate, in bins of 1 ms, tells about a shared stimulus of its network: a lower bound."""
    samples = shared_signal(network, signal)
    per_bin = round(RATE_BIN / DT)
    bins = min(len(samples) // per_bin, len(found.population_rate))
    averaged: Float64 = samples[: bins * per_bin].reshape(bins, per_bin).mean(axis=1)
    return information_rate(averaged, found.population_rate[:bins], RATE_BIN)


def _population(study: StudySpec) -> PopulationStudySpec:
    if study.population is None:
        raise ValueError(f"study {study.name} is not one of a population")
    return study.population


def _network(study: StudySpec, spec: PopulationStudySpec) -> NetworkSpec:
    beside = study.folder / spec.network
    try:
        return load_network(beside if beside.is_file() else find_network(spec.network))
    except ConfigError as error:
        if error.line is not None:  # the network itself is wrong: its own file and line say more
            raise
        raise study.error(("population", "network"), error.problem, error.remedy) from error
    except NobleNetError as error:
        raise study.error(("population", "network"), str(error)) from error


def _varied(study: StudySpec, spec: PopulationStudySpec, network: NetworkSpec) -> tuple[str, ...]:
    """The populations whose spread is swept."""
    having = [
        name
        for name, each in network.populations.items()
        if each.family is not None and each.sample.source != "fixed"
    ]
    for index, name in enumerate(spec.vary):
        place = ("population", "vary", index)
        if name not in network.populations:
            raise study.error(place, "unknown population", nearest(name, network.populations))
        if name not in having:
            raise study.error(
                place, "has no family to draw different cells from", f"vary one of: {', '.join(having)}"
            )
    if not having:
        problem = (
            f"no population of network {network.name} draws cells from a family: there is no spread to vary"
        )
        raise study.error(("population", "network"), problem, "give another network")
    return spec.vary or tuple(having)


def _check(study: StudySpec, condition: str, spec: PopulationStudySpec, network: NetworkSpec) -> None:
    """What needs the cores: zones and delays; and that the signal is there and shared."""
    from noble_net.network.check import check_network
    from noble_net.simulation import load_parts

    place = ("population", "conditions", condition) if spec.conditions else ("population", "network")
    try:
        cores, _ = load_parts(network)
        check_network(network, {name: core.info for name, core in cores.items()})
    except ConfigError as error:
        raise study.error(place, f"{error.key}: {error.problem}", error.remedy) from None
    if not network.record.spikes:
        raise study.error(place, "the network records no spikes to measure", "write `record.spikes: all`")
    if spec.signal is None:
        return
    shared = [each.name or "" for each in network.stimuli if (ou := each.ornstein_uhlenbeck) and ou.shared]
    if spec.signal not in shared:
        problem = f"{condition}: no shared stimulus {spec.signal!r}"
        remedy = (
            nearest(spec.signal, shared) if shared else "add `shared: true` to a named ornstein_uhlenbeck"
        )
        raise study.error(("population", "signal"), problem, remedy)
