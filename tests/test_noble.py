"""NOBLE as published: embedding, network, dataset, training, checkpoint and evaluation, on a toy family of
leaky integrate-and-fire cells whose responses need no solver."""

# ruff: noqa: E402 (imports after the check that torch is there)
from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("neuralop")

from toy_noble import RECIPE, solve, toy_family

from noble_net.cells.family import Family
from noble_net.errors import CheckpointError, ConfigError, FamilyError, SolverError
from noble_net.specs.noble import AmplitudeSpec, NobleModelSpec, NobleRecipe
from noble_net.specs.specification import validate_document
from noble_net.specs.yaml_source import Document, load_document
from noble_net.surrogate.checkpoint import load_checkpoint, save_checkpoint
from noble_net.surrogate.embedding import Embedding, Window
from noble_net.surrogate.fno import load_weights, parameter_count, weights_of
from noble_net.surrogate.noble import Noble
from noble_net.surrogate.noble_torch import NobleNet
from noble_net.surrogate.step_core import StepCore
from noble_net.training import noble_data
from noble_net.training.noble_batches import NobleData
from noble_net.training.noble_data import SIZES, build_noble_dataset, part_path, read_part, stored_samples
from noble_net.training.noble_evaluate import evaluate_noble, true_voltage, write_noble_accuracy
from noble_net.training.noble_losses import relative_error, sag_amplitude, sag_error
from noble_net.training.noble_plan import amplitude_range, dataset_ids, plan_traces, select_members
from noble_net.training.noble_train import Trainer, train_noble

RANGES = {"s_thr": (200.0, 500.0), "I_thr": (0.1, 0.3)}
PAPER = Window(8583, 8640, 0.06)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Datasets and states of training in a folder of their own; one thread, as little else would be bitwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOBLE_NET_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def recipe() -> NobleRecipe:
    return validate_document(NobleRecipe, Document(RECIPE))


@pytest.fixture(scope="module")
def family() -> Family:
    return toy_family()


@pytest.fixture(scope="module")
def dataset(recipe, family):
    return build_noble_dataset(recipe, family, solve=solve)


@pytest.fixture(scope="module")
def checkpoint(recipe, family, dataset, tmp_path_factory):
    return train_noble(recipe, family, tmp_path_factory.mktemp("checkpoints"))


def test_the_published_network_has_the_published_size():
    net = NobleNet(RANGES, PAPER, NobleModelSpec())
    assert net.embedding.channels == 23
    assert parameter_count(net) == 1_803_001


@pytest.mark.parametrize(("names", "channels"), [((), 19), (("I_thr",), 21), (("a", "b", "c"), 25)])
def test_features_can_be_left_out(names, channels):
    embedding = Embedding(dict.fromkeys(names, (0.0, 1.0)), PAPER)
    answer = embedding(torch.rand(2, len(names)), torch.rand(2), torch.zeros(2))
    assert embedding.channels == channels and answer.shape == (2, channels, 8640)


def test_matrix_products_are_the_library_s_convolutions():
    net = NobleNet(RANGES, Window(90, 96, 5.0), NobleModelSpec(layers=2, channels=6, modes=8, padded=96))
    inputs = (
        torch.tensor([[0.1, 200.0], [0.15, 300.0]]),
        torch.tensor([0.1, -0.05]),
        torch.tensor([15.0, 20.0]),
    )
    ours = net(*inputs)
    (gradient,) = torch.autograd.grad(ours.square().sum(), net.fno.lifting.fcs[0].bias)
    replaced = [module for module in net.modules() if type(module).__name__ == "_Pointwise"]
    assert len(replaced) > 6
    for module in replaced:
        module.__class__ = torch.nn.Conv1d
    from neuralop.layers.spectral_convolution import SpectralConv

    spectral = [module for module in net.modules() if type(module).__name__ == "_SpectralConvFloat32"]
    assert len(spectral) == 2
    for module in spectral:
        module.__class__ = SpectralConv
    theirs = net(*inputs)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        gradient, torch.autograd.grad(theirs.square().sum(), net.fno.lifting.fcs[0].bias)[0]
    )


