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

_TOGETHER = 64
"""Cells whose synapses are advanced side by side: their arrivals lie so in the ring, and their drive stays in cache."""
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
    meanwhile; share that is conductance (1 or 0); reversal (mV) or sign. ``means`` [2, cells] is the share of each in
    the mean over the sample that begins. ``conductance`` and ``reversal_current`` are [cells, samples].
    """
    gain_d, gain_r, keep_d, keep_r, feed, share, factor = constants
    real = conductance.dtype.type
    slots = ring.shape[0]
    cells, samples = conductance.shape
    mean = np.empty((samples, _TOGETHER))
    for first in range(0, cells, _TOGETHER):
        own = slice(first, min(first + _TOGETHER, cells))
        decay, rise, mean_d, mean_r = decaying[own], rising[own], means[0, own], means[1, own]
        for k in range(samples):
            arrived, into = ring[(start + k) % slots, own], mean[k]
            for i in range(arrived.size):
                weight = float(arrived[i]) * (1.0 / FIXED_POINT)
                arrived[i] = 0
                d = decay[i] + gain_d * weight
                r = rise[i] + gain_r * weight
                into[i] = d * mean_d[i] + r * mean_r[i]
                d = d * keep_d + r * feed
                r = r * keep_r
                decay[i] = 0.0 if abs(d) < _SILENT else d
                rise[i] = 0.0 if abs(r) < _SILENT else r
        for i in range(decay.size):
            inward = reversal_current[first + i]
            for k in range(samples):
                inward[k] += real(factor * mean[k, i])
            if share != 0.0:
                opened = conductance[first + i]
                for k in range(samples):
                    opened[k] += real(share * mean[k, i])


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
    # The loop below is most of a network's own time: stretches of the arrays, a flat ring and no division make it twice
    # as fast as indexing in two dimensions modulo the slots. The ring has more slots than the longest delay.
    slots, targets, flat = np.int64(ring.shape[0]), np.int64(ring.shape[1]), ring.reshape(-1)
    for event in range(event_cell.size):
        source = event_cell[event] - first_cell
        if source < 0 or source >= indptr.size - 1:
            continue
        after = (start + event_sample[event] + 1) % slots
        scale = FIXED_POINT * share[event] if share.size else FIXED_POINT
        own = slice(indptr[source], indptr[source + 1])
        cells, weights, delays = target[own], weight[own], delay[own]
        for entry in range(cells.size):
            slot = after + np.int64(delays[entry])
            if slot >= slots:
                slot -= slots
            flat[np.uint64(slot * targets + np.int64(cells[entry]))] += np.int64(
                float(weights[entry]) * scale
            )
