"""Evolution on an analytic cell: targets, scores, two stages, resumption, and the choice of members."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from noble_net.cells import archive
from noble_net.cells.archive import Archive, read_archive, solve_individual
from noble_net.cells.evolve import evolve, history_path
from noble_net.cells.model import CellModel
from noble_net.cells.parameter_space import Space
from noble_net.cells.select import candidates
from noble_net.cells.targets import SPREAD, WORST, Targets, from_responses, mean_z, read_targets
from noble_net.errors import FamilyError, SolverError
from noble_net.specs.families import CellSpec, EvolveSpec, FamilyRecipe, TargetSpec

STEPS = (-0.05, 0.1, 0.2)
CENTRE = {"g_pas.soma": 1e-4, "gbar_NaV.soma": 0.05, "gbar_Kd.soma": 0.002, "e_pas.all": -80.0}
SPEC = EvolveSpec(
    seeds=(1, 2),
    targets=2,
    generations=6,
    subthreshold_generations=3,
    offspring=8,
    bounds={"e_pas.all": (-90, -70)},
    members=20,
    hall_of_fame=8,
    hall_held_out=2,
    distance=0.02,
)


def responses(parameters: Mapping[str, float]) -> dict[float, dict[str, float]]:
    """Features of a cell made of formulas."""
    rest, leak = parameters["e_pas.all"], parameters["g_pas.soma"] / 1e-4
    excitable, slow = parameters["gbar_NaV.soma"] / 0.05, parameters["gbar_Kd.soma"] / 0.002
    found = {}
    for step in STEPS:
        each = {"voltage_base": rest, "steady_state_voltage_stimend": rest + 400 * step / leak}
        if step > 0:
            each |= {"mean_frequency": 300 * step * excitable / slow, "AP1_width": 0.4 * slow**0.3}
        found[step] = each
    return found


UNDRAWN = from_responses(responses(CENTRE), TargetSpec(of_fit="x", steps=STEPS))


class Here:
    """A pool of no processes."""

    map = staticmethod(map)


@pytest.fixture
def model(tmp_path: Path) -> CellModel:
    return CellModel(tmp_path / "none.swc", CENTRE, {}, 34.0, -80.0)


@pytest.fixture
def solved(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, float]]:
    """Every individual that had to be solved."""
    asked: list[Mapping[str, float]] = []

    def solve(model, steps, undrawn, parameters):
        asked.append(parameters)
        return {step: values for step, values in responses(parameters).items() if step in steps}

    monkeypatch.setattr(archive, "solve_individual", solve)
    return asked


def recipe(spec: EvolveSpec = SPEC) -> FamilyRecipe:
    return FamilyRecipe(
        name="toy",
        cell=CellSpec(morphology="x.swc", celsius=34.0, v_init=-80.0),
        evolve=spec,
        targets=TargetSpec(of_fit="x", steps=STEPS),
    )


def run(model: CellModel, folder: Path, spec: EvolveSpec = SPEC, progress=None) -> Path:
    folder.mkdir(exist_ok=True)
    return evolve(recipe(spec), model, UNDRAWN, folder / "toy.archive.jsonl", Here(), progress)


def test_scores_are_means_over_steps_and_missing_features_cost_the_most():
    wanted = Targets({0.1: {"a": (1.0, 0.5), "b": (0.0, 1.0)}, 0.2: {"a": (2.0, 0.5)}})
    scores = wanted.z_scores({0.1: {"a": 2.0, "b": 100.0}, 0.2: {"a": 2.0}})
    assert scores == {"a": 1.0, "b": WORST} and mean_z(scores) == (1.0 + WORST) / 2
    assert wanted.z_scores({})["a"] == WORST
    assert wanted.z_scores({0.1: {"a": float("nan"), "b": 0.0}, 0.2: {"a": 2.0}})["a"] == WORST / 2
    assert wanted.below(0.15).steps == (0.1,)


def test_drawn_targets_differ_stay_within_reach_and_come_back():
    draws = [UNDRAWN.draw(np.random.default_rng(seed), 1.5) for seed in range(20)]
    again = UNDRAWN.draw(np.random.default_rng(3), 1.5)
    assert draws[3] == again
    z = np.array([[(d.at[0.2][n][0] - m) / sd for n, (m, sd) in UNDRAWN.at[0.2].items()] for d in draws])
    assert z.std(axis=0).min() > 0.3 and np.abs(z).max() <= 3.0 + 1e-9  # two factors meet at some features
    shifts = [d.at[0.1]["voltage_base"][0] - d.at[0.2]["voltage_base"][0] for d in draws]
    assert np.allclose(shifts, 0.0)  # one cell has one rest


def test_the_spread_covers_every_feature_and_can_be_replaced():
    from noble_net.cells.features import NOBLE_FEATURES

    assert set(SPREAD) == set(NOBLE_FEATURES)
    spec = TargetSpec(of_fit="x", steps=STEPS, spread={"voltage_base": (0.0, 7.0)})
    assert from_responses(responses(CENTRE), spec).at[0.1]["voltage_base"] == (-80.0, 7.0)


def test_targets_written_by_hand_are_read_and_unknown_features_named():
    spec = TargetSpec(table={"0.1 nA": {"Spikecount": (5, 2)}, "-50 pA": {"voltage_base": (-70, 2)}})
    made = recipe().model_copy(update={"targets": spec})
    assert read_targets(made).at == {0.1: {"Spikecount": (5.0, 2.0)}, -0.05: {"voltage_base": (-70.0, 2.0)}}
    wrong = made.model_copy(update={"targets": TargetSpec(table={"0.1 nA": {"Spikes": (5, 2)}})})
    with pytest.raises(FamilyError, match=r"unknown features \['Spikes'\]"):
        read_targets(wrong)


def test_space_is_logarithmic_where_positive_and_refuses_what_has_no_extent(model):
    space = Space.of(model, SPEC)
    assert space.names == tuple(CENTRE)
    values = space.values(np.full(4, 0.5))
    assert values["gbar_NaV.soma"] == pytest.approx(0.05) and values["e_pas.all"] == pytest.approx(-80.0)
    back = space.coordinates(np.array(list(values.values())))
    np.testing.assert_allclose(back, 0.5, atol=1e-8)
    with pytest.raises(FamilyError, match="no parameter"):
        Space.of(model, SPEC.model_copy(update={"bounds": {"gbar_Xx.soma": (1, 2)}}))
    with pytest.raises(FamilyError, match="has no extent"):
        Space.of(model.with_values({"gbar_Kd.soma": 0.0}), SPEC)


@pytest.mark.parametrize("algorithm", ["IBEA", "NSGA2"])
def test_the_error_falls_in_both_stages(model, solved, tmp_path, algorithm):
    archive = run(model, tmp_path, SPEC.model_copy(update={"algorithm": algorithm}))
    rows = [json.loads(line) for line in history_path(archive).read_text().splitlines()]
    assert len(rows) == 2 * 2 * (6 + 3)
    for stage in (1, 2):
        errors = [r["best"] for r in rows if (r["seed"], r["target"], r["stage"]) == (1, 0, stage)]
        assert errors[-1] < errors[0] and errors == sorted(errors, reverse=True)
    assert min(r["best"] for r in rows if r["stage"] == 2) < 0.5
    passive = [r for r in read_archive(archive) if r["stage"] == 1]
    assert {r["parameters"]["gbar_NaV.soma"] for r in passive} == {0.05} and set(passive[0]["features"]) == {
        -0.05
    }


def test_a_killed_evolution_goes_on_as_if_never_stopped(model, solved, tmp_path):
    whole = run(model, tmp_path / "whole").read_text()
    total = len(solved)

    class Killed(Exception):
        pass

    def kill(done: int, _: int) -> None:
        if done == 13:
            raise Killed

    with pytest.raises(Killed):
        run(model, tmp_path / "cut", progress=kill)
    archive = tmp_path / "cut" / "toy.archive.jsonl"
    text = archive.read_text()
    archive.write_text(text[: len(text) - 40])  # the last line is cut short
    assert len(text) < len(whole)
    known = len(list(read_archive(archive)))
    solved.clear()
    run(model, tmp_path / "cut")
    assert archive.read_text() == whole
    assert len(solved) == total - known


def test_members_are_valid_distinct_and_balanced(model, solved, tmp_path):
    archive = run(model, tmp_path)
    space = Space.of(model, SPEC)
    found = candidates(read_archive(archive), UNDRAWN, SPEC, space)
    hall = [each for each in found if each.hall_of_fame]
    assert len(hall) == 8 and hall == found[:8]
    assert {(each.seed, each.target) for each in hall} == {(s, t) for s in (1, 2) for t in (0, 1)}
    assert all(each.z_score <= SPEC.max_z for each in found)
    places = np.array([space.coordinates(np.array(list(e.parameters.values()))) for e in found])
    apart = np.sqrt(((places[:, None] - places[None]) ** 2).mean(axis=2)) + np.eye(len(found))
    assert len(found) > 20 and apart.min() >= SPEC.distance
    own = [mean_z(UNDRAWN.z_scores(responses(each.parameters))) for each in found]
    np.testing.assert_allclose(own, [each.z_score for each in found], rtol=1e-3)


class Cell:
    """Stands for the exact cell: counts what it is asked."""

    def __init__(self, rest: float, fails: bool = False) -> None:
        self.rest, self.fails, self.asked, self.tolerance = rest, fails, 0, None

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        pass

    def run(self, current, **_: object):
        self.asked += 1
        if self.fails:
            raise SolverError("not finite")
        time = np.arange(round(len(current) * 0.1 / 0.05) + 1) * 0.05
        amplitude = float(current[2000])
        on = (time > 15) & (time < 415)
        return (self.rest + np.where(on, 300 * amplitude, 0.0)).astype(np.float32)


@pytest.mark.parametrize(("rest", "fails", "asked"), [(-80.0, False, 3), (-20.0, False, 1), (-80.0, True, 1)])
def test_hopeless_individuals_are_left_early(model, monkeypatch, rest, fails, asked):
    pytest.importorskip("efel")
    cell = Cell(rest, fails)
    monkeypatch.setattr(archive, "exact_cell", lambda *_, **__: cell)
    found = solve_individual(model, STEPS, UNDRAWN, CENTRE)
    assert cell.asked == asked
    assert (len([f for f in found.values() if f]) == 3) == (asked == 3)


def test_the_archive_solves_what_was_asked_at_fewer_steps_again(model, solved, tmp_path):
    archive = Archive(tmp_path / "a.jsonl", model, UNDRAWN, Here())
    first = archive.responses([CENTRE, CENTRE], (-0.05,), {"stage": 1})
    assert len(solved) == 1 and set(first[0]) == {-0.05}
    both = archive.responses([CENTRE], STEPS, {"stage": 2})
    assert len(solved) == 2 and set(both[0]) == set(STEPS)
    archive.responses([CENTRE], (-0.05,), {"stage": 1})
    assert len(solved) == 2
    assert Archive(tmp_path / "a.jsonl", model, UNDRAWN, Here()).rows.keys() == archive.rows.keys()
