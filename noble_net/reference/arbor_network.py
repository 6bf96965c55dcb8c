"""Simulate a network file in Arbor: the same cells, edges, noise, warm-up and results as in NEURON.

>>> from noble_net.reference.arbor_network import simulate_arbor           # doctest: +SKIP
>>> results = simulate_arbor("networks/pv-small.yaml", out="runs/pv-small-arbor")  # doctest: +SKIP

How a cell of NEURON becomes one of Arbor is told in `noble_net.reference.arbor_cells`, how it is driven in
`noble_net.reference.arbor_pool`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from noble_net.cells.mechanisms import load_mechanisms
from noble_net.cells.solver import REFERENCE_DT
from noble_net.config import NetworkSpec
from noble_net.network.check import check_network
from noble_net.processes import cores
from noble_net.recorded_run import Progress, load_families
from noble_net.reference.arbor_cells import arbor, refuse_unknown
from noble_net.reference.arbor_pool import ArborPool
from noble_net.reference.exact_loop import ExactLoop
from noble_net.reference.exact_pool import members_of
from noble_net.reference.neuron_cells import load_models
from noble_net.reference.reference_run import Asked, Backend, Made, run_reference
from noble_net.reference.refusals import (
    refuse_closed_form,
    refuse_junctions,
    refuse_reports,
    refuse_spread_stimuli,
)
from noble_net.results import Results
from noble_net.specs.basics import ZONES
from noble_net.types import CoreInfo

if TYPE_CHECKING:
    from noble_net.cells.family import Family
    from noble_net.network.build import Network

BACKEND = Backend("arbor", "arbor", ("arbor", "neuron"))

ARBOR = CoreInfo("arbor", ZONES, 1, nmda=False)
"""What a network may ask of this backend: input in all zones, delays of one sample and more."""


def check(spec: NetworkSpec) -> dict[str, CoreInfo]:
    """Refuse, by a NobleNetError, a network that the backend does not hold; returns what stands for its cores."""
    refuse_closed_form(spec)
    refuse_junctions(spec, "into Arbor", "take the neuron or the surrogate backend")
    refuse_reports(spec, "Arbor")
    refuse_spread_stimuli(spec, "Arbor")
    infos = {spec.core_of(name): ARBOR for name in spec.populations}
    check_network(spec, infos)
    arbor()
    for family in load_families(spec).values():
        refuse_unknown(family)
    return infos


def simulate_arbor(
    network: NetworkSpec | Path | str,
    *,
    out: Path | str | None = None,
    seed: int | None = None,
    duration: float | str | None = None,
    threads: int | None = None,
    dt: float = REFERENCE_DT,
    overwrite: bool = False,
    report: bool = True,
    progress: Progress | None = None,
) -> Results:
    """Run a network of exact cells in Arbor and return its results, which lie in the folder ``out``.

    The network, ``seed``, ``duration`` (ms, or text with a unit), ``overwrite`` and ``report`` are those of
    `noble_net.simulate`, and so are the files. Each synapse of a dendritic zone is at a point of its own, as in NEURON
    with `placement="points"`. ``dt``: Arbor's step in ms, which must divide the 0.1 ms sample; its solver is of first
    order (implicit Euler). ``threads`` (default: all cores) changes no result. Memory does not grow with simulated
    time.

    Raises ConfigError for a wrong network or reports it cannot give, BackendError, naming it, for what it does not
    hold, MissingExtraError without Arbor, NEURON (which builds the cells) or bmtk, SolverError for a cell whose voltage
    is not finite, and OutputError when ``out`` is in use or the disk is full.
    """
    threads = threads or cores()

    def made(built: Network, families: dict[str, Family]) -> Made:
        pool = ArborPool(members_of(built, load_models(built, families)), dt, threads)
        engine = ExactLoop(built, pool, "points", "Arbor")
        solver = {"dt_ms": dt, "placement": "points", "segments_per_cell": engine.segments}
        return Made(engine, solver, {"threads": threads})

    asked = Asked(network, out, seed, duration, dt, overwrite, report, progress)
    return run_reference(asked, BACKEND, check, made, load_mechanisms)
