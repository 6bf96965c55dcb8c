"""The compiled loops of the adaptive exponential and the generalised leaky integrate-and-fire model.

Both hold the input of a sample constant and take ``steps`` equal sub-steps of it. Columns of ``parameters`` are those
of `noble_net.rivals.models`; ``state`` is updated in place. A spike shows as `SPIKE_VOLTAGE` from its sample on for the
member's spike width, the first part of the refractory time; the rest of that time shows the reset voltage.
"""

from __future__ import annotations

import math

import numpy as np

from noble_net.compiled import compiled
from noble_net.types import DT, Float32, Float64, Real, UInt32

SPIKE_VOLTAGE = 20.0
"""Voltage written while a spike lasts, mV."""
CUT = 0.0
"""Voltage at which the exponential of AdEx counts as a spike, mV: 0.02 ms later it would be infinite."""
LOWEST = -150.0
"""Voltage below which a cell is clamped, mV."""
_STEEPEST = 20.0
"""Largest exponent of AdEx: beyond it a sub-step ends in a spike in any case."""
_SMALL = 0.05
"""Below this a series takes the place of an exponential."""
_TOGETHER = 16
"""Cells advanced side by side, so that none waits for its own last result."""


@compiled(error_model="numpy")
def adaptive_exponential(
    steps: int,
    parameters: Float64,
    state: Float64,
    current: Real,
    conductance: Real,
    reversal_current: Real,
    voltage: Float32,
    outside: UInt32,
) -> None:
    """C dV/dt = g_L(E_L − V) + g_L·Δ·exp((V − V_T)/Δ) − w + I + J − G·V; τ_w dw/dt = a(V − E_L) − w.

    At V ≥ CUT: V ← V_r for the refractory time, w ← w + b (Brette & Gerstner 2005, J. Neurophysiol. 94: 3637, eqs
    1–3, with a refractory time). Each sub-step of V is an exponential Rosenbrock–Euler one (Hochbruck & Ostermann 2010,
    Acta Numerica 19: 209), second order, and exact where the exponential is negligible and w constant.

    ``parameters`` [cells, 11]; ``state`` [cells, 3]: V (mV), refractory time left (ms), w (pA). Input and
    ``voltage`` are [cells, samples].
    """
    h = DT / steps
    n_cells, n_samples = voltage.shape
    kept = np.empty(n_cells)
    for i in range(n_cells):
        kept[i] = math.exp(-h / parameters[i, 9])
    for first in range(0, n_cells, _TOGETHER):
        last = min(first + _TOGETHER, n_cells)
        for k in range(n_samples):
            for i in range(first, last):
                c, leak, rest = parameters[i, 0], parameters[i, 1], parameters[i, 2]
                reset, dead_time, width = parameters[i, 3], parameters[i, 4], parameters[i, 5]
                threshold, slope = parameters[i, 6], parameters[i, 7]
                coupling, tau, jump = parameters[i, 8], parameters[i, 9], parameters[i, 10]
                v, dead, w = state[i, 0], state[i, 1], state[i, 2]
                inward = 1000.0 * float(current[i, k]) + float(reversal_current[i, k])
                g = float(conductance[i, k])
                spiked = False
                for _ in range(steps):
                    if dead >= 0.5 * h:
                        dead -= h
                        aim = coupling * (reset - rest)
                        w = aim + (w - aim) * kept[i]
                        continue
                    opened = leak * math.exp(min((v - threshold) / slope, _STEEPEST))
                    middle = w + 0.5 * h * (coupling * (v - rest) - w) / tau
                    force = (leak * (rest - v) + slope * opened - middle + inward - g * v) / c
                    x = h * (opened - leak - g) / c
                    if abs(x) < _SMALL:  # the series of (eˣ − 1)/x, to 10⁻⁹
                        grown = 1.0 + x * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120))))
                    else:
                        grown = math.expm1(x) / x
                    end = v + h * force * grown
                    aim = coupling * (0.5 * (v + min(end, CUT)) - rest)
                    w = aim + (w - aim) * kept[i]
                    v = end
                    if v >= CUT:
                        v, dead, spiked = reset, dead_time, True
                        w += jump
                    elif v < LOWEST:
                        v = LOWEST
                        outside[i] += np.uint32(1)
                state[i, 0], state[i, 1], state[i, 2] = v, dead, w
                shown = spiked or dead > dead_time - width + 0.5 * h
                voltage[i, k] = SPIKE_VOLTAGE if shown else v


