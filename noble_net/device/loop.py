"""The whole loop on one device, a GPU or PyTorch's own CPU device: `noble_net.loop` with tensors.

Drive, cores, spikes, synapses and delivery stay on the device; per block the number of spikes comes back, and what is
recorded. Results against the loop on CPU: the same cells and edges, the same Poisson counts and arriving amounts bit
for bit, noise and voltages to float rounding (which a recurrent network makes diverge in time, though not in
statistics).

On one device, with one version of PyTorch, the same seed gives the same spikes, for any block length and after a
resume: sums of synaptic events are integers, which atomic additions cannot reorder. With ``batch``, or another number
of threads on CPU, the streaming core's matrix products may sum in another order, and so differ in the last bits; its
kernel (`noble_net.device.fused`) and the integrate-and-fire cores do not.

Not held, and refused by name: STDP and gap junctions. Stimuli other than Ornstein-Uhlenbeck, white noise, steps and
Poisson are made on the CPU and copied block by block.

>>> loop = DeviceLoop(network, {"pv-stream": core}, "cuda")         # doctest: +SKIP
>>> for population, response in loop.advance().items(): ...         # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noble_net.cell_groups import of_cells
from noble_net.circuit_files import planned_reports
from noble_net.device.cores import device_core
from noble_net.device.delivery import Route
from noble_net.device.groups import DeviceGroup
from noble_net.device.holds import check_holds
from noble_net.device.stimuli import Spikes, device_source
from noble_net.device.synapses import DeviceBank
from noble_net.divergence import check_finite
from noble_net.loop import grouped
from noble_net.network.build import Network
from noble_net.network.stimuli import network_inputs
from noble_net.run_state import Arrays, fill, part, under
from noble_net.surrogate.core import Core
from noble_net.types import Drive, Float32, Response


class DeviceLoop:
    """A network in motion on a device; an engine like `noble_net.loop.Loop`, whose arguments it shares.

    ``device`` is PyTorch's name of it. ``everything``: responses hold the voltage, and `inputs` tells, of all cells;
    otherwise only of those the network records, and zero of others. BackendError for a network with something the
    device loop does not hold.
    """

    def __init__(
        self,
        network: Network,
        cores: Mapping[str, Core],
        device: str,
        block_samples: int | None = None,
        batch: int | None = None,
        everything: bool = True,
    ) -> None:
        check_holds(network.spec, cores)
        self.network = network
        self.block_samples = network.exact_block(block_samples)
        if batch is not None and batch < 1:
            raise ValueError(f"a batch of {batch} cells")
        self.position = 0
        self._device = torch.device(device)
        self._groups = [
            DeviceGroup(device_core(cores[core], device), members, batch)
            for (core, _), members in grouped(network).items()
        ]
        self._make_inputs()
        self._routes = [
            (each, Route(each, self._banks[each.target_population, each.synapse]))
            for each in network.projections
            if each.size
        ]
        self._rows: dict[tuple[str, str], torch.Tensor] = {}
        if not everything:
            self._show_only_recorded()

    def _make_inputs(self) -> None:
        """Hang stimuli and synapse banks on the groups, in an order that does not depend on the file's."""
        network, longest = self.network, (self.network.longest_delay, self.network.block_samples)
        injections, afferents, needed = network_inputs(network)
        self._afferents = [Spikes(each, self._device) for each in afferents]
        self._banks = {
            (target, synapse): DeviceBank(
                network.synapses[synapse],
                network.population(target).size,
                *longest,
                self._group(target).memory(target),
                self._device,
            )
            for target, synapse in needed
        }
        self._sources = [device_source(each, self._device) for each in injections]
        for group in self._groups:
            ranges = group.ranges
            group.sources = [(each, ranges[each.target]) for each in self._sources if each.target in ranges]
            banks = {at: bank for at, bank in self._banks.items() if at[0] in ranges}
            group.banks = [(bank, ranges[target]) for (target, _), bank in banks.items()]
            wanted = network.spec.record.synapses
            group.recorded = {at: bank for at, bank in banks.items() if at[1] in wanted}

    def _show_only_recorded(self) -> None:
        for report, planned in planned_reports(self.network).items():
            for population, cells in planned.cells.items():
                rows = torch.tensor(np.asarray(cells, np.int64), device=self._device)
                self._rows[report, population] = rows
        shown = {population: rows for (report, population), rows in self._rows.items() if report == "voltage"}
        for group in self._groups:
            group.shown, group.voltages = shown, not group.ranges.keys().isdisjoint(shown)

    def _group(self, population: str) -> DeviceGroup:
        return next(group for group in self._groups if population in group.ranges)

    def advance(self, samples: int | None = None) -> dict[str, Response]:
        """Run one block (of ``samples``, if not the usual length); returns every population's response.

        Raises SolverError, naming the cell, when a voltage is not finite.
        """
        samples = samples or self.block_samples
        start = self.position
        for stimulus in self._afferents:
            stimulus.deliver(start, samples, self._banks[stimulus.target, stimulus.synapse])
        for group in self._groups:
            group.gather(start, samples)
            group.advance()
            self._check(group, start)
        # Before the spikes are sent: the device is then at work while the next block is prepared.
        answers = {name: each for group in self._groups for name, each in _answers(group)}
        for projection, route in self._routes:
            mask, sample, cell = self._group(projection.source).sent(projection.source)
            if len(cell):
                route.send(start, mask, sample, cell)
        self.position += samples
        return answers

    def _check(self, group: DeviceGroup, start: int) -> None:
        if not group.finite:
            response = Response(group.answer.voltage.T.cpu().numpy(), *_NOTHING)
            check_finite(self.network, _Told(group.core, group.ranges, group.host_drive(), response), start)

    def weights(self) -> dict[str, Float32]:
        """The weights, nS or pA [synapses] per projection that has any, in the order of its arrays."""
        return {projection.name: projection.weight for projection, _ in self._routes}

    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes as the network runs, by path; for `restore` on the same kind of device."""
        found: dict[str, NDArray[Any]] = {"position": np.array(self.position)}
        for group in self._groups:
            found |= under("cells", group.state())
        for (target, synapse), bank in self._banks.items():
            found |= under(f"synapses/{target}/{synapse}", bank.state(self.position))
        for source in self._sources:
            found |= under(f"stimuli/{source.name}", source.state)
        for projection, route in self._routes:
            found |= under(f"projections/{projection.name}", route.state)
        return found

    def restore(self, arrays: Arrays) -> None:
        """Go on from such a state, also with other blocks. OutputError when it does not fit."""
        position = np.array(0)
        fill(position, arrays, "position")
        self.position = int(position)
        for group in self._groups:
            group.restore(part(arrays, "cells"))
        for (target, synapse), bank in self._banks.items():
            bank.restore(self.position, part(arrays, f"synapses/{target}/{synapse}"))
        for source in self._sources:
            source.restore(part(arrays, f"stimuli/{source.name}"))
        for projection, route in self._routes:
            route.restore(part(arrays, f"projections/{projection.name}"))

    def inputs(self, report: str, population: str) -> Float32:
        """See `Loop.inputs`."""
        return self._group(population).inputs(report, population, self._rows.get((report, population)))

    def voltage(self) -> dict[str, Float32]:
        """The last voltage of every cell, mV [cells] per population."""
        return {name: each for group in self._groups for name, each in group.voltage().items()}


_NOTHING = np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0), np.empty(0, np.uint32)


@dataclass
class _Told:
    """A group as `check_finite` reads it."""

    core: Core
    ranges: dict[str, slice]
    drive: Drive
    response: Response


def _answers(group: DeviceGroup) -> list[tuple[str, Response]]:
    """The last response, taken apart by population."""
    response = group.response()
    return [(name, of_cells(response, cells)) for name, cells in group.ranges.items()]
