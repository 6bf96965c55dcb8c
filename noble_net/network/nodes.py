"""Populations whose cells are the nodes of a SONATA file: which, where, and what each is.

Every function raises ConfigError, at the line of the population's `nodes`, for files that cannot be read or do not fit.
"""

from __future__ import annotations

import numpy as np

from noble_net.cells.assigned import assigned_cells
from noble_net.cells.family import Family
from noble_net.config import NetworkSpec, ProjectionSpec, config_error
from noble_net.errors import FamilyError, OutputError
from noble_net.network.given import NodeIds
from noble_net.sonata.given_nodes import GivenNodes, read_given_nodes
from noble_net.specs.nodes import NodesSpec
from noble_net.specs.specification import nearest
from noble_net.types import CellTable, Float64, Int64

_MEMBER_COLUMNS = ("member", "label")
_ABOVE_ZERO = ("capacitance", "resistance")


def nodes_of(spec: NetworkSpec, name: str) -> GivenNodes | None:
    """The nodes that a population's cells are; None if they are of no file."""
    given = spec.populations[name].nodes
    if given is None:
        return None
    path = ("populations", name, "nodes")
    try:
        return read_given_nodes(given.file, given.population, given.types_file, given.types, given.components)
    except OutputError as error:
        remedy = "give a SONATA nodes file, a population in it, and the table of its types"
        raise config_error(spec, path, str(error), remedy) from error


def check_nodes(spec: NetworkSpec, name: str) -> None:
    """Refuse nodes that are not as many as the population's cells."""
    nodes, size = nodes_of(spec, name), spec.populations[name].size
    if nodes is not None and nodes.size != size:
        problem = f"there are {nodes.size} such nodes for {size} cells"
        raise config_error(spec, ("populations", name, "nodes"), problem, "make the numbers equal")


def node_ids(spec: NetworkSpec, projection: ProjectionSpec) -> NodeIds:
    """The node ids by which a SONATA file of edges knows the cells of a projection's source and target."""
    if projection.rule.sonata is None:
        return None, None
    return ids_of(spec, projection.source), ids_of(spec, projection.target)


def ids_of(spec: NetworkSpec, name: str) -> Int64 | None:
    """Node ids of a population's cells, ascending; None where they are the cells' numbers."""
    nodes = nodes_of(spec, name)
    return None if nodes is None else nodes.node_id


def as_in_nodes(spec: NetworkSpec, name: str, drawn: CellTable, family: Family | None) -> CellTable:
    """The cells of a population: ``drawn``, except where its nodes say what a cell is.

    ``family`` None: integrate-and-fire cells, whose parameters are replaced one by one.
    """
    given, nodes = spec.populations[name].nodes, nodes_of(spec, name)
    if given is None or nodes is None:
        return drawn
    path = ("populations", name, "nodes")
    if family is None:
        parameters = {key: _replaced(values, nodes.numbers(key)) for key, values in drawn.parameters.items()}
        _check_integrate_and_fire(spec, path, parameters)
        return CellTable(drawn.size, drawn.code, parameters, drawn.features, drawn.labels)
    known = {*family.parameter_names, *family.feature_names} & nodes.names()
    try:
        return assigned_cells(
            family,
            drawn,
            member=_members(given, nodes, family),
            values={key: nodes.numbers(key) for key in sorted(known)},
        )
    except FamilyError as error:
        raise config_error(spec, path, str(error)) from error


def _members(given: NodesSpec, nodes: GivenNodes, family: Family) -> list[str | None]:
    """The member each node is said to be. FamilyError for one that the family has not."""
    ids = set(family.ids())
    for member in given.members:
        if member not in ids:
            raise FamilyError(f"family {family.name} has no member {member!r}: {nearest(member, ids)}")
    found: list[str | None] = [None] * nodes.size
    for column in _MEMBER_COLUMNS[::-1]:
        named = nodes.attribute(column)
        if named is not None:
            # A label may also say how a cell was drawn, and mean nothing here.
            found = [str(new) if str(new) in ids else old for new, old in zip(named, found, strict=True)]
    by_type = {each: member for member, types in given.members.items() for each in types}
    return [by_type.get(each, old) for each, old in zip(nodes.node_type.tolist(), found, strict=True)]


def _replaced(values: Float64, given: Float64) -> Float64:
    return np.where(np.isnan(given), values, given)


def _check_integrate_and_fire(
    spec: NetworkSpec, path: tuple[str | int, ...], parameters: dict[str, Float64]
) -> None:
    for key in _ABOVE_ZERO:
        if not np.all(parameters[key] > 0):
            problem = f"a node's {key} is {parameters[key].min():g}"
            raise config_error(spec, path, problem, "give values above zero")
    if not np.all(parameters["refractory"] >= 0):
        raise config_error(spec, path, "a node's refractory is below zero", "give 0 ms or more")
    if not np.all(parameters["v_reset"] < parameters["v_threshold"]):
        raise config_error(spec, path, "a node's v_reset is not below its v_threshold", "lower it")
