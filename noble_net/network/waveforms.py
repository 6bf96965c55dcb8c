"""Injected currents with a closed form: steps, ramps, pulses, sines. Values count from a stimulus's beginning."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from noble_net.network import stimulus_kernels
from noble_net.network.injection import Injection, Target, Timing, per_cell
from noble_net.specs.stimuli import LinearSpec, PulseSpec, SinusoidalSpec, StepSpec
from noble_net.types import DT, Float32

RADIANS_PER_SAMPLE = 2.0 * math.pi * DT / 1000.0
"""The phase that an oscillation of 1 Hz gains in one sample."""


class Step(Injection):
    """A current that is constant between two times and zero elsewhere."""

    def __init__(self, spec: StepSpec, name: str, target: Target, timing: Timing) -> None:
        super().__init__(name, target, timing.window(spec.start, spec.stop - spec.start))
        amplitude = per_cell(spec.amplitude, target, timing.seed, f"{name}/amplitude")
        self.amplitude = amplitude.astype(np.float32)

    def _stretches(self, start: int, samples: int) -> Iterator[Float32]:
        yield np.repeat(self.amplitude[:, None], samples, axis=1)


class Linear(Injection):
    """A ramp; each sample has the ramp's mean over it, so that the charge is exact."""

    def __init__(self, spec: LinearSpec, name: str, target: Target, timing: Timing) -> None:
        super().__init__(name, target, timing.window(spec.delay, spec.duration))
        self._begin = per_cell(spec.amp_start, target, timing.seed, f"{name}/amp_start")
        self._end = per_cell(spec.amp_end, target, timing.seed, f"{name}/amp_end")

    def _stretches(self, start: int, samples: int) -> Iterator[Float32]:
        out = np.empty((len(self.cells), samples), np.float32)
        stimulus_kernels.ramp(self._begin, self._end, start - self.on, self.off - self.on, out)
        yield out


class Pulse(Injection):
    """Rectangular pulses at a frequency; one that would begin within a sample begins with the next."""

    def __init__(self, spec: PulseSpec, name: str, target: Target, timing: Timing) -> None:
        super().__init__(name, target, timing.window(spec.delay, spec.duration))
        self._amplitude = per_cell(spec.amp, target, timing.seed, f"{name}/amp")
        self._width = per_cell(spec.width, target, timing.seed, f"{name}/width") / DT
        self._period = 1000.0 / DT / per_cell(spec.frequency, target, timing.seed, f"{name}/frequency")

    def _stretches(self, start: int, samples: int) -> Iterator[Float32]:
        out = np.empty((len(self.cells), samples), np.float32)
        stimulus_kernels.pulses(self._amplitude, self._width, self._period, start - self.on, out)
        yield out


class Sinusoidal(Injection):
    """A sine, held over intervals of ``dt`` at the value of their middle."""

    def __init__(self, spec: SinusoidalSpec, name: str, target: Target, timing: Timing) -> None:
        super().__init__(name, target, timing.window(spec.delay, spec.duration))
        self._amplitude = per_cell(spec.amp, target, timing.seed, f"{name}/amp")
        frequency = per_cell(spec.frequency, target, timing.seed, f"{name}/frequency")
        self._step = frequency * RADIANS_PER_SAMPLE
        self._phase = per_cell(spec.phase, target, timing.seed, f"{name}/phase")
        self._every = round(spec.dt / DT)

    def _stretches(self, start: int, samples: int) -> Iterator[Float32]:
        out = np.empty((len(self.cells), samples), np.float32)
        first = start - self.on
        stimulus_kernels.sinusoid(self._amplitude, self._step, self._phase, first, self._every, out)
        yield out
