"""Synapses from elsewhere: generated graphs, graph files, tables, SONATA edges, and what is wrong with them."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path

import h5py
import networkx as nx
import numpy as np
import pytest
from helpers import CORES, network_data, network_spec
from wiring import KEY, drawn, network_file, projection

from noble_net.config import ProjectionSpec, load_network
from noble_net.errors import ConfigError
from noble_net.network.build import build_network, expected_synapses
from noble_net.network.check import check_network
from noble_net.network.connect import connect
from noble_net.simulation import simulate
from noble_net.sonata import EdgePopulation, write_edges
from noble_net.types import CoreInfo


def test_a_generated_graph_is_the_generator_s() -> None:
    source, target, expected = drawn(
        "graph", 60, 60, within=True, generator="barabasi_albert_graph", arguments={"m": 4}
    )
    graph = nx.barabasi_albert_graph(60, 4, seed=int(KEY) % 2**32)
    wanted = {(u, v) for u, v in graph.edges} | {(v, u) for u, v in graph.edges}
    assert set(zip(source.tolist(), target.tolist(), strict=True)) == wanted
    assert len(source) == len(wanted) == expected
    directed, _, _ = drawn(
        "graph", 60, 60, within=True, generator="random_k_out_graph", arguments={"k": 3, "alpha": 1.0}
    )
    assert len(directed) <= 180


def test_flags_of_a_generated_graph() -> None:
    given = {"generator": "random_k_out_graph", "arguments": {"k": 5, "alpha": 1.0}}
    plain, other, _ = drawn("graph", 9, 9, within=True, **given)
    assert len(np.unique(plain * 9 + other)) == len(plain) and not np.any(plain == other)
    both, target, _ = drawn("graph", 9, 9, within=True, autapses=True, multapses=True, **given)
    assert len(both) == 45 and np.any(both == target) and len(np.unique(both * 9 + target)) < 45


FILES = {
    "g.graphml": nx.write_graphml,
    "g.gml": nx.write_gml,
    "g.edgelist": nx.write_edgelist,
}


@pytest.mark.parametrize("name", FILES)
def test_graph_files(tmp_path: Path, name: str) -> None:
    graph = nx.DiGraph([(0, 4), (4, 0), (2, 1), (3, 3)])
    FILES[name](graph, tmp_path / name)
    source, target, expected = drawn("graph", 5, 5, file=str(tmp_path / name))
    assert sorted(zip(source.tolist(), target.tolist(), strict=True)) == [(0, 4), (2, 1), (3, 3), (4, 0)]
    assert expected == 4


def test_an_undirected_graph_file_goes_both_ways(tmp_path: Path) -> None:
    nx.write_graphml(nx.Graph([(0, 1), (1, 2)]), tmp_path / "g.graphml")
    source, target, _ = drawn("graph", 3, 3, file=str(tmp_path / "g.graphml"))
    assert sorted(zip(source.tolist(), target.tolist(), strict=True)) == [(0, 1), (1, 0), (1, 2), (2, 1)]


def test_a_table_brings_weights_delays_and_counts(tmp_path: Path) -> None:
    text = "target,source, weight,delay,synapses\n3,7,0.5,1.0,1\n1,7,2.0,1.26,3\n3,2,0.25,0.4,0\n"
    (tmp_path / "edges.csv").write_text(text)
    rule = {"table": {"file": str(tmp_path / "edges.csv")}}
    spec = ProjectionSpec.model_validate(projection(rule, weight=None, delay=None))
    found = connect(spec, 10, 5, 1)
    assert found.source_ids.tolist() == [7, 7, 7, 7] and found.target.tolist() == [1, 1, 1, 3]
    assert found.weight.tolist() == [2.0, 2.0, 2.0, 0.5] and found.delay.tolist() == [13, 13, 13, 10]
    drawn_anew = connect(ProjectionSpec.model_validate(projection(rule, delay=None)), 10, 5, 1)
    assert drawn_anew.weight.tolist() == [1.0] * 4 and drawn_anew.delay.tolist() == [13, 13, 13, 10]


def test_an_hdf5_table_says_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    columns = {"source": rng.integers(0, 10, 40), "target": rng.integers(0, 5, 40), "delay": np.full(40, 2.0)}
    with h5py.File(tmp_path / "edges.h5", "w") as file:
        for name, values in columns.items():
            file[name] = values
    lines = ["source,target,delay", *(f"{s},{t},{d}" for s, t, d in zip(*columns.values(), strict=True))]
    (tmp_path / "edges.csv").write_text("\n".join(lines))
    found = [
        connect(
            ProjectionSpec.model_validate(
                projection({"table": {"file": str(tmp_path / f"edges.{kind}")}}, delay=None)
            ),
            10,
            5,
            1,
        )
        for kind in ("h5", "csv")
    ]
    assert np.array_equal(found[0].target, found[1].target) and found[0].size == 40
    assert np.array_equal(found[0].source_ids, found[1].source_ids)
    assert np.array_equal(np.bincount(found[0].target), np.bincount(columns["target"]))


@pytest.mark.parametrize("weight_name", ["conductance", "syn_weight"])
def test_sonata_edges_come_back(tmp_path: Path, weight_name: str) -> None:
    """What a run writes can be read as a rule: edges, weights in nS or pA, delays."""
    rng = np.random.default_rng(3)
    ends = np.unravel_index(rng.choice(90 * 30, 200, replace=False), (90, 30))
    weight, delay = rng.uniform(0.5, 2, 200), rng.integers(8, 30, 200) / 10
    edges = EdgePopulation("x", "exc", "inh", *ends, weight, weight_name, delay, "ampa")
    write_edges(tmp_path / "edges.h5", [edges], {"exc": 90, "inh": 30})
    rule = {"sonata": {"file": str(tmp_path / "edges.h5"), "population": "x"}}
    spec = ProjectionSpec.model_validate(projection(rule, weight=None, delay=None))
    found = connect(spec, 90, 30, 1, conductance=weight_name == "conductance")
    order = np.lexsort((ends[1], ends[0]))
    assert np.array_equal(found.source_ids, ends[0][order]) and np.array_equal(found.target, ends[1][order])
    np.testing.assert_allclose(found.weight, weight[order], rtol=1e-6)
    assert np.array_equal(found.delay, np.rint(delay[order] * 10))


BAD_FILES = [
    ("{table: {file: t.csv}}", None, "there is no such file"),
    ("{table: {file: t.csv}}", "", "cannot be read"),
    ("{table: {file: t.txt}}", "source,target\n", "neither .csv nor .h5"),
    ("{table: {file: t.csv}}", "source,to\n1,1\n", "no column `target`"),
    ("{table: {file: t.csv}}", "source;target\n1;1\n", "its columns are separated by semicolons"),
    ("{table: {file: t.csv}}", "source,target,wait\n1,1,1\n", "unknown column `wait`"),
    ("{table: {file: t.csv}}", "source,target\n1,1\n1,x\n", "`target` is not a number in line 3"),
    (
        "{table: {file: t.csv}}",
        "source,target\n1,1\n10,1\n",
        "`source` of row 2 is 10. cells are numbered from",
    ),
    ("{table: {file: t.csv}}", "source,target\n1,-1\n", "`target` of row 1 is -1"),
    ("{table: {file: t.csv}}", "source,target\n1,1.5\n", "`target` of row 1 is 1.5"),
    ("{table: {file: t.csv}}", "source,target\n1,\n", "`target` of row 1 is nan"),
    ("{table: {file: t.csv}}", "source,target\n1,1\n", "t.csv has no weights"),
    ("{table: {file: t.csv}}", "source,target,weight\n1,1,1\n", "t.csv has no delays"),
    ("{table: {file: t.csv}}", "source,target,weight,delay\n1,1,-1,1\n", "conductance below 0"),
    ("{table: {file: t.csv}}", "source,target,weight,delay\n1,1,1,0\n", "the delay of row 1 is 0 ms"),
    ("{table: {file: t.h5}}", "source,target\n", "t.h5 cannot be read"),
    ("{sonata: {file: t.h5, population: x}}", "not hdf5", "is no SONATA edges file"),
    ("{sonata: {file: t.h5, population: x}}", None, "there is no such file"),
]


@pytest.mark.parametrize(("rule", "content", "message"), BAD_FILES)
def test_a_wrong_file_is_refused_before_anything_is_built(
    tmp_path: Path, rule: str, content: str | None, message: str
) -> None:
    name = rule.split("file: ")[1].split("}")[0].split(",")[0]
    if content is not None:
        (tmp_path / name).write_text(content)
    spec = load_network(network_file(tmp_path, rule, ""))
    with pytest.raises(ConfigError) as caught:
        check_network(spec, CORES)
    assert message in str(caught.value) and str(tmp_path / name) in str(caught.value)
    assert caught.value.line == 12 and caught.value.key == f"projections[0].rule.{rule[1:].split(':')[0]}"


@pytest.mark.parametrize(("weight", "fits"), [(-5, False), (0, True), (1, True), (50, False)])
def test_weights_of_a_file_lie_within_the_bounds_of_their_stdp(
    tmp_path: Path, weight: float, fits: bool
) -> None:
    times = dict.fromkeys(("tau_plus", "tau_minus"), "20 ms")
    stdp = {"stdp": {**times, "a_plus": 0.01, "a_minus": 0.01, "w_max": "1 pA"}}
    file = tmp_path / "t.csv"
    file.write_text(f"source,target,weight\n0,0,0.5\n1,0,{weight}\n")
    rule = {"table": {"file": str(file)}}
    one = {"name": "p", "from": "exc", "to": "inh", "rule": rule, "synapse": "s", "delay": "1 ms"}
    synapses = {"s": {"model": "exp", "decay": "2 ms", "plasticity": stdp}}
    spec = network_spec(synapses=synapses, projections=[one], stimuli=[])
    if fits:
        check_network(spec, CORES)
        return
    with pytest.raises(ConfigError, match=f"has a weight of {weight} pA, .* 0 to 1 pA") as caught:
        check_network(spec, CORES)
    assert caught.value.key == "projections[0].rule.table"


def test_a_sonata_file_without_that_population(tmp_path: Path) -> None:
    one = EdgePopulation("y", "a", "b", *np.zeros((2, 1), int), np.ones(1), "conductance", np.ones(1))
    write_edges(tmp_path / "t.h5", [one], {"a": 10, "b": 5})
    spec = load_network(network_file(tmp_path, "{sonata: {file: t.h5, population: x}}", ""))
    with pytest.raises(ConfigError, match="no edge population 'x'; it has y"):
        check_network(spec, CORES)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("0/nsyns", [1.0, -1.0], "nsyns of an edge is -1,"),
        ("0/nsyns", [1.5, 1.0], "nsyns of an edge is 1.5,"),
        ("0/nsyns", [1.0, 1e14], "nsyns of an edge is 1e+14,"),
        ("target_node_id", [0], "the columns of edge population x differ in length"),
    ],
)
def test_damaged_sonata_edges_are_refused(
    tmp_path: Path, name: str, values: list[float], message: str
) -> None:
    columns = {"source_node_id": [0, 1], "target_node_id": [0, 1], "edge_type_id": [1, 1]}
    with h5py.File(tmp_path / "t.h5", "w") as file:
        for key, each in {**columns, "0/syn_weight": [1.0, 1.0], "0/delay": [1.0, 1.0], name: values}.items():
            file[f"edges/x/{key}"] = each
    spec = load_network(network_file(tmp_path, "{sonata: {file: t.h5, population: x}}", ""))
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_network(spec, CORES)


def test_a_short_delay_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("source,target,weight,delay\n1,1,1,0.3\n1,2,1,4\n")
    spec = load_network(network_file(tmp_path, "{table: {file: t.csv}}", ""))
    slow = {"integrate-and-fire": CoreInfo("integrate-and-fire", ("soma",), 5)}
    with pytest.raises(ConfigError, match=r"x can be 0\.3 ms, shorter than the step"):
        check_network(spec, slow)
    assert build_network(spec, {}, CORES).block_samples == 3


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("within {graph: {generator: barabasi_albert_graph, arguments: {m: 30}}}", "refuses: .*m"),
        ("within {graph: {generator: hypercube_graph, arguments: {n: 2}}}", "4 nodes for 10 cells"),
        ("within {graph: {generator: random_powerlaw_tree_sequence}}", "refuses|gives no graph"),
        ("{graph: {file: g.edgelist}}", "has a node called 'a'"),
        ("{graph: {file: g.png}}", "is no graph file"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused_at_its_line(tmp_path: Path, rule: str, message: str) -> None:
    (tmp_path / "g.edgelist").write_text("0 a\n")
    spec = load_network(network_file(tmp_path, rule))
    for attempt in (lambda: build_network(spec, {}, CORES), lambda: expected_synapses(spec, 0)):
        with pytest.raises(ConfigError, match=message) as caught:
            attempt()
        assert caught.value.line == 12


def test_a_run_notes_the_hashes_of_the_files_it_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("source,target\n1,1\n")
    spec = load_network(network_file(tmp_path, "{table: {file: t.csv}}"))
    results = simulate(spec, out=tmp_path / "run", report=False)
    noted = json.loads((results.path / "provenance.json").read_text())["files"]
    assert noted == {str(tmp_path / "t.csv"): sha256((tmp_path / "t.csv").read_bytes()).hexdigest()}
    again = load_network(tmp_path / "run" / "network.yaml")
    assert again.projections == spec.projections


def test_a_run_reads_a_file_once_to_check_and_once_to_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from noble_net import simulate
    from noble_net.network import given

    (tmp_path / "edges.csv").write_text("source,target\n0,0\n1,2\n")
    rule = {"table": {"file": str(tmp_path / "edges.csv")}}
    projection = {**network_data()["projections"][0], "rule": rule}
    read, times = given._csv, []
    monkeypatch.setattr(given, "_csv", lambda *arguments: times.append(1) or read(*arguments))
    spec = network_spec(projections=[projection], duration="1 ms")
    assert simulate(spec, out=tmp_path / "run", report=False).summary["synapses"] == 2
    assert len(times) == 2
