"""Plasticity, compiled: traces and resources in closed form from one spike to the next, whatever the blocks.

Spikes come sorted by sample. Times are whole samples, so that a result depends on no block's start.
"""

from __future__ import annotations

import math

from noble_net.compiled import compiled
from noble_net.network.underway_kernels import Pool, push
from noble_net.types import DT, Float32, Float64, Int32, Int64


@compiled()
def release(
    event_cell: Int32,
    event_sample: Int32,
    first_cell: int,
    start: int,
    constants: Float64,
    used: Float64,
    recovered: Float64,
    last: Int64,
    share: Float64,
) -> None:
    """Share u·x of its weight that each spike delivers, into ``share`` [events].

    ``constants``: U, τ_rec, τ_facil (ms). Per source cell ``used`` and ``recovered`` are u at its last spike and x
    right after it, ``last`` the sample of that spike. Between spikes u decays to 0 with τ_facil and x recovers to 1
    with τ_rec; at a spike u ← u + U(1 − u), then u·x is released, x ← x − u·x.
    """
    utilisation, tau_rec, tau_facil = constants
    for event in range(event_cell.size):
        source = event_cell[event] - first_cell
        if source < 0 or source >= last.size:
            continue
        now = start + event_sample[event]
        elapsed = (now - last[source]) * DT
        x = 1.0 - (1.0 - recovered[source]) * math.exp(-elapsed / tau_rec)
        u = utilisation
        if tau_facil > 0.0:
            u += (1.0 - utilisation) * used[source] * math.exp(-elapsed / tau_facil)
        share[event] = u * x
        used[source], recovered[source], last[source] = u, x * (1.0 - u), now


@compiled()
def _trace(trace: Float64, last: Int64, cell: int, now: int, tau: float) -> float:
    value: float = trace[cell]
    return 0.0 if value == 0.0 else value * math.exp((last[cell] - now) * DT / tau)


@compiled()
def _enter(spikes: Int32, first: int, now: int, tau: float, trace: Float64, last: Int64) -> None:
    """Add the spikes of the population's cells at one sample to their traces."""
    for event in range(spikes.size):
        cell = spikes[event] - first
        if 0 <= cell < last.size:
            trace[cell] = _trace(trace, last, cell, now, tau) + 1.0
            last[cell] = now


@compiled()
def pair_stdp(
    pre_cell: Int32,
    pre_sample: Int32,
    first_pre: int,
    post_cell: Int32,
    post_sample: Int32,
    first_post: int,
    start: int,
    indptr: Int64,
    target: Int32,
    delay: Int32,
    rows: Int64,
    entries: Int64,
    source: Int32,
    constants: Float64,
    multiplicative: bool,
    weight: Float32,
    pre_trace: Float64,
    pre_last: Int64,
    post_trace: Float64,
    post_last: Int64,
    pool: Pool,
) -> None:
    """Let the spikes of a block change the weights of one projection, and send those of its source.

    ``rows``, ``entries``: the synapses by target; ``source`` the source cell of each. ``constants``: τ₊, τ₋ (ms),
    A₊, A₋, w_max. A trace is the sum over a cell's spikes of e^(−age/τ), kept as its value at the last of them.
    Within one sample first the source's spikes depress their synapses and leave with what remains, then the
    target's potentiate theirs, then both enter the traces: simultaneous pairs change nothing.
    """
    tau_plus, tau_minus, a_plus, a_minus, w_max = constants
    slots = pool.free.size
    i, j = 0, 0
    while i < pre_cell.size or j < post_cell.size:
        sample = pre_sample[i] if i < pre_cell.size else post_sample[j]
        if j < post_cell.size:
            sample = min(sample, post_sample[j])
        now, next_i, next_j = start + sample, i, j
        while next_i < pre_cell.size and pre_sample[next_i] == sample:
            cell = pre_cell[next_i] - first_pre
            next_i += 1
            if cell < 0 or cell >= pre_last.size:
                continue
            for entry in range(indptr[cell], indptr[cell + 1]):
                y = _trace(post_trace, post_last, target[entry], now, tau_minus)
                w = float(weight[entry])
                w = max(w - a_minus * (w if multiplicative else w_max) * y, 0.0)
                weight[entry] = w
                push(pool, (now + 1 + delay[entry]) % slots, target[entry], weight[entry])
        while next_j < post_cell.size and post_sample[next_j] == sample:
            cell = post_cell[next_j] - first_post
            next_j += 1
            if cell < 0 or cell >= post_last.size:
                continue
            for row in range(rows[cell], rows[cell + 1]):
                entry = entries[row]
                x = _trace(pre_trace, pre_last, source[entry], now, tau_plus)
                w = float(weight[entry])
                weight[entry] = min(w + a_plus * (w_max - w if multiplicative else w_max) * x, w_max)
        _enter(pre_cell[i:next_i], first_pre, now, tau_plus, pre_trace, pre_last)
        _enter(post_cell[j:next_j], first_post, now, tau_minus, post_trace, post_last)
        i, j = next_i, next_j
