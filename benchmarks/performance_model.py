"""What a run on many processes costs: a model of compute, exchange and memory, fitted here, and what follows from it.

    python benchmarks/performance_model.py     two minutes on two idle cores; writes its tables into docs/scaling.md

Every constant is measured on this machine, one thread a process, while every core does the same: they share a memory.
What is beyond one machine, the latency and bandwidth between machines, is assumed, and said to be. The model is held
against `ranks.py`'s network on two processes, and on one with those of a process that has the machine to itself.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numba
import numpy as np
from network_layer import pv_network, random_network
from ranks import INDEGREE, best_of, integrate_and_fire_cells
from scoreboard import RESULTS, ROOT, Target, record, write_between

from noble_net.bench.networks import Run, Setting, run_network
from noble_net.config import NetworkSpec
from noble_net.loop import Loop
from noble_net.network.build import Network, build_checked
from noble_net.network.share import Share
from noble_net.processes import cores as cores_here
from noble_net.processes import in_processes
from noble_net.ranks.environment import Started, started
from noble_net.ranks.exchange import Exchange
from noble_net.ranks.group import RankGroup
from noble_net.rehearsal import held_bytes
from noble_net.simulation import load_parts
from noble_net.types import Response

COMMAND = "python benchmarks/performance_model.py"
ISSUE = 6
TURNS = 30
SPIKES = (0, 20_000)
"""A block's, of each of two processes."""
SPIKE_BYTES = 20
CLUSTER = {"latency_s": 5e-6, "bytes_per_s": 10e9}
"""Assumed between processes of a cluster: a message, and what a process can receive."""
BLOCK = 1e-3
"""Seconds."""
SYNAPSES, RATE = 1000, 10.0
"""Of a cell, and Hz, where the model goes on paper."""
LABELS = {
    "cell_s": ("a cell, with its noise", "µs a biological ms", 1e3),
    "block_s": ("a block, whatever is in it", "µs", 1e6),
    "event_s": ("a synaptic event", "ns", 1e9),
    "spike_s": ("a spike of any process, sorted and looked up", "ns", 1e9),
    "message_s": ("a block's messages between two processes", "µs", 1e6),
    "own_cell_bytes": ("memory of an own cell", "B", 1.0),
    "synapse_bytes": ("memory of an own synapse", "B", 1.0),
    "any_cell_bytes": ("memory of any cell of the network", "B", 1.0),
}


class Costs(NamedTuple):
    """Seconds and bytes that one process spends: on a block, a cell for a biological second, a synaptic event, a spike
    of the whole network that is sorted and looked up, a message and its bytes; bytes of an own cell, of an own synapse
    and of any cell of the network."""

    block_s: float
    cell_s: float
    event_s: float
    spike_s: float
    message_s: float
    byte_s: float
    own_cell_bytes: float
    synapse_bytes: float
    any_cell_bytes: float

    def seconds(self, cells: float, indegree: float, rate: float, processes: int) -> float:
        """Wall time of a biological second."""
        own, spikes, steps = cells / processes, cells * rate, math.ceil(math.log2(processes))
        compute = own * self.cell_s + own * indegree * rate * self.event_s + self.block_s / BLOCK
        if processes == 1:
            return compute
        exchange = steps * self.message_s / BLOCK + spikes * (self.spike_s + SPIKE_BYTES * self.byte_s)
        return compute + exchange

    def bytes(self, cells: float, indegree: float, processes: int) -> float:
        """Memory of a process."""
        own = cells / processes
        return own * (self.own_cell_bytes + indegree * self.synapse_bytes) + cells * self.any_cell_bytes


