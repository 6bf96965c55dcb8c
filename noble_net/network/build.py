"""From a network file to frozen arrays: cells sampled, synapses drawn, the block length chosen.

Knows of a core only its name, zones and step (`CoreInfo`), so that any core, or another simulator, can run
the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from noble_net.cells.family import Family
from noble_net.cells.latent import sample_cells
from noble_net.config import (
    CLOSED_FORM,
    NetworkSpec,
    PopulationSpec,
    ProjectionSpec,
    SynapseSpec,
    config_error,
)
from noble_net.errors import FamilyError
from noble_net.network.check import at_line, check_network, common_step, has_conductance, positions_of
from noble_net.network.connect import Extent, ProjectionArrays, connect, expected_size
from noble_net.network.gap_junctions import GapJunctions, couple_pairs, expected_number
from noble_net.network.geometry import Places
from noble_net.network.node_sets import check_targets
from noble_net.network.nodes import as_in_nodes, node_ids
from noble_net.network.random import cell_uniforms, generator, quantile
from noble_net.network.share import Share
from noble_net.specs.gap_junctions import GapJunctionSpec
from noble_net.types import CellTable, CoreInfo, Float32

LONGEST_BLOCK = 50
"""Samples of a block at most, where no delay asks for less: longer ones gain no speed, only memory."""


@dataclass(frozen=True)
class PopulationArrays:
    """The cells of one population; ``offset`` is its first cell among all of the network, in file order.

    ``position`` float32 [cells, 3], µm, where the file gives any. ``own``: the cells that this process advances, where
    several share the network; everything else is told of all.
    """

    name: str
    size: int
    offset: int
    core: str
    family: str | None
    cells: CellTable
    position: Float32 | None = None
    own: range | None = None

    @property
    def here(self) -> range:
        """The cells that this process advances."""
        return range(self.size) if self.own is None else self.own

    @property
    def cells_here(self) -> CellTable:
        """These cells."""
        return self.cells if self.own is None else self.cells.take(slice(self.own.start, self.own.stop))


@dataclass(frozen=True)
class Network:
    """A network ready to run. ``block_samples`` is the longest exact block (see `block_length`)."""

    spec: NetworkSpec
    populations: tuple[PopulationArrays, ...]
    projections: tuple[ProjectionArrays, ...]
    synapses: Mapping[str, SynapseSpec]
    block_samples: int
    step_samples: int
    gap_junctions: tuple[GapJunctions, ...] = ()
    """Sorted by name, so that sums do not depend on the file's order."""

    @property
    def n_cells(self) -> int:
        """Cells of all populations."""
        return sum(population.size for population in self.populations)

    @property
    def n_synapses(self) -> int:
        """Synapses of all projections."""
        return sum(projection.total for projection in self.projections)

    @property
    def n_gap_junctions(self) -> int:
        """Gap junctions of all names."""
        return sum(each.size for each in self.gap_junctions)

    @property
    def writes_edges(self) -> bool:
        """Whether a run writes its synapses and gap junctions."""
        record = self.spec.record
        return record.wants(record.edges, self.n_synapses + self.n_gap_junctions)

    @property
    def learned(self) -> tuple[ProjectionArrays, ...]:
        """The projections whose weights a run changes, if it is to write them at its end."""
        record, plastic = self.spec.record, tuple(each for each in self.projections if self._learns(each))
        return plastic if record.wants(record.weights, sum(each.total for each in plastic)) else ()

    def _learns(self, projection: ProjectionArrays) -> bool:
        plasticity = self.synapses[projection.synapse].plasticity
        return plasticity is not None and plasticity.stdp is not None

    @property
    def longest_delay(self) -> int:
        """Longest delay in samples; 0 without synapses."""
        return max((p.delays[1] for p in self.projections if p.total), default=0)

    def exact_block(self, samples: int | None) -> int:
        """``samples`` as the length of a block, the longest unless given. ValueError for one that is not exact."""
        wanted = self.block_samples if samples is None else samples
        if wanted % self.step_samples or not 0 < wanted <= self.block_samples:
            raise ValueError(
                f"a block of {wanted} samples is no multiple of {self.step_samples} up to {self.block_samples}"
            )
        return wanted

    def population(self, name: str) -> PopulationArrays:
        """The population of that name."""
        return next(population for population in self.populations if population.name == name)


def build_network(
    spec: NetworkSpec, families: Mapping[str, Family], cores: Mapping[str, CoreInfo]
) -> Network:
    """Build ``spec``. ``families`` and ``cores`` hold every family and core by the name the file gives it.

    Raises ConfigError, at its line, for what `check_network` and `check_targets` refuse and for a family without such
    members.
    """
    check_network(spec, cores)
    return build_checked(spec, families, cores)


def build_checked(
    spec: NetworkSpec,
    families: Mapping[str, Family],
    cores: Mapping[str, CoreInfo],
    share: Share | None = None,
) -> Network:
    """`build_network` of what has passed `check_network`, whose files it does not read again for their faults.

    ``share``: that of one of several processes. It knows of its own synapses alone until `with_extents`.
    """
    network = assemble(spec, families, cores, share)
    check_targets(network)
    return network


