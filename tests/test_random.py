"""Keyed randomness: known answers, random access, distributions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from noble_net.network import normal_kernels, random_kernels
from noble_net.network.random import cell_uniforms, generator, normals, quantile, stream_key
from noble_net.specs.distribution import Distribution


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0, 0, 0, 0], 0, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([2**32 - 1] * 4, 2**64 - 1, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            0xA4093822 | 0x299F31D0 << 32,
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_known_answers_of_random123(counter: list[int], key: int, words: list[int]) -> None:
    found = random_kernels.philox_words(np.array(counter, np.int64), np.uint64(key))
    assert found.tolist() == words


def test_keys_depend_on_each_part_and_not_on_how_they_are_joined() -> None:
    keys = {
        stream_key(1, "noise", "a"),
        stream_key(2, "noise", "a"),
        stream_key(1, "weight", "a"),
        stream_key(1, "noise", "b"),
        stream_key(1, "noisea", ""),
    }
    assert len(keys) == 5
    assert stream_key(1, "noise", "a") == stream_key(1, "noise", "a")


def test_generators_are_reproducible_and_differ_between_cells() -> None:
    first = generator(1, "latent", "pv", 0).random(4)
    assert np.array_equal(first, generator(1, "latent", "pv", 0).random(4))
    for other in (generator(1, "latent", "pv", 1), generator(1, "latent", "pv", -1)):
        assert not np.any(first == other.random(4))


@given(start=st.integers(0, 2**40), cut=st.integers(1, 30))
def test_noise_is_the_same_for_any_split_into_blocks(start: int, cut: int) -> None:
    key = stream_key(5, "noise", "x")
    whole = normals(key, 3, start, 31)
    parts = [normals(key, 3, start, cut), normals(key, 3, start + cut, 31 - cut)]
    assert np.array_equal(whole, np.concatenate(parts, axis=1))


def test_noise_is_standard_normal_and_white() -> None:
    values = normals(stream_key(1, "noise", "y"), 50, 0, 4000)
    assert stats.kstest(values.ravel(), "norm").pvalue > 1e-3
    assert abs(np.mean(values[:, 1:] * values[:, :-1])) < 5 / np.sqrt(values.size)
    assert abs(np.mean(values[1:] * values[:-1])) < 5 / np.sqrt(values.size)
    assert np.unique(values).size == values.size


def test_noise_is_box_and_mullers_of_its_words() -> None:
    key, cells, first = stream_key(3, "noise", "z"), np.array([0, 7, 2**31]), 2**34 - 40
    found = normals(key, cells, first, 4000)
    for row, cell in enumerate(cells):
        groups = range(first >> 2, (first + 4000) >> 2)
        counters = [np.array([group & 0xFFFFFFFF, group >> 32, cell, 1]) for group in groups]
        a, b, c, d = np.array([random_kernels.philox_words(each, key) for each in counters]).T * 2.0**-32
        near, far = (np.sqrt(-2.0 * np.log(word + 2.0**-33)) for word in (a, c))
        x, y = 2 * np.pi * b, 2 * np.pi * d
        wanted = np.stack([near * np.cos(x), near * np.sin(x), far * np.cos(y), far * np.sin(y)], axis=1)
        assert np.abs(found[row] - wanted.ravel()).max() < 1e-14


@pytest.mark.parametrize("word", [0, 1, 2**31 - 1, 2**31, 3 * 2**30, 2**32 - 2, 2**32 - 1])
def test_radius_and_angle_at_the_ends_of_their_ranges(word: int) -> None:
    words, radius, room, x, y = (
        np.full(3, word, np.uint64),
        np.empty(3),
        np.empty(3),
        np.empty(3),
        np.empty(3),
    )
    normal_kernels._radius(words, radius, radius.view(np.int64), room)
    share = (word + 0.5) * 2.0**-32
    assert radius == pytest.approx(
        np.sqrt(-2.0 * (np.log(share) if share < 0.5 else np.log1p(share - 1.0))), rel=1e-15
    )
    normal_kernels._turn(words, np.ones(3), x, y)
    angle = 2 * np.pi * word * 2.0**-32
    assert x == pytest.approx(np.cos(angle), abs=1e-15)
    assert y == pytest.approx(np.sin(angle), abs=1e-15)


def test_uniforms_of_rows_do_not_depend_on_other_rows() -> None:
    key = stream_key(1, "weight", "p")
    long = random_kernels.row_uniforms(key, np.array([0, 5, 9]))
    short = random_kernels.row_uniforms(key, np.array([0, 2, 6]))
    assert np.array_equal(long[:2], short[:2])
    assert np.array_equal(long[5:], short[2:])
    many = cell_uniforms(1, "parameters", "pv", 20_000)
    assert stats.kstest(many, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    ("distribution", "reference"),
    [
        (Distribution(kind="normal", a=2.0, b=0.5), stats.norm(2.0, 0.5)),
        (Distribution(kind="normal", a=1.0, b=1.0, low=0.5, high=2.0), stats.truncnorm(-0.5, 1.0, 1.0, 1.0)),
        (Distribution(kind="uniform", a=1.0, b=4.0), stats.uniform(1.0, 3.0)),
        (Distribution(kind="gamma", a=1.2, b=0.6), stats.gamma(4.0, scale=0.3)),
        (Distribution(kind="gamma", a=1.0, b=2.0), stats.gamma(0.25, scale=4.0)),
    ],
)
def test_quantiles_follow_the_distribution(
    distribution: Distribution, reference: stats.rv_continuous
) -> None:
    uniform = (np.arange(5000) + 0.5) / 5000
    assert np.allclose(quantile(distribution, uniform), reference.ppf(uniform), rtol=1e-9)


def test_lognormal_has_the_mean_and_deviation_asked_for_and_keeps_its_bounds() -> None:
    uniform = (np.arange(400_000) + 0.5) / 400_000
    values = quantile(Distribution(kind="lognormal", a=1.2, b=0.6), uniform)
    assert values.mean() == pytest.approx(1.2, rel=1e-3)
    assert values.std() == pytest.approx(0.6, rel=3e-3)
    cut = quantile(Distribution(kind="lognormal", a=1.2, b=0.6, low=1.0, high=1.5), uniform)
    assert cut.min() >= 1.0 and cut.max() <= 1.5
    inside = values[(values >= 1.0) & (values <= 1.5)]
    assert cut.mean() == pytest.approx(inside.mean(), rel=1e-3)


@pytest.mark.parametrize(("low", "high"), [(None, 1.5), (0.9, 1.5), (1.15, None), (None, None)])
def test_a_truncated_gamma_is_the_gamma_inside_its_bounds(low: float | None, high: float | None) -> None:
    uniform = (np.arange(2000) + 0.5) / 2000
    cut = quantile(Distribution(kind="gamma", a=1.2, b=0.6, low=low, high=high), uniform)
    whole = stats.gamma(4.0, scale=0.3)
    below, above = whole.cdf([low or 0.0, high or np.inf])
    assert np.allclose(whole.cdf(cut), below + (above - below) * uniform)
    assert np.all(np.diff(cut) > 0)


def test_far_tail_and_zero_spread() -> None:
    uniform = np.array([1e-9, 0.5, 1 - 1e-9])
    tail = quantile(Distribution(kind="normal", a=0.0, b=1e-2, low=-5.0, high=0.0), uniform)
    assert np.all(np.diff(tail) > 0) and tail.max() <= 0.0
    for kind in ("normal", "lognormal", "gamma"):
        same = quantile(Distribution(kind=kind, a=2.0, b=0.0), uniform)
        assert np.array_equal(same, [2.0, 2.0, 2.0])
    assert np.array_equal(quantile(Distribution(a=3.0), uniform), [3.0, 3.0, 3.0])
