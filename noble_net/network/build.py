"""From a network file to frozen arrays: cells sampled, synapses drawn, the block length chosen.

Knows of a core only its name, zones and step (`CoreInfo`), so that any core, or another simulator, can run
the result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from noble_net.cells.family import Family
from noble_net.cells.latent import sample_cells
from noble_net.config import INTEGRATE_AND_FIRE, NetworkSpec, PopulationSpec, SynapseSpec, config_error
from noble_net.errors import FamilyError
from noble_net.network.connect import ProjectionArrays, connect
from noble_net.network.node_sets import check_targets
from noble_net.network.random import cell_uniforms, generator, quantile
from noble_net.network.stimulus_files import check_files
from noble_net.specs.specification import nearest
from noble_net.types import DT, CellTable, CoreInfo

INJECTION_ZONE = "soma"
"""The zone stimuli inject their current into."""
LONGEST_BLOCK = 50
"""Samples of a block at most, where no delay asks for less: longer ones gain no speed, only memory."""


@dataclass(frozen=True)
class PopulationArrays:
    """The cells of one population; ``offset`` is its first cell among all of the network, in file order."""

    name: str
    size: int
    offset: int
    core: str
    family: str | None
    cells: CellTable


@dataclass(frozen=True)
class Network:
    """A network ready to run. ``block_samples`` is the longest exact block (see `block_length`)."""

    spec: NetworkSpec
    populations: tuple[PopulationArrays, ...]
    projections: tuple[ProjectionArrays, ...]
    synapses: Mapping[str, SynapseSpec]
    block_samples: int
    step_samples: int

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
        populations.append(PopulationArrays(name, each.size, offset, spec.core_of(name), each.family, cells))
        offset += each.size
    sizes = {population.name: population.size for population in populations}
    projections = tuple(
        connect(projection, sizes[projection.source], sizes[projection.target], spec.seed)
        for projection in spec.projections
    )
    step = common_step(spec, cores)
    network = Network(
        spec=spec,
        populations=tuple(populations),
        projections=projections,
        synapses=spec.synapses,
        block_samples=block_length(step, projections),
        step_samples=step,
    )
    check_targets(network)
    return network


def check_network(spec: NetworkSpec, cores: Mapping[str, CoreInfo]) -> None:
    """Refuse what the cores cannot do, zones they lack and delays below their step, and files that are not as their
    stimuli need them. Draws nothing.

    The shortest delay a distribution can give counts, rounded to samples. Raises ConfigError at the line.
    """
    for index, projection in enumerate(spec.projections):
        _check_zone(spec, projection.synapse, projection.target, cores)
        _check_delay(spec, index, cores)
    for index, stimulus in enumerate(spec.stimuli):
        target = spec.population_of(stimulus.to)
        if stimulus.afferents is not None:
            _check_zone(spec, stimulus.afferents.synapse, target, cores)
        elif INJECTION_ZONE not in cores[spec.core_of(target)].zones:
            core = cores[spec.core_of(target)]
            problem = f"core {core.name} takes no input at the {INJECTION_ZONE}"
            raise config_error(spec, ("stimuli", index, "to"), problem, f"its zones: {', '.join(core.zones)}")
    check_files(spec)


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


def _check_delay(spec: NetworkSpec, index: int, cores: Mapping[str, CoreInfo]) -> None:
    projection = spec.projections[index]
    shortest = projection.delay.lowest
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
