"""Simulate a network file in Brian2, its cells reduced to one compartment: the same edges, noise, warm-up and results.

>>> from noble_net.reference.brian_network import simulate_brian           # doctest: +SKIP
>>> results = simulate_brian("networks/pv-small.yaml", out="runs/pv-small-brian")  # doctest: +SKIP

How a member becomes a point cell is told in `noble_net.reference.point_cells`, how the network runs in
`noble_net.reference.brian_loop`.
"""

from __future__ import annotations

import importlib.util
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from noble_net.cells.solver import REFERENCE_DT
from noble_net.config import NetworkSpec
from noble_net.errors import MissingExtraError
from noble_net.network.check import check_network
from noble_net.recorded_run import Progress, load_families
from noble_net.reference.point_cells import refuse_unknown
from noble_net.reference.reference_run import Asked, Backend, Made, run_reference
from noble_net.reference.refusals import (
    refuse_closed_form,
    refuse_junctions,
    refuse_plasticity,
    refuse_reports,
)
from noble_net.results import Results
from noble_net.types import CoreInfo

if TYPE_CHECKING:
    from noble_net.cells.family import Family
    from noble_net.network.build import Network
    from noble_net.reference.brian_loop import Codegen

BACKEND = Backend("brian2", "brian2", ("brian2", "neuron"))

BRIAN2 = CoreInfo("brian2", ("soma",), 1, nmda=True)
"""What a network may ask of this backend: input at the soma, delays of one sample and more, NMDA synapses."""


def check(spec: NetworkSpec) -> dict[str, CoreInfo]:
    """Refuse, by a NobleNetError, a network that the backend does not hold; returns what stands for its cores."""
    refuse_closed_form(spec)
    refuse_junctions(spec, "into Brian2", "take the neuron or the surrogate backend")
    refuse_plasticity(spec, "brian2")
    refuse_reports(spec, "Brian2")
    cores = {spec.core_of(name): BRIAN2 for name in spec.populations}
    check_network(spec, cores)
    if importlib.util.find_spec("brian2") is None:
        raise MissingExtraError("Brian2", "reference")
    for family in load_families(spec).values():
        refuse_unknown(family)
    return cores


def simulate_brian(
    network: NetworkSpec | Path | str,
    *,
    out: Path | str | None = None,
    seed: int | None = None,
    duration: float | str | None = None,
    dt: float = REFERENCE_DT,
    codegen: Codegen = "cython",
    overwrite: bool = False,
    report: bool = True,
    progress: Progress | None = None,
) -> Results:
    """Run a network of point cells in Brian2 and return its results, which lie in the folder ``out``.

    The network, ``seed``, ``duration`` (ms, or text with a unit), ``overwrite`` and ``report`` are those of
    `noble_net.simulate`, and so are the files. ``dt`` is Brian2's step in ms, which must divide the 0.1 ms sample.
    ``codegen``: `cython` compiles the equations, once for each family and set of synapses (half a minute to minutes),
    and then goes on with what was compiled; `numpy` needs no compiler, and is some six times slower for few cells.

    Raises ConfigError for a wrong network or reports it cannot give, BackendError, naming it, for what it does not
    hold, MissingExtraError without Brian2, NEURON (which measures the members) or bmtk, SolverError for a cell whose
    voltage is not finite, and OutputError when ``out`` is in use or the disk is full.
    """

    def made(built: Network, families: dict[str, Family]) -> Made:
        from noble_net.reference.brian_loop import BrianLoop

        solver = {
            "dt_ms": dt,
            "codegen": codegen,
            "segments_per_cell": dict.fromkeys(built.spec.populations, 1),
        }
        return Made(BrianLoop(built, families, dt, codegen), solver, {"threads": 1})

    asked = Asked(network, out, seed, duration, dt, overwrite, report, progress)
    return run_reference(asked, BACKEND, check, made, lambda: import_module("noble_net.reference.brian_loop"))
