"""Studies: their files, overrides, measures, and that they go on where they were cut off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import network_data, network_spec, toy_family
from typer.testing import CliRunner

from noble_net.cells.latent import medoid
from noble_net.cells.plane import Plane
from noble_net.cli import app
from noble_net.errors import ConfigError, FamilyError, NobleNetError, OutputError
from noble_net.network.noise import OrnsteinUhlenbeck
from noble_net.network.stimuli import make_stimulus, shared_signal
from noble_net.registry import find_network, find_study, load_family, shipped
from noble_net.results import load_results
from noble_net.specs.studies import load_study, study_from
from noble_net.study import population
from noble_net.study.information import information_rate, synchrony
from noble_net.study.overrides import as_data, replace
from noble_net.study.population import MEASURES, plan
from noble_net.study.run import run_study

NETWORK = """\
name: tiny
duration: 60 ms
populations:
  pv: {family: allen-pv-peri, size: 6}
synapses:
  gaba: {model: exp2, rise: 0.3 ms, decay: 5 ms, reversal: -80 mV}
projections:
  - {name: pv-pv, from: pv, to: pv, rule: {pairwise_bernoulli: {p: 0.5}}, synapse: gaba, weight: 1 nS, delay: 1 ms}
stimuli:
  - {to: pv, ornstein_uhlenbeck: {mean: 0.4 nA, sigma: 0.1 nA, tau: 5 ms}}
  - {name: common, to: pv, ornstein_uhlenbeck: {mean: 0 nA, sigma: 0.05 nA, tau: 5 ms, shared: true}}
"""

STUDY = """\
name: small
population:
  network: tiny.yaml
  spreads: [0, 1]
  seeds: [7]
  set: {duration: 50 ms}
  conditions:
    weak: {stimuli.ornstein_uhlenbeck-pv-0.ornstein_uhlenbeck.mean: 0.2 nA}
    strong: {projections.pv-pv.weight: 2 nS}
  signal: common
"""

MAP = """\
name: map
single_cell:
  core: pv-stream
  steps: [0.3 nA]
  grid: {x: PC1, y: gbar_NaV.soma, points: 2, reach: 0.5}
  members: 3
  features: [rate_hz, AP1_peak]
