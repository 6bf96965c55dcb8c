"""Reports of inputs, firing rates and node sets of whole runs: values, cuts, files that other readers open."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import h5py
import libsonata
import numpy as np
import pytest
from helpers import built, network_data
from hypothesis import given, settings
from hypothesis import strategies as st

from noble_net import recording
from noble_net.config import network_from
from noble_net.errors import ConfigError, OutputError
from noble_net.network.node_sets import report_cells
from noble_net.network.stimuli import make_stimulus
from noble_net.network.synapses import sample_means, synapse_constants
from noble_net.recording import RateRecorder, SpikeRecorder
from noble_net.results import Results, load_results
from noble_net.simulation import simulate
from noble_net.sonata import RateWriter, read_rates
from noble_net.types import DT

SETS = {"some": {"population": "inh", "cells": [4, 20]}, "half": {"population": "exc", "fraction": 0.5}}
STIMULI = [
    {"to": "exc", "name": "ou", "ornstein_uhlenbeck": {"mean": "0.25 nA", "sigma": "0.1 nA", "tau": "5 ms"}},
    {"to": "some", "name": "sine", "sinusoidal": {"amp": "0.1 nA", "frequency": "30 Hz"}},
    {"to": "inh", "name": "poisson", "poisson": {"rate": "900 Hz", "synapse": "ampa", "weight": "2 nS"}},
    {
        "to": "exc",
        "name": "shots",
        "ornstein_uhlenbeck": {"mean": "2 nS", "sigma": "1 nS", "tau": "5 ms", "reversal": "0 mV"},
    },
]
RECORD = {
    "voltage": {"cells": ["some"], "dt": "0.2 ms"},
    "current": {"cells": ["some", "exc"], "start": "10 ms", "stop": "60 ms"},
    "conductance": {"cells": "all", "dt": "0.5 ms"},
    "synapses": {"ampa": {"cells": "all"}, "gaba": {"cells": 5, "dt": "0.3 ms"}},
    "rates": {"bin": "7 ms"},
}


def data(**changes: Any) -> dict[str, Any]:
    shown = {"node_sets": SETS, "stimuli": STIMULI, "record": RECORD, "warmup": "5 ms", "duration": "80 ms"}
    return network_data(**(shown | changes))


def run(path: Path, changes: dict[str, Any] | None = None, **options: Any) -> Results:
    return simulate(network_from(data(**(changes or {}))), out=path, report=False, **options)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return simulate(network_from(data()), out=tmp_path_factory.mktemp("reports") / "run")


def test_the_injected_current_is_the_sum_of_the_stimuli(results: Results) -> None:
    spec = network_from(data())
    noise = make_stimulus(spec.stimuli[0], spec).values(0, 850)  # type: ignore[union-attr]
    table = results.recording("current", "exc")
    assert table.shape == (500, 90) and table.index[0] == 10.0
    assert np.array_equal(table.to_numpy(), noise[:, 150:650].T)
    some = results.recording("current", "inh")
    assert list(some.columns) == [4, 20]
    wanted = 0.1 * np.sin(2 * np.pi * 0.03 * (some.index.to_numpy() + DT / 2))
    np.testing.assert_allclose(some.to_numpy(), np.tile(wanted[:, None], (1, 2)), atol=1e-6)


def test_conductances_are_those_of_synapses_and_stimuli(results: Results) -> None:
    spec = network_from(data())
    noise = make_stimulus(spec.stimuli[3], spec).values(0, 850)  # type: ignore[union-attr]
    exc = results.recording("conductance", "exc")
    assert np.array_equal(exc.to_numpy(), noise[:, 50:850:5].T)  # its synapses are currents
    inh, ampa = results.recording("conductance", "inh"), results.recording("synapse-ampa", "inh")
    assert ampa.shape == (800, 30) and ampa.to_numpy().max() > 2
    assert np.array_equal(inh.to_numpy(), ampa.to_numpy()[::5])
    gaba = results.recording("synapse-gaba", "exc")
    assert gaba.shape == (267, 5) and gaba.to_numpy().min() < -40 and gaba.to_numpy().max() <= 0
    assert results.recording("synapse-gaba", "inh").empty and results.recording("voltage", "exc").empty


def test_a_synapses_report_is_its_closed_form(tmp_path: Path) -> None:
    """One spike of weight w at a time arrives and decays; the sample's mean is told."""
    poisson = {"to": "inh", "name": "p", "poisson": {"rate": "300 Hz", "synapse": "ampa", "weight": "2 nS"}}
    changes = {"stimuli": [poisson], "projections": [], "warmup": "0 ms"}
    told = run(tmp_path / "run", changes | {"record": {"synapses": {"ampa": {"cells": "all"}}}})
    spec = network_from(data(**changes))
    counts = make_stimulus(spec.stimuli[0], spec).counts(0, 800)  # type: ignore[union-attr]
    ampa = spec.synapses["ampa"]
    gain_d, gain_r, keep_d, keep_r, *_ = synapse_constants(ampa)
    mean_d, mean_r = sample_means(ampa, np.array([np.inf]))[:, 0]
    time = np.arange(800)
    course = 2 * (gain_d * mean_d * keep_d**time + gain_r * mean_r * keep_r**time)
    wanted = np.array([np.convolve(row, course)[:800] for row in counts])
    np.testing.assert_allclose(told.recording("synapse-ampa", "inh").to_numpy().T, wanted, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{"block_samples": 3}, {"batch": 7}, {"threads": 1}, {"block_samples": 1}]
)
def test_blocks_batches_and_threads_change_no_report(
    tmp_path: Path, results: Results, options: dict[str, int]
) -> None:
    other = run(tmp_path / "run", **options)
    assert other.recordings == results.recordings
    for report in results.recordings:
        for population in ("exc", "inh"):
            one, two = (each.recording(report, population).to_numpy() for each in (results, other))
            assert one.tobytes() == two.tobytes()
    assert other.binned_rates().equals(results.binned_rates())


