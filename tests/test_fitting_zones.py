"""Codes of cells whose core has dendritic zones, from recordings with a current at the soma alone."""

# ruff: noqa: E402 (imports after the check that torch is there)
from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_fitting import CURRENT, VOLTAGE, answered, noise_current
from test_streaming import CODE, SLOW, STEP, zoned_core

torch = pytest.importorskip("torch")

from noble_net.cells.family import Family
from noble_net.errors import RecordingError
from noble_net.fitting import Sweep, fit_recording
from noble_net.fitting.calibration import calibrate
from noble_net.fitting.objective import SomaticNet, Stretches
from noble_net.registry import checkpoint_folder, load_core, load_family
from noble_net.surrogate.checkpoint import load_checkpoint, save_checkpoint
from noble_net.training import evaluate
from noble_net.training.dataset import VOLTAGE_UNIT
from noble_net.types import DT, CellTable, Drive


@pytest.fixture(scope="module")
def evolved() -> Family:
    return load_family("allen-pv")


@pytest.fixture(scope="module")
def unmeasured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pv-zones as it is before anybody measured how it errs."""
    folder = tmp_path_factory.mktemp("core") / "pv-zones"
    shutil.copytree(checkpoint_folder("pv-zones"), folder, ignore=shutil.ignore_patterns("fitting.json"))
    return folder


@pytest.mark.parametrize("name", ["pv-zones", "pv-stream"])
def test_dendrites_without_input_are_told_as_in_a_run(name: str) -> None:
    core, checkpoint = load_core(name), load_checkpoint(checkpoint_folder(name))
    family = load_family(checkpoint.about["family"])
    cells, net = family.cells(family.ids()[:3]), SomaticNet.of(checkpoint)
    state = core.begin(cells)
    state.arrays["hidden"][:] = 0.0
    before = torch.from_numpy(state.arrays["history"][:, None].copy())
    drive = Drive.zeros(core.zones, 3, net.samples)
    drive.current[0] = np.linspace(-0.1, 0.3, 3)[:, None]
    answer = core.advance(state, drive)[0].voltage
    told = torch.zeros(3, 1, 3, net.samples)
    told[:, 0, 0] = torch.from_numpy(drive.current[0])
    predicted = net.predict(told, before, torch.from_numpy(cells.code))
    np.testing.assert_allclose(predicted[:, 0].numpy(), answer, atol=1e-3)


def test_stretches_are_told_the_account_of_slow_variables_over_the_whole_recording() -> None:
    core, torch_net = zoned_core(True, SLOW, direct=True)
    net = SomaticNet(torch_net, STEP, 2, True, CODE)
    generator = np.random.default_rng(0)
    voltage = generator.normal(-60.0, 20.0, 6001).astype(np.float32)
    inputs = generator.normal(0.0, 0.3, (3, 6000)).astype(np.float32)
    inputs[1] = np.abs(inputs[1])
    sweep = (voltage, *inputs)
    (account,) = net.accounts([sweep])
    assert account[0].tolist() == pytest.approx([0.3, 0.8]) and account[:, 0].max() > 0.35
    assert account.shape == (6001 // STEP - 1, 2)
    shorter = tuple(each[:2001] for each in sweep)
    full, part, none = net.accounts(
        [sweep, shorter, tuple(each[:3] for each in sweep)], np.full((3, 2), [10.0 * 4e-4, 10.0 * 0.5])
    )
    np.testing.assert_allclose([full[0], part[0]], 10.0, rtol=1e-6)
    assert len(part) == 399 and not len(none)
    np.testing.assert_allclose(part, full[:399], rtol=1e-4)
    data = Stretches.of([sweep], net, generator)
    assert data.slow is not None and data.size == 5
    for k, told in enumerate(data.slow.numpy()):
        np.testing.assert_array_equal(told, account[200 * k :][:300])
        assert len(np.unique(told)) > 100
    part = data.take(slice(1, 3))
    assert part.slow is not None and torch.equal(part.repeat(2).slow[2:], part.slow)
    state = core.begin(CellTable(1, np.zeros((1, CODE), np.float32), {}))
    state.arrays["hidden"][:], state.arrays["slow"][:] = 0.0, account[0]
    for step in range(20):  # the compiled core, fed the same voltages, lets in the same
        np.testing.assert_allclose(state.arrays["slow"][0], account[step], rtol=1e-3, atol=1e-5)
        state.arrays["history"][:] = voltage[step * STEP : (step + 1) * STEP]
        at = slice((step + 1) * STEP - 1, (step + 2) * STEP - 1)
        drive = Drive.zeros(core.zones, 1, STEP)
        for target, source in zip(
            (drive.current, drive.conductance, drive.reversal_current), inputs[:, at], strict=True
        ):
            target[0] = source
        core.advance(state, drive)


def test_a_core_whose_errors_were_never_measured_gives_the_family_s_uncertainty(
    evolved: Family, unmeasured: Path
) -> None:
    member = evolved.ids("held_out")[3]
    sweeps = [
        answered(evolved, member, milliseconds, seed, name, "pv-zones")
        for milliseconds, seed, name in ((1000.0, 1, "a"), (700.0, 2, "b"))
    ]
    fit = fit_recording(sweeps, str(unmeasured), hold_out=["b"], starts=1, threads=1)
    true = evolved.codes([member])[0]
    error, before = fit.posterior.mean - true, fit.prior.mean - true
    assert np.sqrt(np.mean(error**2)) < 0.9 * np.sqrt(np.mean(before**2))
    held, mean = (fit.checks[name].measures for name in ("held out", "family mean"))
    assert held["gamma"] > mean["gamma"] and held["clipped_rmse_mV"] < mean["clipped_rmse_mV"]
    np.testing.assert_allclose(fit.shrinkage, 1.0)
    content = json.loads(json.dumps(fit.to_json(), allow_nan=False))
    assert content["uncertainty"] == "the family's" and content["misfit_chi2"] is None
    assert any("was never measured" in each and "noble-net evaluate" in each for each in fit.warnings)
    with pytest.raises(RecordingError, match=r"was never measured .* so short a recording"):
        fit_recording([answered(evolved, member, 200.0, 1, "a", "pv-zones")], str(unmeasured), starts=1)


@pytest.fixture(scope="module")
def measured(evolved: Family, unmeasured: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same core, measured on runs of its own whose dendrites have input half of the time."""
    folder = tmp_path_factory.mktemp("measured") / "pv-zones"
    shutil.copytree(unmeasured, folder)
    assert (
        calibrate(folder, evolved, zoned_dataset(folder.parent, evolved, 30, 0.5)) == folder / "fitting.json"
    )
    return folder


