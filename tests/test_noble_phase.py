"""When a step core's cells fire: tables made of spike times, the waves made of them, and training on single samples."""

# ruff: noqa: E402 (imports after the check that torch is there)
from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("neuralop")

from toy_noble import RECIPE, solve, toy_family

from noble_net.errors import FamilyError
from noble_net.specs.noble import NobleRecipe
from noble_net.specs.specification import validate_document
from noble_net.specs.yaml_source import Document
from noble_net.surrogate.embedding import CYCLE_SCALE, RATE_SCALE, Embedding, Window
from noble_net.surrogate.fno import forget_frequencies, weights_of
from noble_net.surrogate.phase import COLUMNS, CURRENT, FIRST, KNOTS, SPIKES, Phase, kernel, phase_of, splines
from noble_net.training.noble_batches import NobleData
from noble_net.training.noble_data import build_noble_dataset
from noble_net.training.noble_phase import _kernel_of, _limits, _nearness, fit_phase, spikes_of
from noble_net.training.noble_train import Trainer

RANGES = {"s_thr": (200.0, 500.0), "I_thr": (0.1, 0.3)}
WINDOW = Window(8583, 8640, 0.06)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def clocked(tmp_path_factory):
    """A recipe with a phase, and its traces."""
    recipe = validate_document(NobleRecipe, Document(RECIPE))
    recipe = recipe.variant(
        "clocked",
        model={"phase_octaves": 3, "phase_members": 5, "spike_decays": (1.0, 8.0), "feature_octaves": 0},
        training={"points": 300},
    )
    family = toy_family()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOBLE_NET_CACHE", str(tmp_path_factory.mktemp("cache")))
        build_noble_dataset(recipe, family, solve=solve)
        yield recipe, family, NobleData.read(recipe, family)


@given(st.lists(st.floats(0.5, 60.0), min_size=1, max_size=12), st.lists(st.floats(0.0, 800.0), min_size=1))
def test_a_phase_grows_by_one_from_spike_to_spike(intervals, since):
    times = torch.tensor(np.cumsum(intervals))[None]
    cycles, length = phase_of(times, times)
    assert torch.allclose(cycles, torch.arange(len(intervals), dtype=torch.float64)[None])
    assert torch.allclose(length[0, :-1], torch.tensor(intervals[1:], dtype=torch.float64))
    assert float(phase_of(times, torch.zeros(1, 1, dtype=torch.float64))[0]) == -1.0
    ordered = torch.tensor(sorted(since), dtype=torch.float64)[None]
    assert (phase_of(times, ordered)[0].diff() >= -1e-9).all()


def test_splines_sum_to_one_everywhere():
    at = torch.linspace(-0.1, 2.0, 1000)
    assert torch.allclose(splines(at).sum(dim=1), torch.ones(1000, dtype=torch.float64))
    assert (splines(at) >= 0).all() and not splines(at)[0, 3:].any() and not splines(at)[-1, :-3].any()


def test_tables_tell_the_first_intervals_and_how_the_others_settle():
    phase, above = Phase(2, 8), torch.tensor([-0.002, 0.001, 0.01, 0.1])
    table = torch.zeros(4, COLUMNS, KNOTS, dtype=torch.float64)
    for column, value in enumerate((3.0, 2.0, 2.5, 2.2, 2.1, 2.0, 0.3, -0.2, 0.0, 0.0)):
        table[:, column] = value
    times = phase.times(table, torch.tensor([[-1.0, 0.0, 1.0, 1.0, 1.0]]).double().expand(4, -1), above)
    assert times.shape == (4, SPIKES) and times.dtype == torch.float64 and (times.diff(dim=1) > 0).all()
    assert torch.allclose(times[0, :2], torch.tensor([np.exp(3.0), np.exp(3.0) + 1e6]))  # -2 pA: one spike
    assert (times[1] < 1e6).sum() == 2 and (times[2:] < 1e6).all()
    intervals = torch.cat([torch.zeros(4, 1), times], dim=1).diff(dim=1)[3].log()
    assert torch.allclose(intervals[:5], torch.tensor([3.0, 2.0, 2.5, 2.2, 2.1]).double())
    assert float(intervals[5]) == pytest.approx(2.1)
    assert float(intervals[25]) == pytest.approx(2.0 + 0.3 * np.exp(-20 / 40) - 0.2 * np.exp(-20 / 10))


