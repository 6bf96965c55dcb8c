"""What `--dry-run` expects of wall time and memory, held against the runs themselves.

python benchmarks/dry_run.py             three networks, each expected and run in processes of their own, in turns
python benchmarks/dry_run.py --tiny      some ms of each, to see that it works

On an idle machine: a dry run measures the machine as it is then.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from scoreboard import RESULTS, Target, record

ROOT = Path(__file__).parent.parent
COMMAND = "python benchmarks/dry_run.py"
REPEATS = 3
LIF = """\
name: lif
duration: 2 s
core: integrate-and-fire
populations: {exc: {size: 40000}, inh: {size: 10000}}
synapses:
  ampa: {model: exp, decay: 5 ms, reversal: 0 mV}
  gaba: {model: exp, decay: 10 ms, reversal: -80 mV}
projections:
  - {name: ee, from: exc, to: exc, rule: {fixed_indegree: {indegree: 320}}, synapse: ampa, weight: 0.1 nS,
     delay: {normal: {mean: 1.5 ms, std: 0.3 ms, min: 1 ms}}}
  - {name: ei, from: exc, to: inh, rule: {fixed_indegree: {indegree: 320}}, synapse: ampa, weight: 0.1 nS,
     delay: 1.5 ms}
  - {name: ie, from: inh, to: exc, rule: {fixed_indegree: {indegree: 80}}, synapse: gaba, weight: 1 nS, delay: 1 ms}
  - {name: ii, from: inh, to: inh, rule: {fixed_indegree: {indegree: 80}}, synapse: gaba, weight: 1 nS, delay: 1 ms}
stimuli:
  - {to: exc, ornstein_uhlenbeck: {mean: 0.2 nA, sigma: 0.1 nA, tau: 5 ms}}
  - {to: inh, ornstein_uhlenbeck: {mean: 0.2 nA, sigma: 0.1 nA, tau: 5 ms}}
"""
EXPECT = """
import json, sys
from noble_net.config import load_network
from noble_net.rehearsal import expect
found = expect(load_network(sys.argv[1], {"duration": sys.argv[2]}))
print(json.dumps({"wall": found.wall, "memory": found.memory, "rate": found.rate, "share": found.share}))
"""
RUN = """
import json, sys, tempfile
from noble_net import simulate
with tempfile.TemporaryDirectory() as folder:
    summary = simulate(sys.argv[1], out=folder + "/run", duration=sys.argv[2], report=False).summary
took = summary["timings_s"]
wall = took["build"] + took["run"] + took["write"]
print(json.dumps({"wall": wall, "memory": summary["peak_memory_mb"], "timings": took}))
"""


def main() -> None:
    """Measure and record."""
    tiny = "--tiny" in sys.argv[1:]
    rows, details = [], {}
    with tempfile.TemporaryDirectory() as name:
        lif = Path(name) / "lif.yaml"
        lif.write_text(LIF)
        networks = {
            "quickstart": (ROOT / "networks/quickstart.yaml", "2 s"),
            "pv-small": (ROOT / "networks/pv-small.yaml", "10 s"),
            "50,000 integrate-and-fire cells": (lif, "2 s"),
        }
        for title, (file, duration) in networks.items():
            arguments = [str(file), "2 ms" if tiny else duration]
            pairs = [
                [measured(code, arguments) for code in (EXPECT, RUN)] for _ in range(1 if tiny else REPEATS)
            ]
            details[title] = pairs
            for what, unit in (("wall", "s"), ("memory", "MB")):
                off = statistics.median(abs(dry[what] / run[what] - 1) for dry, run in pairs)
                walls = ", ".join(f"{dry[what]:.3g} / {run[what]:.3g} {unit}" for dry, run in pairs)
                conditions = (
                    f"expected / needed without the report, {arguments[1]} simulated: {walls}; median"
                )
                label = "wall time" if what == "wall" else "memory"
                rows.append(
                    Target(
                        5, f"dry run of {title}: {label} off by", "≤ 20", 100 * off, "%", conditions, COMMAND
                    )
                )
    for target in rows:
        print(target.line(), target.conditions, sep="\n  ")
    if not tiny:
        record(rows)
        (RESULTS / "dry_run.json").write_text(json.dumps(details, indent=1) + "\n", encoding="utf-8")


def measured(code: str, arguments: list[str]) -> dict[str, float]:
    """What a script prints, run in a process of its own."""
    command = [sys.executable, "-c", code, *arguments]
    found: dict[str, float] = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )
    return found


if __name__ == "__main__":
    main()
