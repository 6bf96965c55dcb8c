"""What a network costs as it grows: wall time of its run over cells, in-degree, threads, block and batch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from noble_net.config import NetworkSpec
from noble_net.errors import BackendError
from noble_net.loop import Loop, compile_loop
from noble_net.network.build import Network, assemble
from noble_net.network.scaled import scaled
from noble_net.rehearsal import held_bytes
from noble_net.simulation import load_parts, used_threads
from noble_net.types import DT

Progress = Callable[[int, int], None]

SETTLED = 100.0
"""Simulated before the clock runs, ms."""


class Setting(NamedTuple):
    """One way to run a network: cells in all (None: as in the file), in-degree over the file's, precision, threads,
    block (ms; None: the longest), cells a call of a core (None: all), ms that are timed."""

    cells: int | None
    indegree: float
    precision: str
    threads: int
    block: float | None
    batch: int | None
    duration: float


class Run(NamedTuple):
    """A network as it ran: sizes, seconds of wall time for a biological second, rate, bytes of its arrays."""

    setting: Setting
    cells: int
    synapses: int
    build: float
    seconds: float
    spread: float
    """Largest over smallest of the repeats."""
    rate: float
    bytes: int

    @property
    def events(self) -> float:
        """Synaptic events delivered in a second of wall time."""
        return self.rate * self.synapses / self.seconds

    def to_json(self) -> dict[str, Any]:
        """A row of bench.json."""
        return {
            **self.setting._asdict(),
            "cells": self.cells,
            "synapses": self.synapses,
            "build_s": self.build,
            "s_per_biological_s": self.seconds,
            "spread": self.spread,
            "us_per_cell_ms": 1e3 * self.seconds / self.cells,
            "cells_in_real_time": self.cells / self.seconds,
            "rate_hz": self.rate,
            "events_per_s": self.events,
            "bytes": self.bytes,
        }


def settings_of(**values: Sequence[Any]) -> list[Setting]:
    """Every combination."""
    return [Setting(**dict(zip(values, each, strict=True))) for each in product(*values.values())]


def run_network(
    spec: NetworkSpec, settings: Sequence[Setting], repeats: int, progress: Progress
) -> list[Run]:
    """Build and run ``spec`` in every setting, ``repeats`` stretches of ``duration`` ms one after another.

    Nothing is recorded. Raises what `noble_net.simulate` raises for a wrong network, ValueError for a block or batch
    that cannot be.
    """
    found = []
    for index, setting in enumerate(settings):
        found.append(_run(spec, setting, repeats))
        progress(index + 1, len(settings))
    return found


def _run(spec: NetworkSpec, setting: Setting, repeats: int) -> Run:
    size = sum(population.size for population in spec.populations.values())
    share = 1.0 if setting.cells is None else setting.cells / size
    wanted = spec.model_copy(update={"precision": setting.precision, "warmup": 0.0})
    wanted = wanted if share == 1 == setting.indegree else scaled(wanted, share, setting.indegree)
    cores, families = load_parts(wanted)
    with used_threads(setting.threads):
        begin = time.perf_counter()
        network = assemble(wanted, families, {name: core.info for name, core in cores.items()})
        build = time.perf_counter() - begin
        compile_loop(network, cores)
        block = None if setting.block is None else _block(network, setting.block)
        loop = Loop(network, cores, block, setting.batch)
        _advance(loop, SETTLED)
        taken = [_advance(loop, setting.duration) for _ in range(repeats)]
    seconds = [each / (milliseconds / 1000.0) for each, milliseconds, _ in taken]
    counted = sum(spikes for *_, spikes in taken)
    simulated = sum(milliseconds for _, milliseconds, _ in taken)
    return Run(
        setting,
        network.n_cells,
        network.n_synapses,
        build,
        statistics.median(seconds),
        max(seconds) / min(seconds),
        1000.0 * counted / (network.n_cells * simulated),
        held_bytes(loop),
    )


def _block(network: Network, block: float) -> int:
    """Samples of a block (ms). BackendError for one that the network cannot have."""
    try:
        return network.exact_block(round(block / DT))
    except ValueError as error:
        raise BackendError(f"{network.spec.name}: {error} samples of {DT} ms; give another --block") from None


def _advance(loop: Loop, duration: float) -> tuple[float, float, int]:
    """Seconds that a stretch took, its length (ms), and its spikes."""
    begin, first, spikes = time.perf_counter(), loop.position, 0
    while (loop.position - first) * DT < duration:
        spikes += sum(response.event_cell.size for response in loop.advance().values())
    return time.perf_counter() - begin, (loop.position - first) * DT, spikes


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Log–log slope: 1 is a cost that grows with the size."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
