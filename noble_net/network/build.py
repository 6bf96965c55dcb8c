"""From a network file to frozen arrays: cells sampled, synapses drawn, the block length chosen.

Knows of a core only its name, zones and step (`CoreInfo`), so that any core, or another simulator, can run
the result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from noble_net.cells.family import Family
from noble_net.cells.latent import sample_cells
from noble_net.config import (
    INTEGRATE_AND_FIRE,
    NetworkSpec,
    PopulationSpec,
    ProjectionSpec,
    SynapseSpec,
    config_error,
)
from noble_net.errors import FamilyError
from noble_net.network.connect import ProjectionArrays, connect, expected_size
from noble_net.network.gap_junctions import GapJunctions, couple_pairs
from noble_net.network.geometry import Places, draw_positions
from noble_net.network.given import Edges, GivenError, read_sonata, read_table
from noble_net.network.node_sets import check_targets
from noble_net.network.random import cell_uniforms, generator, quantile
from noble_net.network.stimulus_files import check_files
from noble_net.specs.gap_junctions import GapJunctionSpec
from noble_net.specs.specification import nearest
from noble_net.types import DT, CellTable, CoreInfo, Float32

INJECTION_ZONE = "soma"
"""The zone stimuli inject their current into."""
LONGEST_BLOCK = 50
"""Samples of a block at most, where no delay asks for less: longer ones gain no speed, only memory."""


@dataclass(frozen=True)
class PopulationArrays:
    """The cells of one population; ``offset`` is its first cell among all of the network, in file order.

    ``position`` float32 [cells, 3], µm, where the file gives any.
    """

    name: str
    size: int
    offset: int
    core: str
    family: str | None
    cells: CellTable
    position: Float32 | None = None


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
        return sum(projection.size for projection in self.projections)

    @property
    def longest_delay(self) -> int:
        """Longest delay in samples; 0 without synapses."""
        return max((int(p.delay.max()) for p in self.projections if p.size), default=0)

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
    populations: list[PopulationArrays] = []
    offset = 0
    for name, each in spec.populations.items():
        cells = _sample(spec, name, each, families)
        position = _positions(spec, name)
        core = spec.core_of(name)
        populations.append(PopulationArrays(name, each.size, offset, core, each.family, cells, position))
        offset += each.size
    positions = {population.name: population.position for population in populations}
    projections = tuple(_connect(spec, index, positions) for index in range(len(spec.projections)))
    gap_junctions = tuple(
        _couple(spec, index, positions)
        for index in sorted(range(len(spec.gap_junctions)), key=lambda i: spec.gap_junctions[i].name)
    )
    step = common_step(spec, cores)
    network = Network(
        spec=spec,
        populations=tuple(populations),
        projections=projections,
        synapses=spec.synapses,
        block_samples=step if gap_junctions else block_length(step, projections),
        step_samples=step,
        gap_junctions=gap_junctions,
    )
    check_targets(network)
    return network


def expected_synapses(spec: NetworkSpec, index: int) -> int:
    """Number of synapses of a projection, or the mean of a random number, before the network is built.

    Raises ConfigError, at its line, for a file or a graph that does not fit.
    """
    projection = spec.projections[index]
    ends = (projection.source, projection.target)
    sizes = [spec.populations[end].size for end in ends]
    positions = {end: _positions(spec, end) for end in ends} if projection.needs_positions else {}
    with _at_line(spec, index):
        places, conductance = _places(spec.projections[index], positions), _has_conductance(spec, index)
        return expected_size(projection, sizes[0], sizes[1], spec.seed, places, conductance)


def check_network(spec: NetworkSpec, cores: Mapping[str, CoreInfo]) -> None:
    """Refuse what the cores cannot do, zones or NMDA input they lack and delays below their step, and files
    that do not fit. Draws nothing.

    The shortest delay a distribution can give counts, rounded to samples. Raises ConfigError at the line.
    """
    for name, population in spec.populations.items():
        if population.position is not None and population.position.points is not None:
            _positions(spec, name)
    for index, projection in enumerate(spec.projections):
        _check_zone(spec, projection.synapse, projection.target, cores)
        _check_nmda(spec, projection.synapse, projection.target, cores)
        shortest = _check_file(spec, index) if projection.rule.lists_synapses else None
        if projection.delay is not None:
            shortest = projection.delay.lowest
        if shortest is not None:
            _check_delay(spec, index, shortest, cores)
    for index, each in enumerate(spec.gap_junctions):
        for key, end in (("from", each.source), ("to", each.target)):
            _check_soma(spec, ("gap_junctions", index, key), end, cores)
    for index, stimulus in enumerate(spec.stimuli):
        target = spec.population_of(stimulus.to)
        if stimulus.afferents is not None:
            _check_zone(spec, stimulus.afferents.synapse, target, cores)
            _check_nmda(spec, stimulus.afferents.synapse, target, cores)
        else:
            _check_soma(spec, ("stimuli", index, "to"), target, cores)
    check_files(spec)


def _check_nmda(spec: NetworkSpec, name: str, target: str, cores: Mapping[str, CoreInfo]) -> None:
    """A core that takes NMDA input, and one magnesium block for all of a population's NMDA synapses."""
    synapse, core = spec.synapses[name], cores[spec.core_of(target)]
    if synapse.model != "nmda":
        return
    if not core.nmda:
        problem = f"core {core.name} of population {target} takes no voltage-dependent conductance"
        raise config_error(spec, ("synapses", name, "model"), problem, "write `model: exp2`, or another core")
    for other in _synapses_onto(spec, target):
        each = spec.synapses[other]
        if each.model == "nmda" and (each.magnesium, each.shift) != (synapse.magnesium, synapse.shift):
            problem = f"synapse {other}, onto population {target} too, has another `magnesium` or `shift`"
            raise config_error(spec, ("synapses", name, "magnesium"), problem, "give both the same")


