"""The gated recurrent unit through a whole stretch of time and back again, compiled: what training spends its time on.

PyTorch runs a step as some twenty small operations; here streams lie along the SIMD lanes, as cells do in
`noble_net.surrogate.kernels`, and the products are those of `noble_net.surrogate.tiles`. B streams, T steps, H units;
rows of reset, update and new state, in PyTorch's order.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from noble_net.compiled import compiled
from noble_net.surrogate.activations import MATH, sigmoid, tanh
from noble_net.surrogate.kernels_inputs import by_samples, to_cells
from noble_net.surrogate.tiles import LANES, dense, put
from noble_net.types import Float32

_ONE = np.float32(1.0)
KEPT = 5
"""What the way back needs of every step: reset, update, new state, what the state adds to it, state before."""


# One loop a line: of loops over more arrays LLVM cannot tell that they do not overlap, and makes no vectors.


@compiled(fastmath=MATH, error_model="numpy")
def _gate(given: Float32, own: Float32, out: Float32) -> None:
    for j in range(len(out)):
        for i in range(LANES):
            out[j, i] = sigmoid(given[j, i] + own[j, i])


@compiled(fastmath=MATH, error_model="numpy")
def _new(given: Float32, reset: Float32, own: Float32, out: Float32) -> None:
    for j in range(len(out)):
        for i in range(LANES):
            out[j, i] = tanh(given[j, i] + reset[j, i] * own[j, i])


@compiled(fastmath=MATH, error_model="numpy")
def _blend(new: Float32, update: Float32, state: Float32) -> None:
    for j in range(len(state)):
        for i in range(LANES):
            state[j, i] = new[j, i] + update[j, i] * (state[j, i] - new[j, i])


@compiled(fastmath=MATH, error_model="numpy")
def _of_candidate(later: Float32, update: Float32, new: Float32, out: Float32) -> None:
    for j in range(len(out)):
        for i in range(LANES):
            out[j, i] = later[j, i] * (_ONE - update[j, i]) * (_ONE - new[j, i] * new[j, i])


@compiled(fastmath=MATH, error_model="numpy")
def _of_gate(candidate: Float32, own: Float32, reset: Float32, out: Float32) -> None:
    for j in range(len(out)):
        for i in range(LANES):
            out[j, i] = candidate[j, i] * own[j, i] * reset[j, i] * (_ONE - reset[j, i])


@compiled(fastmath=MATH, error_model="numpy")
def _of_update(later: Float32, before: Float32, new: Float32, update: Float32, out: Float32) -> None:
    for j in range(len(out)):
        for i in range(LANES):
            out[j, i] = later[j, i] * (before[j, i] - new[j, i]) * update[j, i] * (_ONE - update[j, i])


@compiled(fastmath=MATH, error_model="numpy")
def _forth(
    first: int, told: Float32, start: Float32, weight: Float32, bias: Float32, states: Float32, kept: Float32
) -> None:
    hidden = start.shape[1]
    streams = slice(first, min(first + LANES, len(start)))
    given, own = np.zeros((3 * hidden, LANES), np.float32), np.empty((3 * hidden, LANES), np.float32)
    gates, new = np.empty((2 * hidden, LANES), np.float32), np.empty((hidden, LANES), np.float32)
    state = np.zeros((hidden, LANES), np.float32)
    by_samples(start[streams], state)
    for t in range(told.shape[1]):
        by_samples(told[streams, t], given)
        dense(weight, bias, state, own)
        _gate(given[: 2 * hidden], own[: 2 * hidden], gates)
        _new(given[2 * hidden :], gates[:hidden], own[2 * hidden :], new)
        of_step = kept[t]
        put(gates, of_step[: 2 * hidden])
        put(new, of_step[2 * hidden : 3 * hidden])
        put(own[2 * hidden :], of_step[3 * hidden : 4 * hidden])
        put(state, of_step[4 * hidden :])
        _blend(new, gates[hidden:], state)
        to_cells(state, states[streams, t])


@compiled(fastmath=MATH, error_model="numpy")
def _back(
    first: int,
    states: Float32,
    transposed: Float32,
    kept: Float32,
    told: Float32,
    from_state: Float32,
    start: Float32,
) -> None:
    hidden = start.shape[1]
    streams = slice(first, min(first + LANES, len(start)))
    outside, later = np.zeros((hidden, LANES), np.float32), np.zeros((hidden, LANES), np.float32)
    passed, candidate = np.zeros((hidden, LANES), np.float32), np.zeros((hidden, LANES), np.float32)
    gates, nothing = np.zeros((3 * hidden, LANES), np.float32), np.zeros(hidden, np.float32)
    of_step = np.empty((KEPT * hidden, LANES), np.float32)
    for t in range(told.shape[1] - 1, -1, -1):
        by_samples(states[streams, t], outside)
        put(kept[t], of_step)
        r, z, n = of_step[:hidden], of_step[hidden : 2 * hidden], of_step[2 * hidden : 3 * hidden]
        h, before = of_step[3 * hidden : 4 * hidden], of_step[4 * hidden :]
        for j in range(hidden):
            for i in range(LANES):
                later[j, i] += outside[j, i]
        _of_candidate(later, z, n, candidate)
        _of_gate(candidate, h, r, gates[:hidden])
        _of_update(later, before, n, z, gates[hidden : 2 * hidden])
        for j in range(hidden):
            for i in range(LANES):
                gates[2 * hidden + j, i] = candidate[j, i] * r[j, i]
                passed[j, i] = later[j, i] * z[j, i]
        to_cells(gates[: 2 * hidden], told[streams, t, : 2 * hidden])
        to_cells(candidate, told[streams, t, 2 * hidden :])
        to_cells(gates[2 * hidden :], from_state[streams, t])
        dense(transposed, nothing, gates, later)
        for j in range(hidden):
            for i in range(LANES):
                later[j, i] += passed[j, i]
    to_cells(later, start[streams])


@compiled(parallel=True, error_model="numpy")
def forth(
    told: Float32, start: Float32, weight: Float32, bias: Float32, states: Float32, kept: Float32
) -> None:
    """Fill ``states`` [B, T, H] from ``told`` [B, T, 3H], what the input adds to the gates and the new state, and the
    state at the ``start`` [B, H]; ``weight`` [3H, H] and ``bias`` [3H] of the state.

    ``kept`` [⌈B/LANES⌉, T, `KEPT` · H, LANES] is for `back`.
    """
    for group in prange(len(kept)):
        _forth(group * LANES, told, start, weight, bias, states, kept[group])


@compiled(parallel=True, error_model="numpy")
def back(
    states: Float32, transposed: Float32, kept: Float32, told: Float32, from_state: Float32, start: Float32
) -> None:
    """The gradients of ``told`` [B, T, 3H] and ``start`` [B, H] from that of the ``states`` [B, T, H]; ``from_state``
    [B, T, H] is that of what the state adds to the new one. ``transposed`` [H, 3H]: the weight's rows as columns."""
    for group in prange(len(kept)):
        _back(group * LANES, states, transposed, kept[group], told, from_state, start)
