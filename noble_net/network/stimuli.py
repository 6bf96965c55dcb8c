"""Stimuli: input that comes from outside the network, as sequences of 0.1 ms samples.

Every stimulus is a pure function of (seed, its name, cell, absolute sample), so any backend can ask for any
stretch and gets the same numbers. Samples are made in chunks that are kept, because simulators ask for short
blocks in order; going back in time is allowed but starts an Ornstein-Uhlenbeck process over.

Absolute sample 0 is the start of the warm-up; the times of a step count from its end, as recorded times do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from noble_net.config import NetworkSpec, OrnsteinUhlenbeckSpec, PoissonSpec, StepSpec, StimulusSpec
from noble_net.network import stimulus_kernels
from noble_net.network.random import cell_uniforms, normals, quantile, stream_key
from noble_net.network.synapses import fixed_point
from noble_net.specs.distribution import Distribution
from noble_net.types import DT, Float32, Float64, Int32

if TYPE_CHECKING:
    from noble_net.network.build import Network

CHUNK = 32
"""Samples made at a time; a multiple of the four that share one random counter."""


class Seeds(NamedTuple):
    """The network's seed, which draws per-cell parameters, and the seed of the noise."""

    network: int
    noise: int


class OrnsteinUhlenbeck:
    """Exponentially correlated Gaussian noise, stationary from the first sample, independent per cell or shared.

    x(t + dt) = μ + (x(t) − μ)·e^(−dt/τ) + σ·√(1 − e^(−2dt/τ))·ξ, the exact discretisation. An injected
    current in nA, or with ``reversal`` (mV) a conductance in nS whose negative values are set to zero. Shared
    noise is one ξ for all cells, each around its own μ; it depends on (seed, name) and not on how many they are.
    """

    def __init__(self, spec: OrnsteinUhlenbeckSpec, name: str, target: str, cells: int, seeds: Seeds) -> None:
        self.name, self.target, self.reversal = name, target, spec.reversal
        self._key = stream_key(seeds.noise, "noise", name)
        self._mean = _per_cell(spec.mean, cells, seeds.network, f"{name}/mean")
        self._sigma, self._decay = spec.sigma, math.exp(-DT / spec.tau)
        rows = 1 if spec.shared else cells
        self._centre = np.zeros(1) if spec.shared else self._mean
        self._deviation: Float64 = np.zeros(rows, np.float64)
        self._noise: Float32 = np.empty((rows, CHUNK), np.float32)
        self._chunk = np.empty((cells, CHUNK), np.float32) if spec.shared else self._noise
        self._index = -1

    def values(self, start: int, samples: int) -> Float32:
        """Values float32 [cells, samples] from absolute sample ``start`` on (nA or nS)."""
        return _joined(self.pieces(start, samples))

    def pieces(self, start: int, samples: int) -> Iterator[Float32]:
        """The same in consecutive stretches: views of a buffer, each valid until the next is asked for."""
        for index, part in _chunks(start, samples):
            self._advance_to(index)
            yield self._chunk[:, part]

    def _advance_to(self, index: int) -> None:
        if index < self._index:
            self._index = -1
        while self._index < index:
            self._index += 1
            noise = normals(self._key, len(self._deviation), self._index * CHUNK, CHUNK)
            first = self._index == 0
            stimulus_kernels.ornstein_uhlenbeck(
                noise, self._deviation, self._sigma, self._decay, first, self._centre, self._noise
            )
            if self._chunk is not self._noise:
                np.add(self._mean[:, None], self._noise, out=self._chunk, casting="same_kind")
            if self.reversal is not None:
                np.maximum(self._chunk, 0.0, out=self._chunk)


class Step:
    """A current (nA) that is constant between two times and zero elsewhere."""

    reversal: float | None = None

    def __init__(self, spec: StepSpec, name: str, target: str, cells: int, seed: int, warmup: float) -> None:
        self.name, self.target = name, target
        self._amplitude = _per_cell(spec.amplitude, cells, seed, f"{name}/amplitude").astype(np.float32)
        self._start, self._stop = round((spec.start + warmup) / DT), round((spec.stop + warmup) / DT)

    def values(self, start: int, samples: int) -> Float32:
        """Values float32 [cells, samples] from absolute sample ``start`` on (nA)."""
        sample = np.arange(start, start + samples)
        on = (sample >= self._start) & (sample < self._stop)
        return self._amplitude[:, None] * on.astype(np.float32)

    def pieces(self, start: int, samples: int) -> Iterator[Float32]:
        """The same in one stretch, or nothing at all where the current is off."""
        if start < self._stop and start + samples > self._start:
            yield self.values(start, samples)


