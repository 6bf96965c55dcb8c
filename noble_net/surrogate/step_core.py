"""The interface of cores that answer square current steps: NOBLE as published, or any streaming core driven by steps.

A step core takes (cell, amplitude) → the whole voltage trace of one protocol. It keeps no state and knows no other
input; networks need a `noble_net.surrogate.core.Core`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from noble_net.types import CellTable, Float32, Float64


class StepProtocol(NamedTuple):
    """A square step: all times in ms. The default is the evaluation window of NOBLE (arXiv 2506.04536)."""

    onset: float = 15.0
    duration: float = 400.0
    total: float = 515.0

    @property
    def end(self) -> float:
        """Time at which the step ends, ms."""
        return self.onset + self.duration


NOBLE_PROTOCOL = StepProtocol()


class StepCore(ABC):
    """A map (cell, amplitude) → voltage over `protocol`, sampled every ``sampling`` ms from t = 0 on.

    The answer for a cell must not depend on the cells beside it, beyond the last bits of a float32.
    """

    name: str
    family: str
    """Name of the cell family the core was trained on."""
    family_hash: str
    sampling: float
    """Interval of the answered samples, ms."""
    protocol: StepProtocol = NOBLE_PROTOCOL
    batch: int = 64
    """Rows that are answered at once fastest; callers cut larger requests into such pieces."""

    @abstractmethod
    def respond(self, cells: CellTable, amplitude: Float64) -> Float32:
        """Voltage, mV, float32 [cells, samples]: cell i under a step of ``amplitude[i]`` nA (float64 [cells])."""
