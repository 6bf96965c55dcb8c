"""Synapses of random segments in every zone of a cell: the blocks that inputs to train and to judge on are made of.

Conductances are float [zones, samples] in the order of `ZONES`, the soma first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from noble_net.cells.zones import ZONES, ZoneInput
from noble_net.training.inputs import Input, event_train, filtered, log_uniform
from noble_net.types import BLOCK_SLOPE, DT, Float32, Float64

Generator = np.random.Generator

HALVES = (-20.5, -34.5)
"""Voltages at which 1 mM of magnesium blocks half of the NMDA receptors (`SynapseSpec`), mV: as published, and shifted
by 14 mV into the frame of the Allen fits. Tests have either; training draws from `HALF_RANGE`, once a cell."""
HALF_RANGE = (-40.0, -15.0)

NEAR_THRESHOLD = -50.0
"""Voltage at which the mean drive of a segment is balanced, mV: the conductances of the dendrites shunt, so that nearer
to rest than this a cell under many of them would hardly fire."""

STRONGEST = 40.0
"""The strongest volley of synchronous synapses, nS in all."""

MOST_EVENTS = 30_000.0
"""Highest rate of one synapse type onto one zone, Hz."""


class ZonedInput(NamedTuple):
    """Injected current nA [samples]; conductance nS and Σ g·E pA [zones, samples] (`ZONES`, the soma first); NMDA
    conductance nS [dendritic zones, samples], reversing at 0 mV; the half of its magnesium block, mV []. All float32.
    """

    current: Float32
    conductance: Float32
    reversal_current: Float32
    nmda_conductance: Float32
    nmda_half: Float32

    def dendrites(self) -> dict[str, ZoneInput]:
        """What `ExactCell.run` takes as ``zones``."""
        half = float(self.nmda_half)
        rows = zip(
            ZONES[1:], self.conductance[1:], self.reversal_current[1:], self.nmda_conductance, strict=True
        )
        return {name: ZoneInput(g, j, nmda, None, half) for name, g, j, nmda in rows}


class Receptors(NamedTuple):
    """Of a cell's dendrites: whether they have NMDA receptors, and the half of the magnesium block, mV."""

    nmda: bool
    half: float

    @property
    def open(self) -> float:
        """Share of NMDA conductance that is not blocked near threshold."""
        return float(1.0 / (1.0 + np.exp(-BLOCK_SLOPE * (NEAR_THRESHOLD - self.half))))


Kind = Callable[[Generator, int, Receptors], ZonedInput]


EXCITED = {"soma": 0.35, "proximal": 0.7, "distal": 0.7}
"""Chance that a zone is among those excited in a segment."""
INHIBITED = {"soma": 0.6, "proximal": 0.5, "distal": 0.35}


def poisson_excitation(
    g: Generator, n: int, receptors: Receptors, drive: float, where: Mapping[str, float]
) -> tuple[Float64, Float64]:
    """Poisson AMPA and NMDA conductances that drive ``drive`` nA in the mean into a cell held near threshold.

    Weights are drawn and rates follow: a few strong synapses or many weak ones.
    """
    ampa, nmda = nowhere(n), nowhere(n)
    decay, slow_rise, slow_decay = g.uniform(1, 6), g.uniform(1, 4), g.uniform(40, 100)
    ratio = log_uniform(g, 0.05, 1.0) if receptors.nmda and g.random() < 0.7 else 0.0
    for z, share in enumerate(zone_shares(g, where)):
        if share > 0.0:
            weight = log_uniform(g, 0.1, 3.0)
            slow = ratio if z else 0.0
            open_area = _area(decay, 0.2) + slow * receptors.open * _area(slow_decay, slow_rise)
            per_event = -NEAR_THRESHOLD * weight * open_area * 1e-6  # nA of mean current at 1 Hz
            events = event_train(g, n, min(share * drive / per_event, MOST_EVENTS), weight)
            ampa[z] = filtered(events, decay, 0.2)
            if slow:
                nmda[z] = slow * filtered(events, slow_decay, slow_rise)
    return ampa, nmda


