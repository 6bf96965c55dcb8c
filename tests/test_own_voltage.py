"""Training on the core's own voltage: what is fed back is that of a free run, kept close to the truth."""

from __future__ import annotations

import numpy as np
import pytest

from noble_net.errors import CheckpointError, ConfigError
from noble_net.specs.cores import CoreRecipe
from noble_net.specs.specification import validate_document
from noble_net.specs.yaml_source import Document

torch = pytest.importorskip("torch")

STEPS, N, MEMBERS, SAMPLES = 12, 5, 4, 6000


SLOW = [
    {"variable": "h_Kd", "unit": 0.5, "decay": "300 ms"},
    {"variable": "cai", "rest": 1e-4, "unit": 4e-4, "decay": "30 ms"},
]


def recipe_of(zoned: bool, slow: bool = False, **training: object) -> CoreRecipe:
    zones = {"zones": ["soma", "proximal", "distal"], "nmda": True} if zoned else {}
    content = {
        "name": "toy",
        "family": "toy",
        "dataset": {"seed": 1, "duration": "600 ms", "record": ["cai", "h_Kd"] if slow else [], **zones},
        "model": {"hidden": 16, "code_units": 4, "slow": SLOW if slow else [], "direct": slow},
        "training": {
            "iterations": 6,
            "batch": 8,
            "chunk": "6 ms",
            "chunks": 3,
            "burn_in": "1 ms",
            "own_voltage": {"share": 0.5, "within": "8 mV"},
            **training,
        },
    }
    return validate_document(CoreRecipe, Document(content))


@pytest.fixture
def data():
    """Noise in the place of a dataset with dendrites."""
    from noble_net.training.streams import TrainingData

    g = np.random.default_rng(0)

    def normal(mean: float, spread: float, *shape: int) -> np.ndarray:
        return g.normal(mean, spread, shape).astype(np.float32)

    return TrainingData(
        current=normal(0.0, 0.1, MEMBERS, SAMPLES),
        conductance=np.abs(normal(0.0, 2.0, MEMBERS, 3, SAMPLES)),
        reversal_current=normal(0.0, 50.0, MEMBERS, 3, SAMPLES),
        nmda=np.abs(normal(0.0, 1.0, MEMBERS, 2, SAMPLES)),
        half=np.full(MEMBERS, -20.5, np.float32),
        voltage=g.normal(-8000, 300, (MEMBERS, SAMPLES + 1)).astype(np.int16),
        code=normal(0.0, 1.0, MEMBERS, 6),
        family_hash="",
        slow=np.float32([[0.1], [1e-4]]) * (1.0 + np.abs(normal(0.0, 2.0, MEMBERS, 2, SAMPLES + 1))),
    )


@pytest.fixture(params=["soma", "zones", "slow"])
def running(request, data):
    """A trainer with its own streams begun on a chunk: trainer, chunk, code, state."""
    from noble_net.training.train import Trainer

    if request.param == "soma":
        data = data._replace(
            conductance=data.conductance[:, :1],
            reversal_current=data.reversal_current[:, :1],
            nmda=None,
            half=None,
        )
    if request.param != "slow":
        data = data._replace(slow=None)
    trainer = Trainer(recipe_of(request.param != "soma", request.param == "slow"), data)
    if trainer.net.direct is not None:
        torch.nn.init.normal_(trainer.net.direct.weight, std=0.05)
    rows = np.arange(8) % MEMBERS
    chunk = trainer._in_unit(data.chunk(rows, 100 + 50 * np.arange(8), STEPS, N))
    trainer.own.begin(chunk)
    return trainer, chunk, torch.from_numpy(data.code[rows]), 0.1 * torch.randn(1, 8, 16)


def own(trainer, within: float):
    trainer.own._within = within
    return trainer.own


def test_far_from_nothing_it_is_the_free_run_of_the_net(running):
    trainer, chunk, code, state = running
    fed, slow = own(trainer, np.inf).run(trainer.net, chunk, code, state)
    carried = state if chunk.slow is None else torch.cat([state, chunk.slow[None, :, 0]], dim=-1)
    with torch.no_grad():
        free, last = trainer.net.roll_out(chunk.drive, chunk.before[:, 0], code, carried, chunk.dendrites)
    torch.testing.assert_close(fed[:, 0], chunk.before[:4, 0])
    torch.testing.assert_close(fed[:, 1:], free[:4, :-1], atol=2e-3, rtol=0)
    torch.testing.assert_close(trainer.own.voltage, free[:4, -1], atol=2e-3, rtol=0)
    torch.testing.assert_close(trainer.own.slow, last[0, :4, 16:], atol=1e-4, rtol=1e-3)
    assert trainer.own.brought_back == 0.0 and slow.shape == (4, STEPS, len(trainer.slow))


