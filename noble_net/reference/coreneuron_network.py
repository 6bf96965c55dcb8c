"""Simulate a network file in CoreNEURON: the same cells, edges, noise, warm-up and results as in NEURON.

>>> from noble_net.reference.coreneuron_network import simulate_coreneuron           # doctest: +SKIP
>>> results = simulate_coreneuron("networks/pv-small.yaml", out="runs/pv-small-coreneuron")  # doctest: +SKIP

How synapses and stimuli act there is told in `noble_net.reference.coreneuron_loop`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from noble_net.cells.solver import REFERENCE_DT, SECOND_ORDER
from noble_net.config import NetworkSpec
from noble_net.errors import BackendError
from noble_net.network.check import check_network
from noble_net.processes import cores
from noble_net.recorded_run import Progress, load_families
from noble_net.reference.coreneuron_loop import CoreNeuronLoop
from noble_net.reference.reference_run import Asked, Backend, Made, run_reference
from noble_net.reference.refusals import (
    refuse_closed_form,
    refuse_junctions,
    refuse_plasticity,
    refuse_reports,
)
from noble_net.results import Results
from noble_net.specs.basics import ZONES
from noble_net.types import CoreInfo

if TYPE_CHECKING:
    from noble_net.cells.family import Family
    from noble_net.network.build import Network

BACKEND = Backend("coreneuron", "neuron", ("neuron",))

CORENEURON = CoreInfo("coreneuron", ZONES, 1, nmda=True)
"""What a network may ask of this backend: input in all zones, NMDA synapses, delays of one sample and more."""


def check(spec: NetworkSpec) -> dict[str, CoreInfo]:
    """Refuse, by a NobleNetError, a network that the backend does not hold; returns what stands for its cores."""
    refuse_closed_form(spec)
    refuse_junctions(spec, "into CoreNEURON", "take the neuron or the surrogate backend")
    refuse_plasticity(spec, "CoreNEURON")
    refuse_reports(spec, "CoreNEURON")
    infos = {spec.core_of(name): CORENEURON for name in spec.populations}
    check_network(spec, infos)
    for name, family in load_families(spec).items():
        if family.model.nmodl is not None:
            raise BackendError(
                f"{spec.source or spec.name}: family {name} brings mechanisms of its own ({family.model.nmodl}), which "
                "are not compiled for CoreNEURON. Take the neuron or the surrogate backend."
            )
    return infos


def simulate_coreneuron(
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
    """Run a network of exact cells in CoreNEURON and return its results, which lie in the folder ``out``.

    The network, ``seed``, ``duration`` (ms, or text with a unit), ``overwrite`` and ``report`` are those of
    `noble_net.simulate`, and so are the files. ``dt``: the step in ms, which must divide the 0.1 ms sample. ``threads``
    (default: all cores) share the cells. The mechanisms are compiled for CoreNEURON once, which takes minutes. A
    process that has run NEURON cannot run CoreNEURON, and the other way round. Memory does not grow with simulated
    time.

    Raises ConfigError for a wrong network or reports it cannot give, BackendError for populations without exact cells,
    for plasticity, gap junctions, mechanisms of a user's own and zones that the cells do not have, MissingExtraError
    without NEURON or bmtk, SolverError without a compiler, after NEURON or for a cell whose voltage is not finite, and
    OutputError when ``out`` is in use or the disk is full. Ctrl-C leaves files that can be read.
    """
    threads = threads or cores()

    def made(built: Network, families: dict[str, Family]) -> Made:
        engine = CoreNeuronLoop(built, families, dt, threads)
        solver = {"dt_ms": dt, "secondorder": SECOND_ORDER, "segments_per_cell": engine.segments}
        return Made(engine, solver, {"threads": threads})

    asked = Asked(network, out, seed, duration, dt, overwrite, report, progress)
    return run_reference(asked, BACKEND, check, made, lambda: None)
