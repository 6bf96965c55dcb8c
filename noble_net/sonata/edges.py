"""Edges: the synapses and gap junctions between the cells of a run.

A file keeps them sorted by target, networks keep them by source. Writing brings them from one order to the other a
stretch at a time, so that beside the network itself memory is that of a stretch, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from noble_net.output import reading
from noble_net.sonata.storage import H5Output, write_constant, write_enumerated
from noble_net.types import Float64, Int32, Int64

WEIGHT_UNITS = {"conductance": ("nS", 1.0), "syn_weight": ("nA", 1e-3)}
"""For each name of a weight column its unit in the file, and the factor from the internal unit (nS, pA)."""

BYTES_PER_EDGE = 52
"""In a file, indices included, of populations much larger than their numbers of cells."""

_EDGES_PER_STRETCH = 1 << 19
_CENTRES = [f"afferent_{place}_{axis}" for place in ("center", "surface") for axis in "xyz"]


class Column(NamedTuple):
    """A property of edges, [edges]: the file holds ``values``·``scale`` in ``unit`` as ``dtype``."""

    values: NDArray[Any]
    scale: float = 1.0
    unit: str | None = None
    dtype: str = "f4"


@dataclass(frozen=True)
class CompressedEdges:
    """Edges compressed by source and sorted by (source, target).

    Edges of source i are entries ``indptr[i]`` to ``indptr[i + 1]`` of ``targets`` and of every column. ``synapse``
    names the type of synapse; ``electrical`` edges, gap junctions, have none.
    """

    name: str
    source: str
    target: str
    indptr: Int64
    targets: Int32
    columns: Mapping[str, Column]
    synapse: str = "unknown"
    electrical: bool = False


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

    def compressed(self, sources: int) -> CompressedEdges:
        """The same, by source, of which there are so many."""
        columns = synapse_columns(self.weight, self.weight_name, self.delay)
        return compressed(self, sources, self.source_node_id, self.target_node_id, columns, self.synapse)


class Ends(NamedTuple):
    """What a population of edges is called and connects."""

    name: str
    source: str
    target: str


def synapse_columns(
    weight: NDArray[Any], weight_name: str, delay: NDArray[Any], dt: float = 1.0
) -> dict[str, Column]:
    """Weights (nS or pA, as in `EdgePopulation`) and delays (in units of ``dt`` ms)."""
    unit, factor = WEIGHT_UNITS[weight_name]
    return {weight_name: Column(weight, factor, unit), "delay": Column(delay, dt, "ms")}


def compressed(
    ends: Ends | EdgePopulation,
    sources: int,
    source: ArrayLike,
    target: ArrayLike,
    columns: Mapping[str, Column],
    synapse: str = "unknown",
    electrical: bool = False,
) -> CompressedEdges:
    """Edges in any order (node ids [edges]) brought to that of `CompressedEdges`."""
    begin, end = np.asarray(source, np.int64), np.asarray(target, np.int32)
    order = np.lexsort((end, begin))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(begin, minlength=sources))]).astype(np.int64)
    sorted_columns = {name: each._replace(values=each.values[order]) for name, each in columns.items()}
    return CompressedEdges(
        ends.name, ends.source, ends.target, indptr, end[order], sorted_columns, synapse, electrical
    )


def electrical_edges(
    ends: Ends, sizes: Mapping[str, int], first: Int32, second: Int32, conductance: NDArray[np.floating[Any]]
) -> list[CompressedEdges]:
    """Gap junctions as SONATA keeps them: as two edges, either way, with the same conductance (nS).

    Junction i couples cell ``first[i]`` of the source population with ``second[i]`` of the target. Its edge onto the
    second cell has 2·i as `efferent_junction_id` and 2·i + 1 as `afferent_junction_id`, the one back the reverse.
    Between two populations, the edges back are a population of their own, called ``name:reverse``.
    """
    forth = 2 * np.arange(len(first), dtype=np.uint64)
    away, home, ids = (first, second), (second, first), (forth, forth + np.uint64(1))
    if ends.source == ends.target:
        both = [np.concatenate(each) for each in (away, home, ids, ids[::-1], (conductance, conductance))]
        return [_junctions(ends, sizes[ends.source], *both)]
    back = Ends(f"{ends.name}:reverse", ends.target, ends.source)
    return [
        _junctions(ends, sizes[ends.source], *away, *ids, conductance),
        _junctions(back, sizes[ends.target], *home, *ids[::-1], conductance),
    ]


def _junctions(
    ends: Ends,
    sources: int,
    source: NDArray[Any],
    target: NDArray[Any],
    efferent: NDArray[Any],
    afferent: NDArray[Any],
    conductance: NDArray[Any],
) -> CompressedEdges:
    columns = {
        "conductance": Column(conductance, 1.0, "nS"),
        "efferent_junction_id": Column(efferent, 1, None, "u8"),
        "afferent_junction_id": Column(afferent, 1, None, "u8"),
    }
    return compressed(ends, sources, source, target, columns, electrical=True)


def write_edges(
    path: Path | str,
    edges: Iterable[EdgePopulation | CompressedEdges],
    sizes: Mapping[str, int],
    first_type: int = 0,
) -> None:
    """Write an edges file sorted by target, with the indices that afferent and efferent look-ups need.

    ``edges`` may be a generator: one population at a time is held, and of its edges in the order of the file one
    stretch. ``sizes`` gives the cells of every population; ``first_type`` is the number of the first one's type of
    edges. OutputError when the disk refuses.
    """
    with H5Output(path) as output:
        output.file.create_group("edges")
        for type_id, each in enumerate(edges, first_type):
            population = each.compressed(sizes[each.source]) if isinstance(each, EdgePopulation) else each
            _write_population(output, population, type_id, sizes[population.target])


def _write_population(output: H5Output, edges: CompressedEdges, type_id: int, targets: int) -> None:
    from noble_net.sonata.edge_kernels import in_degrees

    root, n = output.file.create_group(f"edges/{edges.name}"), len(edges.targets)
    begins = np.zeros(targets + 1, np.int64)
    in_degrees(edges.targets, begins[1:])
    np.cumsum(begins, out=begins)
    write_constant(root, "edge_type_id", type_id, n, "i8")
    write_constant(root, "edge_group_id", 0, n, "u4")
    for side in ("source", "target"):
        column = root.create_dataset(f"{side}_node_id", (n,), "u8")
        column.attrs["node_population"] = getattr(edges, side)
    root.create_dataset("edge_group_index", (n,), "u8")
    group = root.create_group("0")
    for name, each in edges.columns.items():
        column = group.create_dataset(name, (n,), each.dtype)
        if each.unit is not None:
            column.attrs["units"] = each.unit
    write_constant(group, "afferent_section_id", 0, n, "u4")
    write_constant(group, "afferent_section_pos", 0.5, n, "f4")
    if edges.electrical:
        _write_places(group, n)
    else:
        write_enumerated(group, "model_template", edges.synapse, n)
    _write_columns(output, root, edges, begins)
    _write_indices(output, root, edges, begins)


def _write_places(group: h5py.Group, n: int) -> None:
    """What the extension wants of a gap junction beside its conductance: it is at the soma, wherever that is."""
    for name in _CENTRES:
        write_constant(group, name, np.nan, n, "f4")
    for name in ("afferent_section_type", "afferent_segment_id"):
        write_constant(group, name, 0, n, "u4")
    for name in ("afferent_segment_offset", "spine_length"):
        write_constant(group, name, 0.0, n, "f4")


def _write_columns(output: H5Output, root: h5py.Group, edges: CompressedEdges, begins: Int64) -> None:
    from noble_net.sonata.edge_kernels import stretches, targets_stretch

    at = edges.indptr[:-1].copy()
    for first, last in stretches(begins, _EDGES_PER_STRETCH):
        part = slice(int(begins[first]), int(begins[last]))
        size = part.stop - part.start
        source, entry = np.empty(size, np.int64), np.empty(size, np.int64)
        targets_stretch(edges.indptr, edges.targets, at, begins, first, last, source, entry)
        root["source_node_id"][part] = source
        root["target_node_id"][part] = edges.targets[entry]
        root["edge_group_index"][part] = np.arange(part.start, part.stop, dtype=np.uint64)
        for name, each in edges.columns.items():
            root["0"][name][part] = (each.values[entry] * each.scale).astype(each.dtype)
        output.check()


def _write_indices(output: H5Output, root: h5py.Group, edges: CompressedEdges, begins: Int64) -> None:
    """The look-ups from a node to its edges, as libsonata's `EdgePopulation.write_indices` lays them out: for each
    node its [begin, end) of runs, and runs of neighbouring edges as [begin, end).

    Not left to libsonata: on a full disk its copy of HDF5 can neither finish nor let go of the file.
    """
    from noble_net.sonata.edge_kernels import sources_stretch, stretches

    group = root.create_group("indices/target_to_source")
    reached = np.flatnonzero(np.diff(begins))
    own = np.stack([begins[reached], begins[reached + 1]], axis=1)
    group.create_dataset("range_to_edge_id", data=own.astype(np.uint64))
    _write_ranges(group, (np.diff(begins) > 0).astype(np.int64))
    group = root.create_group("indices/source_to_target")
    runs = group.create_dataset("range_to_edge_id", (0, 2), "u8", maxshape=(None, 2), chunks=(8192, 2))
    counts, free, written = np.zeros(edges.indptr.size - 1, np.int64), begins[:-1].copy(), 0
    for first, last in stretches(edges.indptr, _EDGES_PER_STRETCH):
        ranges = np.empty((edges.indptr[last] - edges.indptr[first], 2), np.int64)
        found = sources_stretch(edges.indptr, edges.targets, free, first, last, ranges, counts[first:last])
        runs.resize(written + found, axis=0)
        runs[written:] = ranges[:found]
        written += found
        output.check()
    _write_ranges(group, counts)
    output.check()


def _write_ranges(group: h5py.Group, counts: Int64) -> None:
    last = np.cumsum(counts)
    ranges = np.stack([last - counts, last], axis=1).astype(np.uint64)
    group.create_dataset("node_id_to_ranges", data=ranges)
    group["node_id_to_range"] = group["node_id_to_ranges"]  # bmtk's name for it


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
