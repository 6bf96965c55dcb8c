"""Tables of spikes beside what features tell, and those of a trained core made anew."""

# ruff: noqa: E402 (imports after the check that torch is there)
from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("neuralop")

from toy_noble import RECIPE, solve, toy_family
from typer.testing import CliRunner

from noble_net.cli import app
from noble_net.errors import CheckpointError, ConfigError, FamilyError
from noble_net.specs.noble import INTERVALS, NobleRecipe
from noble_net.specs.specification import validate_document
from noble_net.specs.yaml_source import Document
from noble_net.surrogate.checkpoint import load_checkpoint
from noble_net.surrogate.noble import Noble
from noble_net.surrogate.phase import COLUMNS, FIRST, TOLD, usual_columns
from noble_net.training.noble_batches import NobleData, feature_ranges
from noble_net.training.noble_checkpoint import check_same_network
from noble_net.training.noble_data import build_noble_dataset
from noble_net.training.noble_phase import fit_phase
from noble_net.training.noble_tables import remake_tables
from noble_net.training.noble_train import Trainer, train_noble

pytestmark = pytest.mark.usefixtures("one_torch_thread", "own_cache")


@pytest.fixture
def family():
    """The toy family, with the rate at one step beside its threshold."""
    family = toy_family()
    family.table["mean_frequency"] = 6000.0 / (200.0 - family.table["resistance"])
    return family


@pytest.fixture
def recipe(family):
    recipe = validate_document(NobleRecipe, Document(RECIPE)).variant(
        "tabled",
        model={
            "features": ("I_thr", "mean_frequency"),
            "phase_octaves": 3,
            "phase_members": 4,
            "spike_decays": (1.0,),
            "feature_octaves": 0,
        },
        training={"points": 1, "epochs": 1},
    )
    build_noble_dataset(recipe, family, solve=solve)
    return recipe


def test_features_tell_columns_of_a_table():
    features = {"mean_frequency": torch.tensor([50.0, 0.0]), "inv_first_ISI": torch.tensor([100.0, 100.0])}
    usual = usual_columns(features)
    assert usual.shape == (2, COLUMNS) and usual.dtype == torch.float64
    assert torch.allclose(
        usual[0].exp(), torch.tensor([1.0, 10.0] + [20.0] * (FIRST - 1) + [1.0] * 4).double()
    )
    assert torch.isfinite(usual).all()
    assert set(TOLD) == set(INTERVALS)
    latency = usual_columns({"time_to_first_spike": torch.tensor([15.0]), "s_thr": torch.tensor([3.0])})
    assert float(latency[0, 0]) == pytest.approx(math.log(15.0)) and not latency[0, 1:].any()


def test_without_such_a_feature_none_can_be_told():
    model = {**RECIPE["model"], "told_intervals": True}
    with pytest.raises(ConfigError, match=r"told_intervals.*wants one of time_to_first_spike, inv_first_ISI"):
        validate_document(NobleRecipe, Document({**RECIPE, "model": model}))


def test_members_fire_as_their_traces_and_others_as_their_features(recipe, family):
    told = recipe.variant("told", model={"told_intervals": True})
    data = NobleData.read(recipe, family)
    plain, beside = (Trainer(each, family, data).net.embedding for each in (recipe, told))
    for each, embedding in ((recipe, plain), (told, beside)):
        fit_phase(embedding, each, data)
    spikes = [embedding.spikes(data.features, data.amplitude) for embedding in (plain, beside)]
    fired = spikes[0] < 400.0
    assert fired.any() and torch.allclose(spikes[0][fired], spikes[1][fired], atol=0.01)
    # Far from all members a kernel knows nothing; a hundred times the rate, a hundredth of the interval.
    far = data.features[:1].clone()
    far[:, beside.features.index("mean_frequency")] *= torch.tensor([100.0])
    usual = beside.usual(far) - beside.usual(data.features[:1])
    assert torch.allclose(usual[:, 1 : FIRST + 1], torch.full((1, FIRST), -math.log(100.0)).double())
    assert not plain.usual(far).any()


def test_tables_of_a_trained_core_are_made_anew(recipe, family, tmp_path):
    before = Noble.load(train_noble(recipe, family, tmp_path))
    told = recipe.variant(recipe.name, model={"told_intervals": True, "phase_members": 6})
    assert remake_tables(told, family, tmp_path) == tmp_path / recipe.name
    checkpoint = load_checkpoint(tmp_path / recipe.name)
    after = Noble(checkpoint)
    assert checkpoint.about["model"]["told_intervals"] and checkpoint.about["training"]["finished"]
    assert checkpoint.about["training"]["recipe"]["model"]["phase_members"] == 6
    data = NobleData.read(told, family)
    at_once = Trainer(told, family, data).net.embedding
    fit_phase(at_once, told, data)
    for name, values in before.net.fno.named_parameters():
        assert torch.equal(values, dict(after.net.fno.named_parameters())[name])
    far = data.features + torch.tensor([0.01, 20.0])
    for features in (data.features, far):
        found, wanted = (
            embedding.spikes(features, data.amplitude)[:, :8] for embedding in (after.net.embedding, at_once)
        )
        assert torch.allclose(found[wanted < 400.0], wanted[wanted < 400.0], rtol=1e-3)
    back = recipe.variant(recipe.name, model={"phase_members": 3})
    with pytest.raises(FamilyError, match=r"makes tables of 4 members, but its model\.phase_members is 3"):
        remake_tables(back, family, tmp_path)
    remake_tables(recipe, family, tmp_path)
    again = Noble.load(tmp_path / recipe.name).net.embedding.spikes(data.features, data.amplitude)
    assert np.allclose(
        again.numpy(), before.net.embedding.spikes(data.features, data.amplitude).numpy(), rtol=1e-4
    )


def test_other_networks_and_those_without_tables_are_refused(recipe, family, tmp_path):
    plain = recipe.variant(recipe.name, model={"phase_octaves": 0}, training={"points": 0})
    train_noble(plain, family, tmp_path)
    with pytest.raises(CheckpointError, match="has other model than recipe tabled"):
        remake_tables(recipe, family, tmp_path)
    with pytest.raises(CheckpointError, match="has no tables of spikes"):
        remake_tables(plain, family, tmp_path)
    base = load_checkpoint(tmp_path / plain.name)
    damaged = base._replace(about={**base.about, "model": {**base.about["model"], "layers": "few"}})
    with pytest.raises(CheckpointError, match=r"core\.json in .* is damaged: model: "):
        check_same_network(damaged, plain, feature_ranges(plain, family))


def test_a_network_core_has_no_tables(tmp_path):
    name = "surrogate/recipes/pv-stream.yaml"
    answer = CliRunner().invoke(app, ["train", name, "--tables", "--out", str(tmp_path)])
    assert answer.exit_code == 2 and "is for NOBLE cores" in answer.output
