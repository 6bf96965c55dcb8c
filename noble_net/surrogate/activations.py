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

# tanh as a ratio of polynomials on [−7.8, 7.8], within 5e-7. The coefficients make the largest error smallest (least
# squares of x·P(x²) − tanh(x)·Q(x²), weighed anew by the error until it is level).
_TANH_LIMIT = np.float32(7.8)
_P0, _P1, _P2, _P3, _P4 = (
    np.float32(x) for x in (9.9999924e-01, 1.27175930e-01, 2.70254307e-03, 7.21845493e-06, -6.26268991e-09)
)
_Q1, _Q2, _Q3 = (np.float32(x) for x in (4.60506460e-01, 2.28744085e-02, 1.97612116e-04))


@njit(inline="always")
def tanh(x):  # type: ignore[no-untyped-def]
    x = min(max(x, -_TANH_LIMIT), _TANH_LIMIT)
    q = x * x
    p = x * (_P0 + q * (_P1 + q * (_P2 + q * (_P3 + q * _P4))))
    return p / (_ONE + q * (_Q1 + q * (_Q2 + q * _Q3)))


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
    """GRU update h' = n + z·(h − n), n = tanh(x_n + r·h_n), from the sums before the nonlinearities: ``gates`` hold
    those of r, then of z; ``from_input`` is x_n and ``from_state`` h_n."""
    hidden = len(state)
    for j in range(hidden):
        for i in range(LANES):
            r = sigmoid(gates[j, i])
            z = sigmoid(gates[hidden + j, i])
            n = tanh(from_input[j, i] + r * from_state[j, i])
            state[j, i] = n + z * (state[j, i] - n)
