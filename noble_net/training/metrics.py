"""Single-cell accuracy against the exact solver, pooled over cells: one definition for each number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from noble_net.types import Float32, Float64

WINDOW = 2.0
"""Coincidence window Δ, ms."""
DISCARD = 200.0
"""Start of a trace that counts in no measure, ms."""
CLIP = -50.0
"""Voltages are clipped above at this for the subthreshold measures, mV."""
FASTEST = 150.0
"""Cells firing faster than this are left out of Γ, whose normaliser fails there, Hz."""


class Coincidence(NamedTuple):
    """Pooled coincidence factor Γ and what went into it."""

    gamma: float
    f_score: float
    cells: int
    silent: int
    too_fast: int


def coincidence(reference: Sequence[Float64], model: Sequence[Float64], duration: float) -> Coincidence:
    """Γ(±2 ms) over pairs of spike trains (ms, within ``duration`` ms), pooled.

    Γ = (N_coinc − ⟨N⟩) / (½(N_ref + N_mod)) / (1 − 2νΔ), ⟨N⟩ = 2νΔ·N_ref, ν the model's rate (Kistler et al.
    1997, Jolivet et al. 2008). Pairs silent on both sides and pairs above 150 Hz are left out and counted. NaN
    when no pair is left.
    """
    matched = expected = n_reference = n_model = 0.0
    silent = fast = used = 0
    for a, b in zip(reference, model, strict=True):
        if not len(a) and not len(b):
            silent += 1
        elif max(len(a), len(b)) * 1000.0 / duration > FASTEST:
            fast += 1
        else:
            used += 1
            matched += matches(a, b)
            expected += 2.0 * len(b) / duration * WINDOW * len(a)
            n_reference += len(a)
            n_model += len(b)
    if not used or not n_reference:
        return Coincidence(float("nan"), float("nan"), used, silent, fast)
    chance = expected / n_reference
    half = 0.5 * (n_reference + n_model)
    return Coincidence((matched - expected) / half / (1.0 - chance), matched / half, used, silent, fast)


def matches(a: Float64, b: Float64, window: float = WINDOW) -> int:
    """Largest number of one-to-one pairs of sorted times that lie within ``window`` ms of each other."""
    i = j = count = 0
    while i < len(a) and j < len(b):
        gap = a[i] - b[j]
        if abs(gap) <= window:
            count, i, j = count + 1, i + 1, j + 1
        elif gap < 0:
            i += 1
        else:
            j += 1
    return count


def rate_error(reference: Float64, model: Float64) -> tuple[float, float]:
    """(Σ|n̂ − n|/Σn, Σn̂/Σn − 1) of spike counts, any shape; NaN for a silent reference."""
    total = float(np.sum(reference))
    if total == 0.0:
        return float("nan"), float("nan")
    return float(np.abs(model - reference).sum()) / total, float(np.sum(model)) / total - 1.0


def clipped_error(reference: Float32, model: Float32) -> tuple[float, float]:
    """Clipped RMSE (mV) and clipped explained variance of voltages [cells, samples], clipped above at −50 mV.

    The explained variance of a constant reference is NaN.
    """
    a, b = np.minimum(reference, CLIP).astype(np.float64), np.minimum(model, CLIP).astype(np.float64)
    error = b - a
    rmse = float(np.sqrt(np.mean(error**2)))
    variance = float(np.mean(np.var(a, axis=1)))
    if variance < 1e-6:
        return rmse, float("nan")
    return rmse, 1.0 - float(np.mean(np.var(error, axis=1))) / variance


def interval_cv(trains: Sequence[Float64]) -> float:
    """Mean coefficient of variation of inter-spike intervals over trains of at least three spikes."""
    values = [np.std(d) / np.mean(d) for d in (np.diff(t) for t in trains) if len(d) >= 2]
    return float(np.mean(values)) if values else float("nan")