def test_where_nothing_is_near_enough_the_truth_is_fed(running):
    trainer, chunk, code, state = running
    fed, slow = own(trainer, -1.0).run(trainer.net, chunk, code, state)
    assert torch.equal(fed, chunk.before[:4]) and trainer.own.brought_back == 1.0
    assert chunk.slow is None or torch.equal(slow, chunk.slow[:4, :-1])


def test_what_strays_is_brought_back_alone(running):
    trainer, chunk, code, state = running
    limit = 3.0
    fed, slow = own(trainer, limit).run(trainer.net, chunk, code, state)
    with torch.no_grad():
        answer, _ = trainer.net(
            chunk.drive[:4], fed, code[:4], state[:, :4], _first(chunk.dendrites, 4), slow
        )
    answer, influx = answer[..., :N], answer[..., N:]
    strayed = (answer[..., -1] - chunk.after[:4, :, -1]).abs() > limit
    assert 0.1 < float(strayed.float().mean()) < 0.9, "the case shows nothing"
    expected = torch.where(strayed[..., None], chunk.after[:4], answer)
    torch.testing.assert_close(fed[:, 1:], expected[:, :-1], atol=2e-3, rtol=0)
    assert trainer.own.brought_back == pytest.approx(float(strayed.float().mean()))
    if chunk.slow is not None:
        after = torch.where(strayed[..., None], chunk.slow[:4, 1:], trainer.net.let_in(influx, slow))
        torch.testing.assert_close(slow[:, 1:], after[:, :-1], atol=1e-4, rtol=1e-3)


def test_what_flows_in_is_learned_and_nothing_where_nothing_does(data):
    from noble_net.training.train import Trainer

    trainer = Trainer(recipe_of(True, slow=True), data)
    chunk = trainer._in_unit(data.chunk(np.arange(2), np.full(2, 100), STEPS, N))
    decaying = [torch.full((2, 2), 2.0)]
    for _ in range(STEPS):
        decaying.append(trainer.net.left(decaying[-1]))
    chunk = chunk._replace(slow=torch.stack(decaying, dim=1))
    answer = torch.tensor([-3.0, 0.5])[:, None, None].expand(2, STEPS, 2)
    error = trainer._influx_error(answer, chunk)
    torch.testing.assert_close(error, answer.clamp(min=0.0), atol=1e-4, rtol=0)
    influx = torch.tensor([each.influx for each in trainer.slow])
    more = torch.cat([chunk.slow[:, :1], chunk.slow[:, 1:] + influx], dim=1)
    error = trainer._influx_error(torch.ones(2, STEPS, 2), chunk._replace(slow=more))
    assert float(error[:, 0].abs().max()) < 1e-4
    thrown = torch.cat([chunk.slow[:, :1], chunk.slow[:, 1:] + 1e6 * influx], dim=1)
    error = trainer._influx_error(torch.ones(2, STEPS, 2), chunk._replace(slow=thrown))
    assert not error[:, 0].any(), "one variable thrown out of its range would rule the training"


def test_what_flows_in_is_read_off_the_dataset(data):
    from noble_net.training.train import Trainer

    for_h, for_calcium = Trainer(recipe_of(True, slow=True), data).slow
    assert (for_h.variable, for_calcium.variable) == ("h_Kd", "cai")
    calcium = data.slow[:, 1, ::N] / 4e-4
    flown = calcium[:, 1:] - 0.25 - np.exp(-0.5 / 30.0) * (calcium[:, :-1] - 0.25)
    assert for_h.start == pytest.approx(data.slow[:, 0, 0].mean())
    assert for_calcium.influx == pytest.approx(np.quantile(flown, 0.999), rel=1e-5)
    falling = np.broadcast_to(np.exp(-np.arange(SAMPLES + 1) / 1000.0), data.slow.shape).astype(np.float32)
    with pytest.raises(CheckpointError, match="h_Kd only decays"):
        Trainer(recipe_of(True, slow=True), data._replace(slow=falling))


