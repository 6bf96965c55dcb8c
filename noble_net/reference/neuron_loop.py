"""A network's exact cells in NEURON, advanced block by block like the loop on surrogate cores.

Same cells, synapses, weights, delays and noise samples as the loop, the same rest before sample 0 and the
same spike rule for what is recorded. Two things are NEURON's own:

- delivery: a NetCon watches every soma at −25 mV, where the spike rule confirms a spike, at each of NEURON's
  steps. The loop confirms at whole samples, so there a spike leaves up to 0.1 ms later. The loop never sends
  twice without a fall below −45 mV; a NetCon is armed again below −25 mV;
- synapses: they act by their state at the start of each of NEURON's steps, not by their mean over a sample.
  This gives an `exp` synapse the fraction dt/(2·decay) more charge (0.3 % for a decay of 4 ms and a step of
  0.025 ms); for `exp2` it cancels.

NEURON runs serially, one network per process at a time: its time, its step and its temperature are global.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from noble_net.cells.family import Family
from noble_net.cells.mechanisms import neuron
from noble_net.cells.solver import REFERENCE_DT, SECOND_ORDER, SETTLE, ExactCell
from noble_net.errors import BackendError, SolverError
from noble_net.network.build import Network
from noble_net.network.connect import ProjectionArrays
from noble_net.network.stimuli import Afferents, inject, network_inputs
from noble_net.reference.neuron_cells import (
    Probe,
    exact_cells,
    load_models,
    netcon_weight,
    point_process,
    steps_per_sample,
)
from noble_net.reference.neuron_release import Release
from noble_net.specs.plasticity import TsodyksMarkramSpec
from noble_net.spikes import CONFIRM, detect_block, new_detector
from noble_net.types import DT, Float32, Response

BLOCK = 100
"""Samples of a block unless asked for another number: what is held in memory between two recordings."""


class NeuronLoop:
    """A built network in NEURON; `advance` runs it on. A context manager, which removes it from NEURON.

    ``families``: every family by the name the network file gives it. ``dt``: NEURON's step (ms), which must
    divide the sample. ``position`` is the next sample, counted from the start of the warm-up.

    Raises BackendError for cells without a family, for families at different temperatures and for a step that
    does not divide the sample.
    """

    def __init__(self, network: Network, families: Mapping[str, Family], dt: float = REFERENCE_DT) -> None:
        self.network, self.dt = network, dt
        self.block_samples = BLOCK
        self.position = 0
        self._steps = steps_per_sample(dt)
        models = load_models(network, families)
        self._h = neuron().h
        self._cells: dict[str, list[ExactCell]] = {
            population.name: exact_cells(population, models[population.name], dt)
            for population in network.populations
        }
        self._set_globals(next(iter(models.values())).celsius)
        self._ranges = {
            each.name: slice(each.offset, each.offset + each.size) for each in network.populations
        }
        self._connect_inputs()
        self._connections = [connection for each in network.projections for connection in self._connect(each)]
        self._voltage = Probe([cell.soma(0.5)._ref_v for cell in self._all_cells()])
        self._drive = [
            Probe([getattr(cell.drive, f"_ref_{variable}") for cell in self._all_cells()])
            for variable in ("i0", "g", "j")
        ]
        self._detector = new_detector(network.n_cells)
        self._settle()
        self._compile_kernels()

    @property
    def segments(self) -> dict[str, int]:
        """Compartments of one cell, per population."""
        return {name: cells[0].segments for name, cells in self._cells.items()}

    def advance(self, samples: int | None = None) -> dict[str, Response]:
        """Run ``samples`` (default: one block) and return every population's response.

        How a run is cut into blocks changes no number. Raises SolverError, naming the cell, when NEURON
        returns a voltage that is not finite.
        """
        if not self._cells:
            raise ValueError("the network has been removed from NEURON")
        samples = samples or self.block_samples
        drive, events = self._injected(samples), self._events(samples)
        self._current = drive[0]
        voltage = np.empty((self.network.n_cells, samples), np.float32)
        for k in range(samples):
            for probe, values in zip(self._drive, drive, strict=True):
                probe.write(values[:, k])
            for connection in events.get(k, ()):
                connection.event(self._h.t)
            for _ in range(self._steps):
                self._h.fadvance()
            voltage[:, k] = self._voltage.read()
        self._check(voltage)
        self.position += samples
        responses = {name: self._respond(voltage, cells) for name, cells in self._ranges.items()}
        self._last = np.ascontiguousarray(voltage[:, -1])
        return responses

    def voltage(self) -> dict[str, Float32]:
        """The last voltage of every cell, mV [cells] per population."""
        return {name: self._last[cells].copy() for name, cells in self._ranges.items()}

    def inputs(self, report: str, population: str) -> Float32:
        """The injected current of the last block, nA [cells, samples]; other reports of inputs are refused."""
        if report != "current":
            raise BackendError(f"NEURON records no {report}")
        return self._current[self._ranges[population]]

    def weights(self) -> dict[str, Float32]:
        """None: NEURON is given no synapses with STDP."""
        return {}

    def close(self) -> None:
        """Remove cells, synapses and connections from NEURON; safe to call twice."""
        if self._cells:
            self._h.finitialize()  # spikes still under way point at the connections
        self._connections.clear()
        self._inputs.clear()
        self._synapses.clear()
        self._cells.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _all_cells(self) -> list[ExactCell]:
        return [cell for cells in self._cells.values() for cell in cells]

    def _set_globals(self, celsius: float) -> None:
        h = self._h
        h.CVode().active(False)
        h.celsius = celsius
        h.dt = self.dt
        h.secondorder = SECOND_ORDER

    def _connect_inputs(self) -> None:
        """Stimuli in the order in which a surrogate run adds them up, and one synapse per cell and type."""
        network = self.network
        self._injections, afferents, needed = network_inputs(network)
        self._synapses = {
            (target, synapse): [
                point_process(self._h, network.synapses[synapse], cell) for cell in self._cells[target]
            ]
            for target, synapse in needed
        }
        self._inputs = [(stimulus, self._afferents(stimulus)) for stimulus in afferents]

    def _afferents(self, stimulus: Afferents) -> list[Any]:
        """A connection without source onto each site, through which a stimulus sends its events."""
        processes = self._synapses[stimulus.target, stimulus.synapse]
        spec = self.network.synapses[stimulus.synapse]
        connections = [self._h.NetCon(None, processes[cell]) for cell in stimulus.sites.tolist()]
        for connection, weight in zip(connections, stimulus.weight, strict=True):
            connection.delay, connection.weight[0] = 0.0, netcon_weight(spec, float(weight))
        return connections

    def _connect(self, projection: ProjectionArrays) -> list[Any]:
        if not projection.size:
            return []
        sources = [cell.soma for cell in self._cells[projection.source]]
        targets = self._synapses[projection.target_population, projection.synapse]
        spec = self.network.synapses[projection.synapse]
        if spec.plasticity is not None and spec.plasticity.tsodyks_markram is not None:
            return self._connect_plastic(projection, spec.plasticity.tsodyks_markram)
        columns = (projection.source_ids, projection.target, projection.weight, projection.delay)
        return [
            self._h.NetCon(
                sources[source](0.5)._ref_v,
                targets[target],
                CONFIRM,
                delay * DT,
                netcon_weight(spec, weight),
                sec=sources[source],
            )
            for source, target, weight, delay in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def _connect_plastic(self, projection: ProjectionArrays, plasticity: TsodyksMarkramSpec) -> list[Any]:
        """A connection onto each target of a cell, and one that watches the cell and sends through them."""
        targets = self._synapses[projection.target_population, projection.synapse]
        spec, made = self.network.synapses[projection.synapse], []
        for cell, first, stop in zip(
            self._cells[projection.source], projection.indptr[:-1], projection.indptr[1:], strict=True
        ):
            own = [self._h.NetCon(None, targets[target]) for target in projection.target[first:stop].tolist()]
            weights = [netcon_weight(spec, weight) for weight in projection.weight[first:stop].tolist()]
            delays = (projection.delay[first:stop] * DT).tolist()
            watch = self._h.NetCon(cell.soma(0.5)._ref_v, None, CONFIRM, 0.0, 0.0, sec=cell.soma)
            watch.record(Release(self._h, plasticity, list(zip(own, weights, delays, strict=True))).fire)
            made += [watch, *own]
        return made

    def _settle(self) -> None:
        """Every cell comes to its own rest without input and without sending spikes."""
        for cell in self._all_cells():
            for section in (each for group in cell.sections.values() for each in group):
                for segment in section.allseg():
                    segment.v = cell.model.v_init
        for connection in self._connections:
            connection.active(False)
        self._h.finitialize()
        for _ in range(round(SETTLE / self.dt)):
            self._h.fadvance()
        for connection in self._connections:
            connection.active(True)
        self._last = self._voltage.read().astype(np.float32)
        self._check(self._last[:, None])

    def _compile_kernels(self) -> None:
        """Ask once for what a block asks for, so that compilation does not count as run time."""
        self._injected(1)
        self._events(1)
        detect_block(self._last[:, None], self._last, self._detector.copy())

    def _injected(self, samples: int) -> tuple[Float32, Float32, Float32]:
        """Current (nA), conductance (nS) and reversal current (pA) [cells, samples] of the coming samples."""
        shape = (self.network.n_cells, samples)
        drive = (np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.float32))
        for stimulus in self._injections:
            cells = self._ranges[stimulus.target]
            inject(stimulus, self.position, drive[0][cells], drive[1][cells], drive[2][cells])
        return drive

    def _events(self, samples: int) -> dict[int, list[Any]]:
        """Per coming sample the connections through which a stimulus's event arrives at its start."""
        events: dict[int, list[Any]] = {}
        for stimulus, connections in self._inputs:
            counts = stimulus.counts(self.position, samples)
            for cell, k in zip(*(index.tolist() for index in np.nonzero(counts)), strict=True):
                events.setdefault(k, []).extend([connections[cell]] * int(counts[cell, k]))
        return events

    def _respond(self, voltage: Float32, cells: slice) -> Response:
        mine = voltage[cells]
        cell, sample, time = detect_block(mine, self._last[cells], self._detector[cells])
        return Response(mine, cell, sample, time, outside=np.zeros(len(mine), np.uint32))

    def _check(self, voltage: Float32) -> None:
        finite = np.isfinite(voltage).all(axis=1)
        if finite.all():
            return
        index = int(np.argmin(finite))
        name = next(name for name, cells in self._ranges.items() if cells.start <= index < cells.stop)
        population = self.network.population(name)
        cell = index - population.offset
        raise SolverError(
            f"NEURON returned a voltage that is not finite for cell {cell} of population {name} "
            f"({population.cells.labels[cell]}) before {(self.position + voltage.shape[1]) * DT:g} ms"
        )
