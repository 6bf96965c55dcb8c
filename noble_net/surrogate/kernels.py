"""The streaming core's arithmetic on CPU, compiled by numba.

Cells lie along the SIMD lanes in micro-batches of `LANES`, every sum runs over its inputs in one fixed order and
no reassociation is allowed, so a cell's result does not depend on which cells share its batch, on the number of
threads, or on how time is cut into blocks. Short micro-batches are padded, never run through a scalar remainder.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from noble_net.surrogate import scaling as s
from noble_net.surrogate.tiles import LANES, dense
from noble_net.types import BLOCK_SLOPE, Float32, UInt32

_MATH = {"contract", "nsz"}

_V_CENTRE, _V_SCALE = np.float32(s.VOLTAGE_CENTRE), np.float32(s.VOLTAGE_SCALE)
_V_LOW, _V_HIGH = np.float32(s.VOLTAGE_LOW), np.float32(s.VOLTAGE_HIGH)
_V_UNSCALE = np.float32(1.0 / s.VOLTAGE_SCALE)
_I_SCALE, _I_LIMIT = np.float32(s.CURRENT_SCALE), np.float32(s.CURRENT_LIMIT)
_G_SCALE, _G_LIMIT = np.float32(s.CONDUCTANCE_SCALE), np.float32(s.CONDUCTANCE_LIMIT)
_SLOPE = np.float32(BLOCK_SLOPE)
_MILLI, _HALF, _ZERO, _ONE = np.float32(1e-3), np.float32(0.5), np.float32(0.0), np.float32(1.0)

# tanh as a ratio of polynomials on [−7.9, 7.9], exact to float32 rounding (the coefficients Eigen uses).
_TANH_LIMIT = np.float32(7.90531110763549805)
_A1, _A3, _A5, _A7 = (
    np.float32(x)
    for x in (4.89352455891786e-03, 6.37261928875436e-04, 1.48572235717979e-05, 5.12229709037114e-08)
)
_A9, _A11, _A13 = (
    np.float32(x) for x in (-8.60467152213735e-11, 2.00018790482477e-13, -2.76076847742355e-16)
)
_B0, _B2, _B4, _B6 = (
    np.float32(x)
    for x in (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06)
)


@njit(inline="always")
def _tanh(x):  # type: ignore[no-untyped-def]
    x = min(max(x, -_TANH_LIMIT), _TANH_LIMIT)
    q = x * x
    p = x * (_A1 + q * (_A3 + q * (_A5 + q * (_A7 + q * (_A9 + q * (_A11 + q * _A13))))))
    return p / (_B0 + q * (_B2 + q * (_B4 + q * _B6)))


@njit(inline="always")
def _sigmoid(x):  # type: ignore[no-untyped-def]
    return _HALF + _HALF * _tanh(_HALF * x)


@njit(cache=True, fastmath=_MATH, error_model="numpy")
def _load_dendrites(
    dendrites: Float32, zones: int, start: int, first: int, history: Float32, x: Float32, outside: UInt32
) -> None:
    """Fill x with [effective current | root of the conductance | root of NMDA conductance] of every zone in one step.

    ``dendrites`` holds, one zone after another, Σ g·E (pA), then conductance, then with NMDA its conductance (nS).
    """
    n = len(history)
    cells = min(LANES, dendrites.shape[1] - first)
    share = _ONE / np.float32(n)
    mean = np.zeros((len(dendrites), LANES), np.float32)
    for row in range(len(dendrites)):
        for i in range(cells):
            for k in range(n):
                mean[row, i] += dendrites[row, first + i, start + k]
            mean[row, i] *= share
    for zone in range(zones):
        for i in range(cells):
            inward = mean[zone, i] - mean[zones + zone, i] * history[n - 1, i]
            effective = _I_SCALE * _MILLI * inward
            x[zone, i] = min(max(effective, -_I_LIMIT), _I_LIMIT)
            if abs(effective) > _I_LIMIT:
                outside[first + i] += np.uint32(n)
    for row in range(zones, len(dendrites)):
        for i in range(cells):
            scaled = _G_SCALE * mean[row, i]
            x[row, i] = math.sqrt(min(max(scaled, _ZERO), _G_LIMIT))
            if scaled > _G_LIMIT or scaled < _ZERO:
                outside[first + i] += np.uint32(n)


@njit(cache=True, fastmath=_MATH, error_model="numpy")
def _fill(bias: Float32, out: Float32) -> None:
    for j in range(len(bias)):
        for i in range(LANES):
            out[j, i] = bias[j]


@njit(cache=True)
def _copy(source: Float32, out: Float32) -> None:
    for j in range(len(out)):
        for i in range(LANES):
            out[j, i] = source[j, i]


@njit(cache=True, fastmath=_MATH, error_model="numpy")
def _silu(x: Float32) -> None:
    for j in range(len(x)):
        for i in range(LANES):
            x[j, i] = x[j, i] * _sigmoid(x[j, i])


@njit(cache=True, fastmath=_MATH, error_model="numpy")
def _gate(from_input: Float32, from_state: Float32, state: Float32) -> None:
    """GRU update h' = (1 − z)·n + z·h, n = tanh(x_n + r·h_n); the gates r, z, n are stacked along the rows."""
    hidden = len(state)
    for j in range(hidden):
        for i in range(LANES):
            r = _sigmoid(from_input[j, i] + from_state[j, i])
            z = _sigmoid(from_input[hidden + j, i] + from_state[hidden + j, i])
            n = _tanh(from_input[2 * hidden + j, i] + r * from_state[2 * hidden + j, i])
            state[j, i] = (_ONE - z) * n + z * state[j, i]


