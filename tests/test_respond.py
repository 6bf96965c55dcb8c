"""Step responses: any core as a step core, batches, folders that can be gone on with, requests in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from helpers import toy_family
from typer.testing import CliRunner

from noble_net.cli import app
from noble_net.errors import (
    BackendError,
    CheckpointError,
    FamilyError,
    MissingExtraError,
    NobleNetError,
    OutputError,
)
from noble_net.reference.exact_steps import ExactSteps
from noble_net.registry import load_core, load_family, load_step_core
from noble_net.responses import respond as responses
from noble_net.responses.requests import choose_cells, default_cells, parse_amplitudes
from noble_net.responses.respond import Request, measure, respond, save_responses
from noble_net.surrogate.core import Core
from noble_net.surrogate.step_core import NOBLE_PROTOCOL, StepCore
from noble_net.surrogate.step_streaming import SteppedCore
from noble_net.types import DT, CellTable, Drive, Float32, Float64, Response, State

IF = partial(load_step_core, "integrate-and-fire")
STEPS = np.array([-0.1, 0.1, 0.25, 0.4])


class Counting(StepCore):
    """The integrate-and-fire step core, counting the rows it is asked for."""

    name, family, family_hash, sampling, batch = "counting", "", "", DT, 8

    def __init__(self) -> None:
        self.asked: list[int] = []

    def respond(self, cells: CellTable, amplitude: Float64) -> Float32:
        self.asked.append(cells.size)
        return IF().respond(cells, amplitude)


def test_a_streaming_core_answers_steps_from_rest() -> None:
    """The closed form of a leaky membrane: rest, then V∞ + (V₀ − V∞)·e^(−t/τ) with τ = 10 ms, then back."""
    core = IF()
    assert isinstance(core, SteppedCore) and core.protocol == NOBLE_PROTOCOL
    voltage = core.respond(default_cells("default:2"), np.array([0.1, -0.05]))
    time = DT * np.arange(5150)
    on, off = np.clip(time - 15.0, 0.0, 400.0), np.clip(time - 415.0, 0.0, None)
    shape = (1.0 - np.exp(-on / 10.0)) * np.exp(-off / 10.0)
    expected = -70.0 + np.outer([10.0, -5.0], shape)
    assert voltage.shape == (2, 5150) and voltage.dtype == np.float32
    assert np.abs(voltage - expected).max() < 1e-3


def test_the_trained_core_answers_bit_by_bit_as_when_it_streams() -> None:
    core, family = load_step_core("pv-stream"), load_family("allen-pv-peri")
    cells = family.cells(family.ids()[:3])
    amplitudes = np.array([-0.1, 0.2, 0.3])
    voltage = core.respond(cells, amplitudes)
    streaming = load_core("pv-stream")
    drive = Drive.zeros(streaming.zones, 3, 5150)
    drive.current[0, :, 150:4150] = amplitudes[:, None]
    whole, _ = streaming.advance(streaming.begin(cells), drive)
    assert np.array_equal(voltage[:, 1:], whole.voltage[:, :-1])
    assert np.array_equal(core.respond(cells.take(np.array([1])), amplitudes[1:2])[0], voltage[1])


class Dendritic(Core):
    """A core without somatic input."""

    name, zones, step_samples = "dendritic", ("tuft",), 1

    def begin(self, cells: CellTable) -> State:
        raise NotImplementedError

    def advance(self, state: State, drive: Drive) -> tuple[Response, State]:
        raise NotImplementedError


def test_a_core_without_somatic_input_is_refused() -> None:
    with pytest.raises(CheckpointError, match="dendritic takes no input at the soma"):
        SteppedCore(Dendritic())


def test_step_cores_are_found_by_kind(tmp_path: Path) -> None:
    (tmp_path / "core.json").write_text(json.dumps({"kind": "noble"}))
    with pytest.raises(CheckpointError, match="answers square steps alone"):
        load_core(str(tmp_path))
    with pytest.raises(CheckpointError, match="did you mean 'pv-stream'"):
        load_step_core("pv-steam")


@pytest.mark.parametrize("batch", [1, 3, 8, 100])
def test_batches_bound_what_is_answered_at_once_and_change_nothing(batch: int) -> None:
    core, cells = Counting(), default_cells("default:5")
    found = list(respond(core, cells, STEPS, batch=batch))
    assert max(core.asked) == min(batch, 20) and sum(core.asked) == 20
    assert np.array_equal(np.concatenate([each.cell for each in found]), np.repeat(np.arange(5), 4))
    assert np.array_equal(np.concatenate([each.amplitude for each in found]), np.tile(STEPS, 5))
    voltage = np.concatenate([each.voltage for each in found])
    assert np.array_equal(voltage[:4], IF().respond(cells.take(slice(0, 4)), STEPS))


def test_a_batch_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="batch"):
        list(respond(IF(), default_cells("default:2"), STEPS, batch=0))


def test_spikes_are_counted_by_the_one_rule_and_features_by_efel() -> None:
    (found,) = respond(IF(), default_cells("default:1"), STEPS)
    measured = measure(found, IF(), ("Spikecount", "voltage_base"))
    # From reset at −65 to threshold −50 mV under 0.4 nA: 2 + 10·ln((−30 + 65)/(−30 + 50)) ms
    interval = 2.0 + 10.0 * np.log(35.0 / 20.0)
    assert measured["spikes"][:2].tolist() == [0.0, 0.0]
    assert measured["spikes"][3] == pytest.approx(400.0 / interval, abs=1.0)
    assert np.array_equal(measured["rate_hz"], measured["spikes"] * 2.5)
    assert np.array_equal(measured["Spikecount"], measured["spikes"])
    assert measured["voltage_base"] == pytest.approx(np.full(4, -70.0), abs=0.01)


def test_a_folder_holds_every_number(tmp_path: Path) -> None:
    request = Request(default_cells("default:5"), STEPS, kept=(3, 1), names=("Spikecount",))
    told: list[tuple[float, float]] = []
    saved = save_responses(IF, request, tmp_path, batch=8, progress=lambda *done: told.append(done))
    assert told[-1] == (20, 20) and len(told) > 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "features.csv",
        "request.json",
        "responses.h5",
    ]
    table = pd.read_csv(tmp_path / "features.csv")
    assert list(table) == ["cell", "label", "amplitude_nA", "spikes", "rate_hz", "Spikecount"]
    assert np.array_equal(table["rate_hz"].to_numpy().reshape(5, 4), saved.measured("rate_hz"))
    assert saved.names == ("spikes", "rate_hz", "Spikecount") and saved.labels == ("default",) * 5
    assert np.array_equal(saved.voltage(3), IF().respond(request.cells.take(slice(0, 4)), STEPS))
    assert saved.voltage_cells.tolist() == [1, 3] and np.isnan(saved.cell_feature("I_thr")).all()
    with pytest.raises(KeyError):
        saved.voltage(0)
    with h5py.File(tmp_path / "responses.h5") as file:
        assert json.loads(file.attrs["request"])["core"] == "integrate-and-fire"


def test_work_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    request = Request(default_cells("default:7"), STEPS, kept=(6,), names=())
    whole = save_responses(IF, request, tmp_path / "whole", batch=8)

    def killed(done: float, total: float) -> None:
        if done >= 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_responses(IF, request, tmp_path / "cut", batch=8, progress=killed)
    assert not (tmp_path / "cut" / "responses.h5").exists()
    answered = len(list((tmp_path / "cut" / "parts").glob("*.npz")))
    core = Counting()
    core.name = "integrate-and-fire"
    again = save_responses(lambda: core, request, tmp_path / "cut", batch=8)
    assert answered > 0 and 0 < sum(core.asked) < request.size
    for name in whole.names:
        assert np.array_equal(whole.measured(name), again.measured(name))
    assert np.array_equal(whole.voltage(6), again.voltage(6))
    assert (tmp_path / "whole/features.csv").read_text() == (tmp_path / "cut/features.csv").read_text()
    core.asked.clear()
    save_responses(lambda: core, request, tmp_path / "cut", batch=8)
    assert core.asked == []


def test_folders_of_others_are_refused(tmp_path: Path) -> None:
    request = Request(default_cells("default:2"), STEPS, names=())
    save_responses(IF, request, tmp_path / "a")
    other = Request(default_cells("default:2"), STEPS[:2], names=())
    with pytest.raises(OutputError, match="another request"):
        save_responses(IF, other, tmp_path / "a")
    assert save_responses(IF, other, tmp_path / "a", overwrite=True).measured("spikes").shape == (2, 2)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.tex").write_text("")
    with pytest.raises(OutputError, match=r"something else \(thesis.tex\)"):
        save_responses(IF, request, tmp_path / "b", overwrite=True)


def test_processes_change_nothing(tmp_path: Path) -> None:
    request = Request(default_cells("default:12"), STEPS, names=())
    one = save_responses(IF, request, tmp_path / "one")
    two = save_responses(IF, request, tmp_path / "two", jobs=2, batch=4)
    assert np.array_equal(one.measured("spikes"), two.measured("spikes"))


@pytest.mark.parametrize(("kept", "steps"), [((5,), STEPS), ((1, 1), STEPS), ((), STEPS[:0])])
def test_wrong_requests_are_refused(kept: tuple[int, ...], steps: Float64) -> None:
    with pytest.raises(ValueError):
        Request(default_cells("default:2"), steps, kept)


class FakeCell:
    """An exact cell whose voltage is its parameter plus a hundred times the current."""

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        self.level = parameters["gNa"]

    def run(self, current: Float64, *, settle: float, sampling: float) -> Float32:
        assert (settle, sampling) == (5.0, DT)
        return (self.level + 100.0 * np.append(current, 0.0)).astype(np.float32)


def test_exact_cells_are_solved_one_by_one_with_their_own_parameters() -> None:
    family = toy_family()
    exact = ExactSteps(family, FakeCell(), settle=5.0)
    cells = family.cells(["m3", "m7"])
    voltage = exact.respond(cells, np.array([0.1, 0.2]))
    assert voltage.shape == (2, 5150) and exact.family_hash == "right"
    assert voltage[:, 0] == pytest.approx(cells.parameters["gNa"])
    assert voltage[:, 150] - voltage[:, 149] == pytest.approx([10.0, 20.0], rel=1e-5)
    assert np.array_equal(voltage[:, 4149] > voltage[:, 4150], [True, True])
    with pytest.raises(BackendError, match="no parameters"):
        exact.respond(default_cells("default:1"), np.array([0.1]))


def test_cells_are_chosen_in_words() -> None:
    family = load_family("allen-pv-peri")
    assert choose_cells(family, "held_out").labels == tuple(family.ids("held_out"))
    assert choose_cells(family, "members").size == 270
    assert len(set(choose_cells(family, "train:20").labels) & set(family.ids("train"))) == 20
    for words in ("hull:3", "gaussian:3", "kde:3"):
        cells = choose_cells(family, words)
        assert cells.size == 3 and set(cells.parameters) == set(family.parameter_names)
    ball = choose_cells(family, "circle:012:4")
    centre = family.codes(["allen-pv-peri-012"])
    assert np.abs(ball.code - centre).max() < 0.05 * 2 * family.codes(family.ids()).max()
    over_features = choose_cells(family, "hull:4", conditioned_on=("s_thr", "I_thr"))
    assert set(over_features.features) == {"I_thr", "s_thr"} and not over_features.parameters
    assert np.array_equal(choose_cells(family, "hull:3", 5).code, choose_cells(family, "hull:3", 5).code)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("membrs:4", "did you mean `members`"),
        ("hull", "a number is wanted"),
        ("gaussian:many", "'many' is not a number"),
        ("circle:4", "a member and a number"),
        ("circle:m99:4", "has no member 'm99'"),
    ],
)
def test_words_that_name_no_cells_say_what_would(words: str, message: str) -> None:
    with pytest.raises((NobleNetError, FamilyError), match=message):
        choose_cells(toy_family(), words)


def test_amplitudes_are_ranges_or_lists() -> None:
    assert parse_amplitudes("-0.1:0.4:0.05 nA") == pytest.approx(np.arange(-2, 9) * 0.05)
    assert parse_amplitudes("100:300:100 pA") == pytest.approx([0.1, 0.2, 0.3])
    assert parse_amplitudes("0.1, 0.25 nA") == pytest.approx([0.1, 0.25])
    for wrong in ("0.1", "0.1 mV", "0:1:0 nA", "1:0:0.1 nA", "0:1:0.000001 nA", "a, b nA"):
        with pytest.raises(NobleNetError, match="amplitudes"):
            parse_amplitudes(wrong)


def test_the_command_writes_a_report(tmp_path: Path) -> None:
    arguments = ["respond", "integrate-and-fire", "--cells", "default:3", "--amplitudes", "0:0.4:0.1 nA"]
    result = CliRunner().invoke(app, [*arguments, "--voltage", "1", "--out", str(tmp_path / "r")])
    assert result.exit_code == 0, result.output
    assert "3 cells × 5 steps from 0 to 0.4 nA" in result.stdout
    page = (tmp_path / "r/report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4 and "E-features" in page


def test_without_efel_rates_are_left_and_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["respond", "integrate-and-fire", "--out", str(tmp_path / "r")])
    assert result.exit_code == 0, result.output
    assert (
        "noble-net[reference]" in result.stderr
        and str(MissingExtraError("", "reference"))[-20:] in result.stderr
    )
    assert list(pd.read_csv(tmp_path / "r/features.csv"))[-1] == "rate_hz"
    assert "noble-net[reference]" in (tmp_path / "r/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-core"], "there is no core"),
        (["pv-stream", "--cells", "everyone"], "cells 'everyone'"),
        (["pv-stream", "--amplitudes", "1 mV"], "amplitudes '1 mV'"),
        (["pv-stream", "--family", "no-such-family"], "there is no family"),
        (["pv-stream", "--voltage", "some"], "'some' is none of"),
    ],
)
def test_wrong_requests_are_one_message(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["respond", *arguments, "--out", str(tmp_path / "r")])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "r").exists()
