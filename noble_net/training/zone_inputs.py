"""The inputs that cells with dendritic zones are trained and judged on: somatic current, and conductances by zone.

Like `noble_net.training.inputs`, whose kinds they contain: `zoned_training_input` strings together random segments,
somatic ones and synapses in every zone; `zoned_test_input` gives one pure regime. The kinds `chirp`, `ramp` and
`sinusoid` are never trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from noble_net.cells.zones import ZONES, ZoneInput
from noble_net.training.inputs import (
    CURRENT_KINDS,
    CURRENT_RANGE,
    REGIMES,
    Input,
    event_train,
    filtered,
    log_uniform,
    ornstein_uhlenbeck,
    segment_samples,
    training_segment,
)
from noble_net.types import BLOCK_SLOPE, DT, Float32, Float64

Generator = np.random.Generator

HALVES = (-20.5, -34.5)
"""Voltages at which 1 mM of magnesium blocks half of the NMDA receptors (`SynapseSpec`), mV: as published, and shifted
by 14 mV into the frame of the Allen fits. Tests have either; training draws from `HALF_RANGE`, once a cell."""
HALF_RANGE = (-40.0, -15.0)

NEAR_THRESHOLD = -50.0
"""Voltage at which the mean drive of a segment is balanced, mV: the conductances of the dendrites shunt, so that nearer
to rest than this a cell under many of them would hardly fire."""

NET_DRIVE = (0.0, 0.5)
"""Range of a segment's mean drive through dendritic conductances at that voltage, nA."""

SMOOTHED = 10.0
"""Time constant over which a lasting current counts as one, ms: that of a cell's membrane."""

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


def zoned_training_input(
    generator: Generator, duration: float, nmda: bool, lowest_current: float
) -> ZonedInput:
    """``duration`` ms of random segments of 0.2–1.5 s, every kind in turn, cut to length.

    ``lowest_current``, nA: what injected current stays above when smoothed over `SMOOTHED` ms.
    """
    receptors = Receptors(nmda, generator.uniform(*HALF_RANGE))
    total = round(duration / DT)
    parts: list[ZonedInput] = []
    while sum(len(part.current) for part in parts) < total:
        kind = KINDS[list(KINDS)[generator.choice(len(KINDS), p=SHARES)]]
        parts.append(kind(generator, segment_samples(generator), receptors))
    current, *conductances = (
        np.concatenate(a, axis=-1)[..., :total] for a in list(zip(*parts, strict=True))[:4]
    )
    g, j, slow = conductances
    return ZonedInput(_bounded(current, lowest_current), g, j, slow, parts[0].nmda_half)


def zoned_test_input(regime: str, generator: Generator, duration: float, nmda: bool) -> ZonedInput:
    """``duration`` ms of one of `ZONE_REGIMES`."""
    receptors = Receptors(nmda, float(generator.choice(HALVES)))
    return ZONE_REGIMES[regime](generator, round(duration / DT), receptors)


def _bounded(current: Float32, lowest: float) -> Float32:
    """The current plus what its smoothed course lacks to ``lowest``: brief inhibition passes, lasting does not."""
    keep = np.exp(-DT / SMOOTHED)
    smoothed = lfilter([1.0 - keep], [1.0, -keep], current)
    return np.asarray((current + np.clip(lowest - smoothed, 0.0, None)).clip(*CURRENT_RANGE), np.float32)


# ----------------------------------------------------------------------------------------------------------
# synapses of a segment, float [zones, samples]

EXCITED = {"soma": 0.35, "proximal": 0.7, "distal": 0.7}
"""Chance that a zone is among those excited in a segment."""
INHIBITED = {"soma": 0.6, "proximal": 0.5, "distal": 0.35}


def _excitation(
    g: Generator, n: int, receptors: Receptors, drive: float, where: Mapping[str, float] = EXCITED
) -> tuple[Float64, Float64]:
    """Poisson AMPA and NMDA conductances that drive ``drive`` nA in the mean into a cell held near threshold.

    Weights are drawn and rates follow: a few strong synapses or many weak ones.
    """
    ampa, nmda = _nowhere(n), _nowhere(n)
    decay, slow_rise, slow_decay = g.uniform(1, 6), g.uniform(1, 4), g.uniform(40, 100)
    ratio = log_uniform(g, 0.05, 1.0) if receptors.nmda and g.random() < 0.7 else 0.0
    for z, share in enumerate(_shares(g, where)):
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