def main() -> None:
    """Fit, hold against two processes, extrapolate, write."""
    here = started()
    if here is not None:
        found = exchanged(here)
        if here.rank == 0:  # both at once would write into each other's line
            print(json.dumps(found), flush=True)
        return
    numba.set_num_threads(1)
    few, network = integrate_and_fire_cells(8000), integrate_and_fire_cells(20_000)
    alone, simple = fitted(few, at_once=1), fitted(few)
    pv = fitted(pv_network(), cells=(500, 2000))
    one, two = best_of([(network, 1), (network, 2)])
    rate = rate_of(network)
    predicted = [costs.seconds(20_000, INDEGREE, rate, at) * 0.2 for costs, at in ((alone, 1), (simple, 2))]
    told = {
        "fitted": {
            "integrate-and-fire": simple._asdict(),
            "pv-stream": pv._asdict(),
            "integrate-and-fire, the other cores idle": alone._asdict(),
        },
        "assumed": CLUSTER,
        "ranks": {"measured_s": [one, two], "predicted_s": predicted},
        "extrapolated": extrapolated(pv),
    }
    (RESULTS / "performance_model.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    write_between(ROOT / "docs/scaling.md", page(told))
    error = max(abs(model / truth - 1) for model, truth in zip(predicted, (one, two), strict=True))
    about = (
        f"ranks.py's network, 20,000 cells, 200 ms: {predicted[0]:.2f} s predicted and {one:.2f} s measured on one "
        f"process, {predicted[1]:.2f} and {two:.2f} s on two"
    )
    row = Target(
        ISSUE, "performance model: error on one and two processes", "≤ 0.15", error, "", about, COMMAND
    )
    record([row])
    print(row.line(), "|", row.conditions)


def fitted(spec: NetworkSpec, cells: tuple[int, int] = (2000, 8000), at_once: int = cores_here()) -> Costs:
    """The constants of a network's cells, from runs of it with next to no synapses, and of everything else; so many
    processes run them ``at_once``."""
    few, many = (timed(spec, size, 0.01, at_once) for size in cells)
    cell = (many.seconds - few.seconds) / (many.cells - few.cells)
    block = max(0.0, few.seconds - cell * few.cells) * BLOCK
    weak = random_network(5000, 1000, weight="0.001 pA")
    without, connected = (timed(weak, None, indegree, at_once) for indegree in (0.0, 1.0))
    event = (connected.seconds - without.seconds) / (connected.rate * connected.synapses)
    exchange = launched()
    lookup, any_cell = looked_up(event)
    own = (many.bytes - few.bytes) / (many.cells - few.cells)
    synapse = (connected.bytes - without.bytes) / connected.synapses
    return Costs(
        block, cell, event, exchange["spike_s"] + lookup, exchange["message_s"], 0.0, own, synapse, any_cell
    )


def timed(spec: NetworkSpec, cells: int | None, indegree: float, at_once: int) -> Run:
    """A network on one thread, with so many times its synapses, in so many processes at once; the median of them."""
    setting = Setting(cells, indegree, "float32", 1, 1000 * BLOCK, None, 100.0)
    runs = list(in_processes(partial(_timed_run, spec), [setting] * at_once, at_once))
    return sorted(runs, key=lambda run: run.seconds)[(at_once - 1) // 2]


def _timed_run(spec: NetworkSpec, setting: Setting) -> Run:
    return run_network(spec, [setting], 5, lambda *_: None)[0]


def looked_up(event: float) -> tuple[float, float]:
    """Seconds that a spike of the whole network costs a process beyond its events, and bytes of any cell."""
    networks = [share(random_network(cells, 100), ranks) for cells, ranks in ((100_000, 100), (200_000, 200))]
    few, many = (held_bytes(each) for each in networks)
    network = networks[-1]
    loop, draw = Loop(network, load_parts(network.spec)[0]), np.random.default_rng(1)
    seconds = []
    for _ in range(TURNS):
        sample = np.sort(draw.integers(0, network.block_samples, 100_000)).astype(np.int32)
        cell = draw.integers(0, network.n_cells, sample.size).astype(np.int32)
        loop.respond(network.block_samples)
        begin = time.perf_counter()
        loop.deliver(network.block_samples, {"cells": (cell, sample)})
        seconds.append((time.perf_counter() - begin) / sample.size)
    events = network.projections[0].size / network.n_cells
    return max(0.0, statistics.median(seconds) - events * event), (many - few) / 100_000


def share(spec: NetworkSpec, ranks: int) -> Network:
    """What the first of so many processes has."""
    cores, families = load_parts(spec)
    return build_checked(spec, families, {name: core.info for name, core in cores.items()}, Share(0, ranks))


def launched() -> dict[str, float]:
    """What `exchanged` finds on two processes."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        __file__,
    ]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(next(line for line in told.splitlines() if line.startswith("{")))
    return found


def exchanged(here: Started) -> dict[str, float]:
    """Seconds of a block's message between two processes, and of a spike in it, sorted."""
    with RankGroup(here) as group:
        spec = random_network(20_000, 0)
        cores, families = load_parts(spec)
        infos = {name: core.info for name, core in cores.items()}
        network = build_checked(spec, families, infos, Share(group.rank, group.ranks))
        exchange, own = Exchange(group, network.populations), network.populations[0].here
        draw, seconds = np.random.default_rng(group.rank), []
        for count in SPIKES:
            sample = np.sort(draw.integers(0, 10, count)).astype(np.int32)
            cell = draw.integers(0, len(own), count).astype(np.int32)
            nothing = np.empty((0, 10), np.float32)
            answer = Response(nothing, cell, sample, sample * 0.1, np.zeros(len(own), np.uint32))
            taken = [
                _timed(lambda given=answer: (group.command(), exchange({"cells": given})))
                for _ in range(TURNS)
            ]
            seconds.append(statistics.median(taken[5:]))
    most = 2 * SPIKES[-1]  # of both
    return {"spike_s": (seconds[-1] - seconds[0]) / most, "message_s": seconds[0]}


def _timed(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def rate_of(spec: NetworkSpec) -> float:
    """Hz, over the beginning of a network."""
    setting = Setting(None, 1.0, "float32", 1, None, None, 100.0)
    return run_network(spec, [setting], 1, lambda *_: None)[0].rate


def extrapolated(costs: Costs) -> list[dict[str, Any]]:
    """Networks of 10⁷ and 10⁹ cells on clusters, on paper."""
    far = costs._replace(message_s=CLUSTER["latency_s"], byte_s=1 / CLUSTER["bytes_per_s"])
    found = []
    for cells, numbers in ((1e7, (16, 256, 4096)), (1e9, (4096, 65536))):
        for processes in numbers:
            spikes = cells * RATE * (far.spike_s + SPIKE_BYTES * far.byte_s)
            found.append(
                {
                    "cells": cells,
                    "processes": processes,
                    "memory_gb": far.bytes(cells, SYNAPSES, processes) / 1e9,
                    "of_any_cell_gb": cells * far.any_cell_bytes / 1e9,
                    "seconds": far.seconds(cells, SYNAPSES, RATE, processes),
                    "spikes_s": spikes,
                }
            )
    return found


def page(told: Mapping[str, Any]) -> str:
    """The tables of docs/scaling.md."""
    lines = [
        "| | integrate-and-fire | pv-stream | integrate-and-fire, the other cores idle |",
        "|---|---|---|---|",
    ]
    simple, pv, alone = told["fitted"].values()
    for key, (label, unit, factor) in LABELS.items():
        lines.append(
            f"| {label}, {unit} | {simple[key] * factor:.3g} | {pv[key] * factor:.3g} | {alone[key] * factor:.3g} |"
        )
    lines += [
        "",
        "| cells | processes | memory of each, GB | of that, of all cells, GB | s a biological second "
        "| of that, spikes of all |",
        "|---|---|---|---|---|---|",
    ]
    for row in told["extrapolated"]:
        lines.append(
            f"| 10^{math.log10(row['cells']):.0f} | {row['processes']:,} | {row['memory_gb']:.3g} "
            f"| {row['of_any_cell_gb']:.3g} | {row['seconds']:.3g} | {row['spikes_s']:.3g} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
