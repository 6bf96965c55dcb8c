"""What goes into the streaming core and comes out of it, step by step for a micro-batch of cells, compiled.

Input arrays are one step's of the cells of one micro-batch, [cells, n samples] each, the cells `LANES` or fewer.
"""

from __future__ import annotations

import math

import numpy as np

from noble_net.compiled import compiled
from noble_net.surrogate import scaling as s
from noble_net.surrogate.activations import MATH, sigmoid
from noble_net.surrogate.tiles import LANES
from noble_net.types import BLOCK_SLOPE, Float32, UInt32

_V_CENTRE, _V_SCALE = np.float32(s.VOLTAGE_CENTRE), np.float32(s.VOLTAGE_SCALE)
_V_LOW, _V_HIGH = np.float32(s.VOLTAGE_LOW), np.float32(s.VOLTAGE_HIGH)
_V_UNSCALE = np.float32(1.0 / s.VOLTAGE_SCALE)
_I_SCALE, _I_LIMIT = np.float32(s.CURRENT_SCALE), np.float32(s.CURRENT_LIMIT)
_G_SCALE, _G_LIMIT = np.float32(s.CONDUCTANCE_SCALE), np.float32(s.CONDUCTANCE_LIMIT)
_SLOPE = np.float32(BLOCK_SLOPE)
_B_CENTRE, _B_UNSCALE = np.float32(s.BLOCK_CENTRE), np.float32(1.0 / s.BLOCK_SCALE)
_ROUNDS = s.LOCAL_ROUNDS
_S_CENTRE, _S_SCALE = np.float32(s.SLOW_CENTRE), np.float32(s.SLOW_SCALE)
_S_LIMIT = np.float32(s.SLOW_LIMIT)
_MILLI, _ZERO = np.float32(1e-3), np.float32(0.0)


@compiled(fastmath=MATH, error_model="numpy")
def by_samples(source: Float32, out: Float32) -> None:
    """out [n, LANES] = source [cells, n], the cells along the lanes."""
    for i in range(source.shape[0]):
        for k in range(source.shape[1]):
            out[k, i] = source[i, k]


@compiled(fastmath=MATH, error_model="numpy")
def to_cells(source: Float32, out: Float32) -> None:
    """out [cells, n] = source [n, LANES], the other way round."""
    for i in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[i, k] = source[k, i]


@compiled(fastmath=MATH, error_model="numpy")
def mean_of(source: Float32, out: Float32) -> None:
    """out [LANES] = the mean over the samples of source [cells, n]."""
    n = source.shape[1]
    share = np.float32(1.0) / np.float32(n)
    for i in range(source.shape[0]):
        total = _ZERO
        for k in range(n):
            total += source[i, k]
        out[i] = share * total


@compiled(fastmath=MATH, error_model="numpy")
def opened(last: Float32, half: Float32, out: Float32) -> None:
    """out [LANES]: the share of NMDA conductance that magnesium lets through at the last voltages [LANES]."""
    for i in range(len(half)):
        out[i] = _SLOPE * (last[i] - half[i])
    for i in range(LANES):
        out[i] = sigmoid(out[i])


@compiled(fastmath=MATH, error_model="numpy")
def scale_slow(slow: Float32, out: Float32) -> None:
    """out [variables, LANES]: what the encoder gets of slow variables [variables, LANES]."""
    for k in range(len(slow)):
        for i in range(LANES):
            out[k, i] = _S_SCALE * (math.sqrt(slow[k, i]) - _S_CENTRE)


@compiled(fastmath=MATH, error_model="numpy")
def let_in(influx: Float32, numbers: Float32, slow: Float32) -> None:
    """Slow variables [variables, LANES] after a step of which the decoder answers ``influx`` [at least variables,
    LANES]; ``numbers``: `noble_net.surrogate.streaming_shape.slow_numbers`."""
    for k in range(len(slow)):
        rest, kept, unit = numbers[k]
        for i in range(LANES):
            above = kept * (slow[k, i] - rest) + unit * max(influx[k, i], _ZERO)
            slow[k, i] = min(rest + above, _S_LIMIT)