def test_an_answer_of_zero_is_the_centre(recipe, family):
    spec = recipe.variant("shifted", model={"centre": -85.0, "scale": 30.0})
    window = Window(spec.samples, spec.model.padded, spec.sampling)
    net = NobleNet({"I_thr": (0.0, 1.0), "s_thr": (0.0, 1.0)}, window, spec.model)
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)
    volts = net(torch.zeros(1, 2), torch.zeros(1), torch.tensor([15.0]))
    assert torch.allclose(volts, torch.tensor(-0.085))


def test_the_embedding_writes_current_amplitude_and_features_as_waves():
    embedding = Embedding(RANGES, PAPER)
    assert embedding.features == ("I_thr", "s_thr")
    x = embedding(torch.tensor([[0.1, 500.0]]), torch.tensor([0.2]), torch.tensor([15.0]))[0]
    on = torch.nonzero(x[0]).flatten()
    assert on[0] == 250 and on[-1] == 6916 and x[0, 250] == pytest.approx(2.0)  # 15 to 415 ms, in 0.1 nA
    time = 2 * np.pi / 8582
    for channel, expected in {
        2: np.sin(2 * 2.0 * 100 * time),
        18: np.cos(2**8 * 2.0 * 100 * time),
        19: np.sin(0.5 * 100 * time),  # I_thr at its lowest
        22: np.cos(3.5 * 100 * time),  # s_thr at its highest
    }.items():
        assert float(x[channel, 100]) == pytest.approx(expected, abs=2e-4)


def test_zero_current_is_as_good_as_any():
    x = Embedding(RANGES, PAPER)(torch.tensor([[0.2, 300.0]]), torch.zeros(1), torch.tensor([15.0]))
    assert torch.isfinite(x).all() and not x[:, 0].any()


def test_a_range_without_extent_is_refused():
    with pytest.raises(FamilyError, match="I_thr"):
        Embedding({"I_thr": (0.1, 0.1)}, PAPER)


def test_recipes_are_checked(recipe):
    def changed(block, **keys):
        return Document({**RECIPE, block: {**RECIPE[block], **keys}})

    with pytest.raises(ConfigError, match="padded"):
        validate_document(NobleRecipe, changed("model", padded=800))
    with pytest.raises(ConfigError, match="multiple"):
        validate_document(NobleRecipe, changed("dataset", sampling="0.25 ms"))
    with pytest.raises(ConfigError, match="twice"):
        validate_document(NobleRecipe, changed("model", features=["I_thr", "I_thr"]))
    with pytest.raises(ConfigError, match="layers"):
        validate_document(NobleRecipe, changed("model", layer=3))
    assert recipe.variant("x", model={"features": ("s_thr", "I_thr")}).model == recipe.model
    again = NobleRecipe.model_validate(recipe.model_dump(mode="json"))
    assert again == recipe


def test_without_a_step_nothing_changes():
    ranges = {"voltage_base": (-96.0, -92.0), "I_thr": (0.1, 0.2)}
    window = Window(90, 96, 5.0)
    shape = {"layers": 2, "channels": 6, "modes": 8, "padded": 96, "features": ("I_thr", "voltage_base")}
    torch.manual_seed(0)
    plain = NobleNet(ranges, window, NobleModelSpec(**shape))
    still = NobleNet(ranges, window, NobleModelSpec(**shape, rest_within=0.001))
    load_weights(still, weights_of(plain))
    features = torch.tensor([[0.15, -94.25]]).expand(4, -1)
    amplitude, onset = torch.tensor([0.0, 5e-4, 0.01, -0.01]), torch.full((4,), 15.0)
    with torch.no_grad():
        answer, network = still(features, amplitude, onset), plain(features, amplitude, onset)
        alone = still.alone(features, amplitude, onset, torch.full((4,), 7))
    assert (answer[0] == answer[0, 0]).all() and float(answer[0, 0]) == pytest.approx(-0.09425)
    assert torch.equal(answer[2:], network[2:])
    share = 1.0 - np.exp(-0.25)
    assert torch.allclose(answer[1], -0.09425 + share * (network[1] + 0.09425), atol=1e-6)
    assert float(alone[0]) == pytest.approx(-0.09425)
    document = Document({**RECIPE, "model": {**RECIPE["model"], "rest_within": "1 pA"}})
    with pytest.raises(ConfigError, match=r"rest_within.*wants voltage_base among the `features`"):
        validate_document(NobleRecipe, document)


