"""The windowed core: its contract, networks on it, its training at toy size, and what is refused."""

# ruff: noqa: E402 (imports after the check that torch is there)
from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numba
import numpy as np
import pytest
from helpers import toy_family
from test_streaming import cut, drive

torch = pytest.importorskip("torch")
pytest.importorskip("neuralop")

from noble_net import load_family, network_from, registry, simulate
from noble_net.cache import cache_folder
from noble_net.cells.family import Family
from noble_net.commands.making import core_recipe
from noble_net.errors import CheckpointError, ConfigError, FamilyError, MissingExtraError
from noble_net.registry import load_core
from noble_net.rehearsal import expect
from noble_net.specs.cores import CoreRecipe
from noble_net.specs.specification import validate_document
from noble_net.specs.windowed import WindowedModelSpec, WindowedRecipe
from noble_net.specs.yaml_source import Document
from noble_net.surrogate import windowed
from noble_net.surrogate.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from noble_net.surrogate.envelope import Envelope, ZoneEnvelope
from noble_net.surrogate.fno import weights_of
from noble_net.surrogate.opening import open_core
from noble_net.surrogate.streaming import StreamingCore
from noble_net.surrogate.windowed import ROWS, WindowedCore, told_names
from noble_net.surrogate.windowed_torch import WindowedNet
from noble_net.training import evaluate
from noble_net.training.dataset import dataset_file, dataset_path, regimes
from noble_net.training.evaluate import evaluate_both, write_accuracy
from noble_net.training.streams import TrainingData
from noble_net.training.train import train_core
from noble_net.training.windowed_train import WindowedTrainer, Windows, answered
from noble_net.types import CellTable, Drive, Nmda

RECIPES = Path(__file__).parent.parent / "surrogate/recipes"
MODEL = WindowedModelSpec.model_validate(
    {"history": 3.0, "window": 1.0, "code": True, "layers": 2, "channels": 8, "modes": 16}
)
CODE = ("gNa", "gK")
W = MODEL.window_samples


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Such small nets train fastest on one thread; with so little history, cells rest early."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windowed, "SETTLE", 10.0)
        yield
    torch.set_num_threads(before)


def about_of(**changes: Any) -> dict[str, Any]:
    told = {"I_thr": [0.1, 0.3], "s_thr": [200.0, 500.0], "gNa": [-2.0, 2.0], "gK": [-2.0, 2.0]}
    about = {
        "name": "random", "kind": "windowed", "version": 1, "family": "none", "family_hash": "", "code": list(CODE),
        "zones": ["soma"], "step_samples": W, "told": told, "model": MODEL.model_dump(mode="json"),
        "weights_sha256": "",
    }  # fmt: skip
    return {**about, **changes}


def net_of(told: int, model: WindowedModelSpec = MODEL, seed: int = 1) -> WindowedNet:
    """A random net; by this seed one whose cells come to rest between the bounds, each at its own voltage."""
    torch.manual_seed(seed)
    return WindowedNet(told, model)


@pytest.fixture(scope="module")
def core() -> WindowedCore:
    return WindowedCore(Checkpoint(about_of(), weights_of(net_of(4)), ""))


def cells(n: int) -> CellTable:
    g = np.random.default_rng(1)
    features = {
        "I_thr": g.uniform(0.1, 0.3, n),
        "s_thr": g.uniform(200, 500, n),
        "unread": np.full(n, np.nan),
    }
    return CellTable(n, g.standard_normal((n, len(CODE))).astype(np.float32), features=features)


# --- the contract -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 7, ROWS, 11])
def test_batches_do_not_matter(core, batch):
    n = 2 * ROWS + 3
    table, d = cells(n), drive(n, 3 * W)
    whole, _ = core.advance(core.begin(table), d)
    assert np.ptp(whole.voltage, axis=1).min() > 0.1 and -149 < whole.voltage.min() < whole.voltage.max() < 79
    for first in range(0, n, batch):
        part = slice(first, min(first + batch, n))
        response, _ = core.advance(core.begin(table.take(part)), cut(d, part, slice(None)))
        assert np.array_equal(response.voltage, whole.voltage[part])


