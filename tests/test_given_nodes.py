"""Populations that are the nodes of a SONATA file: which cells, where, what they are, and their edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from circuits import EXC, INH, write_circuit
from helpers import CORES, toy_family

from noble_net.cells.assigned import assigned_cells
from noble_net.cells.latent import from_codes
from noble_net.config import dump_network, load_network, network_from
from noble_net.errors import ConfigError, FamilyError, LatentSpaceWarning
from noble_net.loop import Loop
from noble_net.network.build import Network, assemble, build_network
from noble_net.network.check import check_network
from noble_net.network.node_sets import select_cells
from noble_net.network.scaled import scaled
from noble_net.sonata.given_nodes import read_given_nodes
from noble_net.surrogate.integrate_and_fire import IntegrateAndFire


@pytest.fixture(scope="module")
def circuit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dynamics = {"capacitance": 150.0, "v_rest": -65.0}
    folder = tmp_path_factory.mktemp("circuit")
    return write_circuit(folder, {"resistance": np.linspace(80, 120, EXC)}, {"dynamics_params": dynamics})


def data(circuit: Path, **changes: Any) -> dict[str, Any]:
    """The circuit as a network file: exc and inh apart, so that node ids are not the cells' numbers."""
    network = circuit / "network"
    nodes = {
        "file": str(network / "cortex_nodes.h5"),
        "types_file": str(network / "cortex_node_types.csv"),
        "population": "cortex",
    }
    rule = {"file": str(network / "cortex_cortex_edges.h5"), "population": "cortex_to_cortex"}
    replay = {
        "file": str(network / "lgn_spikes.h5"),
        "population": "lgn",
        "synapse": "ampa",
        "weight": "30 nS",
        "delay": "2 ms",
        "edges": {"file": str(network / "lgn_cortex_edges.h5"), "population": "lgn_to_cortex"},
    }
    given: dict[str, Any] = {
        "name": "cortex",
        "duration": "200 ms",
        "core": "integrate-and-fire",
        "populations": {
            "exc": {"size": EXC, "nodes": {**nodes, "types": [100]}},
            "inh": {"size": INH, "nodes": {**nodes, "types": [101]}},
        },
        "synapses": {
            "ampa": {"model": "exp2", "rise": "0.2 ms", "decay": "2 ms", "reversal": "0 mV"},
            "gaba": {"model": "exp2", "rise": "0.5 ms", "decay": "8 ms", "reversal": "-80 mV"},
        },
        "projections": [
            {"name": "i-e", "from": "inh", "to": "exc", "rule": {"sonata": rule}, "synapse": "gaba"}
            | {"rule": {"sonata": {**rule, "types": [101]}}},
            {"name": "e-i", "from": "exc", "to": "inh", "rule": {"sonata": rule | {"types": [100]}}}
            | {"synapse": "ampa", "weight": "1 nS", "delay": "1.5 ms"},
        ],
        "stimuli": [{"to": "exc", "name": "lgn", "synapse_replay": replay}],
    }
    return {**given, **changes}


def network_of(given: dict[str, Any]) -> Network:
    return build_network(network_from(given), {}, CORES)


def test_cells_positions_and_edges_are_those_of_the_files(circuit: Path) -> None:
    built = network_of(data(circuit))
    exc, inh = built.populations
    np.testing.assert_array_equal(exc.position[:, 0], np.arange(EXC) * 10.0)
    assert inh.position is None
    np.testing.assert_allclose(exc.cells.parameters["resistance"], np.linspace(80, 120, EXC))
    assert set(exc.cells.parameters["capacitance"]) == {100.0}
    assert set(inh.cells.parameters["capacitance"]) == {150.0} and set(inh.cells.parameters["v_rest"]) == {
        -65
    }
    back, there = built.projections
    pairs = {(s, t) for s in range(INH) for t in range(EXC) if (s + EXC + t) % 3}
    assert set(zip(back.source_ids.tolist(), back.target.tolist(), strict=True)) == pairs
    np.testing.assert_allclose(back.weight, 0.1 * (back.source_ids + EXC + back.target), rtol=1e-6)
    np.testing.assert_array_equal(back.delay, 10 + back.target)
    assert there.size == 2 * EXC * INH and set(there.weight) == {1.0} and set(there.delay) == {15}


