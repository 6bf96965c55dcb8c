"""Columns of other programs' nodes and edges, which may be split over groups with different columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from noble_net.sonata.storage import read_column
from noble_net.types import Int64


def rows_of_groups(root: h5py.Group, kind: str, count: int) -> Iterator[tuple[h5py.Group, Int64, Int64]]:
    """Every group of a population, the rows of the population that it describes, and where in it they stand.

    ``kind`` is 'node' or 'edge'. libsonata reads files of one group alone; bmtk writes several.
    """
    if f"{kind}_group_id" not in root:
        yield root["0"], np.arange(count), np.arange(count)
        return
    group, index = (np.asarray(root[f"{kind}_group_{each}"][:], np.int64) for each in ("id", "index"))
    for number in np.unique(group):
        rows = np.flatnonzero(group == number)
        yield root[str(number)], rows, index[rows]


def column_names(group: h5py.Group) -> list[str]:
    """Names of the group's columns; those below `dynamics_params` as ``dynamics_params/name``."""
    names = [name for name in group if isinstance(group[name], h5py.Dataset)]
    dynamics = group.get("dynamics_params")
    if isinstance(dynamics, h5py.Group):
        names += [f"dynamics_params/{name}" for name in dynamics if isinstance(dynamics[name], h5py.Dataset)]
    return names


def gathered(root: h5py.Group, kind: str, name: str, count: int) -> NDArray[Any] | None:
    """One column over all groups, float64 or object [count], NaN where a group has none; None if no group has it."""
    column: NDArray[Any] | None = None
    for group, rows, index in rows_of_groups(root, kind, count):
        if name not in group:
            continue
        head, _, tail = name.rpartition("/")
        values = read_column(group[head] if head else group, tail)[index]
        numeric = values.dtype.kind in "biuf"
        if column is None:
            column = np.full(count, np.nan, np.float64 if numeric else object)
        elif not numeric:
            column = column.astype(object)
        column[rows] = values
    return column
