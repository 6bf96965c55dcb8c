"""The envelope of a core: the extremes of the data it is trained on."""

from __future__ import annotations

import numpy as np

from noble_net.surrogate import scaling
from noble_net.surrogate.envelope import Envelope, ZoneEnvelope
from noble_net.training.dataset import VOLTAGE_UNIT
from noble_net.training.streams import TrainingData
from noble_net.types import Float32


def envelope_of(data: TrainingData, zones: tuple[str, ...], step: int) -> Envelope:
    """The extremes over all members of what a core with steps of ``step`` samples is told, by zone."""
    steps = data.current.shape[1] // step
    lowest, highest = np.full(len(zones), np.inf), np.full(len(zones), -np.inf)
    conductance, nmda = np.zeros(len(zones)), np.zeros(len(zones))
    for member in range(len(data.current)):
        volts = data.voltage[member, : steps * step : step].astype(np.float32) * np.float32(VOLTAGE_UNIT)
        volts = np.maximum(volts, scaling.VOLTAGE_LOW)[:, None]
        for zone in range(len(zones)):
            g, j = (
                _by_steps(array[member, zone], steps, step)
                for array in (data.conductance, data.reversal_current)
            )
            if zone == 0:
                effective = _by_steps(data.current[member], steps, step) + 1e-3 * (j - g * volts)
            else:
                g, j = g.mean(1, keepdims=True), j.mean(1, keepdims=True)
                effective = 1e-3 * (j - g * volts)
            lowest[zone] = min(lowest[zone], effective.min())
            highest[zone] = max(highest[zone], effective.max())
            conductance[zone] = max(conductance[zone], g.max())
            if zone and data.nmda is not None:
                slow = _by_steps(data.nmda[member, zone - 1], steps, step).mean(1)
                nmda[zone] = max(nmda[zone], slow.max())
    bounds = zip(zones, lowest, highest, conductance, nmda, strict=True)
    found = {
        name: ZoneEnvelope((_short(low), _short(high)), _short(most), _short(slow))
        for name, low, high, most, slow in bounds
    }
    seen = np.array([data.voltage.min(), data.voltage.max()]) * VOLTAGE_UNIT
    low, high = seen.clip(scaling.VOLTAGE_LOW, scaling.VOLTAGE_HIGH)
    block = None if data.half is None else (_short(data.half.min()), _short(data.half.max()))
    return Envelope(found, (_short(low), _short(high)), block)


def _by_steps(values: Float32, steps: int, step: int) -> Float32:
    return values[: steps * step].reshape(steps, step)


def _short(value: float) -> float:
    return float(f"{value:.4g}")
