"""The patch of 1,000 cells on surrogate cores beside what else simulates it: one run, every one a turn in each round.
Scoreboard rows: the median of the rounds' ratios.

    python benchmarks/patch.py       half an hour on idle cores

NEURON runs the same network: on all cores as it is, serially with a tenth of its cells, each with as many synapses, and
ten times the time. Arbor and CoreNEURON solve sixteen cells of each family, Brian2's C++ standalone mode 500 point
cells, under a constant current, without the synapses and events that they would have to pay for besides: a bound from
below. The run phase counts; cells are built, but not brought to rest. Needs [reference]. Results:
benchmarks/results/patch.json.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from alone import by_script, in_arbor
from scoreboard import RESULTS, Target, record

from noble_net.bench.networks import Run, run_network, settings_of
from noble_net.cells.family import Family
from noble_net.cells.mechanisms import load_mechanisms
from noble_net.config import NetworkSpec
from noble_net.network.build import assemble
from noble_net.network.scaled import scaled
from noble_net.output import write_json
from noble_net.provenance import machine
from noble_net.recorded_run import load_families, resolve_network
from noble_net.reference.neuron_loop import NeuronLoop
from noble_net.reference.neuron_network import check
from noble_net.registry import find_network
from noble_net.types import DT

COMMAND = "python benchmarks/patch.py"
ISSUE = 6
NETWORK = "cortex"
TENTH = 0.1
SETTLED, TIMED = 2.0, 20.0
"""Simulated by NEURON before the clock runs and while it does, ms."""
ROUNDS = 5
POINTS = 500
"""Cells of a family in Brian2."""
CORES = os.cpu_count() or 1
PRECISION = "int16"
"""Of the surrogate's products; what it does to accuracy stands in the cores' cards."""
BRIAN = "Brian2's point cells"
TARGETS = {
    "serial NEURON": "≥ 1000",
    f"NEURON on {CORES} cores": "≥ 500",
    "CoreNEURON": "≥ 150",
    "Arbor": "≥ 100",
    BRIAN: "≥ 10",
}


def main() -> None:
    """Build, time, record."""
    spec = resolve_network(find_network(NETWORK), None, None).model_copy(update={"warmup": 0.0})
    families = load_families(spec)
    ours: list[Run] = []
    seconds: dict[str, list[float]] = {name: [] for name in TARGETS}
    load_mechanisms()
    with in_neuron(scaled(spec, TENTH), families, 1) as serial, in_neuron(spec, families, CORES) as shared:
        turns: dict[str, Callable[[], float]] = {
            "serial NEURON": lambda: timed(serial) / TENTH,
            f"NEURON on {CORES} cores": lambda: timed(shared),
            "CoreNEURON": lambda: by_themselves(
                spec, families, lambda each: by_script("coreneuron", each, CORES)
            ),
            "Arbor": lambda: by_themselves(spec, families, lambda each: in_arbor(each, CORES)),
            BRIAN: lambda: by_themselves(
                spec, families, lambda each: by_script("brian_standalone", each, CORES, POINTS)
            ),
        }
        for _ in range(ROUNDS):
            ours.append(on_cores(spec))
            for name, turn in turns.items():
                seconds[name].append(turn())
            last = {name: round(each[-1] / ours[-1].seconds, 1) for name, each in seconds.items()}
            print(f"{ours[-1].seconds:.3f} s a biological second; times faster: {last}", flush=True)
    run = ours[0]
    took = statistics.median(each.seconds for each in ours)
    about = (
        f"run phase of {NETWORK}, {run.cells:,} cells, {run.synapses:,} synapses, {run.rate:.1f} Hz; surrogate "
        f"{took:.2f} s a biological second on {CORES} threads, products in {PRECISION}; "
        f"{machine()['processor']}, {CORES} cores; median of {ROUNDS} rounds"
    )
    rows = []
    for name, target in TARGETS.items():
        ratio = statistics.median(
            their / mine.seconds for their, mine in zip(seconds[name], ours, strict=True)
        )
        bound = "the same network" if "NEURON" in name.split() else "cells without synapses"
        theirs = f"{name} {statistics.median(seconds[name]):.0f} s, {bound}, all {CORES} cores unless serial"
        title = f"{NETWORK}: times faster than {name}"
        rows.append(Target(ISSUE, title, target, ratio, "×", f"{about}; {theirs}", COMMAND))
    record(rows)
    told = {"machine": machine(), "surrogate": [each.to_json() for each in ours], "seconds": seconds}
    write_json(RESULTS / "patch.json", told)
    for row in rows:
        print(f"{row.line()}\n    {row.conditions}")
    print(json.dumps(seconds))


def on_cores(spec: NetworkSpec) -> Run:
    """The network on surrogate cores, all threads."""
    alike = {"precision": [PRECISION], "threads": [CORES], "block": [None], "batch": [None]}
    settings = settings_of(cells=[None], indegree=[1.0], **alike, duration=[1000.0])
    return run_network(spec, settings, 3, lambda *_: None)[0]


@contextmanager
def in_neuron(spec: NetworkSpec, families: Mapping[str, Family], processes: int) -> Iterator[NeuronLoop]:
    """The network in NEURON, past its first moments."""
    begin = time.perf_counter()
    network = assemble(spec, families, check(spec, processes))
    with NeuronLoop(network, families, processes=processes, settle=DT) as loop:
        loop.advance(round(SETTLED / DT))
        print(f"{network.n_cells} cells in NEURON after {time.perf_counter() - begin:.0f} s", flush=True)
        yield loop


def timed(loop: NeuronLoop) -> float:
    """Seconds of wall time for a biological second."""
    begin = time.perf_counter()
    loop.advance(round(TIMED / DT))
    return (time.perf_counter() - begin) / (TIMED / 1000.0)


def by_themselves(
    spec: NetworkSpec, families: Mapping[str, Family], cost: Callable[[Family], float]
) -> float:
    """Seconds of wall time for a biological second of the network's cells without synapses."""
    return sum(each.size * cost(families[str(each.family)]) * 1000.0 for each in spec.populations.values())


if __name__ == "__main__":
    main()
