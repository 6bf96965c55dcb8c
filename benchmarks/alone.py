"""What the cells of a family cost by themselves in other simulators: no synapses, no events, a constant current."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from noble_net.cells.family import Family
from noble_net.cells.solver import REFERENCE_DT
from noble_net.reference.arbor_pool import ArborPool
from noble_net.reference.exact_pool import Inputs, Layout, Members
from noble_net.types import DT

GROUP = 16
"""Cells of a family in Arbor and CoreNEURON."""
SIMULATED = 300.0
"""Of each, ms."""


def in_arbor(family: Family, threads: int) -> float:
    """Seconds for a ms of a cell in Arbor at 1.5 times the threshold, implicit Euler with steps of 0.025 ms."""
    cells = family.cells(family.ids("train")[:GROUP])
    pool = ArborPool(
        [Members("cells", family.model, GROUP, cells.parameters)], REFERENCE_DT, threads, settle=1.0
    )
    pool.settle(Layout([], [], []))
    soma = np.zeros((3, GROUP, round(SIMULATED / DT)), np.float32)
    soma[0] = 1.5 * cells.features["I_thr"][:, None]
    begin = time.perf_counter()
    pool.advance(Inputs(soma, [], []))
    taken = time.perf_counter() - begin
    pool.close()
    return taken / (GROUP * SIMULATED)


def by_script(name: str, family: Family, threads: int, cells: int = GROUP) -> float:
    """Seconds for a ms of a cell as a script of this folder, in a process of its own, tells it."""
    script = Path(__file__).with_name(f"{name}.py")
    command = [sys.executable, str(script), family.name, str(cells), str(SIMULATED), str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
