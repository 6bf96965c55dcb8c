"""Nonlinearities of the streaming core, compiled: the cells of a micro-batch along the lanes."""

from __future__ import annotations

import numpy as np
from numba import njit

from noble_net.compiled import compiled
from noble_net.surrogate.tiles import LANES
from noble_net.types import Float32

MATH = {"contract", "nsz"}
"""What compiled code may do to expressions: nothing that depends on the vectors' width."""

_HALF, _ONE = np.float32(0.5), np.float32(1.0)

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
def tanh(x):  # type: ignore[no-untyped-def]
    x = min(max(x, -_TANH_LIMIT), _TANH_LIMIT)
    q = x * x
    p = x * (_A1 + q * (_A3 + q * (_A5 + q * (_A7 + q * (_A9 + q * (_A11 + q * _A13))))))
    return p / (_B0 + q * (_B2 + q * (_B4 + q * _B6)))


@njit(inline="always")
def sigmoid(x):  # type: ignore[no-untyped-def]
    return _HALF + _HALF * tanh(_HALF * x)


@compiled(fastmath=MATH, error_model="numpy")
def silu(x: Float32) -> None:
    for j in range(len(x)):
        for i in range(LANES):
            x[j, i] = x[j, i] * sigmoid(x[j, i])


@compiled(fastmath=MATH, error_model="numpy")
def gate(gates: Float32, from_input: Float32, from_state: Float32, state: Float32) -> None:
    """GRU update h' = (1 − z)·n + z·h, n = tanh(x_n + r·h_n), from the sums before the nonlinearities: ``gates`` hold
    those of r, then of z; ``from_input`` is x_n and ``from_state`` h_n."""
    hidden = len(state)
    for j in range(hidden):
        for i in range(LANES):
            r = sigmoid(gates[j, i])
            z = sigmoid(gates[hidden + j, i])
            n = tanh(from_input[j, i] + r * from_state[j, i])
            state[j, i] = (_ONE - z) * n + z * state[j, i]
