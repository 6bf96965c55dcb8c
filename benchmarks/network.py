"""Networks on the surrogate held against the same in NEURON (see docs/validation.md), and the speed of pv-small.

    python benchmarks/network.py [NETWORK ...]        of pv-small, pv-gamma, pv-gamma-identical; else all

NEURON's runs are kept in results/references/NETWORK, those on the surrogate in runs/benchmark: what is finished is not
run again. Speed needs [reference], and the rest where NEURON's runs are missing: an hour of one core a network.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from scoreboard import RESULTS, Target, record

from noble_net import find_network, load_network, simulate
from noble_net.commands.validate import closing_lines
from noble_net.reference.neuron_network import simulate_neuron
from noble_net.validation.validate import Validation, validate

COMMAND = "python benchmarks/network.py"
SMALL = "pv-small"
NETWORKS = (SMALL, "pv-gamma", "pv-gamma-identical")
"""Driven by fluctuations; by their mean, in a gamma rhythm, of different and of identical cells."""
REFERENCES = RESULTS / "references"
FOLDER = Path("runs/benchmark")
TIMED = "500 ms"
REPEATS = 5
BACKENDS = {"neuron": simulate_neuron, "surrogate": simulate}


def main(names: list[str]) -> None:
    """Run what is missing, judge, time, record."""
    rows: list[Target] = []
    for name in names:
        found = validate(
            load_network(find_network(name)),
            "neuron",
            out=FOLDER / name,
            reference_data=REFERENCES / name,
        )
        print("\n".join(closing_lines(found)))
        (RESULTS / f"{name}.json").write_text(found.to_json(), encoding="utf-8")
        rows += judged(name, found)
        if name == SMALL:
            rows += [*accuracy(found), *closed_loop(found), timed()]
    record(rows)
    for target in rows:
        print(target.line())


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


def judged(network: str, found: Validation) -> list[Target]:
    """A row for every verdict of the validation."""
    rows = []
    for each in found.verdicts:
        if each.holds is None:
            continue
        terms = ", ".join(f"{name} {value:.3g}" for name, value in each.terms.items())
        rows.append(
            Target(
                6,
                f"{network} against NEURON, {each.part}: {each.measure}",
                f"{each.relation} {0.0 if each.yardstick == 'wrong sign' else each.limit:.4g}",
                each.value,
                each.unit,
                f"{each.population}; limit: {each.yardstick}; {terms}",
                f"{COMMAND} {network}",
            )
        )
    return rows


def closed_loop(found: Validation) -> list[Target]:
    """Spike times under what cells had as input in the network: a row of the core's own issue."""
    about = (
        f"decoupled replay of {SMALL}, held-out members, median over cells; floor: NEURON at dt/5, likewise"
    )
    return [
        Target(
            4,
            "pv-stream, unseen: Γ less the floor's, input recorded from a network",
            "≥ -0.04",
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
    main(sys.argv[1:] or list(NETWORKS))