@pytest.mark.parametrize("block", [W, 2 * W])
def test_blocks_do_not_matter(core, block):
    table, d = cells(5), drive(5, 6 * W)
    whole, last = core.advance(core.begin(table), d)
    state, parts = core.begin(table), []
    for start in range(0, 6 * W, block):
        response, state = core.advance(state, cut(d, slice(None), slice(start, start + block)))
        parts.append(response.voltage)
    assert np.array_equal(np.concatenate(parts, axis=1), whole.voltage)
    assert all(np.array_equal(a, last.arrays[name]) for name, a in state.arrays.items())


@pytest.mark.parametrize("own", [1, 2])
def test_threads_do_not_matter(core, own):
    table, d = cells(3 * ROWS), drive(3 * ROWS, 2 * W)
    many, _ = core.advance(core.begin(table), d)
    before, of_torch = numba.get_num_threads(), torch.get_num_threads()
    try:
        numba.set_num_threads(1)
        torch.set_num_threads(own)
        one, _ = core.advance(core.begin(table), d)
        assert torch.get_num_threads() == own  # as it was
    finally:
        numba.set_num_threads(before)
        torch.set_num_threads(of_torch)
    assert np.array_equal(one.voltage, many.voltage)


def test_causal_from_window_to_window(core):
    table, d = cells(4), drive(4, 4 * W)
    changed = replace(d, current=d.current.copy())
    changed.current[:, :, 2 * W :] += 1.0
    a, _ = core.advance(core.begin(table), d)
    b, _ = core.advance(core.begin(table), changed)
    assert np.array_equal(a.voltage[:, : 2 * W], b.voltage[:, : 2 * W])
    assert not np.array_equal(a.voltage[:, 2 * W : 3 * W], b.voltage[:, 2 * W : 3 * W])


def test_bounded_and_flagged_for_any_finite_input(core):
    d = drive(4, 4 * W)
    d.current[:] *= 1e6
    d.conductance[:] *= 1e6
    response, state = core.advance(core.begin(cells(4)), d)
    assert np.isfinite(response.voltage).all() and (response.outside > 0).all()
    assert (response.outside <= d.samples).all()
    assert response.voltage.min() >= -150 and response.voltage.max() <= 80
    calm, _ = core.advance(state, Drive.zeros(("soma",), 4, 6 * W))
    assert np.isfinite(calm.voltage).all() and all(np.isfinite(a).all() for a in (calm.voltage,))


def test_only_samples_beyond_the_envelope_count():
    zone = ZoneEnvelope((-0.2, 0.2), 10.0, 0.0)
    about = about_of(envelope=Envelope({"soma": zone}, (-150.0, 80.0)).to_json())
    core = WindowedCore(Checkpoint(about, weights_of(net_of(4)), ""))
    d = Drive.zeros(("soma",), 3, 3 * W)
    d.current[0, 1, 4:16] = 0.25
    d.conductance[0, 2, -7:] = 11.0
    quiet, _ = core.advance(core.begin(cells(3)), Drive.zeros(("soma",), 3, 3 * W))
    d.reversal_current[0, 2, -7:] = 11.0 * quiet.voltage[2, -W - 1]  # no current
    response, _ = core.advance(core.begin(cells(3)), d)
    assert response.outside.tolist() == [0, 12, 7]


def test_state_is_plain_arrays_and_can_be_kept(core):
    table, d = cells(4), drive(4, 2 * W)
    state = core.begin(table)
    assert all(type(a) is np.ndarray and len(a) == 4 for a in state.arrays.values())
    kept = state.copy()
    first, _ = core.advance(state, d)
    again, _ = core.advance(kept, d)
    assert np.array_equal(first.voltage, again.voltage)


def test_every_number_told_of_a_cell_is_heard(core):
    table, d = cells(1), drive(1, 2 * W)
    answers = [core.advance(core.begin(table), d)[0].voltage]
    for name in ("I_thr", "s_thr"):
        other = replace(table, features={**table.features, name: table.features[name] * 1.1})
        answers.append(core.advance(core.begin(other), d)[0].voltage)
    for column in range(len(CODE)):
        code = table.code.copy()
        code[:, column] += 0.3
        answers.append(core.advance(core.begin(replace(table, code=code)), d)[0].voltage)
    assert len({answer.tobytes() for answer in answers}) == 5


