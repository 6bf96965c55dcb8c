"""Injected noise: Ornstein-Uhlenbeck, white, and shot noise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from noble_net.network import stimulus_kernels
from noble_net.network.injection import CHUNK, Chunked, Injection, Target, Timing, held, per_cell
from noble_net.network.random import normals, stream_key
from noble_net.network.synapses import time_course
from noble_net.specs.stimuli import NoiseSpec, OrnsteinUhlenbeckSpec, ShotNoiseSpec
from noble_net.types import DT, Float32, Float64


class OrnsteinUhlenbeck(Chunked):
    """Exponentially correlated Gaussian noise, stationary from the first sample, independent per cell or shared.

    x(t + dt) = μ + (x(t) − μ)·e^(−dt/τ) + σ·√(1 − e^(−2dt/τ))·ξ, the exact discretisation. An injected
    current in nA, or with ``reversal`` (mV) a conductance in nS whose negative values are set to zero. Shared
    noise is one ξ for all cells, each around its own μ; it depends on (seed, name) and not on how many they are.
    """

    def __init__(self, spec: OrnsteinUhlenbeckSpec, name: str, target: Target, timing: Timing) -> None:
        super().__init__(name, target, timing.window(spec.delay, spec.duration), spec.reversal)
        self.key = stream_key(timing.noise_seed, "noise", name)
        self.mean = per_cell(spec.mean, target, timing.seed, f"{name}/mean")
        one = Target.whole(target.population, 1) if spec.shared else target
        self.shared, self.drawn = spec.shared, one.cells
        self.sigma = per_cell(spec.sigma, one, timing.seed, f"{name}/sigma")
        self.decay = np.exp(-DT / per_cell(spec.tau, one, timing.seed, f"{name}/tau"))
        self.centre = np.zeros(1) if spec.shared else self.mean
        self.state["deviation"] = np.zeros(len(one.cells), np.float64)
        if spec.shared:
            self.common |= {"deviation"}
        self._noise = np.empty((1, CHUNK), np.float32) if spec.shared else self.state["chunk"]

    def _next_chunk(self, index: int) -> None:
        noise = normals(self.key, self.drawn, index * CHUNK, CHUNK)
        stimulus_kernels.ornstein_uhlenbeck(
            noise,
            self.state["deviation"],
            self.sigma,
            self.decay,
            index == self.first,
            self.centre,
            self._noise,
        )
        chunk = self.state["chunk"]
        if self.shared:
            np.add(self.mean[:, None], self._noise, out=chunk, casting="same_kind")
        if self.reversal is not None:
            np.maximum(chunk, 0.0, out=chunk)


class WhiteNoise(Injection):
    """Gaussian values, independent per cell and interval of ``dt``, counted from the stimulus's beginning."""

    def __init__(self, spec: NoiseSpec, name: str, target: Target, timing: Timing) -> None:
        super().__init__(name, target, timing.window(spec.delay, spec.duration))
        self.key = stream_key(timing.noise_seed, "noise", name)
        self.mean = per_cell(spec.mean, target, timing.seed, f"{name}/mean")[:, None]
        self.sigma = per_cell(spec.sigma, target, timing.seed, f"{name}/sigma")[:, None]
        self.every = round(spec.dt / DT)

    def _stretches(self, start: int, samples: int) -> Iterator[Float32]:
        first, offset = divmod(start - self.on, self.every)
        intervals = -(-(offset + samples) // self.every)
        noise = normals(self.key, self.cells, first, intervals)
        values = (self.mean + self.sigma * noise).astype(np.float32)
        yield held(values, self.every, offset, samples)


class ShotNoise(Chunked):
    """Shots at Poisson times, each (e^(−t/decay) − e^(−t/rise)) scaled to a gamma-distributed peak.

    A shot begins with the sample it falls in, and a sample has the mean of the shots' course over it, so that their
    charge is exact. Without shots before its beginning, it is stationary some decay times later. Campbell: its mean is
    rate · amp_mean · ∫shot, its variance about rate · (amp_mean² + amp_std²) · ∫shot².
    """

    def __init__(self, spec: ShotNoiseSpec, name: str, target: Target, timing: Timing) -> None:
        super().__init__(name, target, timing.window(spec.delay, spec.duration), spec.reversal)
        self._key = stream_key(timing.noise_seed, "noise", name)
        rise, decay, rate, mean, std = (
            per_cell(getattr(spec, key), target, timing.seed, f"{name}/{key}")
            for key in ("rise", "decay", "rate", "amp_mean", "amp_std")
        )
        self._constants = _shot_constants(rise, decay, rate, mean, std)
        self.state["decaying"] = np.zeros(len(self.cells), np.float64)
        self.state["rising"] = np.zeros(len(self.cells), np.float64)

    def _next_chunk(self, index: int) -> None:
        decaying, rising = self.state["decaying"], self.state["rising"]
        if index == self.first:
            decaying.fill(0.0)
            rising.fill(0.0)
        stimulus_kernels.shot_noise(
            self._key,
            self.cells,
            self._constants,
            decaying,
            rising,
            index * CHUNK,
            self.on,
            self.off,
            self.state["chunk"],
        )


def _shot_constants(rise: Float64, decay: Float64, rate: Float64, mean: Float64, std: Float64) -> Float64:
    """The constants of ``stimulus_kernels.shot_noise``, float64 [cells, 8]."""
    courses = np.array([time_course(*each) for each in zip(rise, decay, strict=True)]).reshape(-1, 3)
    rise, decay, factor = courses.T
    steps = (-DT / decay, -DT / rise)
    keep, share = [np.exp(step) for step in steps], [np.expm1(step) / step for step in steps]
    return np.stack([rate * (DT / 1000.0), mean, std**2, factor, *keep, *share], axis=1)
