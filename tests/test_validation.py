"""Validation: what is run and kept, what is measured, and that a difference is found and none is not."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner
from validations import Fake, network, network_data, small

from noble_net.cli import app
from noble_net.commands.validate import Reference
from noble_net.config import network_from
from noble_net.errors import MissingExtraError
from noble_net.results import Results
from noble_net.validation import validate as module
from noble_net.validation.backends import REFERENCES, Surrogate
from noble_net.validation.plan import BASE, FINE, REFERENCE, REPLAY, SURROGATE, Plan, make_plan
from noble_net.validation.records import Record, read_record, write_record
from noble_net.validation.responses import _at_least
from noble_net.validation.validate import Validation, judge, validate
from noble_net.validation.verdicts import Distances, Verdict, distance, distribution_verdicts, overall

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the validation of `held` keeps its reference runs."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory, kept: Path) -> Iterator[Validation]:
    """The network against the same dynamics."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOBLE_NET_CACHE", str(tmp_path_factory.mktemp("cache")))
        out = tmp_path_factory.mktemp("held") / "out"
        yield validate(
            network(), Fake(), out=out, settings=small(), reference_data=kept, jobs=1, report=False
        )


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float | None]]:
    """What is run: the side, and the step."""
    runs: list[tuple[str, float | None]] = []
    for kind in (Fake, Surrogate):
        before = kind.simulate

        def counting(self: Any, *arguments: Any, before: Any = before) -> Results:
            runs.append((self.name, arguments[2]))
            return before(self, *arguments)  # type: ignore[no-any-return]

        monkeypatch.setattr(kind, "simulate", counting)
    return runs


def verdict(found: Validation, population: str, measure: str) -> Verdict:
    (one,) = [each for each in found.verdicts if (each.population, each.measure) == (population, measure)]
    return one


# --- the verdict ------------------------------------------------------------------------------------------


def test_the_same_dynamics_hold(held: Validation) -> None:
    assert held.holds, [each for each in held.verdicts if each.holds is False]
    assert verdict(held, "pv", "mean rate").value == 0.0
    assert verdict(held, "pv", "EMD of rate").terms["seed to seed"] > 0
    assert {each.part for each in held.verdicts} == {"network", "replay", "change"}


def test_a_population_that_is_silent_is_not_judged(held: Validation) -> None:
    mine = [each for each in held.verdicts if each.population == "quiet"]
    assert len(mine) == 10 and not any(each.holds is False for each in mine)
    unjudged = {each.measure for each in mine if each.holds is None}
    assert {"mean rate", "EMD of cv", "spectral peak", "median Γ(±2 ms)"} <= unjudged


def test_a_replay_gives_cells_the_very_input_of_the_network(held: Validation) -> None:
    """So cells that are the reference's own answer with its spikes and voltages, alone as in the network."""
    for name in ("pv", "pyr"):
        errors, (run,) = held.replay[name], held.plan.of(REFERENCE, REPLAY)
        assert np.nanmin(errors.gamma) == pytest.approx(1.0) and errors.counts.sum() > 50
        assert np.array_equal(errors.counts, errors.reference_counts)
        assert errors.explained_variance.min() > 0.9999 and len(errors.explained_variance) == 6
        floor = held.records[run.key].replay[name].floor
        assert floor is not None and len(floor.gamma) == 2
        assert floor.check_gamma == pytest.approx(1.0) and floor.explained_variance.min() > 0.9999


def test_a_replay_without_the_network_s_spikes_is_another(held: Validation) -> None:
    from noble_net.validation.replay import replay

    (run,) = held.plan.of(REFERENCE, REPLAY)
    record = held.records[run.key]
    unheard = {
        name: type(each)(**{**vars(each), "cell": each.cell[:0], "sample": each.sample[:0]})
        for name, each in record.replay.items()
    }
    assert run.replay is not None
    alone = replay(run.network, Record(record.about, record.trains, unheard), run.replay)
    assert alone["pv"].pooled < 0.9 and alone["pyr"].pooled == pytest.approx(1.0)