def test_waves_from_the_onset_move_with_the_step():
    torch.manual_seed(0)
    decays = (0.5, 4.0)
    embedding = Embedding(RANGES, WINDOW, phase_octaves=2, spike_decays=decays, from_onset=True)
    with torch.no_grad():
        embedding.phase.weights[0, : FIRST + 1] = 0.029  # exp(2.9) ms, times the kernel's constant
        embedding.phase.limits[0] = -0.01
    features, amplitude = torch.tensor([[0.2, 300.0]]), torch.tensor([0.3])
    early, late = (embedding(features, amplitude, torch.tensor([onset])) for onset in (6.0, 12.0))
    assert early.shape[1] == embedding.channels == 1 + 18 + 4 + 6 + 4
    assert torch.allclose(early[..., 100:5000], late[..., 200:5100], atol=2e-3)  # 0.06 ms a sample
    on = early[0, 0] > 0
    times = embedding.spikes(features, amplitude)
    since = (torch.arange(WINDOW.padded) * WINDOW.sampling - 6.0).double()
    cycles, length = phase_of(times, since[None])
    told = [RATE_SCALE / length[0], CYCLE_SCALE * cycles[0]]
    told += [wave(2 * torch.pi * octave * cycles[0]) for wave in (torch.sin, torch.cos) for octave in (1, 2)]
    gone = since - torch.cat([torch.tensor([-torch.inf]), times[0]])[cycles[0].floor().long() + 1]
    told += [torch.exp(-gone / decay) for decay in decays]
    to_come = times[0][cycles[0].floor().long() + 1] - since
    told += [torch.exp(-to_come / decay) for decay in decays]
    assert torch.allclose(early[0, -10:, on], torch.stack(told)[:, on].float(), atol=1e-4)
    assert (early[0, -10:, ~on] == 0).all()
    silent = embedding(features, torch.tensor([0.1]), torch.tensor([6.0]))[0, -10:]
    assert (silent[0] < 1e-3).all() and not silent[-4:].any()


def test_spikes_are_the_traces(clocked):
    recipe, _, data = clocked
    spikes = spikes_of(recipe, data, data.train)
    row = int(spikes.number.argmax())
    count = int(spikes.number[row])
    assert (
        count >= 4 and spikes.times[row, :count].isfinite().all() and spikes.times[row, count:].isinf().all()
    )
    volts = data.voltage[data.train[row]].numpy() * 0.01
    for time in spikes.times[row, :count].tolist():
        sample = round((recipe.dataset.lead + time) / recipe.dataset.sampling)
        assert volts[sample : sample + 6].max() > -25.0
    assert (spikes.number == 0).any()


def test_a_phase_is_fitted_to_spikes_and_then_kept(clocked):
    recipe, family, data = clocked
    trainer = Trainer(recipe, family, data)
    embedding = trainer.net.embedding
    fit_phase(embedding, recipe, data)
    spikes = spikes_of(recipe, data, data.train)
    rows = torch.from_numpy(data.train)
    times = embedding.spikes(data.features[rows], data.amplitude[rows])
    fired = spikes.times.isfinite()
    late = (times[:, : fired.shape[1]] - spikes.times)[fired].abs()
    assert late.median() < 0.2 and late.max() < 5.0
    assert ((times < 400.0).sum(dim=1) - spikes.number).abs().sum() <= 2
    fitted = {name: each.clone() for name, each in embedding.phase.named_parameters()}
    assert not fitted["weights"][4].any() and all(fitted["weights"][each].any() for each in range(4))
    again = Trainer(recipe, family, data).net.embedding
    fit_phase(again, recipe, data)
    trainer.step()
    for other in (again.phase, embedding.phase):
        assert all(torch.equal(fitted[name], each) for name, each in other.named_parameters())


def test_the_kernel_minds_the_features_that_tell():
    generator = torch.Generator().manual_seed(1)
    places = 4.0 * torch.rand(40, 3, generator=generator).double() - 2.0
    tables = torch.zeros(40, COLUMNS, KNOTS).double()
    tables[:, : FIRST + 1] = torch.sin(2.0 * places[:, 1])[:, None, None]
    scales, linear = _kernel_of(places, tables)
    assert scales[1] > 5 * scales[[0, 2]].max() and scales[1] > 0.5 and linear > 0


def test_members_keep_their_tables_where_features_tell_nothing_of_them():
    generator = torch.Generator().manual_seed(2)
    places = 4.0 * torch.rand(40, 1, generator=generator).double() - 2.0
    tables = torch.randn(40, COLUMNS, KNOTS, generator=generator).double()
    told = _kernel_of(places, tables)
    solved = torch.linalg.solve(_nearness(places, *told), tables.flatten(1)).float().double()
    found = kernel(places, places, *told) @ solved
    assert (found - tables.flatten(1)).abs().median() < 0.01


def test_limits_lie_between_what_lacks_a_spike_and_what_has_it(clocked):
    phase = Trainer(*clocked).net.embedding.phase
    table = torch.full((COLUMNS, KNOTS), 3.0).double()
    table[FIRST + 1 :] = 0.0
    above = torch.tensor([-0.01, 0.001, 0.004, 0.01, 0.05]).double()
    number = torch.tensor([0, 1, 1, 19, 19])
    found = _limits(phase, table, above, number, begins=True)
    assert torch.allclose(CURRENT * found, torch.tensor([-0.00125, 0.007, 0.007, 0.007, 0.007]).double())
    found = _limits(phase, table, above, number, begins=False)
    assert torch.allclose(CURRENT * found, torch.tensor([-0.0045, 0.007, 0.007, 0.007, 0.007]).double())


