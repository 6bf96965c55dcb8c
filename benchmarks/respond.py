"""Step responses of 515 ms per second: a core one at a time and at its best batch, beside serial NEURON.

    python benchmarks/respond.py            every shipped core with a family; rows for the scoreboard
    python benchmarks/respond.py --smoke    a toy run that records nothing

One run on one machine, alternating, medians. NEURON solves the 515 ms alone (no settling); a core pays for everything
it does, settling included. Needs [reference], and [train] for NOBLE cores.
"""

from __future__ import annotations

import os
import statistics
import sys
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


class Size(NamedTuple):
    """How much is measured: repeats, traces NEURON solves in each, batches tried."""

    repeats: int
    neuron: int
    batches: tuple[int, ...]


FULL = Size(5, 4, (1, 8, 32, 64, 128, 256, 512))
SMOKE = Size(1, 1, (1, 8))


def main() -> None:
    """Measure every core and record."""
    smoke = "--smoke" in sys.argv[1:]
    size = SMOKE if smoke else FULL
    names = [*shipped()["cores"], *shipped()["step cores"]]
    cores = [core for core in (load_step_core(name) for name in names) if core.family]
    for core in cores:
        rows = measure(core, size)
        for target in rows:
            print(f"{target.line()}\n    {target.conditions}", flush=True)
        if not smoke:
            record(rows)


def measure(core: StepCore, size: Size) -> list[Target]:
    """Ratios of one core to NEURON, at batch 1 and at the best batch."""
    exact = ExactSteps(load_family(core.family), settle=0.0)
    times: dict[int, list[float]] = {batch: [] for batch in (0, *size.batches)}  # 0: NEURON
    for batch in size.batches:
        seconds(core, batch)  # compile and warm up
    for _ in range(size.repeats):
        times[0].append(seconds(exact, size.neuron))
        for batch in size.batches:
            times[batch].append(seconds(core, batch))
    per_trace = {batch: statistics.median(values) for batch, values in times.items()}
    best = min(size.batches, key=lambda batch: per_trace[batch])
    speed = ", ".join(f"{batch}: {1.0 / per_trace[batch]:.1f}" for batch in size.batches)
    conditions = (
        f"traces of {core.protocol.total:g} ms at 0.2 nA, {os.cpu_count()} CPU cores, NUMBA_NUM_THREADS="
        f"{os.environ.get('NUMBA_NUM_THREADS', 'all')}; alternating, medians of {size.repeats}; serial NEURON "
        f"(dt 0.025 ms, Crank–Nicolson, no settling) {per_trace[0]:.3f} s a trace; traces/s by batch: {speed}"
    )
    label = f"respond, {core.name}: times faster than serial NEURON"
    return [
        Target(ISSUE, f"{label}, {text}", "≥ 1", per_trace[0] / per_trace[batch], "×", conditions, COMMAND)
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
