"""Numbers of a family's card: its main features, and how far apart its members are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from noble_net.cells.family import Family
from noble_net.types import Float64

MAIN_FEATURES = (
    "I_thr",
    "s_thr",
    "input_resistance",
    "voltage_base",
    "sag_amplitude",
    "decay_time_constant_after_stim",
    "AP1_peak",
    "AP1_width",
    "mean_AP_amplitude",
    "AHP_depth",
    "inv_first_ISI",
    "time_to_first_spike",
)
"""The features a card shows and measures distances by: excitability, passive response, spike shape, timing."""

UNITS: Mapping[str, str] = {
    "I_thr": "nA",
    "s_thr": "Hz/nA",
    "input_resistance": "MΩ",
    "voltage_base": "mV",
    "sag_amplitude": "mV",
    "decay_time_constant_after_stim": "ms",
    "steady_state_voltage_stimend": "mV",
    "steady_state_voltage": "mV",
    "AP1_peak": "mV",
    "AP1_width": "ms",
    "mean_AP_amplitude": "mV",
    "AHP_depth": "mV",
    "AHP1_depth_from_peak": "mV",
    "AHP_time_from_peak": "ms",
    "inv_first_ISI": "Hz",
    "time_to_first_spike": "ms",
    "mean_frequency": "Hz",
}
"""Units of features, as eFEL gives them; those not named have none."""

NEARLY_EQUAL = 0.5
"""Members whose main features differ by less than this (root-mean-square, in the family's standard deviations)."""

Indices = np.ndarray[Any, np.dtype[np.intp]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


class Distances(NamedTuple):
    """Root-mean-square distances of all pairs of members, in the family's standard deviations, [pairs] each."""

    features: Float64
    parameters: Float64
    first: Indices
    second: Indices

    @property
    def similar(self) -> Mask:
        """Pairs with nearly equal features."""
        return np.asarray(self.features < NEARLY_EQUAL)

    @property
    def degenerate(self) -> Mask:
        """Of these, the pairs whose parameters are farther apart than those of half of all pairs."""
        return np.asarray(self.similar & (self.parameters > np.median(self.parameters)))


def distances(family: Family) -> Distances:
    """How far apart members are in their main features and in their coded parameters."""
    features = _standardised(family.table[known_features(family)].to_numpy(np.float64))
    code = _standardised(family.codes(family.ids()).astype(np.float64))
    first, second = np.triu_indices(len(code), 1)
    return Distances(_apart(features, first, second), _apart(code, first, second), first, second)


def known_features(family: Family) -> list[str]:
    """Main features that every member has and that differ between them."""
    return [
        name
        for name in MAIN_FEATURES
        if name in family.table
        and np.isfinite(family.table[name]).all()
        and float(np.ptp(family.table[name])) > 0
    ]


def _standardised(values: Float64) -> Float64:
    spread = values.std(axis=0)
    return np.asarray((values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0))


def _apart(values: Float64, first: Indices, second: Indices) -> Float64:
    """RMS distance of pairs of rows, [pairs]: by the Gram matrix, as all pairs' differences would take gigabytes."""
    squares = (values**2).sum(axis=1)
    squared = (squares[:, None] + squares[None] - 2 * values @ values.T)[first, second]
    return np.asarray(np.sqrt(np.maximum(squared, 0.0) / max(values.shape[1], 1)))
