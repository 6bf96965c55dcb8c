"""From rule, weights and delays to a projection's arrays, at little more memory than they need themselves.

A rule gives its synapses by target cell (`noble_net.network.rules`). Weights and delays are drawn for a
stretch of targets at a time, from streams of their own keyed by the projection's name, and brought to their
places in the arrays grouped by source: beside the result, 10 bytes a synapse, only 4 bytes a synapse are held.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from noble_net.config import ProjectionSpec
from noble_net.network import random_kernels, rules, wiring_kernels
from noble_net.network.geometry import Places, distances
from noble_net.network.given import GivenError, NodeIds
from noble_net.network.random import quantile, stream_key
from noble_net.network.rows import Rows
from noble_net.network.rules import Setting, draw_rows
from noble_net.network.threads import Block, blocks_of, in_threads
from noble_net.specs.basics import MAX_DELAY
from noble_net.specs.distribution import Distribution
from noble_net.specs.projections import DelayByDistance
from noble_net.specs.rule_parameters import Ends
from noble_net.types import DT, Float32, Float64, Int32, Int64, UInt16

_PER_STRETCH = 1 << 17
"""Synapses whose weights and delays a thread draws at a time."""


class Extent(NamedTuple):
    """All synapses of a projection, wherever they are: how many, their shortest and longest delay in samples (0 without
    any), and a sum over them by which they are told from others."""

    size: int
    shortest: int
    longest: int
    fingerprint: int


@dataclass(frozen=True)
class ProjectionArrays:
    """The synapses of one projection, compressed by source and sorted by (source, target).

    The synapses of source i are entries ``indptr[i]`` to ``indptr[i + 1]`` of ``target`` (int32, cell index
    within the target population), ``weight`` (float32, nS or pA) and ``delay`` (uint16, samples).

    Where several processes share a network, these are the synapses onto the cells of this one: ``target`` counts from
    ``first``, and ``whole`` tells of all.
    """

    name: str
    source: str
    target_population: str
    synapse: str
    indptr: Int64
    target: Int32
    weight: Float32
    delay: UInt16
    first: int = 0
    whole: Extent | None = None

    @property
    def size(self) -> int:
        """Number of synapses here."""
        return int(self.target.size)

    @property
    def total(self) -> int:
        """Number of synapses, of all processes."""
        return self.size if self.whole is None else self.whole.size

    @property
    def delays(self) -> tuple[int, int]:
        """The shortest and the longest delay, of all processes, in samples; 0 without synapses."""
        if self.whole is not None:
            return self.whole.shortest, self.whole.longest
        return (int(self.delay.min()), int(self.delay.max())) if self.size else (0, 0)

    def extent(self) -> Extent:
        """What there is to know of all synapses; of those here where nothing is known of others."""
        if self.whole is not None:
            return self.whole
        arrays = self.indptr, self.target, self.weight.view(np.uint32), self.delay
        return Extent(self.size, *self.delays, int(wiring_kernels.fingerprint(*arrays, self.first)))

    @property
    def source_ids(self) -> Int32:
        """Source cell of every synapse, int32 [synapses]."""
        sources = np.arange(self.indptr.size - 1, dtype=np.int32)
        return np.repeat(sources, np.diff(self.indptr))


def connect(
    spec: ProjectionSpec,
    sources: int,
    targets: int,
    seed: int,
    places: Places | None = None,
    conductance: bool = False,
    nodes: NodeIds = (None, None),
    own: range | None = None,
) -> ProjectionArrays:
    """Draw a projection between populations of the given sizes. Delays are rounded to whole samples.

    ``places`` are needed where distance counts; ``conductance`` says what weights in files mean, ``nodes`` by which
    node ids SONATA files know the cells. Only synapses onto the targets ``own``, if given. Raises GivenError for a file
    or a generator that does not fit, and for delays longer than a ring can hold.
    """
    setting = _setting(spec, sources, targets, seed, places, conductance, nodes)
    rows = draw_rows(spec.rule, setting._replace(own=own))
    size = rows.source.size
    target, weight, delay = np.empty(size, np.int32), np.empty(size, np.float32), np.empty(size, np.uint16)

    def numbers(block: Block) -> Int64:
        begin, end = rows.indptr[list(block)]
        return np.diff(wiring_kernels.row_pointers(rows.source[begin:end], sources))

    blocks = blocks_of(rows.indptr)
    counts = np.stack(in_threads(numbers, blocks))
    indptr = np.concatenate([np.zeros(1, np.int64), counts.sum(axis=0).cumsum()])
    # Of each source, the synapses of one block of targets behind those of the blocks before.
    free = indptr[:-1] + counts.cumsum(axis=0) - counts

    def fill(number: int) -> None:
        for begin, end in _stretches(rows.indptr, blocks[number]):
            weights = _weights(spec, rows, begin, end, seed)
            delays = _delays(spec, rows, begin, end, seed, places)
            wiring_kernels.place(
                rows.indptr, rows.source, begin, end, weights, delays, free[number], target, weight, delay
            )

    in_threads(fill, range(len(blocks)))
    first = 0 if own is None else own.start
    target -= np.int32(first)
    ends = spec.name, spec.source, spec.target, spec.synapse
    return ProjectionArrays(*ends, indptr, target, weight, delay, first)


def expected_size(
    spec: ProjectionSpec,
    sources: int,
    targets: int,
    seed: int = 1,
    places: Places | None = None,
    conductance: bool = False,
    nodes: NodeIds = (None, None),
) -> int:
    """Number of synapses a projection is going to have: exact, or the mean for a random number."""
    return rules.expected_size(spec.rule, _setting(spec, sources, targets, seed, places, conductance, nodes))


def _setting(
    spec: ProjectionSpec,
    sources: int,
    targets: int,
    seed: int,
    places: Places | None,
    conductance: bool,
    nodes: NodeIds,
) -> Setting:
    ends = Ends(sources, targets, spec.source == spec.target)
    return Setting(ends, stream_key(seed, "connect", spec.name), places, conductance, nodes)


def _stretches(indptr: Int64, rows: Block) -> Iterator[Block]:
    """Consecutive rows with some _PER_STRETCH synapses together, at least one row each."""
    first, end = rows
    while first < end:
        last = int(np.searchsorted(indptr, indptr[first] + _PER_STRETCH, side="right")) - 1
        last = min(max(last, first + 1), end)
        yield first, last
        first = last


def _weights(spec: ProjectionSpec, rows: Rows, first: int, last: int, seed: int) -> Float32:
    """Weights of the synapses onto the targets from ``first`` to ``last``."""
    if spec.weight is None:
        if rows.weight is None:
            raise GivenError("the file has no weights", "give `weight: …` beside the rule")
        return rows.weight[rows.indptr[first] : rows.indptr[last]]
    return _drawn(spec.weight, "weight", spec.name, rows.indptr, first, last, seed).astype(np.float32)


def _delays(
    spec: ProjectionSpec, rows: Rows, first: int, last: int, seed: int, places: Places | None
) -> UInt16:
    """Delays in samples, likewise."""
    begin, end = rows.indptr[first], rows.indptr[last]
    if spec.delay is None:
        if rows.delay is None:
            raise GivenError("the file has no delays", "give `delay: …` beside the rule")
        milliseconds = rows.delay[begin:end]
    elif isinstance(spec.delay, DelayByDistance):
        if places is None:
            raise ValueError("a delay that depends on distance needs positions")
        by_distance = spec.delay.distance
        milliseconds = _drawn(by_distance.offset, "delay", spec.name, rows.indptr, first, last, seed)
        pointers, source = rows.indptr[first : last + 1] - begin, rows.source[begin:end]
        milliseconds += distances(places, pointers, source, first) / by_distance.velocity
    else:
        milliseconds = _drawn(spec.delay, "delay", spec.name, rows.indptr, first, last, seed)
    samples = np.rint(milliseconds / DT)
    if samples.size and samples.max() > MAX_DELAY / DT + 0.5:
        problem = f"projection {spec.name} has a delay of {milliseconds.max():g} ms"
        raise GivenError(problem, f"keep delays below {MAX_DELAY:g} ms, a distribution with `max`")
    return samples.astype(np.uint16)


def _drawn(
    distribution: Distribution, purpose: str, name: str, indptr: Int64, first: int, last: int, seed: int
) -> Float64:
    if distribution.kind == "constant":
        return np.full(indptr[last] - indptr[first], distribution.a)
    key = stream_key(seed, purpose, name)
    return quantile(distribution, random_kernels.row_uniforms(key, indptr[first : last + 1], first))
