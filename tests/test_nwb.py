"""Currents from time series of NWB files: units, rates, and what cannot be read."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import built, network_data

from noble_net.config import network_from
from noble_net.errors import ConfigError
from noble_net.network.stimuli import make_stimulus

Write = Callable[..., Path]


@pytest.fixture
def nwb(tmp_path: Path) -> Write:
    """Writes a file with one series `step` under stimulus/presentation."""

    def write(values: Any, **parameters: Any) -> Path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pynwb import NWBHDF5IO, NWBFile, TimeSeries

            file = NWBFile("a test", "test", datetime.now(UTC))
            given = {"unit": "amperes", **parameters}
            file.add_stimulus(TimeSeries(name="step", data=np.asarray(values), **given))
            with NWBHDF5IO(str(tmp_path / "a.nwb"), "w") as io:
                io.write(file)
        return tmp_path / "a.nwb"

    return write


def values(file: Path, samples: int, **changes: Any) -> np.ndarray:
    table = {"file": str(file), "dataset": "stimulus/presentation/step", **changes}
    spec = network_from(network_data(stimuli=[{"to": "inh", "current_table": table}]))
    return make_stimulus(spec.stimuli[0], spec).values(0, samples)


def refused(file: Path, **changes: Any) -> str:
    table = {"file": str(file), "dataset": "stimulus/presentation/step", **changes}
    with pytest.raises(ConfigError) as caught:
        built(network_data(stimuli=[{"to": "inh", "current_table": table}]))
    assert "stimuli[0].current_table" in str(caught.value) and caught.value.remedy
    return str(caught.value)


@pytest.mark.parametrize("dataset", ["stimulus/presentation/step", "/stimulus/presentation/step/data"])
def test_values_are_in_the_series_own_unit(nwb: Write, dataset: str) -> None:
    picoamperes = np.array([0, 100, -50, 7], np.int16)
    file = nwb(picoamperes, rate=10_000.0, starting_time=123.4, conversion=1e-12, offset=1e-12)
    found = values(file, 6, dataset=dataset)
    np.testing.assert_allclose(found[3], np.array([1, 101, -49, 8, 0, 0]) / 1000, rtol=1e-6)
    delayed = values(file, 6, delay="0.2 ms", scale="2 nA")
    np.testing.assert_allclose(delayed[0], [0, 0, *found[0, :4] * 2], rtol=1e-6)


@pytest.mark.parametrize(("rate", "held"), [(10_000.0, 1), (5_000.0, 2), (1_000.0, 10), (1e4 / 3, 3)])
def test_slow_series_are_held(nwb: Write, rate: float, held: int) -> None:
    given = np.arange(1.0, 8.0)
    found = values(nwb(given * 1e-9, rate=rate), 80)
    wanted = np.zeros(80)
    wanted[: 7 * held] = np.repeat(given, held)
    np.testing.assert_allclose(found[0], wanted, rtol=1e-6)


@pytest.mark.parametrize("columns", [1, 30])
def test_fast_series_are_averaged_and_keep_their_charge(
    nwb: Write, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noble_net.network.current_tables._VALUES_AT_ONCE", 35 * columns)
    given = np.random.default_rng(1).normal(0, 1, (203, columns))
    found = values(nwb(given * 1e-9, rate=50_000.0), 60)
    filled = np.concatenate([given, np.zeros((97, columns))]).reshape(60, 5, columns).mean(axis=1)
    np.testing.assert_allclose(found, np.broadcast_to(filled.T, (30, 60)), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.sum(axis=1) * 5, np.broadcast_to(given.sum(axis=0), 30), rtol=1e-4)


def test_what_cannot_be_read_is_named(nwb: Write) -> None:
    assert "44100 Hz" in refused(nwb(np.zeros(9), rate=44_100.0))
    assert "has a rate of its own" in refused(nwb(np.zeros(9), rate=10_000.0), dt="0.1 ms")
    assert "did you mean `stimulus/presentation/step`" in refused(
        nwb(np.zeros(9), rate=10_000.0), dataset="stimulus/presentation/stop"
    )
    assert "'volts', are no current" in refused(nwb(np.zeros(9), rate=10_000.0, unit="volts"))
    assert "instead of a rate" in refused(nwb(np.zeros(9), timestamps=np.arange(9) / 1e4))
    assert "not finite" in refused(nwb([0.0, np.nan], rate=10_000.0))
    assert "has 2 columns, inh has 30 cells" in refused(nwb(np.zeros((9, 2)), rate=10_000.0))


def test_other_tables_need_an_interval(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = np.zeros(5)
    assert "add `dt`" in refused(tmp_path / "a.h5", dataset="a")
    (tmp_path / "a.csv").write_text("a\n1\n")
    assert "needs `dt`" in refused(tmp_path / "a.csv", dataset=None)
