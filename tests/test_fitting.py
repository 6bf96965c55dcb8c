"""Codes from recordings and from features, and recordings as files."""

# ruff: noqa: E402 (imports after the check that torch is there)
from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")

from noble_net.cells.family import Family
from noble_net.cli import app
from noble_net.config import load_network
from noble_net.errors import CheckpointError, RecordingError
from noble_net.fitting import CellFit, Sweep, fit_features, fit_recording, read_recording
from noble_net.fitting.calibration import read_misfit
from noble_net.fitting.check import free_run
from noble_net.fitting.objective import SomaticNet
from noble_net.fitting.output import write_fit
from noble_net.network.nodes import as_in_nodes
from noble_net.registry import checkpoint_folder, load_core, load_family, shipped
from noble_net.surrogate.checkpoint import load_checkpoint
from noble_net.types import DT

GIVEN = ("I_thr", "s_thr", "input_resistance", "voltage_base", "AP1_width", "AHP_depth")


@pytest.fixture(scope="module")
def family() -> Family:
    return load_family("allen-pv-peri")


def noise_current(milliseconds: float, seed: int) -> np.ndarray:
    """An Ornstein–Uhlenbeck current, nA."""
    generator = np.random.default_rng(seed)
    steps = generator.standard_normal(round(milliseconds / DT))
    current = np.empty(len(steps), np.float32)
    value = 0.0
    for i, step in enumerate(steps):
        value += -value * DT / 5.0 + 0.12 * np.sqrt(2 * DT / 5.0) * step
        current[i] = 0.15 + value
    return current


def answered(
    family: Family, member: str, milliseconds: float, seed: int, name: str, core: str = "pv-stream"
) -> Sweep:
    """What a core says that a member does."""
    current = noise_current(milliseconds, seed)
    return Sweep(name, free_run(load_core(core), family.cells([member]), current), current, 10_000.0)


@pytest.fixture(scope="module")
def fitted(family: Family) -> tuple[str, CellFit]:
    """A held-out member, simulated by the core and fitted."""
    member = family.ids("held_out")[3]
    sweeps = [answered(family, member, 2500.0, 1, "a"), answered(family, member, 700.0, 2, "b")]
    return member, fit_recording(sweeps, "pv-stream", hold_out=["b"], starts=1, threads=1)


def test_a_fit_finds_the_code_within_its_uncertainty(family: Family, fitted: tuple[str, CellFit]) -> None:
    member, fit = fitted
    error = fit.posterior.mean - family.codes([member])[0]
    assert np.mean(np.abs(error) < 2.0 * fit.posterior.sd) >= 0.9
    before = family.codes([member])[0] - fit.prior.mean
    known = fit.shrinkage < 0.5
    assert known.sum() >= 3, "some conductances are well determined"
    assert np.sqrt(np.mean(error[known] ** 2)) < 0.5 * np.sqrt(np.mean(before[known] ** 2)) + 0.05
    assert (fit.shrinkage <= 1.0 + 1e-6).all(), "a recording never takes knowledge away"


def test_a_fit_predicts_the_sweep_held_out(family: Family, fitted: tuple[str, CellFit]) -> None:
    member, fit = fitted
    held, mean = (fit.checks[name].measures for name in ("held out", "family mean"))
    assert held["gamma"] > mean["gamma"] + 0.05 and held["clipped_rmse_mV"] < mean["clipped_rmse_mV"]
    expected = fit.features["I_thr"]
    assert expected.low - 0.01 <= float(family.table.loc[member, "I_thr"]) <= expected.high + 0.01


def test_what_a_fit_writes_is_read_by_a_network(
    family: Family, fitted: tuple[str, CellFit], tmp_path: Path
) -> None:
    fit = fitted[1]
    page = write_fit(fit, tmp_path / "fit")
    assert "Recording and core" in page.read_text(encoding="utf-8")
    content = json.loads((tmp_path / "fit/fit.json").read_text())
    assert content["code"]["gbar_NaV.soma"]["mean"] == pytest.approx(fit.posterior.mean[1], rel=1e-5)
    spec = load_network(tmp_path / "fit/network.yaml")
    drawn = family.cells(family.ids()[:100])
    cells = as_in_nodes(spec, "cells", drawn, family)
    spread = cells.code.std(axis=0)
    np.testing.assert_allclose(cells.code.mean(axis=0), fit.posterior.mean, atol=0.35)
    np.testing.assert_allclose(spread, fit.posterior.sd, rtol=0.35, atol=0.02)


