"""The loop: drive → core → spikes → synapses, block by block.

A block is no longer than the shortest delay, so no spike of a block arrives within it and its whole drive is
known when it begins: blocks are exact. Gap junctions, which have no delay, act a step late: see
`noble_net.network.gap_junctions`. Memory is that of cells, synapses and the ring of spikes under way.

>>> loop = Loop(network, {"pv-stream": core})                       # doctest: +SKIP
>>> for population, response in loop.advance().items(): ...         # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from noble_net.network.build import INJECTION_ZONE, Network, PopulationArrays
from noble_net.network.connect import ProjectionArrays
from noble_net.network.gap_junctions import couple
from noble_net.network.stimuli import Injection, inject, network_inputs
from noble_net.network.synapses import SynapseBank, half_block
from noble_net.network.transmission import Events, Transmission, transmission
from noble_net.surrogate.core import Core
from noble_net.types import CellTable, Drive, Float32, Nmda, Response, State


class Loop:
    """A network in motion on its cores. ``position`` is the next sample, counted from the start of the
    warm-up.

    ``cores`` holds a core for every name the network's populations give. ``block_samples`` (default: the
    network's longest exact block) must be a multiple of the network's step and no longer than the exact
    block. ``batch`` is the number of cells per call of a core (default: all at once). Neither changes any
    result. ValueError for others.
    """

    def __init__(
        self,
        network: Network,
        cores: Mapping[str, Core],
        block_samples: int | None = None,
        batch: int | None = None,
    ) -> None:
        self.network = network
        self.block_samples = network.block_samples if block_samples is None else block_samples
        if self.block_samples % network.step_samples or not 0 < self.block_samples <= network.block_samples:
            raise ValueError(
                f"a block of {self.block_samples} samples is no multiple of {network.step_samples} "
                f"up to {network.block_samples}"
            )
        if batch is not None and batch < 1:
            raise ValueError(f"a batch of {batch} cells")
        self.position = 0
        self._groups = [
            _Group(cores[core], members, batch) for (core, _), members in _grouped(network).items()
        ]
        self._make_inputs()
        self._routes = [self._route(projection) for projection in network.projections if projection.size]

    def _make_inputs(self) -> None:
        """Hang stimuli and synapse banks on the groups, in an order that does not depend on the file's."""
        network, longest = self.network, (self.network.longest_delay, self.network.block_samples)
        injections, self._afferents, needed = network_inputs(network)
        self._banks = {
            (target, synapse): SynapseBank(
                network.synapses[synapse], network.population(target).size, *longest
            )
            for target, synapse in needed
        }
        for group in self._groups:
            group.injections = [
                (stimulus, group.ranges[stimulus.target])
                for stimulus in injections
                if stimulus.target in group.ranges
            ]
            group.banks = [
                (bank, group.ranges[target])
                for (target, _), bank in self._banks.items()
                if target in group.ranges
            ]
            group.recorded = {
                (target, synapse): self._banks[target, synapse]
                for target, synapse in needed
                if target in group.ranges and synapse in network.spec.record.synapses
            }

    def _route(self, projection: ProjectionArrays) -> _Route:
        target = projection.target_population
        bank = self._banks[target, projection.synapse]
        send = transmission(projection, self.network.population(target).size, bank)
        return _Route(projection.name, self._place(projection.source), self._place(target), send)

    def _place(self, population: str) -> tuple[_Group, int]:
        """The group of a population, and its first cell in it."""
        group = next(group for group in self._groups if population in group.ranges)
        return group, group.ranges[population].start

    def advance(self, samples: int | None = None) -> dict[str, Response]:
        """Run one block (of ``samples``, if not the usual length); returns every population's response."""
        samples = samples or self.block_samples
        start = self.position
        for stimulus in self._afferents:
            bank, at = self._banks[stimulus.target, stimulus.synapse], start
            for counts in stimulus.pieces(start, samples):
                bank.arrive(at, counts, stimulus.fixed_weight)
                at += counts.shape[1]
        for group in self._groups:
            group.gather(start, samples)
        self._couple()
        for group in self._groups:
            group.advance()
        for route in self._routes:
            route.send(start)
        self.position += samples
        return {name: response for group in self._groups for name, response in group.answers()}

    def _couple(self) -> None:
        """Let each cell feel the last voltage of those it has gap junctions with."""
        if not self.network.gap_junctions:
            return
        voltage = self.voltage()
        for each in self.network.gap_junctions:
            halves = (each.source, each.first), (each.target, each.second)
            for (own, cell), (other, neighbour) in (halves, halves[::-1]):
                group, _ = self._place(own)
                couple(cell, neighbour, each.conductance, voltage[other], *group.soma(own))

    def weights(self) -> dict[str, Float32]:
        """The weights now, nS or pA [synapses] per projection that has any, in the order of its arrays."""
        return {route.projection: route.transmission.weight for route in self._routes}

    def inputs(self, report: str, population: str) -> Float32:
        """What a report of inputs tells of the last block, float32 [cells, samples] of a population.

        `current`: injected, nA; `conductance`: of all zones, nS; `synapse-…`: that of one synapse type (nS), or
        its current (pA), which the network's `record` must ask for.
        """
        group = next(group for group in self._groups if population in group.ranges)
        return group.inputs(report, population)

    def voltage(self) -> dict[str, Float32]:
        """The last voltage of every cell, mV [cells] per population."""
        return {name: each for group in self._groups for name, each in group.voltage().items()}


