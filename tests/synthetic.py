"""A run directory with known content, written without simulating."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from noble_net.output import write_json
from noble_net.sonata import (
    EdgePopulation,
    NodePopulation,
    Report,
    ReportWriter,
    SpikeWriter,
    write_configs,
    write_edges,
    write_nodes,
)
from noble_net.types import Float32, Float64, Int64

Spikes = tuple[Float64, Int64]


def rhythmic_spikes(
    size: int,
    duration: float,
    *,
    rate: float = 30.0,
    frequency: float = 40.0,
    depth: float = 0.9,
    seed: int = 1,
) -> Spikes:
    """Inhomogeneous Poisson spikes of heterogeneous cells, modulated at ``frequency``, in time order."""
    rng = np.random.default_rng(seed)
    rates = rate * np.random.default_rng(99).lognormal(0.0, 0.4, size)  # the cells stay, the noise varies
    counts = rng.poisson(rates * (1 + depth) * duration / 1000)
    cells = np.repeat(np.arange(size), counts)
    times = rng.uniform(0, duration, len(cells))
    modulation = (1 + depth * np.cos(2 * np.pi * frequency * times / 1000)) / (1 + depth)
    kept = rng.random(len(cells)) < modulation
    order = np.lexsort((cells[kept], times[kept]))
    return times[kept][order], cells[kept][order]


def traces(spikes: Spikes, cells: int, duration: float, dt: float = 0.1) -> Float32:
    """Voltage with a spike where there is one, float32 [frames, cells]."""
    frames = round(duration / dt)
    voltage = np.random.default_rng(0).normal(-62.0, 1.5, (frames, cells)).astype(np.float32)
    for when, who in zip(*spikes, strict=True):
        if who < cells:
            at = int(when / dt)
            voltage[at : at + 4, who] = [-30.0, -2.0, -40.0, -70.0][: len(voltage[at : at + 4])]
    return voltage


def nodes(name: str, size: int, *, features: bool = True) -> NodePopulation:
    rng = np.random.default_rng(size)
    parameters = {"gbar_Nav": rng.lognormal(0, 0.3, size)}
    if features:
        parameters |= {"I_thr": rng.normal(0.2, 0.04, size), "s_thr": rng.normal(400, 80, size)}
    return NodePopulation(
        name, size, "noble-net:pv-stream", parameters, [f"m{i % 7:03d}" for i in range(size)]
    )


def random_edges(
    name: str, source: int, target: int, *, weight_name: str = "conductance", n: int = 60
) -> EdgePopulation:
    rng = np.random.default_rng(n)
    ends = rng.integers(0, source, n), rng.integers(0, target, n)
    weight, delay = rng.lognormal(0, 0.5, n), rng.uniform(0.5, 2.0, n)
    return EdgePopulation(name, "pv", "pv", *ends, weight, weight_name, delay, "gaba")


def write_run(
    out: Path,
    spikes: Mapping[str, Spikes],
    sizes: Mapping[str, int],
    *,
    duration: float = 2000.0,
    seed: int = 1,
    backend: str = "surrogate",
    voltage_cells: int = 3,
    features: bool = True,
    summary: Mapping[str, Any] | None = None,
) -> Path:
    """Write everything a run leaves before its report. ``voltage_cells`` 0: no voltage."""
    out.mkdir(parents=True, exist_ok=True)
    write_nodes(out / "nodes.h5", [nodes(name, size, features=features) for name, size in sizes.items()])
    first = next(iter(sizes))
    edge = random_edges("rec", sizes[first], sizes[first])
    edge = EdgePopulation(**{**vars(edge), "source": first, "target": first})
    write_edges(out / "edges.h5", [edge], sizes)
    with SpikeWriter(out / "spikes.h5", list(sizes)) as writer:
        for name, (times, cells) in spikes.items():
            writer.append(name, times, cells)
    recorded = {name: min(size, voltage_cells) for name, size in sizes.items()} if voltage_cells else None
    reports = {}
    if recorded:
        cells = {name: np.arange(n) for name, n in recorded.items()}
        reports["voltage"] = Report(cells, 0.0, duration, 0.1, "v", "mV")
        with ReportWriter(out / "voltage.h5", *reports["voltage"]) as voltage:
            for name, n in recorded.items():
                voltage.append(name, traces(spikes.get(name, (np.empty(0), np.empty(0, int))), n, duration))
    write_configs(
        out, list(sizes), {"rec": "conductance"}, duration=duration, dt=0.1, seed=seed, reports=reports
    )
    write_json(out / "summary.json", {**_summary(spikes, sizes, duration, seed, backend), **(summary or {})})
    return out


def _summary(
    spikes: Mapping[str, Spikes], sizes: Mapping[str, int], duration: float, seed: int, backend: str
) -> dict[str, Any]:
    populations = {}
    for name, size in sizes.items():
        cells = spikes[name][1] if name in spikes else np.empty(0, int)
        populations[name] = {
            "size": size,
            "core": "pv-stream",
            "spikes": len(cells),
            "rate_hz": len(cells) / size / duration * 1000,
            "silent_cells": size - len(np.unique(cells)),
            "outside_share": 0.00012,
        }
    return {
        "name": "synthetic",
        "seed": seed,
        "duration_ms": duration,
        "warmup_ms": 200.0,
        "backend": backend,
        "populations": populations,
        "synapses": 60,
        "spikes": sum(len(times) for times, _ in spikes.values()),
        "timings_s": {"load": 0.2, "build": 0.5, "run": 8.1, "write": 0.3, "report": None},
        "cells_in_real_time": 98.8,
        "s_per_cell_second": 0.0101,
        "peak_memory_mb": 512.0,
        "completed": True,
        "simulated_ms": duration,
    }
