"""What a network file names in other files, read and checked: points, tables of synapses, graphs, SONATA edges.

Every function raises GivenError for a file that cannot be read or does not fit; the caller knows the line of
the network file that named it.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noble_net.errors import OutputError
from noble_net.sonata.given_edges import read_given_edges
from noble_net.sonata.storage import lies_within
from noble_net.specs.basics import MAX_DELAY
from noble_net.specs.given_rules import SonataSpec
from noble_net.types import DT, Float32, Float64, Int64

if TYPE_CHECKING:
    import networkx

COLUMNS = ("source", "target", "weight", "delay", "synapses")
_MANY = 2**40


class GivenError(ValueError):
    """A file named in a network file is wrong: what about it, and what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem, self.remedy = problem, remedy
        super().__init__(f"{problem}. {remedy}")


class Edges(NamedTuple):
    """Synapses in the order of their file: cells int64, weight float32 (nS or pA), delay float64 (ms)."""

    source: Int64
    target: Int64
    weight: Float32 | None = None
    delay: Float64 | None = None

    def where(self, mask: NDArray[np.bool_]) -> Edges:
        """Those for which ``mask`` [synapses] is true."""
        return Edges(*(None if column is None else column[mask] for column in self))  # type: ignore[arg-type]


NodeIds = tuple[Int64 | None, Int64 | None]
"""Node ids of source and target cells, ascending; None where a cell's number is its id."""


def read_points(file: str, size: int) -> Float32:
    """Positions float32 [size, 3] (µm) from the columns x, y, z of a .csv."""
    columns = _csv(file, ("x", "y", "z"), ("x", "y", "z"))
    points = np.stack([columns[axis] for axis in "xyz"], axis=1)
    if len(points) != size:
        raise GivenError(f"{file} has {len(points)} points for {size} cells", "make the numbers equal")
    if not np.all(np.abs(points) <= 1e7):
        raise GivenError(f"{file} has a point that is no finite position", "give µm")
    return points.astype(np.float32)


def read_table(file: str, sources: int, targets: int) -> Edges:
    """Synapses listed in a .csv or .h5 with the columns of `TableSpec`, checked against the sizes."""
    kind = Path(file).suffix.lower()
    if kind == ".csv":
        columns = _csv(file, COLUMNS[:2], COLUMNS)
    elif kind in (".h5", ".hdf5"):
        columns = _h5(file)
    else:
        raise GivenError(f"{file} is neither .csv nor .h5", "give one of these")
    source = _cells(file, "source", columns["source"], sources)
    target = _cells(file, "target", columns["target"], targets)
    edges = _checked(file, Edges(source, target, columns.get("weight"), columns.get("delay")))
    if "synapses" not in columns:
        return edges
    counts = _whole(file, "synapses", columns["synapses"], _MANY)
    rows = np.repeat(np.arange(len(counts)), counts)
    weight, delay = edges.weight, edges.delay
    return Edges(
        edges.source[rows],
        edges.target[rows],
        None if weight is None else weight[rows],
        None if delay is None else delay[rows],
    )


def read_sonata(
    rule: SonataSpec, sources: int, targets: int, conductance: bool, nodes: NodeIds = (None, None)
) -> Edges:
    """Synapses of an edge population; ``conductance``: whether its weights are conductances.

    ``nodes``: the node ids of the source and the target cells, ascending, where these are not their numbers; edges of
    other nodes are left out.
    """
    file = rule.file
    try:
        found = read_given_edges(file, rule.population, conductance, rule.types)
    except OutputError as error:
        raise GivenError(str(error), "give a SONATA edges file and a population in it") from error
    edges = Edges(*found)
    for ids, column in zip(nodes, ("source", "target"), strict=True):
        if ids is not None:
            edges = edges.where(np.isin(getattr(edges, column), ids))
            edges = edges._replace(**{column: np.searchsorted(ids, getattr(edges, column))})
    source = _cells(file, "source_node_id", edges.source, sources)
    target = _cells(file, "target_node_id", edges.target, targets)
    return _checked(file, edges._replace(source=source, target=target))


def read_graph(file: str, sources: int, targets: int) -> Edges:
    """Edges of a graph file, either way where it is undirected."""
    import networkx

    kind = Path(file).suffix.lower()
    readers = {
        ".graphml": networkx.read_graphml,
        ".gml": _gml,
        ".edgelist": _edge_list,
        ".txt": _edge_list,
    }
    if kind not in readers:
        raise GivenError(f"{file} is no graph file", f"give one of {', '.join(readers)}")
    with _readable(file):
        graph = readers[kind](file)
    return edges_of(graph, file, sources, targets)


def edges_of(graph: networkx.Graph[Any], what: str, sources: int, targets: int) -> Edges:
    """The edges of a graph whose nodes are numbered like cells; each is two where it is undirected."""
    number = {node: _number(node, what) for node in graph.nodes}
    pairs = np.array([(number[u], number[v]) for u, v, *_ in graph.edges], np.int64).reshape(-1, 2)
    if not graph.is_directed():
        back = pairs[pairs[:, 0] != pairs[:, 1]][:, ::-1]
        pairs = np.concatenate([pairs, back])
    return Edges(
        _cells(what, "source", pairs[:, 0], sources),
        _cells(what, "target", pairs[:, 1], targets),
    )