class _Group:
    """Populations that share a core and a family, advanced together. Cells are numbered through the group."""

    def __init__(self, core: Core, members: list[PopulationArrays], batch: int | None) -> None:
        self.core = core
        ends = np.cumsum([0, *(member.size for member in members)]).tolist()
        self.ranges = {
            member.name: slice(begin, end)
            for member, begin, end in zip(members, ends[:-1], ends[1:], strict=True)
        }
        cells = _joined([member.cells for member in members])
        step = batch or cells.size
        self.chunks = [slice(at, min(at + step, cells.size)) for at in range(0, cells.size, step)]
        self.states: list[State] = [core.begin(cells.take(chunk)) for chunk in self.chunks]
        self.size: int = cells.size
        self.injections: list[tuple[Injection, slice]] = []
        self.banks: list[tuple[SynapseBank, slice]] = []
        self.drive: Drive
        self.recorded: dict[tuple[str, str], SynapseBank] = {}
        """Banks by (population, synapse) whose own part of the drive is kept for a report."""
        self.response: Response
        self._buffers: dict[int, _Buffers] = {}

    def gather(self, start: int, samples: int) -> None:
        """Put together the drive of the block from sample ``start`` on."""
        if samples not in self._buffers:
            self._buffers[samples] = _Buffers(self, samples)
        buffers = self._last = self._buffers[samples]
        drive = buffers.drive
        drive.current.fill(0.0)
        drive.conductance.fill(0.0)
        drive.reversal_current.fill(0.0)
        if drive.nmda is not None:
            drive.nmda.conductance.fill(0.0)
            drive.nmda.reversal_current.fill(0.0)
        for (stimulus, _), zone in zip(self.injections, buffers.injections, strict=True):
            inject(stimulus, start, *zone)
        for (bank, _), (conductance, reversal_current) in zip(self.banks, buffers.banks, strict=True):
            own = buffers.own.get(id(bank))
            if own is None:
                bank.drive_block(start, conductance, reversal_current)
                continue
            for mine in own:
                mine.fill(0.0)
            bank.drive_block(start, *own)
            conductance += own[0]
            reversal_current += own[1]
        self.drive = drive

    def soma(self, population: str) -> tuple[Float32, Float32]:
        """Conductance and reversal current of a population's somata in the drive, [cells, samples] each."""
        zone, cells = self.core.zones.index(INJECTION_ZONE), self.ranges[population]
        return self.drive.conductance[zone, cells], self.drive.reversal_current[zone, cells]

    def voltage(self) -> dict[str, Float32]:
        """The last voltage of every cell, mV [cells] per population."""
        whole = np.concatenate([state.voltage for state in self.states])
        return {name: whole[cells] for name, cells in self.ranges.items()}

    def advance(self) -> None:
        """Advance all cells by the drive."""
        responses, drive = [], self.drive
        for i, chunk in enumerate(self.chunks):
            part = drive if len(self.chunks) == 1 else _part(drive, chunk)
            response, self.states[i] = self.core.advance(self.states[i], part)
            responses.append(response)
        self.response = responses[0] if len(responses) == 1 else _merged(responses, self.chunks)

    def inputs(self, report: str, population: str) -> Float32:
        """See `Loop.inputs`."""
        cells, drive = self.ranges[population], self._last.drive
        if report in ("current", "conductance"):
            total: Float32 = getattr(drive, report)[:, cells].sum(axis=0)
            return total
        bank = self.recorded.get((population, report.removeprefix("synapse-")))
        if bank is None:  # no projection drew such a synapse
            return np.zeros((cells.stop - cells.start, drive.samples), np.float32)
        conductance, current = self._last.own[id(bank)]
        return conductance if bank.spec.kind == "conductance" else current

    def answers(self) -> list[tuple[str, Response]]:
        """The last response, taken apart by population."""
        if len(self.ranges) == 1:
            return [(name, self.response) for name in self.ranges]
        return [(name, _of_cells(self.response, cells)) for name, cells in self.ranges.items()]


