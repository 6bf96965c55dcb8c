"""What a rival is fitted to, and what all models are judged on.

A member that the core was trained on has a training recording: its rivals are fitted to that very mix of inputs. A
member the core never saw has none. A point neuron cannot be had without a recording, so it gets one half of the test
recordings of every kind of input that is also trained on, and everyone, the core too, is judged on the other half.
That is more than the core is given, which knows of such a member nothing but its conductances.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from noble_net.training.dataset import ARRAYS, VOLTAGE_UNIT
from noble_net.training.inputs import FLUCTUATING, MEAN_DRIVEN, STEP_PERIOD
from noble_net.types import DT, Float32, Int64


class Stretch(NamedTuple):
    """Input and exact voltage from rest on: current (nA), conductance (nS), Σg·E (pA) float32 [samples]; voltage (mV)
    float32 [samples + 1]. ``timed``: spike times count, not only rates."""

    current: Float32
    conductance: Float32
    reversal_current: Float32
    voltage: Float32
    timed: bool = True

    def cut(self, samples: int) -> Stretch:
        """Its first samples."""
        return self.at(np.arange(samples))

    def at(self, index: Int64) -> Stretch:
        """Its samples at ``index``, as if they followed each other."""
        current, conductance, reversal_current = self.current, self.conductance, self.reversal_current
        voltage = recorded(self.voltage[None], index)[0]
        return Stretch(current[index], conductance[index], reversal_current[index], voltage, self.timed)


def judged(regime: str, samples: int) -> Int64:
    """Indices of the input samples of a test recording that models are judged on: its second half, and of steps every
    second one, so that both halves hold weak and strong ones."""
    index = np.arange(samples)
    return index[_judged(regime, samples)]


def _judged(regime: str, samples: int) -> NDArray[np.bool_]:
    index = np.arange(samples)
    if regime == "steps":
        return np.asarray((index // round(STEP_PERIOD / DT)) % 2 == 1)
    return np.asarray(index >= samples // 2)


def recorded(voltage: Float32, index: Int64) -> Float32:
    """Voltages [cells, samples + 1] at the ends of input samples ``index``, and before the first of them."""
    return np.ascontiguousarray(voltage[:, np.concatenate([index[:1], index + 1])])


def training_stretches(file: h5py.File, member: str, duration: float) -> list[Stretch]:
    """The first ``duration`` ms of a member's training recording. Raises KeyError when it has none."""
    group = file["train"]
    row = _rows(group)[member]
    return [_stretch(group, row, slice(0, round(duration / DT)))]


def test_stretches(file: h5py.File, member: str, duration: float) -> list[Stretch]:
    """The halves of a member's test recordings on which nobody is judged, for every kind of input that is trained on;
    of each but the steps ``duration`` ms at most."""
    found = []
    for regime in (*FLUCTUATING, *MEAN_DRIVEN):
        group = file["test"][regime]
        row = _rows(group)[member]
        whole = _stretch(group, row, slice(None))
        samples = len(whole.current)
        index = np.flatnonzero(~_judged(regime, samples))
        half = whole.at(index)._replace(timed=regime in FLUCTUATING)
        found.append(half if regime == "steps" else half.cut(round(duration / DT)))
    return found


def _rows(group: h5py.Group) -> dict[str, int]:
    return {str(name): row for row, name in enumerate(group["ids"].asstr()[:])}


def _stretch(group: h5py.Group, row: int, samples: slice) -> Stretch:
    current, conductance, reversal_current = (group[name][row, samples] for name in ARRAYS)
    voltage = group["voltage"][row, : len(current) + 1].astype(np.float32) * np.float32(VOLTAGE_UNIT)
    return Stretch(current, conductance, reversal_current, voltage)


def total(stretches: Sequence[Stretch]) -> float:
    """Their length together, ms."""
    return sum(len(stretch.current) for stretch in stretches) * DT
