"""Where a fit begins: what can be read off a recording without any search.

As in Pozzorini et al. (2015, PLoS Comput. Biol. 11: e1004275): the reset voltage and the refractory time from the mean
spike, capacitance, leak and rest by least squares on dV/dt away from spikes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from noble_net.rivals.models import Model
from noble_net.rivals.recordings import Stretch
from noble_net.spikes import spike_times
from noble_net.training.metrics import CLIP
from noble_net.types import DT, Float64

_LOOKED = 8.0
"""After a spike the lowest mean voltage is looked for this long, ms."""
_LAG = 1.0
"""dV/dt is a difference over this time, ms: the soma alone charges faster than the cell."""
_AWAY = 15.0
"""Samples this soon after a spike, or 2 ms before it, tell nothing of the leak, ms."""
_TYPICAL = {
    "slope": 1.5,
    "coupling": 0.5,
    "tau_w": 30.0,
    "jump": 5.0,
    "fast_jump": -10.0,
    "fast_tau": 5.0,
    "slow_jump": -2.0,
    "slow_tau": 100.0,
    "threshold_jump": 2.0,
    "threshold_tau": 20.0,
    "threshold_coupling": 0.2,
    "coupling_tau": 5.0,
}


def starting_point(model: Model, stretches: Sequence[Stretch]) -> Float64:
    """Parameters [n] of ``model``, within its ranges."""
    found = {**_TYPICAL, **passive(stretches), **mean_spike(stretches)}
    low, high = (np.array([getattr(p, side) for p in model.parameters]) for side in ("low", "high"))
    return np.clip([found[name] for name in model.names], low, high)


def passive(stretches: Sequence[Stretch]) -> dict[str, float]:
    """Capacitance (pF), leak (nS) and rest (mV): C·dV/dt = g(E − V) + I by least squares on quiet samples."""
    lag = round(_LAG / DT)
    rows, changes = [], []
    for each in stretches:
        volts = each.voltage.astype(np.float64)
        before = 0.5 * (volts[:-1] + volts[1:])
        inward = 1000.0 * each.current + each.reversal_current - each.conductance * before
        quiet = np.ones(len(inward), bool)
        for time in spike_times(each.voltage[None])[0]:
            quiet[max(round((time - 2.0) / DT), 0) : round((time + _AWAY) / DT)] = False
        quiet[:lag] = quiet[-lag:] = False
        at = np.flatnonzero(quiet)[::lag]
        at = at[quiet[at + lag - 1]]
        mean = np.cumsum(np.concatenate([[0.0], inward]))
        level = np.cumsum(np.concatenate([[0.0], before]))
        rows.append(
            np.stack(
                [(level[at + lag] - level[at]) / lag, np.ones(len(at)), (mean[at + lag] - mean[at]) / lag], 1
            )
        )
        changes.append((volts[at + lag] - volts[at]) / _LAG)
    (slope, constant, gain), *_ = np.linalg.lstsq(np.concatenate(rows), np.concatenate(changes), rcond=None)
    capacitance = 1.0 / max(gain, 1e-3)
    leak = max(-slope * capacitance, 0.1)
    return {"capacitance": capacitance, "leak": leak, "v_rest": constant * capacitance / leak}


def mean_spike(stretches: Sequence[Stretch]) -> dict[str, float]:
    """Reset voltage, refractory time and threshold from the mean spike, and how long it stays above `CLIP`."""
    samples = round(_LOOKED / DT)
    seen, onsets = [], []
    for each in stretches:
        times = spike_times(each.voltage[None])[0]
        for time, following in zip(times, [*times[1:], np.inf], strict=True):
            k = round(time / DT)
            if k >= 10 and k + samples < len(each.voltage) and following - time > _LOOKED:
                seen.append(each.voltage[k : k + samples])
                onsets.append(each.voltage[k - 5])  # half a millisecond before the crossing
    if not seen:
        return {"v_reset": -75.0, "refractory": 2.0, "spike_width": 0.5, "v_threshold": -55.0}
    mean = np.asarray(np.mean(seen, axis=0, dtype=np.float64))
    lowest = int(np.argmin(mean))
    width = float(np.mean(np.argmax(np.stack(seen)[:, 2:] < CLIP, axis=1) + 2)) * DT
    return {
        "v_reset": float(mean[lowest]),
        "refractory": max(lowest * DT, width),
        "spike_width": round(width, 1),
        "v_threshold": float(np.mean(onsets)),
    }
