"""What the network layer costs around the cores: building, delivering, recording, memory. Scoreboard rows.

    python benchmarks/network_layer.py            a few minutes
    python benchmarks/network_layer.py --large    only 1,000,000 cells with 100,000,000 synapses; some 6 GB

Ratios compare runs that take turns; times are medians. One thread where a row says one core.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numba
import numpy as np
from scoreboard import Target, record

from noble_net import simulate
from noble_net.config import NetworkSpec, network_from
from noble_net.loop import Loop, compile_loop
from noble_net.network import underway_kernels
from noble_net.network.build import Network, build_network
from noble_net.network.synapses import SynapseBank
from noble_net.network.transmission import Events, transmission
from noble_net.registry import load_core
from noble_net.results import load_results
from noble_net.simulation import load_parts
from noble_net.surrogate.core import Core
from noble_net.types import DT, CellTable, Drive, Float64, Response, State

COMMAND = "python benchmarks/network_layer.py"
ISSUE = 5
GRID = "integrate-and-fire-grid"
REPEATS = 5
LOGNORMAL = {"lognormal": {"mean": "2 pA", "std": "1 pA"}}
NORMAL = {"normal": {"mean": "3 ms", "std": "1 ms", "min": "1 ms", "max": "10 ms"}}


def main() -> None:
    """Measure and record."""
    if "--large" in sys.argv[1:]:
        rows = large()
    else:
        rows = [*building(), medium(), delivery(), overhead(), *recording(), memory()]
    record(rows)
    for target in rows:
        print(target.line(), "|", target.conditions)


def building() -> list[Target]:
    """Synapses built a second on one core, and their size."""
    numba.set_num_threads(1)
    spec = random_network(10_000, 1000)
    built(random_network(100, 10))  # compiles
    rates = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        network = built(spec)
        rates.append(network.n_synapses / (time.perf_counter() - begin))
    each = network.projections[0]
    size = sum(array.nbytes for array in (each.indptr, each.target, each.weight, each.delay)) / each.size
    about = (
        "10,000 cells, fixed in-degree 1,000, log-normal weights, truncated normal delays; one core, "
        f"median of {REPEATS}"
    )
    return [
        row("build: synapses a second", "≥ 5", statistics.median(rates) / 1e6, "million", about),
        row("a static synapse at rest", "≤ 12", size, "bytes", "10,000 cells, in-degree 1,000; arrays"),
    ]


def medium() -> Target:
    """100,000 cells with 10,000,000 synapses: built, and run."""
    seconds, about = build_and_run(100_000, 100, samples=1000)
    return row("build of 100,000 cells, 10 million synapses", "≤ 10", seconds, "s", about)


def large() -> list[Target]:
    """1,000,000 cells with 100,000,000 synapses within memory."""
    _, about = build_and_run(1_000_000, 100, samples=600)
    name = "peak memory of 1,000,000 cells, 100 million synapses"
    return [Target(ISSUE, name, "≤ 24", peak_memory(), "GB", about, f"{COMMAND} --large")]


def build_and_run(cells: int, indegree: int, samples: int) -> tuple[float, str]:
    """Seconds a build took, and a sentence on it and on so many samples run afterwards."""
    begin = time.perf_counter()
    network = built(random_network(cells, indegree))
    seconds = time.perf_counter() - begin
    loop, spikes = Loop(network, {GRID: load_core(GRID)}), 0
    begin = time.perf_counter()
    while loop.position < samples:
        spikes += sum(response.event_cell.size for response in loop.advance().values())
    run = time.perf_counter() - begin
    return seconds, (
        f"{cells:,} integrate-and-fire cells, in-degree {indegree}, delays to 10 ms; built in {seconds:.1f} s, "
        f"{loop.position * DT:g} ms at {spikes / cells / (loop.position * DT / 1000):.1f} Hz in {run:.1f} s; one core, "
        f"peak memory {peak_memory():.1f} GB"
    )


def delivery() -> Target:
    """Synaptic events sent and arrived a second: blocks of 1 ms at 10 Hz, up to 10 ms under way."""
    delay = {"uniform": {"low": "1 ms", "high": "10 ms"}}
    network = built(random_network(10_000, 1000, delay=delay))
    each, block = network.projections[0], network.block_samples
    bank = SynapseBank(network.synapses["syn"], 10_000, network.longest_delay, block)
    route, draw = transmission(each, 10_000, bank), np.random.default_rng(1)
    rates = []
    for number in range(200):
        cell = draw.integers(0, 10_000, 100).astype(np.int32)
        fired = Events(cell, np.sort(draw.integers(0, block, 100)).astype(np.int32), 0)
        events = int(np.diff(each.indptr)[cell].sum())
        begin = time.perf_counter()
        underway_kernels.arrive(bank.underway.pool, number * block, block, bank.arriving)
        route.send(number * block, fired, fired)
        rates.append(events / (time.perf_counter() - begin))
    about = "10,000 cells, in-degree 1,000, delays of 1–10 ms, 100 spikes a block of 1 ms; one core, median of 200"
    return row("delivery: synaptic events a second", "≥ 50", statistics.median(rates) / 1e6, "million", about)


def overhead() -> Target:
    """Share of a run outside its core."""
    spec = pv_network()
    cores, families = load_parts(spec)
    timed = {name: Timed(core) for name, core in cores.items()}
    network = build_network(spec, families, {name: core.info for name, core in timed.items()})
    compile_loop(network, timed)
    shares, spikes = [], 0
    for _ in range(REPEATS):
        loop = Loop(network, timed)
        inside = sum(core.seconds for core in timed.values())
        begin, spikes = time.perf_counter(), 0
        while loop.position < round(spec.duration / DT):
            spikes += sum(response.event_cell.size for response in loop.advance().values())
        whole = time.perf_counter() - begin
        shares.append(1 - (sum(core.seconds for core in timed.values()) - inside) / whole)
    about = (
        f"pv-stream, 1,000 cells, in-degree 100, {spikes / 1000 / (spec.duration / 1000):.1f} Hz, fluctuating current; "
        f"{numba.get_num_threads()} thread, {spec.duration:g} ms, median of {REPEATS}"
    )
    return row("share of a run outside the core", "≤ 30", 100 * statistics.median(shares), "%", about)


def recording() -> list[Target]:
    """What recording all spikes, or 100 voltages, adds to the processor time of a run, from file to closed files."""
    nothing: dict[str, Any] = {"spikes": "none"}
    spikes = {"spikes": "all"}
    voltage = {"spikes": "none", "voltage": {"cells": 100, "dt": "0.1 ms"}}
    cases = {"nothing": nothing, "spikes": spikes, "voltage": voltage}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(REPEATS):
            for name, kept in cases.items():
                spec = pv_network(record=kept)
                begin = time.process_time()
                simulate(spec, out=Path(folder) / name, overwrite=True, report=False, threads=1)
                seconds[name].append(time.process_time() - begin)
    share = {
        name: 100 * (statistics.median(np.divide(times, seconds["nothing"]).tolist()) - 1)
        for name, times in seconds.items()
    }
    about = f"pv-stream, 1,000 cells, 300 ms, processor time of whole runs; median ratio of {REPEATS} turns, 1 thread"
    return [
        row("recording all spikes adds", "≤ 3", share["spikes"], "%", about),
        row("recording 100 voltages adds", "≤ 5", share["voltage"], "%", about),
    ]


def memory() -> Target:
    """Peak memory of 60 s simulated over that of 1 s, each in a process of its own."""
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for seconds in (1, 60):
            out = Path(folder) / str(seconds)
            command = [sys.executable, "-m", "noble_net", "run", "balanced", "--duration", f"{seconds} s"]
            subprocess.run([*command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
            peaks.append(load_results(out).summary["peak_memory_mb"])
    about = f"networks/balanced.yaml, spikes and 20 voltages recorded: {peaks[0]:.0f} MB at 1 s, {peaks[1]:.0f} at 60 s"
    return row("peak memory at 60 s simulated over 1 s", "≤ 1.1", peaks[1] / peaks[0], "×", about)


class Timed(Core):
    """Another core, and the seconds spent in its `advance`."""

    def __init__(self, core: Core) -> None:
        self._core, self.seconds = core, 0.0
        self.name, self.zones, self.step_samples = core.name, core.zones, core.step_samples
        self.nmda, self.drive_dtype = core.nmda, core.drive_dtype

    def memory(self, cells: CellTable) -> Float64 | None:
        """See `Core.memory`."""
        return self._core.memory(cells)

    def begin(self, cells: CellTable) -> State:
        """See `Core.begin`."""
        return self._core.begin(cells)

    def advance(self, state: State, drive: Drive) -> tuple[Response, State]:
        """See `Core.advance`."""
        begin = time.perf_counter()
        answer = self._core.advance(state, drive)
        self.seconds += time.perf_counter() - begin
        return answer


def random_network(
    cells: int, indegree: int, weight: Any = LOGNORMAL, delay: Any = NORMAL, **changes: Any
) -> NetworkSpec:
    """Integrate-and-fire cells on the grid, kept going by currents of their own."""
    amplitude = {"uniform": {"low": "0.12 nA", "high": "0.25 nA"}}
    projection = {
        "name": "all",
        "from": "cells",
        "to": "cells",
        "rule": {"fixed_indegree": {"indegree": indegree}},
        "synapse": "syn",
        "weight": weight,
        "delay": delay,
    }
    data = {
        "name": "random",
        "seed": 1,
        "duration": "1 s",
        "core": GRID,
        "populations": {"cells": {"size": cells}},
        "synapses": {"syn": {"model": "exp", "decay": "2 ms"}},
        "projections": [projection],
        "stimuli": [{"to": "cells", "step": {"start": "0 ms", "stop": "1 s", "amplitude": amplitude}}],
    }
    return network_from(data | changes)


def pv_network(record: Mapping[str, Any] | None = None) -> NetworkSpec:
    """1,000 PV cells that inhibit one another, at about 10 Hz."""
    projection = {
        "name": "pv-pv",
        "from": "pv",
        "to": "pv",
        "rule": {"fixed_indegree": {"indegree": 100}},
        "synapse": "gaba",
        "weight": {"lognormal": {"mean": "0.5 nS", "std": "0.2 nS"}},
        "delay": {"normal": {"mean": "1.5 ms", "std": "0.3 ms", "min": "1 ms"}},
    }
    noise = {"mean": "0.15 nA", "sigma": "0.1 nA", "tau": "5 ms"}
    return network_from(
        {
            "name": "pv-1000",
            "seed": 1,
            "duration": "300 ms",
            "core": "pv-stream",
            "populations": {"pv": {"family": "allen-pv-peri", "size": 1000, "sample": {"from": "gaussian"}}},
            "synapses": {"gaba": {"model": "exp2", "rise": "0.3 ms", "decay": "5 ms", "reversal": "-80 mV"}},
            "projections": [projection],
            "stimuli": [{"to": "pv", "ornstein_uhlenbeck": noise}],
            "record": dict(record or {}),
        }
    )


def built(spec: NetworkSpec) -> Network:
    """The network's arrays."""
    return build_network(spec, {}, {GRID: load_core(GRID).info})


def peak_memory() -> float:
    """Of this process so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def row(name: str, target: str, value: float, unit: str, conditions: str) -> Target:
    """A row of this benchmark."""
    return Target(ISSUE, name, target, value, unit, conditions, COMMAND)


if __name__ == "__main__":
    main()
