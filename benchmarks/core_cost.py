"""What a streaming core costs, beside its definition in PyTorch and the exact cell in NEURON and Arbor: one run, taking
turns.

    python benchmarks/core_cost.py [CORE]      default: pv-stream; scoreboard rows and results/core_cost-CORE.json
    python benchmarks/core_cost.py CORE --smoke

NEURON solves the family's members one at a time under the core's own kind of input, the settling left out; on both
cores twice as many at once, in processes. Arbor and CoreNEURON (coreneuron.py) solve sixteen members under a constant
current, without events and synapses. The windowed core of the same family, where there is one, stands beside.
Needs [reference] and [train].
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import time
from pathlib import Path
from typing import get_args

import torch
from alone import by_script, in_arbor
from scoreboard import RESULTS, Target, record

from noble_net.bench.cores import Setting, core_costs
from noble_net.bench.machine import bandwidth, products
from noble_net.fitting.objective import trained_net
from noble_net.provenance import machine
from noble_net.registry import load_core, load_family
from noble_net.specs.cores import CoreRecipe
from noble_net.specs.specification import validate_document
from noble_net.specs.yaml_source import load_document
from noble_net.surrogate.checkpoint import load_checkpoint
from noble_net.surrogate.streaming import StreamingCore
from noble_net.surrogate.streaming_torch import Dendrites
from noble_net.training.dataset import plan_runs, solve
from noble_net.types import DT, Precision

ROOT = Path(__file__).parent.parent
COMMAND = "python benchmarks/core_cost.py"
ISSUE = 4
CELLS, BLOCK = 6400, 2.0
"""Of the core: cells, and ms a call."""
REPEATS = 5
ALL_ACTIVE = "allen-pv"
"""The family that the target over NEURON names."""
WINDOWED = {"pv-stream": "pv-window"}
"""The baseline on the same family."""
SHORT, LONG = 100.0, 1100.0
"""Simulated by NEURON, ms: the difference counts."""


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("core", nargs="?", default="pv-stream")
    parser.add_argument("--smoke", action="store_true")
    asked = parser.parse_args()
    repeats = 1 if asked.smoke else REPEATS
    folder = ROOT / "surrogate/checkpoints" / asked.core
    threads = os.cpu_count() or 1
    settings = [
        Setting(asked.core, precision, 640 if asked.smoke else CELLS, BLOCK, used)
        for precision in get_args(Precision)
        for used in (1, threads)
    ]
    window = WINDOWED.get(asked.core)
    if window and (ROOT / "surrogate/checkpoints" / window).is_dir():
        settings += [Setting(window, "float32", 64, BLOCK, threads)]
    exact = Exact(asked.core)
    costs, plain, alone, together = [], [], [], []
    arbor: dict[int, list[float]] = {1: [], threads: []}
    coreneuron: dict[int, list[float]] = {1: [], threads: []}
    for _ in range(repeats):
        costs.append(core_costs(settings, 1))
        plain.append(in_pytorch(folder, 100 if asked.smoke else 1000))
        alone.append(exact.seconds_per_cell_ms())
        together.append(exact.on_all_cores(threads))
        for used, taken in arbor.items():
            taken.append(in_arbor(exact.family, used))
        for used, taken in coreneuron.items():
            taken.append(by_script("coreneuron", exact.family, used))
    found = {
        (setting.core, setting.precision, setting.threads): statistics.median(
            each[i].microseconds for each in costs
        )
        for i, setting in enumerate(settings)
    }
    neuron, both, torch_us = (1e6 * statistics.median(each) for each in (alone, together, plain))
    precision, best = min(
        ((key[1], us) for key, us in found.items() if key[0] == asked.core and key[2] == threads),
        key=lambda each: each[1],
    )
    about = (
        f"{asked.core}, {CELLS:,} cells, blocks of {BLOCK:g} ms, {threads} threads, {precision}; "
        f"{machine()['processor']}, {threads} cores; median of {repeats}"
    )
    rows = [
        row("a cell-ms", "≤ 0.4", best, "µs", about),
        row("state of a cell", "≤ 512", costs[0][0].state, "bytes", "float32 arrays"),
    ]
    against = f"{about}; NEURON, one core, {exact.told}: {neuron / 1000:.2f} s per cell-second"
    if exact.family.name == ALL_ACTIVE:
        rows.append(row("times faster than serial NEURON, same CPU", "≥ 2000", neuron / best, "×", against))
    rows = [
        each._replace(name=f"{asked.core}: {each.name}", command=f"{COMMAND} {asked.core}") for each in rows
    ]
    for target in rows:
        print(f"{target.line()}\n    {target.conditions}", flush=True)
    table = {
        "core": asked.core,
        "machine": machine(),
        "us_per_cell_ms": {f"{name}, {kind}, {used} threads": us for (name, kind, used), us in found.items()},
        "pytorch_us_per_cell_ms": torch_us,
        "neuron_us_per_cell_ms": {"one core": neuron, f"{threads} cores": both},
        "arbor_us_per_cell_ms": {
            f"{used} threads": 1e6 * statistics.median(taken) for used, taken in arbor.items()
        },
        "coreneuron_us_per_cell_ms": {
            f"{used} threads": 1e6 * statistics.median(taken) for used, taken in coreneuron.items()
        },
        "times_faster": {
            "than serial NEURON": neuron / best,
            f"than NEURON on {threads} cores": both / best,
            "than PyTorch": torch_us / best,
        },
        "operations_per_ms": operations(asked.core),
        "gflops": {p: {t: products(p, t) / 1e9 for t in (1, threads)} for p in get_args(Precision)},
        "bandwidth_gb_per_s": {t: bandwidth(t) / 1e9 for t in (1, threads)},
    }
    print(json.dumps(table, indent=1))
    if not asked.smoke:
        record(rows)
        (RESULTS / f"core_cost-{asked.core}.json").write_text(
            json.dumps(table, indent=1) + "\n", encoding="utf-8"
        )


def row(name: str, target: str, value: float, unit: str, conditions: str) -> Target:
    """A row of this benchmark."""
    return Target(ISSUE, name, target, value, unit, conditions, COMMAND)


def operations(name: str) -> float:
    """Floating-point operations of a cell-ms, two a multiply-add."""
    core = load_core(name)
    assert isinstance(core, StreamingCore)
    return 2 * core.shape.products / (core.step_samples * DT)


class Exact:
    """The family's members in NEURON under the input a core was trained on."""

    def __init__(self, core: str) -> None:
        recipe = validate_document(CoreRecipe, load_document(ROOT / f"surrogate/recipes/{core}.yaml"))
        family = load_family(recipe.family)
        self.spec, self.model, self.family = recipe.dataset, family.model, family
        self.runs = [run for run in plan_runs(recipe, family) if run.part == "train"]
        self.told = f"{REPEATS} members of {family.name}, dt {self.spec.dt:g} ms"
        self.done = 0

    def seconds_per_cell_ms(self) -> float:
        """Wall time of a ms of one cell, of the next member."""
        run = self.runs[self.done % len(self.runs)]
        self.done += 1
        taken = []
        for duration in (SHORT, LONG):
            begin = time.perf_counter()
            solve(self.model, self.spec, run._replace(duration=duration))
            taken.append(time.perf_counter() - begin)
        return (taken[1] - taken[0]) / (LONG - SHORT)

    def on_all_cores(self, cores: int) -> float:
        """Wall time of a ms of a cell, where as many run at once as there are cores."""
        context = multiprocessing.get_context("fork")
        with context.Pool(cores) as pool:
            found = pool.map(_again, [self] * cores, chunksize=1)
        return max(found) / cores


def _again(exact: Exact) -> float:
    exact.done += os.getpid() % 97
    return exact.seconds_per_cell_ms()


def in_pytorch(folder: Path, cells: int, steps: int = 40) -> float:
    """Seconds that a cell-ms takes in the core's definition, on all threads that PyTorch uses."""
    checkpoint = load_checkpoint(folder)
    core = StreamingCore(checkpoint)
    zones, n = len(core.zones) - 1, core.step_samples
    net = trained_net(checkpoint)
    drive, code = torch.zeros(cells, steps, 3, n), torch.zeros(cells, core.shape.code)
    dendrites = None
    if zones:
        silent = torch.zeros(cells, steps, zones)
        nmda = (silent, torch.full((cells,), -20.5)) if core.shape.dendritic_nmda else (None, None)
        dendrites = Dendrites(silent, silent, *nmda)
    voltage = torch.full((cells, n), -80.0)
    with torch.no_grad():
        net.roll_out(drive[:, :2], voltage, code, None, dendrites)
        begin = time.perf_counter()
        net.roll_out(drive, voltage, code, None, dendrites)
        return (time.perf_counter() - begin) / (cells * steps * n * 0.1)


if __name__ == "__main__":
    main()
