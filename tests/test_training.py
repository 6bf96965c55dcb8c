"""From recipe to card at toy size: inputs, dataset (real NEURON), training, resuming, evaluation."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from noble_net.cells.family import Family, read_family
from noble_net.cells.mechanisms import compiled_library
from noble_net.cli import app
from noble_net.errors import CheckpointError, ConfigError
from noble_net.registry import load_family
from noble_net.specs.cores import CoreRecipe
from noble_net.specs.specification import validate_document
from noble_net.specs.yaml_source import Document
from noble_net.surrogate.streaming import StreamingCore
from noble_net.training import inputs
from noble_net.training.dataset import (
    VOLTAGE_UNIT,
    build_dataset,
    dataset_path,
    path_of_tests,
    plan_runs,
    regimes,
)
from noble_net.training.evaluate import evaluate_both, evaluate_core, free_run, write_accuracy
from noble_net.types import DT, Drive

RECIPE = {
    "name": "toy",
    "family": "toy",
    "dataset": {
        "seed": 1,
        "duration": "600 ms",
        "test": {"members": 1, "duration": "400 ms", "floor_members": 0},
    },
    "model": {"hidden": 16},
    "training": {
        "iterations": 6,
        "batch": 4,
        "chunk": "50 ms",
        "chunks": 3,
        "burn_in": "10 ms",
    },
}


@pytest.fixture(scope="module")
def recipe() -> CoreRecipe:
    return validate_document(CoreRecipe, Document(RECIPE))


@pytest.fixture(scope="module")
def family(tmp_path_factory) -> Family:
    """The shipped family's first five members: four to train on, one held out."""
    shipped = load_family("allen-pv-peri")
    csv = tmp_path_factory.mktemp("family") / "toy.csv"
    shipped.table.iloc[:5].to_csv(csv)
    csv.with_suffix(".json").write_text(json.dumps(dict(shipped.about)))
    return read_family(csv)


@pytest.fixture(scope="module")
def dataset(recipe, family, tmp_path_factory):
    """The toy recipe's dataset; it and the states of training go to a folder of their own."""
    pytest.importorskip("neuron")
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("cache")
    (folder / "mechanisms").symlink_to(compiled_library().parents[2])  # compiling takes a minute
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOBLE_NET_CACHE", str(folder))
        tests = build_dataset(recipe, family, jobs=2, tests_only=True)
        assert tests == path_of_tests(recipe, family) == build_dataset(recipe, family, tests_only=True)
        with h5py.File(tests) as file:
            alone = {name: values[()] for name, values in values_of(file["test"]).items()}
            assert set(file) == {"test"}
        path = build_dataset(recipe, family, jobs=2)
        assert folder in path.parents and not tests.exists() and path_of_tests(recipe, family) == path
        with h5py.File(path) as file:
            again = values_of(file["test"])
            assert alone.keys() == again.keys() and all(np.array_equal(alone[k], again[k][()]) for k in alone)
        yield path


@pytest.mark.parametrize("regime", inputs.REGIMES)
def test_test_inputs_are_reproducible_and_finite(regime):
    one, two = (inputs.test_input(regime, np.random.default_rng(3), 2000.0) for _ in range(2))
    assert one.samples == 20_000 and (one.conductance >= 0).all()
    for a, b in zip(one, two, strict=True):
        assert a.dtype == np.float32 and np.isfinite(a).all() and np.array_equal(a, b)


def test_training_input_holds_every_kind_of_drive():
    drive = inputs.training_input(np.random.default_rng(0), 30_000.0)
    low, high = inputs.CURRENT_RANGE
    assert drive.samples == 300_000 and drive.current.min() >= low and drive.current.max() <= high
    assert (drive.conductance > 0).mean() > 0.2 and (drive.conductance == 0).mean() > 0.2
    silent = (drive.current == 0) & (drive.conductance == 0)
    assert 0.01 < silent.mean() < 0.4