@njit(cache=True, fastmath=_MATH, error_model="numpy")
def _open_nmda(drive: Float32, start: int, first: int, history: Float32, half: Float32) -> None:
    """Add what the last voltage's magnesium block lets through of drive[3:5] to the step's drive[1:3]."""
    n = len(history)
    cells = min(LANES, drive.shape[1] - first)
    opened = np.zeros(LANES, np.float32)
    for i in range(cells):
        opened[i] = _SLOPE * (history[n - 1, i] - half[first + i])
    for i in range(LANES):
        opened[i] = _sigmoid(opened[i])
    for k in range(n):
        for i in range(cells):
            drive[1, first + i, start + k] += opened[i] * drive[3, first + i, start + k]
            drive[2, first + i, start + k] += opened[i] * drive[4, first + i, start + k]


@njit(cache=True, fastmath=_MATH, error_model="numpy")
def _load_inputs(
    drive: Float32, start: int, first: int, history: Float32, x: Float32, outside: UInt32
) -> None:
    """Fill x with [effective current | conductance | voltage] of one step; drive [3, cells, samples]."""
    n = len(history)
    cells = min(LANES, drive.shape[1] - first)
    for k in range(n):
        for i in range(cells):
            g = drive[1, first + i, start + k]
            j = drive[2, first + i, start + k]
            effective = _I_SCALE * (drive[0, first + i, start + k] + _MILLI * (j - g * history[n - 1, i]))
            scaled = _G_SCALE * g
            x[k, i] = min(max(effective, -_I_LIMIT), _I_LIMIT)
            x[n + k, i] = min(max(scaled, _ZERO), _G_LIMIT)
            if abs(effective) > _I_LIMIT or scaled > _G_LIMIT or scaled < _ZERO:
                outside[first + i] += np.uint32(1)
        for i in range(LANES):
            x[2 * n + k, i] = _V_SCALE * (history[k, i] - _V_CENTRE)


@njit(cache=True, fastmath=_MATH, error_model="numpy")
def _answer(
    increment: Float32, start: int, first: int, history: Float32, voltage: Float32, outside: UInt32
) -> None:
    """New voltages from the decoder's increments; history becomes them."""
    n = len(history)
    cells = min(LANES, len(voltage) - first)
    for i in range(LANES):
        last = history[n - 1, i]
        for k in range(n):
            v = last + _V_UNSCALE * increment[k, i]
            if i < cells and (v < _V_LOW or v > _V_HIGH):
                outside[first + i] += np.uint32(1)
            v = min(max(v, _V_LOW), _V_HIGH)
            history[k, i] = v
            if i < cells:
                voltage[first + i, start + k] = v


