"""Nodes and edges: the cells of a run and the synapses between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from noble_net.output import reading
from noble_net.sonata.storage import H5Output, read_column, write_constant, write_enumerated
from noble_net.types import Float32, Float64

if TYPE_CHECKING:
    import pandas as pd

MODEL_TYPE = "point_process"
"""Node type that asks for no morphology folders, and the only such one that bluepysnap can validate."""

WEIGHT_UNITS = {"conductance": ("nS", 1.0), "syn_weight": ("nA", 1e-3)}
"""For each name of a weight column its unit in the file, and the factor from the internal unit (nS, pA)."""

_NODE_COLUMNS = ("x", "y", "z", "morphology", "etype", "mtype", "synapse_class", "model_template")
_EDGES_PER_WRITE = 1 << 20


@dataclass(frozen=True)
class NodePopulation:
    """Cells of one population as SONATA knows them.

    ``dynamics_params``: one value per cell for each name: latent parameters and features (I_thr in nA, s_thr
    in Hz/nA …). ``labels``: where each cell comes from, one text per cell, or none. ``position`` float32
    [cells, 3], µm.
    """

    name: str
    size: int
    model_template: str
    dynamics_params: Mapping[str, NDArray[np.floating[Any]]] = field(default_factory=dict)
    labels: Sequence[str] = ()
    position: Float32 | None = None
    morphology: str = "none"
    etype: str = "unknown"
    mtype: str = "unknown"
    synapse_class: str = "unknown"


@dataclass(frozen=True)
class EdgePopulation:
    """Synapses of one projection, arrays [synapses] in any order.

    ``weight`` is in nS where ``weight_name`` is 'conductance', and in pA where it is 'syn_weight' (a current
    synapse; the file holds nA). ``delay`` in ms. ``synapse`` names the type of synapse.
    """

    name: str
    source: str
    target: str
    source_node_id: NDArray[np.integer[Any]]
    target_node_id: NDArray[np.integer[Any]]
    weight: NDArray[np.floating[Any]]
    weight_name: str
    delay: NDArray[np.floating[Any]]
    synapse: str = "unknown"


def write_nodes(path: Path | str, populations: Sequence[NodePopulation]) -> None:
    """Write a nodes file. OutputError when the disk refuses."""
    with H5Output(path) as output:
        for type_id, population in enumerate(populations):
            _write_node_population(output.file.create_group(f"nodes/{population.name}"), population, type_id)


def _write_node_population(root: h5py.Group, population: NodePopulation, type_id: int) -> None:
    n = population.size
    write_constant(root, "node_type_id", type_id, n, "i8")
    write_constant(root, "node_group_id", 0, n, "u4")
    root.create_dataset("node_id", data=np.arange(n, dtype=np.uint64))
    root.create_dataset("node_group_index", data=np.arange(n, dtype=np.uint64))
    group = root.create_group("0")
    position = np.zeros((n, 3), np.float32) if population.position is None else population.position
    for axis, name in enumerate("xyz"):
        group.create_dataset(name, data=np.asarray(position[:, axis], np.float32))
    for name, value in (("w", 1.0), ("x", 0.0), ("y", 0.0), ("z", 0.0)):
        write_constant(group, f"orientation_{name}", value, n, "f4")
    write_enumerated(group, "model_type", MODEL_TYPE, n)
    for name in ("model_template", "morphology", "etype", "mtype", "synapse_class"):
        write_enumerated(group, name, getattr(population, name), n)
    if population.labels:
        write_enumerated(group, "label", list(population.labels), n)
    _write_dynamics(group.create_group("dynamics_params"), population.dynamics_params, n)


def _write_dynamics(group: h5py.Group, parameters: Mapping[str, NDArray[np.floating[Any]]], n: int) -> None:
    for name, values in parameters.items():
        group.create_dataset(name, data=np.asarray(values, np.float32))
    # The extension's two obligatory columns: rheobase (unknown without I_thr), and that nothing holds the
    # cell.
    if "threshold_current" not in group:
        threshold = parameters.get("I_thr", np.full(n, np.nan))
        group.create_dataset("threshold_current", data=np.asarray(threshold, np.float32))
    if "holding_current" not in group:
        write_constant(group, "holding_current", 0.0, n, "f4")


def write_edges(path: Path | str, edges: Iterable[EdgePopulation], sizes: Mapping[str, int]) -> None:
    """Write an edges file sorted by target, with the indices that afferent and efferent look-ups need.

    ``edges`` may be a generator: one projection at a time is held. ``sizes`` gives the cells of every
    population. OutputError when the disk refuses.
    """
    with H5Output(path) as output:
        output.file.create_group("edges")
        for type_id, population in enumerate(edges):
            root = output.file.create_group(f"edges/{population.name}")
            _write_edge_population(root, population, type_id)
            output.check()
            _write_indices(root, sizes[population.source], sizes[population.target])
            output.check()


def _write_edge_population(root: h5py.Group, population: EdgePopulation, type_id: int) -> None:
    n = len(population.delay)
    unit, factor = WEIGHT_UNITS[population.weight_name]
    order = np.lexsort((population.source_node_id, population.target_node_id))
    for side in ("source", "target"):
        column = _write_column(root, f"{side}_node_id", getattr(population, f"{side}_node_id")[order], "u8")
        column.attrs["node_population"] = getattr(population, side)
    write_constant(root, "edge_type_id", type_id, n, "i8")
    write_constant(root, "edge_group_id", 0, n, "u4")
    root.create_dataset("edge_group_index", data=np.arange(n, dtype=np.uint64))
    group = root.create_group("0")
    weight = _write_column(group, population.weight_name, population.weight[order] * factor, "f4")
    weight.attrs["units"] = unit
    _write_column(group, "delay", population.delay[order], "f4").attrs["units"] = "ms"
    write_constant(group, "afferent_section_id", 0, n, "u4")
    write_constant(group, "afferent_section_pos", 0.5, n, "f4")
    write_enumerated(group, "model_template", population.synapse, n)


def _write_column(group: h5py.Group, name: str, values: NDArray[Any], dtype: str) -> h5py.Dataset:
    column = group.create_dataset(name, (len(values),), dtype)
    for begin in range(0, len(values), _EDGES_PER_WRITE):
        column[begin : begin + _EDGES_PER_WRITE] = values[begin : begin + _EDGES_PER_WRITE].astype(dtype)
    return column


def _write_indices(root: h5py.Group, sources: int, targets: int) -> None:
    """The look-ups from a node to its edges, as libsonata's `EdgePopulation.write_indices` lays them out.

    Not left to libsonata: on a full disk its copy of HDF5 can neither finish nor let go of the file.
    """
    sides = {"source_to_target": ("source_node_id", sources), "target_to_source": ("target_node_id", targets)}
    for name, (column, nodes) in sides.items():
        node_to_ranges, range_to_edges = _index(root[column][:], nodes)
        group = root.create_group(f"indices/{name}")
        group.create_dataset("node_id_to_ranges", data=node_to_ranges)
        group["node_id_to_range"] = group["node_id_to_ranges"]  # bmtk's name for it
        group.create_dataset("range_to_edge_id", data=range_to_edges)


def _index(ids: NDArray[np.uint64], nodes: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Runs of equal ids as [begin, end) of edges, grouped by id; for each node its [begin, end) of runs."""
    bounds = np.flatnonzero(np.diff(ids)) + 1
    begins = np.concatenate([[0], bounds]) if len(ids) else np.empty(0, np.int64)
    ends = np.concatenate([bounds, [len(ids)]]) if len(ids) else begins
    owner = ids[begins].astype(np.int64)
    order = np.argsort(owner, kind="stable")
    last = np.cumsum(np.bincount(owner, minlength=nodes))
    node_to_ranges = np.stack([np.concatenate([[0], last[:-1]]), last], axis=1)
    return node_to_ranges.astype(np.uint64), np.stack([begins[order], ends[order]], axis=1).astype(np.uint64)


