"""The pieces of a network in NEURON: exact cells with their parameters, synapses, pointers to variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noble_net.cells.family import Family
from noble_net.cells.mechanisms import neuron
from noble_net.cells.model import CellModel
from noble_net.cells.solver import ExactCell
from noble_net.config import SynapseSpec
from noble_net.errors import BackendError
from noble_net.network.build import Network, PopulationArrays
from noble_net.network.synapses import time_course
from noble_net.types import DT

_MICROSIEMENS_PER_NANOSIEMENS = 1e-3


def steps_per_sample(dt: float) -> int:
    """NEURON's steps in one sample. Raises BackendError when ``dt`` (ms) does not divide the sample."""
    steps = round(DT / dt) if dt > 0 else 0
    if steps < 1 or abs(steps * dt - DT) > 1e-9:
        raise BackendError(f"NEURON's step {dt:g} ms does not divide the {DT:g} ms sample: give 0.025 ms")
    return steps


def load_models(network: Network, families: Mapping[str, Family]) -> dict[str, CellModel]:
    """The exact model of each population's family. Raises BackendError where there is none."""
    models: dict[str, CellModel] = {}
    for population in network.populations:
        if population.family is None:
            raise BackendError(f"population {population.name} has no family: NEURON has no exact cell for it")
        models[population.name] = families[population.family].model
    temperatures = {name: model.celsius for name, model in models.items()}
    if len(set(temperatures.values())) > 1:
        listed = ", ".join(f"{name} {celsius:g} °C" for name, celsius in temperatures.items())
        raise BackendError(f"NEURON holds one temperature, and the fits of the populations differ: {listed}")
    return models


def exact_cells(population: PopulationArrays, model: CellModel, dt: float) -> list[ExactCell]:
    """The cells of a population, each with its own parameters."""
    cells = []
    for index in range(population.size):
        cell = ExactCell(model, dt)
        parameters = population.cells.parameters
        cell.set_parameters({name: float(values[index]) for name, values in parameters.items()})
        cells.append(cell)
    return cells


def point_process(h: Any, spec: SynapseSpec, cell: ExactCell) -> Any:
    """A synapse on a cell's soma: ExpSyn, Exp2Syn, or their counterparts that inject a current.

    NEURON's AlphaSynapse takes no events, so ``alpha`` is an Exp2Syn of nearly equal times: within 1e-4 of the peak.
    """
    conducts = spec.kind == "conductance"
    if spec.model in ("exp2", "alpha"):
        process = (h.Exp2Syn if conducts else h.NobleExp2Current)(cell.soma(0.5))
        process.tau1, process.tau2, _ = time_course(spec.rise or spec.decay, spec.decay)
    else:
        process = (h.ExpSyn if conducts else h.NobleExpCurrent)(cell.soma(0.5))
        process.tau = spec.decay
    if conducts:
        process.e = spec.reversal
    return process


def netcon_weight(spec: SynapseSpec, weight: float) -> float:
    """Of a NetCon: µS into a conductance, pA into a current synapse."""
    return weight * _MICROSIEMENS_PER_NANOSIEMENS if spec.kind == "conductance" else weight


class Probe:
    """One variable of many cells in NEURON, read or written in one go.

    ``references``: its pointers (``_ref_v`` and the like), one per cell.
    """

    def __init__(self, references: Sequence[Any]) -> None:
        h = neuron().h
        self._pointers, self._vector = h.PtrVector(len(references)), h.Vector(len(references))
        for index, reference in enumerate(references):
            self._pointers.pset(index, reference)
        self._values: NDArray[np.float64] = self._vector.as_numpy()

    def read(self) -> NDArray[np.float64]:
        """The values now, float64 [cells]: a buffer that the next call fills anew."""
        self._pointers.gather(self._vector)
        return self._values

    def write(self, values: NDArray[np.floating]) -> None:
        """Set the values [cells]."""
        self._values[:] = values
        self._pointers.scatter(self._vector)
