"""Synapses of one type onto one population: events under way, and two state variables per cell.

All synapses of a type share their time course, so their sum per target cell is enough, whatever their number.
Time courses, t after a spike's arrival, are those of NEURON's ExpSyn, Exp2Syn and AlphaSynapse:

- ``exp``: e^(−t/τ);
- ``exp2``: the difference of two exponentials, scaled to unit peak;
- ``alpha``: (t/τ)·e^(1−t/τ), of unit peak at t = τ: D' = −D/τ + e·R/τ with R' = −R/τ, where a spike adds to R.

``nmda`` runs like ``exp2``; the core multiplies it by what its magnesium block lets through.

The drive of a sample is the exact mean over it, for a single exponential S·(τ/dt)(1 − e^(−dt/τ)), so the charge of a
synaptic event is exact whatever τ. Currents onto cells that say how fast they forget (`Core.memory`, τ_m) come as the
constant current which leaves the same voltage at the sample's end: the mean weighted by e^(−(dt − t)/τ_m), of which
the plain mean is the limit of endless memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import exprel

from noble_net.config import SynapseSpec
from noble_net.network import stimulus_kernels, synapse_kernels, underway_kernels
from noble_net.network.underway import Underway
from noble_net.run_state import Arrays, fill
from noble_net.types import BLOCK_SLOPE, DT, Float64, Int32, Int64, Real

HALF_BLOCKING = 3.57
"""Concentration of magnesium that blocks half of the NMDA receptors at 0 mV, mM (Jahr & Stevens 1990)."""


def time_course(rise: float, decay: float) -> tuple[float, float, float]:
    """Rise and decay time (ms) and peak factor of a double exponential, with NEURON's guard for equal times.

    The factor makes the peak of (e^(−t/decay) − e^(−t/rise))·factor one.
    """
    rise = min(max(rise, 1e-9 * decay), 0.9999 * decay)
    peak = rise * decay / (decay - rise) * math.log(decay / rise)
    return rise, decay, 1.0 / (math.exp(-peak / decay) - math.exp(-peak / rise))


def synapse_constants(spec: SynapseSpec) -> Float64:
    """The seven constants of ``synapse_kernels.synapse_block`` for one synapse type."""
    rise, decay, feed = spec.decay, spec.decay, 0.0
    if spec.model in ("exp2", "nmda"):
        rise, decay, factor = time_course(_need(spec.rise), spec.decay)
        gains = factor, factor
    elif spec.model == "alpha":
        h = DT / decay
        feed = math.e * h * math.exp(-h)
        gains = 0.0, 1.0
    else:
        gains = 1.0, 0.0
    keep = math.exp(-DT / decay), math.exp(-DT / rise)
    share, reversal = (1.0, _need(spec.reversal)) if spec.kind == "conductance" else (0.0, 1.0)
    return np.array([*gains, *keep, feed, share, reversal])


def sample_means(spec: SynapseSpec, memory: Float64) -> Float64:
    """Share of either state in the drive of the sample that it begins, [2, cells]; ``memory`` (ms) as in `Core.memory`.

    With a = 1/τ_m − 1/τ these are the integrals of e^(−t/τ)·e^(−(dt − t)/τ_m) = e^(−dt/τ_m)·e^(a·t), and for ``alpha``
    that of e·(t/τ) times as much, over the same without the synapse.
    """
    forgotten = np.minimum(DT / memory, 500.0)  # beyond, exponentials overflow
    decay, rising = spec.decay, np.zeros(memory.size)
    if spec.model in ("exp2", "nmda"):
        rise, decay, _ = time_course(_need(spec.rise), spec.decay)
        rising = -exprel(forgotten - DT / rise)
    elif spec.model == "alpha":
        rising = math.e * DT / decay * _ramp(forgotten - DT / decay)
    return np.stack([exprel(forgotten - DT / decay), rising]) / exprel(forgotten)


def _ramp(x: Float64) -> Float64:
    """∫ u·e^(x·u) du from 0 to 1, by its series where the closed form loses digits."""
    near = np.where(np.abs(x) < 0.5, x, 0.0)
    series = sum(near**k / (math.factorial(k) * (k + 2)) for k in range(14))
    far = np.where(np.abs(x) < 0.5, 1.0, x)
    return np.where(np.abs(x) < 0.5, series, (far * np.exp(far) - np.expm1(far)) / far**2)


def half_block(spec: SynapseSpec) -> float:
    """Voltage at which magnesium blocks half of an NMDA synapse's conductance, mV: (Jahr & Stevens 1990)."""
    if not spec.magnesium:
        return -math.inf
    return math.log(spec.magnesium / HALF_BLOCKING) / BLOCK_SLOPE - (spec.shift or 0.0)


