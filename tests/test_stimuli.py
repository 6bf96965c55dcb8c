"""Stimuli: statistics, and the same samples however they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import network_spec
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from noble_net.config import NetworkSpec
from noble_net.errors import StimulusWarning
from noble_net.network.afferents import Poisson
from noble_net.network.noise import OrnsteinUhlenbeck
from noble_net.network.stimuli import inject, make_stimulus
from noble_net.network.waveforms import Step
from noble_net.simulation import describe
from noble_net.sonata import inputs_of

OU = {"mean": "0.3 nA", "sigma": "0.1 nA", "tau": "5 ms"}
POISSON = {"rate": "800 Hz", "synapse": "ampa", "weight": "2 nS"}


def stimulus(kind: str, parameters: dict[str, Any], **changes: Any) -> Any:
    spec = network_spec(stimuli=[{"to": "inh", kind: parameters}], **changes)
    return make_stimulus(spec.stimuli[0], spec)


@pytest.mark.parametrize("kind", ["ornstein_uhlenbeck", "step"])
@given(cuts=st.lists(st.integers(1, 70), min_size=1, max_size=8))
def test_currents_are_the_same_for_any_split(kind: str, cuts: list[int]) -> None:
    parameters = (
        OU if kind == "ornstein_uhlenbeck" else {"amplitude": "1 nA", "start": "3 ms", "stop": "9 ms"}
    )
    whole = stimulus(kind, parameters).values(0, sum(cuts))
    parts, start, cut = [], 0, stimulus(kind, parameters)
    for length in cuts:
        parts.append(cut.values(start, length))
        start += length
    assert np.array_equal(whole, np.concatenate(parts, axis=1))
    assert np.array_equal(cut.values(0, 5), whole[:, :5][:, : sum(cuts)][:, :5]) or sum(cuts) < 5


@given(start=st.integers(0, 300), length=st.integers(1, 80))
def test_poisson_events_are_the_same_for_any_split(start: int, length: int) -> None:
    whole = stimulus("poisson", POISSON).counts(0, 400)
    assert np.array_equal(
        stimulus("poisson", POISSON).counts(start, length), whole[:, start : start + length]
    )


def test_ornstein_uhlenbeck_has_its_mean_deviation_and_correlation_time() -> None:
    values = stimulus("ornstein_uhlenbeck", OU).values(0, 40_000).astype(np.float64)
    assert values.mean() == pytest.approx(0.3, abs=0.003)
    assert values.std() == pytest.approx(0.1, rel=0.02)
    centred = values - 0.3
    for lag in (10, 50, 150):
        correlation = (centred[:, lag:] * centred[:, :-lag]).mean() / 0.01
        assert correlation == pytest.approx(np.exp(-lag * 0.1 / 5.0), abs=0.03)
    first = [stimulus("ornstein_uhlenbeck", OU, seed=seed).values(0, 1) for seed in range(60)]
    assert stats.kstest(np.concatenate(first).ravel(), "norm", (0.3, 0.1)).pvalue > 1e-3


def test_cells_get_independent_noise_and_their_own_mean() -> None:
    values = stimulus("ornstein_uhlenbeck", OU).values(0, 30_000)
    off_diagonal = np.corrcoef(values)[np.triu_indices(len(values), 1)]
    assert np.abs(off_diagonal).max() < 0.25
    per_cell = {**OU, "mean": {"uniform": {"low": "0 nA", "high": "1 nA"}}, "sigma": "0 nA"}
    means = stimulus("ornstein_uhlenbeck", per_cell).values(0, 3)
    assert np.array_equal(means[:, 0], means[:, 2]) and len(np.unique(means)) == len(means)


def test_noisy_conductances_are_cut_off_at_zero_and_carry_their_reversal() -> None:
    source = stimulus(
        "ornstein_uhlenbeck", {"mean": "1 nS", "sigma": "2 nS", "tau": "5 ms", "reversal": "-80 mV"}
    )
    current, g, j = np.zeros((3, 30, 500), np.float32)
    inject(source, 0, current, g, j)
    assert not current.any() and g.min() == 0.0 and g.max() > 2.0
    assert np.array_equal(j, g * np.float32(-80.0))


def test_step_times_count_from_the_end_of_the_warm_up() -> None:
    step = {"amplitude": "0.2 nA", "start": "1 ms", "stop": "2.5 ms"}
    values = stimulus("step", step, warmup="4 ms").values(0, 100)
    on = np.flatnonzero(values[0])
    assert on[0] == 50 and on[-1] == 64 and np.all(values[:, on] == np.float32(0.2))
    current, g, j = np.zeros((3, 30, 20), np.float32)
    for start in (0, 40, 60):
        inject(stimulus("step", step, warmup="4 ms"), start, current, g, j)
    assert current.sum() == pytest.approx(30 * 0.2 * 15)


def test_poisson_counts_have_the_poisson_distribution() -> None:
    for rate, expected in (("800 Hz", 0.08), ("30000 Hz", 3.0)):
        counts = stimulus("poisson", {**POISSON, "rate": rate}).counts(0, 20_000)
        values, found = np.unique(counts, return_counts=True)
        keep = found > 20
        wanted = stats.poisson(expected).pmf(values[keep])
        fitted = wanted / wanted.sum() * found[keep].sum()
        assert stats.chisquare(found[keep], fitted).pvalue > 1e-3
        assert counts.mean() == pytest.approx(expected, rel=0.02)
    assert not stimulus("poisson", {**POISSON, "rate": "0 Hz"}).counts(0, 1000).any()


def test_each_kind_has_its_class_and_another_name_other_noise() -> None:
    spec: NetworkSpec = network_spec()
    made = [make_stimulus(each, spec) for each in spec.stimuli]
    assert isinstance(made[0], OrnsteinUhlenbeck) and isinstance(made[1], Poisson)
    assert isinstance(stimulus("step", {"amplitude": "1 nA", "stop": "1 ms"}), Step)
    pair = network_spec(
        stimuli=[{"to": "inh", "name": name, "ornstein_uhlenbeck": OU} for name in ("first", "second")]
    )
    first, second = (make_stimulus(each, pair) for each in pair.stimuli)
    assert isinstance(first, OrnsteinUhlenbeck) and isinstance(second, OrnsteinUhlenbeck)
    assert not np.any(first.values(0, 3) == second.values(0, 3))


def test_the_noise_seed_changes_noise_and_nothing_drawn_per_cell() -> None:
    changes: dict[str, Any] = {
        "stimuli": [
            {
                "to": "exc",
                "ornstein_uhlenbeck": {
                    "mean": {"normal": {"mean": "0.2 nA", "std": "0.1 nA"}},
                    "sigma": "0 nA",
                    "tau": "5 ms",
                },
            },
            {"to": "exc", "ornstein_uhlenbeck": {"mean": "0.2 nA", "sigma": "0.1 nA", "tau": "5 ms"}},
        ]
    }
    same, other = network_spec(**changes), network_spec(noise_seed=99, **changes)
    means = [make_stimulus(spec.stimuli[0], spec).values(0, 10) for spec in (same, other)]  # type: ignore[union-attr]
    noise = [make_stimulus(spec.stimuli[1], spec).values(0, 10) for spec in (same, other)]  # type: ignore[union-attr]
    assert np.array_equal(*means) and not np.array_equal(*noise)


@pytest.mark.parametrize(
    ("given", "idle"),
    [
        ({"step": {"amplitude": "1 nA", "start": "50 ms", "stop": "60 ms"}}, True),
        ({"step": {"amplitude": "1 nA", "start": "19 ms", "stop": "60 ms"}}, False),
        ({"ornstein_uhlenbeck": OU | {"delay": "20 ms"}}, True),
        ({"ornstein_uhlenbeck": OU}, False),
        ({"poisson": POISSON | {"delay": "30 ms"}}, True),
    ],
)
def test_a_stimulus_that_begins_when_the_run_is_over_is_told(given: dict[str, Any], idle: bool) -> None:
    spec = network_spec(duration="20 ms", stimuli=[{"to": "inh", **given}])
    if not idle:
        describe(spec)
        return
    with pytest.warns(StimulusWarning, match=r"-inh-0 never acts: .* the run ends at 20 ms"):
        describe(spec)
    assert inputs_of(spec.stimuli, spec.duration) == ({}, [])
