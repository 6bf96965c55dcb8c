"""Nonlinearities of the compiled cores against numpy's."""

import numpy as np
from numba import njit

from noble_net.surrogate import activations


@njit
def tanh(x):
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = activations.tanh(x[i])
    return out


def test_tanh_is_within_half_a_millionth_everywhere():
    x = np.linspace(-12.0, 12.0, 200_001, dtype=np.float32)
    found = tanh(x)
    assert np.abs(found - np.tanh(x.astype(np.float64))).max() < 5e-7
    assert np.abs(found).max() <= 1.0
