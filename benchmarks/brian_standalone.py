"""What a family's point cells cost in Brian2's C++ standalone mode, the fastest way to run them there.

    python benchmarks/brian_standalone.py FAMILY CELLS MS THREADS     prints seconds of wall time for a ms of one cell

The cells of `--backend brian2`, 16 members over and over, at 1.5 times their threshold, steps of 0.025 ms, without
synapses and recordings. The compiled program is timed, its 100 ms to come to rest among what counts.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from dataclasses import fields, replace
from typing import Any

import numpy as np

from noble_net.cells.solver import REFERENCE_DT
from noble_net.config import network_from
from noble_net.network.build import build_network
from noble_net.reference.brian_cells import RESET, THRESHOLD, equations, step_code
from noble_net.reference.brian_loop import EQUILIBRATE, EQUILIBRATED, set_constants
from noble_net.reference.neuron_network import NEURON
from noble_net.reference.point_cells import PointCells, reduce_cells
from noble_net.registry import load_family
from noble_net.types import DT

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import brian2 as b2

SETTLE = 100.0
MEMBERS = 16
"""Reduced in NEURON, which takes it most of a second each."""


def main(name: str, size: int, duration: float, threads: int) -> float:
    """Seconds for a ms of one cell."""
    family = load_family(name)
    population = {"family": name, "size": min(size, MEMBERS), "sample": {"from": "members", "role": "train"}}
    spec = network_from(
        {"name": "alone", "duration": "1 ms", "core": name, "populations": {"cells": population}}
    )
    (members,) = build_network(spec, {name: family}, {name: NEURON}).populations
    cells = repeated(reduce_cells(members, family.model), size)
    with tempfile.TemporaryDirectory() as folder:
        b2.set_device("cpp_standalone", directory=folder, build_on_run=False)
        b2.prefs.devices.cpp_standalone.openmp_threads = threads if threads > 1 else 0
        b2.defaultclock.dt = REFERENCE_DT * b2.ms
        group = b2.NeuronGroup(
            size, equations(cells, {}), threshold=THRESHOLD, reset=RESET, namespace={"celsius": cells.celsius}
        )
        group.run_regularly(step_code(cells, {}), when="groups")
        set_constants(group, cells)
        network = b2.Network(group)
        group.step, group.held_step, group.sending = EQUILIBRATE, 0.0, 0.0
        network.run(EQUILIBRATED * DT * b2.ms)
        group.step, group.held_step = REFERENCE_DT, REFERENCE_DT
        network.run(SETTLE * b2.ms)
        group.armed, group.sending = 1.0, 1.0
        group.i_in = 1500.0 * np.resize(members.cells.features["I_thr"], size)
        network.run(duration * b2.ms)
        b2.device.build(directory=folder, compile=True, run=True)
        taken = float(b2.device._last_run_time)
    return taken / (size * (EQUILIBRATED * DT + SETTLE + duration))


def repeated(cells: PointCells, size: int) -> PointCells:
    """The same cells over and over, so many of them."""

    def many(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: many(each) for key, each in value.items()}
        return np.resize(value, size) if isinstance(value, np.ndarray) else value

    return replace(cells, **{field.name: many(getattr(cells, field.name)) for field in fields(cells)})


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        print(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