def _inhibition(
    g: Generator,
    n: int,
    mean: float,
    rhythm: Float64 | float = 1.0,
    where: Mapping[str, float] = INHIBITED,
) -> Float64:
    """Poisson GABA conductances of ``mean`` nS in all, their rate following ``rhythm`` (mean 1, [samples])."""
    gaba = _nowhere(n)
    decay = g.uniform(2, 12)
    for z, share in enumerate(_shares(g, where)):
        if share > 0.0:
            weight = log_uniform(g, 0.1, 3.0)
            rate = min(share * mean * 1000.0 / (weight * _area(decay, 0.3)), MOST_EVENTS)
            gaba[z] = filtered(event_train(g, n, rate * rhythm, weight), decay, 0.3)
    return gaba


def _shares(g: Generator, where: Mapping[str, float]) -> Float64:
    """Random shares of the zones, [zones], of which each takes part by its chance, one at least; they sum to 1."""
    chances = np.array([where.get(name, 0.0) for name in ZONES])
    chosen = g.random(len(ZONES)) < chances
    if not chosen.any():
        chosen[g.choice(len(ZONES), p=chances / chances.sum())] = True
    shares = np.where(chosen, g.exponential(1.0, len(ZONES)) + 0.1, 0.0)
    return np.asarray(shares / shares.sum())


def _volleys(g: Generator, n: int, decay: float, rise: float, mean_interval: float) -> Float64:
    """Synchronous synapses of one zone [samples]: volleys of 1–40 nS in all, their spikes spread by 0.3–5 ms."""
    width, strength = log_uniform(g, 0.3, 5.0), log_uniform(g, 1.0, 40.0)
    train = np.zeros(n)
    for start in np.cumsum(g.exponential(mean_interval, 1 + int(2 * n * DT / mean_interval)) + 20.0):
        spikes = np.round((start + width * g.standard_normal(1 + g.poisson(20.0))) / DT).astype(np.int64)
        np.add.at(train, spikes[(spikes >= 0) & (spikes < n)], strength / 20.0)
    return filtered(train, decay, rise)


def _area(decay: float, rise: float) -> float:
    """Integral of a synapse's conductance of unit peak, ms."""
    peak = rise * decay / (decay - rise) * np.log(decay / rise)
    return float((decay - rise) / (np.exp(-peak / decay) - np.exp(-peak / rise)))


def _nowhere(n: int) -> Float64:
    return np.zeros((len(ZONES), n))


def _reversal(g: Generator) -> float:
    return float(g.uniform(-95.0, -60.0))


def _to_reach(net: float, inhibition: Float64, reversal: float) -> float:
    """Excitatory drive (nA) that leaves ``net`` beside the mean inhibition of a cell held near threshold."""
    return max(net - 1e-3 * float(inhibition.mean(axis=1).sum()) * (reversal - NEAR_THRESHOLD), 0.005)


