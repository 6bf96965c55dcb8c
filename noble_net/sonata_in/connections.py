"""What the edges of a circuit become: synapse types, projections, and spikes of virtual nodes replayed along edges."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from noble_net.errors import ConfigError, OutputError
from noble_net.sonata.given_edges import EdgeHead, edge_populations, read_edge_head, read_edge_text
from noble_net.sonata.types_table import dynamics_of, read_types
from noble_net.sonata_in.cells import Cells, Part, part_pairs
from noble_net.sonata_in.config_files import ConfigFile
from noble_net.sonata_in.names import Names, plain_name
from noble_net.types import Int64

_MODELS = {"exp2syn": "exp2", "expsyn": "exp", "exp1syn": "exp", "alphasynapse": "alpha"}
"""NEURON's point processes, in small letters, and what they are called in a network file."""
_PLAIN_WEIGHTS = ("wmax", "default_weight_fnc", "set_syn_weight")
"""bmtk's weight functions that give `syn_weight` as it is."""


@dataclass
class Connections:
    """Blocks of a network file: synapse types by name, projections, and stimuli that replay spikes."""

    synapses: dict[str, dict[str, Any]] = field(default_factory=dict)
    projections: list[dict[str, Any]] = field(default_factory=list)
    replays: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Edges:
    """An edge population and where it comes from."""

    circuit: ConfigFile
    keys: tuple[str | int, ...]
    file: Path
    population: str
    head: EdgeHead
    table: pd.DataFrame
    templates: Mapping[int, str]

    def error(self, kind: int | None, problem: str, remedy: str) -> ConfigError:
        """A ConfigError about an edge type, where the circuit names the file."""
        what = self.population if kind is None else f"edge type {kind} of {self.population}"
        return self.circuit.error(self.keys, f"{what}: {problem}", remedy)

    def of_type(self, kind: int, column: str) -> Any:
        """A value of the table of types, None where there is none."""
        if column not in self.table or kind not in self.table.index:
            return None
        value = self.table[column][kind]
        return None if value != value else value


@dataclass(frozen=True)
class _Group:
    """Edge types that one projection can hold."""

    synapse: str
    weight: str | None
    delay: str | None


def read_connections(
    circuit: ConfigFile, cells: Cells, spikes: Mapping[str, list[Path]], names: Names
) -> Connections:
    """The edges of a circuit between ``cells``; ``spikes``: files of spikes by virtual population.

    Raises ConfigError for files that are none and for edges of which weight, delay or time course are not known.
    """
    found = Connections()
    for key in ("gap_juncs", "gap_junctions"):
        if circuit.items("networks", key):
            raise circuit.error(("networks", key), "gap junctions of a circuit are not read", "remove them")
    for index in range(len(circuit.items("networks", "edges"))):
        keys: tuple[str | int, ...] = ("networks", "edges", index)
        file = circuit.there(*keys, "edges_file")
        try:
            table = pd.DataFrame()
            if circuit.get(*keys, "edge_types_file") is not None:
                table = read_types(circuit.there(*keys, "edge_types_file"), "edge")
            declared = circuit.mapping(*keys, "populations")
            for population in declared or edge_populations(file):
                if circuit.mapping(*keys, "populations", population).get("type") == "electrical":
                    found.notes.append(f"edges {population} are gap junctions and are left out")
                    continue
                head = read_edge_head(file, population)
                templates = read_edge_text(file, population, "model_template")
                edges = _Edges(circuit, (*keys, "edges_file"), file, population, head, table, templates)
                _add(edges, cells, spikes, found, names)
        except OutputError as error:
            raise circuit.error((*keys, "edges_file"), str(error), "give a SONATA edges file") from error
    return found


def _add(
    edges: _Edges, cells: Cells, spikes: Mapping[str, list[Path]], found: Connections, names: Names
) -> None:
    head = edges.head
    for end in (head.source, head.target):
        if end not in cells.nodes:
            known = ", ".join(cells.nodes)
            raise edges.error(None, f"the circuit has no node population {end!r}", f"it has {known}")
    if head.target in cells.virtual:
        found.notes.append(f"edges {edges.population} lead to virtual nodes and are left out")
        return
    if head.source in cells.virtual and head.source not in spikes:
        found.notes.append(
            f"virtual population {head.source} has no spikes: edges {edges.population} are silent"
        )
        return
    groups: dict[_Group, list[int]] = {}
    for kind in head.columns:
        groups.setdefault(_group(edges, kind, found), []).append(kind)
    for group, types in groups.items():
        mine = np.isin(head.edge_type, types)
        ends = head.source_node_id[mine], head.target_node_id[mine]
        rule: dict[str, Any] = {"file": str(edges.file), "population": edges.population}
        if len(groups) > 1:
            rule["types"] = types
        given = {"synapse": group.synapse, "weight": group.weight, "delay": group.delay}
        given = {key: value for key, value in given.items() if value is not None}
        label = (edges.population, *([group.synapse] if len(groups) > 1 else []))
        if head.source in cells.virtual:
            _replay(head, ends, {**given, "edges": rule}, label, cells, spikes, found, names)
        else:
            _project(head, ends, {**given, "rule": {"sonata": rule}}, label, cells, found, names)


def _project(
    head: EdgeHead,
    ends: tuple[Int64, Int64],
    given: dict[str, Any],
    label: tuple[str, ...],
    cells: Cells,
    found: Connections,
    names: Names,
) -> None:
    """A projection between all parts that edges join."""
    sources, targets = cells.of(head.source), cells.of(head.target)
    for one, other in part_pairs(sources, targets, *ends):
        apart = _apart(sources, one) + _apart(targets, other)
        found.projections.append(
            {"name": names.new(*label, *apart), "from": one.name, "to": other.name, **given}
        )


