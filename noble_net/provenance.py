"""What a run was made of and how it went: summary.json and provenance.json, alike for every backend."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noble_net.config import NetworkSpec
from noble_net.network.build import Network
from noble_net.types import DT, Int64

if TYPE_CHECKING:
    from noble_net.cells.family import Family
    from noble_net.surrogate.core import Core

PACKAGES = ("noble-net", "numpy", "scipy", "numba", "h5py", "libsonata", "neuron", "torch")


OUTSIDE_WARNING = 0.01
"""Share of a population's time outside its core's envelope that is worth a warning."""


def run_summary(
    network: Network,
    *,
    backend: str,
    counts: Mapping[str, Int64],
    outside_share: Mapping[str, float],
    samples: int,
    completed: bool,
    timings: Mapping[str, float],
) -> dict[str, Any]:
    """The content of summary.json.

    ``counts``: spikes of every cell after the warm-up, int64 [cells] per population. ``outside_share``: share
    of cell-samples outside the core's envelope. ``samples``: how far the run came, warm-up included.
    ``timings`` in seconds: load, build, run, write. Real-time figures count the warm-up as simulated time.
    """
    spec = network.spec
    recorded = min(max(samples * DT - spec.warmup, 0.0), spec.duration)
    cell_seconds = network.n_cells * samples * DT / 1000.0
    wall = timings["run"]
    return {
        "name": spec.name,
        "seed": spec.seed,
        "noise_seed": spec.seed_of_noise,
        "duration_ms": spec.duration,
        "warmup_ms": spec.warmup,
        "backend": backend,
        "populations": {
            population.name: {
                "size": population.size,
                "core": population.core,
                "spikes": int(counts[population.name].sum()),
                "rate_hz": _per(1000.0 * counts[population.name].sum(), population.size * recorded),
                "silent_cells": int((counts[population.name] == 0).sum()),
                "outside_share": outside_share[population.name],
            }
            for population in network.populations
        },
        "synapses": network.n_synapses,
        "gap_junctions": network.n_gap_junctions,
        "edges_written": network.writes_edges,
        "spikes": int(sum(each.sum() for each in counts.values())),
        "timings_s": {**timings, "report": None},
        "cells_in_real_time": _per(cell_seconds, wall),
        "s_per_cell_second": _per(wall, cell_seconds),
        "peak_memory_mb": peak_memory(),
        "completed": completed,
        "simulated_ms": round(recorded, 6),
    }


def told_apart(cores: Mapping[str, Core], families: Mapping[str, Family]) -> dict[str, Any]:
    """The arguments of `run_provenance` that say by which weights and tables a network's cells are meant."""
    return {
        "cores": {name: {"name": core.name, "hash": core.hash} for name, core in cores.items()},
        "families": {name: family.hash for name, family in families.items()},
    }


def run_provenance(
    spec: NetworkSpec,
    *,
    backend: str,
    cores: Mapping[str, Mapping[str, Any]],
    families: Mapping[str, str],
    settings: Mapping[str, Any],
    device: str = "cpu",
) -> dict[str, Any]:
    """The content of provenance.json as known when a run starts; add ``finished`` and ``timings_s`` at its
    end.

    ``cores``: for each core its name and the hash of its weights; ``families``: each family's hash;
    ``settings``: what changes speed but no result, such as threads; ``device``: what the network ran on.
    """
    source = spec.source
    return {
        "backend": backend,
        "device": device,
        "seed": spec.seed,
        "noise_seed": spec.seed_of_noise,
        "started": now(),
        "network": None if source is None else {"file": str(source), "sha256": _file_hash(source)},
        "files": hashes_of_files(spec),
        "cores": {name: dict(core) for name, core in cores.items()},
        "families": dict(families),
        "settings": dict(settings),
        "versions": {"python": platform.python_version(), **versions()},
        "machine": machine(),
    }


def machine() -> dict[str, Any]:
    """System, processor and number of cores."""
    return {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()}


def hashes_of_files(spec: NetworkSpec) -> dict[str, str | None]:
    """Check sums of the files that a network file names, by path; None of one that is gone."""
    return {str(file): _file_hash(file) for file in named_files(spec)}


def now() -> str:
    """The current time, UTC, as text."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def peak_memory() -> float:
    """Largest resident memory of this process so far, MB."""
    try:  # what `getrusage` tells can be that of the process that started this one
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    except (OSError, IndexError, ValueError):
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _per(amount: float, divisor: float) -> float:
    return float(amount / divisor) if divisor > 0 else 0.0


def versions() -> dict[str, str]:
    """Versions of the packages that results may depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def named_files(spec: NetworkSpec) -> list[Path]:
    """The files of points, nodes, tables, graphs, spikes and other stimuli that a network file names."""
    populations = spec.populations.values()
    points = [each.position.points for each in populations if each.position is not None]
    nodes = [file for each in populations if each.nodes is not None for file in each.nodes.files]
    rules = [each.rule.parameters for each in spec.projections]
    rules += [each.rule.parameters for each in spec.gap_junctions]
    stimuli = [each.parameters for each in spec.stimuli]
    replays = [each.synapse_replay for each in spec.stimuli if each.synapse_replay is not None]
    spikes = [file for each in replays for file in each.files]
    files = [getattr(each, key, None) for each in (*rules, *stimuli) for key in ("file", "rate_table")]
    return [Path(file) for file in dict.fromkeys([*points, *nodes, *files, *spikes]) if file is not None]


def _file_hash(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:  # in parts: spikes to replay can be larger than memory
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:  # it was moved or changed while the run went on
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
