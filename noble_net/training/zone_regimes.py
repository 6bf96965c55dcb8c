"""The inputs that cells with dendritic zones are judged on: one pure regime each.

The kinds `chirp`, `ramp` and `sinusoid` are never trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from noble_net.cells.zones import ZONES
from noble_net.training.inputs import REGIMES, Input, event_train, filtered
from noble_net.training.zone_synapses import (
    HALVES,
    Generator,
    Kind,
    Receptors,
    ZonedInput,
    assembled,
    nowhere,
    somatic,
)
from noble_net.types import DT

ZONE_FLUCTUATING = ("poisson_proximal", "poisson_zones", "distal_volleys")
"""Fluctuation-driven regimes of the dendrites, judged by Γ."""
ZONE_MEAN_DRIVEN = ("poisson_distal",)
"""Regimes of the dendrites whose input drives cells by its mean: under `poisson_distal`, most of it NMDA, NEURON's
intervals have a CV of 0.14 to 0.29. Judged by rates and intervals."""

_AMPA, _GABA = (2.0, 0.2), (5.0, 0.3)
"""Decay and rise of the tests' synapses, ms."""


def _synapses(
    excited: Mapping[str, float],
    inhibited: Mapping[str, float],
    held: float = 0.0,
    volley: float = 1.5,
    slow: float = 0.4,
) -> Kind:
    """A regime: Poisson synapses at these rates (Hz) by zone, excitation of ``volley`` nS beside ``slow`` times as much
    NMDA on distal dendrites, inhibition of 1.5 nS that reverses at −80 mV. ``held``: constant current, nA."""

    def regime(g: Generator, n: int, receptors: Receptors) -> ZonedInput:
        excitation, inhibition, nmda = nowhere(n), nowhere(n), nowhere(n)
        for name, rate in excited.items():
            z = ZONES.index(name)
            events = event_train(g, n, rate, volley)
            excitation[z] = filtered(events, *_AMPA)
            if name == "distal" and receptors.nmda:
                nmda[z] = slow * filtered(events, 60.0, 2.0)
        for name, rate in inhibited.items():
            inhibition[ZONES.index(name)] = filtered(event_train(g, n, rate, 1.5), *_GABA)
        return assembled(receptors, np.full(n, held), excitation, inhibition, -80.0, nmda)

    return regime


def _alone(test: Callable[[Generator, int], Input]) -> Kind:
    return lambda g, n, receptors: somatic(test(g, n), receptors)


ZONE_REGIMES: dict[str, Kind] = {
    **{name: _alone(test) for name, test in REGIMES.items() if name != "sinusoid"},
    "poisson_proximal": _synapses({"proximal": 900.0}, {"soma": 300.0}),
    # Distal synapses alone do not make the PV cell fire, whatever their rate.
    "poisson_distal": _synapses({"distal": 600.0}, {"proximal": 100.0}, held=0.12),
    "poisson_zones": _synapses(
        {"proximal": 600.0, "distal": 400.0}, {"soma": 150.0, "proximal": 150.0, "distal": 150.0}
    ),
    "sinusoid": _alone(REGIMES["sinusoid"]),
    # Some thirty synapses at once: NEURON's intervals have a CV of 0.7 (PV) and 0.8.
    "distal_volleys": _synapses({"distal": 50.0}, {"proximal": 200.0}, held=0.08, volley=40.0, slow=0.05),
}
"""Their inputs are drawn by their places in here: new ones go to the end."""


def zoned_test_input(regime: str, generator: Generator, duration: float, nmda: bool) -> ZonedInput:
    """``duration`` ms of one of `ZONE_REGIMES`."""
    receptors = Receptors(nmda, float(generator.choice(HALVES)))
    return ZONE_REGIMES[regime](generator, round(duration / DT), receptors)
