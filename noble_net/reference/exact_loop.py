"""A network's exact cells, advanced block by block like the loop on surrogate cores, whatever simulates them.

Cells, members, noise, weights, delays, plasticity and the rule for spikes are those of the loop: a spike leaves at the
end of the sample in which it is confirmed, and arrives at the start of a sample (`noble_net.reference.exact_inputs`).
"""

from __future__ import annotations

from typing import Self

import numpy as np

from noble_net.errors import BackendError
from noble_net.network.build import Network, block_length
from noble_net.reference.answers import Answers
from noble_net.reference.exact_inputs import NetworkDrive, Placement
from noble_net.reference.exact_pool import Pool
from noble_net.spikes import detect_block, new_detector
from noble_net.types import Float32, Response

BLOCK = 100
"""Samples of a block unless asked for another number: what is held in memory between two recordings."""


class ExactLoop:
    """A built network on the cells of a ``pool``; `advance` runs it on. A context manager, which removes the cells.

    ``simulator``: its name in messages. ``placement``: how synapses of dendritic zones lie. ``position`` is the next
    sample, counted from the start of the warm-up.

    Raises BackendError for zones that a cell does not have. The pool is closed then, too.
    """

    def __init__(self, network: Network, pool: Pool, placement: Placement, simulator: str) -> None:
        self.network = network
        self.block_samples = BLOCK
        self.position = 0
        self._simulator = simulator
        self._exact = block_length(1, network.projections)
        self._pool: Pool | None = pool
        try:
            self.segments: dict[str, int] = dict(pool.segments)
            """Compartments of one cell, per population."""
            self._answers = Answers(network, simulator)
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

        How a run is cut into blocks changes no number. Raises SolverError, naming the cell, for a voltage
        that is not finite.
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
            raise BackendError(f"{self._simulator} records no {report}")
        return self._current[self._answers.ranges[population]]

    def weights(self) -> dict[str, Float32]:
        """The weights now, nS or pA [synapses] per projection that has any, in the order of its arrays."""
        return self._inputs.weights()

    def close(self) -> None:
        """Remove the cells; safe to call twice."""
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
            raise ValueError(f"the network has been removed from {self._simulator}")
        inputs = self._inputs.inputs(self.position, samples)
        voltage = self._pool.advance(inputs)
        self._answers.check(voltage, self.position)
        cell, sample, _ = detect_block(voltage, self._last, self._sent)
        self._inputs.send(self.position, cell, sample)
        self.position += samples
        self._last = np.ascontiguousarray(voltage[:, -1])
        return voltage, inputs.soma[0]
