"""How the blocks of a network file fit each other: cores and families, ends of projections, weights and synapses.

Each raises a validator's error; paths are relative to the block that is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import ValidationInfo
from pydantic_core import PydanticCustomError

from noble_net.specs.afferents import PoissonSpec, SynapseReplaySpec
from noble_net.specs.basics import CLOSED_FORM, INTEGRATE_AND_FIRE
from noble_net.specs.gap_junctions import GapJunctionSpec
from noble_net.specs.populations import PopulationSpec, SampleSpec, integrate_and_fire_parameters
from noble_net.specs.projections import ProjectionSpec
from noble_net.specs.rule_parameters import Ends
from noble_net.specs.specification import (
    below,
    fault,
    nearest,
)
from noble_net.specs.synapses import SynapseSpec

Weighted = TypeVar("Weighted", ProjectionSpec, PoissonSpec | SynapseReplaySpec)


def fit_core(name: str, population: PopulationSpec, network_core: str | None) -> PopulationSpec:
    """The population with its integrate-and-fire parameters complete, or with a family."""
    core = population.core or network_core
    if core in CLOSED_FORM:
        if population.family is not None:
            remedy = "remove it, or name a core that was trained on it"
            raise fault(f"core {core!r} has no family", remedy, (name, "family"))
        if population.sample != SampleSpec():
            raise fault(f"core {core!r} has no family to draw cells from", "remove it", (name, "sample"))
        parameters = integrate_and_fire_parameters(population.parameters)
        return population.model_copy(update={"parameters": parameters})
    if population.family is None and core is not None:
        remedy = f"add `family: allen-pv-peri`, or `core: {INTEGRATE_AND_FIRE}`"
        raise fault(f"has no family, which core {core!r} needs", remedy, (name,))
    if population.parameters and core is not None:
        remedy = f"remove it, or write `core: {INTEGRATE_AND_FIRE}`"
        raise fault(f"core {core!r} takes its parameters from the family", remedy, (name, "parameters"))
    return population


def check_target(name: str, info: ValidationInfo, path: tuple[str | int, ...]) -> None:
    """``name`` is a population or a node set."""
    if "populations" not in info.data or "node_sets" not in info.data:
        return
    targets = (*info.data["populations"], *info.data["node_sets"])
    if name not in targets:
        raise fault("unknown population or node set", nearest(name, targets), path)


def check_ends(
    projection: ProjectionSpec | GapJunctionSpec, populations: Mapping[str, PopulationSpec], index: int
) -> None:
    """Both populations exist, suit the rule, and have positions where distance counts."""
    for key, end in (("from", projection.source), ("to", projection.target)):
        if end not in populations:
            raise fault("unknown population", nearest(end, populations), (index, key))
    source, target = populations[projection.source], populations[projection.target]
    try:
        ends = Ends(source.size, target.size, projection.source == projection.target)
        projection.rule.parameters.check(ends)
    except PydanticCustomError as error:
        raise below(error, index, "rule", projection.rule.kind) from None
    for end, population in ((projection.source, source), (projection.target, target)):
        if projection.needs_positions and not population.may_have_positions:
            remedy = f"add one to population {end}, such as `position: {{box: {{x: [0 um, 400 um], …}}}}`"
            problem = f"depends on distance, but {end} has no `position`"
            raise fault(problem, remedy, (index, distance_key(projection)))


def distance_key(projection: ProjectionSpec | GapJunctionSpec) -> str:
    """The key of a projection that makes it depend on distance."""
    return "rule" if projection.rule.distance is not None else "delay"


def weighted(part: Weighted, info: ValidationInfo, path: tuple[str | int, ...]) -> Weighted:
    """``part`` with the unit of its weight known; its synapse exists and takes such weights."""
    synapses: Mapping[str, SynapseSpec] | None = info.data.get("synapses")
    if synapses is None:
        return part
    if part.synapse not in synapses:
        raise fault("unknown synapse", nearest(part.synapse, synapses), (*path, "synapse"))
    synapse, weight = synapses[part.synapse], part.weight
    _check_plasticity(part, synapse, path)
    if weight is None:
        return part
    if weight.unit not in ("", synapse.weight_unit):
        given = "conductance" if weight.unit == "nS" else "current"
        problem = f"is a {given}, but synapse {part.synapse} is a {synapse.kind}"
        remedy = f"give {'nS' if synapse.kind == 'conductance' else 'pA or nA'}"
        raise fault(problem, remedy, (*path, "weight"))
    if synapse.kind == "conductance" and weight.lowest < 0:
        remedy = "give a positive weight" if weight.kind == "constant" else "bound it with `min: 0 nS`"
        raise fault("a conductance can fall below 0", remedy, (*path, "weight"))
    return part.model_copy(update={"weight": weight.model_copy(update={"unit": synapse.weight_unit})})


def _check_plasticity(
    part: ProjectionSpec | PoissonSpec | SynapseReplaySpec, synapse: SynapseSpec, path: tuple[str | int, ...]
) -> None:
    """Plastic synapses have a source cell, and weights within the bounds of their rule."""
    if synapse.plasticity is None:
        return
    if not isinstance(part, ProjectionSpec):
        problem = f"synapse {part.synapse} is plastic, and a stimulus has no source cells"
        raise fault(problem, "give it a synapse without `plasticity`", (*path, "synapse"))
    stdp = synapse.plasticity.stdp
    if (
        stdp is not None
        and part.weight is not None
        and not (part.weight.lowest >= 0 and part.weight.highest <= stdp.w_max.a)
    ):
        problem = f"can leave the bounds of synapse {part.synapse}'s stdp, 0 to {stdp.w_max.a:g} {synapse.weight_unit}"
        raise fault(problem, "bound it with `min` and `max`, or raise `w_max`", (*path, "weight"))