class Poisson:
    """Poisson spike trains, one per cell, arriving through a synapse at the start of the sample they fall in.

    ``weight`` float32 [cells], nS or pA, is drawn once per cell.
    """

    def __init__(self, spec: PoissonSpec, name: str, target: str, cells: int, seeds: Seeds) -> None:
        self.name, self.target, self.synapse = name, target, spec.synapse
        self.weight: Float32 = _per_cell(spec.weight, cells, seeds.network, f"{name}/weight").astype(
            np.float32
        )
        self.fixed_weight = fixed_point(self.weight.astype(np.float64))
        self._key = stream_key(seeds.noise, "noise", name)
        self._expected = spec.rate * DT / 1000.0
        self._chunk: Int32 = np.empty((cells, CHUNK), np.int32)
        self._index = -1

    def counts(self, start: int, samples: int) -> Int32:
        """Number of events int32 [cells, samples] from absolute sample ``start`` on."""
        return np.concatenate([piece.copy() for piece in self.pieces(start, samples)], axis=1)

    def pieces(self, start: int, samples: int) -> Iterator[Int32]:
        """The same in consecutive stretches: views of a buffer, each valid until the next is asked for."""
        for index, part in _chunks(start, samples):
            if index != self._index:
                stimulus_kernels.poisson_counts(self._key, self._expected, index * CHUNK, self._chunk)
                self._index = index
            yield self._chunk[:, part]


Injection = OrnsteinUhlenbeck | Step


def inject(
    stimulus: Injection,
    start: int,
    current: Float32,
    conductance: Float32,
    reversal_current: Float32,
) -> None:
    """Add the block from sample ``start`` on to one zone's drive, float32 [cells, samples] each."""
    at = 0
    for piece in stimulus.pieces(start, current.shape[1]):
        part = slice(at, at + piece.shape[1])
        at = part.stop
        if stimulus.reversal is None:
            current[:, part] += piece
        else:
            conductance[:, part] += piece
            reversal_current[:, part] += piece * np.float32(stimulus.reversal)


def make_stimulus(spec: StimulusSpec, network: NetworkSpec) -> Injection | Poisson:
    """The stimulus a network file describes, with its seed and warm-up."""
    name, cells = stimulus_name(spec), network.populations[spec.to].size
    seeds = Seeds(network.seed, network.seed_of_noise)
    parameters = spec.parameters
    if isinstance(parameters, OrnsteinUhlenbeckSpec):
        return OrnsteinUhlenbeck(parameters, name, spec.to, cells, seeds)
    if isinstance(parameters, StepSpec):
        return Step(parameters, name, spec.to, cells, network.seed, network.warmup)
    return Poisson(parameters, name, spec.to, cells, seeds)


def shared_signal(network: NetworkSpec, name: str) -> Float64:
    """What a shared stimulus adds to its mean, in every cell alike, float64 [samples] over the recorded time.

    In nA or nS, one value per 0.1 ms from the end of the warm-up on. A function of (noise seed, name, warm-up,
    duration) and the stimulus's own sigma and tau: no run is needed to get it back. A conductance is told before
    it is cut off at 0. Raises ValueError when the network has no shared stimulus of that name.
    """
    parameters = {spec.name: spec.ornstein_uhlenbeck for spec in network.stimuli}.get(name)
    if parameters is None or not parameters.shared:
        raise ValueError(f"network {network.name} has no shared stimulus {name!r}")
    alone = parameters.model_copy(update={"mean": Distribution(a=0.0, unit="nA"), "reversal": None})
    source = OrnsteinUhlenbeck(alone, name, "", 1, Seeds(network.seed, network.seed_of_noise))
    warmup, samples = round(network.warmup / DT), round(network.duration / DT)
    return source.values(0, warmup + samples)[0, warmup:].astype(np.float64)


class NetworkInputs(NamedTuple):
    """What drives a network, in an order that does not depend on the file's, so that sums do not either."""

    injections: list[Injection]
    poisson: list[Poisson]
    synapses: list[tuple[str, str]]
    """(target population, synapse) of every kind of synapse in use."""


def network_inputs(network: Network) -> NetworkInputs:
    """The stimuli of a built network and the synapses that they or its projections act through."""
    stimuli = [make_stimulus(spec, network.spec) for spec in network.spec.stimuli]
    stimuli.sort(key=lambda stimulus: stimulus.name)
    poisson = [stimulus for stimulus in stimuli if isinstance(stimulus, Poisson)]
    needed = {(each.target_population, each.synapse) for each in network.projections if each.size}
    needed |= {(stimulus.target, stimulus.synapse) for stimulus in poisson}
    injections = [stimulus for stimulus in stimuli if not isinstance(stimulus, Poisson)]
    return NetworkInputs(injections, poisson, sorted(needed))


def stimulus_name(spec: StimulusSpec) -> str:
    """The name that keys a stimulus's noise; a network gives one to every stimulus."""
    if spec.name is None:
        raise ValueError("a stimulus of a validated network has a name")
    return spec.name


def _per_cell(distribution: Distribution, cells: int, seed: int, name: str) -> Float64:
    return quantile(distribution, cell_uniforms(seed, "stimulus", name, cells))


def _chunks(start: int, samples: int) -> Iterator[tuple[int, slice]]:
    """The chunks a stretch of samples touches, with the part of each that is meant."""
    at, stop = start, start + samples
    while at < stop:
        index, offset = divmod(at, CHUNK)
        end = min(CHUNK, offset + stop - at)
        yield index, slice(offset, end)
        at += end - offset


def _joined(pieces: Iterator[Float32]) -> Float32:
    return np.concatenate([piece.copy() for piece in pieces], axis=1)