def test_recording_changes_no_spike(tmp_path: Path, results: Results) -> None:
    bare = run(tmp_path / "run", {"record": {}})
    assert bare.recordings == ()
    for population in ("exc", "inh"):
        for one, two in zip(bare.spike_arrays(population), results.spike_arrays(population), strict=True):
            assert np.array_equal(one, two)


def test_rates_are_those_of_the_spikes(results: Results) -> None:
    rates = results.binned_rates()
    assert list(rates.columns) == ["exc", "half", "inh", "some"] and len(rates) == 12
    population, cells = results.node_sets["half"]
    assert population == "exc" and len(cells) == 45
    edges = np.append(np.arange(12) * 7.0, 80.0)
    for name, (of, members) in {"exc": ("exc", np.arange(90)), "half": ("exc", cells)}.items():
        times, who = results.spike_arrays(of)
        counts = np.histogram(times[np.isin(who, members)], edges)[0]
        np.testing.assert_allclose(rates[name], counts / len(members) / np.diff(edges) * 1000, rtol=1e-9)
    assert rates["exc"].sum() > 0


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 999), max_size=20), width=st.sampled_from([0.1, 0.7, 5.0, 33.3, 200.0]))
def test_rates_do_not_depend_on_blocks(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], width: float
) -> None:
    folder = tmp_path_factory.mktemp("rates")
    rng = np.random.default_rng(2)
    times, cells = np.sort(rng.uniform(0, 100, 300)), rng.integers(0, 8, 300)
    mask = np.arange(8) < 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "FLUSH_INTERVAL", -1.0)
        rates = RateRecorder(
            RateWriter(folder / "rates.h5", ["pv", "few"], width),
            {"pv": ("pv", np.ones(8, bool)), "few": ("pv", mask)},
            width,
        )
        recorder = SpikeRecorder(None, {"pv": 8}, 0, rates)
        last = 0
        for edge in [*sorted(set(cuts)), 1000]:
            mine = (times >= last * DT) & (times < edge * DT)
            recorder.add("pv", times[mine], cells[mine])
            recorder.advance(edge)
            last = edge
        recorder.close()
    found = read_rates(folder / "rates.h5")
    edges = np.append(np.arange(0, 100 - 1e-9, width), 100.0)
    for name, members in (("pv", np.arange(8)), ("few", np.arange(3))):
        index = np.minimum(np.floor(times[np.isin(cells, members)] / width + 1e-9), len(edges) - 2)
        counts = np.bincount(index.astype(int), minlength=len(edges) - 1)
        np.testing.assert_allclose(found[name][0], edges[:-1])
        np.testing.assert_allclose(found[name][1], counts / len(members) / np.diff(edges) * 1000)


