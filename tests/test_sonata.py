"""SONATA files are opened by libsonata, bluepysnap and bmtk, and read back as written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import h5py
import libsonata
import numpy as np
import pytest
from helpers import validated
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import nodes, random_edges, rhythmic_spikes, write_run

from noble_net.errors import OutputError
from noble_net.sonata import (
    EdgePopulation,
    NodePopulation,
    ReportWriter,
    SpikeWriter,
    read_edges,
    read_nodes,
    read_report,
    read_spikes,
    write_configs,
    write_edges,
    write_nodes,
)

SIZES = {"pv": 20, "pyr": 5}
NONE = (np.empty(0), np.empty(0, np.int64))


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spikes = {"pv": rhythmic_spikes(20, 500.0), "pyr": NONE}
    return write_run(tmp_path_factory.mktemp("busy"), spikes, SIZES, duration=500.0)


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("silent"), {}, SIZES, duration=500.0)


@pytest.fixture(params=["busy", "silent"])
def run(request: pytest.FixtureRequest) -> Path:
    return Path(request.getfixturevalue(request.param))


def test_libsonata_opens_spikes_and_voltage(run: Path) -> None:
    spikes = libsonata.SpikeReader(str(run / "spikes.h5"))
    assert set(spikes.get_population_names()) == set(SIZES)
    expected = read_spikes(run / "spikes.h5")
    for name in SIZES:
        assert spikes[name].sorting == "by_time"
        assert spikes[name].time_units == "ms"
        np.testing.assert_array_equal(spikes[name].get_dict()["timestamps"], expected[name][0])
    report = libsonata.ElementReportReader(str(run / "voltage.h5"))["pv"]
    frames = report.get()
    assert report.times == (0.0, 500.0, 0.1)
    assert report.data_units == "mV"
    np.testing.assert_array_equal(np.asarray(frames.data), read_report(run / "voltage.h5", "pv")[2])
    np.testing.assert_allclose(frames.times, read_report(run / "voltage.h5", "pv")[0], atol=1e-6)


def test_libsonata_opens_the_circuit_and_follows_edges(run: Path) -> None:
    config = libsonata.SimulationConfig.from_file(str(run / "simulation_config.json"))
    circuit = libsonata.CircuitConfig.from_file(config.network)
    assert circuit.node_populations == set(SIZES)
    cells = circuit.node_population("pv")
    np.testing.assert_allclose(
        cells.get_dynamics_attribute("I_thr", cells.select_all()), read_nodes(run / "nodes.h5")["pv"]["I_thr"]
    )
    edges, table = circuit.edge_population("rec"), read_edges(run / "edges.h5", "rec")
    assert (edges.source, edges.target) == ("pv", "pv")
    for cell in range(20):
        assert edges.afferent_edges([cell]).flat_size == np.sum(table.target_node_id == cell)
        assert edges.efferent_edges([cell]).flat_size == np.sum(table.source_node_id == cell)


def test_bluepysnap_validates_and_reads(run: Path) -> None:
    text = validated(run)
    assert "No Error: Success" in text, text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from bluepysnap import Simulation

        simulation = Simulation(str(run / "simulation_config.json"))
        spikes = simulation.spikes["pv"].get()
        voltage = simulation.reports["voltage"]["pv"].get()
        assert len(simulation.spikes["pyr"].get()) == 0
        assert set(simulation.circuit.nodes["pv"].get()["label"]) == {f"m{i:03d}" for i in range(7)}
    assert len(spikes) == len(read_spikes(run / "spikes.h5")["pv"][0])
    assert voltage.shape == (5000, 3)


def test_bluepysnap_validates_current_synapses_and_empty_projections(tmp_path: Path) -> None:
    write_nodes(tmp_path / "nodes.h5", [nodes("pv", 10, features=False)])
    edges = [random_edges("a", 10, 10, weight_name="syn_weight"), random_edges("b", 10, 10, n=0)]
    write_edges(tmp_path / "edges.h5", iter(edges), {"pv": 10})
    names = {edge.name: edge.weight_name for edge in edges}
    write_configs(tmp_path, ["pv"], names, duration=100.0, dt=0.1, seed=2**40)
    code = "from bluepysnap.cli import cli; cli()"
    command = [
        sys.executable,
        "-c",
        code,
        "validate-circuit",
        "--no-skip-slow",
        str(tmp_path / "circuit_config.json"),
    ]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "FATAL" not in text, text
    empty = libsonata.EdgeStorage(str(tmp_path / "edges.h5")).open_population("b")
    assert empty.afferent_edges([3]).flat_size == empty.efferent_edges([9]).flat_size == 0
    back = read_edges(tmp_path / "edges.h5", "a")
    np.testing.assert_allclose(np.sort(back.weight), np.sort(edges[0].weight), rtol=1e-6)
    with h5py.File(tmp_path / "edges.h5") as file:
        assert file["edges/a/0/syn_weight"].attrs["units"] == "nA"
        np.testing.assert_allclose(
            np.sort(file["edges/a/0/syn_weight"]), np.sort(edges[0].weight) / 1000, rtol=1e-6
        )


def test_a_network_without_projections_opens(tmp_path: Path) -> None:
    write_nodes(tmp_path / "nodes.h5", [nodes("pv", 10)])
    write_edges(tmp_path / "edges.h5", [], {"pv": 10})
    write_configs(tmp_path, ["pv"], {}, duration=100.0, dt=0.1, seed=1, spikes=False)
    simulation = libsonata.SimulationConfig.from_file(str(tmp_path / "simulation_config.json"))
    assert libsonata.CircuitConfig.from_file(simulation.network).node_population("pv").size == 10


def test_bmtk_opens_everything(run: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from bmtk.utils.reports import CompartmentReport
        from bmtk.utils.reports.spike_trains import SpikeTrains
        from bmtk.utils.sonata import File

        spikes = SpikeTrains.load(str(run / "spikes.h5"))
        expected = read_spikes(run / "spikes.h5")["pv"]
        assert set(spikes.populations) == set(SIZES)
        assert spikes.n_spikes("pv") == len(expected[0])
        for cell in np.unique(expected[1]):
            np.testing.assert_array_equal(spikes.get_times(cell, "pv"), expected[0][expected[1] == cell])
        report = CompartmentReport.load(str(run / "voltage.h5"))
        assert report.data(population="pv").shape == (5000, 3)
        assert report.units("pv") == "mV"
        data, types = (["nodes.h5", "edges.h5"], ["node_types.csv", "edge_types.csv"])
        file = File([str(run / name) for name in data], [str(run / name) for name in types])
        assert set(file.nodes.population_names) == set(SIZES)
        edges = read_edges(run / "edges.h5", "rec")
        assert len(file.edges["rec"]) == 60
        assert [edge.source_node_id for edge in file.edges["rec"].get_target(3)] == list(
            edges.source_node_id[edges.target_node_id == 3]
        )


def test_edges_are_sorted_by_target_and_complete(tmp_path: Path) -> None:
    edge = random_edges("rec", 8, 12)
    edge = EdgePopulation(**{**vars(edge), "source": "a", "target": "b"})
    write_edges(tmp_path / "edges.h5", [edge], {"a": 8, "b": 12})
    back = read_edges(tmp_path / "edges.h5", "rec")
    assert np.all(np.diff(back.target_node_id) >= 0)
    order = np.lexsort((edge.source_node_id, edge.target_node_id))
    np.testing.assert_array_equal(back.source_node_id, edge.source_node_id[order])
    np.testing.assert_allclose(back.weight, edge.weight[order], rtol=1e-6)
    np.testing.assert_allclose(back.delay, edge.delay[order], rtol=1e-6)
    assert (back.source, back.target, back.synapse) == ("a", "b", "gaba")


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 80), sources=st.integers(1, 9), targets=st.integers(1, 9), seed=st.integers(0, 99))
def test_indices_are_those_of_libsonata(
    tmp_path_factory: pytest.TempPathFactory, n: int, sources: int, targets: int, seed: int
) -> None:
    path = tmp_path_factory.mktemp("edges") / "edges.h5"
    rng = np.random.default_rng(seed)
    ends, ones = (rng.integers(0, sources, n), rng.integers(0, targets, n)), np.ones(n)
    write_edges(
        path, [EdgePopulation("e", "a", "b", *ends, ones, "conductance", ones)], {"a": sources, "b": targets}
    )
    ours = _indices(path)
    with h5py.File(path, "r+") as file:
        del file["edges/e/indices"]
    libsonata.EdgePopulation.write_indices(str(path), "e", sources, targets)
    theirs = _indices(path)
    assert ours.keys() >= theirs.keys()
    for key, values in theirs.items():
        np.testing.assert_array_equal(ours[key], values, key)


def _indices(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        groups = file["edges/e/indices"].items()
        return {f"{side}/{name}": group[name][:] for side, group in groups for name in group}


def test_nodes_keep_latents_and_labels(tmp_path: Path) -> None:
    given = nodes("pv", 9)
    plain = NodePopulation("if", 1, "noble-net:integrate-and-fire")
    write_nodes(tmp_path / "nodes.h5", [given, plain])
    tables = read_nodes(tmp_path / "nodes.h5")
    assert list(tables["pv"]["label"]) == list(given.labels)
    np.testing.assert_allclose(tables["pv"]["s_thr"], given.dynamics_params["s_thr"], rtol=1e-6)
    np.testing.assert_allclose(tables["pv"]["threshold_current"], given.dynamics_params["I_thr"], rtol=1e-6)
    assert np.isnan(tables["if"]["threshold_current"]).all()
    assert tables["if"]["model_template"][0] == "noble-net:integrate-and-fire"


@settings(max_examples=25, deadline=None)
@given(
    frames=st.integers(1, 400),
    dt=st.sampled_from([0.1, 0.2, 0.3, 0.7, 1.0]),
    cut=st.integers(1, 50),
    n=st.integers(1, 3),
)
def test_a_voltage_report_reads_back_however_it_was_appended(
    tmp_path_factory: pytest.TempPathFactory, frames: int, dt: float, cut: int, n: int
) -> None:
    path = tmp_path_factory.mktemp("report") / "voltage.h5"
    data = np.random.default_rng(frames).normal(size=(frames, n)).astype(np.float32)
    with ReportWriter(path, {"pv": np.arange(n)}, 0.0, frames * dt, dt) as writer:
        for begin in range(0, frames, cut):
            writer.append("pv", data[begin : begin + cut])
    times, ids, back = read_report(path, "pv")
    np.testing.assert_array_equal(back, data)
    np.testing.assert_allclose(times, np.arange(frames) * dt)
    assert list(ids) == list(range(n))
    report = libsonata.ElementReportReader(str(path))["pv"]
    assert np.asarray(report.get().data).shape == data.shape
    assert int((report.times[1] - report.times[0]) / report.times[2]) == frames  # as bmtk counts


@pytest.mark.parametrize(("frames", "dt"), [(6_000_000, 0.1), (700_000, 0.2)])
def test_libsonata_reads_reports_longer_than_its_rounding(tmp_path: Path, frames: int, dt: float) -> None:
    with ReportWriter(tmp_path / "voltage.h5", {"pv": [0]}, 0.0, frames * dt, dt) as writer:
        for _ in range(4):
            writer.append("pv", np.zeros((frames // 4, 1), np.float32))
    report = libsonata.ElementReportReader(str(tmp_path / "voltage.h5"))["pv"]
    assert np.asarray(report.get(tstart=report.times[1] - 9.5 * dt).data).shape == (
        9,
        1,
    )  # reading all is slow


def test_writers_refuse_disorder(tmp_path: Path) -> None:
    with SpikeWriter(tmp_path / "spikes.h5", ["pv"]) as writer:
        writer.append("pv", [1.0, 2.0], [0, 1])
        with pytest.raises(ValueError, match="time order"):
            writer.append("pv", [1.5], [0])
        with pytest.raises(ValueError, match="time order"):
            writer.append("pv", [3.0, 2.5], [0, 0])
        writer.append("pv", [2.0], [0])
    assert list(read_spikes(tmp_path / "spikes.h5")["pv"][0]) == [1.0, 2.0, 2.0]
    with ReportWriter(tmp_path / "voltage.h5", {"pv": [0]}, 0.0, 1.0, 0.1) as voltage:
        voltage.append("pv", np.zeros((8, 1)))
        with pytest.raises(ValueError, match="planned"):
            voltage.append("pv", np.zeros((3, 1)))


def test_an_unfinished_report_tells_its_own_length(tmp_path: Path) -> None:
    with ReportWriter(tmp_path / "voltage.h5", {"pv": [0, 1]}, 0.0, 100.0, 0.1) as writer:
        writer.append("pv", np.zeros((40, 2)))
    assert libsonata.ElementReportReader(str(tmp_path / "voltage.h5"))["pv"].times[1] == pytest.approx(4.0)


KILLED = """
    import os, signal, sys
    from noble_net.sonata import SpikeWriter, ReportWriter
    import numpy as np
    spikes = SpikeWriter("spikes.h5", ["pv", "pyr"])
    voltage = ReportWriter("voltage.h5", {"pv": np.arange(50)}, 0.0, 1e5, 0.1)
    for k in range(40):
        spikes.append("pv", np.arange(5000) * 0.001 + 5 * k, np.arange(5000) % 50)
        voltage.append("pv", np.full((2000, 50), k))
        if k == 20:
            spikes.flush(); voltage.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_leaves_what_was_flushed(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED)], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    spikes = libsonata.SpikeReader(str(tmp_path / "spikes.h5"))["pv"].get_dict()
    assert len(spikes["timestamps"]) >= 21 * 5000
    frames = libsonata.ElementReportReader(str(tmp_path / "voltage.h5"))["pv"].get()
    data = np.asarray(frames.data)
    assert len(data) >= 21 * 2000
    assert np.all(data[: 21 * 2000].reshape(21, -1) == np.arange(21)[:, None])