def test_the_same_fit_twice_is_the_same(family: Family) -> None:
    sweep = answered(family, "allen-pv-peri-000", 260.0, 3, "a")
    one, two = (fit_recording([sweep], starts=1, threads=1) for _ in range(2))
    assert one.to_json() == two.to_json()
    assert any("determine little" in each for each in one.warnings)


def test_a_core_whose_errors_are_known_wrongly_is_not_fitted(tmp_path: Path) -> None:
    folder = tmp_path / "pv-stream"
    shutil.copytree(checkpoint_folder("pv-stream"), folder)
    known = json.loads((folder / "fitting.json").read_text())
    current = noise_current(200.0, 1)
    sweep = Sweep("a", np.full(len(current) + 1, -70.0, np.float32), current, 10_000.0)
    for content, message in (
        ({**known, "weights_sha256": "0"}, r"fitting\.json was measured with other weights\. .*evaluate"),
        ({**known, "mean": [0.0]}, r"cannot be read: it is not one of codes of 13 numbers\. .*evaluate"),
        ({**known, "members": 13}, r"cannot be read: 13 members are too few\. .*evaluate"),
        ({**known, "covariance": np.diag([-1.0] * 13).tolist()}, "its covariance is none"),
        ({**known, "covariance": [[1.0]]}, "it is not one of codes"),
    ):
        (folder / "fitting.json").write_text(json.dumps(content))
        with pytest.raises(CheckpointError, match=message):
            fit_recording([sweep], str(folder), starts=1, threads=1)


def test_features_give_a_code_that_has_them(family: Family) -> None:
    inside, errors = [], []
    for member in family.ids("held_out")[:6]:
        given = {name: float(family.table.loc[member, name]) for name in GIVEN}
        fit = fit_features(given, family)
        error = fit.posterior.mean - family.codes([member])[0]
        inside.append(np.abs(error) < 1.645 * fit.posterior.sd)
        errors.append([fit.features["I_thr"].mean - given["I_thr"]])
    assert 0.8 <= np.mean(inside) <= 1.0
    assert np.abs(errors).max() < 0.01


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"I_thresh": 0.1}, "did you mean `I_thr`"),
        ({"I_thr": float("nan")}, "I_thr is nan"),
        ({"I_thr": 160.0}, "I_thr is 160, far beyond the members of family allen-pv-peri.* Give it in nA"),
        ({"voltage_base": -0.07}, "voltage_base is -0.07, far beyond .* Give it in mV"),
        ({}, "no features are given"),
    ],
)
def test_features_that_make_no_sense_are_refused(given: dict[str, float], message: str) -> None:
    with pytest.raises(RecordingError, match=message):
        fit_features(given, "allen-pv-peri")


# --- recordings as files ----------------------------------------------------------------------------------

Write = Callable[..., Path]
TIME = np.arange(2001) * DT
VOLTAGE = -70.0 + 5.0 * np.sin(TIME / 7.0)
CURRENT = 0.1 + 0.05 * np.sign(np.sin(TIME / 13.0))


@pytest.fixture
def h5(tmp_path: Path) -> Write:
    def write(**changes: Any) -> Path:
        given = {"voltage": VOLTAGE, "current": CURRENT, "rate": 10_000.0, "units": {}, **changes}
        with h5py.File(tmp_path / "cell.h5", "w") as file:
            if given["rate"] is not None:
                file.attrs["rate"] = given["rate"]
            for name in ("voltage", "current"):
                if given[name] is not None:
                    file[name] = given[name]
            for name, unit in given["units"].items():
                file[name].attrs["units"] = unit
        return tmp_path / "cell.h5"

    return write


def test_arrays_at_the_core_s_own_rate_are_taken_as_they_are(h5: Write) -> None:
    (sweep,) = read_recording(h5(), junction_potential=-14.0)
    np.testing.assert_allclose(sweep.voltage, VOLTAGE - 14.0, atol=1e-4)
    np.testing.assert_allclose(sweep.current, CURRENT[:-1], rtol=1e-6)
    assert sweep.duration == pytest.approx(200.0)


