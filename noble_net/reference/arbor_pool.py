"""Exact cells in Arbor, driven from outside like those in NEURON (`noble_net.reference.exact_pool.Pool`).

Arbor takes input as events on synapses, so all that drives a cell becomes events: what arrives at a synapse is one, and
a current or conductance that is held over each sample is a synapse that never decays, to which the change from sample
to sample is added. Events are renewed before every block (`simulation.update`).

Arbor shows the voltage at the beginning of its steps only. At a block's end it takes a step of `_PEEP` more, which
begins there; the steps of a block are off the grid by half of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from noble_net.cells.solver import SETTLE, ExactCell
from noble_net.errors import BackendError
from noble_net.network.synapses import time_course
from noble_net.reference.arbor_cells import Geometry, arbor, decorated, properties
from noble_net.reference.exact_pool import AT_SOMA, Inputs, Layout, Members, Points
from noble_net.reference.neuron_cells import steps_per_sample
from noble_net.types import DT, Float32, Float64

_HELD = 1e12
"""Decay time of a synapse that does not decay, ms."""
_FAR = 1e9
"""Reversal potential of a synapse that injects a current, mV: the voltage changes it by a ten-millionth."""
_PEEP = 1e-6
"""The step, around a block's end, that shows the voltage there, ms."""
_MICROSIEMENS_PER_NANOSIEMENS = 1e-3
_NANOAMPERES_PER_PICOAMPERE = 1e-3


class ArborPool:
    """The cells of a network in Arbor; see `noble_net.reference.exact_pool.Pool`. ``dt``: Arbor's step, ms;
    ``threads`` changes no number; ``settle``: at rest before, ms.

    Raises BackendError from `settle` for a layout with gap junctions, NMDA, or zones that are driven as a whole.
    """

    def __init__(self, members: list[Members], dt: float, threads: int, settle: float = SETTLE) -> None:
        self._settle = settle
        self._dt, self._steps, self._threads = dt, steps_per_sample(dt), threads
        self._members = members
        self._geometries = {
            each.population: Geometry(ExactCell(each.model, dt)) for each in members if each.size
        }
        self.segments = {name: each.segments for name, each in self._geometries.items()}
        self.areas: dict[str, Mapping[str, Float64]] = {
            name: each.areas for name, each in self._geometries.items()
        }
        self._position = 0
        self._held: Float64 = np.zeros((2, sum(each.size for each in members)))
        self._labels: list[list[str]] = []
        self._gains: list[float] = []
        self._targets: list[list[int]] = []
        self._recipe: Any = None
        self._simulation: Any = None
        self._handles: list[Any] = []

    def settle(self, layout: Layout) -> Float32:
        """See `noble_net.reference.exact_pool.Pool`."""
        if layout.driven or layout.junctions:
            raise BackendError("Arbor holds no zones driven as a whole and no gap junctions here")
        synapses: list[list[_Synapse]] = [[] for _ in range(self._held.shape[1])]
        for group, points in enumerate(layout.points):
            kind, values, gain = _mechanism(points)
            self._gains.append(gain)
            self._targets.append(points.cell.tolist())
            self._labels.append([f"{group}-{number}" for number in range(points.cell.size)])
            for label, cell, segment in zip(
                self._labels[-1], points.cell.tolist(), points.segment.tolist(), strict=True
            ):
                synapses[cell].append(_Synapse(label, points.spec.zone, segment, kind, values))
        self._recipe = _recipe(list(self._cells(synapses)))
        simulator, units = arbor(), arbor().units
        context = simulator.context(threads=self._threads)
        self._simulation = simulator.simulation(self._recipe, context)
        every = simulator.regular_schedule(self._dt * units.ms)
        self._handles = [self._simulation.sample((cell, "v"), every) for cell in range(len(synapses))]
        return self._run(round(self._settle / DT))[:, -1]

    def advance(self, inputs: Inputs) -> Float32:
        """See `noble_net.reference.exact_pool.Pool`."""
        self._recipe.events = self._events(inputs)
        self._simulation.update(self._recipe)
        return self._run(inputs.soma.shape[2])

    def close(self) -> None:
        """See `noble_net.reference.exact_pool.Pool`."""
        self._simulation, self._recipe = None, None
        self._handles.clear()

    def _cells(self, synapses: list[list[_Synapse]]) -> Any:
        """Every cell as Arbor's, with its synapses."""
        simulator, number = arbor(), 0
        for each in self._members:
            for index in range(each.size):
                geometry = self._geometries[each.population]
                values = {name: float(column[index]) for name, column in each.parameters.items()}
                decor = decorated(each.model, geometry, values)
                for label, reversal in (("current", _FAR), ("conductance", 0.0)):
                    held = simulator.synapse("expsyn", {"tau": _HELD, "e": reversal})
                    decor.place(geometry.soma, held, label)
                for synapse in synapses[number]:
                    place = (
                        geometry.soma
                        if synapse.segment == AT_SOMA
                        else geometry.places[synapse.zone][synapse.segment]
                    )
                    decor.place(place, simulator.synapse(synapse.kind, synapse.values), synapse.label)
                labels = simulator.label_dict()
                yield (
                    simulator.cable_cell(geometry.morphology, decor, labels, geometry.volumes),
                    [simulator.cable_probe_membrane_voltage(geometry.soma, "v")],
                )
                number += 1

    def _events(self, inputs: Inputs) -> list[list[Any]]:
        """The generators of a block's events, by cell."""
        simulator, units = arbor(), arbor().units
        samples = inputs.soma.shape[2]
        starts = [
            simulator.explicit_schedule([((self._position + k) * DT + _PEEP) * units.ms])
            for k in range(samples)
        ]
        found: list[list[Any]] = [[] for _ in range(self._held.shape[1])]
        current, conductance, reversal_current = inputs.soma.astype(np.float64)
        wanted = (
            (current + _NANOAMPERES_PER_PICOAMPERE * reversal_current) / _FAR,
            conductance * _MICROSIEMENS_PER_NANOSIEMENS,
        )
        for label, values, held in zip(("current", "conductance"), wanted, self._held, strict=True):
            for k in range(samples):
                change = (values[:, k] - held).astype(np.float32)  # Arbor's weights
                held += change
                for cell in np.flatnonzero(change).tolist():
                    found[cell].append(simulator.event_generator(label, float(change[cell]), starts[k]))
        for labels, gain, cells, arriving in zip(
            self._labels, self._gains, self._targets, inputs.arrivals, strict=True
        ):
            for k, point in zip(*map(np.ndarray.tolist, np.nonzero(arriving)), strict=True):
                weight = gain * float(arriving[k, point])
                found[cells[point]].append(simulator.event_generator(labels[point], weight, starts[k]))
        return found

    def _run(self, samples: int) -> Float32:
        """Voltage at the ends of the next samples, mV [cells, samples]."""
        units, simulation = arbor().units, self._simulation
        self._position += samples
        for stop in (-0.5 * _PEEP, 0.5 * _PEEP):
            simulation.run((self._position * DT + stop) * units.ms, self._dt * units.ms)
        voltage = np.empty((len(self._handles), samples), np.float32)
        for row, handle in zip(voltage, self._handles, strict=True):
            ((values, _),) = simulation.samples(handle)
            shown = values[-samples * self._steps :, 1]  # late by a step, but for the last
            row[:-1], row[-1] = shown[self._steps :: self._steps], shown[-1]
        simulation.clear_samplers()
        return voltage


