"""The network of a run as a SONATA circuit: its nodes, synapses and gap junctions, and the configs that bind them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from noble_net.config import NetworkSpec
from noble_net.network.build import Network, PopulationArrays
from noble_net.network.connect import ProjectionArrays
from noble_net.network.gap_junctions import GapJunctions
from noble_net.network.node_sets import node_sets, report_cells
from noble_net.sonata import (
    CompressedEdges,
    Ends,
    NodePopulation,
    Report,
    electrical_edges,
    inputs_of,
    synapse_columns,
    write_configs,
    write_edges,
    write_nodes,
)
from noble_net.types import DT, Float32


def write_circuit(folder: Path, network: Network) -> None:
    """Write nodes.h5, edges.h5 and gap_junctions.h5 if the network wants them, and the configs that bind them."""
    spec = network.spec
    sizes = {population.name: population.size for population in network.populations}
    write_nodes(folder / "nodes.h5", [_nodes(population) for population in network.populations])
    inputs, left_out = inputs_of(spec.stimuli, spec.duration)
    edges: dict[str, str] = {}
    junctions: list[CompressedEdges] = []
    if network.writes_edges:
        edges = {each.name: _weight_name(network, each) for each in network.projections}
        synapses = (_synapses(network, projection) for projection in network.projections)
        write_edges(folder / "edges.h5", synapses, sizes)
        junctions = [edge for each in network.gap_junctions for edge in _junctions(each, sizes)]
    if junctions:
        write_edges(folder / "gap_junctions.h5", junctions, sizes, len(edges))
    write_configs(
        folder,
        list(sizes),
        edges,
        junctions=[each.name for each in junctions],
        duration=spec.duration,
        dt=DT,
        seed=spec.seed,
        spikes=spec.record.spikes,
        reports=planned_reports(network),
        node_sets={name: (each.population, each.cells) for name, each in node_sets(network).items()},
        types={**_node_types(spec), **_edge_types(spec)},
        inputs=inputs,
        metadata=_metadata(spec, left_out),
    )


def write_weights(folder: Path, network: Network, weights: Mapping[str, Float32]) -> None:
    """Write weights.h5: projections with STDP, with the weights they have now, [synapses] in their arrays' order."""
    if network.learned:
        sizes = {population.name: population.size for population in network.populations}
        now = (replace(each, weight=weights.get(each.name, each.weight)) for each in network.learned)
        edges = (_synapses(network, projection) for projection in now)
        write_edges(folder / "weights.h5", edges, sizes)


def planned_reports(network: Network) -> dict[str, Report]:
    """The reports a network asks for, by the names of their files."""
    spec = network.spec
    return {
        name: Report(
            report_cells(network, name),
            each.start,
            spec.duration if each.stop is None else min(each.stop, spec.duration),
            each.dt,
            *_quantity(spec, name),
        )
        for name, each in spec.record.reports.items()
    }


def _quantity(spec: NetworkSpec, report: str) -> tuple[str, str]:
    """Name and unit of what a report tells."""
    known = {"voltage": ("v", "mV"), "current": ("i", "nA"), "conductance": ("g", "nS")}
    if report in known:
        return known[report]
    synapse = report.removeprefix("synapse-")
    conducts = spec.synapses[synapse].kind == "conductance"
    return (f"g_{synapse}", "nS") if conducts else (f"i_{synapse}", "pA")


def _nodes(population: PopulationArrays) -> NodePopulation:
    cells = population.cells
    return NodePopulation(
        population.name,
        population.size,
        f"noble-net:{Path(population.core).name}",
        {**cells.parameters, **cells.features},
        cells.labels,
        population.position,
    )


def _node_types(spec: NetworkSpec) -> dict[str, dict[str, str]]:
    """What a circuit's reader must know of populations beside their nodes, by name."""
    families = {
        name: {"family": each.family} if each.family else {} for name, each in spec.populations.items()
    }
    return {name: {"core": spec.core_of(name), **family} for name, family in families.items()}


def _edge_types(spec: NetworkSpec) -> dict[str, dict[str, str]]:
    """Likewise of projections: the synapse type, as it stands in the network file."""
    synapses = spec.model_dump(mode="json", by_alias=True, exclude_none=True)["synapses"]
    return {each.name: {"dynamics_params": json.dumps(synapses[each.synapse])} for each in spec.projections}


def _metadata(spec: NetworkSpec, left_out: list[str]) -> dict[str, Any]:
    """What SONATA has no place for, and the names of what it cannot hold at all."""
    found = {"network": spec.name, "warmup": spec.warmup}
    if spec.noise_seed is not None:  # else it follows `seed`, whatever that is when these files are run
        found["noise_seed"] = str(spec.noise_seed)
    return {**found, "left_out": ", ".join(left_out)} if left_out else found


def _junctions(each: GapJunctions, sizes: Mapping[str, int]) -> list[CompressedEdges]:
    ends = Ends(each.name, each.source, each.target)
    return electrical_edges(ends, sizes, each.first, each.second, each.conductance)


def _synapses(network: Network, projection: ProjectionArrays) -> CompressedEdges:
    return CompressedEdges(
        name=projection.name,
        source=projection.source,
        target=projection.target_population,
        indptr=projection.indptr,
        targets=projection.target,
        columns=synapse_columns(projection.weight, _weight_name(network, projection), projection.delay, DT),
        synapse=projection.synapse,
    )


def _weight_name(network: Network, projection: ProjectionArrays) -> str:
    return "conductance" if network.synapses[projection.synapse].kind == "conductance" else "syn_weight"
