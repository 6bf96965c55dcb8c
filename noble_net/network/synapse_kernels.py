"""Synapses and spike delivery, compiled.

Every kernel works cell by cell (or synapse by synapse) in a fixed order without fast-math, so results are bitwise the
same for any split into blocks. Sums of synaptic weights are int64 fixed point, so they do not depend on the order of
delivery.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from noble_net.types import Float32, Float64, Int32, Int64, Real, UInt16

FIXED_POINT = 2.0**32
"""Weight units of the ring buffer per nS or pA."""

_SILENT = 1e-12
"""Synaptic state (nS or pA) below which it is set to zero, before it turns into slow denormal numbers."""


@njit(cache=True)
def synapse_block(
    ring: Int64,
    decaying: Float64,
    rising: Float64,
    constants: Float64,
    means: Float64,
    start: int,
    conductance: Real,
    reversal_current: Real,
) -> None:
    """Take a block's arrivals out of the ring, advance the synapses and add their drive.

    The two states form a linear system of which this is the exact solution. ``constants``: gain of the decaying and
    of the rising part per unit weight; their decay over a sample, and what the rising part adds to the decaying one
    meanwhile; share that is conductance (1 or 0); reversal (mV) or sign. ``means`` [cells, 2] is the share of each in
    the mean over the sample that begins. ``conductance`` and ``reversal_current`` are [cells, samples].
    """
    gain_d, gain_r, keep_d, keep_r, feed, share, factor = constants
    real = conductance.dtype.type
    slots = ring.shape[1]
    for cell in range(conductance.shape[0]):
        d, r = decaying[cell], rising[cell]
        mean_d, mean_r = means[cell]
        for k in range(conductance.shape[1]):
            slot = (start + k) % slots
            arrived = ring[cell, slot]
            if arrived != 0:
                ring[cell, slot] = 0
                weight = float(arrived) * (1.0 / FIXED_POINT)
                d += gain_d * weight
                r += gain_r * weight
            if d == 0.0 and r == 0.0:
                continue
            mean = d * mean_d + r * mean_r
            conductance[cell, k] += real(share * mean)
            reversal_current[cell, k] += real(factor * mean)
            d, r = d * keep_d + r * feed, r * keep_r
            if abs(d) < _SILENT:
                d = 0.0
            if abs(r) < _SILENT:
                r = 0.0
        decaying[cell], rising[cell] = d, r


@njit(cache=True)
def deliver(
    event_cell: Int32,
    event_sample: Int32,
    first_cell: int,
    start: int,
    indptr: Int64,
    target: Int32,
    weight: Float32,
    delay: UInt16,
    share: Float64,
    ring: Int64,
) -> None:
    """Send the spikes of one block through one projection into the ring of its target.

    Events are those of a whole group of cells; ``first_cell`` is where the source population starts in it.
    ``share`` [events] of the weight is delivered; empty: all of it. A spike confirmed at sample n arrives at sample
    n + 1 + delay.
    """
    slots = ring.shape[1]
    for event in range(event_cell.size):
        source = event_cell[event] - first_cell
        if source < 0 or source >= indptr.size - 1:
            continue
        after = start + event_sample[event] + 1
        scale = FIXED_POINT * share[event] if share.size else FIXED_POINT
        for entry in range(indptr[source], indptr[source + 1]):
            slot = (after + delay[entry]) % slots
            ring[target[entry], slot] += np.int64(float(weight[entry]) * scale)