def test_sweeps_have_names_and_units(h5: Write) -> None:
    volts = np.stack([VOLTAGE, VOLTAGE + 1]) / 1000
    file = h5(voltage=volts, current=np.stack([CURRENT] * 2) * 1000, units={"voltage": "V", "current": "pA"})
    first, second = read_recording(file)
    assert (first.name, second.name) == ("0", "1")
    np.testing.assert_allclose(second.voltage - first.voltage, 1.0, atol=1e-4)
    np.testing.assert_allclose(first.current, CURRENT[:-1], rtol=1e-5)
    assert [sweep.name for sweep in read_recording(file, sweeps=["1"])] == ["1"]
    with pytest.raises(RecordingError, match="no sweep '7'"):
        read_recording(file, sweeps=["7"])


@pytest.mark.parametrize("rate", [20_000.0, 25_000.0, 12_500.0, 50_000.0])
def test_resampling_keeps_the_charge_and_the_voltage(h5: Write, rate: float) -> None:
    time = np.arange(round(0.2 * rate) + 1) * 1000.0 / rate
    current = np.random.default_rng(1).normal(0.1, 0.1, len(time))
    (sweep,) = read_recording(h5(voltage=-70 + 5 * np.sin(time / 7.0), current=current, rate=rate))
    np.testing.assert_allclose(sweep.voltage, VOLTAGE, atol=1e-3)
    assert sweep.current.sum() * DT == pytest.approx(current[:-1].sum() * 1000.0 / rate, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": None}, "does not tell its rate. .*attribute `rate`"),
        ({"rate": 5000.0}, "sampled at 5000 Hz. Give 10 kHz or more"),
        ({"current": None}, "no array current"),
        ({"current": CURRENT[:-3]}, "as many values of both"),
        ({"current": CURRENT * 1000}, "current is 100 nA at sample 0, which no cell has"),
        ({"voltage": VOLTAGE / 1000}, "voltage never exceeds 0.07.* mV"),
        ({"voltage": np.where(TIME == 10.0, np.nan, VOLTAGE)}, "voltage is nan mV at sample 100"),
        ({"voltage": np.full(2001, -70.0)}, "voltage is -70 mV throughout"),
        ({"units": {"voltage": "nA"}}, "'nA', are no voltage"),
        ({"voltage": np.zeros((2, 2, 2)), "current": np.zeros((2, 2, 2))}, r"shape \(2, 2, 2\)"),
    ],
)
def test_recordings_that_make_no_sense_are_refused(h5: Write, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordingError, match=message) as caught:
        read_recording(h5(**changes))
    assert "cell.h5" in str(caught.value)


def test_tables_have_units_in_their_headings(tmp_path: Path) -> None:
    file = tmp_path / "cell.csv"
    rows = np.column_stack([TIME / 1000, VOLTAGE, CURRENT * 1000])
    np.savetxt(
        file, rows, delimiter=",", header="time (s),voltage [mV],current (pA)", comments="", fmt="%.8g"
    )
    (sweep,) = read_recording(file)
    np.testing.assert_allclose(sweep.voltage, VOLTAGE, atol=1e-3)
    np.testing.assert_allclose(sweep.current, CURRENT[:-1], rtol=1e-5)
    file.write_text("time,voltage (mV),current (nA)\n0,-70,0\n")
    with pytest.raises(RecordingError, match=r"'time' has no unit\. Write such as `time \(ms\)`"):
        read_recording(file)
    file.write_text("time (ms),voltage (mV),current (nA)\n0,-70,0\n0.1,-70,0\n0.5,-69,0\n")
    with pytest.raises(RecordingError, match="not evenly spaced at row 1"):
        read_recording(file)


