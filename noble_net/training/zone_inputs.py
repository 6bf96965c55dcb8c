"""The inputs that cells with dendritic zones are trained on: somatic current, and conductances by zone.

Like `noble_net.training.inputs`, whose kinds they contain: `zoned_training_input` strings together random segments,
somatic ones and synapses in every zone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from noble_net.cells.zones import ZONES
from noble_net.training.inputs import (
    CURRENT_KINDS,
    CURRENT_RANGE,
    filtered,
    log_uniform,
    ornstein_uhlenbeck,
    segment_samples,
    training_segment,
)
from noble_net.training.zone_synapses import (
    EXCITED,
    HALF_RANGE,
    INHIBITED,
    NEAR_THRESHOLD,
    STRONGEST,
    Generator,
    Receptors,
    ZonedInput,
    assembled,
    nowhere,
    poisson_excitation,
    poisson_inhibition,
    somatic,
    some_reversal,
    synchronous,
    to_reach,
    zone_shares,
)
from noble_net.types import DT, Float32, Float64

SMOOTHED = 10.0
"""Time constant over which a lasting current counts as one, ms: that of a cell's membrane."""


class Ranges(NamedTuple):
    """How hard segments drive a cell."""

    shares: tuple[float, ...]
    """Of the `KINDS`."""
    drive: tuple[float, float]
    """A segment's mean drive through dendritic conductances near threshold, nA."""
    excited: Mapping[str, float]
    """Chance that a zone is among those excited in a segment."""
    volley_zone: tuple[float, ...]
    """Chance that volleys come to a zone."""
    volley_interval: tuple[float, float]
    """Mean interval of volleys, ms."""
    strongest_volley: float
    """nS."""
    held: tuple[float, float] | None
    """Constant current below half of the segments with synapses, nA."""


_MIXED = Ranges(
    shares=(0.3, 0.3, 0.08, 0.12, 0.08, 0.12),
    drive=(0.0, 0.5),
    excited=EXCITED,
    volley_zone=(0.2, 0.4, 0.4),
    volley_interval=(60.0, 500.0),
    strongest_volley=STRONGEST,
    held=None,
)

# Much of what the distal dendrite takes in is lost on the way to the soma.
_STRONG = Ranges(
    shares=(0.15, 0.4, 0.1, 0.1, 0.2, 0.05),
    drive=(0.0, 1.2),
    excited={"soma": 0.1, "proximal": 0.5, "distal": 0.9},
    volley_zone=(0.1, 0.3, 0.6),
    volley_interval=(15.0, 150.0),
    strongest_volley=2.0 * STRONGEST,
    held=(-0.05, 0.15),
)

RANGES: dict[str, tuple[Ranges, ...]] = {
    "mixed": (_MIXED,),
    "strong": (_STRONG,),
    "alternating": (_MIXED, _STRONG),
}
"""By the names that recipes know them by (`dataset: inputs`); of several, each segment has those of one."""


def zoned_training_input(
    generator: Generator, duration: float, nmda: bool, lowest_current: float, choice: tuple[Ranges, ...]
) -> ZonedInput:
    """``duration`` ms of random segments of 0.2–1.5 s, every kind in turn, cut to length.

    ``lowest_current``, nA: what injected current stays above when smoothed over `SMOOTHED` ms; ``choice``: what each
    segment's ranges are drawn from.
    """
    receptors = Receptors(nmda, generator.uniform(*HALF_RANGE))
    total = round(duration / DT)
    parts: list[ZonedInput] = []
    while sum(len(part.current) for part in parts) < total:
        ranges = choice[generator.integers(len(choice))] if len(choice) > 1 else choice[0]
        kind = KINDS[list(KINDS)[generator.choice(len(KINDS), p=ranges.shares)]]
        parts.append(kind(generator, segment_samples(generator), receptors, ranges))
    current, *conductances = (
        np.concatenate(a, axis=-1)[..., :total] for a in list(zip(*parts, strict=True))[:4]
    )
    g, j, slow = conductances
    return ZonedInput(_bounded(current, lowest_current), g, j, slow, parts[0].nmda_half)


def _bounded(current: Float32, lowest: float) -> Float32:
    """The current plus what its smoothed course lacks to ``lowest``: brief inhibition passes, lasting does not."""
    keep = np.exp(-DT / SMOOTHED)
    smoothed = lfilter([1.0 - keep], [1.0, -keep], current)
    return np.asarray((current + np.clip(lowest - smoothed, 0.0, None)).clip(*CURRENT_RANGE), np.float32)


def _poisson(g: Generator, n: int, receptors: Receptors, ranges: Ranges) -> ZonedInput:
    """Excitation and inhibition in random zones, in balance near threshold."""
    reversal = some_reversal(g)
    inhibition = poisson_inhibition(g, n, log_uniform(g, 0.3, 12.0)) if g.random() < 0.85 else nowhere(n)
    net = g.uniform(*ranges.drive)
    excitation, nmda = poisson_excitation(
        g, n, receptors, to_reach(net, inhibition, reversal), ranges.excited
    )
    current = _held(g, n, ranges)
    if g.random() < 0.3:
        current += ornstein_uhlenbeck(g, n, 0.0, g.uniform(0.0, 0.08), 5.0)
    return assembled(receptors, current, excitation, inhibition, reversal, nmda)


