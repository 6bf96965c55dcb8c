"""Synapses, compiled: cell by cell in a fixed order without fast-math, so results are bitwise the same for any split
into blocks."""

from __future__ import annotations

import numpy as np

from noble_net.compiled import compiled
from noble_net.network.underway_kernels import FIXED_POINT
from noble_net.types import Float64, Int64, Real

_TOGETHER = 64
"""Cells whose synapses are advanced side by side: what arrives lies so, and their drive stays in cache."""
_SILENT = 1e-12
"""Synaptic state (nS or pA) below which it is set to zero, before it turns into slow denormal numbers."""


@compiled()
def synapse_block(
    arriving: Int64,
    decaying: Float64,
    rising: Float64,
    constants: Float64,
    means: Float64,
    start: int,
    conductance: Real,
    reversal_current: Real,
) -> None:
    """Take what arrives in a block (row k modulo their number for sample k, in fixed point), advance the synapses and
    add their drive.

    The two states form a linear system of which this is the exact solution. ``constants``: gain of the decaying and
    of the rising part per unit weight; their decay over a sample, and what the rising part adds to the decaying one
    meanwhile; share that is conductance (1 or 0); reversal (mV) or sign. ``means`` [2, cells] is the share of each in
    the mean over the sample that begins. ``conductance`` and ``reversal_current`` are [cells, samples].
    """
    gain_d, gain_r, keep_d, keep_r, feed, share, factor = constants
    real = conductance.dtype.type
    rows = arriving.shape[0]
    cells, samples = conductance.shape
    single = gain_r == 0.0 and feed == 0.0  # one exponential: the rising part stays zero
    mean = np.empty((samples, _TOGETHER))
    for first in range(0, cells, _TOGETHER):
        own = slice(first, min(first + _TOGETHER, cells))
        decay, rise, mean_d, mean_r = decaying[own], rising[own], means[0, own], means[1, own]
        for k in range(samples):
            arrived, into = arriving[(start + k) % rows, own], mean[k]
            if single:
                for i in range(arrived.size):
                    d = decay[i] + gain_d * (float(arrived[i]) * (1.0 / FIXED_POINT))
                    arrived[i] = 0
                    into[i] = d * mean_d[i]
                    d = d * keep_d
                    decay[i] = 0.0 if abs(d) < _SILENT else d
                continue
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