def _input(
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


# ----------------------------------------------------------------------------------------------------------
# kinds of training segment


def _somatic(drive: Input, receptors: Receptors) -> ZonedInput:
    conductance, reversal_current = _nowhere(drive.samples), _nowhere(drive.samples)
    conductance[0], reversal_current[0] = drive.conductance, drive.reversal_current
    arrays = drive.current, conductance, reversal_current, _nowhere(drive.samples)[1:]
    return ZonedInput(*(np.asarray(a, np.float32) for a in (*arrays, np.asarray(receptors.half))))


def _poisson(g: Generator, n: int, receptors: Receptors) -> ZonedInput:
    """Excitation and inhibition in random zones, in balance near threshold."""
    reversal = _reversal(g)
    inhibition = _inhibition(g, n, log_uniform(g, 0.3, 12.0)) if g.random() < 0.85 else _nowhere(n)
    net = g.uniform(*NET_DRIVE)
    excitation, nmda = _excitation(g, n, receptors, _to_reach(net, inhibition, reversal))
    current = np.zeros(n)
    if g.random() < 0.3:
        current = ornstein_uhlenbeck(g, n, 0.0, g.uniform(0.0, 0.08), 5.0)
    return _input(receptors, current, excitation, inhibition, reversal, nmda)


def _fluctuating(g: Generator, n: int, receptors: Receptors) -> ZonedInput:
    """OU conductances in random zones."""
    reversal = _reversal(g)

    def conductances(mean: float, where: Mapping[str, float], tau: float) -> Float64:
        relative = g.uniform(0.2, 0.9)
        rows = [
            ornstein_uhlenbeck(g, n, mean * share, relative * mean * share, tau)
            for share in _shares(g, where)
        ]
        return np.asarray(np.clip(rows, 0.0, None))

    inhibition = conductances(log_uniform(g, 0.3, 12.0), INHIBITED, g.uniform(2, 12))
    drive = _to_reach(g.uniform(*NET_DRIVE), inhibition, reversal)
    slow = g.uniform(0.0, 0.5) * drive if receptors.nmda else 0.0
    excitation = conductances(1e3 * (drive - slow) / -NEAR_THRESHOLD, EXCITED, g.uniform(1, 6))
    dendrites = {name: EXCITED[name] for name in ZONES[1:]}
    nmda = conductances(1e3 * slow / -NEAR_THRESHOLD / receptors.open, dendrites, g.uniform(20, 80))
    return _input(receptors, np.zeros(n), excitation, inhibition, reversal, nmda)


def _rhythmic(g: Generator, n: int, receptors: Receptors) -> ZonedInput:
    """Excitation with volleys of inhibition onto soma and proximal dendrite: a cell inside a gamma rhythm."""
    period, width = 1000.0 / g.uniform(20.0, 90.0), g.uniform(1.0, 4.0)
    phase = (DT * np.arange(n) + g.uniform(0.0, period)) % period - 0.5 * period
    rhythm = np.exp(-0.5 * (phase / width) ** 2)
    reversal = _reversal(g)
    perisomatic = {"soma": 0.8, "proximal": 0.5}
    # Between volleys what balances them stands alone, hence less of both than under steady inhibition.
    inhibition = _inhibition(g, n, log_uniform(g, 0.3, 4.0), rhythm / rhythm.mean(), perisomatic)
    drive = _to_reach(g.uniform(0.0, 0.35), inhibition, reversal)
    excitation, nmda = _excitation(g, n, receptors, drive)
    return _input(receptors, np.zeros(n), excitation, inhibition, reversal, nmda)


def _bursts(g: Generator, n: int, receptors: Receptors) -> ZonedInput:
    """Synchronous excitation in one zone over a weak background, often with inhibition in its wake."""
    reversal = _reversal(g)
    inhibition = _inhibition(g, n, log_uniform(g, 0.1, 3.0))
    drive = _to_reach(g.uniform(0.0, 0.25), inhibition, reversal)
    excitation, nmda = _excitation(g, n, receptors, drive)
    interval = log_uniform(g, 60.0, 500.0)
    z = g.choice(len(ZONES), p=(0.2, 0.4, 0.4))
    volleys = _volleys(g, n, g.uniform(1, 6), 0.2, interval)
    excitation[z] += volleys
    if z and receptors.nmda and g.random() < 0.7:
        nmda[z] += log_uniform(g, 0.05, 0.6) * filtered(volleys, g.uniform(40, 100)) * DT
    if g.random() < 0.5:
        late = round(g.uniform(1.0, 5.0) / DT)
        tail = filtered(volleys * log_uniform(g, 0.1, 1.0), g.uniform(4, 10)) * DT
        inhibition[g.choice(len(ZONES)), late:] += tail[: n - late]
    return _input(receptors, np.zeros(n), excitation, inhibition, reversal, nmda)


def _isolated(g: Generator, n: int, receptors: Receptors) -> ZonedInput:
    """Single postsynaptic potentials on a quiet cell: one synapse to dozens at once, in one zone at a time."""
    reversal = _reversal(g)
    excitation, inhibition, nmda = _nowhere(n), _nowhere(n), _nowhere(n)
    decays = g.uniform(1, 6), g.uniform(2, 12), g.uniform(40, 100)
    ratio = log_uniform(g, 0.05, 1.0) if receptors.nmda and g.random() < 0.5 else 0.0
    alone = g.choice(len(ZONES)) if g.random() < 0.5 else None
    strongest = log_uniform(g, 0.5, 40.0)
    start = g.uniform(10.0, 60.0)
    while start < n * DT:
        z = g.choice(len(ZONES)) if alone is None else alone
        event = np.zeros(n)
        event[int(start / DT)] = log_uniform(g, 0.2, strongest) if strongest > 0.2 else strongest
        if g.random() < 0.6:
            excitation[z] += filtered(event, decays[0], 0.2)
            if z and ratio:
                nmda[z] += ratio * filtered(event, decays[2], 2.0)
        else:
            inhibition[z] += filtered(event, decays[1], 0.3)
        start += log_uniform(g, 20.0, 300.0)
    held = g.uniform(-0.03, 0.15) if g.random() < 0.5 else 0.0
    return _input(receptors, np.full(n, held), excitation, inhibition, reversal, nmda)


def _soma_alone(g: Generator, n: int, receptors: Receptors) -> ZonedInput:
    """A kind of `noble_net.training.inputs`, with a length of its own."""
    return _somatic(training_segment(g, CURRENT_KINDS), receptors)


KINDS: dict[str, Kind] = {
    "somatic": _soma_alone,
    "poisson": _poisson,
    "fluctuating": _fluctuating,
    "rhythmic": _rhythmic,
    "bursts": _bursts,
    "isolated": _isolated,
}
SHARES = np.array([0.3, 0.3, 0.08, 0.12, 0.08, 0.12])


# ----------------------------------------------------------------------------------------------------------
# regimes of evaluation

ZONE_FLUCTUATING = ("poisson_proximal", "poisson_distal", "poisson_zones")
"""Fluctuation-driven regimes of the dendrites, judged by Γ."""
ZONE_UNTRAINED = ("sinusoid",)
"""Kinds never trained on besides those of the soma alone (+ OU of σ = 0.1 nA), judged by Γ."""

_AMPA, _GABA = (2.0, 0.2), (5.0, 0.3)
"""Decay and rise of the tests' synapses, ms."""


def _synapses(excited: Mapping[str, float], inhibited: Mapping[str, float], held: float = 0.0) -> Kind:
    """A regime: Poisson synapses at these rates (Hz) by zone, of 1.5 nS, beside 0.4 times as much NMDA on distal
    dendrites; inhibition reverses at −80 mV. ``held``: constant current, nA."""

    def regime(g: Generator, n: int, receptors: Receptors) -> ZonedInput:
        excitation, inhibition, nmda = _nowhere(n), _nowhere(n), _nowhere(n)
        for name, rate in excited.items():
            z = ZONES.index(name)
            events = event_train(g, n, rate, 1.5)
            excitation[z] = filtered(events, *_AMPA)
            if name == "distal" and receptors.nmda:
                nmda[z] = 0.4 * filtered(events, 60.0, 2.0)
        for name, rate in inhibited.items():
            inhibition[ZONES.index(name)] = filtered(event_train(g, n, rate, 1.5), *_GABA)
        return _input(receptors, np.full(n, held), excitation, inhibition, -80.0, nmda)

    return regime


def _alone(test: Callable[[Generator, int], Input]) -> Kind:
    return lambda g, n, receptors: _somatic(test(g, n), receptors)


def _test_sinusoid(g: Generator, n: int) -> Input:
    current = 0.15 + 0.1 * np.sin(2.0 * np.pi * 8.0 * DT * np.arange(n) / 1000.0)
    current = (current + ornstein_uhlenbeck(g, n, 0.0, 0.1, 5.0)).astype(np.float32)
    return Input(current, np.zeros(n, np.float32), np.zeros(n, np.float32))


ZONE_REGIMES: dict[str, Kind] = {
    **{name: _alone(test) for name, test in REGIMES.items()},
    "poisson_proximal": _synapses({"proximal": 900.0}, {"soma": 300.0}),
    # Distal synapses alone do not make the PV cell fire, whatever their rate.
    "poisson_distal": _synapses({"distal": 600.0}, {"proximal": 100.0}, held=0.12),
    "poisson_zones": _synapses(
        {"proximal": 600.0, "distal": 400.0}, {"soma": 150.0, "proximal": 150.0, "distal": 150.0}
    ),
    "sinusoid": _alone(_test_sinusoid),
}