def test_a_network_file_of_nodes_is_read_back(circuit: Path, tmp_path: Path) -> None:
    spec = network_from(data(circuit))
    (tmp_path / "network.yaml").write_text(dump_network(spec))
    assert load_network(tmp_path / "network.yaml") == spec


def arrivals(circuit: Path, block: int) -> np.ndarray:
    """What a replay brings to the exc cells in 200 ms, [cells, samples] in nS."""
    loop = Loop(network_of(data(circuit, projections=[])), {"integrate-and-fire": IntegrateAndFire()})
    (stimulus,) = loop._afferents
    return np.concatenate([next(stimulus.pieces(at, block)) for at in range(0, 2000, block)], axis=1)


def test_replayed_spikes_follow_the_edges(circuit: Path) -> None:
    with h5py.File(circuit / "network" / "lgn_spikes.h5") as file:
        times, ids = (file[f"spikes/lgn/{name}"][:] for name in ("timestamps", "node_ids"))
    assert np.any(np.diff(times) < 0)  # bmtk has not sorted them
    expected = np.zeros((5, 2000), int)
    sample = np.floor(times / 0.1 + 1e-6).astype(int) + 20
    np.add.at(expected, (ids[sample < 2000], sample[sample < 2000]), 1)
    for block in (2000, 50, 7 * 40):
        found = arrivals(circuit, block)[:, :2000]
        np.testing.assert_array_equal(found, expected[:, : found.shape[1]])


def test_a_replay_drives_its_cells_alone(circuit: Path) -> None:
    given = data(circuit, projections=[], record={"conductance": {"cells": "all"}})
    loop = Loop(network_of(given), {"integrate-and-fire": IntegrateAndFire()})
    spiking = {name: set() for name in ("exc", "inh")}
    for _ in range(2000 // loop.block_samples):
        for name, response in loop.advance().items():
            spiking[name] |= set(response.event_cell.tolist())
    assert spiking == {"exc": set(range(5)), "inh": set()}


@pytest.mark.parametrize(
    ("change", "key", "message"),
    [
        ({"size": 7}, "populations.exc.nodes", "there are 8 such nodes for 7 cells"),
        ({"nodes": {"population": "kortex"}}, "populations.exc.nodes", "has no node population 'kortex'"),
        ({"nodes": {"types_file": "/nowhere.csv"}}, "populations.exc.nodes", "no such file"),
        ({"nodes": {"types": [7]}}, "populations.exc.nodes", "there are 0 such nodes"),
    ],
)
def test_nodes_that_do_not_fit_are_refused(circuit: Path, change: Any, key: str, message: str) -> None:
    given = data(circuit)
    exc = given["populations"]["exc"]
    given["populations"]["exc"] = {**exc, **change, "nodes": {**exc["nodes"], **change.get("nodes", {})}}
    with pytest.raises(ConfigError, match=message) as caught:
        check_network(network_from(given), CORES)
    assert caught.value.key == key


NEAR = {"name": "near", "synapse": "ampa", "weight": "1 nS"} | {
    "rule": {"distance": {"p0": 1.0, "profile": "cutoff", "radius": "15 um"}},
    "delay": "1 ms",
}
DEEP = {"region": {"box": {"x": ["25 um", "45 um"]}}}


def test_positions_of_nodes_count_for_regions_and_distances(circuit: Path) -> None:
    one = {**NEAR, "from": "exc", "to": "exc"}
    sets = {"deep": {"population": "exc", **DEEP}}
    built = network_of(data(circuit, projections=[one], node_sets=sets))
    near = built.projections[0]
    assert set(np.abs(near.source_ids - near.target).tolist()) == {1}
    assert select_cells(built, "deep").cells.tolist() == [3, 4]


def test_a_network_of_nodes_is_reduced_for_a_dry_run(circuit: Path) -> None:
    spec = network_from(data(circuit, node_sets={"deep": {"population": "exc", **DEEP}}))
    exc, inh = assemble(scaled(spec, 0.5), {}, CORES).populations
    assert (exc.size, inh.size) == (EXC // 2, INH // 2) and inh.position is None
    assert np.ptp(exc.position, axis=0)[0] <= 10.0 * (EXC - 1)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"node_sets": {"deep": {"population": "inh", **DEEP}}}, "node_sets.deep.region"),
        ({"projections": [{**NEAR, "from": "exc", "to": "inh"}]}, "projections[0].rule"),
    ],
)
def test_nodes_without_positions_are_refused_where_these_count(circuit: Path, change: Any, key: str) -> None:
    with pytest.raises(ConfigError, match="the nodes of population inh have no x, y and z") as caught:
        check_network(network_from(data(circuit, **change)), CORES)
    assert caught.value.key == key


