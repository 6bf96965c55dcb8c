"""Edges of other programs' SONATA files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from noble_net.errors import OutputError
from noble_net.sonata.columns import column_names, gathered, rows_of_groups
from noble_net.types import Float32, Float64, Int64

_PER_FILE_UNIT = 1e3
"""nS in a µS, the unit of `syn_weight` of conductances; pA in a nA, that of currents."""
_MOST_SYNAPSES = 2**34
"""Of one population: a count that asks for more is none."""


class GivenEdges(NamedTuple):
    """Synapses in file order: node ids int64, weight float32 (nS or pA) and delay float64 (ms) if there."""

    source: Int64
    target: Int64
    weight: Float32 | None
    delay: Float64 | None


class EdgeHead(NamedTuple):
    """What an edge population joins, node ids and types int64 [edges] in file order, and for each type the columns that
    all of its edges have."""

    source: str
    target: str
    source_node_id: Int64
    target_node_id: Int64
    edge_type: Int64
    columns: dict[int, frozenset[str]]


def read_given_edges(
    path: Path | str, population: str, conductance: bool, types: Iterable[int] | None = None
) -> GivenEdges:
    """All synapses of an edge population, those of edge ``types`` alone if given, an edge of `nsyns` as so many.

    Conductances are taken from `conductance` (nS), else from `syn_weight` (µS), as in the Allen Institute's
    models; weights of current synapses from `syn_weight` (nA). OutputError when the file or the population cannot be
    read, or if only some of the edges have a weight or a delay.
    """
    with _opened(path) as file, _damage_told(path):
        root = _population(path, file, population)
        count = root["source_node_id"].shape[0]
        wanted: Any = slice(None)
        if types is not None:
            wanted = np.flatnonzero(np.isin(np.asarray(root["edge_type_id"][:], np.int64), list(types)))

        def column(name: str) -> Float64 | None:
            values = gathered(root, "edge", name, count)
            return None if values is None else _whole(path, name, values[wanted].astype(np.float64))

        weight = column("conductance") if conductance else None
        if weight is None and (raw := column("syn_weight")) is not None:
            weight = raw * _PER_FILE_UNIT
        columns = [
            np.asarray(root[f"{side}_node_id"][:], np.int64)[wanted] for side in ("source", "target")
        ] + [None if weight is None else weight.astype(np.float32), column("delay")]
        _check_lengths(path, population, columns)
        counts = gathered(root, "edge", "nsyns", count)
        repeats = None if counts is None else _repeats(path, counts[wanted].astype(np.float64))
    if repeats is not None:
        columns = [None if each is None else np.repeat(each, repeats) for each in columns]
    source, target, weights, delay = columns
    return GivenEdges(source, target, weights, delay)


def read_edge_head(path: Path | str, population: str) -> EdgeHead:
    """What an edge population joins. OutputError when it cannot be read or does not say."""
    with _opened(path) as file, _damage_told(path):
        root = _population(path, file, population)
        ends = [root[f"{side}_node_id"].attrs["node_population"] for side in ("source", "target")]
        source, target = (end.decode() if isinstance(end, bytes) else str(end) for end in ends)
        kind = np.asarray(root["edge_type_id"][:], np.int64)
        columns: dict[int, frozenset[str]] = {}
        for group, rows, _ in rows_of_groups(root, "edge", kind.size):
            names = frozenset(column_names(group))
            for each in np.unique(kind[rows]).tolist():
                columns[each] = names & columns.get(each, names)
        ids = [np.asarray(root[f"{side}_node_id"][:], np.int64) for side in ("source", "target")]
        _check_lengths(path, population, [kind, *ids])
        return EdgeHead(source, target, ids[0], ids[1], kind, dict(sorted(columns.items())))


def edge_populations(path: Path | str) -> list[str]:
    """Names of the edge populations of a file. OutputError when it is none."""
    with _opened(path) as file, _damage_told(path):
        return list(file["edges"])


def read_edge_text(path: Path | str, population: str, name: str) -> dict[int, str]:
    """For every edge type the text in a column, where all its edges have the same one."""
    with _opened(path) as file, _damage_told(path):
        root = _population(path, file, population)
        kind = np.asarray(root["edge_type_id"][:], np.int64)
        values = gathered(root, "edge", name, kind.size)
        if values is None:
            return {}
        found = {each: set(values[kind == each].tolist()) for each in np.unique(kind).tolist()}
        return {each: str(texts.pop()) for each, texts in found.items() if len(texts) == 1}


def _check_lengths(path: Path | str, population: str, columns: list[NDArray[Any] | None]) -> None:
    if len({each.size for each in columns if each is not None}) > 1:
        raise OutputError(f"{path}: the columns of edge population {population} differ in length")


def _repeats(path: Path | str, counts: Float64) -> Int64:
    """How many synapses each edge is, one where `nsyns` does not say."""
    counts = np.nan_to_num(counts, nan=1.0)
    bad = ~((counts >= 0) & (counts == np.floor(counts)))
    if bad.any() or counts.sum() > _MOST_SYNAPSES:
        worst = counts[int(np.argmax(bad if bad.any() else counts))]
        raise OutputError(f"{path}: nsyns of an edge is {worst:g}, no number of synapses")
    return counts.astype(np.int64)


def _whole(path: Path | str, name: str, values: Float64) -> Float64 | None:
    """The values if there is one for every edge, None if there are none."""
    missing: NDArray[np.bool_] = np.isnan(values)
    if values.size and missing.all():
        return None
    if missing.any():
        raise OutputError(f"{path}: {missing.sum()} of {values.size} edges have no {name}")
    return values


def _population(path: Path | str, file: h5py.File, population: str) -> h5py.Group:
    if population not in file["edges"]:
        there = ", ".join(sorted(file["edges"])[:12])
        raise OutputError(f"{path}: has no edge population {population!r}; it has {there or 'none'}")
    return file["edges"][population]


def _opened(path: Path | str) -> h5py.File:
    if not Path(path).is_file():
        raise OutputError(f"{path}: there is no such file")
    with _damage_told(path):
        return h5py.File(path, "r")


class _damage_told:
    """Turn what h5py raises over a damaged or foreign file into an OutputError."""

    def __init__(self, path: Path | str) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | KeyError | ValueError | IndexError | TypeError | RuntimeError):
            reason = (str(error).strip().splitlines() or ["damaged"])[0]
            raise OutputError(f"{self.path}: is no SONATA edges file: {reason[:120]}") from error