def test_nmda_acts_as_the_conductance_that_magnesium_lets_through(core):
    table, d = cells(3), drive(3, W)
    half = np.array([-20.5, -34.5, -np.inf], np.float32)
    slow = np.abs(drive(3, W).conductance) + 1.0
    state = core.begin(table)
    share = 1.0 / (1.0 + np.exp(-0.062 * (state.voltage - half)))[:, None]
    plain = replace(d, conductance=d.conductance + (share * slow).astype(np.float32))
    expected, _ = core.advance(state.copy(), plain)
    blocked = replace(d, nmda=Nmda(slow, np.zeros_like(slow), half))
    found, _ = core.advance(state.copy(), blocked)
    unheard, _ = core.advance(state, d)
    np.testing.assert_allclose(found.voltage, expected.voltage, atol=1e-2)
    assert np.abs(found.voltage - unheard.voltage).max() > 0.1


# --- training and running are one network -------------------------------------------------------------------


def noise_data(family: Family, samples: int = 600) -> TrainingData:
    g = np.random.default_rng(0)
    ids = family.ids("train")
    n = len(ids)
    return TrainingData(
        g.normal(0, 0.1, (n, samples)).astype(np.float32),
        np.abs(g.normal(0, 2, (n, 1, samples))).astype(np.float32),
        g.normal(0, 50, (n, 1, samples)).astype(np.float32),
        None,
        None,
        g.normal(-8000, 300, (n, samples + 1)).astype(np.int16),
        family.codes(ids),
        family.hash,
    )


def test_teacher_forcing_on_its_own_answers_gives_them_again(core):
    """What the core keeps as history is what training shows it as history."""
    n, h = 3, MODEL.history_samples
    table, d = cells(n), drive(n, h + W)
    state = core.begin(table)
    before = state.voltage[:, None].copy()
    told = torch.from_numpy(state.arrays["told"].copy())
    response, _ = core.advance(state, d)
    volts = np.concatenate([before, response.voltage], axis=1)
    windows = Windows(
        torch.from_numpy(np.stack([d.current[0], d.conductance[0], d.reversal_current[0]], axis=1)),
        torch.from_numpy(volts[:, : h + 1]),
        torch.from_numpy(volts[:, h + 1 :]),
    )
    with torch.no_grad():
        found = answered(core.net, windows, told)
    np.testing.assert_allclose(found.numpy(), response.voltage[:, h:], atol=1e-2)


def test_windows_hold_what_they_say():
    data = noise_data(toy_family())
    h = MODEL.history_samples
    windows = Windows.of(data, MODEL, np.array([1, 4]), np.array([h, 200]))
    assert windows.drive.shape == (2, 3, h + W)
    assert windows.before.shape == (2, h + 1) and windows.after.shape == (2, W)
    assert float(windows.drive[1, 0, h]) == data.current[4, 200]  # the window's first input
    assert float(windows.before[1, -1]) == pytest.approx(0.01 * data.voltage[4, 200], rel=1e-5)  # before it
    assert float(windows.after[1, 0]) == pytest.approx(0.01 * data.voltage[4, 201], rel=1e-5)  # at its end


RECIPE: dict[str, Any] = {
    "kind": "windowed",
    "name": "toy-window",
    "family": "toy",
    "dataset": {"seed": 1, "duration": "60 ms", "test": {"members": 1, "duration": "400 ms"}},
    "model": {"history": "10 ms", "window": "5 ms", "layers": 2, "channels": 8, "modes": 16, "code": True},
    "training": {"iterations": 6, "batch": 4},
}


def recipe_of(**changes: Any) -> WindowedRecipe:
    return validate_document(WindowedRecipe, Document({**RECIPE, **changes}))


@pytest.fixture
def family(tmp_path) -> Family:
    """The shipped family's first five members: four to train on, one held out."""
    from noble_net.cells.family import read_family

    shipped = load_family("allen-pv-peri")
    csv = tmp_path / "toy.csv"
    shipped.table.iloc[:5].to_csv(csv)
    csv.with_suffix(".json").write_text(json.dumps(dict(shipped.about)))
    return read_family(csv)


