"""Exact cells in CoreNEURON: against the same network in NEURON (slow: it compiles mechanisms), and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_neuron_network import GAP, SYNAPSES, recurrent

from noble_net.config import network_from
from noble_net.errors import BackendError, ConfigError
from noble_net.reference import coreneuron_network
from noble_net.registry import load_family

pytest.importorskip("neuron")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gap_junctions": [GAP]}, r"gap junctions \(gap\) do not go into CoreNEURON"),
        ({"populations": {"pv": {"core": "integrate-and-fire", "size": 3}}}, "no exact cells"),
    ],
)
def test_what_it_does_not_hold_is_refused_by_name(changes: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=message):
        coreneuron_network.simulate_coreneuron(network_from(recurrent(**changes)), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_plasticity_is_refused_by_name() -> None:
    data = recurrent()
    data["synapses"]["gaba"] = {
        **data["synapses"]["gaba"],
        "plasticity": {"tsodyks_markram": {"U": 0.5, "tau_rec": "60 ms"}},
    }
    with pytest.raises(BackendError, match=r"synapses gaba have tsodyks_markram, which the CoreNEURON"):
        coreneuron_network.check(network_from(data))


def test_reports_are_refused_at_their_line() -> None:
    with pytest.raises(ConfigError, match="conductance"):
        coreneuron_network.check(network_from(recurrent(record={"conductance": {"cells": "all"}})))


def test_mechanisms_of_a_users_own_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    family = SimpleNamespace(model=replace(load_family("allen-pv-peri").model, nmodl=tmp_path))
    monkeypatch.setattr(coreneuron_network, "load_families", lambda spec: {"own": family})
    with pytest.raises(BackendError, match=r"family own brings mechanisms of its own .* surrogate"):
        coreneuron_network.check(network_from(recurrent()))


def zoned() -> dict[str, Any]:
    """Excitatory cells with synapses in every zone, which drive each other and PV cells."""
    ampa = {"model": "exp2", "rise": "0.2 ms", "decay": "2 ms", "reversal": "0 mV"}
    nmda = {"model": "nmda", "rise": "2 ms", "decay": "60 ms", "reversal": "0 mV", "zone": "distal"}
    held_out = {"from": "members", "role": "held_out"}
    return {
        "name": "zoned",
        "seed": 1,
        "duration": "150 ms",
        "warmup": "50 ms",
        "populations": {
            "exc": {"family": "allen-nr5a1", "core": "nr5a1-zones", "size": 3, "sample": held_out},
            "pv": {"family": "allen-pv", "core": "pv-zones", "size": 2, "sample": held_out},
        },
        "synapses": {
            "ampa": {**ampa, "zone": "proximal"},
            "far": {**ampa, "zone": "distal"},
            "nmda": {**nmda, "shift": "-14 mV"},
            "kick": SYNAPSES["NobleExpCurrent"],
        },
        "projections": [
            {"name": "exc-pv", "from": "exc", "to": "pv", "rule": "all_to_all", "synapse": "ampa"}
            | {"weight": {"uniform": {"low": "2 nS", "high": "4 nS"}}, "delay": "1.5 ms"},
            {"name": "exc-exc", "from": "exc", "to": "exc", "rule": "all_to_all", "synapse": "far"}
            | {"weight": "1 nS", "delay": {"uniform": {"low": "1 ms", "high": "2 ms"}}},
        ],
        "stimuli": [
            {"to": "exc", "poisson": {"rate": "700 Hz", "synapse": "ampa", "weight": "2.5 nS"}},
            {"to": "exc", "poisson": {"rate": "100 Hz", "synapse": "far", "weight": "2.5 nS"}},
            {"to": "exc", "poisson": {"rate": "30 Hz", "synapse": "nmda", "weight": "0.5 nS"}},
            {"to": "pv", "poisson": {"rate": "500 Hz", "synapse": "kick", "weight": "30 pA"}},
            {"to": "pv", "ornstein_uhlenbeck": {"mean": "0.2 nA", "sigma": "0.1 nA", "tau": "5 ms"}},
            {"to": "exc", "name": "shunt"}
            | {
                "ornstein_uhlenbeck": {
                    "mean": "1 nS",
                    "sigma": "0.3 nS",
                    "tau": "5 ms",
                    "reversal": "-80 mV",
                }
            },
        ],
        "record": {"spikes": "all", "voltage": {"cells": "all", "dt": "0.1 ms"}},
    }


SIMULATED = """
import json, sys
from noble_net.config import network_from
if sys.argv[1] == "neuron":
    from noble_net.reference.neuron_network import simulate_neuron as run
else:
    from noble_net.reference.coreneuron_network import simulate_coreneuron as run
more = {"threads": 2} if sys.argv[1] == "threads" else {}
run(network_from(json.loads(sys.argv[2])), out=sys.argv[3], report=False, **more)
"""


@pytest.mark.slow
def test_a_network_with_zones_is_that_of_neuron(tmp_path: Path) -> None:
    """Voltages through spikes: what differs are zones' means over samples, delays by less than half a sample, and the
    PV cells' NaV, which CoreNEURON steps by implicit Euler."""
    from noble_net.results import load_results

    found = {}
    for backend in ("neuron", "coreneuron", "threads"):
        command = [sys.executable, "-c", SIMULATED, backend, json.dumps(zoned()), str(tmp_path / backend)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        results = load_results(tmp_path / backend)
        found[backend] = {name: (results.voltage(name), results.spikes(name)) for name in ("exc", "pv")}
    for name, tolerance in (("exc", 0.1), ("pv", 3.0)):
        (mine, spikes), (expected, counted) = found["coreneuron"][name], found["neuron"][name]
        assert len(counted) > 5, f"{name} shows nothing"
        assert abs(len(spikes) - len(counted)) <= (name == "pv")
        error = np.abs(np.asarray(mine) - np.asarray(expected))
        assert np.median(error) < tolerance
        np.testing.assert_array_equal(found["threads"][name][0], mine)


@pytest.mark.slow
def test_no_step_is_left_out_of_a_long_run(tmp_path: Path) -> None:
    """NEURON adds up its steps: by 1,000 ms, half of them the settling, its time is off by more than it forgives."""
    from noble_net.results import load_results

    data = recurrent(
        duration="1.2 s", warmup="0 ms", record={"spikes": "all", "voltage": {"cells": "all", "dt": "0.1 ms"}}
    )
    command = [sys.executable, "-c", SIMULATED, "coreneuron", json.dumps(data), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert load_results(tmp_path / "run").voltage("pv").shape == (12_000, 3)


@pytest.mark.slow
def test_a_network_is_validated_against_it(tmp_path: Path) -> None:
    from noble_net.config import dump_network

    file = tmp_path / "network.yaml"
    file.write_text(dump_network(network_from(recurrent())))
    options = [
        "--reference",
        "coreneuron",
        "--seeds",
        "2",
        "--fine-seeds",
        "0",
        "--no-changes",
        "--no-replay",
    ]
    times = ["--duration", "100 ms", "--warmup", "50 ms", "--out", str(tmp_path / "v")]
    command = [sys.executable, "-m", "noble_net", "validate", str(file), *options, *times]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr[-2000:]
    found = json.loads((tmp_path / "v" / "validation.json").read_text())
    assert found["reference"] == "coreneuron" and found["verdicts"]