@pytest.mark.filterwarnings("ignore")
def test_nwb_series_are_paired_by_their_sweeps(tmp_path: Path) -> None:
    icephys = pytest.importorskip("pynwb.icephys")
    from pynwb import NWBHDF5IO, NWBFile

    file = NWBFile("a test", "test", datetime.now(UTC))
    device = file.create_device("rig")
    electrode = file.create_icephys_electrode(name="e", description="patch", device=device)
    common: dict[str, Any] = {"electrode": electrode, "gain": 1.0, "rate": 10_000.0}
    for number in (3, 4):
        voltage = VOLTAGE / 1000 + number / 1000
        current = CURRENT * 1e-9 * number
        file.add_acquisition(
            icephys.CurrentClampSeries(name=f"data_{number}", data=voltage, sweep_number=number, **common)
        )
        file.add_stimulus(
            icephys.CurrentClampStimulusSeries(
                name=f"stim{7 - number}", data=current, sweep_number=number, **common
            )
        )
    path = tmp_path / "cell.nwb"
    with NWBHDF5IO(str(path), "w") as io:
        io.write(file)
    three, four = read_recording(path)
    assert (three.name, four.name) == ("data_3", "data_4")
    np.testing.assert_allclose(four.voltage, VOLTAGE + 4, atol=1e-3)
    np.testing.assert_allclose(four.current, 4 * CURRENT[:-1], rtol=1e-5)
    with h5py.File(path, "a") as raw:
        del raw["stimulus/presentation/stim3"]
    with pytest.raises(RecordingError, match=r"data_4 has 0 stimuli of its sweep number, 4"):
        read_recording(path)


# --- the command ------------------------------------------------------------------------------------------


def test_the_command_fits_features(family: Family, tmp_path: Path) -> None:
    table = tmp_path / "features.csv"
    member = family.table.loc[family.ids("held_out")[0]]
    table.write_text("name,value\n" + "".join(f"{name},{member[name]}\n" for name in GIVEN))
    result = CliRunner().invoke(app, ["fit", "--features", str(table), "--out", str(tmp_path / "fit")])
    assert result.exit_code == 0, result.output
    assert "I_thr" in result.output and (tmp_path / "fit/report.html").is_file()
    assert load_network(tmp_path / "fit/network.yaml").populations["cells"].size == 100


def test_the_command_refuses_cores_whose_cells_are_no_networks(tmp_path: Path) -> None:
    table = tmp_path / "features.csv"
    table.write_text("name,value\nI_thr,0.16\n")
    options = ["--features", str(table), "--core", "noble-small", "--out", str(tmp_path / "fit")]
    result = CliRunner().invoke(app, ["fit", *options])
    assert result.exit_code == 2
    assert "core noble-small cannot be fitted: give a streaming core" in result.stderr
    assert not (tmp_path / "fit/fit.json").exists()


def test_the_command_fits_recordings(family: Family, tmp_path: Path) -> None:
    sweep = answered(family, "allen-pv-peri-000", 400.0, 3, "a")
    with h5py.File(tmp_path / "cell.h5", "w") as file:
        file.attrs["rate"] = 10_000.0
        file["voltage"], file["current"] = sweep.voltage + 14.0, np.append(sweep.current, 0.0)
    options = [
        "--junction-potential",
        "-14 mV",
        "--starts",
        "1",
        "--threads",
        "1",
        "--out",
        str(tmp_path / "fit"),
    ]
    result = CliRunner().invoke(app, ["fit", str(tmp_path / "cell.h5"), *options])
    assert result.exit_code == 0, result.output
    assert "free-running, fitted sweeps" in result.output
    assert CliRunner().invoke(app, ["fit"]).exit_code == 2
    wrong = CliRunner().invoke(app, ["fit", str(tmp_path / "none.h5")])
    assert wrong.exit_code == 2 and "there is no file" in wrong.output


def test_every_shipped_core_of_the_soma_is_ready_to_be_fitted_with() -> None:
    """Those with dendrites need not be, but what is said of them is of these very weights."""
    tried = []
    for name in set(shipped()["cores"]) - {"integrate-and-fire", "integrate-and-fire-grid"}:
        checkpoint = load_checkpoint(checkpoint_folder(name))
        if checkpoint.about["kind"] != "streaming":
            continue
        net, code = SomaticNet.of(checkpoint), len(checkpoint.about["code"])
        assert net.samples == checkpoint.about["step_samples"]
        known = read_misfit(checkpoint_folder(name), checkpoint.hash, code)
        assert known is not None or checkpoint.about["zones"] != ["soma"]
        tried.append(name)
    assert "pv-stream" in tried
