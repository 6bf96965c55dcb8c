"""Step responses of 515 ms per second: a core one at a time and at its best batch, beside serial NEURON.

    python benchmarks/respond.py [CORE ...]       default: every shipped core with a family; scoreboard rows
    python benchmarks/respond.py --device cuda    the NOBLE cores on a GPU, which the rows name
    python benchmarks/respond.py --smoke          a toy run that records nothing

CORE: a shipped name or a checkpoint's folder. One run on one machine, alternating, medians. NEURON solves the 515 ms
alone (no settling), one response after another; a core pays for everything it does, settling included. Targets are what
the paper gives for NOBLE on a GPU (arXiv 2506.04536): 10,000 such responses in 157 s at batch 1 and in 8.59 s at batch
1000, beside 36,200 s of NEURON. Needs [reference], and [train] for NOBLE.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import NamedTuple

import numpy as np
from scoreboard import Target, record

from noble_net.reference.exact_steps import ExactSteps
from noble_net.registry import load_family, load_step_core, shipped
from noble_net.surrogate.step_core import StepCore
from noble_net.types import Float64

COMMAND = "python benchmarks/respond.py"
ISSUE = 3
PAPER = {"batch 1": 230, "best batch": 4200}
"""Times faster than NEURON solving one at a time, of NOBLE on an RTX 4090."""


class Size(NamedTuple):
    """How much is measured: repeats, traces NEURON solves in each, batches tried."""

    repeats: int
    neuron: int
    batches: tuple[int, ...]


FULL = Size(5, 4, (1, 8, 32, 64, 128, 256, 512))
ON_GPU = Size(5, 4, (1, 8, 64, 256, 1024, 2048))
SMOKE = Size(1, 1, (1, 8))


def main() -> None:
    """Measure every core and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cores", nargs="*")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--smoke", action="store_true")
    asked = parser.parse_args()
    on_cpu = asked.device == "cpu"
    size = SMOKE if asked.smoke else FULL if on_cpu else ON_GPU
    known = shipped()
    names = asked.cores or [*(known["cores"] if on_cpu else ()), *known["step cores"]]
    cores = [core for core in (load_step_core(name, asked.device) for name in names) if core.family]
    for core in cores:
        rows = measure(core, size, "" if on_cpu else card())
        for target in rows:
            print(f"{target.line()}\n    {target.conditions}", flush=True)
        if not asked.smoke:
            record(rows)


def card() -> str:
    """The GPU's name."""
    import torch

    return str(torch.cuda.get_device_name())


def measure(core: StepCore, size: Size, gpu: str = "") -> list[Target]:
    """Ratios of one core to NEURON, at batch 1 and at the best batch; ``gpu``: the card it runs on, if any."""
    exact = ExactSteps(load_family(core.family), settle=0.0)
    times: dict[int, list[float]] = {batch: [] for batch in (0, *size.batches)}  # 0: NEURON
    for batch in size.batches:
        seconds(core, batch)  # compile and warm up
    seconds(exact, 1)
    for _ in range(size.repeats):
        times[0].append(seconds(exact, size.neuron))
        for batch in size.batches:
            times[batch].append(seconds(core, batch))
    per_trace = {batch: statistics.median(values) for batch, values in times.items()}
    best = min(size.batches, key=lambda batch: per_trace[batch])
    speed = ", ".join(f"{batch}: {1.0 / per_trace[batch]:.1f}" for batch in size.batches)
    machine = f"{f'{gpu}, ' if gpu else ''}{os.cpu_count()} CPU cores"
    conditions = (
        f"traces of {core.protocol.total:g} ms at 0.2 nA, {machine}, NUMBA_NUM_THREADS="
        f"{os.environ.get('NUMBA_NUM_THREADS', 'all')}; alternating, medians of {size.repeats}; serial NEURON "
        f"(dt 0.025 ms, Crank–Nicolson, no settling) {per_trace[0]:.3f} s a trace; traces/s by batch: {speed}; the "
        f"paper, on an RTX 4090: {PAPER['batch 1']}× and {PAPER['best batch']}×"
    )
    label = f"respond, {core.name}{f' on {gpu}' if gpu else ''}: times faster than serial NEURON"
    return [
        Target(
            ISSUE,
            f"{label}, {text}",
            f"≥ {PAPER[text]}",
            per_trace[0] / per_trace[batch],
            "×",
            conditions,
            f"{COMMAND} --device cuda" if gpu else COMMAND,
        )
        for text, batch in (("batch 1", 1), ("best batch", best))
    ]


def seconds(core: StepCore, number: int) -> float:
    """Wall time per trace of so many members answered at once."""
    family = load_family(core.family)
    ids = family.ids()
    cells = family.cells([ids[i % len(ids)] for i in range(number)])
    amplitude: Float64 = np.full(number, 0.2)
    started = time.perf_counter()
    core.respond(cells, amplitude)
    return (time.perf_counter() - started) / number


if __name__ == "__main__":
    main()
