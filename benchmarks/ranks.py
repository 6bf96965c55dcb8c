"""Networks on several processes: weak and strong scaling of a network of integrate-and-fire cells. Scoreboard rows.

    python benchmarks/ranks.py              1 and 2 processes, a thread each; within a minute
    python benchmarks/ranks.py 1 2 4 8      other numbers, that of a whole machine with idle cores

Strong: the same network on each number of processes. Weak: as many cells on each process. Wall time is that of the run
alone, without starting, building and writing the report, the best of two; nothing but spikes is recorded.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from scoreboard import Target, record

from noble_net.config import dump_network, network_from
from noble_net.results import load_results

COMMAND = "python benchmarks/ranks.py"
ISSUE = 6
CELLS, INDEGREE, MILLISECONDS, TURNS = 20_000, 200, 200, 2


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("processes", nargs="*", type=int, default=[1, 2])
    numbers = sorted({1, *parser.parse_args().processes})
    rows = []
    alone, spikes = measure(CELLS, 1)
    for number in numbers[1:]:
        strong, same = measure(CELLS, number)
        if same != spikes:
            raise SystemExit(f"{number} processes give {same} spikes, one gives {spikes}")
        weak, _ = measure(CELLS * number, number)
        conditions = (
            f"{CELLS:,} integrate-and-fire cells x {INDEGREE}, {MILLISECONDS} ms, {os.cpu_count()} cores, one thread "
            f"a process; one process takes {alone:.2f} s, {number} {strong:.2f} s, with {number} times the cells "
            f"{weak:.2f} s"
        )
        wanted = f"≥ {0.7 * number:g}"
        rows.append(
            Target(ISSUE, f"{number} processes: speed-up", wanted, alone / strong, "", conditions, COMMAND)
        )
        label = f"{number} processes, as many cells each: efficiency"
        rows.append(Target(ISSUE, label, "≥ 0.7", alone / weak, "", conditions, COMMAND))
    for row in rows:
        print(row.line())
    record(rows)


def measure(cells: int, processes: int) -> tuple[float, int]:
    """Wall time of the best run on so many processes (s), and its spikes."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.yaml"
        file.write_text(dump_network(network_from(network(cells))), encoding="utf-8")
        for turn in range(TURNS):
            out = Path(folder) / f"run-{turn}"
            launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
            command = ["-m", "noble_net", "run", str(file), "--out", str(out), "--threads", "1"]
            arguments = [*launcher, *command] if processes > 1 else command
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            summary = load_results(out).summary
            found.append((summary["timings_s"]["run"], summary["spikes"]))
    return min(found)


def network(cells: int) -> dict[str, Any]:
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
    return {
        "name": "ranks",
        "duration": f"{MILLISECONDS} ms",
        "core": "integrate-and-fire",
        "populations": {"exc": {"size": excitatory}, "inh": {"size": cells - excitatory}},
        "synapses": {name: {"model": "exp", "decay": "3 ms", "kind": "current"} for name in ("exc", "inh")},
        "projections": projections,
        "stimuli": [{"to": name, "ornstein_uhlenbeck": drive} for name in ("exc", "inh")],
        "record": {"spikes": "all", "edges": False},
    }


if __name__ == "__main__":
    main()
