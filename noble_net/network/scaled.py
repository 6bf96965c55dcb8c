"""A network of fewer or more cells on which what another one is going to need can be measured.

Populations shrink or grow by one factor and every cell keeps, in the mean, as many synapses and gap junctions as it
has in the whole network, with their weights and delays. Mean input, and with it the mean rate, is then nearly that of
the whole (van Albada, Helias & Diesmann 2015, PLoS Comput Biol 11: e1004490; correlations grow as cells become
fewer), and time and memory grow linearly with the cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from noble_net.config import GapJunctionSpec, NetworkSpec, PopulationSpec, ProjectionSpec, RuleSpec
from noble_net.network.build import expected_junctions, expected_synapses
from noble_net.network.check import file_edges, positions_of
from noble_net.specs.distribution import Distribution
from noble_net.specs.positions import BoxSpec, PositionSpec
from noble_net.specs.rule_parameters import FixedTotalNumberSpec
from noble_net.types import Float32, Float64


def scaled(spec: NetworkSpec, share: float, indegree: float = 1.0) -> NetworkSpec:
    """``spec`` with ``share`` times its cells (at least one of each population), each with ``indegree`` times its
    synapses and gap junctions. What it describes is to be drawn by `noble_net.network.build.assemble`, which asks for
    no more than can be had: node sets may be without cells. Cells that are nodes of a file are drawn instead.

    Raises ConfigError, at its line, for a file that does not fit.
    """
    populations = {
        name: each.model_copy(
            update={
                "size": max(1, round(each.size * share)),
                "position": _around(spec, name, each),
                "nodes": None,
            }
        )
        for name, each in spec.populations.items()
    }
    projections = tuple(
        _thinned(each, expected_synapses(spec, index), share * indegree, _from_file(spec, index))
        for index, each in enumerate(spec.projections)
    )
    junctions = tuple(
        _thinned(
            each, expected_junctions(spec, index) * (1 + (each.source == each.target)), share * indegree, {}
        )
        for index, each in enumerate(spec.gap_junctions)
    )
    update = {"populations": populations, "projections": projections, "gap_junctions": junctions}
    return spec.model_copy(update=update)


def _thinned(
    each: ProjectionSpec | GapJunctionSpec, number: int, share: float, update: Mapping[str, Any]
) -> Any:
    """``share`` of a ``number`` of synapses, or pairs, between random cells."""
    total = FixedTotalNumberSpec(number=round(number * share), autapses=True, multapses=True)
    return each.model_copy(update={"rule": RuleSpec(fixed_total_number=total), **update})


def _around(spec: NetworkSpec, name: str, population: PopulationSpec) -> PositionSpec | None:
    """Positions for another number of cells: a lattice, given points or nodes become the box around them."""
    position = population.position
    if position is not None and position.lattice is None and position.points is None:
        return position
    points: Float32 | None = positions_of(spec, name)
    if points is None:
        return None
    low, high = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    x, y, z = zip(low, high, strict=True)
    return PositionSpec(box=BoxSpec(x=x, y=y, z=z))


def _from_file(spec: NetworkSpec, index: int) -> dict[str, Distribution]:
    """Weights and delays that stand in a projection's file: uniform between the least and the greatest."""
    projection, found = spec.projections[index], {}
    if not projection.rule.lists_synapses or None not in (projection.weight, projection.delay):
        return {}
    edges = file_edges(spec, index)
    unit = "nS" if spec.synapses[projection.synapse].kind == "conductance" else "pA"
    for key, values, of in (("weight", edges.weight, unit), ("delay", edges.delay, "ms")):
        if getattr(projection, key) is None and values is not None and values.size:
            found[key] = _span(np.asarray(values, np.float64), of)
    return found


def _span(values: Float64, unit: str) -> Distribution:
    low, high = float(values.min()), float(values.max())
    if low == high:
        return Distribution(a=low, unit=unit)
    return Distribution(kind="uniform", a=low, b=high, unit=unit)
