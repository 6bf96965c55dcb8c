"""Networks on the surrogate held against the same in NEURON (see docs/validation.md), and the speed of pv-small.

    python benchmarks/network.py [NETWORK ...]        of pv-small, pv-gamma, pv-gamma-identical; else all
    python benchmarks/network.py pv-gamma --base      by the kept base runs alone: NEURON is not run, a minute a network
    noble-net validate cortex --reference coreneuron --seeds 3 --fine-seeds 0 --duration "1 s" --warmup "200 ms" \
        --no-changes --no-replay --reference-data benchmarks/results/references/cortex
                                                      makes such runs, here in CoreNEURON

NEURON's runs are kept in results/references/NETWORK, those on the surrogate in runs/benchmark: what is finished is not
run again. Speed needs [reference], and the rest where NEURON's runs are missing: an hour of one core a network. With
`--base` there is no finer step, no replay and no change of parameters, and rows say so. The tables and figures of
docs/validation.md are made anew at the end.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any

import network_page
from scoreboard import RESULTS, Target, record

from noble_net import find_network, load_network, simulate
from noble_net.commands.validate import closing_lines
from noble_net.config import NetworkSpec
from noble_net.reference.neuron_network import simulate_neuron
from noble_net.specs.validation import ValidationSpec, settings_from
from noble_net.validation.backends import CALLED, Surrogate
from noble_net.validation.backends import REFERENCES as BY_NAME
from noble_net.validation.plan import BASE, FINE, REFERENCE, make_plan
from noble_net.validation.records import INDEX
from noble_net.validation.validate import Validation, validate
from noble_net.validation.verdicts import Verdict

COMMAND = "python benchmarks/network.py"
SMALL = "pv-small"
NETWORKS = (SMALL, "pv-gamma", "pv-gamma-identical")
"""Driven by fluctuations; by their mean, in a gamma rhythm, of different and of identical cells."""
REFERENCES = RESULTS / "references"
FOLDER = Path("runs/benchmark")
TIMED = "500 ms"
REPLAYED = "2 s"
"""Of the replay of cells that the core was trained on, besides the warm-up."""
REPEATS = 5
BACKENDS = {"neuron": simulate_neuron, "surrogate": simulate}


def main() -> None:
    """Of each network: run what is missing, judge, record; then time, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), metavar="NETWORK")
    parser.add_argument("--base", action="store_true", help="judge by the kept base runs alone")
    asked = parser.parse_args()
    for name in asked.networks:
        spec, kept = load_network(find_network(name)), REFERENCES / name
        reference, settings = base_settings(spec, kept) if asked.base else ("neuron", None)
        found = validate(spec, reference, out=FOLDER / name, settings=settings, reference_data=kept)
        print("\n".join(closing_lines(found)))
        (RESULTS / f"{name}.json").write_text(found.to_json(), encoding="utf-8")
        command = f"{COMMAND} {name} --base" if asked.base else f"{COMMAND} {name}"
        put(judged(name, found, command), whole=True)
        if name == SMALL and not asked.base:
            put(
                [
                    *accuracy(found),
                    *closed_loop(found, "unseen", "≥ -0.04"),
                    *closed_loop(seen(), "seen", "≥ -0.02"),
                ]
            )
            put([timed()])
    network_page.write()


def put(rows: list[Target], whole: bool = False) -> None:
    """Record rows, and print them."""
    record(rows, whole)
    for target in rows:
        print(target.line())


def base_settings(network: NetworkSpec, folder: Path) -> tuple[str, ValidationSpec]:
    """A reference, and settings that ask for its base runs kept in a folder and for nothing else: of those of one
    length, the most seeds.

    SystemExit, naming the runs, where they are of another network than this.
    """
    alike: dict[tuple[float, float, str], list[int]] = {}
    for each in json.loads((folder / INDEX).read_text(encoding="utf-8")).values():
        if each["condition"] == BASE:
            kind = each["duration_ms"], each["warmup_ms"], each["backend"]
            alike.setdefault(kind, []).append(each["noise_seed"])
    (duration, warmup, reference), seeds = max(alike.items(), key=lambda item: (len(set(item[1])), item[0]))
    content: dict[str, Any] = {"seeds": sorted(set(seeds)), "fine_seeds": 0, "replay": None, "changes": None}
    settings = settings_from({**content, "duration": f"{duration} ms", "warmup": f"{warmup} ms"})
    plan = make_plan(network, BY_NAME[reference], Surrogate(), settings)
    wanted = {f"{run.key}.npz": run.name for run in plan.of(REFERENCE, BASE)}
    missing = [f"{run} ({file})" for file, run in wanted.items() if not (folder / file).is_file()]
    if missing:
        raise SystemExit(f"{folder}: no such run, was the network changed? {'; '.join(missing)}")
    return reference, settings


def timed() -> Target:
    """The row of the speed."""
    ratio, times = speed()
    about = (
        f"run phase of pv-small, {TIMED} after 200 ms, alternating, medians of {REPEATS}: serial NEURON "
        f"{times['neuron']:.2f} s, surrogate {times['surrogate']:.3f} s on 2 threads; 2 CPU cores, NEURON 9 at "
        "dt 0.025 ms, 121 segments a cell; the issue sets no number"
    )
    return Target(2, "pv-small: times faster than serial NEURON", "≥ 1", ratio, "×", about, COMMAND)