"""


def written(folder: Path, study: str = STUDY) -> Path:
    (folder / "tiny.yaml").write_text(NETWORK)
    (folder / "study.yaml").write_text(study)
    return folder / "study.yaml"


# --- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: small", "name: small\nspread: 1", "study.yaml:2: spread = 1: unknown key. did you mean"),
        ("spreads: [0, 1]", "spreads: [0, 2]", "study.yaml:4: population.spreads"),
        ("spreads: [0, 1]", "spreads: [1, 1]", "is listed twice"),
        ("seeds: [7]", "sedes: [7]", "study.yaml:5: population.sedes: unknown key. did you mean `seeds`?"),
        (
            "network: tiny.yaml",
            "network: tinny",
            "study.yaml:3: population.network = tinny: there is no network",
        ),
        ("{duration: 50 ms}", "{durations: 50 ms}", "study.yaml:6: population.set.durations"),
        (
            "{duration: 50 ms}",
            "{duration: 50}",
            "study.yaml:6: population.set.duration = 50: the network",
        ),
        ("{duration: 50 ms}", "{populations.vp.size: 3}", "study.yaml:6"),
        ("pv-pv.weight: 2 nS", "pv-pv.weight: 2 mV", "study.yaml:9: population.conditions.strong"),
        ("pv-pv.weight: 2 nS", "pv-vp.weight: 2 nS", "did you mean `pv-pv`?"),
        ("pv-pv.weight: 2 nS", "pv-pv.delay: 0.1 ms", "shorter than the step of core pv-stream"),
        ("signal: common", "signal: comon", "study.yaml:10: population.signal = comon"),
        ("seeds: [7]", "vary: [vp]", "study.yaml:5: population.vary[0] = vp: unknown population"),
    ],
)
def test_a_fault_is_told_at_its_line_before_anything_runs(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    assert old in STUDY
    result = CliRunner().invoke(
        app, ["study", str(written(tmp_path, STUDY.replace(old, new))), "--out", "out"]
    )
    assert result.exit_code == 2
    assert message in result.stderr and not Path("out").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "core: pv-stream",
            "core: pv-steam",
            r"study.yaml:3: single_cell.core = pv-steam: .*did you mean 'pv-stream'",
        ),
        ("core: pv-stream", "core: integrate-and-fire", "belongs to no family"),
        ("steps: [0.3 nA]", "steps: [0.3]", r"study.yaml:4: single_cell.steps\[0\] = 0.3: has no unit"),
        (
            "steps: [0.3 nA]",
            "step: [0.3 nA]",
            "study.yaml:4: single_cell.step: unknown key. did you mean `steps`",
        ),
        ("x: PC1", "x: PC99", r"study.yaml:5: single_cell.grid.x = PC99: no axis"),
        ("x: PC1", "x: I_thr", "I_thr is a feature, but this core is conditioned on parameters"),
        (
            "AP1_peak",
            "AP2_peak",
            r"study.yaml:7: single_cell.features\[1\] = AP2_peak.*did you mean `AP1_peak`",
        ),
        ("members: 3", "samples: {size: 5}", "has both `grid` and `samples`"),
        ("name: map", "name: map\npopulation: {network: x}", "is of two kinds"),
    ],
)
def test_a_fault_of_a_map_is_told_at_its_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    file = written(tmp_path, MAP.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        run_study(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_shipped_studies_are_found_apart_from_networks_and_planned() -> None:
    found = shipped()
    assert {"single-cell", "population"} <= set(found["studies"])
    assert not set(found["studies"]) & set(found["networks"])
    for name in found["studies"]:
        load_study(find_study(name))
    assert len(plan(load_study(find_study("population")), Path("unused"))) == 30
    with pytest.raises(NobleNetError, match="did you mean 'population'"):
        find_study("populations")
    with pytest.raises(NobleNetError, match="there is no network"):
        find_network("single-cell")


# --- overrides --------------------------------------------------------------------------------------------


def test_paths_go_through_names_with_dots_and_items_by_name() -> None:
    data = as_data(network_spec())
    changed = replace(data, "projections.e-i.weight", "3 nS")
    assert changed["projections"][0]["weight"] == "3 nS" and data["projections"][0]["weight"] != "3 nS"
    dotted = network_data()
    dotted["projections"][1]["name"] = "i.e"
    assert replace(dotted, "projections.i.e.weight", "-1 pA")["projections"][1]["weight"] == "-1 pA"
    assert replace(data, "stimuli.1.poisson.rate", "5 Hz")["stimuli"][1]["poisson"]["rate"] == "5 Hz"
    assert replace(data, "noise_seed", 4)["noise_seed"] == 4
    with pytest.raises(ValueError, match="did you mean `e-i`"):
        replace(data, "projections.ei.weight", "3 nS")
    with pytest.raises(ValueError, match="stop before it"):
        replace(data, "duration.unit.name", "3 nS")


# --- the common input -------------------------------------------------------------------------------------


def stimulus(shared: bool, size: int = 30, **parameters: Any) -> tuple[Any, OrnsteinUhlenbeck]:
    ou = {"mean": "0.3 nA", "sigma": "0.1 nA", "tau": "5 ms", "shared": shared, **parameters}
    populations = {"exc": {"size": 90}, "inh": {"size": size}}
    spec = network_spec(
        populations=populations,
        stimuli=[{"to": "inh", "name": "common", "ornstein_uhlenbeck": ou}],
        warmup="7 ms",
    )
    made = make_stimulus(spec.stimuli[0], spec)
    assert isinstance(made, OrnsteinUhlenbeck)
    return spec, made


def test_shared_noise_is_one_for_all_cells_and_comes_back_from_seed_and_name() -> None:
    spec, made = stimulus(shared=True)
    values = made.values(0, 2070)
    assert np.array_equal(values, np.broadcast_to(values[0], values.shape))
    signal = shared_signal(spec, "common")
    assert len(signal) == 2000 and np.abs(values[5, 70:] - 0.3 - signal).max() < 1e-6
    assert np.array_equal(values[:1], stimulus(shared=True, size=10)[1].values(0, 2070)[:1])
    assert np.array_equal(made.values(33, 5), values[:, 33:38])
    own = stimulus(shared=False)[1].values(0, 500)
    assert len(np.unique(own[:, 100])) == 30
    with pytest.raises(ValueError, match="no shared stimulus 'common'"):
        shared_signal(stimulus(shared=False)[0], "common")


def test_shared_noise_keeps_each_cells_mean_and_the_floor_of_conductances() -> None:
    mean = {"uniform": {"low": "0 nS", "high": "2 nS"}}
    _, made = stimulus(shared=True, mean=mean, sigma="1 nS", reversal="0 mV")
    values = made.values(0, 300)
    assert values.min() == 0.0 and len(np.unique(values.max(axis=1))) == 30
    above = (values > 0).all(axis=0)
    differences = np.diff(values[:, above], axis=0)
    assert np.abs(differences - differences[:, :1]).max() < 1e-5


def test_networks_read_back_with_the_key() -> None:
    from noble_net.config import network_from

    spec, _ = stimulus(shared=True)
    assert network_from(as_data(spec)) == spec


# --- measures ---------------------------------------------------------------------------------------------


def test_information_of_a_gaussian_channel_is_shannons() -> None:
    """White signal and noise of equal power: log₂(1 + 1) = 1 bit a hertz, up to 150 Hz."""
    generator = np.random.default_rng(1)
    signal, noise = generator.standard_normal((2, 120_000))
    found = information_rate(signal, signal + noise)
    assert found.rate == pytest.approx(150.0, rel=0.03) and found.segments > 800
    weaker = information_rate(signal, signal + 3.0 * noise)
    assert weaker.rate == pytest.approx(150.0 * np.log2(1 + 1 / 9), rel=0.08)


def test_information_of_unrelated_signals_is_zero_on_average_however_short() -> None:
    generator = np.random.default_rng(2)
    rates = [information_rate(*generator.standard_normal((2, 3000))) for _ in range(60)]
    assert np.mean([each.rate for each in rates]) == pytest.approx(0.0, abs=1.0)
    assert rates[0].bias > 5.0
    assert np.isnan(information_rate(np.zeros(5000), np.ones(5000)).rate)
    assert np.isnan(information_rate(*generator.standard_normal((2, 300))).rate)
    with pytest.raises(ValueError, match="samples"):
        information_rate(np.zeros(10), np.zeros(11))


def test_synchrony_is_one_for_identical_and_small_for_independent_trains() -> None:
    generator = np.random.default_rng(3)
    train = np.sort(generator.uniform(0, 20_000, 600))
    assert synchrony([train] * 8, 20_000) == pytest.approx(1.0)
    independent = [np.sort(generator.uniform(0, 20_000, 600)) for _ in range(64)]
    assert synchrony(independent, 20_000) == pytest.approx(1 / 8, rel=0.15)
    assert synchrony([train, train, np.empty(0)], 20_000) == pytest.approx(1.0)
    assert np.isnan(synchrony([train, np.empty(0)], 20_000)) and np.isnan(synchrony([train, train], 4.0))


# --- planes -----------------------------------------------------------------------------------------------


def test_a_plane_of_parameters_goes_through_the_medoid() -> None:
    family = load_family("allen-pv-peri")
    plane = Plane.through(family, ("gbar_NaV.soma", "PC2"))
    origin = plane.cells(np.zeros(1), np.zeros(1))
    assert np.array_equal(origin.code[0], family.codes([medoid(family, family.ids())])[0])
    moved = plane.cells(np.array([0.5]), np.array([0.0]))
    changed = np.flatnonzero(moved.code[0] != origin.code[0])
    assert [family.parameter_names[i] for i in changed] == ["gbar_NaV.soma"]
    assert moved.code[0, changed[0]] - origin.code[0, changed[0]] == pytest.approx(0.5)
    assert plane.contains(np.array([0.0, 9.0]), np.zeros(2)).tolist() == [True, False]
    (x0, x1), _ = plane.extent()
    assert x0 < 0 < x1 and plane.coordinates(family.ids())[:, 0].max() == pytest.approx(x1)


def test_a_plane_of_features_holds_cells_known_by_these() -> None:
    family = toy_family()
    family.table["s_thr"] = [100.0, 200.0] * 6
    plane = Plane.through(family, ("I_thr", "s_thr"), features=("I_thr", "s_thr"))
    cells = plane.cells(np.array([0.2, 0.9]), np.array([150.0, 150.0]))
    assert cells.features["I_thr"].tolist() == [0.2, 0.9] and not cells.parameters
    assert plane.contains(np.array([0.2, 0.9]), np.array([150.0, 150.0])).tolist() == [True, False]
    for names in (("I_thr", "gNa"), ("I_thr", "I_thr")):
        with pytest.raises(FamilyError):
            Plane.through(family, names, features=("I_thr", "s_thr"))


# --- whole studies ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    run_study(written(folder), folder / "out", jobs=1)
    return folder


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The folders of the runs that are simulated."""
    run: list[str] = []
    simulate = population.simulate_one
    monkeypatch.setattr(population, "simulate_one", lambda task: run.append(Path(simulate(task)).name))
    yield run


