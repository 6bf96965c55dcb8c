"""How a run's cost grows with its cells and with its synapses. Scoreboard rows.

    python benchmarks/scaling.py       five minutes on idle cores

Cells: 1,000 to 100,000 of `pv-stream` with 100 synapses each. Synapses: 5,000 integrate-and-fire cells with 1,000 to
8,000 synapses each, weak enough to change no rate; of their cost that without any is taken off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from network_layer import pv_network, random_network
from scoreboard import RESULTS, Target, record

from noble_net.bench.networks import Run, run_network, settings_of, slope

COMMAND = "python benchmarks/scaling.py"
ISSUE = 6
CELLS = (1000, 3162, 10_000, 31_623, 100_000)
INDEGREES = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Times a thousand."""
REPEATS = 3
CELL_MS = 2_000_000
"""Timed at once, whatever the cells: some seconds."""


def main() -> None:
    """Measure, print and record."""
    alike = {"precision": ["float32"], "threads": [os.cpu_count() or 1], "block": [None], "batch": [None]}
    sized = [settings_of(cells=[n], indegree=[1.0], **alike, duration=[CELL_MS // n]) for n in CELLS]
    by_cells = run_network(
        pv_network(),
        [setting for settings in sized for setting in settings],
        REPEATS,
        lambda done, of: print(f"cells: {done} of {of}", flush=True),
    )
    weak = random_network(5000, 1000, weight="0.001 pA")
    by_synapses = run_network(
        weak,
        settings_of(cells=[None], indegree=INDEGREES, **alike, duration=[1000.0]),
        REPEATS,
        lambda done, of: print(f"synapses: {done} of {of}", flush=True),
    )
    rows = [grown_by_cells(by_cells)]
    record(rows)
    rows.append(grown_by_synapses(by_synapses))
    record(rows, whole=True)
    told = {"cells": [run.to_json() for run in by_cells], "synapses": [run.to_json() for run in by_synapses]}
    (RESULTS / "scaling.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        print(row.line(), "|", row.conditions)


def grown_by_cells(runs: Sequence[Run]) -> Target:
    """Distance from 1 of the log–log slope of the wall time over cells, and synapses with them."""
    found = slope([run.cells for run in runs], [run.seconds for run in runs])
    about = (
        f"slope {found:.3f}; pv-stream, {runs[0].cells:,} to {runs[-1].cells:,} cells, 100 synapses each, "
        f"{runs[0].rate:.0f} to {runs[-1].rate:.0f} Hz, {runs[0].setting.threads} threads, median of {REPEATS}"
    )
    return Target(
        ISSUE, "cost over cells: log–log slope less 1", "≤ 0.05", abs(found - 1), "", about, COMMAND
    )


def grown_by_synapses(runs: Sequence[Run]) -> Target:
    """Distance from 1 of the log–log slope of what synapses add to the wall time, over synapses."""
    without, *others = runs
    added = [run.seconds - without.seconds for run in others]
    if min(added) <= 0.0:
        raise SystemExit(
            f"synapses cost nothing that could be told from the machine's noise ({added}): is it idle?"
        )
    found = slope([run.synapses for run in others], added)
    each = added[-1] / (others[-1].rate * others[-1].synapses)
    about = (
        f"slope {found:.3f}; {without.cells:,} integrate-and-fire cells at {without.rate:.0f} Hz, "
        f"{others[0].synapses:,} to {others[-1].synapses:,} synapses, cost beyond that of none "
        f"({1e9 * each:.1f} ns an event at the end), {without.setting.threads} threads, median of {REPEATS}"
    )
    return Target(
        ISSUE, "cost over synapses: log–log slope less 1", "≤ 0.05", abs(found - 1), "", about, COMMAND
    )


if __name__ == "__main__":
    main()
