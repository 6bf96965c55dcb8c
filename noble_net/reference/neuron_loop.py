"""A network's exact cells in NEURON: see `noble_net.reference.exact_loop`.

Membranes, dendrites, synapses and gap junctions are NEURON's:

- point processes act by their state at the start of each of NEURON's steps, not by their mean over a sample. This gives
  an `exp` synapse the fraction dt/(2·decay) more charge (0.3 % for a decay of 4 ms and a step of 0.025 ms); for `exp2`
  it cancels. Zones that are driven as a whole get means over samples, as a core does;
- a gap junction takes the voltage of its other side at the start of each of NEURON's steps, so it is late by half a
  step in the mean (0.0125 ms), a quarter of the 0.05 ms by which the loop's coupling is at a step of one sample.

NEURON itself runs serially, its time, step and temperature being global: one network in a process at a time. With
``processes``, the cells are shared out (`noble_net.reference.neuron_processes`), which changes no number.
"""

from __future__ import annotations

from collections.abc import Mapping

from noble_net.cells.family import Family
from noble_net.cells.solver import REFERENCE_DT, SETTLE
from noble_net.config import NetworkSpec
from noble_net.network.build import Network
from noble_net.reference.exact_inputs import Placement
from noble_net.reference.exact_loop import ExactLoop
from noble_net.reference.exact_pool import Pool, members_of
from noble_net.reference.neuron_cells import load_models, steps_per_sample
from noble_net.reference.neuron_pool import CellPool
from noble_net.reference.neuron_processes import SharedPool
from noble_net.reference.refusals import refuse_junctions


class NeuronLoop(ExactLoop):
    """A built network in NEURON.

    ``families``: every family by the name the network file gives it. ``dt``: NEURON's step (ms), which must
    divide the sample. ``placement``: how synapses of dendritic zones lie. ``processes``: over how many the cells are
    shared out; 1: they are in this one. ``settle``: at rest before the warm-up, ms.

    Raises BackendError for cells without a family, for families at different temperatures, for a step that does not
    divide the sample, for zones that a cell does not have and for gap junctions between processes.
    """

    def __init__(
        self,
        network: Network,
        families: Mapping[str, Family],
        dt: float = REFERENCE_DT,
        placement: Placement = "lumped",
        processes: int = 1,
        settle: float = SETTLE,
    ) -> None:
        steps_per_sample(dt)
        if processes > 1:
            refuse_shared_junctions(network.spec)
        members = members_of(network, load_models(network, families))
        processes = min(processes, network.n_cells)
        alone = processes == 1
        pool: Pool = CellPool(members, dt, settle) if alone else SharedPool(members, dt, processes, settle)
        super().__init__(network, pool, placement, "NEURON")
        self.dt = dt


def refuse_shared_junctions(spec: NetworkSpec) -> None:
    """Raise BackendError, naming them, for gap junctions: NEURON couples cells of one process alone."""
    refuse_junctions(spec, "between processes", "run in one process (leave out --processes)")
