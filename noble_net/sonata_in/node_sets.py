"""Node sets of a circuit and a simulation: names and conditions as cells of the network's populations."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noble_net.sonata.given_nodes import GivenNodes
from noble_net.sonata_in.cells import Cells
from noble_net.sonata_in.config_files import ConfigFile
from noble_net.sonata_in.names import Names
from noble_net.specs.specification import nearest
from noble_net.types import Int64

Chosen = dict[str, Int64]
"""Cells by part, ascending numbers; only parts of which some are chosen."""

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": lambda value, bound: value > bound,
    "$lt": lambda value, bound: value < bound,
    "$gte": lambda value, bound: value >= bound,
    "$lte": lambda value, bound: value <= bound,
    "$regex": lambda value, pattern: re.fullmatch(pattern, str(value)) is not None,
}
_DEPTH = 20


class NodeSets:
    """Resolves node sets, and gathers those that a network file has to name in ``named``."""

    def __init__(self, cells: Cells, files: list[ConfigFile]) -> None:
        self._cells = cells
        self._files = {name: file for file in files for name in file.document.data}
        self._names = Names()
        for part in cells.parts:
            self._names.new(part.name)
        self._given: dict[tuple[str, bytes], str] = {}
        self.named: dict[str, dict[str, Any]] = {}

    def targets(self, config: ConfigFile, *keys: str | int) -> list[str]:
        """The populations and node sets of the network that the node set there means. ConfigError if it is nobody."""
        given = config.get(*keys, default="all")
        chosen = self._resolved(given, config, keys)
        if not chosen:
            raise config.error(keys, "no simulated cell is meant", "name another node set")
        label = given if isinstance(given, str) else str(keys[-2])
        return [self._name(part, chosen, label) for part in chosen]

    def populations(self, config: ConfigFile, *keys: str | int) -> set[str]:
        """The SONATA populations, virtual ones too, that a node set there means."""
        given = config.get(*keys, default="all")
        masks = self._masks(given, config, keys)
        return {population for population, mask in masks.items() if mask.any()}

    def _name(self, part: str, chosen: Chosen, label: str) -> str:
        size = next(each.node_id.size for each in self._cells.parts if each.name == part)
        cells = chosen[part]
        if cells.size == size:
            return part
        key = (part, cells.tobytes())
        if key not in self._given:
            name = self._names.new(*((label,) if len(chosen) == 1 else (label, part)))
            self.named[name] = {"population": part, "cells": cells.tolist()}
            self._given[key] = name
        return self._given[key]

    def _resolved(self, given: object, config: ConfigFile, keys: tuple[str | int, ...]) -> Chosen:
        masks = self._masks(given, config, keys)
        found = {}
        for part in self._cells.parts:
            nodes = self._cells.nodes[part.population]
            inside = masks.get(part.population, np.zeros(nodes.size, bool))
            cells = np.flatnonzero(inside[np.isin(nodes.node_id, part.node_id)])
            if cells.size:
                found[part.name] = cells.astype(np.int64)
        return found

    def _masks(
        self, given: object, config: ConfigFile, keys: tuple[str | int, ...], depth: int = 0
    ) -> dict[str, NDArray[np.bool_]]:
        """For every population which of its nodes are meant."""
        nodes = self._cells.nodes
        if depth > _DEPTH:
            raise config.error(keys, "node sets lead in a circle", "write one of them out")
        if isinstance(given, dict):
            return {name: self._fit(name, each, given, config, keys) for name, each in nodes.items()}
        if isinstance(given, list) and all(isinstance(each, int) for each in given):
            return {name: np.isin(each.node_id, given) for name, each in nodes.items()}
        if isinstance(given, list):
            parts = [self._masks(each, config, keys, depth + 1) for each in given]
            return {name: np.any([part[name] for part in parts], axis=0) for name in nodes}
        if given in self._files:
            file = self._files[str(given)]
            return self._masks(file.get(str(given)), file, (str(given),), depth + 1)
        if given in nodes or given == "all":
            return {name: np.full(each.size, given in (name, "all")) for name, each in nodes.items()}
        raise config.error(keys, "unknown node set", nearest(given, ["all", *nodes, *self._files]))

    def _fit(
        self,
        population: str,
        nodes: GivenNodes,
        conditions: Mapping[str, Any],
        config: ConfigFile,
        keys: tuple[str | int, ...],
    ) -> NDArray[np.bool_]:
        """Which nodes of a population meet all conditions."""
        inside = np.ones(nodes.size, bool)
        for key, wanted in conditions.items():
            if key == "population":
                inside &= population in (wanted if isinstance(wanted, list) else [wanted])
                continue
            if key in ("node_id", "node_type_id"):
                values: NDArray[Any] | None = nodes.node_id if key == "node_id" else nodes.node_type
            else:
                values = nodes.attribute(key)
            if values is None:
                return np.zeros(nodes.size, bool)
            inside &= [_meets(value, wanted, config, keys) for value in values.tolist()]
        return inside


def _meets(value: Any, wanted: Any, config: ConfigFile, keys: tuple[str | int, ...]) -> bool:
    if isinstance(wanted, dict):
        for operator, bound in wanted.items():
            if operator not in _OPERATORS:
                raise config.error(keys, f"unknown operator {operator}", nearest(operator, _OPERATORS))
            try:
                if not _OPERATORS[operator](value, bound):
                    return False
            except re.error as error:
                remedy = "give a regular expression"
                raise config.error(keys, f"$regex {bound!r} is none: {error}", remedy) from error
            except TypeError:
                return False
        return True
    return value in wanted if isinstance(wanted, list) else bool(value == wanted)
