"""A network's exact cells in NEURON, advanced block by block like the loop on surrogate cores.

Cells, members, noise, weights, delays, plasticity and the rule for spikes are those of the loop: a spike leaves at the
end of the sample in which it is confirmed, and arrives at the start of a sample (`noble_net.reference.neuron_inputs`).
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
from typing import Self

import numpy as np

from noble_net.cells.family import Family
from noble_net.cells.solver import REFERENCE_DT
from noble_net.config import NetworkSpec
from noble_net.errors import BackendError
from noble_net.network.build import Network, block_length
from noble_net.reference.answers import Answers
from noble_net.reference.neuron_cells import load_models, steps_per_sample
from noble_net.reference.neuron_inputs import NetworkDrive, Placement
from noble_net.reference.neuron_pool import CellPool, Members, Pool
from noble_net.reference.neuron_processes import SharedPool
from noble_net.spikes import detect_block, new_detector
from noble_net.types import Float32, Response

BLOCK = 100
"""Samples of a block unless asked for another number: what is held in memory between two recordings."""


class NeuronLoop:
    """A built network in NEURON; `advance` runs it on. A context manager, which removes it from NEURON.

    ``families``: every family by the name the network file gives it. ``dt``: NEURON's step (ms), which must
    divide the sample. ``placement``: how synapses of dendritic zones lie. ``processes``: over how many the cells are
    shared out; 1: they are in this one. ``position`` is the next sample, counted from the start of the warm-up.

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
    ) -> None:
        self.network, self.dt = network, dt
        self.block_samples = BLOCK
        self.position = 0
        self._exact = block_length(1, network.projections)
        steps_per_sample(dt)
        if processes > 1:
            refuse_shared_junctions(network.spec)
        models = load_models(network, families)
        members = [
            Members(each.name, models[each.name], each.size, each.cells.parameters)
            for each in network.populations
        ]
        processes = min(processes, network.n_cells)
        pool: Pool = CellPool(members, dt) if processes == 1 else SharedPool(members, dt, processes)
        self._pool: Pool | None = pool
        try:
            self.segments: dict[str, int] = dict(pool.segments)
            """Compartments of one cell, per population."""
            self._answers = Answers(network, "NEURON")
            self._inputs = NetworkDrive(network, pool.areas, placement, self._exact)
            self._last = pool.settle(self._inputs.layout)
            self._answers.check(self._last[:, None], 0)
            self._sent = new_detector(network.n_cells)
            self._begin = self._last
            self._inputs.compile_kernels()
            self._answers.compile(self._last)
        except BaseException:
            self.close()
            raise

    def advance(self, samples: int | None = None) -> dict[str, Response]:
        """Run ``samples`` (default: one block) and return every population's response.

        How a run is cut into blocks changes no number. Raises SolverError, naming the cell, when NEURON
        returns a voltage that is not finite.
        """
        samples = samples or self.block_samples
        pieces = [min(self._exact, samples - at) for at in range(0, samples, self._exact)]
        parts = [self._advance(piece) for piece in pieces]
        voltage = np.concatenate([voltage for voltage, _ in parts], axis=1)
        self._current = np.concatenate([current for _, current in parts], axis=1)
        responses = self._answers.responses(voltage, self._begin)
        self._begin = np.ascontiguousarray(voltage[:, -1])
        return responses

    def voltage(self) -> dict[str, Float32]:
        """The last voltage of every cell, mV [cells] per population."""
        return self._answers.by_population(self._last)

    def inputs(self, report: str, population: str) -> Float32:
        """The injected current of the last block, nA [cells, samples]; other reports of inputs are refused."""
        if report != "current":
            raise BackendError(f"NEURON records no {report}")
        return self._current[self._answers.ranges[population]]

    def weights(self) -> dict[str, Float32]:
        """The weights now, nS or pA [synapses] per projection that has any, in the order of its arrays."""
        return self._inputs.weights()

    def close(self) -> None:
        """Remove the cells from NEURON; safe to call twice."""
        if self._pool is not None:
            self._pool.close()
        self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _advance(self, samples: int) -> tuple[Float32, Float32]:
        """Voltage and injected current [cells, samples] of a stretch in which no spike of its own arrives."""
        if self._pool is None:
            raise ValueError("the network has been removed from NEURON")
        inputs = self._inputs.inputs(self.position, samples)
        voltage = self._pool.advance(inputs)
        self._answers.check(voltage, self.position)
        cell, sample, _ = detect_block(voltage, self._last, self._sent)
        self._inputs.send(self.position, cell, sample)
        self.position += samples
        self._last = np.ascontiguousarray(voltage[:, -1])
        return voltage, inputs.soma[0]


def refuse_shared_junctions(spec: NetworkSpec) -> None:
    """Raise BackendError, naming them, for gap junctions: NEURON couples cells of one process alone."""
    names = [each.name for each in spec.gap_junctions]
    if names:
        raise BackendError(
            f"{spec.source or spec.name}: gap junctions ({', '.join(names)}) couple cells of one process only. Remove "
            "them, or run in one process (leave out --processes)."
        )
