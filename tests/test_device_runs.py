"""Whole runs on a device, and which device a run takes: the card is played by PyTorch's CPU device."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import network_data
from typer.testing import CliRunner

from noble_net import simulation
from noble_net.cli import app
from noble_net.config import network_from
from noble_net.device import choice
from noble_net.device.choice import Chosen, Device, choose
from noble_net.errors import BackendError, MissingExtraError, OutputError
from noble_net.simulation import simulate

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_torch_thread")

from noble_net.device.loop import DeviceLoop  # noqa: E402 - needs torch


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU, as far as runs can tell."""
    chosen = Chosen(Device.cuda, "cpu", "a card")
    monkeypatch.setattr(
        simulation, "choose", lambda device: choose("cpu") if Device(device) is Device.cpu else chosen
    )


def spec(**changes: Any) -> Any:
    kept = {"voltage": {"cells": 3}, "current": {"cells": 2}, "rates": {"bin": "3 ms"}}
    return network_from(network_data(duration="60 ms", warmup="4 ms", record=kept, **changes))


def provenance(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "provenance.json").read_text())
    return found


def test_a_run_on_a_device_leaves_what_a_run_on_cpus_does(tmp_path: Path, card: None) -> None:
    runs = {
        device: simulate(spec(), out=tmp_path / device, device=device, report=False)
        for device in ("cpu", "cuda")
    }
    names = [sorted(path.name for path in (tmp_path / device).iterdir()) for device in runs]
    assert names[0] == names[1] and "spikes.h5" in names[0]
    told = provenance(tmp_path / "cuda")
    assert (told["device"], told["settings"]["card"]) == ("cuda", "a card")
    assert provenance(tmp_path / "cpu")["device"] == "cpu"
    for population in ("exc", "inh"):
        voltages = [runs[device].voltage(population).to_numpy() for device in runs]
        np.testing.assert_allclose(*voltages, atol=1e-2)
        cells = [runs[device].spikes(population)["cell"].tolist() for device in runs]
        assert cells[0] and cells[0] == cells[1]


def test_a_run_on_a_device_goes_on_to_the_same_results(
    tmp_path: Path, card: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = simulate(spec(), out=tmp_path / "whole", device="cuda", report=False)
    advance, count = DeviceLoop.advance, iter(range(10**6))

    def stopped(self: DeviceLoop, samples: int | None = None) -> Any:
        if next(count) == 31:
            raise KeyboardInterrupt
        return advance(self, samples)

    cut = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(DeviceLoop, "advance", stopped)
        with pytest.raises(KeyboardInterrupt):
            simulate(spec(), out=cut, device="cuda", checkpoint_every=10.0, report=False)
    with pytest.raises(OutputError, match="its device are not what"):
        simulate(spec(), out=cut, device="cpu", resume=True, report=False)
    results = simulate(spec(), out=cut, device="cuda", resume=True, report=False)
    assert provenance(cut)["resumed"]
    for population in ("exc", "inh"):
        assert results.spikes(population).equals(whole.spikes(population))
        assert results.voltage(population).equals(whole.voltage(population))


def test_what_the_device_loop_lacks_is_refused_before_anything_is_built(
    tmp_path: Path, card: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation, "build_checked", None)
    gap = {"name": "gap", "from": "inh", "to": "inh", "rule": {"pairwise_bernoulli": {"p": 0.1}}}
    coupled = spec(gap_junctions=[{**gap, "conductance": "0.5 nS"}])
    with pytest.raises(BackendError, match=r"gap junctions \(gap\); take --device cpu"):
        simulate(coupled, out=tmp_path / "run", device="cuda")
    assert not (tmp_path / "run").exists()


def test_a_card_that_is_too_small_is_named(
    tmp_path: Path, card: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(DeviceLoop, "__init__", full)
    with pytest.raises(BackendError, match=r"a card has too little memory for 120 cells"):
        simulate(spec(), out=tmp_path / "run", device="cuda")


# --- choosing -----------------------------------------------------------------------------------------------


def test_cpus_need_no_torch() -> None:
    code = "import sys; from noble_net.simulation import choose; choose('cpu'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("installed", [True, False])
def test_auto_takes_cpus_where_there_is_no_gpu(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not installed:
        monkeypatch.setattr(choice, "find_spec", lambda name: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose("auto") == Chosen(Device.cpu)


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_gpu_is_taken_and_named(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    assert choose(device) == Chosen(Device.cuda, "cuda", "NVIDIA H200")


def test_a_gpu_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match=r"--device cuda: PyTorch .*; take --device cpu"):
        simulate(spec(), out=tmp_path / "run", device="cuda")
    told = CliRunner().invoke(app, ["run", "balanced", "--device", "cuda", "--out", str(tmp_path / "run")])
    assert told.exit_code != 0 and not (tmp_path / "run").exists()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"noble-net\[device\]"):
        choose("cuda")
    with pytest.raises(ValueError, match="is not a valid Device"):
        choose("tpu")


def test_neuron_takes_no_device() -> None:
    told = CliRunner().invoke(app, ["run", "pv-small", "--backend", "neuron", "--device", "cuda"])
    assert told.exit_code == 2 and "--device" in told.output
