"""The space an evolution searches: the parameters that vary, their bounds, coordinates between 0 and 1."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from noble_net.cells.model import CellModel
from noble_net.errors import FamilyError
from noble_net.specs.families import EvolveSpec
from noble_net.types import Float64


class Space(NamedTuple):
    """The parameters that vary: names, bounds, whether a coordinate is the logarithm, and the cell's own values."""

    names: tuple[str, ...]
    low: Float64
    high: Float64
    logarithmic: np.ndarray[Any, np.dtype[np.bool_]]
    centre: Float64

    @staticmethod
    def of(model: CellModel, spec: EvolveSpec) -> Space:
        """The space of a recipe. Raises FamilyError for bounds of a parameter the cell lacks, or without extent."""
        names = spec.vary or tuple(
            n for n in model.parameters if n.startswith(("gbar_", "g_pas")) or n in spec.bounds
        )
        unknown = sorted({*names, *spec.bounds} - set(model.parameters))
        if unknown:
            raise FamilyError(f"the cell has no parameter {unknown}; it has {sorted(model.parameters)}")
        centre = np.array([model.parameters[n] for n in names])
        bounds = np.array(
            [
                spec.bounds.get(n, (model.parameters[n] / spec.range, model.parameters[n] * spec.range))
                for n in names
            ]
        )
        for name, (low, high) in zip(names, bounds, strict=True):
            if not low < high:
                raise FamilyError(
                    f"parameter {name} has no extent ({low:g} to {high:g}): give it bounds, or leave it out of `vary`"
                )
        positive = bounds[:, 0] > 0
        return Space(names, bounds[:, 0], bounds[:, 1], positive, np.clip(centre, bounds[:, 0], bounds[:, 1]))

    def coordinates(self, values: Float64) -> Float64:
        """Parameter values [..., n] → coordinates in [0, 1], logarithmic where the bounds are positive."""
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.log(values / self.low) / np.log(self.high / self.low)
        return np.asarray(np.where(self.logarithmic, logs, (values - self.low) / (self.high - self.low)))

    def values(self, coordinates: Float64) -> dict[str, float]:
        """Coordinates [n] → parameter → value, rounded to nine digits so that it survives text."""
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = self.low * np.exp(coordinates * np.log(self.high / self.low))
        linear = self.low + coordinates * (self.high - self.low)
        found = np.where(self.logarithmic, logs, linear)
        return {name: float(f"{value:.9g}") for name, value in zip(self.names, found, strict=True)}
