"""The compiled loop of the closed-form integrate-and-fire core."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from noble_net.types import BLOCK_SLOPE, DT, Float32, Float64, Int32, Real, UInt32

LOWEST = -150.0
"""Voltage below which a cell is clamped, mV."""
SPIKE_VOLTAGE = 20.0
"""Voltage written for the sample in which a spike falls, mV."""
_TOGETHER = 32
"""Cells advanced side by side: none waits for its own last sample, and their input stays in cache."""


@njit(cache=True, error_model="numpy")
def integrate_and_fire(
    on_grid: bool,
    constants: Float64,
    membrane: Float64,
    refractory: Float64,
    current: Real,
    conductance: Real,
    reversal_current: Real,
    nmda_conductance: Real,
    nmda_reversal_current: Real,
    half_block: Float32,
    voltage: Float32,
    event_cell: Int32,
    event_sample: Int32,
    event_time: Float64,
    outside: UInt32,
) -> int:
    """Advance cells through a block and return the number of spikes written.

    ``constants`` [cells, 7]: capacitance (pF), leak (nS), rest, reset, threshold (mV), refractory time (ms), and the
    share of a voltage's distance from rest that is left after an undisturbed sample.
    ``membrane`` (mV) and ``refractory`` (ms left at the sample's end) float64 [cells] are updated in place.
    Input and ``voltage`` are [cells, samples]; the arrays of NMDA input are empty without it.
    ``on_grid``: spikes and the refractory time begin at samples' ends. Events come out in an order
    in which those of a sample are sorted by cell.
    """
    count = 0
    n_cells, n_samples = voltage.shape
    for first in range(0, n_cells, _TOGETHER):
        for k in range(n_samples):
            for i in range(first, min(first + _TOGETHER, n_cells)):
                capacitance, leak, rest, reset, threshold, dead_time, undisturbed = constants[i]
                held = refractory[i]
                v = membrane[i]
                if held >= DT:
                    refractory[i] = held - DT
                    voltage[i, k] = v
                    continue
                g = float(conductance[i, k])
                if g < 0.0:
                    outside[i] += np.uint32(1)
                    g = 0.0
                inward = leak * rest + 1000.0 * float(current[i, k]) + float(reversal_current[i, k])
                if half_block.size:
                    opened = 1.0 / (1.0 + math.exp(-BLOCK_SLOPE * (v - float(half_block[i]))))
                    g += opened * max(float(nmda_conductance[i, k]), 0.0)
                    inward += opened * float(nmda_reversal_current[i, k])
                total = leak + g
                steady = inward / total
                tau = capacitance / total
                left = DT - held
                kept = undisturbed if g == 0.0 and held == 0.0 else math.exp(-left / tau)
                end = steady + (v - steady) * kept
                if end >= threshold:
                    crossing = DT - left
                    if on_grid:
                        crossing = DT
                    elif v < threshold:
                        crossing += tau * math.log((steady - v) / (steady - threshold))
                    crossing = min(crossing, DT)
                    event_cell[count], event_sample[count] = i, k
                    # A float32 lag, so that the time does not depend on where in a block the sample lies.
                    event_time[count] = (k + 1) * DT - float(np.float32(DT - crossing))
                    count += 1
                    voltage[i, k] = SPIKE_VOLTAGE
                    free = DT - crossing - dead_time
                    membrane[i], refractory[i] = reset, max(-free, 0.0)
                    if free > 0.0:  # the refractory time ends within the sample: at most one spike a sample
                        end = steady + (reset - steady) * math.exp(-free / tau)
                        if end >= threshold:
                            outside[i] += np.uint32(1)
                            end = threshold
                        membrane[i] = max(end, LOWEST)
                    continue
                if end < LOWEST:
                    outside[i] += np.uint32(1)
                    end = LOWEST
                membrane[i] = end
                refractory[i] = 0.0
                voltage[i, k] = end
    return count
