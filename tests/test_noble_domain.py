"""What a NOBLE core was trained on: kept in core.json, drawn from, and told where a request leaves it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import toy_family
from typer.testing import CliRunner

from noble_net.cells.family import Family
from noble_net.cells.plane import Plane, cells_over_features, feature_space, usual_members
from noble_net.cli import app
from noble_net.errors import (
    CheckpointError,
    EnvelopeWarning,
    FamilyError,
    LatentSpaceWarning,
    NobleNetError,
)
from noble_net.registry import checkpoint_folder, load_family, load_step_core
from noble_net.responses.domain import Domain
from noble_net.responses.requests import choose_cells, default_cells
from noble_net.surrogate.step_core import StepCore
from noble_net.types import DT, CellTable, Float32, Float64

FEATURES = ("I_thr", "s_thr")
TRAINED = ("m1", "m2", "m3", "m4")
RANGE = (-0.05, 0.3)


class Known(StepCore):
    """Knows a cell by two features; answers as the integrate-and-fire core does."""

    name, family, family_hash, sampling, features = "known", "toy", "right", DT, FEATURES

    def respond(self, cells: CellTable, amplitude: Float64) -> Float32:
        alike = default_cells(f"default:{cells.size}")
        return load_step_core("integrate-and-fire").respond(alike, amplitude)


@pytest.fixture
def family() -> Family:
    """Twelve members along I_thr, of which m1 to m4 are the hall of fame's to train on."""
    family = toy_family()
    family.table["s_thr"] = [100.0, 200.0] * 6
    family.table["hall_of_fame"] = [int(f"m{i}" in (*TRAINED, "m9")) for i in range(12)]
    return family


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    about = {"kind": "noble", "trained_on": {"members": list(TRAINED), "amplitude": list(RANGE)}}
    (tmp_path / "core.json").write_text(json.dumps(about))
    return tmp_path


def test_cells_are_drawn_among_the_members_trained_on(family: Family) -> None:
    assert usual_members(family) == list(TRAINED)
    space = feature_space(family, FEATURES)
    assert space.labels == TRAINED
    for source in ("gaussian", "kde", "hull"):
        cells = cells_over_features(family, FEATURES, source, 20, np.random.default_rng(1))
        points = np.column_stack([cells.features[name] for name in FEATURES])
        assert space.contains(points).all() == (source == "hull")
    wide = feature_space(family, FEATURES, family.ids())
    assert wide.labels == tuple(family.ids())
    ball = cells_over_features(family, FEATURES, "circle", 4, np.random.default_rng(1), "m11")
    assert ball.features["I_thr"] == pytest.approx(family.table.loc["m11", "I_thr"], abs=0.01)
    with pytest.raises(FamilyError, match="did you mean `m11`"):
        cells_over_features(family, FEATURES, "circle", 4, np.random.default_rng(1), "m111")
    assert choose_cells(family, "train", 1, FEATURES, trained_on=TRAINED).labels == TRAINED
    assert set(choose_cells(family, "train:3", 1, FEATURES, trained_on=TRAINED).labels) < set(TRAINED)
    assert choose_cells(family, "train").size == 8


def test_a_plane_covers_what_was_trained_on(family: Family) -> None:
    plane = Plane.through(family, FEATURES, features=FEATURES)
    assert plane.centre in TRAINED
    inside, beyond = family.table.loc["m2", "I_thr"], family.table.loc["m10", "I_thr"]
    assert plane.contains(np.array([inside, beyond]), np.array([150.0, 150.0])).tolist() == [True, False]
    assert plane.extent()[0] == pytest.approx(tuple(family.table.loc[["m1", "m4"], "I_thr"]))
    whole = Plane.through(family, FEATURES, features=FEATURES, members=family.ids())
    assert whole.contains(np.array([beyond]), np.array([150.0])).tolist() == [True]


def test_what_lies_outside_is_told(family: Family, folder: Path) -> None:
    domain = Domain.of(Known(), folder, family)
    assert (domain.features, domain.members, domain.amplitude) == (FEATURES, TRAINED, RANGE)
    steps = np.array([-0.1, -0.05, 0.3])
    assert domain.check(family, family.cells(["m1", "m3"]), steps[1:]) == ()
    with pytest.warns(EnvelopeWarning, match=r"1 of 3 steps.* core known was trained on, -0.05 to 0.3 nA"):
        (told,) = domain.check(family, family.cells(["m2"]), steps)
    assert "extrapolated" in told
    with pytest.warns(LatentSpaceWarning, match=r"1 of 2 cells .* outside the hull of the 4 members"):
        domain.check(family, family.cells(["m2", "m10"]), steps[1:])
    with pytest.raises(FamilyError, match="outside the hull"):
        domain.check(family, family.cells(["m10"]), steps[1:], "fail")
    with pytest.raises(NobleNetError, match="Ask for steps within"):
        domain.check(family, family.cells(["m2"]), steps, "fail")
    assert domain.check(family, family.cells(["m10"]), steps, "allow") == ()
    assert domain.within(steps).tolist() == [-0.05, 0.3]
    assert domain.within(np.array([0.5])) == pytest.approx(np.linspace(*RANGE, 11))