def test_rates_a_tenth_off_are_found(tmp_path: Path) -> None:
    settings = small(replay=None, changes=None, fine_seeds=0)
    found = validate(
        network(), Fake(drive=1.04), out=tmp_path / "out", settings=settings, jobs=1, report=False
    )
    terms = verdict(found, "pv", "mean rate").terms
    assert 0.05 < terms["reference Hz"] / terms["surrogate Hz"] - 1 < 0.15
    assert not found.holds
    assert verdict(found, "pv", "mean rate").holds is False
    assert verdict(found, "pv", "EMD of rate").holds is False


def test_both_terms_of_the_yardstick_count() -> None:
    """What the reference's own step is worth is no fault of the surrogate."""
    plan = plan_of(replay=None, changes=None)
    biased = judged(plan, surrogate=32.5, fine=37.0)
    rate, apart = (verdict(biased, "pv", name) for name in ("mean rate", "EMD of rate"))
    assert rate.holds and rate.yardstick == apart.yardstick == "the reference's step"
    assert apart.holds and apart.limit == apart.terms["finer step"]
    unbiased = judged(plan, surrogate=32.5, fine=30.0)
    assert not verdict(unbiased, "pv", "mean rate").holds
    assert not verdict(unbiased, "pv", "EMD of rate").holds
    assert verdict(unbiased, "pyr", "mean rate").holds


def test_rhythms_are_held_against_each_other() -> None:
    plan = plan_of(replay=None, changes=None, duration="4 s")
    assert verdict(judged(plan, frequency=40.0), "pv", "spectral peak").holds
    moved = verdict(judged(plan, frequency=46.0), "pv", "spectral peak")
    assert moved.holds is False and moved.value == pytest.approx(6.0, abs=1.0)
    lost = verdict(judged(plan, depth=0.0), "pv", "spectral peak")
    assert lost.holds is False and lost.yardstick == "a clear rhythm on the reference alone"
    assert (
        lost.value == lost.terms["reference Hz"] == pytest.approx(40.0, abs=1.0) and lost.value > lost.limit
    )


def test_distances_are_told_after_every_duration(held: Validation) -> None:
    rows = [each for each in held.distances if (each.population, each.measure) == ("pv", "rate")]
    assert [each.duration for each in rows] == [400.0, 800.0]
    assert all(each.across > 0 and each.within > 0 and each.fine == 0 for each in rows)


def test_responses_have_sign_and_slope(held: Validation) -> None:
    by_kind = {each.kind: each for each in held.responses if each.population == "pv"}
    assert set(by_kind) == {"input", "inhibition", "mix"}
    assert by_kind["input"].slopes[REFERENCE].min() > 10
    down, as_is, up = by_kind["input"].rates[SURROGATE]
    assert down < as_is < up
    wrong = {**vars(by_kind["input"]), "slopes": {REFERENCE: np.array([50.0, 52.0]), SURROGATE: -np.ones(2)}}
    from noble_net.validation.responses import change_verdicts

    (one,) = change_verdicts(held.plan, [type(by_kind["input"])(**wrong)])
    assert one.holds is False and one.yardstick == "wrong sign"


def test_distances_of_what_is_undefined() -> None:
    nothing, some = np.array([np.nan]), np.array([1.0, 2.0])
    assert np.isnan(distance(nothing, nothing)) and np.isinf(distance(nothing, some))
    assert distance(some, some + 1) == pytest.approx(1.0)
    assert not overall([])


def plan_of(**changes: Any) -> Plan:
    return make_plan(network(), Fake(), Surrogate(), small(**changes))


def judged(
    plan: Plan, *, surrogate: float = 30.0, fine: float = 30.0, frequency: float = 40.0, depth: float = 0.9
) -> Validation:
    """The judgement of made-up spikes: cells of ``pv`` have these rates, and a rhythm of this ``frequency`` (Hz) and
    depth on the surrogate's side."""
    from synthetic import rhythmic_spikes

    records = {}
    for run in plan.runs:
        mine = run.side == SURROGATE
        rate = surrogate if mine else fine if run.condition == FINE else 30.0
        rhythm = {"frequency": frequency, "depth": depth} if mine else {"frequency": 40.0, "depth": 0.9}
        times, cells = rhythmic_spikes(
            200, plan.settings.duration, rate=rate, seed=run.seed + 100 * mine, **rhythm
        )
        pv = [times[cells == cell] for cell in range(200)]
        pyr = rhythmic_spikes(8, plan.settings.duration, seed=run.seed)
        others = {
            "pyr": [pyr[0][pyr[1] == cell] for cell in range(8)],
            "quiet": [np.empty(0)] * 5,
        }
        records[run.key] = Record({}, {"pv": pv, **others})
    return judge(plan, records)