def test_ornstein_uhlenbeck_moments():
    x = inputs.ornstein_uhlenbeck(np.random.default_rng(0), 2_000_000, 0.2, 0.1, 5.0)
    lag = round(5.0 / DT)
    correlation = np.corrcoef(x[:-lag], x[lag:])[0, 1]
    assert x.mean() == pytest.approx(0.2, abs=0.003) and x.std() == pytest.approx(0.1, rel=0.02)
    assert correlation == pytest.approx(np.exp(-1), abs=0.02)


def test_shot_noise_has_the_peak_and_mean_of_its_synapse():
    g = np.random.default_rng(0)
    rate, weight, decay, rise = 500.0, 2.0, 4.0, 0.5
    x = inputs.shot_noise(g, 1_000_000, rate, weight, decay, rise)
    peak = rise * decay / (decay - rise) * np.log(decay / rise)
    area = weight * (decay - rise) / (np.exp(-peak / decay) - np.exp(-peak / rise))
    assert x.mean() == pytest.approx(rate / 1000.0 * area, rel=0.03)


def test_test_inputs_never_share_a_seed_with_training(recipe, family):
    runs = plan_runs(recipe, family)
    train = {run.seed for run in runs if run.part == "train"}
    assert len(train) == 4 and not train & {run.seed for run in runs if run.part != "train"}
    assert {run.member for run in runs if run.part == "train"} == set(family.ids("train"))


def values_of(group):
    """The arrays below a group, by name."""
    found = {}
    group.visititems(lambda name, item: found.update({name: item} if isinstance(item, h5py.Dataset) else {}))
    return found


def test_dataset(recipe, family, dataset):
    assert dataset == dataset_path(recipe, family)
    with h5py.File(dataset) as file:
        assert file["train/voltage"].shape == (4, 6001) and file["train/current"].shape == (4, 6000)
        rest = file["test/zero/voltage"][:] * VOLTAGE_UNIT
        assert np.abs(rest - rest[:, :1]).max() < 0.5 and -100 < rest.mean() < -90
        provenance = json.loads(file.attrs["provenance"])
    assert provenance["family_hash"] == family.hash and provenance["versions"]["neuron"]
    assert build_dataset(recipe, family) == dataset  # nothing left to do


def test_training_resumes_where_it_was_cut_and_ends_in_a_card(recipe, family, dataset, tmp_path):
    from noble_net.surrogate.checkpoint import load_checkpoint
    from noble_net.training.streams import TrainingData
    from noble_net.training.train import Trainer, train_core

    data = TrainingData.read(dataset, family)
    whole, first = Trainer(recipe, data), Trainer(recipe, data)
    for _ in range(6):
        whole.step()
    for _ in range(4):
        first.step()
    first.save()
    folder = train_core(recipe, family, tmp_path)
    core = StreamingCore.load(folder)
    expected = whole.net.state_dict()["decode_out.weight"].numpy()
    np.testing.assert_allclose(load_checkpoint(folder).weights["decode_out.weight"], expected, atol=1e-6)

    card = write_accuracy(evaluate_both(recipe, family, folder), folder, family, "A note.").read_text()
    assert "| ou_current | seen |" in card and "A note." in card and "(never trained)" in card
    assert "products in bfloat16" in card and "products in int16" in card
    soma = core.envelope.zones["soma"]
    assert f"| soma | {soma.current[0]} to {soma.current[1]} |" in card
    assert soma.conductance == pytest.approx(data.conductance.max(), rel=1e-3)

    cells = family.cells(family.ids()[:2])
    drive = Drive.zeros(core.zones, 2, 2500)
    assert free_run(core, cells, drive).shape == (2, 2501)


