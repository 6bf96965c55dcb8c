"""Networks on a GPU: seconds of wall time a biological second, synaptic events a second, memory. Scoreboard rows.

    python benchmarks/device.py                             10⁶ cells × 1,000 synapses at most; 3 minutes
    python benchmarks/device.py 100000x1000 1000000x100     other sizes, cells x in-degree, small ones first
    python benchmarks/device.py --device cpu 1000x100       PyTorch on CPUs, to try the script; records nothing

Each network is built once, on CPUs, and run on both cores: integrate-and-fire on the grid, driven by a step of current
that differs from cell to cell, and pv-stream, driven by fluctuating current. Its weights balance each other, so that
the rate is that of the drive whatever the size. First, pv-stream alone: 10⁶ cells under a current that lies ready.
A size that does not fit, or would take too long, is told and left out.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import time
from dataclasses import replace
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from scoreboard import Target, record

from noble_net.config import NetworkSpec, network_from
from noble_net.device.cores import DeviceDrive, device_core
from noble_net.device.fused import fused
from noble_net.device.loop import DeviceLoop
from noble_net.network.build import Network, assemble
from noble_net.registry import load_core, load_family
from noble_net.surrogate.core import Core
from noble_net.types import DT

COMMAND = "python benchmarks/device.py"
ISSUE = 6
GRID, STREAM, FAMILY = "integrate-and-fire-grid", "pv-stream", "allen-pv-peri"
SIZES = ("100000x1000", "1000000x1000")
TARGET = (1_000_000, 1000)
"""Cells and in-degree that the scoreboard asks for."""
MOST_SECONDS = 20.0
"""Wall time of one measurement; the network then has run for less than a second."""
DIFFERENT = 10_000
"""Different cells of a trained core: more of them repeat these."""
ALONE_SAMPLES, ALONE_REPEATS = 100, 20
LAST_START = 180.0
"""Seconds after which no further network is built."""


class Size(NamedTuple):
    """Cells, and synapses onto each."""

    cells: int
    indegree: int

    @staticmethod
    def read(text: str) -> Size:
        """A size such as 1000x100."""
        cells, _, indegree = text.partition("x")
        return Size(int(cells), int(indegree))


class Measured(NamedTuple):
    """What a network did: wall s a biological s, rate (Hz), synaptic events a wall second, peak memory of the device
    (GB, 0 where unknown) and the biological ms it ran for."""

    seconds: float
    rate: float
    events: float
    memory: float
    simulated: float


def main() -> None:
    """Measure and, on a GPU, record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="*", type=Size.read, default=[Size.read(each) for each in SIZES])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tf32", action="store_true", help="matrix products of 10 bits, not 23")
    asked = parser.parse_args()
    torch.set_float32_matmul_precision("high" if asked.tf32 else "highest")
    card = (
        torch.cuda.get_device_name() if asked.device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    )
    print(f"{card}, {os.cpu_count()} CPU cores, PyTorch {torch.__version__}", flush=True)
    begun = time.perf_counter()
    alone = measure_alone(asked.device, card)
    if asked.device == "cuda":
        record(alone)
    release(asked.device)
    for size in asked.sizes:
        if time.perf_counter() - begun > LAST_START:
            print(f"{size.cells:,} x {size.indegree:,}: left out, it is too late")
            break
        rows = measure_size(size, asked.device, card)
        if asked.device == "cuda":
            record(rows)


def measure_alone(device: str, card: str) -> list[Target]:
    """The trained core without a network."""
    number = TARGET[0] if device == "cuda" else DIFFERENT
    (few,) = built(Size(min(number, DIFFERENT), 0), STREAM).populations
    core = device_core(load_core(STREAM), device)
    state = core.begin(few.cells.take(np.arange(number) % few.size))
    current = 0.15 + 0.1 * torch.randn((1, ALONE_SAMPLES, number), device=device)
    drive = DeviceDrive(current, None, torch.zeros_like(current))
    seconds = []
    for _ in range(ALONE_REPEATS + 1):
        begin = time.perf_counter()
        core.advance(state, drive)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append((time.perf_counter() - begin) * 1000.0 / (ALONE_SAMPLES * DT))
    value = statistics.median(seconds[1:])  # the first one compiles
    about = (
        f"{number:,} cells, current as float32 [samples, cells] that lies ready, blocks of {ALONE_SAMPLES * DT:g} ms, "
        f"spikes detected; median of {ALONE_REPEATS}; {card}, PyTorch {torch.__version__}, {products(device)}"
    )
    print(f"{STREAM} alone: {value:.3f} s a biological second\n    {about}", flush=True)
    name = f"{STREAM} on a GPU, core alone, 10⁶ cells: wall time a biological second"
    return [Target(4, name, "≤ 1", value, "s", about, COMMAND)]


