"""The inputs cells are trained and judged on: somatic current and conductance, as samples held for 0.1 ms.

`training_input` strings together random segments of every kind, the way a network might drive a cell;
`test_input` gives one pure regime with fixed parameters, drawn from other seeds than any training input. The
two kinds `chirp` and `ramp` are never trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from noble_net.types import DT, Float32, Float64

Generator = np.random.Generator


class Input(NamedTuple):
    """Injected current (nA), conductance (nS) and Σ g·E (pA), float32 [samples] each."""

    current: Float32
    conductance: Float32
    reversal_current: Float32

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.current)


CURRENT_RANGE = (-0.3, 2.0)
"""Training currents are clipped to this, nA: with 325 MΩ, more inhibition leaves every physiological voltage."""

NEAR_THRESHOLD = -60.0
"""Voltage at which a segment's mean drive is balanced, mV."""


def training_input(generator: Generator, duration: float) -> Input:
    """``duration`` ms of random segments of 0.2–1.5 s, every kind in turn, cut to length."""
    parts: list[Input] = []
    total = round(duration / DT)
    while sum(part.samples for part in parts) < total:
        parts.append(training_segment(generator, TRAINING_KINDS))
    arrays = [np.concatenate(a)[:total].astype(np.float32) for a in zip(*parts, strict=True)]
    return Input(arrays[0].clip(*CURRENT_RANGE), arrays[1], arrays[2])


def training_segment(generator: Generator, kinds: Mapping[Kind, float]) -> Input:
    """0.2–1.5 s of one of ``kinds``, drawn by its share, float [samples], not clipped yet."""
    shares = np.array(list(kinds.values()))
    kind = list(kinds)[generator.choice(len(kinds), p=shares / shares.sum())]
    return kind(generator, segment_samples(generator))


def segment_samples(generator: Generator) -> int:
    """Length of a training segment: 0.2–1.5 s."""
    return round(generator.uniform(200.0, 1500.0) / DT)


def test_input(regime: str, generator: Generator, duration: float) -> Input:
    """``duration`` ms of one of `REGIMES`, float32."""
    samples = round(duration / DT)
    return Input(*(np.asarray(a, np.float32) for a in REGIMES[regime](generator, samples)))


def ornstein_uhlenbeck(generator: Generator, samples: int, mean: float, sigma: float, tau: float) -> Float64:
    """Stationary OU process, exactly discretised: x' = a·x + sigma·√(1 − a²)·ξ with a = exp(−DT/tau)."""
    a = np.exp(-DT / tau)
    noise = generator.standard_normal(samples) * sigma * np.sqrt(1.0 - a * a)
    noise[0] = sigma * generator.standard_normal()
    return np.asarray(mean + lfilter([1.0], [1.0, -a], noise))


def shot_noise(
    generator: Generator, samples: int, rate: float | Float64, weight: float, decay: float, rise: float = 0.0
) -> Float64:
    """Poisson events (Hz, constant or float [samples]) of random weight, filtered by a synapse with peak
    ``weight`` (rise 0: exponential); float [samples]."""
    return filtered(event_train(generator, samples, rate, weight), decay, rise)


def event_train(generator: Generator, samples: int, rate: float | Float64, weight: float) -> Float64:
    """Summed weights of the Poisson events (Hz, constant or float [samples]) in each sample, float [samples]; single
    ones vary by 40 % around ``weight``."""
    count = generator.poisson(np.broadcast_to(np.asarray(rate) * DT / 1000.0, samples))
    return np.asarray(count * weight * generator.lognormal(-0.08, 0.4, samples))


def filtered(train: Float64, decay: float, rise: float = 0.0) -> Float64:
    """Events [samples] through a synapse of unit peak (rise 0: exponential); float [samples]."""
    slow = lfilter([1.0], [1.0, -np.exp(-DT / decay)], train)
    if rise <= 0.0:
        return np.asarray(slow)
    fast = lfilter([1.0], [1.0, -np.exp(-DT / rise)], train)
    peak = rise * decay / (decay - rise) * np.log(decay / rise)
    return np.asarray((slow - fast) / (np.exp(-peak / decay) - np.exp(-peak / rise)))


# ----------------------------------------------------------------------------------------------------------
# kinds of training segment


def _steps(g: Generator, n: int) -> Input:
    current = np.empty(n)
    start = 0
    while start < n:
        stop = start + round(g.uniform(50.0, 500.0) / DT)
        current[start:stop] = 0.0 if g.random() < 0.25 else g.uniform(-0.12, 0.55)
        start = stop
    return _only_current(current)


def _zero(g: Generator, n: int) -> Input:
    return _only_current(np.zeros(n))