@pytest.mark.parametrize("name", ["noble-paper", "noble-small", "noble-vip"])
def test_shipped_recipes(name, request):
    path = request.config.rootpath / "surrogate/recipes" / f"{name}.yaml"
    shipped = validate_document(NobleRecipe, load_document(path))
    assert shipped.name == name
    if name == "noble-paper":
        assert shipped.samples == 8583 and stored_samples(shipped.dataset) == 9083
        net = NobleNet(RANGES, Window(8583, 8640, 0.06), shipped.model)
        assert parameter_count(net) == 1_803_001


def test_noble_vip_is_noble_small_but_for_what_the_paper_changes(request):
    small, vip = (
        validate_document(
            NobleRecipe, load_document(request.config.rootpath / f"surrogate/recipes/{name}.yaml")
        )
        for name in ("noble-small", "noble-vip")
    )
    same = {name: getattr(small.model, name) for name in ("centre", "rest_within", "told_intervals")}
    assert vip.model.amplitude_octaves == 11
    assert vip.variant("x", model={"amplitude_octaves": 9, **same}).model == small.model
    assert vip.training == small.training
    assert vip.dataset.traces < small.dataset.traces


def test_amplitudes_are_skewed_and_stay_in_range(family):
    amplitudes = amplitude_range(AmplitudeSpec(), family, family.ids("train"))
    assert amplitudes.low == -0.11 and amplitudes.high == pytest.approx(20.0 / 120.0 + 0.2)
    drawn = amplitudes.draw(np.random.default_rng(0), 20_000)
    assert drawn.min() >= amplitudes.low and drawn.max() <= amplitudes.high
    counts, edges = np.histogram(drawn, 20)
    assert edges[counts.argmax()] == pytest.approx(np.median(20.0 / np.array([120, 140, 160, 180])), abs=0.04)
    assert np.mean(drawn) > np.median(drawn)


def test_members_are_chosen_by_number_or_id(recipe, family):
    spec = recipe.dataset
    assert select_members(spec, family, 2) == ["toy-0", "toy-1"]
    assert select_members(spec, family, ("toy-3", "toy-1")) == ["toy-1", "toy-3"]
    for wrong in (9, ("toy-4",)):
        with pytest.raises(FamilyError, match="training members"):
            select_members(spec, family, wrong)
    evolved = dataclasses.replace(family, table=family.table.assign(hall_of_fame=[0, 1, 0, 1, 1]))
    assert dataset_ids(spec, evolved) == ["toy-1", "toy-3", "toy-4"]


def test_a_smaller_dataset_begins_a_larger_one(recipe, family):
    def train(traces):
        return plan_traces(recipe.dataset.model_copy(update={"traces": traces}), family)["train"]

    small, large = train(100), train(30_000)
    assert np.array_equal(small.member, large.member[:100])
    assert np.array_equal(small.amplitude, large.amplitude[:100])


def test_dataset(recipe, family, dataset):
    assert (
        dataset == build_noble_dataset(recipe, family) == [part_path(recipe, family, part) for part in SIZES]
    )
    assert all(file.exists() for file in dataset)
    ids, train = read_part(recipe, family, "train")
    plan = plan_traces(recipe.dataset, family)
    assert np.array_equal(train.member, plan["train"].member) and train.member.max() < 4
    assert train.voltage.shape == (40, stored_samples(recipe.dataset))
    parameters = {"resistance": family.table["resistance"].iloc[train.member[0]]}
    whole = noble_data.step_response(recipe.dataset, solve, parameters, train.amplitude[0])
    assert np.abs(train.voltage[0] * noble_data.VOLTAGE_UNIT - whole).max() <= 0.0051
    _, test = read_part(recipe, family, "test")
    assert sorted(set(test.member)) == [0, 1, 2, 3, 4] and ids[4] == "toy-4"
    _, low = read_part(recipe, family, "hyperpolarising")
    assert (low.amplitude < 0).all()
    with pytest.raises(CheckpointError, match="there is no dataset yet"):
        read_part(recipe, dataclasses.replace(family, hash="b" * 64), "train")