def test_one_member_has_a_table_alone(clocked):
    recipe, family, _ = clocked
    single = recipe.variant("single", training={"members": 1})
    data = NobleData.read(single, family)
    embedding = Trainer(single, family, data).net.embedding
    fit_phase(embedding, single, data)
    times = embedding.spikes(data.features, data.amplitude)
    spikes = spikes_of(single, data, data.train)
    fired = spikes.times.isfinite()
    assert fired.any() and (times[data.train, : fired.shape[1]] - spikes.times)[fired].abs().median() < 0.5


def test_more_members_than_there_is_room_for_are_refused(clocked):
    recipe, family, data = clocked
    small = recipe.variant("small", model={"phase_members": 3})
    with pytest.raises(
        FamilyError, match=r"makes tables of 4 members, but its model\.phase_members is 3: raise it"
    ):
        fit_phase(Trainer(small, family, data).net.embedding, small, data)


def test_a_sample_alone_is_the_window_s_where_no_frequency_passes(clocked):
    recipe, family, data = clocked
    net = Trainer(recipe, family, data).net
    forget_frequencies(net.fno)
    onset, index = torch.full((3,), 12.0).double(), torch.tensor([5, 400, 850])
    window = net(data.features[:3], data.amplitude[:3], onset)
    alone = net.alone(data.features[:3], data.amplitude[:3], onset, index)
    torch.testing.assert_close(alone, window[torch.arange(3), index])


def test_training_on_samples_lowers_the_error_of_windows(clocked):
    recipe, family, data = clocked
    error, weights = [], []
    for points in (0, 300, 300):
        trainer = Trainer(recipe.variant("points", training={"points": points}), family, data)
        done: list[tuple[int, int, float]] = []
        assert trainer.begin(math.inf, lambda *said, into=done: into.append(said))
        assert [each[:2] for each in done] == [(n, points) for n in range(20, points + 1, 20)]
        error.append(trainer.validate()["validation_rel_l2"])
        weights.append(weights_of(trainer.net))
    assert error[1] < 0.7 * error[0]
    assert all(np.array_equal(weights[1][name], weights[2][name]) for name in weights[1])
    assert not weights[1]["fno.fno_blocks.convs.0.weight.tensor"].any()


def test_training_on_samples_goes_on_where_it_was_stopped(clocked):
    recipe, family, data = clocked
    whole, pieces = (
        recipe.variant("whole", training={"points": 4}),
        recipe.variant("pieces", training={"points": 4}),
    )
    at_once = Trainer(whole, family, data)
    assert at_once.begin(math.inf, None)
    for _ in range(3):  # an iteration each
        stopped = Trainer(pieces, family, data)
        assert not stopped.restore() and not stopped.begin(0.0, None)
    last = Trainer(pieces, family, data)
    assert not last.restore() and last.begin(math.inf, None)
    ends = [weights_of(each.net) for each in (at_once, last)]
    assert all(np.array_equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert Trainer(pieces, family, data).restore()


@pytest.mark.parametrize("features", [(), ("s_thr",)])
def test_without_the_threshold_tables_run_over_the_current_itself(clocked, features):
    recipe, family, _ = clocked
    recipe = recipe.variant("untold", model={"features": features})
    data = NobleData.read(recipe, family)
    trainer = Trainer(recipe, family, data)
    embedding = trainer.net.embedding
    fit_phase(embedding, recipe, data)
    told = data.features[data.train]
    above = embedding.above(told, data.amplitude[data.train])
    assert torch.equal(above, data.amplitude[data.train])
    times = embedding.spikes(told, data.amplitude[data.train])
    spikes = spikes_of(recipe, data, data.train)
    both = spikes.times[:, 0].isfinite() & (times[:, 0] < 400.0)
    late = (times[:, 0] - spikes.times[:, 0])[both].abs().median()
    # A member is known by its slope; told nothing, all are one, and a spike's time is their mean.
    assert both.any() and (late < 0.5 if features else 0.5 < late < 30.0)
    assert math.isfinite(float(trainer.step() or 0.0))


def test_what_adam_remembers_is_saved_beside_tables_it_does_not_change(clocked):
    recipe, family, data = clocked
    recipe = recipe.variant("remembered", training={"seed": 1})
    first, second = Trainer(recipe, family, data), Trainer(recipe, family, data)
    first.step()
    first.save()
    assert second.restore()
    first.step()
    second.step()
    ends = [weights_of(each.net) for each in (first, second)]
    assert all(np.array_equal(ends[0][name], ends[1][name]) for name in ends[0])
