"""Stimuli through synapses: Poisson spikes, and spikes replayed from a file, as counts per cell and sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from noble_net.network import stimulus_kernels
from noble_net.network.injection import CHUNK, Target, Timing, chunks, per_cell
from noble_net.network.random import stream_key
from noble_net.network.stimulus_files import read_rate_table
from noble_net.network.synapses import fixed_point
from noble_net.network.waveforms import RADIANS_PER_SAMPLE
from noble_net.sonata.spikes import SpikeStream
from noble_net.specs.afferents import PoissonSpec, SynapseReplaySpec
from noble_net.types import DT, Float32, Float64, Int32, Int64


class Arrivals(Protocol):
    """The synapses of a population, as far as events reach them at once; see `SynapseBank`."""

    def arrive(self, start: int, counts: Int32, weight: Int64) -> None:
        """Counted events, of all cells."""

    def arrive_each(self, cells: Int64, samples: Int64, weights: Int64) -> None:
        """Single events."""


class Afferents(ABC):
    """Spikes that arrive at the cells of a population through a synapse, at the start of the sample they fall in.

    They arrive at ``sites``, the cell of each int64 [sites]: one for every cell of the population unless a kind has
    others. ``weight`` float32 [sites], nS or pA, is drawn once per cell, and 0 of cells that are not meant. Where
    several processes share a network, the population's cells are those of this one, from ``first`` on.
    """

    def __init__(
        self, spec: PoissonSpec | SynapseReplaySpec, name: str, target: Target, timing: Timing
    ) -> None:
        self.name, self.target, self.synapse = name, target.population, spec.synapse
        self.cells, self.first = target.cells, target.here.start
        self.sites: Int64 = np.arange(len(target.here), dtype=np.int64)
        self.weight: Float32 = np.zeros(len(target.here), np.float32)
        if spec.weight is not None:
            self.weight[target.rows] = per_cell(spec.weight, target, timing.seed, f"{name}/weight")
        self.fixed_weight = fixed_point(self.weight.astype(np.float64))

    def deliver(self, start: int, samples: int, bank: Arrivals) -> None:
        """Let the events of ``samples`` from absolute sample ``start`` on arrive at the synapses of all cells."""
        for counts in self.pieces(start, samples):
            bank.arrive(start, counts, self.fixed_weight)
            start += counts.shape[1]

    def counts(self, start: int, samples: int) -> Int32:
        """Number of events int32 [sites, samples] from absolute sample ``start`` on."""
        return np.concatenate([piece.copy() for piece in self.pieces(start, samples)], axis=1)

    @abstractmethod
    def pieces(self, start: int, samples: int) -> Iterator[Int32]:
        """The same in consecutive stretches: views of a buffer, each valid until the next is asked for."""


class Poisson(Afferents):
    """Poisson spike trains, independent per cell, at a constant, sinusoidal or tabulated rate.

    A rate that changes is taken in the middle of each sample. Beyond 1e6 Hz it counts as that.
    """

    def __init__(self, spec: PoissonSpec, name: str, target: Target, timing: Timing) -> None:
        super().__init__(spec, name, target, timing)
        self._spec, self._warmup = spec, timing.warmup
        self._on, self._off = timing.window(spec.delay, spec.duration)
        self.key = stream_key(timing.noise_seed, "noise", name)
        if spec.rate is None:
            self.expected: Float64 = np.full(len(self.cells), DT / 1000.0)
        else:
            self.expected = per_cell(spec.rate, target, timing.seed, f"{name}/rate") * DT / 1000.0
        self._table = None if spec.rate_table is None else read_rate_table(spec.rate_table)
        self._chunk: Int32 = np.zeros((len(target.here), CHUNK), np.int32)
        self._index = -1

    def pieces(self, start: int, samples: int) -> Iterator[Int32]:
        """See `Afferents`."""
        for index, part in chunks(start, samples):
            if index != self._index:
                at = index * CHUNK
                stimulus_kernels.poisson_counts(
                    self.key, self.cells, self.expected, self.factor(at), at, self._chunk, self.first
                )
                self._index = index
            yield self._chunk[:, part]

    def factor(self, start: int) -> Float64:
        """What the rate is multiplied with in each sample of a chunk; the rate itself (Hz) of a table."""
        sample = np.arange(start, start + CHUNK)
        factor = np.ones(CHUNK)
        if self._table is not None:
            times, rates = self._table
            row = np.searchsorted(times, (sample - self._warmup + 0.5) * DT, side="right")
            factor = np.where(row > 0, rates[row - 1], 0.0)
        elif self._spec.frequency is not None:
            step = self._spec.frequency * RADIANS_PER_SAMPLE
            first = start - self._warmup
            stimulus_kernels.modulation(self._spec.modulation, step, self._spec.phase, first, factor)
        return np.where((sample >= self._on) & (sample < self._off), factor, 0.0)


class SynapseReplay(Afferents):
    """Spikes of a SONATA file, read in stretches as the run goes on."""

    def __init__(self, spec: SynapseReplaySpec, name: str, target: Target, timing: Timing) -> None:
        super().__init__(spec, name, target, timing)
        self._spikes, self._skipped = SpikeStream(spec.file, spec.population), target.skipped
        self._shift = timing.warmup + (spec.delay or 0.0) / DT
        self._each, self._probability = spec.map == "all", spec.probability
        self._key = stream_key(timing.seed, "stimulus", f"{name}/connected")

    def pieces(self, start: int, samples: int) -> Iterator[Int32]:
        """See `Afferents`."""
        out = np.zeros((len(self.weight), samples), np.int32)
        begin, end = ((edge - self._shift) * DT for edge in (start - 1, start + samples + 1))
        times, sources = self._spikes.between(begin, end)
        sample = np.floor(times / DT + self._shift + 1e-6).astype(np.int64) - start
        inside = (sample >= 0) & (sample < samples)
        connected = self._each, self._probability, self._key
        places = self.cells, self._skipped, self.first
        stimulus_kernels.replay_counts(sources[inside], sample[inside], *connected, out, *places)
        yield out