def _need(value: float | None) -> float:
    if value is None:
        raise ValueError("an exp2 synapse needs a rise time and a conductance synapse a reversal potential")
    return value


class SynapseBank:
    """State of one synapse type on the cells of one population.

    ``longest_delay`` and ``longest_block`` in samples; ``memory`` (ms, [cells]) is that of the core, if it has any.
    ``underway`` are the events still to come, ``arriving`` int64 [rows, cells] the sums of those of a block, in fixed
    point, all zero between blocks; ``decaying`` and ``rising`` float64 [cells] are the states.
    """

    def __init__(
        self,
        spec: SynapseSpec,
        cells: int,
        longest_delay: int,
        longest_block: int,
        memory: Float64 | None = None,
    ) -> None:
        self.spec = spec
        self.constants = synapse_constants(spec)
        if memory is None or spec.kind == "conductance":
            memory = np.full(cells, np.inf)
        self.means = sample_means(spec, memory)
        self.underway = Underway(longest_delay)
        self.arriving: Int64 = np.zeros((longest_block, cells), np.int64)
        self.decaying: Float64 = np.zeros(cells, np.float64)
        self.rising: Float64 = np.zeros(cells, np.float64)

    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes between blocks, for `restore`, also under another block length."""
        counts, target, amount = self.underway.packed()
        found: dict[str, NDArray[Any]] = {"decaying": self.decaying, "rising": self.rising}
        return found | {"underway": counts, "target": target, "amount": amount}

    def restore(self, arrays: Arrays) -> None:
        """Go on from such a state. OutputError when it does not fit."""
        for name, array in (("decaying", self.decaying), ("rising", self.rising)):
            fill(array, arrays, name)
        counts = np.zeros(self.underway.slots, np.int64)
        fill(counts, arrays, "underway")
        self.underway.restore(counts, arrays["target"], arrays["amount"])

    def drive_block(self, start: int, conductance: Real, reversal_current: Real) -> None:
        """Advance from sample ``start`` by the samples of the two drive arrays [cells, samples], adding to
        them.

        Blocks must follow each other without gap or overlap.
        """
        underway_kernels.arrive(self.underway.pool, start, conductance.shape[1], self.arriving)
        synapse_kernels.synapse_block(
            self.arriving,
            self.decaying,
            self.rising,
            self.constants,
            self.means,
            start,
            conductance,
            reversal_current,
        )

    def arrive(self, start: int, counts: Int32, weight: Int64) -> None:
        """Let events arrive at once, from sample ``start`` of the coming block on.

        ``counts`` int32 [cells, samples]; ``weight`` int64 [cells], fixed point.
        """
        stimulus_kernels.add_counts(counts, weight, start, self.arriving)

    def arrive_each(self, cells: Int64, samples: Int64, weights: Int64) -> None:
        """Let single events arrive at ``cells`` in absolute ``samples`` of the coming block; all int64 [events]."""
        stimulus_kernels.add_events(cells, samples, weights, self.arriving)


def fixed_point(weight: Float64) -> Int64:
    """Float32 weights (nS or pA) in the fixed point of sums: exact above 0.002, to 2⁻³² below."""
    return (weight.astype(np.float32).astype(np.float64) * underway_kernels.FIXED_POINT).astype(np.int64)