def test_rates_are_streamed(tmp_path: Path) -> None:
    rates = RateRecorder(
        RateWriter(tmp_path / "rates.h5", ["pv"], 1.0), {"pv": ("pv", np.ones(2, bool))}, 1.0
    )
    for block in range(2000):
        rates.add("pv", np.array([block * 5.0]), np.array([0]))
        rates.advance((block + 1) * 5.0)
        assert len(rates._counts["pv"]) < 60
    rates.close()
    rates.close()
    assert read_rates(tmp_path / "rates.h5")["pv"][1].sum() == 2000 * 500


def test_libsonata_and_bluepysnap_read_every_report(results: Results) -> None:
    config = libsonata.SimulationConfig.from_file(str(results.path / "simulation_config.json"))
    assert config.list_report_names == {"voltage", "current", "conductance", "synapse-ampa", "synapse-gaba"}
    units = {
        "voltage": "mV",
        "current": "nA",
        "conductance": "nS",
        "synapse-ampa": "nS",
        "synapse-gaba": "pA",
    }
    for name, unit in units.items():
        described = config.report(name)
        assert (described.unit, Path(described.file_name).name) == (unit, f"{name}.h5")
        reader = libsonata.ElementReportReader(described.file_name)
        for population in reader.get_population_names():
            report = reader[population]
            assert report.data_units == unit
            frames = np.asarray(report.get().data)
            assert np.array_equal(frames, results.recording(name, population).to_numpy())
        assert report.times[:2] == pytest.approx((described.start_time, described.end_time), abs=0.3)
    sets = libsonata.NodeSets.from_file(str(results.path / "node_sets.json"))
    nodes = libsonata.NodeStorage(str(results.path / "nodes.h5")).open_population("inh")
    assert list(sets.materialize("some", nodes).flatten()) == [4, 20]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from bluepysnap import Simulation

        simulation = Simulation(str(results.path / "simulation_config.json"))
        assert simulation.reports["current"]["inh"].get().shape == (500, 2)
        assert list(simulation.circuit.nodes["inh"].ids("some")) == [4, 20]


def test_a_recorded_current_can_be_played_back(tmp_path: Path, results: Results) -> None:
    table = {
        "file": str(results.path / "current.h5"),
        "dataset": "report/exc/data",
        "dt": "0.1 ms",
        "delay": "10 ms",
    }
    changes = {"stimuli": [{"to": "exc", "current_table": table}], "record": {"current": {"cells": ["exc"]}}}
    again = run(tmp_path / "run", changes).recording("current", "exc")
    assert np.array_equal(again.loc[9.95:59.95], results.recording("current", "exc"))
    assert not again.loc[:9.95].to_numpy().any() and not again.loc[59.95:].to_numpy().any()