FULL = """
    import resource, sys
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    import numpy as np
    from noble_net.errors import OutputError
    from noble_net.sonata import *
    def spikes():
        with SpikeWriter("spikes.h5", ["pv"]) as writer:
            for k in range(100):
                writer.append("pv", np.arange(2000) * 0.001 + 2 * k, np.arange(2000))
                writer.flush()
    def voltage():
        with ReportWriter("voltage.h5", {"pv": np.arange(100)}, 0.0, 1e4, 0.1) as writer:
            for k in range(100):
                writer.append("pv", np.zeros((200, 100)))
                writer.flush()
    def nodes():
        write_nodes("nodes.h5", [NodePopulation("pv", 100_000, "x")])
    def edges(n):
        i = np.arange(n)
        edge = EdgePopulation("e", "a", "a", i, i, i * 1.0, "conductance", i * 1.0)
        write_edges("edges.h5", [edge], {"a": n})
    def configs():
        write_configs(".", ["p" * 500_000], {}, duration=1.0, dt=0.1, seed=1)
    jobs = spikes, voltage, nodes, lambda: edges(100_000), lambda: edges(9_000), configs
    for job in jobs:
        try:
            job()
        except OutputError as error:
            print(error)
        else:
            print("no error")
"""


def test_a_full_disk_is_an_error_with_path_and_remedy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    files = ["spikes.h5", "voltage.h5", "nodes.h5", "edges.h5", "edges.h5", "node_types.csv"]
    assert [line.split(":")[0] for line in lines] == files
    assert all("Free some space" in line for line in lines), lines
    assert done.stderr == ""
    times, _ = read_spikes(tmp_path / "spikes.h5")["pv"]
    assert len(times) >= 14_000
    assert len(read_report(tmp_path / "voltage.h5", "pv")[2]) > 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_forbidden_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="may write"):
        SpikeWriter(tmp_path / "spikes.h5", ["pv"])


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"nowhere/spikes\.h5"):
        SpikeWriter(tmp_path / "nowhere" / "spikes.h5", ["pv"])


@pytest.mark.parametrize("content", [b"", b"not HDF5", "truncated"])
def test_damaged_files_are_named(busy: Path, tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "spikes.h5"
    whole = (busy / "spikes.h5").read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
    with pytest.raises(OutputError, match=r"spikes\.h5"):
        read_spikes(path)
    with pytest.raises(OutputError, match=r"spikes\.h5"):
        read_report(path, "pv")
    with pytest.raises(OutputError, match="no such file"):
        read_nodes(tmp_path / "nodes.h5")
    with pytest.raises(OutputError, match=r"voltage\.h5"):
        read_report(busy / "voltage.h5", "nobody")