@compiled(error_model="numpy")
def generalised_leaky(
    steps: int,
    parameters: Float64,
    state: Float64,
    current: Real,
    conductance: Real,
    reversal_current: Real,
    voltage: Float32,
    outside: UInt32,
) -> None:
    """C dV/dt = g_L(E_L − V) + I₁ + I₂ + I + J − G·V, with a threshold θ = θ∞ + θ_s + θ_v that moves.

    τᵢ dIᵢ/dt = −Iᵢ; τ_s dθ_s/dt = −θ_s; τ_v dθ_v/dt = κ(V − E_L) − θ_v. At V ≥ θ: V ← V_r for the refractory
    time, Iᵢ ← Iᵢ + δIᵢ, θ_s ← θ_s + δθ. That is GLIF5 of Teeter et al. (2018, Nat. Commun. 9: 709) with a fixed
    reset voltage, its a/b written as κ and 1/b as τ_v. Each sub-step of V is exact for constant Iᵢ, which are taken
    at its middle.

    ``parameters`` [cells, 15]; ``state`` [cells, 6]: V (mV), refractory time left (ms), I₁, I₂ (pA), θ_s, θ_v (mV).
    Input and ``voltage`` are [cells, samples].
    """
    h = DT / steps
    n_cells, n_samples = voltage.shape
    kept = np.empty((n_cells, 4))
    half = np.empty((n_cells, 2))
    alone = np.empty(n_cells)
    for i in range(n_cells):
        for j, column in enumerate((8, 10, 12, 14)):
            kept[i, j] = math.exp(-h / parameters[i, column])
        for j in range(2):
            half[i, j] = math.sqrt(kept[i, j])
        alone[i] = math.exp(-h * parameters[i, 1] / parameters[i, 0])
    for first in range(0, n_cells, _TOGETHER):
        last = min(first + _TOGETHER, n_cells)
        for k in range(n_samples):
            for i in range(first, last):
                c, leak, rest = parameters[i, 0], parameters[i, 1], parameters[i, 2]
                reset, dead_time, width = parameters[i, 3], parameters[i, 4], parameters[i, 5]
                v, dead = state[i, 0], state[i, 1]
                fast, slow, after, follows = state[i, 2], state[i, 3], state[i, 4], state[i, 5]
                inward = 1000.0 * float(current[i, k]) + float(reversal_current[i, k]) + leak * rest
                total = leak + float(conductance[i, k])
                left = alone[i] if total == leak else math.exp(-h * total / c)
                spiked = False
                for _ in range(steps):
                    before = v
                    held = dead >= 0.5 * h
                    if held:
                        dead -= h
                    else:
                        steady = (inward + fast * half[i, 0] + slow * half[i, 1]) / total
                        v = steady + (v - steady) * left
                    fast *= kept[i, 0]
                    slow *= kept[i, 1]
                    after *= kept[i, 2]
                    aim = parameters[i, 13] * (0.5 * (before + v) - rest)
                    follows = aim + (follows - aim) * kept[i, 3]
                    if held:
                        continue
                    if v >= parameters[i, 6] + after + follows:
                        v, dead, spiked = reset, dead_time, True
                        fast += parameters[i, 7]
                        slow += parameters[i, 9]
                        after += parameters[i, 11]
                    elif v < LOWEST:
                        v = LOWEST
                        outside[i] += np.uint32(1)
                state[i, 0], state[i, 1] = v, dead
                state[i, 2], state[i, 3], state[i, 4], state[i, 5] = fast, slow, after, follows
                shown = spiked or dead > dead_time - width + 0.5 * h
                voltage[i, k] = SPIKE_VOLTAGE if shown else v
