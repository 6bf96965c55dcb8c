"""What a simulator's voltages say of a network, population by population: the same for every reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from noble_net.errors import SolverError
from noble_net.network.build import Network
from noble_net.spikes import detect_block, new_detector
from noble_net.types import DT, Float32, Response


class Answers:
    """Spikes found in the voltages of all cells, which ``simulator`` has solved."""

    def __init__(self, network: Network, simulator: str) -> None:
        self.ranges = {each.name: slice(each.offset, each.offset + each.size) for each in network.populations}
        self._network, self._simulator = network, simulator
        self._detector = new_detector(network.n_cells)

    def compile(self, voltage: Float32) -> None:
        """Look for spikes in a first sample [cells] without a trace, so that compiling is no part of a run."""
        detect_block(voltage[:, None], voltage, self._detector.copy())

    def responses(self, voltage: Float32, before: Float32) -> dict[str, Response]:
        """Of every population, from the voltages of a block [cells, samples] and the sample before it [cells]."""
        found = {}
        for name, cells in self.ranges.items():
            mine = voltage[cells]
            cell, sample, time = detect_block(mine, before[cells], self._detector[cells])
            found[name] = Response(mine, cell, sample, time, outside=np.zeros(len(mine), np.uint32))
        return found

    def by_population(self, values: Float32) -> dict[str, Float32]:
        """Copies of what the cells of each population have of ``values`` [cells, …]."""
        return {name: values[cells].copy() for name, cells in self.ranges.items()}

    def check(self, voltage: NDArray[np.float32], position: int) -> None:
        """Raise SolverError, naming the cell, where a voltage [cells, samples] from sample ``position`` on is not
        finite."""
        finite = np.isfinite(voltage).all(axis=1)
        if finite.all():
            return
        index = int(np.argmin(finite))
        name = next(name for name, cells in self.ranges.items() if cells.start <= index < cells.stop)
        population = self._network.population(name)
        cell = index - population.offset
        raise SolverError(
            f"{self._simulator} returned a voltage that is not finite for cell {cell} of population {name} "
            f"({population.cells.labels[cell]}) before {(position + voltage.shape[1]) * DT:g} ms"
        )
