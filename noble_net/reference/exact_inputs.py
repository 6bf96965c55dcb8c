"""What drives the exact cells of a network: stimuli, spikes under way, and where synapses lie on the cells.

Spikes go the way they go in the loop on surrogate cores (`noble_net.network.transmission`): a spike leaves at the end
of the sample that confirms it, with the delays and plasticity of the file, and arrives at the start of a sample. Where
it arrives is NEURON's, by the zone of its synapse:

- soma: a point process per cell and synapse type;
- dendrite, ``lumped``: the conductance of all synapses of a cell's zone, as its mean over each sample, spread over the
  zone by membrane area: what a surrogate core is told;
- dendrite, ``points``: each synapse of a projection at a segment of its own, drawn by membrane area. Synapses of a type
  in one segment share a point process, being linear. Stimuli, whose synapses are not told apart, stay spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from noble_net.errors import BackendError
from noble_net.network import random_kernels, underway_kernels, wiring_kernels
from noble_net.network.build import Network
from noble_net.network.connect import ProjectionArrays
from noble_net.network.random import stream_key
from noble_net.network.stimuli import Injection, inject, network_inputs
from noble_net.network.synapses import SynapseBank, half_block
from noble_net.network.transmission import Events, Transmission, transmission
from noble_net.network.underway_kernels import FIXED_POINT
from noble_net.reference.exact_pool import AT_SOMA, Driven, Inputs, Junctions, Layout, Points
from noble_net.types import Float32, Float64, Int32, Int64

Placement = Literal["lumped", "points"]
"""How synapses of a dendritic zone lie: spread over it as a whole, or each in a segment."""

Areas = Mapping[str, Mapping[str, Float64]]
"""Membrane of the segments of every population's zones: see `noble_net.reference.exact_pool.Pool`."""

SOMA = "soma"


class NetworkDrive:
    """The inputs of a network's cells, block by block; blocks follow each other without gap.

    ``longest_block`` in samples. Raises BackendError for synapses in a zone that the cells do not have.
    """

    def __init__(self, network: Network, areas: Areas, placement: Placement, longest_block: int) -> None:
        self._network = network
        self._offsets = {each.name: each.offset for each in network.populations}
        self._lengths = network.longest_delay, longest_block
        self._injections, self._afferents, needed = network_inputs(network)
        for target, synapse in needed:
            self._check_zone(target, synapse, areas)
        self._points: list[_PointBank] = []
        self._zones: dict[tuple[str, str], _ZoneBanks] = {}
        self._banks: dict[tuple[str, str], SynapseBank] = {}
        self._routes: list[_Route] = []
        scattered = set() if placement == "lumped" else {key for key in needed if self._zone(key[1]) != SOMA}
        heard = {(stimulus.target, stimulus.synapse) for stimulus in self._afferents}
        for key in needed:
            if key not in scattered or key in heard:
                self._banks[key] = self._bank_by_cell(*key)
        for key in needed:
            mine = [each for each in network.projections if each.size and _target(each) == key]
            if key in scattered and mine:
                self._scatter(mine, areas[key[0]][self._zone(key[1])])
            else:
                size = network.population(key[0]).size
                self._routes += [
                    self._route(each, transmission(each, size, self._banks[key])) for each in mine
                ]

    @property
    def layout(self) -> Layout:
        """What is to hang on the cells of the network, numbered through its populations."""
        network, offsets = self._network, self._offsets
        junctions = [
            Junctions(
                each.first.astype(np.int64) + offsets[each.source],
                each.second.astype(np.int64) + offsets[each.target],
                each.conductance.astype(np.float64),
            )
            for each in network.gap_junctions
        ]
        return Layout(
            [each.points for each in self._points],
            [Driven(zone, self._cells(target), each.half) for (target, zone), each in self._zones.items()],
            junctions,
        )

    def inputs(self, start: int, samples: int) -> Inputs:
        """All that acts in the ``samples`` from sample ``start`` on."""
        for stimulus in self._afferents:
            stimulus.deliver(start, samples, self._banks[stimulus.target, stimulus.synapse])
        return Inputs(
            self.injected(start, samples),
            [each.drive(start, samples) for each in self._zones.values()],
            [each.arrivals(start, samples) for each in self._points],
        )

    def injected(self, start: int, samples: int) -> Float32:
        """Current (nA), conductance (nS) and reversal current (pA) at the somata, [3, cells, samples]."""
        return injected(self._network, self._injections, start, samples)

    def send(self, start: int, cell: Int32, sample: Int32) -> None:
        """Put the spikes of the block that began at ``start`` under way: cells of the network and confirming samples,
        sorted by (sample, cell)."""
        if not cell.size:
            return
        for route in self._routes:
            fired = Events(cell, sample, route.source)
            heard = Events(cell, sample, route.target)
            route.transmission.send(
                start, fired, heard if route.sites is None else _at_sites(heard, route.sites)
            )

    def compile_kernels(self) -> None:
        """Ask once for what a block asks for, without effect, so that compilation does not count as run time."""
        self.injected(0, 1)
        for stimulus in self._afferents:
            stimulus.counts(0, 1)
        for driven in self._zones.values():
            driven.drive(0, 0)
        for points in self._points:
            points.arrivals(0, 0)
        none: Int32 = np.empty(0, np.int32)
        for route in self._routes:
            route.transmission.send(0, Events(none, none, 0), Events(none, none, 0))

    def weights(self) -> dict[str, Float32]:
        """The weights now, nS or pA [synapses] per projection."""
        return {route.projection: route.transmission.weight for route in self._routes}

    def _check_zone(self, target: str, synapse: str, areas: Areas) -> None:
        zone = self._zone(synapse)
        if not areas[target][zone].size:
            there = ", ".join(name for name, area in areas[target].items() if area.size)
            raise BackendError(
                f"synapse {synapse} lies in zone {zone}, which the cells of population {target} do not have. "
                f"Their zones: {there}"
            )

    def _zone(self, synapse: str) -> str:
        return self._network.synapses[synapse].zone

    def _cells(self, population: str) -> Int64:
        first = self._offsets[population]
        return np.arange(first, first + self._network.population(population).size, dtype=np.int64)

    def _bank_by_cell(self, target: str, synapse: str) -> SynapseBank:
        """One set of synapses per cell, at the soma or spread over a zone of the dendrite."""
        spec, cells = self._network.synapses[synapse], self._cells(target)
        bank = SynapseBank(spec, cells.size, *self._lengths)
        if spec.zone == SOMA:
            self._points.append(_PointBank(bank, Points(spec, cells, np.full(cells.size, AT_SOMA))))
        else:
            self._zones.setdefault((target, spec.zone), _ZoneBanks(cells.size)).add(bank)
        return bank

    def _scatter(self, projections: list[ProjectionArrays], area: Float64) -> None:
        """Give each synapse a segment, and every segment in use a point process."""
        network = self._network
        target, spec = projections[0].target_population, network.synapses[projections[0].synapse]
        size = network.population(target).size
        places = [
            each.target.astype(np.int64) * area.size + drawn_segments(each, size, area, network.spec.seed)
            for each in projections
        ]
        sites, site = np.unique(np.concatenate(places), return_inverse=True)
        cell, segment = np.divmod(sites, area.size)
        bank = SynapseBank(spec, sites.size, *self._lengths)
        self._points.append(_PointBank(bank, Points(spec, cell + self._offsets[target], segment)))
        ends = np.cumsum([each.size for each in projections])[:-1]
        for each, own in zip(projections, np.split(site, ends), strict=True):
            moved = replace(each, target=own.astype(np.int32))
            sent = transmission(moved, sites.size, bank)
            self._routes.append(self._route(each, sent, np.searchsorted(cell, np.arange(size + 1))))

    def _route(self, projection: ProjectionArrays, sent: Transmission, sites: Int64 | None = None) -> _Route:
        ends = self._offsets[projection.source], self._offsets[projection.target_population]
        return _Route(projection.name, *ends, sent, sites)