def accuracy(found: Validation) -> list[Target]:
    """Rows of what the validation measured."""
    settings = found.plan.settings
    conditions = (
        f"pv-small (50 held-out members), {settings.duration / 1000:g} s after {settings.warmup / 1000:g} s, noise "
        f"seeds {settings.seeds}; medians over seeds i ≠ j, NEURON at dt 0.025 ms, Crank–Nicolson"
    )
    rows = [
        Target(
            2,
            f"pv-small against NEURON: EMD of {each.measure} over seed-to-seed EMD",
            "≤ 1.25",
            each.across / each.within,
            "",
            f"{conditions}; {each.across:.3g} against {each.within:.3g}, {each.fine:.3g} at dt/5",
            COMMAND,
        )
        for each in found.distances
        if each.duration == settings.duration
    ]
    means = [mean_rates(found, side) for side in ("surrogate", "reference")]
    rate = statistics.correlation(*means)
    rows.append(Target(2, "pv-small: rate per cell, correlation", "≥ 0.98", rate, "", conditions, COMMAND))
    return rows


def judged(network: str, found: Validation, command: str) -> list[Target]:
    """A row for every verdict of the validation; it names the population where the network has several."""
    several = len(found.sides.populations) > 1
    rows = []
    for each in found.verdicts:
        if each.holds is None:
            continue
        part = f"{each.part}, {each.population}" if several else each.part
        name = f"{network} against {CALLED[found.reference.name]}, {part}: {each.measure}"
        rows.append(Target(6, name, *held_against(each), conditions(each, found), command))
    return rows


def held_against(verdict: Verdict) -> tuple[str, float, str]:
    """Target, value and unit of a verdict's row, which say what the verdict says.

    Where one side alone has any spikes, or intervals, or pairs, there is no distance: the row counts that side. Where a
    limit is kept that does not decide, as with a slope of the wrong sign, nothing is allowed.
    """
    if not math.isfinite(verdict.value):
        return "= 0", 1.0, "side without any"
    lost = verdict.yardstick == "wrong sign" or (not verdict.holds and verdict.value <= verdict.limit)
    limit = 0.0 if lost and verdict.relation == "≤" else verdict.limit
    return f"{verdict.relation} {limit:.4g}", verdict.value, verdict.unit


def conditions(verdict: Verdict, found: Validation) -> str:
    """What a row was measured from, and what its limit was."""
    terms = [f"{name} {value:.3g}" for name, value in verdict.terms.items() if math.isfinite(value)]
    told = [f"{verdict.population}; limit: {verdict.yardstick}", ", ".join(terms)]
    if not found.plan.of(REFERENCE, FINE):
        settings = found.plan.settings
        told.append(
            f"noise seeds {', '.join(map(str, settings.seeds))}, {settings.duration / 1000:g} s after "
            f"{settings.warmup / 1000:g} s; no finer step was run, so the limit has no part of it"
        )
    return "; ".join(part for part in told if part)


def seen() -> Validation:
    """The replay of `SMALL` with cells that the core was trained on: two seeds, nothing else."""
    spec = load_network(find_network(SMALL))
    pv = spec.populations["pv"]
    trained_on = pv.model_copy(update={"sample": pv.sample.model_copy(update={"role": "train"})})
    name = f"{SMALL}-seen"
    spec = spec.model_copy(update={"name": name, "populations": {"pv": trained_on}})
    settings = settings_from({"seeds": [1, 2], "fine_seeds": 0, "duration": REPLAYED, "changes": None})
    return validate(spec, "neuron", out=FOLDER / name, settings=settings, reference_data=REFERENCES / name)


def closed_loop(found: Validation, kind: str, limit: str) -> list[Target]:
    """Spike times of a ``kind`` of members under the input they had in the network: a row of the core's issue."""
    about = f"decoupled replay of {SMALL}, {kind} members, median over cells; floor: NEURON at dt/5, likewise"
    return [
        Target(
            4,
            f"pv-stream, {kind}: Γ less the floor's, input recorded from a network",
            limit,
            each.value - each.terms["floor"],
            "",
            about,
            COMMAND,
        )
        for each in found.verdicts
        if each.part == "replay" and each.measure.startswith("median Γ")
    ]


def mean_rates(found: Validation, side: str) -> list[float]:
    """The cells' rates, each averaged over seeds, Hz."""
    runs = found.sides.of(side, "base", "pv", found.plan.settings.duration)
    return [statistics.fmean(rates) for rates in zip(*(each.rates for each in runs.values()), strict=True)]


def speed() -> tuple[float, dict[str, float]]:
    """NEURON's run phase over the surrogate's, and both in seconds: medians of alternating runs."""
    spec = load_network(find_network("pv-small"), {"duration": TIMED})
    seconds: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
    for _ in range(REPEATS):
        for backend, run in BACKENDS.items():
            results = run(spec, out=FOLDER / "timed", overwrite=True, report=False)
            seconds[backend].append(results.summary["timings_s"]["run"])
    medians = {backend: statistics.median(times) for backend, times in seconds.items()}
    return medians["neuron"] / medians["surrogate"], medians


if __name__ == "__main__":
    main()
