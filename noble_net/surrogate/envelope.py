"""What a core was trained on: the ranges of its input and voltage, beyond which its answers are extrapolated.

A cell's *effective current* in a zone is I + (J − G·V)/1000 (nA) at the somatic voltage V before a step; on dendrites,
its mean over the step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from noble_net.surrogate import scaling as s
from noble_net.surrogate.checkpoint import Checkpoint
from noble_net.types import Float32

Range = tuple[float, float]


class ZoneEnvelope(NamedTuple):
    """Effective current (lowest, highest; nA), and the largest conductance and NMDA conductance (nS)."""

    current: Range
    conductance: float
    nmda: float

    def scaled(self, somatic: bool) -> list[float]:
        """The same as the core reads them; never beyond where it clamps, as it does the soma's current."""
        low, high = (s.CURRENT_SCALE * each for each in self.current)
        limits = [max(low, -s.CURRENT_LIMIT), min(high, s.CURRENT_LIMIT)] if somatic else [low, high]
        return limits + [
            min(s.CONDUCTANCE_SCALE * each, s.CONDUCTANCE_LIMIT) for each in (self.conductance, self.nmda)
        ]


class Envelope(NamedTuple):
    """By zone what arrived, the soma first; the somatic voltage (lowest, highest; mV); and the voltages at which half
    of the NMDA conductance is blocked (likewise), where it is known."""

    zones: Mapping[str, ZoneEnvelope]
    voltage: Range
    half_block: Range | None = None

    @staticmethod
    def clamps(zones: tuple[str, ...]) -> Envelope:
        """Where cores clamp, for one that does not tell what it was trained on."""
        widest = s.CURRENT_LIMIT / s.CURRENT_SCALE
        most = s.CONDUCTANCE_LIMIT / s.CONDUCTANCE_SCALE
        zone = ZoneEnvelope((-widest, widest), most, most)
        return Envelope(dict.fromkeys(zones, zone), (s.VOLTAGE_LOW, s.VOLTAGE_HIGH))

    @staticmethod
    def of(checkpoint: Checkpoint, zones: tuple[str, ...]) -> Envelope:
        """The envelope in core.json, or where the core clamps. Raises CheckpointError for one that makes no sense."""
        told = checkpoint.about.get("envelope")
        if told is None:
            return Envelope.clamps(zones)
        try:
            found = {name: _zone(told["zones"][name]) for name in zones}
            voltage = _range(told["voltage"])
            half_block = _bounds(told["half_block"]) if "half_block" in told else None
        except (KeyError, TypeError, ValueError) as error:
            raise checkpoint.damaged(
                f"core.json's envelope is not one of the zones {', '.join(zones)} ({error})"
            ) from error
        return Envelope(found, voltage, half_block)

    def to_json(self) -> dict[str, Any]:
        """What core.json holds."""
        zones = {name: zone._asdict() for name, zone in self.zones.items()}
        block = {} if self.half_block is None else {"half_block": self.half_block}
        return {"zones": zones, "voltage": self.voltage, **block}

    def limits(self) -> Float32:
        """Scaled limits [1 + zones, 4]: of the voltage (mV; lowest, highest, twice nothing), then of each zone the
        effective current (lowest, highest), the conductance and the NMDA conductance."""
        low, high = self.voltage
        first = [max(low, s.VOLTAGE_LOW), min(high, s.VOLTAGE_HIGH), 0.0, 0.0]
        return np.array(
            [first, *(zone.scaled(number == 0) for number, zone in enumerate(self.zones.values()))],
            np.float32,
        )


def _zone(told: Mapping[str, Any]) -> ZoneEnvelope:
    return ZoneEnvelope(_range(told["current"]), _finite(told["conductance"]), _finite(told.get("nmda", 0.0)))


def _range(told: Any) -> Range:
    low, high = _bounds(told)
    if low == high:
        raise ValueError(f"{low} is not below {high}")
    return low, high


def _bounds(told: Any) -> Range:
    """Likewise, or one number twice, as of a single member."""
    low, high = (_finite(each) for each in told)
    if low > high:
        raise ValueError(f"{low} is not below {high}")
    return low, high


def _finite(told: Any) -> float:
    value = float(told)
    if not math.isfinite(value):
        raise ValueError(f"{told} is no number")
    return value