def zoned_dataset(folder: Path, family: Family, members: int, loud: float) -> Path:
    """The training part of a dataset in which the core itself answers, but where its dendrites have input: there the
    voltage is noise. ``loud``: their share of the time, in the middle."""
    ids, samples = family.ids("train")[:members], 9000
    generator, core = np.random.default_rng(0), load_core("pv-zones")
    current = np.stack([noise_current(samples * DT, 10 + row) for row in range(members)])
    drive = Drive.zeros(core.zones, members, samples)
    drive.current[0] = current
    voltage = evaluate.free_run(core, family.cells(ids), drive)
    part = slice(round(samples * (1 - loud) / 2), round(samples * (1 + loud) / 2))
    conductance = np.zeros((members, 3, samples), np.float32)
    slow = np.zeros((members, 2, samples), np.float32)
    conductance[::2, 1, part], slow[1::2, 1, part] = 2.0, 1.0
    voltage[:, part] = generator.normal(-70.0, 20.0, voltage[:, part].shape)
    path = folder / f"zoned-{loud}.h5"
    with h5py.File(path, "w") as file:
        file.attrs["provenance"] = json.dumps({"family_hash": family.hash})
        group = file.create_group("train")
        group["ids"] = ids
        group["current"], group["conductance"], group["nmda_conductance"] = current, conductance, slow
        group["reversal_current"], group["nmda_half"] = np.zeros_like(conductance), np.full(members, -20.5)
        group["voltage"] = np.round(voltage / VOLTAGE_UNIT).astype(np.int16)
    return path


def test_errors_are_measured_where_the_dendrites_are_silent(evolved: Family, measured: Path) -> None:
    content = json.loads((measured / "fitting.json").read_text())
    assert content["members"] == 30
    assert content["spread_mV"] < 2.0, "the noise is where the dendrites have input"
    whole = zoned_dataset(measured.parent, evolved, 3, 1.0)
    assert calibrate(measured, evolved, whole) is None
    assert json.loads((measured / "fitting.json").read_text()) == content


def test_a_core_with_dendrites_is_fitted_within_its_uncertainty(evolved: Family, measured: Path) -> None:
    member = evolved.ids("held_out")[3]
    sweep = answered(evolved, member, 1000.0, 1, "a", "pv-zones")
    fit = fit_recording([sweep], str(measured), starts=1, threads=1)
    error = fit.posterior.mean - evolved.codes([member])[0]
    assert fit.to_json()["uncertainty"] == "measured"
    assert np.mean(np.abs(error) < 2.0 * fit.posterior.sd) >= 0.9
    assert (fit.shrinkage <= 1.0 + 1e-6).all() and (fit.shrinkage < 0.5).any()
    assert not any("never measured" in each for each in fit.warnings)


def test_a_core_that_keeps_no_state_is_not_fitted(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(checkpoint_folder("pv-stream"))
    save_checkpoint(
        tmp_path, {**checkpoint.about, "kind": "windowed", "model": {}, "told": {}}, checkpoint.weights
    )
    with pytest.raises(RecordingError, match="cannot be fitted: give a streaming core"):
        fit_recording([Sweep("a", VOLTAGE, CURRENT[:-1], 1e4)], str(tmp_path))
