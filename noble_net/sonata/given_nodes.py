"""Nodes of other programs' SONATA files, with what their types' table says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from noble_net.errors import OutputError
from noble_net.sonata.columns import column_names, gathered, rows_of_groups
from noble_net.sonata.types_table import dynamics_of, read_types
from noble_net.types import Float32, Float64, Int64

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class GivenNodes:
    """Nodes of one population in ascending order of ``node_id``, int64 [nodes] like ``node_type``.

    ``columns``: what the nodes file says of each, [nodes] per name; ``types``: the table of their types;
    ``dynamics``: numbers of `dynamics_params` by node type.
    """

    node_id: Int64
    node_type: Int64
    columns: dict[str, NDArray[Any]]
    types: pd.DataFrame
    dynamics: dict[int, dict[str, float]]

    @property
    def size(self) -> int:
        """Number of nodes."""
        return self.node_id.size

    def attribute(self, name: str) -> NDArray[Any] | None:
        """A column of the nodes file, else of the types' table, object [nodes] with NaN where nothing is said."""
        own = self.columns.get(name)
        of_types = None
        if name in self.types:
            of_types = self.types[name].reindex(self.node_type).to_numpy(object)
        if own is None:
            return of_types
        own = own.astype(object)
        return own if of_types is None else np.where(_missing(own), of_types, own)

    def numbers(self, name: str) -> Float64:
        """A number of every node, NaN where nothing is said: from `dynamics_params` of the node, a column of that name,
        `dynamics_params` of its type, a column of the types' table."""
        found = np.full(self.size, np.nan)
        own = [self.columns[key] for key in (f"dynamics_params/{name}", name) if key in self.columns]
        by_type = {each: given[name] for each, given in self.dynamics.items() if name in given}
        own.append(np.array([by_type.get(each, np.nan) for each in self.node_type.tolist()], np.float64))
        if name in self.types:
            own.append(self.types[name].reindex(self.node_type).to_numpy())
        for values in own:
            if values.dtype.kind in "biuf":
                found = np.where(np.isnan(found), values.astype(np.float64), found)
        return found

    def names(self) -> set[str]:
        """Every name that `numbers` may know something of."""
        plain = {name.removeprefix("dynamics_params/") for name in self.columns}
        return (
            plain
            | {str(name) for name in self.types}
            | {key for each in self.dynamics.values() for key in each}
        )

    @property
    def position(self) -> Float32 | None:
        """float32 [nodes, 3], µm; None unless all nodes have x, y and z."""
        axes = [self.columns.get(axis) for axis in "xyz"]
        found = [axis for axis in axes if axis is not None and axis.dtype.kind in "iuf"]
        if len(found) < 3 or not all(np.isfinite(axis).all() for axis in found):
            return None
        return np.stack(found, axis=1).astype(np.float32)


def read_given_nodes(
    path: Path | str,
    population: str,
    types_file: Path | str | None = None,
    types: Iterable[int] | None = None,
    components: Path | str | None = None,
) -> GivenNodes:
    """The nodes of a population, those of node ``types`` alone if given. OutputError when files cannot be read."""
    import pandas as pd

    if not Path(path).is_file():
        raise OutputError(f"{path}: there is no such file")
    table = pd.DataFrame() if types_file is None else read_types(types_file, "node")
    try:
        with h5py.File(path, "r") as file:
            root = _population(path, file, population)
            node_type = np.asarray(root["node_type_id"][:], np.int64)
            count = node_type.size
            node_id = np.asarray(root["node_id"][:], np.int64) if "node_id" in root else np.arange(count)
            wanted = np.ones(count, bool) if types is None else np.isin(node_type, list(types))
            order = np.argsort(node_id, kind="stable")
            order = order[wanted[order]]
            names = {
                name for group, _, _ in rows_of_groups(root, "node", count) for name in column_names(group)
            }
            columns = {}
            for name in sorted(names):
                column = gathered(root, "node", name, count)
                if column is not None:
                    columns[name] = column[order]
    except (OSError, KeyError, ValueError, IndexError, TypeError) as error:
        reason = (str(error).strip().splitlines() or ["damaged"])[0]
        raise OutputError(f"{path}: is no SONATA nodes file: {reason[:120]}") from error
    if np.unique(node_id).size != count:
        raise OutputError(f"{path}: population {population} has two nodes of one node_id")
    dynamics = {}
    if "dynamics_params" in table:
        used = set(np.unique(node_type[order]).tolist())
        for each, value in zip(table.index.tolist(), table["dynamics_params"], strict=True):
            if each in used:
                dynamics[each] = _numbers(value, components)
    return GivenNodes(node_id[order], node_type[order], columns, table, dynamics)


def node_populations(path: Path | str) -> list[str]:
    """Names of the node populations of a file. OutputError when it is none."""
    if not Path(path).is_file():
        raise OutputError(f"{path}: there is no such file")
    try:
        with h5py.File(path, "r") as file:
            return list(file["nodes"])
    except (OSError, KeyError) as error:
        raise OutputError(f"{path}: is no SONATA nodes file: {str(error)[:120]}") from error


def _population(path: Path | str, file: h5py.File, population: str) -> h5py.Group:
    if population not in file["nodes"]:
        there = ", ".join(sorted(file["nodes"])[:12])
        raise OutputError(f"{path}: has no node population {population!r}; it has {there or 'none'}")
    return file["nodes"][population]


def _numbers(value: object, components: Path | str | None) -> dict[str, float]:
    """The plain numbers of a type's `dynamics_params`; files that describe a cell otherwise have none."""
    if isinstance(value, str) and not value.strip().startswith("{") and components is None:
        return {}
    found = dynamics_of(value, components)
    return {
        key: float(each)
        for key, each in found.items()
        if isinstance(each, int | float) and not isinstance(each, bool)
    }


def _missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    return np.array([value is None or value != value for value in values.tolist()], bool)
