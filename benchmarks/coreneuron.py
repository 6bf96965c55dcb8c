"""What a family's exact cells cost in CoreNEURON, the engine for large networks in NEURON's own wheel.

    python benchmarks/coreneuron.py FAMILY CELLS MS THREADS        prints seconds of wall time for a ms of one cell

Members at 1.5 times their threshold, Crank–Nicolson steps of 0.025 ms. The mechanisms (see
`noble_net.reference.coreneuron_library`) are compiled at the first call, which takes minutes.
"""

from __future__ import annotations

import sys
import time

from noble_net.cells.mechanisms import neuron
from noble_net.cells.solver import REFERENCE_DT, SECOND_ORDER, ExactCell
from noble_net.reference.coreneuron_library import load_coreneuron
from noble_net.registry import load_family

BEFORE = 20.0
"""Simulated before what is timed, ms."""


def main(name: str, cells: int, duration: float, threads: int) -> float:
    """Seconds for a ms of one cell, building left out."""
    coreneuron = load_coreneuron()
    h = neuron().h
    family = load_family(name)
    members = family.cells(family.ids("train")[:cells])
    context = h.ParallelContext()
    context.nthread(threads)
    built = []
    for i in range(len(members.labels)):
        cell = ExactCell(family.model)
        cell.set_parameters({key: float(values[i]) for key, values in members.parameters.items()})
        cell.drive.i0 = 1.5 * float(members.features["I_thr"][i])
        built.append(cell)
    connections = [h.NetCon(cell.soma(0.5)._ref_v, None, sec=cell.soma) for cell in built]
    for gid, connection in enumerate(connections):
        context.set_gid2node(gid, context.id())
        context.cell(gid, connection)
    h.celsius, h.dt, h.secondorder = family.model.celsius, REFERENCE_DT, SECOND_ORDER
    h.CVode().cache_efficient(True)
    coreneuron.enable, coreneuron.verbose = True, 0
    context.set_maxstep(10)
    taken = []
    for stop in (BEFORE, BEFORE + duration):  # handing the model over costs the same in both
        h.finitialize(family.model.v_init)
        begin = time.perf_counter()
        context.psolve(stop)
        taken.append(time.perf_counter() - begin)
    return (taken[1] - taken[0]) / (cells * duration)


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