@compiled(fastmath=MATH, error_model="numpy")
def scale_soma(soma: Float32, history: Float32, limits: Float32, x: Float32, outside: UInt32) -> None:
    """Fill x [3 n, LANES] with [effective current | conductance | voltage] of one step from soma [3, n, LANES]:
    current (nA), conductance (nS) and Σ g·E (pA). ``limits`` are the zone's of `Envelope.limits`."""
    n = len(history)
    for k in range(n):
        for i in range(LANES):
            g = soma[1, k, i]
            inward = soma[2, k, i] - g * history[n - 1, i]
            effective = _I_SCALE * (soma[0, k, i] + _MILLI * inward)
            scaled = _G_SCALE * g
            x[k, i] = min(max(effective, -_I_LIMIT), _I_LIMIT)
            x[n + k, i] = min(max(scaled, _ZERO), _G_LIMIT)
            x[2 * n + k, i] = _V_SCALE * (history[k, i] - _V_CENTRE)
            beyond = (
                (effective < limits[0]) | (effective > limits[1]) | (scaled > limits[2]) | (scaled < _ZERO)
            )
            outside[i] += np.uint32(beyond)


@compiled(fastmath=MATH, error_model="numpy")
def scale_dendrites(
    x: Float32,
    half: Float32,
    coupling: Float32,
    local: Float32,
    history: Float32,
    limits: Float32,
    outside: UInt32,
) -> None:
    """Make of x [rows, LANES], of each zone Σ g·E (pA), then of each nothing yet, then of each its conductance, then
    perhaps of each its NMDA conductance (nS): currents to the soma, local voltages, roots of the conductances (see
    `noble_net.surrogate.streaming_torch.StreamingNet`).

    ``half`` [LANES]: the scaled half of the magnesium block, read where there is NMDA. ``coupling`` [zones], nS;
    ``local`` [LANES] is scratch; ``limits`` [zones, 4] are those of `Envelope.limits`.
    """
    n, zones = len(history), len(coupling)
    nmda = len(x) == 4 * zones
    for zone in range(zones):
        c = coupling[zone]
        for i in range(LANES):
            effective = _I_SCALE * _MILLI * (x[zone, i] - x[2 * zones + zone, i] * history[n - 1, i])
            beyond = (effective < limits[zone, 0]) | (effective > limits[zone, 1])
            outside[i] += np.uint32(n) * np.uint32(beyond)
            x[zone, i] += c * history[n - 1, i]
            x[zones + zone, i] = x[zone, i] / (c + x[2 * zones + zone, i])
        if nmda:
            for _ in range(_ROUNDS):
                for i in range(LANES):
                    local[i] = _SLOPE * (x[zones + zone, i] - (_B_CENTRE + _B_UNSCALE * half[i]))
                for i in range(LANES):
                    open_now = x[3 * zones + zone, i] * sigmoid(local[i])
                    x[zones + zone, i] = x[zone, i] / (c + x[2 * zones + zone, i] + open_now)
        for i in range(LANES):
            inward = _I_SCALE * _MILLI * c * (x[zones + zone, i] - history[n - 1, i])
            x[zone, i] = min(max(inward, -_I_LIMIT), _I_LIMIT)
            x[zones + zone, i] = _V_SCALE * (x[zones + zone, i] - _V_CENTRE)
    for row in range(2 * zones, len(x)):
        most = limits[row % zones, row // zones]
        for i in range(LANES):
            scaled = _G_SCALE * x[row, i]
            x[row, i] = math.sqrt(min(max(scaled, _ZERO), _G_LIMIT))
            outside[i] += np.uint32(n) * np.uint32((scaled > most) | (scaled < _ZERO))


@compiled(fastmath=MATH, error_model="numpy")
def answer(increment: Float32, history: Float32, limits: Float32, outside: UInt32) -> None:
    """The decoder's increments [n, LANES] make new voltages, which the history becomes. ``limits``: those of the
    voltage, mV."""
    n = len(history)
    for k in range(n):
        for i in range(LANES):
            v = history[n - 1, i] + _V_UNSCALE * increment[k, i]
            outside[i] += np.uint32((v < limits[0]) | (v > limits[1]))
            increment[k, i] = min(max(v, _V_LOW), _V_HIGH)
    for k in range(n):
        for i in range(LANES):
            history[k, i] = increment[k, i]