def test_one_command_goes_from_a_family_s_table_to_a_card(recipe, family, dataset, tmp_path):
    """Its dataset is there already, as after an interruption; training is cut short once and goes on."""
    file = tmp_path / "toy.yaml"
    training = {**RECIPE["training"], "seed": 6}
    content = {**RECIPE, "family": str(family.folder / "toy.csv"), "training": training}
    file.write_text(json.dumps(content))  # JSON is YAML
    about, card = tmp_path / "toy/core.json", tmp_path / "toy/CARD.md"
    for options, iterations in ((["--minutes", "0"], 0), (["--jobs", "1"], 6)):
        done = CliRunner().invoke(app, ["make", str(file), "--out", str(tmp_path), *options])
        assert done.exit_code == 0, done.output
        made, core, fitting, page = done.stdout.splitlines()
        assert [made, core, page] == [str(dataset), str(tmp_path / "toy"), str(card)]
        assert "fitting.json is left as it was: too few members" in fitting
        assert json.loads(about.read_text())["training"]["iterations"] == iterations
        assert "| ou_current | seen |" in card.read_text()
        card.unlink()


@pytest.fixture
def zoned(family, tmp_path):
    """A recipe with dendrites, and a dataset of noise in its layout."""
    pytest.importorskip("torch")
    content = {**RECIPE, "name": "zoned", "model": {"hidden": 16, "encoder_layers": 1, "code_units": 4}}
    zones = {"zones": ["soma", "proximal", "distal"], "nmda": True}
    recipe = validate_document(CoreRecipe, Document({**content, "dataset": {**RECIPE["dataset"], **zones}}))
    g = np.random.default_rng(0)
    path = tmp_path / "zoned.h5"
    with h5py.File(path, "w") as file:
        file.attrs["provenance"] = json.dumps({"family_hash": family.hash, "recipe": recipe.model_dump()})
        seen, unseen = family.ids("train"), family.ids("held_out")
        groups = {"train": seen} | {f"test/{name}": [seen[0], unseen[0]] for name in regimes(recipe.dataset)}
        for name, ids in groups.items():
            group, n, samples = file.create_group(name), len(ids), 6000
            group["ids"] = ids
            group["current"] = g.normal(0, 0.1, (n, samples)).astype(np.float32)
            group["conductance"] = np.abs(g.normal(0, 2, (n, 3, samples))).astype(np.float32)
            group["reversal_current"] = g.normal(0, 50, (n, 3, samples)).astype(np.float32)
            group["nmda_conductance"] = np.abs(g.normal(0, 1, (n, 2, samples))).astype(np.float32)
            group["nmda_half"] = np.full(n, -20.5, np.float32)
            group["voltage"] = g.normal(-8000, 300, (n, samples + 1)).astype(np.int16)
    return recipe, path


def test_a_core_with_dendrites_is_trained_written_and_evaluated(zoned, family, tmp_path, monkeypatch):
    from noble_net.training import evaluate
    from noble_net.training.streams import TrainingData
    from noble_net.training.train import Trainer, write_core

    recipe, path = zoned
    data = TrainingData.read(path, family)
    rows, starts, n = np.array([0, 2]), np.array([50, 100]), 5
    chunk = data.chunk(rows, starts, 8, n)
    assert chunk.drive.shape == (2, 8, 3, n) and chunk.dendrites.conductance.shape == (2, 8, 2)
    expected = data.nmda[2, 1, 100 + 3 * n : 100 + 4 * n].mean()
    assert float(chunk.dendrites.nmda[1, 3, 1]) == pytest.approx(expected, rel=1e-5)
    assert float(chunk.drive[1, 3, 1, 2]) == pytest.approx(data.conductance[2, 0, 100 + 3 * n + 2])

    monkeypatch.setenv("NOBLE_NET_CACHE", str(tmp_path))
    trainer = Trainer(recipe, data)
    losses = [trainer.step() for _ in range(4)]
    assert np.isfinite(losses).all()
    folder = write_core(trainer, family, tmp_path)
    core = StreamingCore.load(folder)
    assert core.zones == ("soma", "proximal", "distal") and core.nmda
    monkeypatch.setattr(evaluate, "path_of_tests", lambda *_: path)
    found = evaluate_core(recipe, family, core)
    card = write_accuracy(found, folder, family).read_text()
    assert "| poisson_distal | seen |" in card and "sinusoid (never trained)" in card
    assert "conductance on\nthe proximal and distal dendrite with NMDA" in card


