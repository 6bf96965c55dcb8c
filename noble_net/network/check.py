"""What a network asks of its cores and files, checked before anything is built."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import numpy as np

from noble_net.config import (
    GapJunctionSpec,
    NetworkSpec,
    ProjectionSpec,
    SynapseSpec,
    config_error,
)
from noble_net.errors import EnvelopeWarning, StimulusWarning
from noble_net.network.edge_replay import replayed_edges
from noble_net.network.geometry import draw_positions
from noble_net.network.given import Edges, GivenError, read_sonata, read_table
from noble_net.network.nodes import check_nodes, node_ids, nodes_of
from noble_net.network.stimulus_files import check_files
from noble_net.network.synapses import half_block
from noble_net.specs.fitting import distance_key
from noble_net.specs.specification import nearest
from noble_net.types import DT, CoreInfo, Float32

_NEAR = 1.0
"""How far beyond the voltages trained on a magnesium block is as good as among them, mV."""

INJECTION_ZONE = "soma"
"""The zone stimuli inject their current into."""
_ROUNDING = 1 + 1e-6
"""Learned weights are read again though a file's unit and float32 may have lifted them above their bound."""


def check_network(spec: NetworkSpec, cores: Mapping[str, CoreInfo]) -> None:
    """Refuse what the cores cannot do, zones or NMDA input they lack and delays below their step, and files
    that do not fit. Draws nothing.

    The shortest delay a distribution can give counts, rounded to samples. Raises ConfigError at the line.
    """
    for name, population in spec.populations.items():
        check_nodes(spec, name)
        if population.position is not None and population.position.points is not None:
            positions_of(spec, name)
    _check_positions(spec)
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
    for stimulus in spec.stimuli:
        if stimulus.synapse_replay is not None and stimulus.synapse_replay.edges is not None:
            replayed_edges(spec, stimulus, spec.populations[spec.population_of(stimulus.to)].size)


def warn_of_idle(spec: NetworkSpec) -> None:
    """Say of stimuli that begin when the run is over, and so never act (StimulusWarning)."""
    for each in spec.stimuli:
        if each.begins >= spec.duration:
            warnings.warn(
                f"stimulus {each.name} never acts: it begins {each.begins:g} ms after the warm-up, and the run ends at "
                f"{spec.duration:g} ms. Begin earlier, run longer, or remove it",
                StimulusWarning,
                stacklevel=3,
            )


def _check_positions(spec: NetworkSpec) -> None:
    """Nodes whose positions count have them in their file."""
    wanted: list[tuple[tuple[str | int, ...], str]] = [
        (("node_sets", name, "region"), each.population)
        for name, each in spec.node_sets.items()
        if each.region is not None
    ]
    joints: dict[str, tuple[ProjectionSpec | GapJunctionSpec, ...]] = {
        "projections": spec.projections,
        "gap_junctions": spec.gap_junctions,
    }
    for block, group in joints.items():
        for index, joint in enumerate(group):
            if joint.needs_positions:
                path = (block, index, distance_key(joint))
                wanted += [(path, joint.source), (path, joint.target)]
    unsaid = {name for _, name in wanted if spec.populations[name].position is None}
    lacking = {name for name in unsaid if positions_of(spec, name) is None}
    for place, population in wanted:
        if population in lacking:
            problem = f"the nodes of population {population} have no x, y and z"
            remedy = f"add them to the nodes file, or `position` to population {population}"
            raise config_error(spec, place, problem, remedy)


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
    low, high = core.half_block or (-math.inf, math.inf)
    half = half_block(synapse)
    if not low - _NEAR <= half <= high + _NEAR:
        warnings.warn(
            f"synapse {name} is half blocked by magnesium at {half:.1f} mV, and core {core.name} of population "
            f"{target} was trained on {low:.1f} to {high:.1f} mV: answers are extrapolated; see the synapse's `shift`",
            EnvelopeWarning,
            stacklevel=2,
        )