def test_a_replay_without_weights_or_with_two_ways_is_refused(circuit: Path) -> None:
    given = data(circuit)
    replay = given["stimuli"][0]["synapse_replay"]
    with pytest.raises(ConfigError, match="has no weights"):
        without = {key: value for key, value in replay.items() if key != "weight"}
        check_network(network_from({**given, "stimuli": [{"to": "exc", "synapse_replay": without}]}), CORES)
    with pytest.raises(ConfigError, match="say who drives whom"):
        network_from({**given, "stimuli": [{"to": "exc", "synapse_replay": {**replay, "map": "all"}}]})


def test_a_cell_is_the_first_that_is_said_of_it() -> None:
    family = toy_family()
    drawn = from_codes(family, np.full((5, 2), 0.5, np.float32), "drawn")
    nothing = np.full(5, np.nan)
    values = {name: nothing.copy() for name in ("gNa", "gK", "I_thr")}
    values["gNa"][:2], values["gK"][:2] = 1.1, 0.9
    values["I_thr"][2] = family.table["I_thr"]["m7"] + 1e-3
    cells = assigned_cells(family, drawn, member=["m3", None, None, None, "m5"], values=values)
    assert cells.labels == ("m3", "given", "m7", "drawn", "m5")
    assert cells.parameters["gNa"][0] == family.table["gNa"]["m3"] and cells.parameters["gK"][
        1
    ] == pytest.approx(0.9)
    np.testing.assert_array_equal(cells.code[[0, 2, 4]], family.codes(["m3", "m7", "m5"]))
    np.testing.assert_array_equal(cells.code[3], drawn.code[3])
    values["I_thr"][2] = 7.0
    with pytest.warns(LatentSpaceWarning, match="1 of 1 cells lie outside the range"):
        assigned_cells(family, drawn, member=["m3", None, None, None, "m5"], values=values)
    values["gK"][1] = np.nan
    with pytest.raises(FamilyError, match="of cell 1 1 parameters of family toy are given and gK is not"):
        assigned_cells(family, drawn, member=[None] * 5, values=values)


def test_numbers_of_nodes_come_from_the_nearest_place(circuit: Path, tmp_path: Path) -> None:
    network = circuit / "network"
    types = pd.read_csv(network / "cortex_node_types.csv", sep=" ")
    types["resistance"] = 70.0
    types.to_csv(tmp_path / "types.csv", sep=" ", index=False, na_rep="NULL")
    nodes = read_given_nodes(network / "cortex_nodes.h5", "cortex", tmp_path / "types.csv")
    np.testing.assert_allclose(nodes.numbers("resistance"), [*np.linspace(80, 120, EXC), *[70.0] * INH])
    np.testing.assert_array_equal(nodes.numbers("capacitance"), [*[np.nan] * EXC, *[150.0] * INH])
    assert list(nodes.attribute("ei")) == ["e"] * EXC + ["i"] * INH
