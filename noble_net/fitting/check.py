"""How well the fitted core runs free on a recording: it never sees the recorded voltage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from noble_net.fitting.recordings import Sweep
from noble_net.spikes import spike_times
from noble_net.surrogate.core import Core
from noble_net.training.metrics import DISCARD, clipped_error, coincidence, interval_cv, rate_error
from noble_net.types import DT, CellTable, Drive, Float32, Float64

BLOCK = 1000
"""Samples at a time; any other gives the same numbers."""


class Check(NamedTuple):
    """Recorded and answered voltages of sweeps, each float32 [samples + 1], mV, and the measures over all of them."""

    recorded: list[Float32]
    answered: list[Float32]
    measures: dict[str, float]


def check(core: Core, cell: CellTable, sweeps: Sequence[Sweep]) -> Check:
    """Run one cell on the somatic current of ``sweeps`` from its own rest, and measure.

    Γ, clipped RMSE and explained variance, rate error as for cores (`noble_net.training.metrics`), without the first
    200 ms of each sweep that lasts twice as long.
    """
    answered = [free_run(core, cell, sweep.current) for sweep in sweeps]
    recorded = [sweep.voltage for sweep in sweeps]
    skip = [_skipped(len(voltage)) for voltage in recorded]
    pairs = [(a[s:], b[s : len(a)]) for a, b, s in zip(recorded, answered, skip, strict=True)]
    return Check(recorded, answered, _measures(pairs))


def free_run(core: Core, cell: CellTable, current: Float32) -> Float32:
    """Voltage float32 [samples + 1], mV, of one cell from its own rest, driven by a somatic current [samples], nA.

    ``cell`` has its ``voltage_base`` among its features, as in networks: from elsewhere some cells settle on a plateau.
    """
    step = core.step_samples
    samples = -(-len(current) // step) * step
    drive = Drive.zeros(core.zones, 1, samples)
    drive.current[0, 0, : len(current)] = current
    state = core.begin(cell)
    parts = [state.voltage[:, None].copy()]
    block = -(-BLOCK // step) * step
    for start in range(0, samples, block):
        cut = slice(start, start + block)
        arrays = (drive.current, drive.conductance, drive.reversal_current)
        response, state = core.advance(
            state, Drive(core.zones, *(np.ascontiguousarray(each[:, :, cut]) for each in arrays))
        )
        parts.append(response.voltage)
    return np.concatenate(parts, axis=1)[0, : len(current) + 1]


def _skipped(samples: int) -> int:
    skip = round(DISCARD / DT)
    return skip if samples > 2 * skip else 0


def _measures(pairs: Sequence[tuple[Float32, Float32]]) -> dict[str, float]:
    reference = [spike_times(a[None])[0] for a, _ in pairs]
    model = [spike_times(b[None])[0] for _, b in pairs]
    duration = sum(len(a) - 1 for a, _ in pairs) * DT
    a, b = (np.concatenate([pair[i] for pair in pairs])[None] for i in (0, 1))
    rmse, explained = clipped_error(a, b)
    error, _ = rate_error(*(np.array([len(t) for t in trains], np.float64) for trains in (reference, model)))
    longest = max(len(a) - 1 for a, _ in pairs) * DT
    return {
        "gamma": coincidence(reference, model, longest).gamma,
        "rate_error": error,
        "rate_hz": 1000.0 * sum(len(t) for t in model) / duration,
        "rate_hz_recorded": 1000.0 * sum(len(t) for t in reference) / duration,
        "clipped_rmse_mV": rmse,
        "clipped_ev": explained,
        "low_mV": float(np.percentile(b, 10)),
        "low_mV_recorded": float(np.percentile(a, 10)),
        "peak_mV": _peak(pairs, model, 1),
        "peak_mV_recorded": _peak(pairs, reference, 0),
        "isi_cv": interval_cv(model),
        "isi_cv_recorded": interval_cv(reference),
    }


def _peak(pairs: Sequence[tuple[Float32, Float32]], trains: Sequence[Float64], side: int) -> float:
    """Mean voltage of the spikes' peaks: the largest within 3 ms of the crossing."""
    ahead = round(3.0 / DT)
    peaks = [
        float(pair[side][round(time / DT) :][:ahead].max())
        for pair, times in zip(pairs, trains, strict=True)
        for time in times
    ]
    return float(np.mean(peaks)) if peaks else float("nan")


def told(measures: Mapping[str, float]) -> dict[str, float | None]:
    """Measures as JSON has them: what is no number is null."""
    return {name: float(f"{value:.5g}") if np.isfinite(value) else None for name, value in measures.items()}