@pytest.fixture
def dataset(family, tmp_path, monkeypatch) -> Path:
    """A dataset of noise for the toy recipe, under the name of another one."""
    monkeypatch.setenv("NOBLE_NET_CACHE", str(tmp_path / "cache"))
    recipe = recipe_of()
    path = dataset_file("another", recipe.dataset, family)
    path.parent.mkdir(parents=True)
    g = np.random.default_rng(0)
    seen, unseen = family.ids("train"), family.ids("held_out")
    groups = {"train": (seen, 600)}
    groups |= {f"test/{name}": ([seen[0], unseen[0]], 4000) for name in regimes(recipe.dataset)}
    with h5py.File(path, "w") as file:
        file.attrs["provenance"] = json.dumps({"family_hash": family.hash, "recipe": recipe.model_dump()})
        for name, (ids, samples) in groups.items():
            group, shape = file.create_group(name), (len(ids), samples)
            group["ids"] = ids
            group["current"] = g.normal(0, 0.1, shape).astype(np.float32)
            group["conductance"] = np.abs(g.normal(0, 2, shape)).astype(np.float32)
            group["reversal_current"] = g.normal(0, 50, shape).astype(np.float32)
            group["voltage"] = g.normal(-8000, 300, (len(ids), samples + 1)).astype(np.int16)
    return path


def test_equal_datasets_are_one_file(family, dataset):
    assert dataset_path(recipe_of(), family) == dataset
    other = recipe_of(dataset={**RECIPE["dataset"], "seed": 2})
    assert dataset_path(other, family).name.startswith("toy-window-")
    window, _ = core_recipe(RECIPES / "pv-window.yaml")
    stream, _ = core_recipe(RECIPES / "pv-stream.yaml")
    assert isinstance(window, WindowedRecipe) and isinstance(stream, CoreRecipe)
    assert window.dataset == stream.dataset and window.family == stream.family


def test_training_resumes_where_it_was_cut_and_ends_in_a_card(family, dataset, tmp_path):
    recipe = recipe_of()
    data = TrainingData.read(dataset, family)
    whole, first = (WindowedTrainer(recipe, family, data) for _ in range(2))
    for _ in range(6):
        assert np.isfinite(whole.step())
    for _ in range(4):
        first.step()
    first.save()
    folder = train_core(recipe, family, tmp_path)
    found = load_checkpoint(folder)
    assert found.about["training"]["finished"] and found.about["training"]["iterations"] == 6
    expected = whole.weights()
    assert expected.keys() == found.weights.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found.weights[name], values, atol=1e-6)

    core = open_core(folder)
    assert isinstance(core, WindowedCore) and core.step_samples == 50
    assert core.envelope.zones["soma"].conductance == pytest.approx(data.conductance.max(), rel=1e-3)
    measured = evaluated_in_two(recipe, family, folder)
    card = write_accuracy(measured, folder, family, "A note.").read_text()
    assert "A windowed core" in card and "| ou_current | seen |" in card and "A note." in card
    assert "10.0 ms of history and a\nwindow of 5.0 ms" in card and "bfloat16" not in card
    assert "I_thr, s_thr and the code of\n13 numbers" in card


def evaluated_in_two(recipe: WindowedRecipe, family: Family, folder: Path) -> dict[str, Any]:
    """Its measures, interrupted after the second regime: the others alone are run then."""

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_both(recipe, family, folder, stop)
    ran = []
    with pytest.MonkeyPatch.context() as patch:
        free_run = evaluate.free_run
        patch.setattr(evaluate, "free_run", lambda *given: ran.append(given) or free_run(*given))
        measured = evaluate_both(recipe, family, folder)
    assert len(ran) == len(regimes(recipe.dataset)) - 2
    assert json.dumps(measured) == json.dumps(evaluate_both(recipe, family, folder))
    assert not list(cache_folder("evaluations").iterdir()), "what was kept is done with"
    return measured


def test_training_stops_at_a_deadline_and_goes_on(family, dataset, tmp_path):
    about = tmp_path / "toy-window/core.json"
    for deadline, finished in ((0.0, False), (None, True)):
        train_core(recipe_of(), family, tmp_path, deadline=deadline)
        assert json.loads(about.read_text())["training"]["finished"] is finished


