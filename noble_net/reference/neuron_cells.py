"""The pieces of a network in NEURON: models of its cells, synapses as point processes, pointers to variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noble_net.cells.family import Family
from noble_net.cells.mechanisms import neuron
from noble_net.cells.model import CellModel
from noble_net.config import SynapseSpec
from noble_net.errors import BackendError
from noble_net.network.build import Network
from noble_net.network.synapses import half_block, time_course
from noble_net.types import DT, Float64

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


class Kind(NamedTuple):
    """A synapse type as one of NEURON's point processes."""

    process: str
    values: dict[str, float]
    states: str
    """Its states, to which an event is added."""
    unit: float
    """What a peak of 1 nS or pA is to the process."""
    peak: float
    """What an event of peak 1 adds to its states."""

    @staticmethod
    def of(spec: SynapseSpec) -> Kind:
        """ExpSyn, Exp2Syn, their counterparts that inject a current, or NobleNmda.

        NEURON's AlphaSynapse takes no events, so ``alpha`` is a double exponential of nearly equal times: within 1e-4
        of the peak.
        """
        conducts = spec.kind == "conductance"
        unit = _MICROSIEMENS_PER_NANOSIEMENS if conducts else 1.0
        if spec.model == "exp":
            process, values = ("ExpSyn" if conducts else "NobleExpCurrent"), {"tau": spec.decay}
            states, peak = ("g" if conducts else "s"), 1.0
        else:
            rise, decay, peak = time_course(spec.rise or spec.decay, spec.decay)
            process, values = ("Exp2Syn" if conducts else "NobleExp2Current"), {"tau1": rise, "tau2": decay}
            states = "AB" if conducts else "ab"
        if spec.model == "nmda":
            process, states = "NobleNmda", "ab"
            values["half"] = half_block(spec)
        if spec.reversal is not None:
            values["e"] = spec.reversal
        return Kind(process, values, states, unit, peak)

    def at(self, h: Any, place: Any) -> Any:
        """One in a segment of NEURON."""
        process = getattr(h, self.process)(place)
        for name, value in self.values.items():
            setattr(process, name, value)
        return process


class PointProcesses:
    """Synapses of one type at given segments of NEURON."""

    def __init__(self, h: Any, spec: SynapseSpec, places: Sequence[Any]) -> None:
        kind = Kind.of(spec)
        self._gain = kind.unit * kind.peak
        self._processes = [kind.at(h, place) for place in places]
        self._states = [
            Probe([getattr(each, f"_ref_{state}") for each in self._processes]) for state in kind.states
        ]

    def arrive(self, weight: Float64) -> None:
        """Let events of these weights arrive now, nS or pA [synapses]."""
        for state in self._states:
            state.write(state.read() + self._gain * weight)


class Probe:
    """One variable of many cells in NEURON, read or written in one go.

    ``references``: its pointers (``_ref_v`` and the like), one per cell.
    """

    def __init__(self, references: Sequence[Any]) -> None:
        h = neuron().h
        self._pointers, self._vector = h.PtrVector(max(len(references), 1)), h.Vector(len(references))
        self._empty = not references
        for index, reference in enumerate(references):
            self._pointers.pset(index, reference)
        self._values: NDArray[np.float64] = self._vector.as_numpy()

    def read(self) -> NDArray[np.float64]:
        """The values now, float64 [cells]: a buffer that the next call fills anew."""
        if not self._empty:
            self._pointers.gather(self._vector)
        return self._values

    def write(self, values: NDArray[np.floating]) -> None:
        """Set the values [cells]."""
        if not self._empty:
            self._values[:] = values
            self._pointers.scatter(self._vector)