def _ou_current(g: Generator, n: int) -> Input:
    sigma, tau = log_uniform(g, 0.02, 0.3), log_uniform(g, 1.0, 20.0)
    return _only_current(ornstein_uhlenbeck(g, n, g.uniform(-0.1, 0.42), sigma, tau))


def _poisson_current(g: Generator, n: int) -> Input:
    excitation = shot_noise(g, n, log_uniform(g, 30, 2000), log_uniform(g, 0.02, 0.25), g.uniform(1, 6), 0.2)
    inhibition = shot_noise(g, n, log_uniform(g, 30, 2000), log_uniform(g, 0.02, 0.15), g.uniform(2, 8))
    return _only_current(_centred(g, excitation - inhibition))


def _ou_conductance(g: Generator, n: int) -> Input:
    inhibitory = log_uniform(g, 0.3, 12.0)
    excitatory = log_uniform(g, 0.3, 6.0)
    gi = ornstein_uhlenbeck(g, n, inhibitory, inhibitory * g.uniform(0.2, 0.9), g.uniform(2, 12)).clip(0.0)
    ge = ornstein_uhlenbeck(g, n, excitatory, excitatory * g.uniform(0.2, 0.9), g.uniform(1, 6)).clip(0.0)
    return _balanced(g, ge, gi)


def _poisson_conductance(g: Generator, n: int) -> Input:
    ge = shot_noise(g, n, log_uniform(g, 50, 3000), log_uniform(g, 0.2, 5.0), g.uniform(1, 6), 0.2)
    gi = shot_noise(g, n, log_uniform(g, 30, 2000), log_uniform(g, 0.2, 6.0), g.uniform(2, 12), 0.3)
    return _balanced(g, ge * min(1.0, 8.0 / max(ge.mean(), 1e-9)), gi * min(1.0, 15.0 / max(gi.mean(), 1e-9)))


def _rhythmic(g: Generator, n: int) -> Input:
    """OU current with volleys of inhibition, as current or conductance: a cell inside a gamma rhythm."""
    period, width = 1000.0 / g.uniform(20.0, 90.0), g.uniform(1.0, 4.0)
    phase = (DT * np.arange(n) + g.uniform(0.0, period)) % period - 0.5 * period
    rate = log_uniform(g, 100.0, 2000.0) * period / (width * 2.5) * np.exp(-0.5 * (phase / width) ** 2)
    excitation = ornstein_uhlenbeck(g, n, g.uniform(0.1, 0.6), log_uniform(g, 0.02, 0.2), g.uniform(2, 10))
    if g.random() < 0.5:
        volleys = shot_noise(g, n, rate, log_uniform(g, 0.005, 0.06), g.uniform(2, 8))
        return _only_current(excitation - volleys * min(1.0, 0.4 / max(volleys.mean(), 1e-9)))
    gi = shot_noise(g, n, rate, log_uniform(g, 0.1, 2.0), g.uniform(2, 10), 0.3)
    gi *= min(1.0, 12.0 / max(gi.mean(), 1e-9))
    reversal = g.uniform(-95.0, -60.0)
    return Input(*_f(excitation, gi, gi * reversal))


Kind = Callable[[Generator, int], Input]

TRAINING_KINDS: dict[Kind, float] = {
    _steps: 0.16,
    _zero: 0.04,
    _ou_current: 0.22,
    _poisson_current: 0.14,
    _ou_conductance: 0.14,
    _poisson_conductance: 0.18,
    _rhythmic: 0.12,
}
"""Kinds and their shares."""

CURRENT_KINDS = {
    kind: share
    for kind, share in TRAINING_KINDS.items()
    if kind not in (_ou_conductance, _poisson_conductance)
}
"""Those without excitatory conductances, which take a current against them to keep the balance."""


# ----------------------------------------------------------------------------------------------------------
# regimes of evaluation

FLUCTUATING = ("ou_current", "ou_current_fast", "poisson_current", "ou_conductance", "poisson_conductance")
"""Fluctuation-driven regimes, judged by Γ."""
UNTRAINED = ("chirp", "ramp", "sinusoid")
"""Kinds never trained on (each + OU of σ = 0.1 nA), judged by Γ."""
MEAN_DRIVEN = ("steps", "mean_driven")
"""Regimes in which one late spike moves all that follow: judged by rates and interval statistics."""


def _test_poisson_current(g: Generator, n: int) -> Input:
    excitation = shot_noise(g, n, 400.0, 0.12, 3.0, 0.2)
    inhibition = shot_noise(g, n, 200.0, 0.06, 5.0)
    return _only_current(excitation - inhibition)


