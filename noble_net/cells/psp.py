"""Postsynaptic potentials at the soma of an exact cell, from synapses in one of its zones.

Two ways to put them there: spread over the zone in proportion to membrane area, as a surrogate core takes its input
(`lumped`), and one by one in random segments, as synapses lie (`placed`). Their difference is what spreading costs:
it leaves out the saturation of single branches.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from noble_net.cells.solver import SETTLE, ExactCell
from noble_net.cells.zones import ZoneInput, cell_zones
from noble_net.errors import SolverError
from noble_net.types import DT, Float32, Float64

COUNTS = (1, 2, 4, 8, 16, 32, 64)
"""Synchronous synapses of a summation curve."""

WINDOW = 150.0
"""What is looked at from the synapses' onset on, ms."""


class Synapse(NamedTuple):
    """A double-exponential conductance: time constants (ms), peak (nS), reversal potential (mV)."""

    rise: float
    decay: float
    weight: float
    reversal: float

    def course(self, samples: int) -> Float64:
        """Mean conductance over each sample from the onset on, nS [samples]."""
        edges = DT * np.arange(samples + 1)
        decay, rise = self.decay, self.rise
        peak = rise * decay / (decay - rise) * np.log(decay / rise)
        scale = self.weight / (np.exp(-peak / decay) - np.exp(-peak / rise))
        integral = rise * np.exp(-edges / rise) - decay * np.exp(-edges / decay)
        return np.asarray(scale * np.diff(integral) / DT)


class Potential(NamedTuple):
    """Of a postsynaptic potential: largest deviation from rest, signed (mV), and width at half of it (ms; NaN where it
    does not come back within the window). A spike counts like any other deviation."""

    amplitude: float
    half_width: float


def lumped(cell: ExactCell, zone: str, synapse: Synapse, count: int = 1) -> Potential:
    """``count`` synchronous synapses spread over a zone; at the soma, at its middle."""
    conductance = count * synapse.course(round(WINDOW / DT))
    nothing, reversal_current = np.zeros(len(conductance)), conductance * synapse.reversal
    if zone == "soma":
        return potential(cell.run(nothing, conductance, reversal_current))
    return potential(cell.run(nothing, zones={zone: ZoneInput(conductance, reversal_current)}))


def placed(cell: ExactCell, zone: str, synapse: Synapse, count: int = 1, seed: int = 0) -> Potential:
    """``count`` synchronous synapses (Exp2Syn), each in a random segment of the zone, drawn by membrane area.

    The first of more synapses lie where fewer of the same seed do. Raises SolverError for a zone without segments.
    """
    h = cell.h
    segments = cell_zones(cell.sections)[zone].segments
    if not segments:
        raise SolverError(f"the cell has no segments in zone {zone!r}")
    areas = np.array([segment.area() for segment in segments])
    chosen = np.random.default_rng(seed).choice(len(segments), count, p=areas / areas.sum())
    onset = h.NetStim()
    onset.number, onset.start, onset.noise = 1, SETTLE, 0
    there = []  # NEURON removes what Python lets go of
    for segment in chosen:
        point = h.Exp2Syn(segments[segment])
        point.tau1, point.tau2, point.e = synapse.rise, synapse.decay, synapse.reversal
        there.append((point, h.NetCon(onset, point, 0.0, 0.0, 1e-3 * synapse.weight)))
    return potential(cell.run(np.zeros(round(WINDOW / DT))))


def summation(cell: ExactCell, zone: str, synapse: Synapse, seed: int | None = None) -> list[Potential]:
    """Potentials of `COUNTS` synchronous synapses: spread over the zone, or with a ``seed`` placed one by one."""
    if seed is None:
        return [lumped(cell, zone, synapse, count) for count in COUNTS]
    return [placed(cell, zone, synapse, count, seed) for count in COUNTS]


def potential(voltage: Float32 | Float64) -> Potential:
    """Amplitude and half-width of a voltage trace [samples + 1] (mV) that starts at rest."""
    deviation = voltage.astype(np.float64) - float(voltage[0])
    peak = int(np.argmax(np.abs(deviation)))
    amplitude = float(deviation[peak])
    if amplitude == 0.0:
        return Potential(0.0, float("nan"))
    relative = deviation / amplitude - 0.5
    before, after = np.flatnonzero(relative[:peak] < 0.0), np.flatnonzero(relative[peak:] < 0.0)
    if not len(before) or not len(after):
        return Potential(amplitude, float("nan"))
    rise, fall = int(before[-1]), peak + int(after[0])
    start = rise + relative[rise] / (relative[rise] - relative[rise + 1])
    stop = fall - relative[fall] / (relative[fall] - relative[fall - 1])
    return Potential(amplitude, DT * float(stop - start))
