"""A circuit written by bmtk's own NetworkBuilder, and a simulation of it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXC, INH = 8, 4


def write_circuit(folder: Path, exc: dict[str, Any] | None = None, inh: dict[str, Any] | None = None) -> Path:
    """`cortex` (8 exc, 4 inh nodes) and 5 virtual `lgn` nodes in ``folder``/network, with their edges.

    exc → inh has its weight and delay in the table of types and two synapses an edge; inh → exc has its own for each
    edge, so that bmtk writes two groups; lgn → exc joins node i to node i.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        builder = pytest.importorskip("bmtk.builder").NetworkBuilder
        spikes = pytest.importorskip("bmtk.utils.reports.spike_trains").PoissonSpikeGenerator
        cortex, lgn = builder("cortex"), builder("lgn")
        here = {"x": np.arange(EXC) * 10.0, "y": np.zeros(EXC), "z": np.full(EXC, 5.0)}
        model = {"model_type": "biophysical", "model_template": "ctdb:Biophys1.hoc"}
        cortex.add_nodes(N=EXC, pop_name="exc", ei="e", **{**model, **here, **(exc or {})})
        cortex.add_nodes(N=INH, pop_name="inh", ei="i", **{**model, **(inh or {})})
        lgn.add_nodes(N=5, pop_name="on", model_type="virtual")
        synapse = {"model_template": "exp2syn", "target_sections": ["soma"], "distance_range": [0.0, 100.0]}
        cortex.add_edges(
            source={"pop_name": "exc"},
            target={"pop_name": "inh"},
            connection_rule=lambda s, t: 2,
            syn_weight=1e-3,
            delay=1.5,
            dynamics_params="AMPA.json",
            **synapse,
        )
        rule = cortex.add_edges(
            source={"pop_name": "inh"},
            target={"pop_name": "exc"},
            connection_rule=lambda s, t: 1 if (s.node_id + t.node_id) % 3 else None,
            dynamics_params="GABA.json",
            **synapse,
        )
        rule.add_properties("syn_weight", rule=lambda s, t: 1e-4 * (s.node_id + t.node_id), dtypes=float)
        rule.add_properties("delay", rule=lambda s, t: 1.0 + 0.1 * t.node_id, dtypes=float)
        lgn.add_edges(
            source=lgn.nodes(),
            target=cortex.nodes(pop_name="exc"),
            connection_rule=lambda s, t: 1 if s.node_id == t.node_id else None,
            syn_weight=0.03,
            delay=2.0,
            model_template="exp2syn",
            dynamics_params={"tau1": 0.2, "tau2": 2.0, "erev": 0.0},
        )
        for network in (cortex, lgn):
            network.build()
            network.save(output_dir=str(folder / "network"))
        trains = spikes(population="lgn", seed=4)
        trains.add(node_ids=range(5), firing_rate=60.0, times=(0.0, 0.2))
        trains.to_sonata(str(folder / "network" / "lgn_spikes.h5"))
    components = folder / "components"
    components.mkdir()
    for name, values in (("AMPA", (0.3, 3.0, 0.0)), ("GABA", (0.5, 8.0, -80.0))):
        dynamics = dict(zip(("tau1", "tau2", "erev"), values, strict=True))
        (components / f"{name}.json").write_text(json.dumps({"level_of_detail": "exp2syn", **dynamics}))
    return folder


def write_simulation(folder: Path, **changes: Any) -> Path:
    """Configs of a simulation of 200 ms of that circuit, as bmtk's own set-up writes them; ``changes`` replace."""
    circuit = {
        "manifest": {"$BASE_DIR": "${configdir}", "$NETWORK_DIR": "$BASE_DIR/network"},
        "components": {"synaptic_models_dir": "$BASE_DIR/components"},
        "networks": {
            "nodes": [
                {
                    "nodes_file": f"$NETWORK_DIR/{name}_nodes.h5",
                    "node_types_file": f"$NETWORK_DIR/{name}_node_types.csv",
                }
                for name in ("cortex", "lgn")
            ],
            "edges": [
                {
                    "edges_file": f"$NETWORK_DIR/{name}_edges.h5",
                    "edge_types_file": f"$NETWORK_DIR/{name}_edge_types.csv",
                }
                for name in ("cortex_cortex", "lgn_cortex")
            ],
        },
    }
    (folder / "circuit_config.json").write_text(json.dumps(circuit, indent=2))
    node_sets = {"inhibitory": {"population": "cortex", "ei": "i"}, "some": {"node_id": [0, 2, 9]}}
    (folder / "node_sets.json").write_text(json.dumps(node_sets))
    simulation = {
        "manifest": {"$BASE_DIR": "${configdir}", "$OUTPUT_DIR": "$BASE_DIR/output"},
        "target_simulator": "NEURON",
        "run": {"tstop": 200.0, "dt": 0.1, "dL": 20.0, "spike_threshold": -15.0, "nsteps_block": 5000},
        "inputs": {
            "step": {
                "input_type": "current_clamp",
                "module": "IClamp",
                "node_set": "inhibitory",
                "amp": 0.25,
                "delay": 50.0,
                "duration": 100.0,
            },
            "lgn_spikes": {
                "input_type": "spikes",
                "module": "sonata",
                "input_file": "$BASE_DIR/network/lgn_spikes.h5",
                "node_set": "lgn",
            },
        },
        "output": {"log_file": "log.txt", "output_dir": "$OUTPUT_DIR", "spikes_file": "spikes.h5"},
        "reports": {
            "v": {"variable_name": "v", "cells": "some", "module": "membrane_report", "sections": "soma"}
        },
        "network": "$BASE_DIR/circuit_config.json",
        "node_sets_file": "$BASE_DIR/node_sets.json",
    }
    file = folder / "simulation_config.json"
    file.write_text(json.dumps({**simulation, **changes}, indent=2))
    return file