def read_nodes(path: Path | str) -> dict[str, pd.DataFrame]:
    """The cells of every population as a table indexed by node id: position, model, label, latents.

    OutputError when the file is missing or damaged.
    """
    import pandas as pd

    with reading(path, "cells"), h5py.File(path, "r") as file:
        tables = {}
        for name, root in file["nodes"].items():
            group = root["0"]
            columns = {key: read_column(group, key) for key in (*_NODE_COLUMNS, "label") if key in group}
            dynamics = group.get("dynamics_params", {})
            columns |= {key: np.asarray(dynamics[key][:], np.float64) for key in dynamics}
            index = pd.RangeIndex(len(root["node_type_id"]), name="cell")
            tables[name] = pd.DataFrame(columns, index=index)
        return tables


def read_edges(path: Path | str, population: str) -> EdgePopulation:
    """One projection's synapses, sorted by target, in the units of `EdgePopulation`.

    OutputError when the file is missing or damaged, or holds no such projection.
    """
    with reading(path, "synapses"), h5py.File(path, "r") as file:
        root = file["edges"][population]
        group = root["0"]
        weight_name = "conductance" if "conductance" in group else "syn_weight"
        weight: Float64 = group[weight_name][:] / WEIGHT_UNITS[weight_name][1]
        return EdgePopulation(
            name=population,
            source=_text(root["source_node_id"].attrs["node_population"]),
            target=_text(root["target_node_id"].attrs["node_population"]),
            source_node_id=root["source_node_id"][:].astype(np.int64),
            target_node_id=root["target_node_id"][:].astype(np.int64),
            weight=weight,
            weight_name=weight_name,
            delay=group["delay"][:].astype(np.float64),
            synapse=str(group["@library/model_template"].asstr()[0]),
        )


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