@pytest.mark.usefixtures("own_cache")
def test_parts_are_made_one_by_one(recipe, family):
    files = build_noble_dataset(recipe, family, solve=solve, parts=noble_data.TESTS)
    assert files == [part_path(recipe, family, part) for part in noble_data.TESTS]
    with pytest.raises(CheckpointError, match=r"noble-toy-train-\w+\.h5: there is no dataset yet"):
        read_part(recipe, family, "train")
    said = []
    more = recipe.variant("more", training={"seed": 4})
    build_noble_dataset(more, family, solve=solve, progress=lambda *told: said.append(told))
    assert said[0] == (24, 52) and said[-1] == (52, 52)
    assert not list(files[0].parent.glob("*.parts"))
    assert len(read_part(recipe, family, "hyperpolarising")[1].member) == 12


def test_parts_are_shared_by_recipes_that_agree_in_what_they_hang_on(recipe, family):
    def of(**changes):
        changed = recipe.variant("changed", dataset=changes)
        return {part for part in SIZES if part_path(changed, family, part) != part_path(recipe, family, part)}

    assert not of()
    for part, size in SIZES.items():
        assert of(**{size: 7}) == {part}
    assert of(seed=9) == of(settle=0.2) == set(SIZES)


def test_where_the_solver_fails_the_amplitude_is_moved(recipe):
    def fragile(parameters, current, sampling):
        if current.max() == 0.1:
            raise SolverError("NaN")
        return solve(parameters, current, sampling)

    _, amplitude = noble_data.nudged(recipe.dataset, fragile, {"resistance": 150.0}, 0.1)
    assert amplitude == pytest.approx(0.1, abs=1e-4) and amplitude != 0.1


