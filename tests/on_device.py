"""What tests of the device loop share. They run on PyTorch's CPU device, or on that of NOBLE_NET_TEST_DEVICE."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from helpers import network_data

from noble_net.surrogate.integrate_and_fire import IntegrateAndFire

CORES = {"integrate-and-fire": IntegrateAndFire(), "integrate-and-fire-grid": IntegrateAndFire(on_grid=True)}
ON = os.environ.get("NOBLE_NET_TEST_DEVICE", "cpu")
"""PyTorch's name of the device that is tested."""
DEVICE = torch.device(ON)
Spikes = dict[str, list[tuple[int, int, float]]]


def record(loop: Any, samples: int) -> tuple[dict[str, Any], Spikes]:
    """Voltage [cells, samples] of every population, and its spikes as (sample, cell, ms)."""
    voltage: dict[str, list[Any]] = {}
    spikes: Spikes = {}
    while loop.position < samples:
        start = loop.position
        for name, each in loop.advance(min(loop.block_samples, samples - start)).items():
            voltage.setdefault(name, []).append(each.voltage)
            told = zip(each.event_sample, each.event_cell, each.event_time, strict=True)
            spikes.setdefault(name, []).extend(
                (start + int(k), int(i), round(start * 0.1 + float(t), 6)) for k, i, t in told
            )
    return {name: np.concatenate(parts, axis=1) for name, parts in voltage.items()}, spikes


def with_all_synapses(core: str = "integrate-and-fire", **changes: Any) -> dict[str, Any]:
    """The helpers' network with every kind of synapse and stimulus the device loop makes itself or takes over."""
    data = network_data()
    ampa = data["synapses"]["ampa"]
    release = {"tsodyks_markram": {"U": 0.5, "tau_rec": "80 ms", "tau_facil": "20 ms"}}
    data["synapses"] |= {
        "depressing": {**ampa, "plasticity": release},
        "slow": {"model": "alpha", "decay": "8 ms", "reversal": "-75 mV"},
        "nmda": {"model": "nmda", "rise": "2 ms", "decay": "60 ms", "reversal": "0 mV", "magnesium": "1 mM"},
    }
    data["projections"][0]["synapse"] = "depressing"
    wired = {"rule": {"fixed_indegree": {"indegree": 5}}, "weight": "0.5 nS", "delay": "1.5 ms"}
    data["projections"] += [
        {"name": "e-e", "from": "exc", "to": "exc", "synapse": "nmda", **wired},
        {"name": "i-i", "from": "inh", "to": "inh", "synapse": "slow", **wired},
    ]
    common = {"mean": "0 nA", "sigma": "0.05 nA", "tau": "9 ms", "shared": True}
    shots = {"rate": "400 Hz", "amp_mean": "1 nS", "rise": "0.4 ms", "decay": "4 ms", "reversal": "0 mV"}
    data["stimuli"] += [
        {"to": "exc", "name": "common", "ornstein_uhlenbeck": common},
        {"to": "inh", "name": "on", "step": {"amplitude": "0.05 nA", "start": "2 ms", "stop": "31 ms"}},
        {"to": "half", "name": "white", "noise": {"mean": "0 nA", "sigma": "0.05 nA", "dt": "0.5 ms"}},
        {"to": "inh", "name": "shots", "shot_noise": {**shots, "amp_std": "0.5 nS"}},
        {"to": "half", "name": "some", "poisson": {"rate": "300 Hz", "synapse": "nmda", "weight": "0.3 nS"}},
    ]
    data["node_sets"] = {"half": {"population": "exc", "fraction": 0.5}}
    return {**data, "core": core, **changes}