def test_reports_of_an_interrupted_run_can_be_read(tmp_path: Path) -> None:
    def stop(now: float, total: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", {"warmup": "0 ms", "duration": "60 s"}, progress=stop)
    results = load_results(tmp_path / "run")
    assert len(results.recording("current", "exc")) < 500
    assert len(results.binned_rates()) == int(np.ceil(results.duration / 7 - 1e-9))


def test_an_earlier_runs_reports_are_removed(tmp_path: Path) -> None:
    changes = {"duration": "5 ms", "record": {"synapses": {"ampa": {"cells": 1}}, "rates": {}}}
    run(tmp_path / "run", changes)
    assert {"synapse-ampa.h5", "rates.h5"} <= {path.name for path in (tmp_path / "run").iterdir()}
    results = run(tmp_path / "run", changes | {"record": {}}, overwrite=True)
    assert results.recordings == () and not (results.path / "rates.h5").exists()
    with pytest.raises(OutputError, match=r"current\.h5: there is no such file"):
        results.recording("current", "exc")
    with pytest.raises(OutputError, match=r"rates\.h5: there is no such file"):
        results.binned_rates()


def test_cells_of_a_report_are_named_once() -> None:
    network = built(data(record={"current": {"cells": ["half", "some", "inh"]}}))
    found = report_cells(network, "current")
    assert list(found) == ["exc", "inh"] and len(found["exc"]) == 45 and list(found["inh"]) == list(range(30))


@pytest.mark.parametrize(
    ("record", "key", "message"),
    [
        ({"current": {"cells": "sum"}}, "record.current.cells", "did you mean `some`?"),
        ({"current": {"cells": []}}, "record.current.cells", "names nobody"),
        ({"current": {"cells": 0}}, "record.current.cells = 0", "at least 1"),
        (
            {"current": {"cells": 2.5}},
            "record.current.cells = 2.5",
            "neither a whole number nor `all` nor names",
        ),
        (
            {"current": {"cells": 2, "start": "80 ms"}},
            "record.current.start = 80 ms",
            "nothing is left to record",
        ),
        (
            {"current": {"cells": 2, "start": "8 ms", "stop": "8 ms"}},
            "current.stop = 8 ms",
            "not after `start`",
        ),
        ({"current": {"cells": 2, "dt": "0.25 ms"}}, "record.current.dt", "multiple"),
        ({"synapses": {"amp": {"cells": 2}}}, "record.synapses.amp", "did you mean `ampa`?"),
        (
            {"synapses": {"gaba": {"cells": "inh"}}},
            "record.synapses.gaba",
            "none of the cells has such synapses",
        ),
        ({"rates": {"bin": "0 ms"}}, "record.rates.bin = 0 ms", "at least 0.1 ms"),
    ],
)
def test_faults_name_key_and_remedy(record: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        built(data(record=record))
    assert key in str(caught.value) and message in str(caught.value) and caught.value.remedy


def test_node_sets_stand_beside_the_run(results: Results) -> None:
    sets = json.loads((results.path / "node_sets.json").read_text())
    assert sets["some"] == {"population": "inh", "node_id": [4, 20]} and sets["exc"] == {"population": "exc"}
    assert len(sets["half"]["node_id"]) == 45
    with h5py.File(results.path / "rates.h5") as file:
        assert file["rates"].attrs["bin"] == 7.0 and file["rates/some"].attrs["units"] == "Hz"


@pytest.mark.parametrize(
    ("dt", "stop", "frames"), [("7 ms", "20 ms", 3), ("10 ms", "20 ms", 2), ("1 s", "20 ms", 1)]
)
def test_frames_fill_a_window_that_their_interval_does_not_divide(
    tmp_path: Path, dt: str, stop: str, frames: int
) -> None:
    changes = {"record": {"voltage": {"cells": 2, "dt": dt, "stop": stop}}, "duration": "30 ms"}
    table = run(tmp_path / "run", changes).recording("voltage", "exc")
    assert len(table) == frames
    import libsonata

    report = libsonata.SomaReportReader(str(tmp_path / "run/voltage.h5"))["exc"]
    assert report.get().data.shape[0] == frames
