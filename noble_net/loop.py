"""The loop: drive → core → spikes → synapses, block by block.

A block is no longer than the shortest delay, so no spike of a block arrives within it and its whole drive is
known when it begins: blocks are exact. Gap junctions, which have no delay, act a step late: see
`noble_net.network.gap_junctions`. Memory is that of cells, synapses and events under way.

>>> loop = Loop(network, {"pv-stream": core})                       # doctest: +SKIP
>>> for population, response in loop.advance().items(): ...         # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noble_net.cell_groups import CellGroup
from noble_net.divergence import check_finite
from noble_net.network.build import Network, PopulationArrays
from noble_net.network.connect import ProjectionArrays
from noble_net.network.gap_junctions import couple
from noble_net.network.stimuli import network_inputs
from noble_net.network.synapses import SynapseBank
from noble_net.network.transmission import Events, Transmission, transmission
from noble_net.run_state import Arrays, fill, part, under
from noble_net.surrogate.core import Core
from noble_net.types import Float32, Int32, Response, Spiked


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
        self.block_samples = network.exact_block(block_samples)
        if batch is not None and batch < 1:
            raise ValueError(f"a batch of {batch} cells")
        self.position = 0
        self._groups = [
            CellGroup(cores[core], members, batch) for (core, _), members in grouped(network).items()
        ]
        self._make_inputs()
        self._routes = [self._route(projection) for projection in network.projections if projection.total]

    def _make_inputs(self) -> None:
        """Hang stimuli and synapse banks on the groups, in an order that does not depend on the file's."""
        network, longest = self.network, (self.network.longest_delay, self.network.block_samples)
        injections, self._afferents, needed = network_inputs(network)
        self._banks = {
            (target, synapse): SynapseBank(
                network.synapses[synapse],
                len(network.population(target).here),
                *longest,
                self._group(target).memory(target),
            )
            for target, synapse in needed
        }
        for group in self._groups:
            group.coupled = bool(network.gap_junctions)
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
        send = transmission(projection, len(self.network.population(target).here), bank)
        ends = self._place(projection.source), self._place(target)
        return _Route(projection.name, projection.source, *ends, send)

    def _place(self, population: str) -> tuple[CellGroup, int]:
        """The group of a population, and its first cell in it."""
        group = self._group(population)
        return group, group.ranges[population].start

    def _group(self, population: str) -> CellGroup:
        return next(group for group in self._groups if population in group.ranges)

    def advance(self, samples: int | None = None, sent: Spiked | None = None) -> dict[str, Response]:
        """Run one block (of ``samples``, if not the usual length); returns every population's response.

        ``sent``: spikes of this block to send in place of those that the cells fire, so that every cell gets the
        input it has in another run, whatever it answers. Raises SolverError, naming the cell, when a voltage is not
        finite.
        """
        samples = samples or self.block_samples
        responses = self.respond(samples)
        if sent is not None:
            for group in self._groups:
                group.fire(sent)
        self.deliver(samples)
        return responses

    def respond(self, samples: int) -> dict[str, Response]:
        """The first half of `advance`: drive and answers of every cell, with nothing sent yet."""
        start = self.position
        for stimulus in self._afferents:
            stimulus.deliver(start, samples, self._banks[stimulus.target, stimulus.synapse])
        for group in self._groups:
            group.gather(start, samples)
        self._couple()
        for group in self._groups:
            group.advance()
            check_finite(self.network, group, start)
        return {name: response for group in self._groups for name, response in group.answers()}

    def deliver(self, samples: int, fired: Spiked | None = None) -> None:
        """The second half: send the spikes of the block. ``fired``: those of all cells of every population, where this
        process has but a share of them."""
        for route in self._routes:
            route.send(self.position, None if fired is None else fired[route.population])
        self.position += samples

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

    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes as the network runs, by path. Some are the arrays at work: copy what is to stay."""
        found: dict[str, NDArray[Any]] = {"position": np.array(self.position), **self._at_work()}
        for group in self._groups:
            found |= under("cells", group.state())
        for (target, synapse), bank in self._banks.items():
            found |= under(f"synapses/{target}/{synapse}", bank.state())
        return found

    def restore(self, arrays: Arrays) -> None:
        """Go on from such a state, also with other blocks, batches or threads. OutputError when it does not fit."""
        position = np.array(0)
        fill(position, arrays, "position")
        for group in self._groups:
            group.restore(part(arrays, "cells"))
        for (target, synapse), bank in self._banks.items():
            bank.restore(part(arrays, f"synapses/{target}/{synapse}"))
        for name, array in self._at_work().items():
            fill(array, arrays, name)
        self.position = int(position)

    def common(self) -> frozenset[str]:
        """The paths in `state` of what does not belong to cells, or synapses onto them, of this process alone."""
        found = {"position"}
        for group in self._groups:
            for stimulus, _ in group.injections:
                found |= {f"stimuli/{stimulus.name}/{name}" for name in stimulus.common}
        for route in self._routes:
            found |= {f"projections/{route.projection}/{name}" for name in route.transmission.common}
        return frozenset(found)

    def _at_work(self) -> dict[str, NDArray[Any]]:
        """The arrays of stimuli and plastic synapses, by path."""
        found: dict[str, NDArray[Any]] = {}
        for group in self._groups:
            for stimulus, _ in group.injections:
                found |= under(f"stimuli/{stimulus.name}", stimulus.state)
        for route in self._routes:
            found |= under(f"projections/{route.projection}", route.transmission.state)
        return found

    def inputs(self, report: str, population: str) -> Float32:
        """What a report of inputs tells of the last block, float32 [cells, samples] of a population.

        `current`: injected, nA; `conductance`: of all zones, nS; `reversal_current`: Σ g·E and synaptic currents of all
        zones, pA; `synapse-…`: that of one synapse type (nS), or its current (pA), which the network's `record` must
        ask for.
        """
        return self._group(population).inputs(report, population)

    def voltage(self) -> dict[str, Float32]:
        """The last voltage of every cell, mV [cells] per population."""
        return {name: each for group in self._groups for name, each in group.voltage().items()}


@dataclass
class _Route:
    """The way of spikes through one projection: from one place, the group and the first cell in it, to another."""

    projection: str
    population: str
    source: tuple[CellGroup, int]
    target: tuple[CellGroup, int]
    transmission: Transmission

    def send(self, start: int, spiked: tuple[Int32, Int32] | None = None) -> None:
        """Put the spikes of the block that began at ``start`` under way; of the whole source population if given."""
        fired, heard = (
            Events(group.response.event_cell, group.response.event_sample, first)
            for group, first in (self.source, self.target)
        )
        if spiked is not None:
            fired = Events(*spiked, 0)
        if fired.cell.size or heard.cell.size:
            self.transmission.send(start, fired, heard)


def compile_loop(network: Network, cores: Mapping[str, Core]) -> None:
    """Compile every kernel a run of ``network`` uses, on its first cells: seconds once, then cached."""
    populations = tuple(
        replace(each, size=1, offset=i, cells=each.cells.take(slice(0, 1)), own=None)
        for i, each in enumerate(network.populations)
    )
    spec = network.spec
    sizes = {name: each.model_copy(update={"size": 1}) for name, each in spec.populations.items()}
    one, zero = np.array([0, 1], np.int64), np.zeros(1, np.int32)
    projections = tuple(
        replace(
            each,
            indptr=one,
            target=zero,
            weight=np.zeros(1, np.float32),
            delay=np.array(each.delays[:1], np.uint16),
            first=0,
            whole=None,
        )
        for each in network.projections
        if each.total
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
        group.fire(dict.fromkeys(group.ranges, (zero, zero)))
    for route in loop._routes:
        route.send(0)


def grouped(network: Network) -> dict[tuple[str, str | None], list[PopulationArrays]]:
    """The populations that are advanced together, by core and family."""
    groups: dict[tuple[str, str | None], list[PopulationArrays]] = {}
    for population in network.populations:
        groups.setdefault((population.core, population.family), []).append(population)
    return groups
