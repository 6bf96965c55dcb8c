"""The small files that bind a run's HDF5 files together: circuit, simulation, node sets, tables of types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from noble_net.output import write_json, write_text
from noble_net.sonata.nodes import MODEL_TYPE
from noble_net.sonata.reports import Report
from noble_net.sonata.types_table import types_text
from noble_net.types import Int64


def write_configs(
    out: Path | str,
    populations: Sequence[str],
    edges: Mapping[str, str],
    *,
    duration: float,
    dt: float,
    seed: int,
    junctions: Sequence[str] = (),
    spikes: bool = True,
    reports: Mapping[str, Report] = MappingProxyType({}),
    node_sets: Mapping[str, tuple[str, Int64]] = MappingProxyType({}),
    types: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    inputs: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    metadata: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write the circuit and simulation config, node sets and tables of types into the folder ``out``.

    ``populations`` and ``edges`` in the order in which nodes.h5 and edges.h5 were written; ``edges`` maps
    each projection to its weight column ('conductance' or 'syn_weight'); ``junctions`` are the populations of
    gap_junctions.h5. Without either, the circuit has nodes alone. ``reports`` by the names of their files;
    ``node_sets``: the population and node ids of each; ``types``: columns of the tables of types, for populations and
    projections by name; ``inputs`` as they are written; ``metadata``: text and numbers beside our own. Times in ms.
    Paths inside are relative, so that the folder can be moved. OutputError when the disk refuses.
    """
    out = Path(out)
    _write_types(out, "node", populations, types)
    _write_types(out, "edge", [*edges, *junctions], types)
    write_json(out / "circuit_config.json", _circuit(populations, edges, junctions))
    write_json(out / "node_sets.json", _node_sets(populations, reports, node_sets))
    simulation: dict[str, Any] = {
        "version": 2.4,
        "manifest": {"$RUN_DIR": "."},
        "run": {"tstop": duration, "dt": dt, "random_seed": seed & 0xFFFFFFFF},
        "network": "$RUN_DIR/circuit_config.json",
        "node_sets_file": "$RUN_DIR/node_sets.json",
        "output": {"output_dir": "$RUN_DIR", "spikes_sort_order": "by_time"},
        "inputs": dict(inputs),
        "reports": {name: _report(name, report) for name, report in reports.items() if report.cells},
        "metadata": {"simulator": "noble-net", "seed": str(seed), **metadata},
    }
    if spikes:
        simulation["output"]["spikes_file"] = "spikes.h5"
    write_json(out / "simulation_config.json", simulation)


def _write_types(
    out: Path, kind: str, populations: Sequence[str], types: Mapping[str, Mapping[str, str]]
) -> None:
    # One type per population: properties that differ stand with the cells, but bmtk opens nothing without these
    # tables.
    rows = [{"population": name, **types.get(name, {})} for name in populations]
    write_text(out / f"{kind}_types.csv", types_text(kind, rows))


def _circuit(
    populations: Sequence[str], edges: Mapping[str, str], junctions: Sequence[str]
) -> dict[str, Any]:
    # The validator checks all of a file's columns by one type: `point_process` edges must have a conductance, and
    # the only type of point synapse without one is `brian2_synapse`.
    edge_type = "point_process" if set(edges.values()) <= {"conductance"} else "brian2_synapse"
    node_file = {
        "nodes_file": "$RUN_DIR/nodes.h5",
        "node_types_file": "$RUN_DIR/node_types.csv",
        "populations": {name: {"type": MODEL_TYPE} for name in populations},
    }
    kinds = ("edges.h5", edge_type, list(edges)), ("gap_junctions.h5", "electrical", junctions)
    edge_files = [
        {
            "edges_file": f"$RUN_DIR/{file}",
            "edge_types_file": "$RUN_DIR/edge_types.csv",
            "populations": {name: {"type": kind} for name in names},
        }
        for file, kind, names in kinds
        if names
    ]
    return {
        "version": 2.4,
        "manifest": {"$RUN_DIR": "."},
        "node_sets_file": "$RUN_DIR/node_sets.json",
        "networks": {"nodes": [node_file], "edges": edge_files},
    }


def _node_sets(
    populations: Sequence[str],
    reports: Mapping[str, Report],
    node_sets: Mapping[str, tuple[str, Int64]],
) -> dict[str, Any]:
    # A colon cannot be in the name of a population or node set: the cells of a report are in nobody's way.
    sets: dict[str, Any] = {name: {"population": name} for name in populations}
    for name, (population, cells) in node_sets.items():
        sets[name] = {"population": population, "node_id": cells.tolist()}
    for report, plan in reports.items():
        parts = {f"{population}:{report}": (population, cells) for population, cells in plan.cells.items()}
        for name, (population, cells) in parts.items():
            sets[name] = {"population": population, "node_id": cells.tolist()}
        if parts:
            sets[_cells_of(report)] = list(parts)
    return sets


def _cells_of(report: str) -> str:
    return f"{report}:cells"


def _report(name: str, report: Report) -> dict[str, Any]:
    return {
        "type": "compartment",
        "sections": "soma",
        "cells": _cells_of(name),
        "variable_name": report.variable,
        "unit": report.unit,
        "dt": report.dt,
        "start_time": report.start,
        "end_time": report.stop,
        "file_name": name,
    }
