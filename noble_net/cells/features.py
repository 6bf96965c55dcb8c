"""What identifies a cell: its F–I curve (threshold and slope) and eFEL features of its step responses.

Definitions used for every family:

- ``I_thr`` (nA): the smallest step of 400 ms that makes the cell fire, by bisection to `THRESHOLD_STEP`.
- ``s_thr`` (Hz/nA): least-squares slope of the firing rate (inverse mean inter-spike interval) over the
  steps I_thr + 20, 40 and 80 pA.
- the rest are eFEL features, of the step −50 pA (passive ones) and I_thr + 80 pA (spiking ones).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from noble_net.errors import MissingExtraError
from noble_net.spikes import CROSSING, spike_times
from noble_net.types import DT, Float32, Float64

DELAY, DURATION, TAIL = 100.0, 400.0, 100.0
"""Time before, during and after a step, ms."""

THRESHOLD_STEP = 0.0025
"""Resolution of I_thr, nA."""

SLOPE_OFFSETS = (0.02, 0.04, 0.08)
"""Steps above I_thr that s_thr is fitted to, nA."""

MEASURED_AT = SLOPE_OFFSETS[-1]
"""The step above I_thr whose response the features of spiking are those of, nA."""

SCAN = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Coarse F–I scan, nA."""

PASSIVE = ("voltage_base", "sag_amplitude", "decay_time_constant_after_stim", "steady_state_voltage_stimend")
SPIKING = (
    "AP1_peak",
    "AP1_width",
    "mean_AP_amplitude",
    "AHP_depth",
    "AHP_time_from_peak",
    "inv_first_ISI",
    "time_to_first_spike",
    "adaptation_index2",
    "ISI_CV",
    "Spikecount",
    "mean_frequency",
    "steady_state_voltage",
    "AHP1_depth_from_peak",
    "depol_block",
)

NOBLE_FEATURES = (
    "AHP_depth",
    "AHP_time_from_peak",
    "AHP1_depth_from_peak",
    "AP1_peak",
    "AP1_width",
    "decay_time_constant_after_stim",
    "depol_block",
    "inv_first_ISI",
    "mean_AP_amplitude",
    "mean_frequency",
    "sag_amplitude",
    "Spikecount",
    "steady_state_voltage",
    "steady_state_voltage_stimend",
    "time_to_first_spike",
    "voltage_base",
)
"""The 16 e-features NOBLE is judged by (eFEL's names; arXiv 2506.04536)."""

FEATURES = (
    "I_thr",
    "s_thr",
    "input_resistance",
    *PASSIVE,
    *SPIKING,
)
"""Columns of a family table, in this order; units: nA, Hz/nA, MΩ, mV, ms, Hz as eFEL gives them."""

PLATEAU = 20.0
"""How far above rest the voltage may be after a step, mV: a persistent current can hold a cell up for good."""

FALLING = np.linspace(2.0, 0.1, 20)
"""A current that falls from the strongest a core takes to nothing, nA, in `FALLING_STEP`s: down along the branch of the
depolarised states of a cell, as far as there is one. A single strong step finds some of them only, since it can end in
a deeper inactivation, from which a cell comes back."""
FALLING_STEP = 20.0
"""ms."""

Response = Callable[[Float64], Float32]
"""Injected current, nA, float [samples] → voltage, float [samples + 1]."""


def step_current(amplitude: float) -> Float64:
    """The step protocol's current, nA, float [samples]."""
    current = np.zeros(round((DELAY + DURATION + TAIL) / DT))
    current[round(DELAY / DT) : round((DELAY + DURATION) / DT)] = amplitude
    return current


def step_rate(voltage: Float32) -> tuple[int, float, float]:
    """Spikes during the step, their rate (Hz: inverse mean interval, or count over duration when fewer than
    three) and the time of the last one as a share of the step (0 when silent)."""
    spikes = spike_times(voltage[None])[0]
    spikes = spikes[(spikes >= DELAY) & (spikes < DELAY + DURATION)]
    few = len(spikes) < 3
    rate = 1000.0 * len(spikes) / DURATION if few else 1000.0 / float(np.mean(np.diff(spikes)))
    last = float((spikes[-1] - DELAY) / DURATION) if len(spikes) else 0.0
    return len(spikes), rate, last


def falling_current() -> Float64:
    """`FALLING` after `DELAY`, then `TAIL` without any, nA, float [samples]."""
    falling = np.repeat(FALLING, round(FALLING_STEP / DT))
    return np.concatenate([np.zeros(round(DELAY / DT)), falling, np.zeros(round(TAIL / DT))])


REASONS = ("nan", "silent", "block", "plateau")
"""Why a candidate is no member: the solver's NaN, and those of `Rejected`."""


class Rejected(Exception):
    """A candidate is not a valid member; the argument is the reason: 'silent', 'block' or 'plateau'."""