def _first(dendrites, streams: int):
    return dendrites and type(dendrites)(*(None if each is None else each[:streams] for each in dendrites))


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_training_goes_on_from_where_it_was_saved(data, optimiser, monkeypatch, tmp_path):
    from noble_net.training.train import Trainer

    monkeypatch.setenv("NOBLE_NET_CACHE", str(tmp_path))
    recipe = recipe_of(True, slow=optimiser == "muon", optimiser=optimiser)
    if not recipe.model.slow:
        data = data._replace(slow=None)
    whole, first = Trainer(recipe, data), Trainer(recipe, data)
    losses = [whole.step() for _ in range(5)]
    assert [first.step() for _ in range(2)] == losses[:2]
    first.save()
    second = Trainer(recipe, data)
    second.restore()
    assert second.iteration == 2 and torch.equal(second.own.voltage, first.own.voltage)
    np.testing.assert_allclose([second.step() for _ in range(3)], losses[2:], rtol=1e-6)
    plain = Trainer(recipe_of(True, optimiser=optimiser, own_voltage=None), data._replace(slow=None))
    assert plain.own is None and plain.path != whole.path
    assert plain.step() != losses[0], "the own voltage is not fed"


def test_what_has_ended_goes_on_again_by_a_rate_that_falls_anew(data, monkeypatch, tmp_path):
    from noble_net.training.train import Trainer

    monkeypatch.setenv("NOBLE_NET_CACHE", str(tmp_path))
    data = data._replace(slow=None)
    ended = Trainer(recipe_of(True, warmup=1, learning_rate=0.004), data)
    for _ in range(ended.iterations):
        ended.step()
    ended.save()
    recipe = recipe_of(True, warmup=1, learning_rate=0.004, again={"iterations": 4, "learning_rate": 0.002})
    trainer, whole = Trainer(recipe, data), Trainer(recipe, data)
    trainer.restore()
    assert (trainer.iteration, trainer.iterations) == (6, 10)
    rates = []
    for _ in range(2):
        trainer.step()
        rates.append(trainer.optimiser.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(0.002) and 0.001 < rates[1] < 0.002
    trainer.save()
    last = Trainer(recipe, data)
    last.restore()
    assert last.iteration == 8, "its own state is not what it goes on from"
    losses = [whole.step() for _ in range(whole.iterations)]
    assert [last.step() for _ in range(2)] == pytest.approx(losses[-2:], rel=1e-6)


def test_muon_is_for_matrices_between_units_alone(data):
    from noble_net.training.train import Trainer

    net = Trainer(recipe_of(True), data).net
    from noble_net.training.optimising import made_optimiser

    muon, adamw = made_optimiser(net, "muon", 1e-3).parts
    by_muon = {id(each) for group in muon.param_groups for each in group["params"]}
    names = {name for name, parameter in net.named_parameters() if id(parameter) in by_muon}
    assert names == {"encode_in.weight", "gru.weight_ih_l0", "gru.weight_hh_l0", "decode_in.weight"}
    assert isinstance(muon, torch.optim.Muon) and isinstance(adamw, torch.optim.AdamW)
    assert sum(len(group["params"]) for group in adamw.param_groups) == len(list(net.parameters())) - 4


def test_slow_variables_that_are_not_recorded_or_named_twice_are_refused():
    content = {
        "name": "toy",
        "family": "toy",
        "dataset": {"seed": 1, "duration": "600 ms", "record": ["cai"]},
        "model": {"slow": SLOW},
        "training": {"iterations": 6},
    }
    with pytest.raises(ConfigError, match=r"slow.*h_Kd, which the dataset does not record.*\[cai, h_Kd\]"):
        validate_document(CoreRecipe, Document(content))
    content["model"] = {"slow": [SLOW[1], SLOW[1]]}
    with pytest.raises(ConfigError, match="names cai twice"):
        validate_document(CoreRecipe, Document(content))


def test_a_share_without_a_stream_is_refused():
    with pytest.raises(
        ConfigError, match=r"own_voltage.share.*0.01 of 8 streams are none. give a larger share"
    ):
        recipe_of(True, own_voltage={"share": 0.01})
