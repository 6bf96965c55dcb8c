"""Simulate a network file in NEURON: the same cells, edges, noise, warm-up and results as on surrogate cores.

>>> from noble_net.reference.neuron_network import simulate_neuron           # doctest: +SKIP
>>> results = simulate_neuron("networks/pv-small.yaml", out="runs/pv-small-neuron")  # doctest: +SKIP

What is NEURON's own in it, and what is that of the loop on surrogate cores, is told in
`noble_net.reference.neuron_loop`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from noble_net.cells.mechanisms import load_mechanisms
from noble_net.cells.solver import REFERENCE_DT, SECOND_ORDER
from noble_net.config import NetworkSpec
from noble_net.network.check import check_network
from noble_net.recorded_run import Progress
from noble_net.reference.exact_inputs import Placement
from noble_net.reference.neuron_loop import NeuronLoop, refuse_shared_junctions
from noble_net.reference.reference_run import Asked, Backend, Made, run_reference
from noble_net.reference.refusals import refuse_closed_form, refuse_reports
from noble_net.results import Results
from noble_net.specs.basics import ZONES
from noble_net.types import CoreInfo

if TYPE_CHECKING:
    from noble_net.cells.family import Family
    from noble_net.network.build import Network

BACKEND = Backend("neuron", "neuron", ("neuron",))

NEURON = CoreInfo("neuron", ZONES, 1, nmda=True)
"""What a network may ask of this backend: input in all zones, NMDA synapses, delays of one sample and more."""


def check(spec: NetworkSpec, processes: int = 1) -> dict[str, CoreInfo]:
    """Refuse, by a NobleNetError, a network that the backend does not hold; returns what stands for its cores."""
    refuse_closed_form(spec)
    refuse_reports(spec, "NEURON")
    if processes > 1:
        refuse_shared_junctions(spec)
    cores = {spec.core_of(name): NEURON for name in spec.populations}
    check_network(spec, cores)
    return cores


def simulate_neuron(
    network: NetworkSpec | Path | str,
    *,
    out: Path | str | None = None,
    seed: int | None = None,
    duration: float | str | None = None,
    threads: int | None = None,
    dt: float = REFERENCE_DT,
    placement: Placement = "lumped",
    processes: int = 1,
    overwrite: bool = False,
    report: bool = True,
    progress: Progress | None = None,
) -> Results:
    """Run a network of exact cells in NEURON and return its results, which lie in the folder ``out``.

    The network, ``seed``, ``duration`` (ms, or text with a unit), ``overwrite`` and ``report`` are those of
    `noble_net.simulate`, and so are the files; ``out`` is a new folder in runs/ unless given. The
    cores the network names are not loaded: its cells run on the parameters they were sampled with. ``dt`` is
    NEURON's step in ms, which must divide the 0.1 ms sample; a fifth of the usual one shows what the solver
    itself is worth. ``placement``: synapses of a dendritic zone are spread over it by membrane area, as a core is told
    (`lumped`), or each is a point process in a segment drawn by area (`points`). ``processes``: over how many the cells
    are shared out, which changes no result; expect some tenths of a second per cell and simulated second, divided
    by their number. ``threads`` is taken so that backends can be exchanged, and has no part. Memory does not grow with
    simulated time.

    Raises ConfigError for a wrong network or reports it cannot give, BackendError for populations without exact cells,
    for zones that those do not have and for gap junctions between processes, MissingExtraError without NEURON or bmtk,
    SolverError without a compiler or for a cell whose voltage is not finite, and OutputError when ``out`` is in use or
    the disk is full. Ctrl-C leaves files that can be read.
    """

    def made(built: Network, families: dict[str, Family]) -> Made:
        engine = NeuronLoop(built, families, dt, placement, processes)
        solver = {
            "dt_ms": dt,
            "secondorder": SECOND_ORDER,
            "placement": placement,
            "segments_per_cell": engine.segments,
        }
        return Made(engine, solver, {"threads": 1, "processes": processes})

    asked = Asked(network, out, seed, duration, dt, overwrite, report, progress)
    return run_reference(asked, BACKEND, partial(check, processes=processes), made, load_mechanisms)
