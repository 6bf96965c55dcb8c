"""Results read a run directory back as arrays and tables, and name the path of what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import rhythmic_spikes, write_run

from noble_net.errors import OutputError
from noble_net.results import load_results
from noble_net.sonata import SpikeWriter

SIZES = {"pv": 12, "pyr": 4}
SPIKES = {"pv": rhythmic_spikes(12, 500.0)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"), SPIKES, SIZES, duration=500.0, seed=7)


def test_a_run_reads_back(run: Path) -> None:
    results = load_results(run)
    assert (results.name, results.backend, results.seed, results.duration) == (
        "synthetic",
        "surrogate",
        7,
        500.0,
    )
    assert results.populations == ("pv", "pyr")
    table = results.spikes("pv")
    np.testing.assert_array_equal(table["time"], SPIKES["pv"][0])
    np.testing.assert_array_equal(table["cell"], SPIKES["pv"][1])
    rates = results.rates("pv")
    assert rates.sum() == pytest.approx(len(table) / 0.5)
    trains = results.trains("pv")
    assert [len(train) / 0.5 for train in trains] == pytest.approx(list(rates))
    np.testing.assert_array_equal(trains[3], SPIKES["pv"][0][SPIKES["pv"][1] == 3])
    assert list(results.nodes("pv").index) == list(range(12))
    assert {"label", "I_thr", "s_thr", "gbar_Nav"} <= set(results.nodes("pv").columns)
    voltage = results.voltage("pv")
    assert voltage.shape == (5000, 3)
    assert voltage.index[1] == pytest.approx(0.1)
    part = results.voltage("pv", 10.0, 12.5)
    assert (part.index[0], len(part)) == (pytest.approx(10.0), 25)
    np.testing.assert_array_equal(part, voltage.iloc[100:125])
    assert results.voltage("pv", 499.95).empty
    assert "pv: 12" in repr(results)


def test_a_silent_population(run: Path) -> None:
    results = load_results(run)
    assert len(results.spikes("pyr")) == 0
    assert list(results.rates("pyr")) == [0.0] * 4
    assert [len(train) for train in results.trains("pyr")] == [0] * 4


def test_an_interrupted_run_counts_the_time_it_simulated(tmp_path: Path) -> None:
    write_run(tmp_path, SPIKES, SIZES, duration=500.0, summary={"completed": False, "simulated_ms": 250.0})
    assert load_results(tmp_path).duration == 250.0


def test_a_killed_run_opens(tmp_path: Path) -> None:
    write_run(tmp_path, SPIKES, SIZES, duration=500.0)
    (tmp_path / "summary.json").unlink()
    results = load_results(tmp_path)
    assert results.summary["completed"] is False
    assert 400 < results.duration <= 500
    assert set(results.populations) == set(SIZES)


def test_what_is_missing_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds no run"):
        load_results(tmp_path)
    with pytest.raises(OutputError, match="no population 'pvv'"):
        load_results(run).spikes("pvv")
    write_run(tmp_path, SPIKES, SIZES, duration=100.0, voltage_cells=0)
    results = load_results(tmp_path)
    assert not results.has_voltage
    with pytest.raises(OutputError, match=r"voltage\.h5: there is no such file"):
        results.voltage("pv")
    (tmp_path / "spikes.h5").unlink()
    with pytest.raises(OutputError, match=r"spikes\.h5: there is no such file"):
        load_results(tmp_path).spikes("pv")
    (tmp_path / "summary.json").write_text('{"name": ')
    with pytest.raises(OutputError, match=r"summary\.json: cannot be read"):
        load_results(tmp_path)


@pytest.mark.parametrize("name", ["spikes.h5", "voltage.h5", "nodes.h5"])
def test_a_truncated_file_is_named(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, SPIKES, SIZES, duration=100.0)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 3])
    with pytest.raises(OutputError, match=name):
        results = load_results(tmp_path)
        results.spikes("pv")
        results.voltage("pv")


def test_a_population_missing_from_the_spike_file_is_silent(tmp_path: Path) -> None:
    write_run(tmp_path, SPIKES, SIZES, duration=100.0)
    SpikeWriter(tmp_path / "spikes.h5", ["pv"]).close()
    assert load_results(tmp_path).rates("pyr").sum() == 0