class _Buffers:
    """A group's drive for one block length, and the parts of it that each input adds to."""

    def __init__(self, group: _Group, samples: int) -> None:
        zones = group.core.zones
        self.drive = Drive.zeros(zones, group.size, samples, _half_block(group))
        i, g, j = self.drive.current, self.drive.conductance, self.drive.reversal_current
        soma = zones.index(INJECTION_ZONE) if group.injections else 0
        self.injections = [(i[soma, cells], g[soma, cells], j[soma, cells]) for _, cells in group.injections]
        self.banks = []
        for bank, cells in group.banks:
            zone = zones.index(bank.spec.zone)
            blocked = self.drive.nmda if bank.spec.model == "nmda" else None
            into = (g, j) if blocked is None else (blocked.conductance, blocked.reversal_current)
            self.banks.append((into[0][zone, cells], into[1][zone, cells]))

        self.own = {
            id(bank): (
                np.zeros((len(bank.ring), samples), np.float32),
                np.zeros((len(bank.ring), samples), np.float32),
            )
            for bank in group.recorded.values()
        }


def _half_block(group: _Group) -> Float32 | None:
    """Where magnesium blocks half of the NMDA synapses of each cell (mV); None for a group without any."""
    blocked = [(bank, cells) for bank, cells in group.banks if bank.spec.model == "nmda"]
    half = np.zeros(group.size, np.float32)
    for bank, cells in blocked:
        half[cells] = half_block(bank.spec)
    return half if blocked else None


@dataclass
class _Route:
    """The way of spikes through one projection: from one place, the group and the first cell in it, to another."""

    projection: str
    source: tuple[_Group, int]
    target: tuple[_Group, int]
    transmission: Transmission

    def send(self, start: int) -> None:
        """Put the spikes of the block that began at ``start`` under way."""
        fired, heard = (
            Events(group.response.event_cell, group.response.event_sample, first)
            for group, first in (self.source, self.target)
        )
        if fired.cell.size or heard.cell.size:
            self.transmission.send(start, fired, heard)


def compile_loop(network: Network, cores: Mapping[str, Core]) -> None:
    """Compile every kernel a run of ``network`` uses, on its first cells: seconds once, then cached."""
    populations = tuple(
        replace(each, size=1, offset=i, cells=each.cells.take(slice(0, 1)))
        for i, each in enumerate(network.populations)
    )
    spec = network.spec
    sizes = {name: each.model_copy(update={"size": 1}) for name, each in spec.populations.items()}
    one, zero = np.array([0, 1], np.int64), np.zeros(1, np.int32)
    projections = tuple(
        replace(each, indptr=one, target=zero, weight=np.zeros(1, np.float32), delay=each.delay[:1])
        for each in network.projections
        if each.size
    )
    gap_junctions = tuple(
        replace(each, first=zero, second=zero, conductance=np.zeros(1, np.float32))
        for each in network.gap_junctions
    )
    small = replace(
        network,
        gap_junctions=gap_junctions,
        spec=spec.model_copy(update={"populations": sizes}),
        populations=populations,
        projections=projections,
    )
    loop = Loop(small, cores)
    loop.advance()
    for group in loop._groups:
        group.response = replace(group.response, event_cell=zero, event_sample=zero)
    for route in loop._routes:
        route.send(0)


def _grouped(network: Network) -> dict[tuple[str, str | None], list[PopulationArrays]]:
    groups: dict[tuple[str, str | None], list[PopulationArrays]] = {}
    for population in network.populations:
        groups.setdefault((population.core, population.family), []).append(population)
    return groups


def _joined(tables: list[CellTable]) -> CellTable:
    """One table of all cells: what cores read, the code and the parameters all tables have."""
    shared = [key for key in tables[0].parameters if all(key in table.parameters for table in tables)]
    return CellTable(
        size=sum(table.size for table in tables),
        code=np.concatenate([table.code for table in tables]),
        parameters={key: np.concatenate([table.parameters[key] for table in tables]) for key in shared},
    )


def _part(drive: Drive, cells: slice) -> Drive:
    arrays = (drive.current, drive.conductance, drive.reversal_current)
    nmda = drive.nmda and Nmda(
        np.ascontiguousarray(drive.nmda.conductance[:, cells]),
        np.ascontiguousarray(drive.nmda.reversal_current[:, cells]),
        drive.nmda.half[cells],
    )
    return Drive(drive.zones, *(np.ascontiguousarray(array[:, cells]) for array in arrays), nmda=nmda)


def _merged(responses: list[Response], chunks: list[slice]) -> Response:
    cell = np.concatenate([r.event_cell + c.start for r, c in zip(responses, chunks, strict=True)])
    sample = np.concatenate([r.event_sample for r in responses])
    order = np.lexsort((cell, sample))
    return Response(
        voltage=np.concatenate([r.voltage for r in responses]),
        event_cell=cell[order].astype(np.int32),
        event_sample=sample[order],
        event_time=np.concatenate([r.event_time for r in responses])[order],
        outside=np.concatenate([r.outside for r in responses]),
    )


def _of_cells(response: Response, cells: slice) -> Response:
    mine = (response.event_cell >= cells.start) & (response.event_cell < cells.stop)
    return Response(
        voltage=response.voltage[cells],
        event_cell=response.event_cell[mine] - np.int32(cells.start),
        event_sample=response.event_sample[mine],
        event_time=response.event_time[mine],
        outside=response.outside[cells],
    )
