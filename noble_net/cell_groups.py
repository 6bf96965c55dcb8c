"""Cells that are advanced together, of one core and one family: their drive put together, their answers taken apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noble_net.network.build import PopulationArrays
from noble_net.network.check import INJECTION_ZONE
from noble_net.network.stimuli import Injection, inject
from noble_net.network.synapses import SynapseBank, half_block
from noble_net.run_state import Arrays, fill
from noble_net.surrogate.core import Core
from noble_net.types import CellTable, Drive, Float32, Float64, Nmda, Real, Response, Spiked, State


class CellGroup:
    """Populations that share a core and a family, advanced together. Cells are numbered through the group."""

    def __init__(self, core: Core, members: list[PopulationArrays], batch: int | None) -> None:
        self.core = core
        ends = np.cumsum([0, *(len(member.here) for member in members)]).tolist()
        self.ranges = {
            member.name: slice(begin, end)
            for member, begin, end in zip(members, ends[:-1], ends[1:], strict=True)
        }
        cells = joined([member.cells_here for member in members])
        step = batch or max(cells.size, 1)
        begins = range(0, max(cells.size, 1), step)  # one chunk at least, also without cells
        self.chunks = [slice(at, min(at + step, cells.size)) for at in begins]
        self.states: list[State] = [core.begin(cells.take(chunk)) for chunk in self.chunks]
        self.size: int = cells.size
        self._memory = core.memory(cells)
        self.injections: list[tuple[Injection, slice]] = []
        self.banks: list[tuple[SynapseBank, slice]] = []
        self.coupled = False
        """Whether gap junctions add to the drive."""
        self.drive: Drive
        self.recorded: dict[tuple[str, str], SynapseBank] = {}
        """Banks by (population, synapse) whose own part of the drive is kept for a report."""
        self.response: Response
        self._buffers: dict[int, _Buffers] = {}

    def memory(self, population: str) -> Float64 | None:
        """How fast the cells of a population forget current, ms [cells]: see `Core.memory`."""
        return None if self._memory is None else self._memory[self.ranges[population]]

    def gather(self, start: int, samples: int) -> None:
        """Put together the drive of the block from sample ``start`` on."""
        if samples not in self._buffers:
            self._buffers[samples] = _Buffers(self, samples)
        buffers = self._last = self._buffers[samples]
        drive = buffers.drive
        drive.current.fill(0.0)
        drive.reversal_current.fill(0.0)
        if drive.conducts:
            drive.conductance.fill(0.0)
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

    def soma(self, population: str) -> tuple[Real, Real]:
        """Conductance and reversal current of a population's somata in the drive, [cells, samples] each."""
        zone, cells = self.core.zones.index(INJECTION_ZONE), self.ranges[population]
        return self.drive.conductance[zone, cells], self.drive.reversal_current[zone, cells]

    def voltage(self) -> dict[str, Float32]:
        """The last voltage of every cell, mV [cells] per population."""
        whole = np.concatenate([state.voltage for state in self.states])
        return {name: whole[cells] for name, cells in self.ranges.items()}

    def state(self) -> dict[str, NDArray[Any]]:
        """The cells' state, by population and name: ``pv/voltage``."""
        names = self.states[0].arrays
        whole = {name: np.concatenate([state.arrays[name] for state in self.states]) for name in names}
        return {
            f"{population}/{name}": array[cells]
            for population, cells in self.ranges.items()
            for name, array in whole.items()
        }

    def restore(self, arrays: Arrays) -> None:
        """Take such a state. OutputError when it is one of other cells."""
        whole = self.state()
        for name, array in whole.items():
            fill(array, arrays, name)
        for state, chunk in zip(self.states, self.chunks, strict=True):
            for name in state.arrays:
                parts = [whole[f"{population}/{name}"] for population in self.ranges]
                state.arrays[name] = np.concatenate(parts)[chunk]

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
        if report in ("current", "conductance", "reversal_current"):
            total: Real = getattr(drive, report)[:, cells].sum(axis=0)
            return total.astype(np.float32, copy=False)
        bank = self.recorded.get((population, report.removeprefix("synapse-")))
        if bank is None:  # no projection drew such a synapse
            return np.zeros((cells.stop - cells.start, drive.samples), np.float32)
        conductance, current = self._last.own[id(bank)]
        told = conductance if bank.spec.kind == "conductance" else current
        return told.astype(np.float32, copy=False)

    def fire(self, sent: Spiked) -> None:
        """Let these be the spikes that the cells send on, in place of those of their last response."""
        spikes = [(sent[name], cells.start) for name, cells in self.ranges.items()]
        cell = np.concatenate([own + first for (own, _), first in spikes])
        sample = np.concatenate([own for (_, own), _ in spikes])
        order = np.lexsort((cell, sample))
        events = {"event_cell": cell[order].astype(np.int32), "event_sample": sample[order].astype(np.int32)}
        self.response = replace(self.response, **events)

    def answers(self) -> list[tuple[str, Response]]:
        """The last response, taken apart by population."""
        if len(self.ranges) == 1:
            return [(name, self.response) for name in self.ranges]
        return [(name, of_cells(self.response, cells)) for name, cells in self.ranges.items()]