def poisson_inhibition(
    g: Generator,
    n: int,
    mean: float,
    rhythm: Float64 | float = 1.0,
    where: Mapping[str, float] = INHIBITED,
) -> Float64:
    """Poisson GABA conductances of ``mean`` nS in all, their rate following ``rhythm`` (mean 1, [samples])."""
    gaba = nowhere(n)
    decay = g.uniform(2, 12)
    for z, share in enumerate(zone_shares(g, where)):
        if share > 0.0:
            weight = log_uniform(g, 0.1, 3.0)
            rate = min(share * mean * 1000.0 / (weight * _area(decay, 0.3)), MOST_EVENTS)
            gaba[z] = filtered(event_train(g, n, rate * rhythm, weight), decay, 0.3)
    return gaba


def zone_shares(g: Generator, where: Mapping[str, float]) -> Float64:
    """Random shares of the zones, [zones], of which each takes part by its chance, one at least; they sum to 1."""
    chances = np.array([where.get(name, 0.0) for name in ZONES])
    chosen = g.random(len(ZONES)) < chances
    if not chosen.any():
        chosen[g.choice(len(ZONES), p=chances / chances.sum())] = True
    shares = np.where(chosen, g.exponential(1.0, len(ZONES)) + 0.1, 0.0)
    return np.asarray(shares / shares.sum())


def synchronous(
    g: Generator, n: int, decay: float, rise: float, mean_interval: float, strongest: float = STRONGEST
) -> Float64:
    """Synchronous synapses of one zone [samples]: volleys of 1 nS to ``strongest`` in all, their spikes spread by
    0.3–5 ms."""
    width, strength = log_uniform(g, 0.3, 5.0), log_uniform(g, 1.0, strongest)
    train = np.zeros(n)
    for start in np.cumsum(g.exponential(mean_interval, 1 + int(2 * n * DT / mean_interval)) + 20.0):
        spikes = np.round((start + width * g.standard_normal(1 + g.poisson(20.0))) / DT).astype(np.int64)
        np.add.at(train, spikes[(spikes >= 0) & (spikes < n)], strength / 20.0)
    return filtered(train, decay, rise)


def _area(decay: float, rise: float) -> float:
    """Integral of a synapse's conductance of unit peak, ms."""
    peak = rise * decay / (decay - rise) * np.log(decay / rise)
    return float((decay - rise) / (np.exp(-peak / decay) - np.exp(-peak / rise)))


def nowhere(n: int) -> Float64:
    return np.zeros((len(ZONES), n))


def some_reversal(g: Generator) -> float:
    return float(g.uniform(-95.0, -60.0))


def to_reach(net: float, inhibition: Float64, reversal: float) -> float:
    """Excitatory drive (nA) that leaves ``net`` beside the mean inhibition of a cell held near threshold."""
    return max(net - 1e-3 * float(inhibition.mean(axis=1).sum()) * (reversal - NEAR_THRESHOLD), 0.005)


def assembled(
    receptors: Receptors,
    current: Float64,
    excitation: Float64,
    inhibition: Float64,
    reversal: float,
    nmda: Float64,
) -> ZonedInput:
    arrays = (
        current,
        excitation + inhibition,
        inhibition * reversal,
        nmda[1:],
        np.asarray(receptors.half),
    )
    return ZonedInput(*(np.asarray(a, np.float32) for a in arrays))


def somatic(drive: Input, receptors: Receptors) -> ZonedInput:
    conductance, reversal_current = nowhere(drive.samples), nowhere(drive.samples)
    conductance[0], reversal_current[0] = drive.conductance, drive.reversal_current
    arrays = drive.current, conductance, reversal_current, nowhere(drive.samples)[1:]
    return ZonedInput(*(np.asarray(a, np.float32) for a in (*arrays, np.asarray(receptors.half))))
