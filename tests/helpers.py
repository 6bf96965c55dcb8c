"""Small networks that several test modules build on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from noble_net.cells.family import Family
from noble_net.cells.features import FEATURES
from noble_net.config import NetworkSpec, network_from
from noble_net.network.build import Network, build_network
from noble_net.surrogate.integrate_and_fire import IntegrateAndFire

CORES = {"integrate-and-fire": IntegrateAndFire().info}


def network_data(**changes: Any) -> dict[str, Any]:
    """An excitatory-inhibitory network of 120 integrate-and-fire cells with delays, written like a file."""
    data: dict[str, Any] = {
        "name": "balanced",
        "seed": 3,
        "duration": "200 ms",
        "core": "integrate-and-fire",
        "populations": {
            "exc": {
                "size": 90,
                "parameters": {"v_threshold": {"normal": {"mean": "-50 mV", "std": "1 mV", "min": "-54 mV"}}},
            },
            "inh": {"size": 30},
        },
        "synapses": {
            "ampa": {"model": "exp2", "rise": "0.3 ms", "decay": "3 ms", "reversal": "0 mV"},
            "gaba": {"model": "exp", "decay": "5 ms", "kind": "current"},
        },
        "projections": [
            {
                "name": "e-i",
                "from": "exc",
                "to": "inh",
                "rule": {"pairwise_bernoulli": {"p": 0.3}},
                "synapse": "ampa",
                "weight": {"lognormal": {"mean": "1.5 nS", "std": "0.7 nS"}},
                "delay": {"uniform": {"low": "0.8 ms", "high": "3 ms"}},
            },
            {
                "name": "i-e",
                "from": "inh",
                "to": "exc",
                "rule": {"fixed_indegree": {"indegree": 8}},
                "synapse": "gaba",
                "weight": "-40 pA",
                "delay": {"normal": {"mean": "1.2 ms", "std": "0.3 ms", "min": "0.8 ms"}},
            },
        ],
        "stimuli": [
            {"to": "exc", "ornstein_uhlenbeck": {"mean": "0.25 nA", "sigma": "0.1 nA", "tau": "5 ms"}},
            {"to": "inh", "poisson": {"rate": "900 Hz", "synapse": "ampa", "weight": "2 nS"}},
        ],
        "record": {"voltage": {"cells": 3}},
    }
    return {**data, **changes}


def network_spec(**changes: Any) -> NetworkSpec:
    """The same, validated."""
    return network_from(network_data(**changes))


def built(data: Mapping[str, Any]) -> Network:
    """A network of integrate-and-fire cells, built."""
    return build_network(network_from(data), {}, CORES)


def pair_network(
    pre: dict[str, Any], post: dict[str, Any], synapse: dict[str, Any], step: dict[str, str], **changes: Any
) -> dict[str, Any]:
    """Cells ``pre`` under a ``step`` of current, each heard by all of ``post`` through one kind of synapse.

    ``changes``: ``weight`` and ``delay`` of the synapses, and keys of the file.
    """
    projection = {"name": "pre-post", "from": "pre", "to": "post", "rule": "all_to_all", "synapse": "syn"}
    projection |= {key: changes.pop(key) for key in ("weight", "delay")}
    return {
        "name": "pair",
        "populations": {"pre": pre, "post": post},
        "synapses": {"syn": synapse},
        "projections": [projection],
        "stimuli": [{"to": "pre", "step": step}],
        **changes,
    }


def toy_family(digest: str = "right", held_out: int = 4) -> Family:
    """A family of twelve members with two parameters."""
    values = np.random.default_rng(1).lognormal(0, 0.2, (12, 2))
    table = pd.DataFrame(values, columns=["gNa", "gK"], index=[f"m{i}" for i in range(12)])
    for column in FEATURES:
        table[column] = np.linspace(0.1, 0.3, 12)
    table["role"] = ["train"] * (12 - held_out) + ["held_out"] * held_out
    coding = {"centre": 1.0, "sd": 0.2, "logarithmic": True}
    about = {"parameters": {"gNa": coding, "gK": coding}, "bound": 3.0}
    return Family("toy", table, about, digest)


def validated(folder: Path) -> str:
    """What the validator of bluepysnap says of the circuit in a folder."""
    code = "from bluepysnap.cli import cli; cli()"
    command = [
        sys.executable,
        "-c",
        code,
        "validate-circuit",
        "--no-skip-slow",
        str(folder / "circuit_config.json"),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