def test_training_begins_from_another_core(recipe, family, dataset, tmp_path):
    from noble_net.surrogate.checkpoint import load_checkpoint, save_checkpoint
    from noble_net.training.streams import TrainingData
    from noble_net.training.train import Trainer, train_core

    data = TrainingData.read(dataset, family)
    folder = train_core(recipe, family, tmp_path)
    trained = load_checkpoint(folder)

    def beginning(name: str, **changed: object) -> dict[str, np.ndarray]:
        content = {**RECIPE, **changed, "training": {**RECIPE["training"], "start": name}}
        return Trainer(validate_document(CoreRecipe, Document(content)), data).weights()

    fresh, alike = Trainer(recipe, data).weights(), beginning(str(folder))
    assert all(np.array_equal(alike[key], values) for key, values in trained.weights.items())
    assert not np.array_equal(fresh["decode_out.weight"], alike["decode_out.weight"])
    other = tmp_path / "other"
    save_checkpoint(other, {**trained.about, "family": "another"}, trained.weights)
    adopted = beginning(str(other))
    for key, values in trained.weights.items():
        own = key.startswith("code_in")
        assert np.array_equal(adopted[key], fresh[key] if own else values), key
    with pytest.raises(CheckpointError, match=r"another shape .* there, .* here"):
        beginning(str(folder), model={"hidden": 24})
    with pytest.raises(CheckpointError, match="no-such-core"):
        beginning("no-such-core")


def test_training_stops_at_a_deadline_and_goes_on(recipe, family, dataset, tmp_path):
    from noble_net.training.train import train_core

    about = tmp_path / recipe.name / "core.json"
    renamed = recipe.model_copy(update={"training": recipe.training.model_copy(update={"seed": 5})})
    for deadline, finished in ((0.0, False), (None, True)):
        train_core(renamed, family, tmp_path, deadline=deadline)
        assert json.loads(about.read_text())["training"]["finished"] is finished


def test_noise_on_the_voltage_lasts_as_long_as_asked(recipe, family, dataset):
    import torch

    from noble_net.training.streams import TrainingData
    from noble_net.training.train import Trainer

    data, shape = TrainingData.read(dataset, family), torch.Size((4000, 40, 5))
    found = {}
    for lasting in (0.0, 10.0):
        training = recipe.training.model_copy(update={"noise_time": lasting})
        trainer = Trainer(recipe.model_copy(update={"training": training}), data)
        noise = trainer._noise(shape, torch.Generator().manual_seed(0)).mean(-1)
        assert float(noise.std()) == pytest.approx(
            training.voltage_noise * np.sqrt(1 / 3 + 0.3**2 / 5), rel=0.05
        )
        found[lasting] = float((noise[:, 0] * noise[:, 20]).mean() / noise.var())
    # 20 steps are 10 ms; a third of σ² is the offsets' variance
    assert found[0.0] == pytest.approx(0.0, abs=0.05)
    assert found[10.0] == pytest.approx(np.exp(-1) * (1 / 3) / (1 / 3 + 0.3**2 / 5), abs=0.06)


def test_a_burn_in_that_leaves_nothing_to_learn_from_is_refused():
    training = {**RECIPE["training"], "burn_in": "50 ms"}
    with pytest.raises(ConfigError, match=r"burn_in.*50 ms are the whole of a chunk of 50 ms. give less"):
        validate_document(CoreRecipe, Document({**RECIPE, "training": training}))


def test_a_dataset_of_another_family_is_refused(recipe, family, dataset):
    from noble_net.training.streams import TrainingData

    other = Family(family.name, family.table, family.about, "0" * 64)
    with pytest.raises(CheckpointError, match="another version"):
        TrainingData.read(dataset, other)


def test_recipes_name_unknown_keys_and_units():
    wrong = {**RECIPE, "dataset": {**RECIPE["dataset"], "duraton": "1 s"}}
    with pytest.raises(ConfigError, match="duration"):
        validate_document(CoreRecipe, Document(wrong))
    unitless = {**RECIPE, "dataset": {"seed": 1, "duration": 600}}
    with pytest.raises(ConfigError, match="ms"):
        validate_document(CoreRecipe, Document(unitless))