class _Synapse(NamedTuple):
    """A synapse of one cell: Arbor's name and values of its mechanism, and where it is."""

    label: str
    zone: str
    segment: int
    kind: str
    values: Mapping[str, float]


def _mechanism(points: Points) -> tuple[str, dict[str, float], float]:
    """Arbor's synapse, its values, and what a weight (nS or pA) is multiplied by."""
    spec = points.spec
    if spec.model == "nmda":
        raise BackendError("Arbor's catalogue has no synapse with a magnesium block")
    if spec.kind == "conductance":
        values, gain = {"e": float(spec.reversal or 0.0)}, _MICROSIEMENS_PER_NANOSIEMENS
    else:
        values, gain = {"e": _FAR}, _NANOAMPERES_PER_PICOAMPERE / _FAR
    if spec.model == "exp":
        return "expsyn", {**values, "tau": spec.decay}, gain
    rise, decay, _ = time_course(spec.rise or spec.decay, spec.decay)
    return "exp2syn", {**values, "tau1": rise, "tau2": decay}, gain


def _recipe(cells: list[tuple[Any, list[Any]]]) -> Any:
    """Arbor's description of the network: cells without connections, to whom `events` come from outside."""
    simulator = arbor()

    class Recipe(simulator.recipe):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            simulator.recipe.__init__(self)
            self.events: list[list[Any]] = [[] for _ in cells]
            self._properties = properties()

        def num_cells(self) -> int:
            return len(cells)

        def cell_kind(self, _: int) -> Any:
            return simulator.cell_kind.cable

        def cell_description(self, cell: int) -> Any:
            return cells[cell][0]

        def probes(self, cell: int) -> Any:
            return cells[cell][1]

        def event_generators(self, cell: int) -> Any:
            return self.events[cell]

        def global_properties(self, _: Any) -> Any:
            return self._properties

    return Recipe()
