"""Cells that are advanced together on a device: `noble_net.cell_groups` with [zones, samples, cells] tensors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noble_net.cell_groups import joined
from noble_net.device.cores import Answer, DeviceCore, DeviceDrive, NmdaInput, State
from noble_net.device.stimuli import Source
from noble_net.device.synapses import DeviceBank
from noble_net.network.build import PopulationArrays
from noble_net.network.check import INJECTION_ZONE
from noble_net.network.synapses import half_block
from noble_net.run_state import Arrays, fill
from noble_net.types import DT, Drive, Float32, Float64, Nmda, Response


class Fired(NamedTuple):
    """The spikes of a block: bool [samples, cells], and where that is true, int64 [spikes] twice, sorted."""

    mask: Tensor
    sample: Tensor
    cell: Tensor


class DeviceGroup:
    """Populations that share a core and a family, advanced together. Cells are numbered through the group.

    ``voltages``: whether answers hold the voltage, of the cells in ``shown`` (int64; None: all), zero elsewhere.
    """

    def __init__(self, core: DeviceCore, members: list[PopulationArrays], batch: int | None) -> None:
        self.device_core, self.core = core, core.core
        ends = np.cumsum([0, *(member.size for member in members)]).tolist()
        self.ranges = {
            member.name: slice(begin, end)
            for member, begin, end in zip(members, ends[:-1], ends[1:], strict=True)
        }
        cells = joined([member.cells for member in members])
        step = batch or cells.size
        self.size: int = cells.size
        self.chunks = [slice(at, min(at + step, cells.size)) for at in range(0, cells.size, step)]
        self.states: list[State] = [core.begin(cells.take(chunk)) for chunk in self.chunks]
        self.device = self.states[0]["voltage"].device
        self._memory = self.core.memory(cells)
        self.sources: list[tuple[Source, slice]] = []
        self.banks: list[tuple[DeviceBank, slice]] = []
        self.recorded: dict[tuple[str, str], DeviceBank] = {}
        """Banks by (population, synapse) whose own part of the drive is kept for a report."""
        self.voltages = True
        self.shown: dict[str, Tensor] | None = None
        self.answer: Answer
        self.fired: Fired
        self.finite: Tensor
        """Whether all voltages of the last block are numbers, a bool on the device."""
        self._drive: DeviceDrive
        self._own: dict[int, tuple[Tensor, Tensor]] = {}

    def memory(self, population: str) -> Float64 | None:
        """How fast the cells of a population forget current, ms [cells]: see `Core.memory`."""
        return None if self._memory is None else self._memory[self.ranges[population]]

    def gather(self, start: int, samples: int) -> None:
        """Put together the drive of the block from sample ``start`` on."""
        drive = self._drive = self._silence(samples)
        zones, g = self.core.zones, drive.conductance
        for source, cells in self.sources:
            zone = zones.index(INJECTION_ZONE)
            opened = None if g is None else g[zone, :, cells]
            source.inject(
                start, drive.current[zone, :, cells], opened, drive.reversal_current[zone, :, cells]
            )
        kept = {id(bank) for bank in self.recorded.values()}
        for bank, cells in self.banks:
            zone = zones.index(bank.spec.zone)
            blocked = drive.nmda if bank.spec.model == "nmda" else None
            into, inward = (g, drive.reversal_current) if blocked is None else blocked[:2]
            mine = None if into is None else into[zone, :, cells]
            if id(bank) not in kept:
                bank.drive_block(start, mine, inward[zone, :, cells])
                continue
            own = torch.zeros_like(inward[zone, :, cells]), torch.zeros_like(inward[zone, :, cells])
            self._own[id(bank)] = own
            bank.drive_block(start, *own)
            inward[zone, :, cells] += own[1]
            if mine is not None:
                mine += own[0]

    def _silence(self, samples: int) -> DeviceDrive:
        shape = len(self.core.zones), samples, self.size
        real = torch.float64 if self.core.drive_dtype is np.float64 else torch.float32
        blocked = [(bank, cells) for bank, cells in self.banks if bank.spec.model == "nmda"]
        current, reversal = (torch.zeros(shape, dtype=real, device=self.device) for _ in range(2))
        nmda = None
        if blocked:
            half = torch.zeros(self.size, device=self.device)
            for bank, cells in blocked:
                half[cells] = half_block(bank.spec)
            nmda = NmdaInput(torch.zeros_like(current), torch.zeros_like(current), half)
        return DeviceDrive(current, torch.zeros_like(current) if self._conducts() else None, reversal, nmda)

    def _conducts(self) -> bool:
        """Whether anything adds to the conductance of the drive, beside NMDA synapses."""
        stimuli = any(source.reversal is not None for source, _ in self.sources)
        plain = (bank.spec for bank, _ in self.banks if bank.spec.model != "nmda")
        return stimuli or any(spec.kind == "conductance" for spec in plain)

    def advance(self) -> None:
        """Advance all cells by the drive, and find where they spiked."""
        parts = [
            self.device_core.advance(state, self._drive.of(chunk))
            for state, chunk in zip(self.states, self.chunks, strict=True)
        ]
        if len(parts) == 1:
            self.answer = parts[0]
        else:
            self.answer = Answer(*(torch.cat(each, dim=-1) for each in zip(*parts, strict=True)))
        self.finite = torch.isfinite(self.answer.voltage.sum())
        sample, cell = self.answer.fired.nonzero(as_tuple=True)  # which waits for all of this
        self.fired = Fired(self.answer.fired, sample, cell)

    def sent(self, population: str) -> Fired:
        """The spikes of a population, its cells numbered from 0."""
        cells, fired = self.ranges[population], self.fired
        if len(self.ranges) == 1:
            return fired
        mine = (fired.cell >= cells.start) & (fired.cell < cells.stop)
        return Fired(fired.mask[:, cells], fired.sample[mine], fired.cell[mine] - cells.start)

    def response(self) -> Response:
        """What happened in the last block, on the CPU."""
        answer, (_, sample, cell) = self.answer, self.fired
        # Together, in a type that holds all three: every copy costs more than what it carries.
        spikes = torch.stack([sample.double(), cell.double(), answer.lag[sample, cell].double()])
        any_outside = answer.outside.any().double()
        told = torch.cat([spikes.flatten(), any_outside[None]]).cpu().numpy()
        when, who, lag = told[:-1].reshape(3, -1)
        outside = np.zeros(self.size, np.uint32)
        if told[-1]:
            outside[:] = answer.outside.cpu().numpy()
        return Response(
            voltage=self._told(answer.voltage),
            event_cell=who.astype(np.int32),
            event_sample=when.astype(np.int32),
            event_time=(when + 1) * DT - lag,
            outside=outside,
        )

    def _told(self, voltage: Tensor) -> Float32:
        """Voltage [cells, samples] on the CPU, or of no samples where nobody wants it."""
        if not self.voltages:
            return np.zeros((self.size, 0), np.float32)
        if self.shown is None:
            return _on_host(voltage, None)
        rows = [self.shown[name] + cells.start for name, cells in self.ranges.items() if name in self.shown]
        return _on_host(voltage, torch.cat([*rows, torch.empty(0, dtype=torch.int64, device=self.device)]))

    def inputs(self, report: str, population: str, rows: Tensor | None) -> Float32:
        """See `Loop.inputs`; zero of cells that are not among ``rows``, if any are given."""
        cells, drive = self.ranges[population], self._drive
        silent = torch.zeros_like(drive.current[0, :, cells])
        if report in ("current", "conductance"):
            told: Tensor | None = getattr(drive, report)
            return _on_host(silent if told is None else told[..., cells].sum(0), rows)
        bank = self.recorded.get((population, report.removeprefix("synapse-")))
        if bank is None:  # no projection drew such a synapse
            return _on_host(silent, rows)
        return _on_host(self._own[id(bank)][0 if bank.spec.kind == "conductance" else 1], rows)

    def voltage(self) -> dict[str, Float32]:
        """The last voltage of every cell, mV [cells] per population."""
        whole = np.concatenate([state["voltage"].float().cpu().numpy() for state in self.states])
        return {name: whole[cells] for name, cells in self.ranges.items()}

    def host_drive(self) -> Drive:
        """The drive of the last block on the CPU."""
        drive = self._drive
        current, reversal = (each.mT.cpu().numpy() for each in (drive.current, drive.reversal_current))
        g = np.zeros_like(current) if drive.conductance is None else drive.conductance.mT.cpu().numpy()
        nmda = None
        if drive.nmda is not None:
            opened, inward = (each.mT.cpu().numpy() for each in drive.nmda[:2])
            nmda = Nmda(opened, inward, drive.nmda.half.cpu().numpy())
        return Drive(self.core.zones, current, g, reversal, nmda=nmda)

    def state(self) -> dict[str, NDArray[Any]]:
        """The cells' state, by population and name: ``pv/voltage``."""
        whole = {name: torch.cat([each[name] for each in self.states]).cpu() for name in self.states[0]}
        return {
            f"{population}/{name}": tensor[cells].numpy()
            for population, cells in self.ranges.items()
            for name, tensor in whole.items()
        }

    def restore(self, arrays: Arrays) -> None:
        """Take such a state. OutputError when it is one of other cells."""
        whole = {name: array.copy() for name, array in self.state().items()}
        for name, array in whole.items():
            fill(array, arrays, name)
        for state, chunk in zip(self.states, self.chunks, strict=True):
            for name in state:
                parts = [whole[f"{population}/{name}"] for population in self.ranges]
                state[name] = torch.tensor(np.concatenate(parts)[chunk], device=self.device)


def _on_host(values: Tensor, rows: Tensor | None) -> Float32:
    """[samples, cells] → float32 [cells, samples] on the CPU, of all cells or of ``rows``, zero in the others."""
    if rows is None:
        return values.float().cpu().numpy().T
    found = np.zeros(values.shape[::-1], np.float32)
    found[rows.cpu().numpy()] = values[:, rows].float().cpu().numpy().T
    return found