def _fluctuating(g: Generator, n: int, receptors: Receptors, ranges: Ranges) -> ZonedInput:
    """OU conductances in random zones."""
    reversal = some_reversal(g)

    def conductances(mean: float, where: Mapping[str, float], tau: float) -> Float64:
        relative = g.uniform(0.2, 0.9)
        rows = [
            ornstein_uhlenbeck(g, n, mean * share, relative * mean * share, tau)
            for share in zone_shares(g, where)
        ]
        return np.asarray(np.clip(rows, 0.0, None))

    inhibition = conductances(log_uniform(g, 0.3, 12.0), INHIBITED, g.uniform(2, 12))
    drive = to_reach(g.uniform(*ranges.drive), inhibition, reversal)
    slow = g.uniform(0.0, 0.5) * drive if receptors.nmda else 0.0
    excitation = conductances(1e3 * (drive - slow) / -NEAR_THRESHOLD, ranges.excited, g.uniform(1, 6))
    dendrites = {name: ranges.excited[name] for name in ZONES[1:]}
    nmda = conductances(1e3 * slow / -NEAR_THRESHOLD / receptors.open, dendrites, g.uniform(20, 80))
    return assembled(receptors, _held(g, n, ranges), excitation, inhibition, reversal, nmda)


def _rhythmic(g: Generator, n: int, receptors: Receptors, ranges: Ranges) -> ZonedInput:
    """Excitation with volleys of inhibition onto soma and proximal dendrite: a cell inside a gamma rhythm."""
    period, width = 1000.0 / g.uniform(20.0, 90.0), g.uniform(1.0, 4.0)
    phase = (DT * np.arange(n) + g.uniform(0.0, period)) % period - 0.5 * period
    rhythm = np.exp(-0.5 * (phase / width) ** 2)
    reversal = some_reversal(g)
    perisomatic = {"soma": 0.8, "proximal": 0.5}
    # Between volleys what balances them stands alone, hence less of both than under steady inhibition.
    inhibition = poisson_inhibition(g, n, log_uniform(g, 0.3, 4.0), rhythm / rhythm.mean(), perisomatic)
    drive = to_reach(g.uniform(0.0, 0.35), inhibition, reversal)
    excitation, nmda = poisson_excitation(g, n, receptors, drive, ranges.excited)
    return assembled(receptors, _held(g, n, ranges), excitation, inhibition, reversal, nmda)


def _bursts(g: Generator, n: int, receptors: Receptors, ranges: Ranges) -> ZonedInput:
    """Synchronous excitation in one zone over a weak background, often with inhibition in its wake."""
    reversal = some_reversal(g)
    inhibition = poisson_inhibition(g, n, log_uniform(g, 0.1, 3.0))
    drive = to_reach(g.uniform(0.0, 0.25), inhibition, reversal)
    excitation, nmda = poisson_excitation(g, n, receptors, drive, ranges.excited)
    interval = log_uniform(g, *ranges.volley_interval)
    z = g.choice(len(ZONES), p=ranges.volley_zone)
    volleys = synchronous(g, n, g.uniform(1, 6), 0.2, interval, ranges.strongest_volley)
    excitation[z] += volleys
    if z and receptors.nmda and g.random() < 0.7:
        nmda[z] += log_uniform(g, 0.05, 0.6) * filtered(volleys, g.uniform(40, 100)) * DT
    if g.random() < 0.5:
        late = round(g.uniform(1.0, 5.0) / DT)
        tail = filtered(volleys * log_uniform(g, 0.1, 1.0), g.uniform(4, 10)) * DT
        inhibition[g.choice(len(ZONES)), late:] += tail[: n - late]
    return assembled(receptors, _held(g, n, ranges), excitation, inhibition, reversal, nmda)


def _isolated(g: Generator, n: int, receptors: Receptors, ranges: Ranges) -> ZonedInput:
    """Single postsynaptic potentials on a quiet cell: one synapse to dozens at once, in one zone at a time."""
    reversal = some_reversal(g)
    excitation, inhibition, nmda = nowhere(n), nowhere(n), nowhere(n)
    decays = g.uniform(1, 6), g.uniform(2, 12), g.uniform(40, 100)
    ratio = log_uniform(g, 0.05, 1.0) if receptors.nmda and g.random() < 0.5 else 0.0
    alone = g.choice(len(ZONES)) if g.random() < 0.5 else None
    strongest = log_uniform(g, 0.5, STRONGEST)
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
    return assembled(receptors, np.full(n, held), excitation, inhibition, reversal, nmda)


def _soma_alone(g: Generator, n: int, receptors: Receptors, ranges: Ranges) -> ZonedInput:
    """A kind of `noble_net.training.inputs`, with a length of its own."""
    return somatic(training_segment(g, CURRENT_KINDS), receptors)


def _held(g: Generator, n: int, ranges: Ranges) -> Float64:
    """A constant current [n], nA, or none."""
    if ranges.held is None or g.random() < 0.5:
        return np.zeros(n)
    return np.full(n, g.uniform(*ranges.held))


KINDS: dict[str, Callable[[Generator, int, Receptors, Ranges], ZonedInput]] = {
    "somatic": _soma_alone,
    "poisson": _poisson,
    "fluctuating": _fluctuating,
    "rhythmic": _rhythmic,
    "bursts": _bursts,
    "isolated": _isolated,
}
