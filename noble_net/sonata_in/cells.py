"""What the nodes of a circuit become: populations of cells, one for each family and core, or sources of spikes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from noble_net.errors import CheckpointError, ConfigError, OutputError
from noble_net.registry import cores_of, family_of
from noble_net.sonata.given_nodes import GivenNodes, node_populations, read_given_nodes
from noble_net.sonata_in.config_files import ConfigFile
from noble_net.sonata_in.mapping import ANSWERS, CellTypes
from noble_net.sonata_in.names import Names
from noble_net.specs.basics import CLOSED_FORM
from noble_net.specs.specification import nearest
from noble_net.types import Int64

OURS = "noble-net:"
"""How a `model_template` begins that names a core."""

_COMPONENTS = ("point_neuron_models_dir", "biophysical_neuron_models_dir")


@dataclass(frozen=True)
class Part:
    """The cells of a SONATA population that one population of the network takes; ``node_id`` ascending, int64."""

    name: str
    population: str
    node_id: Int64


@dataclass
class Cells:
    """All nodes of a circuit: ``nodes`` by SONATA population, the ``parts`` simulated, those that are ``virtual``."""

    nodes: dict[str, GivenNodes]
    parts: list[Part]
    virtual: set[str]
    populations: dict[str, dict[str, Any]]
    """As in a network file, by the names of the parts."""
    notes: list[str]

    def of(self, population: str) -> list[Part]:
        """The parts of a SONATA population."""
        return [part for part in self.parts if part.population == population]


def read_cells(circuit: ConfigFile, table: CellTypes) -> Cells:
    """The cells of a circuit. Raises ConfigError for files that are none and for nodes nobody knows a family for."""
    cells, names = Cells({}, [], set(), {}, []), Names()
    for index in range(len(circuit.items("networks", "nodes"))):
        keys: tuple[str | int, ...] = ("networks", "nodes", index)
        file = circuit.there(*keys, "nodes_file")
        types = None
        if circuit.get(*keys, "node_types_file") is not None:
            types = circuit.there(*keys, "node_types_file")
        try:
            populations = list(circuit.mapping(*keys, "populations")) or node_populations(file)
            for population in populations:
                kind = circuit.get(*keys, "populations", population, "type", default="")
                given = read_given_nodes(file, population, types)
                _add(_Source(circuit, keys, file, types, population, given), kind, table, cells, names)
        except OutputError as error:
            raise circuit.error((*keys, "nodes_file"), str(error), "give a SONATA nodes file") from error
    if not cells.parts:
        raise circuit.error(("networks", "nodes"), "there are no cells to simulate", "give a nodes file")
    return cells


@dataclass(frozen=True)
class _Source:
    """A SONATA population and where it comes from."""

    circuit: ConfigFile
    keys: tuple[str | int, ...]
    file: Path
    types_file: Path | None
    population: str
    nodes: GivenNodes

    def error(self, problem: str, remedy: str) -> ConfigError:
        """A ConfigError about the population, where the circuit names its file."""
        return self.circuit.error((*self.keys, "nodes_file"), problem, remedy)

    def attributes(self) -> dict[int, dict[str, object]]:
        """For every node type what all of its nodes have in common."""
        types = np.unique(self.nodes.node_type).tolist()
        found: dict[int, dict[str, object]] = {
            each: {"population": self.population, "node_type_id": each} for each in types
        }
        mine = {each: self.nodes.node_type == each for each in types}
        for name in {*self.nodes.columns, *map(str, self.nodes.types)}:
            values = self.nodes.attribute(name)
            if values is None:
                continue
            for each in types:
                distinct = list(dict.fromkeys(values[mine[each]].tolist()))
                if len(distinct) == 1 and distinct[0] == distinct[0]:
                    found[each][name] = distinct[0]
        return found


def _add(source: _Source, kind: str, table: CellTypes, cells: Cells, names: Names) -> None:
    """Sort the node types of a population by what they become."""
    population = source.population
    if population in cells.nodes:
        remedy = "give each population one name"
        raise source.error(f"there are two node populations called {population}", remedy)
    cells.nodes[population] = source.nodes
    attributes = source.attributes()
    types = list(attributes)
    virtual = [each for each in types if kind == "virtual" or attributes[each].get("model_type") == "virtual"]
    if virtual and len(virtual) < len(types):
        problem = f"population {population} has virtual nodes (type {virtual[0]}) and others"
        raise source.error(problem, "put virtual nodes into a population of their own")
    if virtual or not types:
        cells.virtual.add(population)
        return
    groups: dict[tuple[str, str | None], list[int]] = {}
    members: dict[str, list[int]] = {}
    for each in types:
        answers = _answers(source, attributes[each], table)
        if not {"core", "family"} & set(answers):
            raise _unknown(source, each, attributes[each], table)
        core, family = _core_and_family(source, each, answers)
        groups.setdefault((core, family), []).append(each)
        if answers.get("member"):
            members.setdefault(answers["member"], []).append(each)
    for (core, family), chosen in groups.items():
        whole = len(groups) == 1
        name = names.new(population) if whole else names.new(population, Path(family or core).stem)
        mine = np.isin(source.nodes.node_type, chosen)
        cells.parts.append(Part(name, population, source.nodes.node_id[mine]))
        own = {member: [each for each in of if each in chosen] for member, of in members.items()}
        nodes: dict[str, Any] = {
            "file": str(source.file),
            "population": population,
            "members": {member: of for member, of in own.items() if of},
        }
        if source.types_file is not None:
            nodes["types_file"] = str(source.types_file)
        if not whole:
            nodes["types"] = chosen
        folder = _components(source, chosen, cells)
        if folder is not None:
            nodes["components"] = str(folder)
        cells.populations[name] = {"size": int(mine.sum()), "core": core, "nodes": nodes}
        if family is not None:
            cells.populations[name]["family"] = family
    if len(groups) > 1:
        parts = ", ".join(part.name for part in cells.of(population))
        cells.notes.append(
            f"population {population} is simulated in parts, {parts}: in the results, the cells of each are numbered "
            "from 0 on in the order of their node ids"
        )


def _answers(source: _Source, attributes: dict[str, object], table: CellTypes) -> dict[str, str]:
    """Family, core and member of a node type: the table's, else those of its own columns, else its template's core."""
    found = dict(table.find(attributes))
    if found:
        return found
    template = str(attributes.get("model_template", ""))
    if template.startswith(OURS):
        found["core"] = template.removeprefix(OURS)
    found.update({key: str(attributes[key]) for key in ANSWERS if attributes.get(key)})
    return found


def _core_and_family(source: _Source, node_type: int, answers: dict[str, str]) -> tuple[str, str | None]:
    """Core and family of a node type, each found by the other where it is not given."""
    core, family = answers.get("core"), answers.get("family")
    what = f"node type {node_type} of population {source.population}"
    if core in CLOSED_FORM:
        return core, None
    if core is None:
        known = cores_of(str(family))
        if len(known) != 1:
            problem = f"{what} is of family {family}, which {len(known)} shipped cores know"
            raise source.error(problem, "name its `core` in the table of cell types")
        core = known[0]
    if family is None:
        try:
            family = family_of(core)
        except CheckpointError as error:
            remedy = "name it by its path in the table of cell types (--cell-types)"
            raise source.error(f"{what}: {error}", remedy) from error
    return core, family


def _unknown(source: _Source, node_type: int, attributes: dict[str, object], table: CellTypes) -> ConfigError:
    shown = [
        f"{key} {attributes[key]}"
        for key in ("model_template", "model_type", "pop_name")
        if key in attributes
    ]
    problem = f"nobody says of which family node type {node_type} of population {source.population} is"
    where = "with --cell-types give a table" if table.file is None else f"add to {table.file}"
    remedy = f"{where} with a row such as `node_type_id: {node_type}, family: allen-pv-peri, core: pv-stream`"
    problem += f" ({', '.join(shown)})" if shown else ""
    known = ["population", "node_type_id", *source.nodes.columns, *map(str, source.nodes.types)]
    for key in dict.fromkeys(key for row in table.rows for key in row.wanted):
        if key not in known:
            problem += f"; its nodes have no attribute `{key}`, as {table.file} asks for"
            remedy = f"{nearest(key, known)}. Or {remedy}"
            break
    return source.error(problem, remedy)


def _components(source: _Source, types: list[int], cells: Cells) -> Path | None:
    """The folder of the JSON files that `dynamics_params` name, if it holds those of all these types."""
    table = source.nodes.types
    if "dynamics_params" not in table:
        return None
    texts = (table["dynamics_params"].get(each) for each in types)
    named = [text for text in texts if isinstance(text, str) and not text.strip().startswith("{")]
    for key in _COMPONENTS if named else ():
        if source.circuit.get("components", key) is not None:
            folder = source.circuit.file("components", key)
            if all((folder / name).is_file() for name in named):
                return folder
    for name in dict.fromkeys(named):
        cells.notes.append(f"{name}, in dynamics_params of population {source.population}, is not read")
    return None


def part_pairs(
    sources: list[Part], targets: list[Part], source: Int64, target: Int64
) -> Iterator[tuple[Part, Part]]:
    """The pairs of parts that some of the edges, node ids int64 [edges], join."""
    into = [np.isin(target, part.node_id) for part in targets]
    for one in sources:
        out = np.isin(source, one.node_id)
        yield from (
            (one, other) for other, arrives in zip(targets, into, strict=True) if np.any(out & arrives)
        )
