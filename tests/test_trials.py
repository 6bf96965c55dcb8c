"""Trials: the nets that are tried train in the product's trainer; their free runs are what training steps answer."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")

from noble_net.cells.family import Family
from noble_net.registry import load_family

MEMBERS, SAMPLES, STEPS, N = 3, 1200, 6, 5


@pytest.fixture
def recipe(benchmarks):
    import trials

    base = trials.recipe_of(4)
    small = {"chunk": 10.0, "chunks": 2, "burn_in": 5.0, "batch": 4}
    return base.model_copy(update={"training": base.training.model_copy(update=small)})


@pytest.fixture(scope="module")
def family() -> Family:
    return load_family("allen-pv-peri")


def noise(family: Family, members: list[str]):
    """Noise in the place of a dataset."""
    from noble_net.training.streams import TrainingData

    g = np.random.default_rng(0)

    def normal(spread: float, *shape: int) -> np.ndarray:
        return g.normal(0.0, spread, (len(members), *shape)).astype(np.float32)

    voltage = (-7000 + normal(300, SAMPLES + 1)).astype(np.int16)
    drive = normal(0.1, SAMPLES), np.abs(normal(2.0, 1, SAMPLES)), normal(50.0, 1, SAMPLES)
    return TrainingData(*drive, None, None, voltage, family.codes(members), family.hash)


def test_what_is_tried_is_trained_without_what_cores_have_learned_since(recipe):
    assert recipe.model.slow == () and recipe.training.own_voltage is None
    assert recipe.training.optimiser == "adamw" and recipe.training.again is None


@pytest.mark.parametrize("recurrence", ["gru", "state space"])
@pytest.mark.parametrize("output", ["increments", "membrane"])
def test_a_free_run_of_an_architecture_is_what_its_steps_answer(recipe, family, recurrence, output):
    import architectures
    import torch

    ids = family.ids("train")[:MEMBERS]
    data = noise(family, ids)
    trainer, answers = architectures.training_of(recurrence, output)(recipe, data, family)
    before = [each.clone() for each in trainer.net.parameters()]
    assert np.isfinite([trainer.step() for _ in range(3)]).all()
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.net.parameters(), strict=True))
    chunk = data.chunk(np.arange(MEMBERS), np.full(MEMBERS, 100), STEPS, N)
    answer = answers[""](chunk.drive, chunk.before[:, 0], ids)
    fed = torch.cat([chunk.before[:, :1], answer[:, :-1]], 1)
    with torch.no_grad():
        again, _ = trainer.net(chunk.drive, fed, torch.from_numpy(data.code))
    torch.testing.assert_close(again, answer, rtol=1e-4, atol=1e-3)


def test_codes_of_features_and_residuals_train_and_answer(recipe, family, monkeypatch):
    import codes

    members, unseen = family.ids("train")[:MEMBERS], family.ids("held_out")[:2]
    data = noise(family, members)
    monkeypatch.setattr(codes, "trained_on", lambda recipe, family: members)
    monkeypatch.setattr(codes, "fit", lambda net, recipe, family, mean: dict.fromkeys(unseen, mean + 1.0))
    chunk = data.chunk(np.zeros(2, int), np.full(2, 100), STEPS, N)
    two = codes.told(partial(codes.features, count=2))
    for made, fitted in ((two, False), (codes.told(Family.codes, 24), False), (codes.of_residual, True)):
        trainer, answers = made(recipe, data, family)
        assert np.isfinite([trainer.step() for _ in range(3)]).all()
        found = {told: answer(chunk.drive, chunk.before[:, 0], unseen) for told, answer in answers.items()}
        assert all(each.shape == (2, STEPS, N) for each in found.values())
        if fitted:
            assert not np.array_equal(found[""], found[", mean of others"])