def _replay(
    head: EdgeHead,
    ends: tuple[Int64, Int64],
    given: dict[str, Any],
    label: tuple[str, ...],
    cells: Cells,
    spikes: Mapping[str, list[Path]],
    found: Connections,
    names: Names,
) -> None:
    """The spikes of a virtual population replayed into all parts that it has edges to."""
    targets = cells.of(head.target)
    for part in targets:
        if not np.isin(ends[1], part.node_id).any():
            continue
        for file in spikes[head.source]:
            name = names.new(*label, *_apart(targets, part))
            replay = {"file": str(file), "population": head.source, **given}
            found.replays.append({"name": name, "to": part.name, "synapse_replay": replay})


def _apart(parts: list[Part], part: Part) -> tuple[str, ...]:
    return (part.name,) if len(parts) > 1 else ()


def _group(edges: _Edges, kind: int, found: Connections) -> _Group:
    """Synapse, weight and delay of an edge type; None where every edge has its own."""
    function = edges.of_type(kind, "weight_function")
    if function is not None and function not in _PLAIN_WEIGHTS:
        problem = f"its weights are made by bmtk's weight_function {function!r}"
        raise edges.error(kind, problem, "let bmtk write them as `syn_weight` of each edge")
    synapse = _synapse(edges, kind, found)
    conducts = "reversal" in found.synapses[synapse]
    columns = edges.head.columns[kind]
    weight = None
    if not columns & ({"conductance", "syn_weight"} if conducts else {"syn_weight"}):
        in_nano = edges.of_type(kind, "conductance") if conducts else None
        in_file_unit = edges.of_type(kind, "syn_weight")
        if in_nano is None and in_file_unit is None:
            raise edges.error(kind, "has no weight", "give `syn_weight` (µS, or nA) or `conductance` (nS)")
        if in_nano is not None:
            weight = f"{float(in_nano)!r} nS"
        else:
            weight = f"{float(in_file_unit) * 1e3!r} {'nS' if conducts else 'pA'}"
    delay = None
    if "delay" not in columns:
        milliseconds = edges.of_type(kind, "delay")
        if milliseconds is None:
            raise edges.error(kind, "has no delay", "give `delay` in ms, 0.1 ms or more")
        delay = f"{float(milliseconds)!r} ms"
    return _Group(synapse, weight, delay)


def _synapse(edges: _Edges, kind: int, found: Connections) -> str:
    """The name of an edge type's kind of synapse, which is added to ``found`` if it is a new one."""
    given = edges.of_type(kind, "dynamics_params")
    folder = None
    if edges.circuit.get("components", "synaptic_models_dir") is not None:
        folder = edges.circuit.file("components", "synaptic_models_dir")
    try:
        dynamics = dynamics_of(given, folder)
    except OutputError as error:
        remedy = "give its file in the folder `synaptic_models_dir` of `components`"
        raise edges.error(kind, str(error), remedy) from error
    for name in ("tau", "tau1", "tau2", "erev"):
        if name not in dynamics and edges.of_type(kind, name) is not None:
            dynamics[name] = float(edges.of_type(kind, name))
    template = edges.templates.get(kind) or edges.of_type(kind, "model_template")
    synapse = dynamics if "model" in dynamics else _kinetics(edges, kind, str(template or ""), dynamics)
    for name, known in found.synapses.items():
        if known == synapse:
            return name
    named = isinstance(given, str) and not given.strip().startswith("{")
    wanted = plain_name(Path(str(given)).stem if named else str(template or edges.population))
    name, number = wanted, 2
    while name in found.synapses:
        name, number = f"{wanted}-{number}", number + 1
    found.synapses[name] = synapse
    sections = edges.of_type(kind, "target_sections")
    if sections is not None and _names_of(sections) - {"soma", "somatic"}:
        found.notes.append(
            f"edge type {kind} of {edges.population}, meant for {sections}, is put onto the soma"
        )
    return name


def _kinetics(edges: _Edges, kind: int, template: str, dynamics: Mapping[str, Any]) -> dict[str, Any]:
    """A synapse of a network file with the time constants of one of NEURON's."""
    numbers = {key: dynamics[key] for key in ("tau", "tau1", "tau2", "erev") if key in dynamics}
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise edges.error(kind, f"{key} is {value!r}", "give a number in ms, or mV")
    default = "exp2syn" if "tau2" in numbers else "expsyn"
    model = _MODELS.get((template or str(dynamics.get("level_of_detail") or default)).lower())
    if model is None:
        known = ", ".join(_MODELS)
        remedy = f"`model_template` is one of {known}, and `dynamics_params` has tau1, tau2, or tau, and erev"
        raise edges.error(kind, f"its synapses are of an unknown model, {template!r}", remedy)
    times = {"rise": "tau1", "decay": "tau2"} if model == "exp2" else {"decay": "tau"}
    for each in times.values():
        if each not in numbers:
            remedy = f"add {each} (ms), and erev (mV) of a conductance, to its `dynamics_params`"
            raise edges.error(kind, f"its synapses have no {each}", remedy)
    if model == "exp2" and not 0 < numbers["tau1"] < numbers["tau2"]:
        raise edges.error(kind, "tau1 is not below tau2", "give the time of the rise as tau1")
    synapse = {"model": model, **{key: f"{float(numbers[each])!r} ms" for key, each in times.items()}}
    if "erev" in numbers:
        synapse["reversal"] = f"{float(numbers['erev'])!r} mV"
    return synapse


def _names_of(sections: object) -> set[str]:
    text = str(sections)
    try:
        found = json.loads(text.replace("'", '"'))
    except ValueError:
        found = [text]
    return {str(each) for each in (found if isinstance(found, list) else [found])}
