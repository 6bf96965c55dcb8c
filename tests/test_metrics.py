"""Single-cell measures, on spike trains whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from noble_net.training.metrics import clipped_error, coincidence, interval_cv, matches, rate_error

trains = st.lists(st.floats(0, 100), max_size=12).map(lambda x: np.array(sorted(x)))


@given(trains, trains)
def test_matching_is_the_largest_one_to_one_matching(a, b):
    if len(a) and len(b):
        near = np.abs(a[:, None] - b[None]) <= 2.0
        rows, columns = linear_sum_assignment(-near.astype(float))
        best = int(near[rows, columns].sum())
    else:
        best = 0
    assert matches(a, b) == best


def test_gamma_is_one_for_a_copy_and_about_zero_for_chance():
    g = np.random.default_rng(0)
    a = [np.sort(g.uniform(0, 100_000, 2000)) for _ in range(5)]
    b = [np.sort(g.uniform(0, 100_000, 2000)) for _ in range(5)]
    assert coincidence(a, a, 100_000).gamma == pytest.approx(1.0)
    assert abs(coincidence(a, b, 100_000).gamma) < 0.05


def test_silent_and_too_fast_pairs_are_left_out_and_counted():
    empty, fast, normal = np.empty(0), np.linspace(0, 999, 200), np.linspace(0, 999, 20)
    result = coincidence([empty, fast, normal], [empty, fast, normal], 1000.0)
    assert (result.cells, result.silent, result.too_fast) == (1, 1, 1)
    assert np.isnan(coincidence([empty], [empty], 1000.0).gamma)


def test_a_missing_cell_counts_against_gamma():
    normal, empty = np.linspace(5, 995, 20), np.empty(0)
    assert coincidence([normal, normal], [normal, empty], 1000.0).gamma < 0.7


def test_rates():
    error, bias = rate_error(np.array([10.0, 20.0]), np.array([12.0, 18.0]))
    assert error == pytest.approx(4 / 30) and bias == pytest.approx(0.0)
    assert np.isnan(rate_error(np.zeros(2), np.ones(2))[0])


def test_clipped_measures_ignore_what_lies_above_the_clip():
    v = np.full((2, 100), -60.0, np.float32)
    v[:, ::2] = -70.0
    spike = v.copy()
    spike[:, 10] = 10.0
    assert clipped_error(v + 0.5, v)[0] == pytest.approx(0.5)
    assert clipped_error(np.minimum(spike, -50), spike) == (0.0, 1.0)
    assert np.isnan(clipped_error(np.full((1, 10), -95.0), np.full((1, 10), -95.0))[1])


def test_interval_cv_of_a_clock_and_of_a_poisson_train():
    g = np.random.default_rng(1)
    assert interval_cv([np.arange(0, 1000, 10.0)]) == pytest.approx(0.0)
    assert interval_cv([np.cumsum(g.exponential(10, 20_000))]) == pytest.approx(1.0, abs=0.03)
    assert np.isnan(interval_cv([np.array([1.0, 2.0])]))