def injected(network: Network, injections: Sequence[Injection], start: int, samples: int) -> Float32:
    """Current (nA), conductance (nS) and reversal current (pA) that stimuli inject at somata, [3, cells, samples]."""
    drive = np.zeros((3, network.n_cells, samples), np.float32)
    for stimulus in injections:
        target = network.population(stimulus.target)
        cells = slice(target.offset, target.offset + target.size)
        inject(stimulus, start, drive[0, cells], drive[1, cells], drive[2, cells])
    return drive


def drawn_segments(projection: ProjectionArrays, targets: int, area: Float64, seed: int) -> Int64:
    """The segment of every synapse, int64 [synapses] in the projection's order, drawn by ``area`` [segments].

    Draw number i of target t, in the order of their sources, is a function of (seed, projection, t, i).
    """
    rows, entries = wiring_kernels.grouped(projection.target, targets)
    uniform = np.empty(projection.size)
    uniform[entries] = random_kernels.row_uniforms(stream_key(seed, "segment", projection.name), rows)
    edges = np.cumsum(area) / area.sum()
    return np.minimum(np.searchsorted(edges, uniform, side="right"), area.size - 1)


class _Route(NamedTuple):
    """The way of spikes through one projection: from and to the populations that begin at cells ``source`` and
    ``target``; ``sites``, int64 [targets + 1]: the first site of each target, where synapses are told apart."""

    projection: str
    source: int
    target: int
    transmission: Transmission
    sites: Int64 | None


class _PointBank(NamedTuple):
    """Point processes, and the events on their way to them."""

    bank: SynapseBank
    points: Points

    def arrivals(self, start: int, samples: int) -> Float64:
        """What arrives at the start of each sample, nS or pA [samples, points]."""
        arriving = self.bank.arriving
        underway_kernels.arrive(self.bank.underway.pool, start, samples, arriving)
        rows = np.arange(start, start + samples) % len(arriving)
        found: Float64 = arriving[rows] * (1.0 / FIXED_POINT)
        arriving[rows] = 0
        return found


class _ZoneBanks:
    """The synapses of a dendritic zone that is driven as a whole, of so many cells."""

    def __init__(self, cells: int) -> None:
        self._cells = cells
        self._banks: list[SynapseBank] = []
        self.half = 0.0

    def add(self, bank: SynapseBank) -> None:
        """Let these synapses drive it, too."""
        self._banks.append(bank)
        if bank.spec.model == "nmda":
            self.half = half_block(bank.spec)

    def drive(self, start: int, samples: int) -> Float64:
        """The zone's four inputs (see `Inputs`), float64 [4, cells, samples]."""
        drive: Float64 = np.zeros((4, self._cells, samples))
        for bank in self._banks:
            first = 2 if bank.spec.model == "nmda" else 0
            bank.drive_block(start, drive[first], drive[first + 1])
        return drive


def _target(projection: ProjectionArrays) -> tuple[str, str]:
    return projection.target_population, projection.synapse


def _at_sites(heard: Events, sites: Int64) -> Events:
    """Spikes of cells as spikes of all their sites."""
    cell = heard.cell.astype(np.int64) - heard.first
    mine = (cell >= 0) & (cell < sites.size - 1)
    cell, sample = cell[mine], heard.sample[mine]
    number = sites[cell + 1] - sites[cell]
    within = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
    return Events((np.repeat(sites[cell], number) + within).astype(np.int32), np.repeat(sample, number), 0)