# --- files ------------------------------------------------------------------------------------------------


def test_json_and_page_hold_every_number(held: Validation) -> None:
    content = json.loads(held.to_json())
    assert content["holds"] and len(content["verdicts"]) == len(held.verdicts)
    assert content["backends"]["reference"]["step_ms"] == 0.05 and content["backends"]["surrogate"]["cores"]
    assert len(content["runs"]) == len(held.plan.runs) and content["runs"][0]["populations"]["pv"]["rate"] > 0
    assert len(content["replay"]["pv"]["gamma"]) == 16 and content["changes"] and content["distances"]
    from noble_net.validation.page import page

    text = page(held)
    assert (
        "mixed against fake" in text and text.count("<svg") == 3 * 7 and "nan" not in text.split("<pre>")[0]
    )


def test_what_is_finished_is_not_run_again(
    tmp_path: Path, simulated: list[tuple[str, float | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, out = small(replay=None, changes=None, seeds=[1, 2]), tmp_path / "out"
    told: list[tuple[float, float]] = []

    def falling(self: Any, *arguments: Any) -> Results:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Surrogate, "simulate", falling)
        validate(network(), Fake(), out=out, settings=settings, jobs=1, report=False)
    assert simulated == [("fake", 0.01), ("fake", 0.05), ("fake", 0.05)]
    simulated.clear()
    validate(
        network(),
        Fake(),
        out=out,
        settings=settings,
        jobs=1,
        progress=lambda done, total: told.append((done, total)),
        report=False,
    )
    assert simulated == [("surrogate", None)] * 2
    assert told[0][0] == 0 and told[-1][0] == pytest.approx(told[-1][1])
    simulated.clear()
    validate(network(), Fake(), out=out, settings=settings, jobs=1)
    assert not simulated and sorted(path.name for path in out.iterdir()) == [
        "network.yaml",
        "report.html",
        "runs",
        "validation.json",
    ]
    more = small(replay=None, changes=None, seeds=[1, 2, 3])
    validate(network(), Fake(), out=out, settings=more, jobs=1, report=False)
    assert sorted(simulated) == [("fake", 0.05), ("surrogate", None)]


def test_kept_reference_runs_do_without_the_reference(
    held: Validation, kept: Path, tmp_path: Path, simulated: list[tuple[str, float | None]]
) -> None:
    settings = held.plan.settings
    absent = Fake(installed=False)
    found = validate(
        network(), absent, out=tmp_path / "out", settings=settings, reference_data=kept, jobs=1, report=False
    )
    assert {name for name, _ in simulated} == {"surrogate"}
    assert [each.value for each in found.verdicts] == pytest.approx(
        [each.value for each in held.verdicts], nan_ok=True
    )
    index = json.loads((kept / "index.json").read_text())
    assert {path.stem for path in kept.glob("*.npz")} == set(index)
    assert all(each["populations"]["pv"]["cv"] > 0 for each in index.values())
    assert {each["condition"] for each in index.values()} >= {BASE, FINE, REPLAY, "input-up"}
    other = network(name="renamed", seed=5)
    with pytest.raises(MissingExtraError):
        validate(
            other,
            absent,
            out=tmp_path / "other",
            settings=settings,
            reference_data=kept,
            jobs=1,
            report=False,
        )


def test_a_replayable_record_comes_back(held: Validation, tmp_path: Path) -> None:
    (run,) = held.plan.of(REFERENCE, REPLAY)
    record = held.records[run.key]
    write_record(tmp_path / "again.npz", record)
    again = read_record(tmp_path / "again.npz")
    for name, each in record.replay.items():
        for key in ("cell", "sample", "voltage"):
            np.testing.assert_array_equal(getattr(each, key), getattr(again.replay[name], key))
        assert each.floor is not None and again.replay[name].floor is not None
    assert (tmp_path / "again.npz").stat().st_size < 60_000


def test_the_command_runs_and_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ruamel.yaml import YAML

    file = tmp_path / "mixed.yaml"
    YAML().dump(network_data(), file)
    (tmp_path / "settings.yaml").write_text("warmup: 100 ms\nduration: 9 s\n")
    options = ["--settings", str(tmp_path / "settings.yaml"), "--duration", "500 ms", "--seeds", "2"]
    options += ["--no-replay", "--no-changes", "--jobs", "1"]

    def run(drive: float, out: str) -> Any:
        monkeypatch.setattr(module, "REFERENCES", {"neuron": Fake(drive)})
        return CliRunner().invoke(app, ["validate", str(file), "--out", str(tmp_path / out), *options])

    good = run(1.0, "good")
    monkeypatch.setattr("noble_net.validation.page.page", lambda found: "")  # once is enough
    bad = run(1.5, "bad")
    assert good.exit_code == 0, good.output
    assert "mixed against fake: holds" in good.output and (tmp_path / "good/report.html").is_file()
    assert bad.exit_code == 1 and "does not hold" in bad.output and "pv, mean rate" in bad.output
    wrong = CliRunner().invoke(app, ["validate", str(file), "--duration", "5", *options[4:]])
    assert wrong.exit_code == 2 and "duration = 5: has no unit" in wrong.output + wrong.stderr
    assert set(REFERENCES) == {each.value for each in Reference}


# --- NEURON -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_exact_cells_alone_repeat_their_network(tmp_path: Path) -> None:
    """The input that a replay makes again is the one that cells had in NEURON."""
    data = network_data(
        core="pv-stream",
        populations={
            "pv": {"family": "allen-pv-peri", "size": 5, "sample": {"from": "members", "role": "held_out"}}
        },
        projections=[{**network_data()["projections"][0], "rule": "all_to_all"}],
        stimuli=[{"to": "pv", "ornstein_uhlenbeck": {"mean": "0.3 nA", "sigma": "0.12 nA", "tau": "5 ms"}}],
    )
    settings = small(
        seeds=[1, 2],
        duration="300 ms",
        changes={"input": 0.2, "inhibition": 0.0, "seeds": 1},
        replay={"duration": "300 ms", "discard": "50 ms", "floor_cells": 3},
    )
    found = validate(network_from(data), "neuron", out=tmp_path / "out", settings=settings, jobs=2)
    (run,) = found.plan.of(REFERENCE, REPLAY)
    floor = found.records[run.key].replay["pv"].floor
    assert floor is not None
    assert floor.check_gamma == pytest.approx(1.0) and floor.check_explained_variance.min() > 0.995
    assert floor.gamma.min() > 0.8 and found.replay["pv"].reference_counts.sum() > 20
    assert verdict(found, "pv", "EMD of rate").terms["finer step"] >= 0
    assert (tmp_path / "out/report.html").is_file()


@pytest.mark.parametrize(
    ("values", "floor", "holds"),
    [
        ([0.95, 0.965, 0.99], [0.98, 1.0], True),
        ([0.95, 0.955, 0.99], [0.98, 1.0], False),
        ([0.6, 0.62], [0.64, math.nan], True),  # spike times that the reference itself does not settle
        ([0.975], None, True),
        ([0.96], None, False),
        ([math.nan], [0.99], None),
    ],
)
def test_a_replay_is_held_against_the_floor(
    values: list[float], floor: list[float] | None, holds: bool | None
) -> None:
    found = _at_least("pv", "Γ", np.array(values), None if floor is None else np.array(floor), 0.03, {})
    assert found.holds is holds and found.relation == "≥"


def test_a_distance_that_the_reference_itself_has_not_is_not_judged() -> None:
    plan = plan_of(replay=None, changes=None)

    def judge_cv(across: float, within: float, fine: float) -> Verdict:
        (one,) = distribution_verdicts(plan, [Distances("pv", "cv", 800.0, across, within, fine)])
        return one

    assert judge_cv(math.inf, 0.1, math.nan).yardstick == "undefined on one side alone"
    assert judge_cv(math.inf, 0.1, math.nan).holds is False
    assert judge_cv(math.inf, math.inf, 0.1).holds is None
    assert judge_cv(0.1, math.nan, math.nan).yardstick == "undefined in the reference"
    assert judge_cv(0.1, 0.1, math.nan).holds is True