def test_training_lowers_the_error():
    family = toy_family()
    data = noise_data(family)
    smooth = np.cumsum(np.random.default_rng(1).normal(0, 5, data.voltage.shape), axis=1) - 8000
    data = data._replace(voltage=smooth.astype(np.int16))
    training = {"iterations": 40, "batch": 16, "warmup": 5, "voltage_noise": "0 mV"}
    trainer = WindowedTrainer(recipe_of(training=training), family, data)
    losses = [trainer.step() for _ in range(40)]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])


# --- networks ---------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A core with random weights for the shipped PV family, in a folder."""
    family = load_family("allen-pv-peri")
    names = told_names(MODEL, family.parameter_names)
    table = family.cells(family.ids())
    told = {name: [-3.0, 3.0] for name in names}
    told |= {name: [table.features[name].min(), table.features[name].max()] for name in MODEL.features}
    about = about_of(
        told=told, code=list(family.parameter_names), family=family.name, family_hash=family.hash
    )
    folder = tmp_path / "pv-random"
    save_checkpoint(folder, about, weights_of(net_of(len(names))))
    return folder


def network(core: Path, **changes: Any) -> dict[str, Any]:
    data = {
        "name": "windowed",
        "duration": "12 ms",
        "warmup": "0 ms",
        "core": str(core),
        "populations": {
            "pv": {"family": "allen-pv-peri", "size": 10, "sample": {"from": "members"}},
            "drawn": {"family": "allen-pv-peri", "size": 6, "sample": {"from": "gaussian"}},
        },
        "synapses": {
            "gaba": {"model": "exp2", "rise": "0.3 ms", "decay": "5 ms", "reversal": "-80 mV"},
            "nmda": {"model": "nmda", "rise": "2 ms", "decay": "60 ms", "reversal": "0 mV"},
        },
        "projections": [
            {
                "name": "inward",
                "from": "pv",
                "to": "drawn",
                "rule": "all_to_all",
                "synapse": "gaba",
                "weight": "1 nS",
                "delay": "2 ms",
            }
        ],
        "stimuli": [
            {"to": "pv", "ornstein_uhlenbeck": {"mean": "0.3 nA", "sigma": "0.2 nA", "tau": "5 ms"}},
            {"to": "drawn", "poisson": {"rate": "2 kHz", "synapse": "nmda", "weight": "1 nS"}},
        ],
        "record": {"voltage": {"cells": "all"}},
    }
    return {**data, **changes}


@pytest.mark.filterwarnings("ignore::noble_net.errors.EnvelopeWarning")
def test_a_network_runs_on_it_the_same_for_any_batch_and_block(checkpoint, tmp_path):
    spec = network_from(network(checkpoint))
    runs = [
        simulate(spec, out=tmp_path / str(i), report=False, **settings)
        for i, settings in enumerate(({}, {"batch": 3, "block_samples": W, "threads": 1}))
    ]
    for name in ("pv", "drawn"):
        one, other = (run.voltage(name).to_numpy() for run in runs)
        assert np.array_equal(one, other) and np.ptp(one) > 0.5
    assert runs[0].summary["populations"]["pv"]["core"] == str(checkpoint)


def test_a_dry_run_rehearses_it(checkpoint):
    told = expect(network_from(network(checkpoint)), seconds=0.2)
    assert told.wall > 0 and told.memory > 0


def test_a_shipped_one_is_listed_among_the_cores(checkpoint, tmp_path, monkeypatch):
    shelf = tmp_path / "surrogate/checkpoints"
    shelf.mkdir(parents=True)
    checkpoint.rename(shelf / "pv-random")
    monkeypatch.setattr(registry, "_CHECKOUT", tmp_path)
    monkeypatch.setattr(registry, "_PACKAGE", tmp_path / "none")
    assert "pv-random" in registry.shipped()["cores"]
    assert isinstance(load_core.__wrapped__("pv-random"), WindowedCore)


# --- refusals ---------------------------------------------------------------------------------------------