def _gml(file: str) -> networkx.Graph[Any]:
    """Nodes by label, as networkx numbers them when it writes, else by id."""
    import networkx

    try:
        return networkx.read_gml(file)
    except networkx.NetworkXError:
        pass
    try:
        return networkx.read_gml(file, label="id")
    except networkx.NetworkXError as error:  # it quotes what it cannot read
        place = re.search(r"\((\d+), \d+\)", str(error))
        where = f" in line {place[1]}" if place else ""
        raise GivenError(f"{file} is not GML{where}", "check what kind of file it is") from error


def _edge_list(file: str) -> networkx.Graph[Any]:
    import networkx

    return networkx.read_edgelist(file, create_using=networkx.MultiDiGraph, data=False)


def _number(node: object, what: str) -> int:
    """A node's label as the number of a cell: `7`, `"7"`, or `"n7"` as igraph writes it."""
    text = str(node)
    text = text[1:] if text.startswith("n") else text
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise GivenError(f"{what} has a node called {_shown(str(node))!r}", "number the nodes from 0")
    return int(text)


def _csv(file: str, needed: tuple[str, ...], known: tuple[str, ...]) -> dict[str, Any]:
    """The numeric columns of a .csv with a header."""
    import pandas as pd

    with _readable(file):
        header = pd.read_csv(file, nrows=0, skipinitialspace=True)
        names = [str(name).strip() for name in header.columns]
        _check_columns(file, names, needed, known)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row longer than the header is cut
            table = pd.read_csv(file, skipinitialspace=True, names=names, header=0, index_col=False)
    for name in names:
        if len(table) and not pd.api.types.is_numeric_dtype(table[name]):
            bad = pd.to_numeric(table[name], errors="coerce").isna().to_numpy()
            line = int(np.argmax(bad)) + 2
            raise GivenError(f"{file}: column `{name}` is not a number in line {line}", "give numbers")
    return {name: table[name].to_numpy() if len(table) else np.empty(0) for name in names}


def _h5(file: str) -> dict[str, Any]:
    """The columns of an .h5: one-dimensional numeric datasets of equal length."""
    import h5py

    with _readable(file), h5py.File(file, "r") as opened:
        _check_columns(file, list(opened), COLUMNS[:2], COLUMNS)
        columns = {}
        for name in opened:
            data = opened[name]
            if not isinstance(data, h5py.Dataset) or data.ndim != 1 or data.dtype.kind not in "iuf":
                raise GivenError(
                    f"{file}: `{_shown(name)}` is no row of numbers", "give a dataset for each column"
                )
            if not lies_within(data, opened):
                raise GivenError(f"{file}: `{name}` lies in another file", "copy the values into this one")
            columns[name] = data[:]
    if len({len(column) for column in columns.values()}) > 1:
        raise GivenError(f"{file} has columns of different length", "make them equal")
    return columns


def _shown(name: str) -> str:
    """A name for an error, unless it looks like something else: a file that is no table may be nobody's business."""
    return name if re.fullmatch(r"[\w .()/%-]{1,30}", name) else "…"


def _check_columns(file: str, names: list[str], needed: tuple[str, ...], known: tuple[str, ...]) -> None:
    if len(names) == 1 and ";" in names[0]:
        raise GivenError(f"{file}: its columns are separated by semicolons", "separate them by commas")
    for name in needed:
        if name not in names:
            raise GivenError(
                f"{file} has no column `{name}`", f"its columns: {', '.join(map(_shown, names[:12]))}"
            )
    for name in names:
        if name not in known:
            raise GivenError(f"{file} has an unknown column `{_shown(name)}`", f"known: {', '.join(known)}")


def _cells(file: str, name: str, values: NDArray[Any], size: int) -> Int64:
    """Cell numbers below ``size``."""
    return _whole(file, name, values, size - 1, f"cells are numbered from 0 to {size - 1}")


def _whole(
    file: str, name: str, values: NDArray[Any], most: int, remedy: str = "give whole numbers from 0"
) -> Int64:
    """Whole numbers from 0 to ``most``."""
    bad = ~((values >= 0) & (values <= most) & (values == np.floor(values)))
    if np.any(bad):
        row = int(np.argmax(bad))
        raise GivenError(f"{file}: `{name}` of row {row + 1} is {values[row]}", remedy)
    return values.astype(np.int64)


def _checked(file: str, edges: Edges) -> Edges:
    """The edges with finite weights and delays that fit the grid."""
    weight, delay = edges.weight, edges.delay
    if weight is not None:
        bad = ~(np.abs(weight) <= 1e6)
        if np.any(bad):
            row = int(np.argmax(bad))
            raise GivenError(f"{file}: the weight of row {row + 1} is {weight[row]}", "give finite weights")
        weight = weight.astype(np.float32)
    if delay is not None:
        bad = ~((delay >= DT / 2) & (delay <= MAX_DELAY))
        if np.any(bad):
            row = int(np.argmax(bad))
            problem = f"{file}: the delay of row {row + 1} is {delay[row]:g} ms"
            raise GivenError(problem, f"give {DT:g} to {MAX_DELAY:g} ms")
        delay = delay.astype(np.float64)
    return Edges(edges.source, edges.target, weight, delay)


@contextmanager
def _readable(file: str) -> Iterator[None]:
    """Turn everything a reader may raise over a missing, damaged or foreign file into a GivenError."""
    if not os.path.isfile(file):
        raise GivenError(f"{file}: there is no such file", "check the path")
    try:
        yield
    except GivenError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise GivenError(f"{file} cannot be read: {reason[:120]}", "check what kind of file it is") from error
