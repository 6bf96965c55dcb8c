"""What every stimulus is: input to some cells of a population, by absolute sample, the same however it is asked for.

Absolute sample 0 is the start of the warm-up; the times of a stimulus count from its end, as recorded times do. Every
stimulus is a function of (seed, its name, cell, absolute sample), so any backend can ask for any stretch and gets the
same numbers. Going back in time is allowed but starts a process with memory over.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noble_net.network.random import cell_uniforms, quantile
from noble_net.specs.distribution import Distribution
from noble_net.types import DT, Float32, Float64, Int64, Real

CHUNK = 32
"""Samples made at a time where it pays; a multiple of the four that share one random counter."""
FOREVER = 2**62


class Target(NamedTuple):
    """The cells a stimulus goes to: ``cells`` are ids within a population of ``size``, int64, ascending.

    Where several processes share a network, those that are among the cells ``own`` of this one, ``skipped`` others of
    them coming before.
    """

    population: str
    size: int
    cells: Int64
    own: range | None = None
    skipped: int = 0

    @property
    def here(self) -> range:
        """The cells of the population in this process."""
        return range(self.size) if self.own is None else self.own

    @property
    def rows(self) -> Int64:
        """The stimulus's cells, counted through those."""
        return self.cells - self.here.start

    def within(self, own: range | None) -> Target:
        """Those of the cells that are among ``own``."""
        if own is None:
            return self
        begin, end = np.searchsorted(self.cells, (own.start, own.stop)).tolist()
        return Target(self.population, self.size, self.cells[begin:end], own, begin)

    @staticmethod
    def whole(population: str, size: int) -> Target:
        """All cells of a population."""
        return Target(population, size, np.arange(size, dtype=np.int64))


class Timing(NamedTuple):
    """The seeds of the network (per-cell parameters) and of the noise, and the samples of the warm-up."""

    seed: int
    noise_seed: int
    warmup: int

    def window(self, delay: float | None, duration: float | None) -> tuple[int, int]:
        """The absolute samples from which and before which a stimulus acts; ``delay`` and ``duration`` in ms."""
        on = 0 if delay is None else self.warmup + round(delay / DT)
        begin = self.warmup if delay is None else on
        return on, FOREVER if duration is None else begin + round(duration / DT)


class Injection(ABC):
    """An injected current (nA), or with ``reversal`` (mV) a conductance (nS), zero outside samples ``on`` … ``off``.

    ``rows`` picks its cells out of an array of all cells of the population ``target`` in this process. ``state`` holds
    all that changes as it goes on: copying and refilling its arrays saves and restores it; those named in ``common``
    have no row per cell.
    """

    common: frozenset[str] = frozenset()

    def __init__(
        self, name: str, target: Target, window: tuple[int, int], reversal: float | None = None
    ) -> None:
        self.name, self.target, self.reversal = name, target.population, reversal
        self.cells = target.cells
        self.rows: slice | Int64 = slice(None) if len(target.cells) == len(target.here) else target.rows
        self.on, self.off = window
        self.state: dict[str, NDArray[Any]] = {}

    def values(self, start: int, samples: int) -> Float32:
        """Values float32 [cells, samples] from absolute sample ``start`` on (nA or nS)."""
        out = np.zeros((len(self.cells), samples), np.float32)
        for part, piece in self.pieces(start, samples):
            out[:, part] = piece
        return out

    def pieces(self, start: int, samples: int) -> Iterator[tuple[slice, Float32]]:
        """The same where it acts, in consecutive stretches: which of the samples asked for, and their values, a view
        of a buffer that is valid until the next is asked for."""
        at, stop = max(start, self.on), min(start + samples, self.off)
        if stop <= at:
            return
        for piece in self._stretches(at, stop - at):
            yield slice(at - start, at - start + piece.shape[1]), piece
            at += piece.shape[1]

    @abstractmethod
    def _stretches(self, start: int, samples: int) -> Iterator[Float32]:
        """Consecutive values float32 [cells, …] of samples inside the window."""


class Chunked(Injection):
    """An injection with memory, made in chunks of CHUNK samples one after the other from that of ``on`` onwards."""

    common = frozenset({"index"})

    def __init__(
        self, name: str, target: Target, window: tuple[int, int], reversal: float | None = None
    ) -> None:
        super().__init__(name, target, window, reversal)
        self.first = self.on // CHUNK
        self.state["index"] = np.array([self.first - 1], np.int64)
        self.state["chunk"] = np.zeros((len(self.cells), CHUNK), np.float32)

    def _stretches(self, start: int, samples: int) -> Iterator[Float32]:
        index = self.state["index"]
        for wanted, part in chunks(start, samples):
            if wanted < index[0]:
                index[0] = self.first - 1
            while index[0] < wanted:
                index[0] += 1
                self._next_chunk(int(index[0]))
            yield self.state["chunk"][:, part]

    @abstractmethod
    def _next_chunk(self, index: int) -> None:
        """Fill the chunk of this number, which follows the last one or is ``first``, where the process begins."""


def inject(stimulus: Injection, start: int, current: Real, conductance: Real, reversal_current: Real) -> None:
    """Add the block from sample ``start`` on to the drive of one zone of the target population, [cells, samples]
    each."""
    rows = stimulus.rows
    for part, piece in stimulus.pieces(start, current.shape[1]):
        if stimulus.reversal is None:
            current[rows, part] += piece
        else:
            conductance[rows, part] += piece
            reversal_current[rows, part] += piece * np.float32(stimulus.reversal)


def per_cell(distribution: Distribution, target: Target, seed: int, name: str) -> Float64:
    """A value for each cell of the target, float64 [cells], keyed by its id within the population."""
    if distribution.kind == "constant":
        return np.full(len(target.cells), distribution.a)
    return quantile(distribution, cell_uniforms(seed, "stimulus", name, target.size)[target.cells])


def held(values: Float32, every: int, offset: int, samples: int) -> Float32:
    """``samples`` of values [cells, intervals] that are held for ``every`` samples each, from sample ``offset`` on."""
    return np.take(values, (offset + np.arange(samples)) // every, axis=1)


def chunks(start: int, samples: int) -> Iterator[tuple[int, slice]]:
    """The chunks a stretch of samples touches, with the part of each that is meant."""
    at, stop = start, start + samples
    while at < stop:
        index, offset = divmod(at, CHUNK)
        end = min(CHUNK, offset + stop - at)
        yield index, slice(offset, end)
        at += end - offset
