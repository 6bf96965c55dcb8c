"""What a run leaves of its connections: edges.h5 when it is wanted, gap junctions in it, weights at the end."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import h5py
import libsonata
import numpy as np
import pytest
from helpers import CORES, network_data, validated
from hypothesis import given, settings
from hypothesis import strategies as st

import noble_net.specs.recording as recording
from noble_net import simulate
from noble_net.config import dump_network, network_from
from noble_net.errors import ConfigError
from noble_net.loop import Loop
from noble_net.network.build import build_network, expected_junctions
from noble_net.results import Results
from noble_net.run_directory import expected_bytes
from noble_net.simulation import describe
from noble_net.sonata import edges as sonata_edges
from noble_net.sonata import read_edges, write_edges
from noble_net.surrogate.integrate_and_fire import IntegrateAndFire

GAPS: list[dict[str, Any]] = [
    {
        "name": "within",
        "from": "inh",
        "to": "inh",
        "rule": {"pairwise_bernoulli": {"p": 0.3}},
        "conductance": {"uniform": {"low": "0.1 nS", "high": "0.5 nS"}},
    },
    {
        "name": "between",
        "from": "exc",
        "to": "inh",
        "rule": {"fixed_indegree": {"indegree": 2}},
        "conductance": "0.2 nS",
    },
]
STDP = {
    "tau_plus": "20 ms",
    "tau_minus": "20 ms",
    "a_plus": 0.1,
    "a_minus": 0.12,
    "w_max": "4 nS",
}


PUSH: dict[str, Any] = {"rate": "900 Hz", "synapse": "push", "weight": "3 nS"}


def run(out: Path, **changes: Any) -> Results:
    return simulate(network_from(network_data(duration="100 ms", **changes)), out=out, report=False)


def plastic(plasticity: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The network of `network_data` with weights from `exc` to `inh` that change, and both driven by Poisson spikes."""
    data = network_data()
    ampa, (first, second) = data["synapses"]["ampa"], data["projections"]
    weight = {"uniform": {"low": "1 nS", "high": "2 nS"}}
    synapses = {**data["synapses"], "push": ampa, "ampa": {**ampa, "plasticity": plasticity}}
    stimuli = [{"to": name, "poisson": PUSH} for name in ("exc", "inh")]
    projections = [{**first, "weight": weight}, second]
    return {**data, "synapses": synapses, "projections": projections, "stimuli": stimuli, **changes}


@settings(max_examples=20)
@given(
    sources=st.integers(1, 9),
    targets=st.integers(1, 9),
    n=st.integers(0, 60),
    stretch=st.sampled_from([1, 7, 512]),
)
def test_stretches_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, sources: int, targets: int, n: int, stretch: int
) -> None:
    rng = np.random.default_rng(n)
    ends = rng.integers(0, sources, n), rng.integers(0, targets, n)
    edges = sonata_edges.EdgePopulation("e", "a", "b", *ends, rng.random(n), "conductance", rng.random(n))
    path = tmp_path_factory.mktemp("edges") / "edges.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sonata_edges, "_EDGES_PER_STRETCH", stretch)
        write_edges(path, [edges], {"a": sources, "b": targets})
    back, order = read_edges(path, "e"), np.lexsort(ends)
    np.testing.assert_array_equal(back.source_node_id, ends[0][order])
    np.testing.assert_array_equal(back.target_node_id, ends[1][order])
    opened = libsonata.EdgeStorage(str(path)).open_population("e")
    for cell in range(sources):
        np.testing.assert_array_equal(
            opened.efferent_edges([cell]).flatten(), np.flatnonzero(back.source_node_id == cell)
        )
    for cell in range(targets):
        np.testing.assert_array_equal(
            opened.afferent_edges([cell]).flatten(), np.flatnonzero(back.target_node_id == cell)
        )