def test_training_lowers_the_error_and_is_logged(recipe, checkpoint):
    log = [json.loads(line) for line in (checkpoint / "log.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in log] == [1, 2, 3, 4]
    assert log[-1]["train_rel_l4"] < 0.8 * log[0]["train_rel_l4"]
    about = load_checkpoint(checkpoint).about
    assert about["training"]["finished"]
    assert about["training"]["validation_rel_l2"] == min(entry["validation_rel_l2"] for entry in log)
    assert NobleRecipe.model_validate(about["training"]["recipe"]) == recipe
    low, high = about["trained_on"]["amplitude"]
    assert low == -0.11 and high == pytest.approx(20.0 / 120.0 + 0.2)
    assert about["trained_on"]["members"] == ["toy-0", "toy-1", "toy-2", "toy-3"]


def test_training_cut_into_pieces_ends_in_the_same_weights(recipe, family, dataset, checkpoint, tmp_path):
    other = recipe.variant("toy-pieces")
    trainer = Trainer(other, family, NobleData.read(other, family))
    assert not trainer.restore()
    for _ in range(7):  # into the second epoch
        trainer.step()
    trainer.save()
    halfway = load_checkpoint(train_noble(other, family, tmp_path, deadline=0.0))
    assert not halfway.about["training"]["finished"] and halfway.about["training"]["iterations"] == 7
    pieces = load_checkpoint(train_noble(other, family, tmp_path)).weights
    whole = load_checkpoint(checkpoint).weights
    assert all(np.array_equal(whole[name], pieces[name]) for name in whole)


def test_a_cosine_falls_to_a_hundredth_and_is_gone_on_with(recipe, family, dataset, tmp_path):
    changes = {"schedule": "cosine", "epochs": 2}
    whole, pieces = (recipe.variant(name, training=changes) for name in ("toy-cosine", "toy-cosine-pieces"))
    at_once = train_noble(whole, family, tmp_path)
    rates = [json.loads(line)["learning_rate"] for line in (at_once / "log.jsonl").read_text().splitlines()]
    assert 0.004 > rates[0] > 0.001 and 4e-5 < rates[1] < 8e-4
    trainer = Trainer(pieces, family, NobleData.read(pieces, family))
    for _ in range(6):
        trainer.step()
    trainer.save()
    weights = load_checkpoint(train_noble(pieces, family, tmp_path)).weights
    assert all(
        np.array_equal(weights[name], values) for name, values in load_checkpoint(at_once).weights.items()
    )


def test_training_on_fewer_members_and_traces(recipe, family, dataset):
    few = recipe.variant("few", training={"members": 2, "traces": 10})
    data = NobleData.read(few, family)
    assert len(data.train) == 9 and len(data.validation) == 1
    thresholds = set(np.round(data.features[:, 0].numpy(), 4))
    assert thresholds <= set(np.round(20.0 / np.array([120, 140], np.float32), 4))


def test_checkpoint_gives_the_trained_network_back(family, checkpoint):
    core = Noble.load(checkpoint)
    cells, amplitude = family.cells(family.ids()), np.array([-0.1, 0.0, 0.1, 0.2, 0.3])
    answer = core.respond(cells, amplitude)
    assert answer.dtype == np.float32 and answer.shape == (5, 858) and np.isfinite(answer).all()
    assert core.sampling == pytest.approx(0.6) and core.features == ("I_thr", "s_thr")
    shuffled = dataclasses.replace(cells, features=dict(reversed(cells.features.items())))
    assert np.array_equal(core.respond(shuffled, amplitude), answer)
    core.batch = 2
    np.testing.assert_allclose(core.respond(cells, amplitude), answer, atol=1e-4)
    alone = core.respond(cells.take(slice(3, 4)), amplitude[3:4])
    np.testing.assert_allclose(alone[0], answer[3], atol=1e-4)


def test_a_missing_feature_is_named(family, checkpoint):
    core, cells = Noble.load(checkpoint), family.cells(family.ids()[:1])
    lacking = dataclasses.replace(cells, features={"I_thr": cells.features["I_thr"]})
    with pytest.raises(FamilyError, match="s_thr"):
        core.respond(lacking, np.zeros(1))
    empty = dataclasses.replace(cells, features={**cells.features, "s_thr": np.array([np.nan])})
    with pytest.raises(FamilyError, match="toy-0"):
        core.respond(empty, np.zeros(1))
    with pytest.raises(ValueError, match="amplitudes"):
        core.respond(cells, np.zeros(2))


def test_damaged_checkpoints_are_refused(checkpoint, tmp_path):
    about, weights, *_ = load_checkpoint(checkpoint)
    save_checkpoint(tmp_path / "name", {**about, "model": {**about["model"], "layers": 3}}, weights)
    save_checkpoint(tmp_path / "shape", {**about, "model": {**about["model"], "modes": 16}}, weights)
    save_checkpoint(tmp_path / "features", {**about, "features": {}}, weights)
    for wrong in ("name", "shape", "features"):
        with pytest.raises(CheckpointError):
            Noble.load(tmp_path / wrong)
    for text in ('{"kind": "oracle"}', '{"kind": "noble"}', "[]"):
        (tmp_path / "name/core.json").write_text(text)
        with pytest.raises(CheckpointError):
            Noble.load(tmp_path / "name")


def test_relative_error_of_a_known_difference():
    truth = torch.full((1, 100), -0.07)
    for power in (2, 4):
        assert float(relative_error(1.02 * truth, truth, power)) == pytest.approx(0.02, rel=1e-4)


@pytest.mark.parametrize(("temperature", "within"), [(0.05, 0.1), (0.0, 1e-3)])
def test_sag_is_the_one_seen_and_its_gradient_flows(temperature, within):
    time = torch.arange(8583) * 0.06
    step = (time >= 15.0) & (time < 415.0)
    dip = 10.0 + 3.0 * torch.exp(-(time - 15.0) / 30.0) * (1.0 - torch.exp(-(time - 15.0) / 5.0))
    volts = (1e-3 * (-70.0 - torch.where(step, dip, torch.zeros(())))).repeat(2, 1).requires_grad_()
    onset = torch.full((2,), 15.0)
    wanted = float(dip[step].max() - dip[step][-667:].mean())
    sag = sag_amplitude(volts, onset, 0.06, 400.0, temperature)
    assert float(sag.detach()[0]) == pytest.approx(wanted, abs=within)
    sag_error(sag, 1.1 * sag.detach()).backward()
    gradient = volts.grad[0].abs()
    assert torch.isfinite(volts.grad).all() and gradient[step].max() > 0 and not gradient[~step].any()


def test_fine_tuning_goes_on_from_a_trained_core(recipe, family, dataset, checkpoint):
    tuned = recipe.variant(
        "toy-sag", training={"epochs": 2, "learning_rate": 5e-4}, fine_tune={"base": checkpoint.name}
    )
    folder = train_noble(tuned, family, checkpoint.parent)
    epochs = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert np.isfinite(epochs[0]["loss"]) and "train_rel_l4" not in epochs[0]
    # The best epoch is the best by what is lowered, sag and all.
    best = min(each["validation_rel_l2"] + 25.0 * each["validation_sag"] for each in epochs)
    assert load_checkpoint(folder).about["training"]["validation_loss"] == pytest.approx(best)
    other = tuned.variant("toy-other", model={"modes": 16})
    with pytest.raises(CheckpointError, match="model"):
        train_noble(other, family, checkpoint.parent)
    assert load_checkpoint(folder).about["trained_on"]["amplitude"] == [-0.11, 0.0]


def test_fine_tuning_begins_anew_where_its_core_was_trained_anew(
    recipe, family, dataset, checkpoint, tmp_path
):
    tuned = recipe.variant(
        "toy-anew", training={"epochs": 1, "learning_rate": 5e-4}, fine_tune={"base": checkpoint.name}
    )
    base = load_checkpoint(checkpoint)
    save_checkpoint(tmp_path / checkpoint.name, base.about, base.weights)
    first = load_checkpoint(train_noble(tuned, family, tmp_path)).about["training"]
    other = {name: 0.5 * values for name, values in base.weights.items()}
    save_checkpoint(tmp_path / checkpoint.name, base.about, other)
    again = load_checkpoint(train_noble(tuned, family, tmp_path, deadline=0.0))
    assert first["finished"] and not again.about["training"]["iterations"]
    assert all(np.array_equal(again.weights[name], values) for name, values in other.items())
    assert not (again.folder / "log.jsonl").exists()


class Perfect(StepCore):
    """Answers what the dataset holds."""

    name, family, sampling = "perfect", "toy", 0.6

    def __init__(self, recipe, family):
        self.family_hash = family.hash
        self.known = {}
        for part in ("test", "fi"):
            ids, traces = read_part(recipe, family, part)
            voltage = true_voltage(recipe.dataset, self, traces)
            for i, v in enumerate(voltage):
                self.known[ids[traces.member[i]], float(traces.amplitude[i])] = v

    def respond(self, cells, amplitude):
        return np.stack([self.known[c, float(a)] for c, a in zip(cells.labels, amplitude, strict=True)])


def test_a_perfect_core_has_no_error(recipe, family, dataset):
    pytest.importorskip("efel")
    result = evaluate_noble(recipe, family, Perfect(recipe, family))
    for row, traces in {"ID": 8, "OOD": 2}.items():
        table = result["table"][row]
        assert table["traces"] == traces and table["voltage_rel_l2"] == table["missed"] == table["false"] == 0
        assert all(not f["error"] and not f["left_out"] for f in table["features"].values())
        assert result["fi"][row]["largest"] == 0
    assert result["table"]["ID"]["fires"] > 0


def test_evaluation_ends_in_a_card(recipe, family, dataset, checkpoint):
    pytest.importorskip("efel")
    seen = []
    result = evaluate_noble(recipe, family, Noble.load(checkpoint), lambda *p: seen.append(p))
    assert 0 < result["table"]["ID"]["voltage_rel_l2"] < 1 and seen[-1] == (30, 30)
    card = write_noble_accuracy(result, checkpoint, family, "A note.").read_text()
    assert "| voltage | " in card and "2.18 %" in card and "A note." in card
    assert json.loads((checkpoint / "accuracy.json").read_text()) == result
    with pytest.raises(CheckpointError, match="another version"):
        stranger = dataclasses.replace(family, hash="b" * 64)
        evaluate_noble(recipe, stranger, Noble.load(checkpoint))