class _Buffers:
    """A group's drive for one block length, and the parts of it that each input adds to."""

    def __init__(self, group: CellGroup, samples: int) -> None:
        zones = group.core.zones
        shape = zones, group.size, samples
        self.drive = Drive.zeros(*shape, _half_block(group), group.core.drive_dtype, _conducts(group))
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
                np.zeros((bank.decaying.size, samples), group.core.drive_dtype),
                np.zeros((bank.decaying.size, samples), group.core.drive_dtype),
            )
            for bank in group.recorded.values()
        }


def _conducts(group: CellGroup) -> bool:
    """Whether anything adds to the conductance of a group's drive."""
    stimuli = any(stimulus.reversal is not None for stimulus, _ in group.injections)
    return group.coupled or stimuli or any(bank.spec.kind == "conductance" for bank, _ in group.banks)


def _half_block(group: CellGroup) -> Float32 | None:
    """Where magnesium blocks half of the NMDA synapses of each cell (mV); None for a group without any."""
    blocked = [(bank, cells) for bank, cells in group.banks if bank.spec.model == "nmda"]
    half = np.zeros(group.size, np.float32)
    for bank, cells in blocked:
        half[cells] = half_block(bank.spec)
    return half if blocked else None


def joined(tables: list[CellTable]) -> CellTable:
    """One table of all cells: what cores read, the code, and the parameters and features all tables have."""

    def shared(columns: list[Mapping[str, Float64]]) -> dict[str, Float64]:
        names = [key for key in columns[0] if all(key in each for each in columns)]
        return {key: np.concatenate([each[key] for each in columns]) for key in names}

    return CellTable(
        size=sum(table.size for table in tables),
        code=np.concatenate([table.code for table in tables]),
        parameters=shared([table.parameters for table in tables]),
        features=shared([table.features for table in tables]),
    )


def _part(drive: Drive, cells: slice) -> Drive:
    arrays = (drive.current, drive.conductance, drive.reversal_current)
    nmda = drive.nmda and Nmda(
        np.ascontiguousarray(drive.nmda.conductance[:, cells]),
        np.ascontiguousarray(drive.nmda.reversal_current[:, cells]),
        drive.nmda.half[cells],
    )
    return Drive(
        drive.zones,
        *(np.ascontiguousarray(array[:, cells]) for array in arrays),
        nmda=nmda,
        conducts=drive.conducts,
    )


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


def of_cells(response: Response, cells: slice) -> Response:
    """The part of a response that is of some of the cells."""
    mine = (response.event_cell >= cells.start) & (response.event_cell < cells.stop)
    return Response(
        voltage=response.voltage[cells],
        event_cell=response.event_cell[mine] - np.int32(cells.start),
        event_sample=response.event_sample[mine],
        event_time=response.event_time[mine],
        outside=response.outside[cells],
    )
