"""Connection rules: exact degrees, distributions, independence of everything else."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from noble_net.config import ProjectionSpec, RuleSpec
from noble_net.network import threads
from noble_net.network.connect import connect
from noble_net.network.random import stream_key
from noble_net.network.rules import Setting, draw_rows
from noble_net.specs.rule_parameters import Ends

KEY = stream_key(1, "connect", "test")


def projection(rule: dict[str, Any] | str = "all_to_all", **changes: Any) -> ProjectionSpec:
    fields = {
        "name": "a-b",
        "from": "a",
        "to": "b",
        "rule": rule,
        "synapse": "s",
        "weight": "1 nS",
        "delay": "1 ms",
    }
    return ProjectionSpec.model_validate({**fields, **changes})


def rule_of(kind: str, **parameters: Any) -> RuleSpec:
    return RuleSpec.model_validate({kind: parameters})


def pairs(rule: RuleSpec, sources: int, targets: int, within: bool = False) -> tuple[Any, Any]:
    rows = draw_rows(rule, Setting(Ends(sources, targets, within), KEY))
    return rows.source, np.repeat(np.arange(targets), np.diff(rows.indptr))


def test_bernoulli_degrees_are_binomial_and_pairs_equally_likely() -> None:
    rule = rule_of("pairwise_bernoulli", p=0.1)
    source, target = pairs(rule, 500, 4000)
    degrees = np.bincount(target, minlength=4000)
    values, counts = np.unique(degrees, return_counts=True)
    keep = counts >= 5
    expected = stats.binom(500, 0.1).pmf(values[keep])
    assert stats.chisquare(counts[keep], expected / expected.sum() * counts[keep].sum()).pvalue > 1e-3
    out = np.bincount(source, minlength=500)
    dispersion = ((out - 400) ** 2 / (4000 * 0.1 * 0.9)).sum()
    assert 1e-3 < stats.chi2(500).sf(dispersion) < 1 - 1e-3


@pytest.mark.parametrize("degree", [1, 7, 30, 49, 50])
def test_fixed_indegree_is_exact_without_repeats(degree: int) -> None:
    source, target = pairs(rule_of("fixed_indegree", indegree=degree), 50, 60)
    for cell in range(60):
        afferents = source[target == cell]
        assert len(afferents) == degree == len(set(afferents))
        assert np.all(np.diff(afferents) > 0)


@pytest.mark.parametrize("degree", [3, 17])
def test_fixed_indegree_chooses_sources_uniformly(degree: int) -> None:
    source, _ = pairs(rule_of("fixed_indegree", indegree=degree), 20, 20_000)
    out = np.bincount(source, minlength=20)
    p = degree / 20
    z = (out - 20_000 * p) / np.sqrt(20_000 * p * (1 - p))
    assert np.abs(z).max() < 4.5
    assert out.sum() == 20_000 * degree


def test_multapses_draw_with_replacement() -> None:
    source, target = pairs(rule_of("fixed_indegree", indegree=30, multapses=True), 10, 50)
    assert np.array_equal(np.bincount(target), np.full(50, 30))
    assert len(set(zip(source.tolist(), target.tolist(), strict=True))) < source.size


@given(
    size=st.integers(2, 40),
    kind=st.sampled_from(["pairwise_bernoulli", "fixed_indegree", "all_to_all"]),
    autapses=st.booleans(),
    p=st.floats(0, 1),
    degree=st.integers(1, 39),
)
def test_a_cell_meets_itself_only_where_allowed(
    size: int, kind: Any, autapses: bool, p: float, degree: int
) -> None:
    candidates = size if autapses else size - 1
    own = {"pairwise_bernoulli": {"p": p}, "fixed_indegree": {"indegree": min(degree, candidates)}}
    rule = rule_of(kind, autapses=autapses, **own.get(kind, {}))
    source, target = pairs(rule, size, size, within=True)
    both = list(zip(target.tolist(), source.tolist(), strict=True))
    assert both == sorted(set(both))
    assert not len(source) or (source.min() >= 0 and source.max() < size)
    if not autapses:
        assert not np.any(source == target)
    if kind == "all_to_all":
        assert len(both) == size * candidates
    if p in (0.0, 1.0) and kind == "pairwise_bernoulli":
        assert len(both) == p * size * candidates


@pytest.mark.parametrize(("size", "degree", "multapses"), [(5, 5, False), (1, 1, True)])
def test_an_impossible_in_degree_is_refused(size: int, degree: int, multapses: bool) -> None:
    rule = rule_of("fixed_indegree", indegree=degree, multapses=multapses)
    with pytest.raises(ValueError, match=f"{degree} synapses with {size - 1} candidates"):
        pairs(rule, size, size, within=True)


def test_every_cell_can_be_reached_and_reaches_when_itself_is_left_out() -> None:
    rule = rule_of("pairwise_bernoulli", p=0.5)
    source, target = pairs(rule, 30, 30, within=True)
    matrix = np.zeros((30, 30))
    matrix[target, source] = 1
    assert np.all(matrix.sum(axis=0) > 0) and np.all(matrix.sum(axis=1) > 0)
    assert np.diag(matrix).sum() == 0


def test_one_to_one_and_all_to_all() -> None:
    source, target = pairs(rule_of("one_to_one"), 7, 7)
    assert np.array_equal(source, np.arange(7)) and np.array_equal(target, np.arange(7))
    source, target = pairs(rule_of("all_to_all"), 3, 4)
    assert len(source) == 12 and np.array_equal(source[:3], [0, 1, 2])


def test_arrays_are_sorted_by_source_then_target() -> None:
    drawn = connect(projection({"pairwise_bernoulli": {"p": 0.3}}), 40, 30, 1)
    assert drawn.indptr[0] == 0 and drawn.indptr[-1] == drawn.size
    both = list(zip(drawn.source_ids.tolist(), drawn.target.tolist(), strict=True))
    assert both == sorted(set(both))
    setting = Setting(Ends(40, 30, False), stream_key(1, "connect", "a-b"))
    rows = draw_rows(rule_of("pairwise_bernoulli", p=0.3), setting)
    source, target = rows.source, np.repeat(np.arange(30), np.diff(rows.indptr))
    assert sorted(zip(source.tolist(), target.tolist(), strict=True)) == both


def test_weights_and_delays_follow_their_distributions() -> None:
    spec = projection(
        weight={"lognormal": {"mean": "1.2 nS", "std": "0.6 nS"}},
        delay={"uniform": {"low": "0.55 ms", "high": "1.45 ms"}},
    )
    drawn = connect(spec, 200, 100, 1)
    assert drawn.weight.mean() == pytest.approx(1.2, rel=0.02)
    assert drawn.weight.std() == pytest.approx(0.6, rel=0.05)
    delays, counts = np.unique(drawn.delay, return_counts=True)
    assert delays.tolist() == list(range(6, 15))
    assert stats.chisquare(counts).pvalue > 1e-3
    assert abs(np.corrcoef(drawn.weight, drawn.delay)[0, 1]) < 0.03


def test_delays_round_to_the_nearest_sample() -> None:
    for text, samples in (("1 ms", 10), ("0.54 ms", 5), ("0.56 ms", 6)):
        assert np.all(connect(projection(delay=text), 2, 2, 1).delay == samples)


@settings(max_examples=20)
@given(targets=st.integers(1, 30), more=st.integers(1, 30))
def test_a_target_does_not_depend_on_other_targets(targets: int, more: int) -> None:
    spec = projection(
        {"pairwise_bernoulli": {"p": 0.4}},
        weight={"normal": {"mean": "1 nS", "std": "0.2 nS", "min": "0 nS"}},
    )
    small, large = connect(spec, 15, targets, 1), connect(spec, 15, targets + more, 1)
    inside = large.target < targets
    assert np.array_equal(large.target[inside], small.target)
    assert np.array_equal(large.source_ids[inside], small.source_ids)
    assert np.array_equal(large.weight[inside], small.weight)


def test_synapses_take_ten_bytes_and_their_making_little_more() -> None:
    spec = projection(
        {"pairwise_bernoulli": {"p": 0.4}},
        weight={"lognormal": {"mean": "1 nS", "std": "0.2 nS"}},
        delay={"normal": {"mean": "1 ms", "std": "0.2 ms", "min": "0.5 ms"}},
    )
    connect(spec, 9, 9, 1)
    tracemalloc.start()
    drawn = connect(spec, 2500, 2500, 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert drawn.size > 2_400_000
    assert sum(array.nbytes for array in (drawn.target, drawn.weight, drawn.delay)) == 10 * drawn.size
    assert peak < 14 * drawn.size + 15e6  # and a stretch of targets at a time


def test_stretches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = projection(
        {"pairwise_bernoulli": {"p": 0.4}}, delay={"uniform": {"low": "0.5 ms", "high": "2 ms"}}
    )
    whole = connect(spec, 50, 40, 1)
    monkeypatch.setattr("noble_net.network.connect._PER_STRETCH", 1)
    pieces = connect(spec, 50, 40, 1)
    for key in ("indptr", "target", "weight", "delay"):
        assert np.array_equal(getattr(whole, key), getattr(pieces, key))


@given(st.integers(1, 7), st.sampled_from(["fixed_indegree", "pairwise_bernoulli", "fixed_total_number"]))
@settings(max_examples=20)
def test_threads_change_nothing(number: int, kind: str) -> None:
    parameters = {
        "fixed_indegree": {"indegree": 9},
        "pairwise_bernoulli": {"p": 0.2},
        "fixed_total_number": {"number": 400},
    }[kind]
    spec = projection({kind: parameters}, weight={"normal": {"mean": "1 nS", "std": "0.3 nS"}})
    alone = connect(spec, 40, 50, seed=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "_WORTH_A_THREAD", 1)
        patch.setattr(threads.numba, "get_num_threads", lambda: number)
        assert len(threads.blocks_of(alone.indptr)) == number
        together = connect(spec, 40, 50, seed=3)
    for name in ("indptr", "target", "weight", "delay"):
        np.testing.assert_array_equal(getattr(together, name), getattr(alone, name))


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 9))
def test_blocks_of_rows_are_all_rows_in_turn(counts: list[int], number: int) -> None:
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "_WORTH_A_THREAD", 1)
        patch.setattr(threads.numba, "get_num_threads", lambda: number)
        blocks = threads.blocks_of(indptr)
    assert [row for first, last in blocks for row in range(first, last)] == list(range(len(counts)))
    assert len(blocks) <= number


def test_another_name_or_seed_draws_other_synapses() -> None:
    rule = {"pairwise_bernoulli": {"p": 0.5}}
    first = connect(projection(rule), 30, 30, 1)
    for other in (connect(projection(rule, name="b"), 30, 30, 1), connect(projection(rule), 30, 30, 2)):
        assert first.target.tolist() != other.target.tolist()