def test_a_core_that_does_not_say_is_told_of(family: Family, tmp_path: Path) -> None:
    (tmp_path / "core.json").write_text('{"kind": "noble"}')
    domain, steps = Domain.of(Known(), tmp_path, family), np.array([9.0])
    assert domain.within(steps) is steps
    with pytest.warns(EnvelopeWarning, match="does not say which members"):
        domain.check(family, family.cells(["m2"]), steps)
    with pytest.raises(CheckpointError, match="noble-net train"):
        domain.check(family, family.cells(["m2"]), steps, "fail")


@pytest.mark.parametrize(
    "told",
    [
        {"members": ["m1"]},
        {"members": [], "amplitude": [0, 1]},
        {"members": ["m77"], "amplitude": [0, 1]},
        {"members": ["m1"], "amplitude": [1, 0]},
        {"members": ["m1"], "amplitude": [0, "much"]},
        [1],
    ],
)
def test_damage_is_named(told: object, family: Family, tmp_path: Path) -> None:
    (tmp_path / "core.json").write_text(json.dumps({"trained_on": told}))
    with pytest.raises(CheckpointError, match="trained_on"):
        Domain.of(Known(), tmp_path, family)


def test_a_network_s_core_has_the_envelope_of_its_current() -> None:
    domain = Domain.of(load_step_core("pv-stream"))
    assert domain.amplitude == (-2.436, 2.431) and not domain.features
    cells, steps = default_cells("default:1"), np.array([-0.1, 5.0])
    with pytest.warns(EnvelopeWarning, match="1 of 2 steps"):
        domain.check(None, cells, steps)
    assert Domain.of(load_step_core("integrate-and-fire")).check(None, cells, steps) == ()


@pytest.fixture
def command(family: Family, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """`noble-net respond` on the core above; little is measured."""
    for name, found in {
        "load_step_core": Known(),
        "load_family": family,
        "checkpoint_folder": folder,
    }.items():
        monkeypatch.setattr(f"noble_net.registry.{name}", lambda *_, found=found: found)
    monkeypatch.setattr("noble_net.responses.respond.find_spec", lambda _: None)
    return ["respond", "known", "--jobs", "1", "--out", str(folder / "out")]


def test_by_default_the_command_asks_for_what_the_core_knows(command: list[str]) -> None:
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "warning" not in result.stderr
    assert "10 cells × 8 steps from -0.05 to 0.3 nA" in result.stdout


@pytest.mark.filterwarnings("default")
def test_the_command_warns_or_fails_as_asked(command: list[str]) -> None:
    beyond = [*command, "--cells", "held_out", "--amplitudes", "-0.1, 0.2 nA"]
    failed = CliRunner().invoke(app, [*beyond, "--outside", "fail"])
    assert failed.exit_code == 2 and "outside the hull" in failed.stderr
    assert not Path(command[-1]).exists()
    warned = CliRunner().invoke(app, beyond)
    assert warned.exit_code == 0, warned.output
    assert warned.stderr.count("warning: ") == 2 and "known was trained on" in warned.stderr
    page = (Path(command[-1]) / "report.html").read_text(encoding="utf-8")
    assert "outside the hull of the 4 members" in page
    allowed = CliRunner().invoke(app, [*beyond, "--outside", "allow"])
    assert allowed.exit_code == 0 and "warning" not in allowed.stderr


@pytest.mark.parametrize("source", ["gaussian", "kde"])
def test_sampled_cells_of_noble_may_lie_outside_as_asked(source: str) -> None:
    """In the 17 features that it embeds they always do."""
    core, family = load_step_core("noble-small"), load_family("allen-pv")
    domain = Domain.of(core, checkpoint_folder("noble-small"), family)
    cells = choose_cells(family, f"{source}:3", 1, domain.features, trained_on=domain.members)
    steps = np.array([0.2])
    assert domain.check(family, cells, steps, "allow") == ()
    with pytest.warns(LatentSpaceWarning, match="3 of 3 cells"):
        domain.check(family, cells, steps)
    with pytest.raises(FamilyError, match="3 of 3 cells"):
        domain.check(family, cells, steps, "fail")


def test_sampled_cells_of_a_network_s_core_are_checked_if_asked(tmp_path: Path) -> None:
    arguments = ["respond", "pv-stream", "--cells", "gaussian:2", "--amplitudes", "0.1, 0.2 nA"]
    result = CliRunner().invoke(app, [*arguments, "--outside", "fail", "--out", str(tmp_path / "r")])
    assert result.exit_code == 2 and "outside the hull of the 270 members" in result.stderr