def assemble(
    spec: NetworkSpec,
    families: Mapping[str, Family],
    cores: Mapping[str, CoreInfo],
    share: Share | None = None,
) -> Network:
    """`build_network` without its checks, for networks made from one that has passed them."""
    populations: list[PopulationArrays] = []
    offset = 0
    for name, each in spec.populations.items():
        cells = _sample(spec, name, each, families)
        position = positions_of(spec, name)
        core = spec.core_of(name)
        own = None if share is None else share.of(each.size)
        populations.append(PopulationArrays(name, each.size, offset, core, each.family, cells, position, own))
        offset += each.size
    positions = {population.name: population.position for population in populations}
    projections = tuple(_connect(spec, index, positions, share) for index in range(len(spec.projections)))
    gap_junctions = tuple(
        _couple(spec, index, positions)
        for index in sorted(range(len(spec.gap_junctions)), key=lambda i: spec.gap_junctions[i].name)
    )
    step = common_step(spec, cores)
    return Network(
        spec=spec,
        populations=tuple(populations),
        projections=projections,
        synapses=spec.synapses,
        block_samples=step if gap_junctions else block_length(step, projections),
        step_samples=step,
        gap_junctions=gap_junctions,
    )


def expected_synapses(spec: NetworkSpec, index: int) -> int:
    """Number of synapses of a projection, or the mean of a random number, before the network is built.

    Raises ConfigError, at its line, for a file or a graph that does not fit.
    """
    projection = spec.projections[index]
    ends = (projection.source, projection.target)
    sizes = [spec.populations[end].size for end in ends]
    positions = {end: positions_of(spec, end) for end in ends} if projection.needs_positions else {}
    with at_line(spec, index):
        places, conductance = _places(spec.projections[index], positions), has_conductance(spec, index)
        ids = node_ids(spec, projection)
        return expected_size(projection, sizes[0], sizes[1], spec.seed, places, conductance, ids)


def expected_junctions(spec: NetworkSpec, index: int) -> int:
    """Number of gap junctions of one name, or its mean, before the network is built. Raises ConfigError likewise."""
    each = spec.gap_junctions[index]
    ends = (each.source, each.target)
    positions = {end: positions_of(spec, end) for end in ends} if each.needs_positions else {}
    with at_line(spec, index, "gap_junctions"):
        sizes = [spec.populations[end].size for end in ends]
        return expected_number(each, sizes[0], sizes[1], spec.seed, _places(each, positions))


def block_length(step: int, projections: tuple[ProjectionArrays, ...]) -> int:
    """The longest exact block in samples: the largest multiple of ``step`` up to the smallest delay.

    No spike of a block can arrive within it, so its input is known when it begins. At most LONGEST_BLOCK, or
    one step where that is longer.
    """
    shortest = min((p.delays[0] for p in projections if p.total), default=LONGEST_BLOCK)
    return max(min(shortest, LONGEST_BLOCK) // step, 1) * step


def with_extents(network: Network, extents: Mapping[str, Extent]) -> Network:
    """A share of a network that knows of all synapses, by projection; block and rings are those of the whole."""
    projections = tuple(replace(each, whole=extents[each.name]) for each in network.projections)
    step = network.step_samples
    return replace(network, projections=projections, block_samples=block_length(step, projections))


def _connect(
    spec: NetworkSpec, index: int, positions: Mapping[str, Float32 | None], share: Share | None
) -> ProjectionArrays:
    projection = spec.projections[index]
    sources, targets = (spec.populations[end].size for end in (projection.source, projection.target))
    with at_line(spec, index):
        places, conductance = _places(spec.projections[index], positions), has_conductance(spec, index)
        return connect(
            projection,
            sources,
            targets,
            spec.seed,
            places,
            conductance,
            node_ids(spec, projection),
            None if share is None else share.of(targets),
        )


def _couple(spec: NetworkSpec, index: int, positions: Mapping[str, Float32 | None]) -> GapJunctions:
    each = spec.gap_junctions[index]
    sizes = [spec.populations[end].size for end in (each.source, each.target)]
    with at_line(spec, index, "gap_junctions"):
        return couple_pairs(each, sizes[0], sizes[1], spec.seed, _places(each, positions))


def _places(
    projection: ProjectionSpec | GapJunctionSpec, positions: Mapping[str, Float32 | None]
) -> Places | None:
    source, target = positions.get(projection.source), positions.get(projection.target)
    return None if source is None or target is None else Places(source, target)


def _sample(
    spec: NetworkSpec, name: str, population: PopulationSpec, families: Mapping[str, Family]
) -> CellTable:
    if population.family is None or spec.core_of(name) in CLOSED_FORM:
        return as_in_nodes(spec, name, _integrate_and_fire_cells(spec, name, population), None)
    sample, family = population.sample, families[population.family]
    try:
        drawn = sample_cells(
            family,
            population.size,
            source=sample.source,
            role=sample.role,
            spread=sample.spread,
            outside=sample.outside,
            around=sample.around,
            radius=sample.radius,
            member=sample.member,
            what=f"population {name}",
            generator_of=partial(generator, spec.seed, "latent", name),
        )
    except FamilyError as error:
        raise config_error(spec, ("populations", name, "sample"), str(error)) from error
    return as_in_nodes(spec, name, drawn, family)


def _integrate_and_fire_cells(spec: NetworkSpec, name: str, population: PopulationSpec) -> CellTable:
    parameters = {
        key: quantile(each, cell_uniforms(spec.seed, "parameters", f"{name}/{key}", population.size))
        for key, each in population.parameters.items()
    }
    return CellTable(
        size=population.size,
        code=np.zeros((population.size, 0), np.float32),
        parameters=parameters,
        labels=(spec.core_of(name),) * population.size,
    )