def measure_size(size: Size, device: str, card: str) -> list[Target]:
    """Both cores at one size; the rows of the scoreboard where it asks for that size."""
    begin = time.perf_counter()
    plain = built(size, GRID)
    took, rows = time.perf_counter() - begin, []
    print(f"{size.cells:,} cells x {size.indegree:,}: built in {took:.1f} s", flush=True)
    for core in (STREAM, GRID):
        network = plain if core == GRID else on_core(plain, size, core)
        try:
            found = measured(network, core, device)
        except torch.OutOfMemoryError as error:
            print(f"  {core}: does not fit: {str(error).splitlines()[0]}")
            continue
        finally:
            release(device)
        about = (
            f"{size.cells:,} cells, in-degree {size.indegree:,}, {found.rate:.1f} Hz, delays of 1–10 ms; "
            f"{found.simulated:g} ms after 20 ms, {found.events / 1e6:,.0f} million synaptic events a second, "
            f"{found.memory:.1f} GB on the device; {card}, {os.cpu_count()} CPU cores, PyTorch {torch.__version__}, "
            f"{products(device)}; built by {numba.get_num_threads()} CPU threads in {took:.0f} s"
        )
        print(f"  {core}: {found.seconds:.3f} s a biological second\n    {about}", flush=True)
        if size == TARGET:
            rows += [
                Target(ISSUE, f"{core} on a GPU, {name}", limit, value, unit, about, COMMAND)
                for name, limit, value, unit in (
                    ("10⁶ cells × 1,000 synapses: wall time a biological second", "≤ 2", found.seconds, "s"),
                    ("10⁶ cells × 1,000 synapses: mean rate", "≥ 5", found.rate, "Hz"),
                )
            ]
    return rows


def measured(network: Network, core: str, device: str) -> Measured:
    """Run a network for a second, or as long as there is time, after 20 ms that do not count."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    loop = DeviceLoop(network, {core: load_core(core)}, device, everything=False)
    degree = np.diff(network.projections[0].indptr)
    while loop.position * DT < 20.0:
        loop.advance()
    first, spikes, events = loop.position, 0, 0
    begin = time.perf_counter()
    while loop.position - first < round(1000.0 / DT) and time.perf_counter() - begin < MOST_SECONDS:
        (response,) = loop.advance().values()  # which waits for the device
        spikes += response.event_cell.size
        events += int(degree[response.event_cell].sum())
    if device == "cuda":
        torch.cuda.synchronize()
    wall, simulated = time.perf_counter() - begin, (loop.position - first) * DT
    memory = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else 0.0
    rate = 1000.0 * spikes / (network.n_cells * simulated)
    return Measured(1000.0 * wall / simulated, rate, events / wall, memory, simulated)


def products(device: str) -> str:
    """How matrix products are computed."""
    if fused(torch.device(device)):
        return "Triton kernels"
    tf32 = torch.get_float32_matmul_precision() == "high"
    return f"PyTorch alone, {'TF32' if tf32 else 'float32'} matrix products"


def release(device: str) -> None:
    """Give back what the last network took."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def built(size: Size, core: str) -> Network:
    """The network's arrays."""
    info = load_core(core).info
    return assemble(spec(size, core), {FAMILY: load_family(FAMILY)}, {core: info})


def on_core(network: Network, size: Size, core: str) -> Network:
    """The same synapses between cells of another core."""
    (few,) = built(Size(min(size.cells, DIFFERENT), 0), core).populations
    cells = few.cells.take(np.arange(size.cells) % few.size)
    loaded: Core = load_core(core)
    step = loaded.step_samples
    return replace(
        network,
        spec=spec(size, core),
        populations=(replace(few, size=size.cells, cells=cells),),
        block_samples=network.block_samples // step * step,
        step_samples=step,
    )


def spec(size: Size, core: str) -> NetworkSpec:
    """The network of a size on a core; without synapses where the in-degree is 0."""
    step = {"amplitude": {"uniform": {"low": "0.12 nA", "high": "0.25 nA"}}, "start": "0 ms", "stop": "2 s"}
    noise = {"mean": "0.09 nA", "sigma": "0.1 nA", "tau": "5 ms"}
    cells = {"family": FAMILY, "sample": {"from": "gaussian"}} if core == STREAM else {}
    projection: dict[str, Any] = {
        "name": "all",
        "from": "cells",
        "to": "cells",
        "rule": {"fixed_indegree": {"indegree": size.indegree}},
        "synapse": "syn",
        "weight": {"normal": {"mean": "0 pA", "std": "2 pA"}},
        "delay": {"uniform": {"low": "1 ms", "high": "10 ms"}},
    }
    return network_from(
        {
            "name": "device",
            "seed": 1,
            "duration": "2 s",
            "core": core,
            "populations": {"cells": {"size": size.cells, **cells}},
            "synapses": {"syn": {"model": "exp", "decay": "2 ms"}},
            "projections": [projection] if size.indegree else [],
            "stimuli": [
                {"to": "cells", **({"step": step} if core == GRID else {"ornstein_uhlenbeck": noise})}
            ],
            "record": {"spikes": "none"},
        }
    )


if __name__ == "__main__":
    main()
