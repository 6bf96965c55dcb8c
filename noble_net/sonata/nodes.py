"""Nodes: the cells of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from noble_net.output import reading
from noble_net.sonata.storage import H5Output, read_column, write_constant, write_enumerated
from noble_net.types import Float32

if TYPE_CHECKING:
    import pandas as pd

MODEL_TYPE = "point_process"
"""Node type that asks for no morphology folders, and the only such one that bluepysnap can validate."""

_NODE_COLUMNS = ("x", "y", "z", "morphology", "etype", "mtype", "synapse_class", "model_template")


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
