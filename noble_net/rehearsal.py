"""What a run is going to need, from running its beginning: memory and wall time.

A network of moderate size is built and run for some seconds, recording and all, in a temporary folder. Of a larger one
a reduced network is, twice, with a part of the cells and a quarter of that part, and what they needed is continued
along the line through both (`noble_net.network.scaled`). What is assumed is said with the result: that the network
goes on as in the stretch rehearsed, at the rate told.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from noble_net.config import NetworkSpec
from noble_net.loop import Loop, compile_loop
from noble_net.network.build import assemble, expected_junctions, expected_synapses
from noble_net.network.node_sets import check_targets
from noble_net.network.scaled import scaled
from noble_net.provenance import peak_memory
from noble_net.recorded_run import Clock, rehearse
from noble_net.run_directory import RunDirectory
from noble_net.simulation import load_parts, used_threads
from noble_net.surrogate.core import Core
from noble_net.types import DT

if TYPE_CHECKING:
    from noble_net.cells.family import Family

MOST_SYNAPSES = 5_000_000
"""Synapses and gap junctions of a network that is rehearsed as a whole."""
MOST_CELLS = 20_000
SECONDS = 2.0
"""Wall time for which a network runs in a rehearsal."""


@dataclass(frozen=True)
class Expectation:
    """What a run is expected to need: memory (MB, its peak) and wall time (s) by phase, the report left out.

    From a rehearsal of ``share`` of its cells over ``simulated`` ms, in which they fired at ``rate`` Hz.
    """

    memory: float
    seconds: Mapping[str, float]
    share: float
    simulated: float
    rate: float
    threads: int
    edges: bool

    @property
    def wall(self) -> float:
        """Wall time of all phases, s."""
        return sum(self.seconds.values())

    def __str__(self) -> str:
        phases = ", ".join(f"{phase} {_short(seconds)}" for phase, seconds in self.seconds.items())
        of = "" if self.share == 1 else f"{self.share:.2g} of the cells, with as many synapses each, for "
        lines = [
            f"memory: about {self.memory / 1000:.2g} GB",
            f"wall time: about {_short(self.wall)} s on {self.threads} threads ({phases}; a report comes on top)",
            f"  from running {of}the first {self.simulated:.3g} ms, assuming it goes on at {self.rate:.3g} Hz a cell",
        ]
        return "\n".join(lines if self.edges else [*lines, "synapses are not written (`record: {edges: …}`)"])


@dataclass(frozen=True)
class _Rehearsed:
    """What one network needed: s to compile, build and write down, s per simulated ms, bytes of its arrays."""

    cells: int
    compile: float
    build: float
    write: float
    per_ms: float
    bytes: int
    simulated: float
    rate: float


def expect(spec: NetworkSpec, *, threads: int | None = None, seconds: float = SECONDS) -> Expectation:
    """Run the beginning of ``spec`` for some ``seconds`` and say what the whole of it is going to need.

    Writes into a temporary folder only. Memory is that of a process that does nothing else. Raises what
    `noble_net.simulate` raises for a wrong network.
    """
    cores, families = load_parts(spec)
    total = sum(expected_synapses(spec, index) for index in range(len(spec.projections)))
    total += sum(expected_junctions(spec, index) for index in range(len(spec.gap_junctions)))
    cells = sum(population.size for population in spec.populations.values())
    share = min(1.0, MOST_SYNAPSES / max(total, 1), MOST_CELLS / cells)
    edges = spec.record.wants(spec.record.edges, total)
    with used_threads(threads) as used:
        first = _rehearse(_part(spec, share, edges), families, cores, seconds, share == 1)
        memory, per_ms, part = peak_memory(), first.per_ms, first.cells / cells
        if share < 1:
            fewer = _rehearse(_part(spec, share / 4, edges), families, cores, seconds, False)
            per_cell = (first.per_ms - fewer.per_ms) / max(first.cells - fewer.cells, 1)
            per_ms += per_cell * (cells - first.cells)
            memory += first.bytes * (1 / part - 1) / 1e6
    expected = {
        "build": first.compile + first.build / part,
        "run": per_ms * (spec.warmup + spec.duration),
        "write": first.write / part,
    }
    return Expectation(memory, expected, part, first.simulated, first.rate, used, edges)


def _part(spec: NetworkSpec, share: float, edges: bool) -> NetworkSpec:
    """What is rehearsed: the run without its warm-up, so that what it is for is seen and recorded at once."""
    network = scaled(spec, share) if share < 1 else spec
    record = spec.record.model_copy(update={"edges": edges})
    duration = spec.warmup + spec.duration
    return network.model_copy(update={"warmup": 0.0, "duration": duration, "record": record})


def _rehearse(
    spec: NetworkSpec, families: Mapping[str, Family], cores: Mapping[str, Core], seconds: float, whole: bool
) -> _Rehearsed:
    """``whole``: the network is the one to run, so that it has to have cells wherever it wants some."""
    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="noble-net-") as folder, RunDirectory(folder) as directory:
        with clock("build"):
            network = assemble(spec, families, {name: core.info for name, core in cores.items()})
            if whole:
                check_targets(network)
        with clock("load"):
            compile_loop(network, cores)
        with clock("build"):
            loop = Loop(network, cores)
        with clock("write"):
            directory.write_network(network)
        told = rehearse(loop, directory, seconds)
        held = held_bytes(loop)
    spikes, simulated = sum(each.sum() for each in told.counts.values()), loop.position * DT
    rate = 1000.0 * float(spikes) / (network.n_cells * simulated)
    took = clock.seconds
    return _Rehearsed(
        cells=network.n_cells,
        compile=took["load"],
        build=took["build"],
        write=took["write"],
        per_ms=told.seconds_per_ms,
        bytes=held,
        simulated=simulated,
        rate=rate,
    )


def held_bytes(root: object) -> int:
    """Bytes of all numpy arrays that an object holds, each once, however many hold it."""
    seen: set[int] = set()
    total, left = 0, [root]
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, np.ndarray):
            if each.base is None:
                total += each.nbytes
            else:
                left.append(each.base)
        else:
            left.extend(_parts(each))
    return total


def _parts(each: object) -> Iterable[Any]:
    if isinstance(each, Mapping):
        return each.values()
    if isinstance(each, list | tuple | set):
        return each
    return vars(each).values() if hasattr(each, "__dict__") and not isinstance(each, type) else ()


def _short(seconds: float) -> str:
    return f"{seconds:.2g}" if seconds < 10 else f"{seconds:,.0f}"
