"""Networks on several processes: weak and strong scaling. Scoreboard rows.

    python benchmarks/ranks.py              1 and 2 processes, a thread each; four minutes
    python benchmarks/ranks.py 1 2 4 8      other numbers, that of a whole machine with idle cores

Of two networks: cells of `pv-stream`, which compute, and integrate-and-fire cells, which move memory and send spikes.
Strong: the same network on each number of processes. Weak: as many cells on each process. Wall time is that of the run
alone, without starting, building and writing the report, the best of three; nothing but spikes is recorded.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from network_layer import pv_network
from scoreboard import Target, record

from noble_net.config import NetworkSpec, dump_network, network_from
from noble_net.network.scaled import scaled
from noble_net.results import load_results

COMMAND = "python benchmarks/ranks.py"
ISSUE = 6
CELLS, INDEGREE, PV_CELLS, MILLISECONDS, TURNS = 20_000, 200, 4000, 200, 3


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("processes", nargs="*", type=int, default=[1, 2])
    numbers = sorted({1, *parser.parse_args().processes})
    rows = []
    for name, network, cells, indegree in (
        ("pv-stream", pv_cells, PV_CELLS, 100),
        ("integrate-and-fire", integrate_and_fire_cells, CELLS, INDEGREE),
    ):
        for number in numbers[1:]:
            alone, strong, weak = best_of(
                [(network(cells), 1), (network(cells), number), (network(cells * number), number)]
            )
            conditions = (
                f"{cells:,} cells x {indegree}, {MILLISECONDS} ms, {os.cpu_count()} cores, one thread a process; one "
                f"process takes {alone:.2f} s, {number} {strong:.2f} s, with {number} times the cells {weak:.2f} s"
            )
            for label, wanted, value in (
                (f"{name}, {number} processes: speed-up", f"≥ {0.7 * number:g}", alone / strong),
                (f"{name}, {number} processes, as many cells each: efficiency", "≥ 0.7", alone / weak),
            ):
                rows.append(Target(ISSUE, label, wanted, value, "", conditions, COMMAND))
                print(rows[-1].line(), "|", conditions, flush=True)
    record(rows, whole=True)


def best_of(runs: Sequence[tuple[NetworkSpec, int]]) -> list[float]:
    """Wall time (s) of the best of `TURNS` runs of every network on its number of processes; they take turns, for a
    machine is not as fast at all times. The first two have to give as many spikes."""
    turns = [[measure(spec, processes) for spec, processes in runs] for _ in range(TURNS)]
    spikes = {count for turn in turns for _, count in turn[:2]}
    if len(spikes) > 1:
        raise SystemExit(f"{runs[1][1]} processes and one differ in their spikes: {spikes}")
    return [min(seconds for seconds, _ in found) for found in zip(*turns, strict=True)]


def measure(spec: NetworkSpec, processes: int) -> tuple[float, int]:
    """Wall time of a run on so many processes (s), and its spikes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.yaml"
        file.write_text(dump_network(spec), encoding="utf-8")
        out = Path(folder) / "run"
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = ["-m", "noble_net", "run", str(file), "--out", str(out), "--threads", "1"]
        arguments = [*launcher, *command] if processes > 1 else command
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        summary = load_results(out).summary
        return summary["timings_s"]["run"], summary["spikes"]


def pv_cells(cells: int) -> NetworkSpec:
    """`network_layer.py`'s PV cells, as many synapses onto each whatever their number."""
    spec = pv_network()
    size = sum(population.size for population in spec.populations.values())
    return scaled(spec, cells / size).model_copy(update={"duration": float(MILLISECONDS)})


def integrate_and_fire_cells(cells: int) -> NetworkSpec:
    """Excitatory and inhibitory cells under fluctuating current, as many synapses onto each whatever their number."""
    excitatory = cells * 4 // 5
    drive = {"mean": "0.25 nA", "sigma": "0.1 nA", "tau": "5 ms"}
    projections = [
        {
            "name": f"{source}-{target}",
            "from": source,
            "to": target,
            "rule": {"fixed_indegree": {"indegree": INDEGREE * share // 5}},
            "synapse": source,
            "weight": weight,
            "delay": {"uniform": {"low": "1 ms", "high": "3 ms"}},
        }
        for source, share, weight in (("exc", 4, "2 pA"), ("inh", 1, "-8 pA"))
        for target in ("exc", "inh")
    ]
    content: dict[str, Any] = {
        "name": "ranks",
        "duration": f"{MILLISECONDS} ms",
        "core": "integrate-and-fire",
        "populations": {"exc": {"size": excitatory}, "inh": {"size": cells - excitatory}},
        "synapses": {name: {"model": "exp", "decay": "3 ms", "kind": "current"} for name in ("exc", "inh")},
        "projections": projections,
        "stimuli": [{"to": name, "ornstein_uhlenbeck": drive} for name in ("exc", "inh")],
        "record": {"spikes": "all", "edges": False},
    }
    return network_from(content)


if __name__ == "__main__":
    main()