def _synapses_onto(spec: NetworkSpec, target: str) -> list[str]:
    projected = [each.synapse for each in spec.projections if each.target == target]
    stimuli = [each for each in spec.stimuli if spec.population_of(each.to) == target]
    return projected + [each.afferents.synapse for each in stimuli if each.afferents is not None]


def common_step(spec: NetworkSpec, cores: Mapping[str, CoreInfo]) -> int:
    """The shortest block all cores of the network can take, in samples."""
    return math.lcm(*(cores[spec.core_of(name)].step_samples for name in spec.populations))


def file_edges(spec: NetworkSpec, index: int) -> Edges:
    """The synapses in a projection's file. Raises ConfigError, at the rule's line, for what is wrong with it."""
    projection, conductance = spec.projections[index], has_conductance(spec, index)
    sizes = [spec.populations[end].size for end in (projection.source, projection.target)]
    table, sonata = projection.rule.table, projection.rule.sonata
    with at_line(spec, index):
        if table is not None:
            return read_table(table.file, sizes[0], sizes[1])
        if sonata is not None:
            return read_sonata(sonata, sizes[0], sizes[1], conductance, node_ids(spec, projection))
    raise ValueError(f"projection {projection.name} is not from a file")


def _check_file(spec: NetworkSpec, index: int) -> float | None:
    """Read a projection's file for its faults; its shortest delay, ms, if the delays are to come from it."""
    edges, projection = file_edges(spec, index), spec.projections[index]
    with at_line(spec, index):
        file = str(getattr(projection.rule.parameters, "file", ""))
        _check_columns(projection, file, edges, has_conductance(spec, index))
        if projection.weight is None and edges.weight is not None:
            _check_bounds(spec.synapses[projection.synapse], file, edges.weight)
    return None if edges.delay is None or not edges.delay.size else float(edges.delay.min())


def _check_columns(projection: ProjectionSpec, file: str, edges: Edges, conductance: bool) -> None:
    for key, column in (("weight", edges.weight), ("delay", edges.delay)):
        if getattr(projection, key) is None and column is None:
            raise GivenError(f"{file} has no {key}s", f"give `{key}: …` beside the rule")
    if projection.weight is None and conductance and edges.weight is not None and np.any(edges.weight < 0):
        raise GivenError(f"{file} has a conductance below 0", "make the weights positive")


def _check_bounds(synapse: SynapseSpec, file: str, weight: Float32) -> None:
    """Weights from a file lie within the bounds of their synapse's STDP, which would move them there at once."""
    stdp = None if synapse.plasticity is None else synapse.plasticity.stdp
    if stdp is None:
        return
    most = stdp.w_max.a
    outside = (weight < 0) | (weight > most * _ROUNDING)
    if outside.any():
        unit, worst = synapse.weight_unit, weight[int(np.argmax(outside))]
        problem = f"{file} has a weight of {worst:g} {unit}, outside its synapse's stdp, 0 to {most:g} {unit}"
        raise GivenError(problem, "correct the weights, or raise `w_max`")


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


def positions_of(spec: NetworkSpec, name: str) -> Float32 | None:
    """Positions of a population's cells, float32 [cells, 3], µm: its `position`, else those of its `nodes`."""
    nodes = nodes_of(spec, name)
    if nodes is not None and spec.populations[name].position is None:
        return nodes.position
    try:
        return draw_positions(spec.populations[name], name, spec.seed)
    except GivenError as error:
        path = ("populations", name, "position", "points")
        raise config_error(spec, path, error.problem, error.remedy) from error


def has_conductance(spec: NetworkSpec, index: int) -> bool:
    return spec.synapses[spec.projections[index].synapse].kind == "conductance"


@contextmanager
def at_line(
    spec: NetworkSpec, index: int, block: Literal["projections", "gap_junctions"] = "projections"
) -> Iterator[None]:
    """Say of what is wrong with a rule's file or graph where the rule stands."""
    rule = getattr(spec, block)[index].rule
    try:
        yield
    except GivenError as error:
        path = (block, index, "rule", rule.kind)
        raise config_error(spec, path, error.problem, error.remedy) from error