@njit(cache=True, fastmath=_MATH, error_model="numpy")
def _micro_batch(
    batch: int,
    drive: Float32,
    half: Float32,
    dendrites: Float32,
    zones: int,
    block: Float32,
    bias: Float32,
    hidden: Float32,
    history: Float32,
    weights: tuple[Float32, ...],
    voltage: Float32,
    outside: UInt32,
) -> None:
    """Advance `LANES` cells, or what is left of them; arguments as in `advance`."""
    encode_in, encode_out, encode_out_bias, gru_in, gru_state, gru_state_bias = weights[:6]
    decode_in, decode_out, decode_out_bias = weights[6:]
    cells, width = hidden.shape
    n = history.shape[1]
    first = batch * LANES
    here = min(LANES, cells - first)
    x = np.zeros((encode_in.shape[1], LANES), np.float32)
    past = np.zeros((n, LANES), np.float32)
    # rows 0..H−1 hold the encoded input, H..2H−1 the recurrent state: the decoder reads both at once
    joined = np.zeros((2 * width, LANES), np.float32)
    layer = np.empty((width, LANES), np.float32)
    gates_x = np.empty((3 * width, LANES), np.float32)
    gates_h = np.empty((3 * width, LANES), np.float32)
    increment = np.empty((len(decode_out), LANES), np.float32)
    encoded, state = joined[:width], joined[width:]
    encode_bias, gate_bias = bias[batch, :width], bias[batch, width : 4 * width]
    decode_bias = bias[batch, 4 * width : 5 * width]
    for i in range(here):
        for j in range(width):
            state[j, i] = hidden[first + i, j]
        for k in range(n):
            past[k, i] = history[first + i, k]
    if len(block):
        for i in range(here):
            x[3 * n + len(dendrites), i] = block[first + i]
    for step in range(drive.shape[2] // n):
        start = step * n
        if len(half):
            _open_nmda(drive, start, first, past, half)
        _load_inputs(drive, start, first, past, x, outside)
        if zones:
            _load_dendrites(dendrites, zones, start, first, past, x[3 * n :], outside)
        if len(encode_out):
            _copy(encode_bias, layer)
            dense(encode_in, x, layer)
            _silu(layer)
            _fill(encode_out_bias, encoded)
            dense(encode_out, layer, encoded)
        else:
            _copy(encode_bias, encoded)
            dense(encode_in, x, encoded)
        _silu(encoded)
        _copy(gate_bias, gates_x)
        dense(gru_in, encoded, gates_x)
        _fill(gru_state_bias, gates_h)
        dense(gru_state, state, gates_h)
        _gate(gates_x, gates_h, state)
        _copy(decode_bias, layer)
        dense(decode_in, joined, layer)
        _silu(layer)
        _fill(decode_out_bias, increment)
        dense(decode_out, layer, increment)
        _answer(increment, start, first, past, voltage, outside)
    for i in range(here):
        for j in range(width):
            hidden[first + i, j] = state[j, i]
        for k in range(n):
            history[first + i, k] = past[k, i]


@njit(cache=True, parallel=True, error_model="numpy")
def advance(
    drive: Float32,
    half: Float32,
    dendrites: Float32,
    zones: int,
    block: Float32,
    bias: Float32,
    hidden: Float32,
    history: Float32,
    weights: tuple[Float32, ...],
    voltage: Float32,
    outside: UInt32,
) -> None:
    """Advance all cells by the block in ``drive`` [3, cells, samples] (nA, nS, pA) of the soma.

    With NMDA input ``half`` [cells] holds its voltages of half block (mV), and ``drive`` [5, …] also its conductance
    and reversal current, which each step adds to the others in place; without, ``half`` is empty. ``dendrites``
    [rows, cells, samples]: of each of the ``zones`` Σ g·E (pA), then of each its conductance and, with NMDA, that one's
    (nS); ``block`` [cells]: with such NMDA the scaled half of its magnesium block, else empty.

    ``bias`` [micro-batches, 5 H, LANES] are every cell's biases of encoder, gates and decoder, the code folded in
    (`noble_net.surrogate.conditioning`); ``hidden`` [cells, H] and ``history`` [cells, n] (mV) are updated in place;
    ``voltage`` [cells, samples] and ``outside`` [cells] (added to) are the answer. ``weights`` are the layers'
    matrices, and biases where they are the same for all cells, in the order they are used; both are padded to
    multiples of 4, and an encoder of one layer has no rows in its second.
    """
    for batch in prange((len(hidden) + LANES - 1) // LANES):
        _micro_batch(
            batch, drive, half, dendrites, zones, block, bias, hidden, history, weights, voltage, outside
        )