@pytest.mark.parametrize("edges", [False, "auto"])
def test_a_run_without_edges_opens_everywhere_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edges: bool | str
) -> None:
    monkeypatch.setattr(recording, "MOST_EDGES", 100)
    results = run(tmp_path / "run", record={"edges": edges})
    assert not (results.path / "edges.h5").exists()
    assert results.summary["edges_written"] is False and results.summary["synapses"] > 100
    simulation = libsonata.SimulationConfig.from_file(str(results.path / "simulation_config.json"))
    circuit = libsonata.CircuitConfig.from_file(simulation.network)
    assert circuit.edge_populations == set() and circuit.node_population("exc").size == 90
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from bluepysnap import Simulation

        snap = Simulation(str(results.path / "simulation_config.json"))
        assert set(snap.circuit.nodes) == {"exc", "inh"} and not list(snap.circuit.edges)
    again = run(tmp_path / "again", record={"edges": True})
    assert (again.path / "edges.h5").exists() and again.summary["edges_written"] is True


def test_gap_junctions_are_electrical_edges(tmp_path: Path) -> None:
    results = run(tmp_path / "run", gap_junctions=GAPS)
    network = build_network(network_from(network_data(gap_junctions=GAPS)), {}, CORES)
    assert results.summary["gap_junctions"] == network.n_gap_junctions
    circuit = libsonata.CircuitConfig.from_file(str(results.path / "circuit_config.json"))
    assert circuit.edge_populations == {"e-i", "i-e", "within", "between", "between:reverse"}
    assert "FATAL" not in validated(results.path)
    for each in network.gap_junctions:
        names = [each.name] if each.source == each.target else [each.name, f"{each.name}:reverse"]
        forth, back = [], []
        for name in names:
            assert circuit.edge_population_properties(name).type == "electrical"
            edges = circuit.edge_population(name)
            everything = edges.select_all()
            ids = [
                edges.get_attribute(f"{side}_junction_id", everything).astype(int)
                for side in ("efferent", "afferent")
            ]
            g = edges.get_attribute("conductance", everything)
            ends = edges.source_nodes(everything), edges.target_nodes(everything)
            for source, target, conductance, out, into in zip(*ends, g, *ids, strict=True):
                (forth if out < into else back).append((source, target, conductance, out, into))
        wanted = {(a, b, c) for a, b, c in zip(each.first, each.second, each.conductance, strict=True)}
        assert {(a, b, c) for a, b, c, *_ in forth} == wanted and len(forth) == each.size
        assert sorted((b, a, c, j, i) for a, b, c, i, j in back) == sorted(forth)
        neighbour = int(each.second[0])
        assert circuit.edge_population(each.name).afferent_edges([neighbour]).flat_size > 0


def test_gap_junctions_are_counted_before_a_run() -> None:
    spec = network_from(network_data(gap_junctions=GAPS))
    network = build_network(spec, {}, CORES)
    expected = [expected_junctions(spec, index) for index in range(2)]
    assert expected == [round(0.3 * 30 * 29 / 2), 60]
    assert network.gap_junctions[1].size == pytest.approx(expected[0], rel=0.2)
    assert f"within: inh – inh, pairwise_bernoulli, {expected[0]} gap junctions" in describe(spec)


def test_gap_junctions_and_projections_are_told_apart_by_name() -> None:
    with pytest.raises(ConfigError, match=r"gap_junctions\[0\]\.name = e-i: a projection has that name, too"):
        network_from(network_data(gap_junctions=[{**GAPS[0], "name": "e-i"}]))