def test_cells_without_what_it_embeds_are_refused(core):
    table = cells(3)
    with pytest.raises(FamilyError, match=r"core random: .*no feature 'I_thr'"):
        core.begin(replace(table, features={"s_thr": table.features["s_thr"]}))
    unknown = replace(table, features={**table.features, "s_thr": np.array([300.0, np.nan, 300.0])})
    with pytest.raises(FamilyError, match=r"s_thr of cell 1 is not a finite number"):
        core.begin(unknown)
    with pytest.raises(CheckpointError, match="codes of 2 numbers"):
        core.begin(replace(table, code=table.code[:, :1]))
    with pytest.raises(ValueError, match="takes zones"):
        core.advance(core.begin(table), drive(3, W + 1))


def test_bfloat16_and_short_delays_are_refused(checkpoint):
    from noble_net.network.check import check_network
    from noble_net.simulation import load_parts

    with pytest.raises(ConfigError, match=r"is windowed and knows no bfloat16: write `precision: float32`"):
        load_parts(network_from(network(checkpoint, precision="bfloat16")))
    short = network(checkpoint)
    short["projections"][0]["delay"] = "0.5 ms"
    spec = network_from(short)
    cores, _ = load_parts(spec)
    with pytest.raises(ConfigError, match="delay"):
        check_network(spec, {name: each.info for name, each in cores.items()})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"told": {"I_thr": [0.1, 0.3]}}, "where .* are told"),
        ({"told": {**about_of()["told"], "gK": [1.0, 1.0]}}, "gK ranges over"),
        ({"told": {**about_of()["told"], "gK": [0.0, float("inf")]}}, "gK ranges over"),
        ({"told": {**about_of()["told"], "gK": 3}}, "no description of a windowed core"),
        ({"model": {}}, "are told|is not its window"),
        ({"model": {**MODEL.model_dump(mode="json"), "layers": 0}}, "no description of a windowed core"),
        ({"model": {**MODEL.model_dump(mode="json"), "extra": 1}}, "no description of a windowed core"),
        ({"model": {**MODEL.model_dump(mode="json"), "channels": 9}}, "weight .* has shape"),
        ({"model": {**MODEL.model_dump(mode="json"), "layers": 3}}, "do not fit"),
        ({"step_samples": 5}, "is not its window"),
        ({"zones": ["soma", "distal"]}, "names the zones"),
    ],
)
def test_a_checkpoint_that_makes_no_sense_is_refused(tmp_path, changes, problem):
    save_checkpoint(tmp_path, about_of(**changes), weights_of(net_of(4)))
    with pytest.raises(CheckpointError, match=problem) as caught:
        WindowedCore.load(tmp_path)
    assert str(tmp_path) in str(caught.value) and "fetch weights.safetensors" in str(caught.value)


def test_a_missing_extra_is_named(checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "noble_net.surrogate.fno", None)
    with pytest.raises(MissingExtraError, match=r"noble-net\[train\]"):
        open_core(checkpoint)


def test_other_kinds_still_open(checkpoint):
    assert isinstance(open_core(RECIPES.parent / "checkpoints/pv-stream"), StreamingCore)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"dataset": {**RECIPE["dataset"], "zones": ["soma", "proximal", "distal"]}}, "zones.*has dendrites"),
        (
            {"dataset": {**RECIPE["dataset"], "duration": "12 ms"}},
            "duration.*shorter than the model's history",
        ),
        ({"model": {**RECIPE["model"], "modes": 200}}, "modes.*more than the samples"),
        ({"model": {**RECIPE["model"], "window": "0.7 ms"}}, "window.*does not divide"),
        ({"model": {**RECIPE["model"], "features": ["I_thr", "I_thr"]}}, "features.*names a feature twice"),
        ({"model": {**RECIPE["model"], "features": [], "code": False}}, "features.*is empty"),
        ({"model": {**RECIPE["model"], "histry": "3 ms"}}, "history"),
        ({"model": {**RECIPE["model"], "window": 1}}, "ms"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(changes, problem):
    with pytest.raises(ConfigError, match=problem):
        recipe_of(**changes)


def test_a_family_must_have_the_features_and_differ_in_them():
    family = toy_family()
    for features, problem in ((["mood"], "no feature 'mood'"), (["I_thr"], "cannot tell cells apart")):
        alike = Family("toy", family.table.assign(I_thr=0.2), family.about, "x")
        recipe = recipe_of(model={**RECIPE["model"], "features": features})
        with pytest.raises(FamilyError, match=problem):
            WindowedTrainer(recipe, alike, noise_data(family))