def test_a_population_study_fills_a_table_and_a_report(finished: Path) -> None:
    table = pd.read_csv(finished / "out/study.csv")
    assert list(table) == ["condition", "spread", "seed", "population", *MEASURES]
    assert table["condition"].tolist() == ["weak", "weak", "strong", "strong"]
    assert table["spread"].tolist() == [0, 1, 0, 1] and (table["rate_hz"] > 0).any()
    page = (finished / "out/report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4 and "pv: against heterogeneity" in page and "signal: common" in page


def test_spread_0_makes_every_cell_the_medoid_and_keeps_edges(finished: Path) -> None:
    family = load_family("allen-pv-peri")
    centre = family.cells([medoid(family, family.ids())])
    same, spread = (load_results(finished / f"out/runs/weak-spread-{k}-seed-7") for k in (0, 1))
    for name, value in centre.parameters.items():
        assert same.nodes("pv")[name].to_numpy() == pytest.approx(np.full(6, value[0]), rel=1e-5)
        assert len(np.unique(spread.nodes("pv")[name])) == 6
    assert same.summary["synapses"] == spread.summary["synapses"]


def test_only_what_is_missing_runs_again(finished: Path, counted: list[str]) -> None:
    before = (finished / "out/study.csv").read_text()
    run_study(finished / "study.yaml", finished / "out", jobs=1)
    assert counted == []
    (finished / "out/runs/strong-spread-0-seed-7/summary.json").unlink()
    told: list[tuple[float, float]] = []
    run_study(finished / "study.yaml", finished / "out", jobs=1, progress=lambda *done: told.append(done))
    assert counted == ["strong-spread-0-seed-7"] and told == [(3, 4), (4, 4)]
    assert (finished / "out/study.csv").read_text() == before


def test_runs_of_another_network_are_not_taken_for_ones_own(finished: Path, counted: list[str]) -> None:
    other = finished / "other.yaml"
    other.write_text(
        STUDY.replace("duration: 50 ms", "duration: 40 ms").replace("signal: common", "vary: [pv]")
    )
    with pytest.raises(OutputError, match="another network"):
        run_study(other, finished / "out", jobs=1)
    assert counted == []
    (finished / "foreign").mkdir(exist_ok=True)
    (finished / "foreign/notes.txt").write_text("")
    with pytest.raises(OutputError, match=r"something else \(notes.txt\)"):
        run_study(other, finished / "foreign", jobs=1)


def test_a_map_has_its_cells_and_members(tmp_path: Path) -> None:
    page = run_study(written(tmp_path, MAP), tmp_path / "out", jobs=1)
    table = pd.read_csv(tmp_path / "out/study.csv")
    assert table["kind"].tolist() == ["grid"] * 4 + ["member"] * 3
    assert list(table)[3:] == ["y", "inside", "amplitude_nA", "rate_hz", "AP1_peak"]
    assert table["x"].nunique() == 5 and (table["rate_hz"] > 0).any()
    assert page.read_text(encoding="utf-8").count("<svg") == 3


def test_samples_are_scattered_over_the_features(tmp_path: Path) -> None:
    study = study_from(
        {
            "name": "cloud",
            "single_cell": {
                "steps": ["0.3 nA"],
                "samples": {"from": "hull", "size": 4},
                "members": 2,
                "features": ["rate_hz"],
            },
        }
    )
    run_study(study, tmp_path / "out", jobs=1)
    table = pd.read_csv(tmp_path / "out/study.csv")
    assert table["kind"].tolist() == ["sample"] * 4 + ["member"] * 2 and table["x"].between(0.05, 0.4).all()


def test_a_network_without_a_family_has_no_spread(tmp_path: Path) -> None:
    lif = "name: lif\nduration: 10 ms\ncore: integrate-and-fire\npopulations:\n  lif: {size: 4}\n"
    (tmp_path / "lif.yaml").write_text(lif)
    (tmp_path / "study.yaml").write_text("name: none\npopulation:\n  network: lif.yaml\n")
    with pytest.raises(
        ConfigError, match=r"study.yaml:3: .*no population of network lif draws cells from a family"
    ):
        run_study(tmp_path / "study.yaml", tmp_path / "out")
