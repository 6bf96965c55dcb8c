"""The compiled loop of the closed-form integrate-and-fire core."""

from __future__ import annotations

import math

import numpy as np

from noble_net.compiled import compiled
from noble_net.types import BLOCK_SLOPE, DT, Float32, Float64, Int32, Real, UInt32

LOWEST = -150.0
"""Voltage below which a cell is clamped, mV."""
SPIKE_VOLTAGE = 20.0
"""Voltage written for the sample in which a spike falls, mV."""
_TOGETHER = 32
"""Cells advanced side by side: none waits for its own last sample, and their input stays in cache."""


@compiled(error_model="numpy")
def integrate_and_fire(
    on_grid: bool,
    constants: Float64,
    membrane: Float64,
    refractory: Float64,
    current: Real,
    conductance: Real | None,
    reversal_current: Real,
    nmda_conductance: Real | None,
    nmda_reversal_current: Real | None,
    half_block: Float32 | None,
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
    Input and ``voltage`` are [cells, samples]; conductance and NMDA input are None where there is none,
    which compiles another kernel.
    ``on_grid``: spikes and the refractory time begin at samples' ends. Events come out in an order
    in which those of a sample are sorted by cell.
    """
    count = 0
    n_cells, n_samples = voltage.shape
    gain, drift = np.empty(_TOGETHER), np.empty(_TOGETHER)
    for first in range(0, n_cells, _TOGETHER):
        # Stretches of the arrays, so that no index could be negative, which would be asked for at every access.
        own = slice(first, min(first + _TOGETHER, n_cells))
        cell, v_now, dead = constants[own], membrane[own], refractory[own]
        injected, reversing, told = current[own], reversal_current[own], voltage[own]
        for i in range(v_now.size):
            share = 1.0 - cell[i, 6]
            gain[i], drift[i] = share / cell[i, 1], share * cell[i, 2]
        for k in range(n_samples):
            for i in range(v_now.size):
                held, v, threshold = dead[i], v_now[i], cell[i, 4]
                if held >= DT:
                    dead[i] = held - DT
                    told[i, k] = v
                    continue
                inward = 1000.0 * float(injected[i, k]) + float(reversing[i, k])
                if conductance is None and half_block is None and held == 0.0:
                    # nothing but current, throughout the sample: no division and no exponential
                    end = v * cell[i, 6] + (drift[i] + gain[i] * inward)
                    if end < threshold and end >= LOWEST:
                        v_now[i] = end
                        told[i, k] = end
                        continue
                g, inward = 0.0, inward + cell[i, 1] * cell[i, 2]
                if conductance is not None:
                    g = float(conductance[first + i, k])
                    if g < 0.0:
                        outside[first + i] += np.uint32(1)
                        g = 0.0
                if (
                    half_block is not None
                    and nmda_conductance is not None
                    and nmda_reversal_current is not None
                ):
                    opened = 1.0 / (1.0 + math.exp(-BLOCK_SLOPE * (v - float(half_block[first + i]))))
                    g += opened * max(float(nmda_conductance[first + i, k]), 0.0)
                    inward += opened * float(nmda_reversal_current[first + i, k])
                total = cell[i, 1] + g
                steady = inward / total
                left = DT - held
                kept = cell[i, 6]
                if g != 0.0 or held != 0.0:
                    kept = math.exp(-left * total / cell[i, 0])
                end = steady + (v - steady) * kept
                if end >= threshold:
                    tau, reset, dead_time = cell[i, 0] / total, cell[i, 3], cell[i, 5]
                    crossing = DT - left
                    if on_grid:
                        crossing = DT
                    elif v < threshold:
                        crossing += tau * math.log((steady - v) / (steady - threshold))
                    crossing = min(crossing, DT)
                    event_cell[count], event_sample[count] = first + i, k
                    # A float32 lag, so that the time does not depend on where in a block the sample lies.
                    event_time[count] = (k + 1) * DT - float(np.float32(DT - crossing))
                    count += 1
                    told[i, k] = SPIKE_VOLTAGE
                    free = DT - crossing - dead_time
                    v_now[i], dead[i] = reset, max(-free, 0.0)
                    if free > 0.0:  # the refractory time ends within the sample: at most one spike a sample
                        end = steady + (reset - steady) * math.exp(-free / tau)
                        if end >= threshold:
                            outside[first + i] += np.uint32(1)
                            end = threshold
                        v_now[i] = max(end, LOWEST)
                    continue
                if end < LOWEST:
                    outside[first + i] += np.uint32(1)
                    end = LOWEST
                v_now[i] = end
                dead[i] = 0.0
                told[i, k] = end
    return count