@pytest.mark.parametrize("edges", [True, False])
def test_weights_with_stdp_are_written_as_they_are_at_the_end(tmp_path: Path, edges: bool) -> None:
    data = plastic({"stdp": STDP}, duration="150 ms", record={"edges": edges})
    results = simulate(network_from(data), out=tmp_path / "run", report=False)
    network = build_network(network_from(data), {}, CORES)
    loop = Loop(network, {"integrate-and-fire": IntegrateAndFire()})
    while loop.position < 1500:
        loop.advance(min(loop.block_samples, 1500 - loop.position))
    wanted, projection = loop.weights()["e-i"], network.projections[0]
    order = np.lexsort((projection.source_ids, projection.target))
    opened = libsonata.EdgeStorage(str(results.path / "weights.h5"))
    assert opened.population_names == {"e-i"}
    last = opened.open_population("e-i")
    found = last.get_attribute("conductance", last.select_all())
    np.testing.assert_array_equal(found, wanted[order])
    assert np.mean(found != projection.weight[order]) > 0.5
    np.testing.assert_array_equal(results.weights("e-i")["weight"], found)
    if edges:
        first = read_edges(results.path / "edges.h5", "e-i")
        np.testing.assert_array_equal(first.target_node_id, last.target_nodes(last.select_all()))
        np.testing.assert_array_equal(first.source_node_id, last.source_nodes(last.select_all()))


@pytest.mark.parametrize("record", [{}, {"weights": False}])
def test_no_weights_are_written_that_did_not_change_or_are_not_wanted(
    tmp_path: Path, record: dict[str, Any]
) -> None:
    plasticity = {"stdp": STDP} if record else {"tsodyks_markram": {"U": 0.5, "tau_rec": "100 ms"}}
    data = plastic(plasticity, duration="20 ms", record=record)
    results = simulate(network_from(data), out=tmp_path / "run", report=False)
    assert not (results.path / "weights.h5").exists() and (results.path / "edges.h5").exists()


def test_the_expected_size_of_a_folder_follows_what_is_written(tmp_path: Path) -> None:
    sizes = {"exc": {"size": 400}, "inh": {"size": 200}}

    def network(**record: Any) -> Any:
        data = plastic({"stdp": STDP}, populations=sizes, record=record)
        return build_network(network_from(data), {}, CORES)

    none = expected_bytes(network(edges=False, weights=False))
    for files, record in {
        ("edges.h5",): {"edges": True, "weights": False},
        ("weights.h5",): {"edges": False, "weights": True},
        ("edges.h5", "weights.h5"): {"edges": True, "weights": True},
    }.items():
        built = network(**record)
        spec = built.spec.model_copy(update={"duration": 1.0})
        results = simulate(spec, out=tmp_path / "-".join(files), report=False)
        written = sum((results.path / name).stat().st_size for name in files)
        assert all((results.path / name).exists() == (name in files) for name in ("edges.h5", "weights.h5"))
        assert written == pytest.approx(expected_bytes(built) - none, rel=0.15)


@pytest.mark.parametrize("edges", ["auto", True, False])
def test_edges_read_back_as_written(edges: bool | str, tmp_path: Path) -> None:
    from noble_net.config import load_network

    spec = network_from(network_data(record={"edges": edges}))
    assert spec.record.edges is edges or spec.record.edges == edges
    (tmp_path / "net.yaml").write_text(dump_network(spec))
    assert load_network(tmp_path / "net.yaml") == spec


def test_a_damaged_wish_is_named() -> None:
    for wish in ("maybe", 1, None):
        with pytest.raises(ConfigError, match=r"record\.edges.*neither `auto` nor true nor false"):
            network_from(network_data(record={"edges": wish}))


def test_gap_junctions_have_their_type_in_the_config(tmp_path: Path) -> None:
    results = run(tmp_path / "run", gap_junctions=GAPS[:1])
    config = json.loads((results.path / "circuit_config.json").read_text())
    synapses, junctions = (
        {name: each["type"] for name, each in file["populations"].items()}
        for file in config["networks"]["edges"]
    )
    assert (synapses, junctions) == (
        dict.fromkeys(("e-i", "i-e"), "brian2_synapse"),
        {"within": "electrical"},
    )
    with h5py.File(results.path / "gap_junctions.h5") as file:
        assert file["edges/within/0/conductance"].attrs["units"] == "nS"
        assert set(file["edges/within/edge_type_id"][:]) == {2}