def _synapses_onto(spec: NetworkSpec, target: str) -> list[str]:
    projected = [each.synapse for each in spec.projections if each.target == target]
    stimuli = [each for each in spec.stimuli if spec.population_of(each.to) == target]
    return projected + [each.afferents.synapse for each in stimuli if each.afferents is not None]


def common_step(spec: NetworkSpec, cores: Mapping[str, CoreInfo]) -> int:
    """The shortest block all cores of the network can take, in samples."""
    return math.lcm(*(cores[spec.core_of(name)].step_samples for name in spec.populations))


def block_length(step: int, projections: tuple[ProjectionArrays, ...]) -> int:
    """The longest exact block in samples: the largest multiple of ``step`` up to the smallest delay.

    No spike of a block can arrive within it, so its input is known when it begins. At most LONGEST_BLOCK, or
    one step where that is longer.
    """
    shortest = min((int(p.delay.min()) for p in projections if p.size), default=LONGEST_BLOCK)
    return max(min(shortest, LONGEST_BLOCK) // step, 1) * step


def _positions(spec: NetworkSpec, name: str) -> Float32 | None:
    try:
        return draw_positions(spec.populations[name], name, spec.seed)
    except GivenError as error:
        path = ("populations", name, "position", "points")
        raise config_error(spec, path, error.problem, error.remedy) from error


def _connect(spec: NetworkSpec, index: int, positions: Mapping[str, Float32 | None]) -> ProjectionArrays:
    projection = spec.projections[index]
    sources, targets = (spec.populations[end].size for end in (projection.source, projection.target))
    with _at_line(spec, index):
        places, conductance = _places(spec.projections[index], positions), _has_conductance(spec, index)
        return connect(projection, sources, targets, spec.seed, places, conductance)


def _couple(spec: NetworkSpec, index: int, positions: Mapping[str, Float32 | None]) -> GapJunctions:
    each = spec.gap_junctions[index]
    sizes = [spec.populations[end].size for end in (each.source, each.target)]
    with _at_line(spec, index, "gap_junctions"):
        return couple_pairs(each, sizes[0], sizes[1], spec.seed, _places(each, positions))


def _places(
    projection: ProjectionSpec | GapJunctionSpec, positions: Mapping[str, Float32 | None]
) -> Places | None:
    source, target = positions.get(projection.source), positions.get(projection.target)
    return None if source is None or target is None else Places(source, target)


def _has_conductance(spec: NetworkSpec, index: int) -> bool:
    return spec.synapses[spec.projections[index].synapse].kind == "conductance"


@contextmanager
def _at_line(
    spec: NetworkSpec, index: int, block: Literal["projections", "gap_junctions"] = "projections"
) -> Iterator[None]:
    """Say of what is wrong with a rule's file or graph where the rule stands."""
    rule = getattr(spec, block)[index].rule
    try:
        yield
    except GivenError as error:
        path = (block, index, "rule", rule.kind)
        raise config_error(spec, path, error.problem, error.remedy) from error


def _check_file(spec: NetworkSpec, index: int) -> float | None:
    """Read a projection's file for its faults; its shortest delay, ms, if the delays are to come from it."""
    projection, conductance = spec.projections[index], _has_conductance(spec, index)
    sizes = [spec.populations[end].size for end in (projection.source, projection.target)]
    table, sonata = projection.rule.table, projection.rule.sonata
    with _at_line(spec, index):
        if table is not None:
            file = table.file
            edges = read_table(table.file, sizes[0], sizes[1])
        elif sonata is not None:
            file = sonata.file
            edges = read_sonata(sonata.file, sonata.population, sizes[0], sizes[1], conductance)
        else:
            return None
        _check_columns(projection, file, edges, conductance)
    return None if edges.delay is None or not edges.delay.size else float(edges.delay.min())


def _check_columns(projection: ProjectionSpec, file: str, edges: Edges, conductance: bool) -> None:
    for key, column in (("weight", edges.weight), ("delay", edges.delay)):
        if getattr(projection, key) is None and column is None:
            raise GivenError(f"{file} has no {key}s", f"give `{key}: …` beside the rule")
    if projection.weight is None and conductance and edges.weight is not None and np.any(edges.weight < 0):
        raise GivenError(f"{file} has a conductance below 0", "make the weights positive")


def _sample(
    spec: NetworkSpec, name: str, population: PopulationSpec, families: Mapping[str, Family]
) -> CellTable:
    if population.family is None or spec.core_of(name) == INTEGRATE_AND_FIRE:
        return _integrate_and_fire_cells(spec, name, population)
    sample = population.sample
    try:
        return sample_cells(
            families[population.family],
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


def _integrate_and_fire_cells(spec: NetworkSpec, name: str, population: PopulationSpec) -> CellTable:
    parameters = {
        key: quantile(each, cell_uniforms(spec.seed, "parameters", f"{name}/{key}", population.size))
        for key, each in population.parameters.items()
    }
    return CellTable(
        size=population.size,
        code=np.zeros((population.size, 0), np.float32),
        parameters=parameters,
        labels=(INTEGRATE_AND_FIRE,) * population.size,
    )


def _check_zone(spec: NetworkSpec, synapse: str, target: str, cores: Mapping[str, CoreInfo]) -> None:
    core = cores[spec.core_of(target)]
    zone = spec.synapses[synapse].zone
    if zone not in core.zones:
        problem = f"core {core.name} of population {target} has no such zone"
        raise config_error(spec, ("synapses", synapse, "zone"), problem, nearest(zone, core.zones))


def _check_soma(
    spec: NetworkSpec, path: tuple[str | int, ...], population: str, cores: Mapping[str, CoreInfo]
) -> None:
    core = cores[spec.core_of(population)]
    if INJECTION_ZONE not in core.zones:
        problem = f"core {core.name} takes no input at the {INJECTION_ZONE}"
        raise config_error(spec, path, problem, f"its zones: {', '.join(core.zones)}")


def _check_delay(spec: NetworkSpec, index: int, shortest: float, cores: Mapping[str, CoreInfo]) -> None:
    projection = spec.projections[index]
    step = common_step(spec, cores)
    if round(shortest / DT) >= step:
        return
    slowest = max(
        (cores[spec.core_of(name)] for name in spec.populations), key=lambda core: core.step_samples
    )
    problem = (
        f"the delay of projection {projection.name} can be {shortest:g} ms, shorter than the step of core "
        f"{slowest.name}, {step * DT:g} ms"
    )
    raise config_error(spec, ("projections", index, "delay"), problem, f"give at least {step * DT:g} ms")