class Measured(NamedTuple):
    """What identifies a cell: all `FEATURES`, and its firing rate (Hz) at every step tried (nA, ascending)."""

    features: dict[str, float]
    rates: dict[float, float]


def measure(respond: Response, *, recovers: bool = True) -> Measured:
    """Features and F–I curve of a cell given its exact response to a current.

    Raises Rejected('silent') when no step up to 0.5 nA makes it fire, Rejected('block') when it stops firing
    before 70 % of a step of I_thr + 80 pA, fires less at a coarse step ≤ 0.3 nA than at a smaller one, or stays
    depolarised when the step is over; with ``recovers`` Rejected('plateau') when it does so after `falling_current`.
    """
    rates: dict[float, float] = {}

    def fires(amplitude: float) -> bool:
        count, rate, _ = step_rate(respond(step_current(amplitude)))
        rates[amplitude] = rate
        return count > 0

    threshold = _threshold(fires)
    low = [rates[a] for a in SCAN if a in rates and a <= 0.3]
    traces = [respond(step_current(threshold + offset)) for offset in SLOPE_OFFSETS]
    measured = [step_rate(trace) for trace in traces]
    rates |= {threshold + offset: rate for offset, (_, rate, _) in zip(SLOPE_OFFSETS, measured, strict=True)}
    slope = float(np.polyfit(SLOPE_OFFSETS, [rate for _, rate, _ in measured], 1)[0])
    if measured[-1][2] < 0.7 or any(b < 0.5 * a for a, b in pairwise(low)):
        raise Rejected("block")
    passive = respond(step_current(-0.05))
    values = efel_features(passive, -0.05, PASSIVE)
    values |= efel_features(traces[-1], threshold + MEASURED_AT, SPIKING)
    values["input_resistance"] = (values["steady_state_voltage_stimend"] - values["voltage_base"]) / -0.05
    values |= {"I_thr": threshold, "s_thr": slope}
    if values["steady_state_voltage"] > values["voltage_base"] + PLATEAU:
        raise Rejected("block")
    if recovers and respond(falling_current())[-1] > values["voltage_base"] + PLATEAU:
        raise Rejected("plateau")
    return Measured({name: values[name] for name in FEATURES}, dict(sorted(rates.items())))


def _threshold(fires: Callable[[float], bool]) -> float:
    """Smallest firing amplitude: coarse scan (all of it up to 0.3 nA, for the block check), then bisection."""
    low, high = 0.0, 0.0
    for amplitude in SCAN:
        fired = fires(amplitude)
        if fired and not high:
            high = amplitude
        elif not fired and not high:
            low = amplitude
        if high and amplitude >= 0.3:
            break
    if not high:
        raise Rejected("silent")
    while high - low > THRESHOLD_STEP:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if fires(middle) else (middle, high)
    return high


def efel_features(voltage: Float32, amplitude: float, names: Sequence[str]) -> dict[str, float]:
    """eFEL features of one response to `step_current`; NaN where a feature does not exist."""
    found = response_features(voltage[None], [amplitude], names=names)
    return {name: float(found[name][0]) for name in names}


def response_features(
    voltage: Float32,
    amplitudes: Sequence[float],
    *,
    onset: float = DELAY,
    duration: float = DURATION,
    sampling: float = DT,
    names: Sequence[str] = NOBLE_FEATURES,
) -> dict[str, Float64]:
    """eFEL features (mean over occurrences) of step responses, float64 [responses] each.

    ``voltage``: mV, float [responses, samples], sampled every ``sampling`` ms from t = 0; the step of
    ``amplitudes[i]`` nA lasts from ``onset`` for ``duration`` ms. NaN where a feature does not exist. A spike is an
    upward crossing of −40 mV, as everywhere (`noble_net.spikes`). Raises MissingExtraError without eFEL.
    """
    try:
        import efel
    except ImportError as error:
        raise MissingExtraError("feature extraction (eFEL)", "reference") from error
    times = sampling * np.arange(voltage.shape[1])
    rows: list[dict[str, float]] = []
    for trace, amplitude in zip(voltage, amplitudes, strict=True):
        efel.reset()  # a setting of eFEL's own invention can be given once only
        efel.set_setting("Threshold", CROSSING)
        efel.set_setting("stimulus_current", float(amplitude))
        one = {
            "T": times,
            "V": trace.astype(np.float64),
            "stim_start": [onset],
            "stim_end": [onset + duration],
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: Mapping[str, Float64 | None] = efel.get_feature_values([one], list(names))[0]
        rows.append({name: _mean(found[name]) for name in names})
    return {name: np.array([row[name] for row in rows]) for name in names}


def _mean(values: Float64 | None) -> float:
    return float(np.mean(values)) if values is not None and len(values) else float("nan")
