"""Postsynaptic potentials of a passive cell against NEURON's own synapses, through a whole network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import pair_network
from test_plasticity import integrated

from noble_net.cells.mechanisms import neuron
from noble_net.config import network_from
from noble_net.loop import Loop
from noble_net.network.build import build_network
from noble_net.surrogate.integrate_and_fire import IntegrateAndFire
from noble_net.types import DT

pytest.importorskip("neuron")

CAPACITANCE, RESISTANCE, REST = 100.0, 100.0, -70.0
"""pF, MΩ and mV of the cell that listens: a time constant of 10 ms."""
SAMPLES = 1500
FINE = 0.002
"""NEURON's step, ms."""


def pair(synapse: dict[str, Any], weight: str, current: str = "0.5 nA") -> dict[str, Any]:
    """A cell that fires under a step, and a passive one that hears it 1.4 ms later."""
    passive = {"capacitance": "100 pF", "resistance": "100 Mohm", "v_rest": "-70 mV", "v_threshold": "500 mV"}
    return pair_network(
        {"size": 1},
        {"size": 1, "parameters": passive},
        synapse,
        {"amplitude": current, "start": "5 ms", "stop": "80 ms"},
        weight=weight,
        delay="1.4 ms",
        duration="150 ms",
        core="integrate-and-fire",
    )


def simulated(data: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Arrival times at the passive cell (ms), and its voltage from sample 0 on."""
    core = IntegrateAndFire()
    network = build_network(network_from(data), {}, {"integrate-and-fire": core.info})
    loop = Loop(network, {"integrate-and-fire": core})
    arrivals, voltage = [], []
    while loop.position < SAMPLES:
        start = loop.position
        responses = loop.advance()
        arrivals.append(start + responses["pre"].event_sample + 1 + 14)
        voltage.append(responses["post"].voltage[0])
    return DT * np.concatenate(arrivals), np.concatenate(voltage)[:SAMPLES]


class Passive:
    """One compartment in NEURON with the capacitance and resistance of the cell that listens."""

    def __init__(self) -> None:
        self.h = neuron().h
        self.section = self.h.Section(name="passive")
        self.section.L = self.section.diam = 20.0
        area = self.section(0.5).area() * 1e-8  # cm²
        self.section.cm = CAPACITANCE * 1e-6 / area
        self.section.insert("pas")
        self.section.g_pas, self.section.e_pas = 1e-6 / RESISTANCE / area, REST

    def run(self, connections: list[Any], events: list[tuple[float, float]]) -> np.ndarray:
        """Voltage at the samples under ``events`` (time in ms, NetCon weight)."""
        h = self.h
        h.CVode().active(False)
        h.dt, h.secondorder = FINE, 2
        times = h.Vector(DT * np.arange(1, SAMPLES + 1))
        recorded = h.Vector().record(self.section(0.5)._ref_v, times)
        h.finitialize(REST)
        for connection, (time, weight) in zip(connections, events, strict=True):
            connection.weight[0] = weight
            connection.event(time)
        while h.t < SAMPLES * DT + FINE:
            h.fadvance()
        return recorded.as_numpy().copy()


def in_neuron(kind: str, arrivals: np.ndarray, weights: np.ndarray, **parameters: float) -> np.ndarray:
    """The passive cell's voltage in NEURON: one synapse, a connection per event (weights in nS)."""
    passive = Passive()
    if kind == "AlphaSynapse":  # takes no events: one of them for each
        synapses = []
        for time, weight in zip(arrivals, weights, strict=True):
            synapses.append(passive.h.AlphaSynapse(passive.section(0.5)))
            synapses[-1].onset, synapses[-1].gmax = time, 1e-3 * weight
            for name, value in parameters.items():
                setattr(synapses[-1], name, value)
        return passive.run([], [])
    synapse = getattr(passive.h, kind)(passive.section(0.5))
    for name, value in parameters.items():
        setattr(synapse, name, value)
    connections = [passive.h.NetCon(None, synapse) for _ in arrivals]
    return passive.run(connections, list(zip(arrivals, 1e-3 * weights, strict=True)))


@pytest.mark.parametrize(
    ("synapse", "kind", "parameters"),
    [
        ({"model": "exp", "decay": "3 ms", "reversal": "0 mV"}, "ExpSyn", {"tau": 3.0, "e": 0.0}),
        (
            {"model": "exp2", "rise": "0.4 ms", "decay": "3 ms", "reversal": "-90 mV"},
            "Exp2Syn",
            {"tau1": 0.4, "tau2": 3.0, "e": -90.0},
        ),
        ({"model": "alpha", "decay": "1.3 ms", "reversal": "0 mV"}, "AlphaSynapse", {"tau": 1.3, "e": 0.0}),
    ],
    ids=["exp", "exp2", "alpha"],
)
def test_a_postsynaptic_potential_is_that_of_neuron(
    synapse: dict[str, Any], kind: str, parameters: dict[str, float]
) -> None:
    arrivals, voltage = simulated(pair(synapse, "1.5 nS"))
    assert len(arrivals) >= 3
    exact = in_neuron(kind, arrivals, np.full(len(arrivals), 1.5), **parameters)
    size = np.abs(exact - REST).max()
    assert size > 1.0
    assert np.abs(voltage - exact).max() < 0.01 * size


def test_depressing_potentials_are_those_of_scaled_weights_in_neuron() -> None:
    plasticity = {"tsodyks_markram": {"U": 0.5, "tau_rec": "50 ms", "tau_facil": "30 ms"}}
    synapse = {"model": "exp", "decay": "3 ms", "reversal": "0 mV", "plasticity": plasticity}
    arrivals, voltage = simulated(pair(synapse, "5 nS"))
    assert len(arrivals) >= 3
    weights = 5.0 * np.array(integrated(arrivals, 0.5, 50.0, 30.0))
    exact = in_neuron("ExpSyn", arrivals, weights, tau=3.0, e=0.0)
    assert np.abs(voltage - exact).max() < 0.01 * np.abs(exact - REST).max()