def _test_ou_conductance(g: Generator, n: int) -> Input:
    ge = ornstein_uhlenbeck(g, n, 4.0, 2.0, 3.0).clip(0.0)
    gi = ornstein_uhlenbeck(g, n, 5.0, 2.5, 8.0).clip(0.0)
    return Input(*_f(np.zeros(n), ge + gi, -80.0 * gi))


def _test_poisson_conductance(g: Generator, n: int) -> Input:
    ge = shot_noise(g, n, 600.0, 2.5, 2.0, 0.2)
    gi = shot_noise(g, n, 300.0, 2.5, 5.0, 0.3)
    return Input(*_f(np.zeros(n), ge + gi, -80.0 * gi))


STEP_PERIOD, STEP_ON = 1000.0, 600.0
"""The regime 'steps': one step at the end of every period, ms."""
STEP_AMPLITUDES = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, -0.05, 0.18)
"""nA, in turn."""


def _test_steps(g: Generator, n: int) -> Input:
    current = np.zeros(n)
    on, period = round(STEP_ON / DT), round(STEP_PERIOD / DT)
    for k, amplitude in enumerate(np.resize(STEP_AMPLITUDES, n // period)):
        current[k * period + period - on : (k + 1) * period] = amplitude
    return _only_current(current)


def _test_chirp(g: Generator, n: int) -> Input:
    t = DT * np.arange(n)
    phase = 2.0 * np.pi * (1.0 * t + 0.5 * 99.0 * t**2 / t[-1]) / 1000.0
    return _only_current(0.15 + 0.1 * np.sin(phase) + ornstein_uhlenbeck(g, n, 0.0, 0.1, 5.0))


def _test_ramp(g: Generator, n: int) -> Input:
    ramp = np.resize(np.linspace(0.0, 0.3, round(1000.0 / DT)), n)
    return _only_current(ramp + ornstein_uhlenbeck(g, n, 0.0, 0.1, 5.0))


def _test_sinusoid(g: Generator, n: int) -> Input:
    current = 0.15 + 0.1 * np.sin(2.0 * np.pi * 8.0 * DT * np.arange(n) / 1000.0)
    return _only_current(current + ornstein_uhlenbeck(g, n, 0.0, 0.1, 5.0))


REGIMES: dict[str, Callable[[Generator, int], Input]] = {
    "ou_current": lambda g, n: _only_current(ornstein_uhlenbeck(g, n, 0.15, 0.1, 5.0)),
    "ou_current_fast": lambda g, n: _only_current(ornstein_uhlenbeck(g, n, 0.15, 0.2, 2.0)),
    "poisson_current": _test_poisson_current,
    "ou_conductance": _test_ou_conductance,
    "poisson_conductance": _test_poisson_conductance,
    "steps": _test_steps,
    "mean_driven": lambda g, n: _only_current(ornstein_uhlenbeck(g, n, 0.25, 0.05, 5.0)),
    "zero": _zero,
    "chirp": _test_chirp,
    "ramp": _test_ramp,
    "sinusoid": _test_sinusoid,
}
"""Their inputs are drawn by their places in here: new ones go to the end."""


def _only_current(current: Float64) -> Input:
    return Input(*_f(current, np.zeros(len(current)), np.zeros(len(current))))


def _balanced(g: Generator, ge: Float64, gi: Float64) -> Input:
    """Excitation reverses at 0 mV, inhibition at a random −95 to −60 mV; half of the segments get the constant
    current that puts the mean drive near threshold at a random net current."""
    reversal = g.uniform(-95.0, -60.0)
    current = np.zeros(len(ge))
    if g.random() < 0.6:
        drive = -ge.mean() * NEAR_THRESHOLD + gi.mean() * (reversal - NEAR_THRESHOLD)
        current += g.uniform(-0.05, 0.4) - drive / 1000.0
        current += ornstein_uhlenbeck(g, len(ge), 0.0, g.uniform(0.0, 0.08), 5.0)
    return Input(*_f(current, ge + gi, gi * reversal))


def _centred(g: Generator, current: Float64) -> Float64:
    """Shifted to a random mean around threshold, and shrunk if it would leave NEURON's own range."""
    current = current * min(1.0, 0.35 / max(float(current.std()), 1e-9))
    return np.asarray(current - current.mean() + g.uniform(-0.08, 0.4))


def log_uniform(g: Generator, low: float, high: float) -> float:
    return float(np.exp(g.uniform(np.log(low), np.log(high))))


def _f(*arrays: Float64) -> tuple[Float32, ...]:
    return tuple(np.asarray(a, np.float32) for a in arrays)
