"""pv-small on the surrogate against the same network in NEURON: statistics over noise seeds, and speed.

    python benchmarks/network.py

Finished runs are kept in runs/benchmark and not run again; remove the folder to start afresh. Needs [reference].
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from scoreboard import RESULTS, Target, record

from noble_net import compare_runs, find_network, load_network, simulate
from noble_net.reference.neuron_network import simulate_neuron
from noble_net.results import Results, load_results

COMMAND = "python benchmarks/network.py"
FOLDER = Path("runs/benchmark")
SEEDS = (1, 2, 3)
DURATION = "4 s"
TIMED = "500 ms"
REPEATS = 5
BACKENDS = {"neuron": simulate_neuron, "surrogate": simulate}


def main() -> None:
    """Run what is missing, compare, time, record."""
    runs = [finished(backend, seed).path for backend in BACKENDS for seed in SEEDS]
    comparison = compare_runs(runs, FOLDER / "comparison")
    print(comparison.table())
    (RESULTS / "pv-small.json").write_text(comparison.to_json(), encoding="utf-8")
    conditions = (
        f"pv-small (50 held-out members), {DURATION} after 200 ms, noise seeds {SEEDS}; medians over seeds i ≠ j, "
        "NEURON at dt 0.025 ms, Crank–Nicolson"
    )
    rows = [
        Target(
            2,
            f"pv-small against NEURON: EMD of {found.measure} over seed-to-seed EMD",
            "≤ 1.25",
            found.ratio,
            "",
            f"{conditions}; {found.between:.3g} against {found.within:.3g}",
            COMMAND,
        )
        for found in comparison.yardsticks
    ]
    rate = comparison.mean_rate_correlation["surrogate"]["pv"]
    rows.append(Target(2, "pv-small: rate per cell, correlation", "≥ 0.98", rate, "", conditions, COMMAND))
    ratio, times = speed()
    about = (
        f"run phase of pv-small, {TIMED} after 200 ms, alternating, medians of {REPEATS}: serial NEURON "
        f"{times['neuron']:.2f} s, surrogate {times['surrogate']:.3f} s on 2 threads; 2 CPU cores, NEURON 9 at "
        "dt 0.025 ms, 121 segments a cell; the issue sets no number"
    )
    rows.append(Target(2, "pv-small: times faster than serial NEURON", "≥ 1", ratio, "×", about, COMMAND))
    record(rows)
    for target in rows:
        print(target.line())


def finished(backend: str, seed: int) -> Results:
    """The run of a backend and noise seed, from disk if it is complete there."""
    out = FOLDER / f"{backend}-{seed}"
    summary = out / "summary.json"
    if summary.exists() and json.loads(summary.read_text())["completed"]:
        return load_results(out)
    spec = load_network(find_network("pv-small"), {"noise_seed": seed, "duration": DURATION})
    return BACKENDS[backend](spec, out=out, overwrite=True, report=False)


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
