"""Connection rules beside the plain ones: their degrees, flags, and that nothing else changes a draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import CORES, network_data
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from wiring import drawn, network_file, projection

from noble_net.config import RuleSpec, load_network, network_from
from noble_net.errors import ConfigError
from noble_net.network.build import build_network, expected_synapses
from noble_net.network.random import stream_key
from noble_net.network.rules import Setting, draw_rows
from noble_net.specs.rule_parameters import Ends


def uniformly(counts: np.ndarray) -> bool:
    return bool(stats.chisquare(counts).pvalue > 1e-3)


def fits(counts: np.ndarray, distribution: Any) -> bool:
    """Whether small whole numbers follow a distribution (chi-square over those expected often enough)."""
    seen = np.bincount(counts)
    wanted = distribution.pmf(np.arange(len(seen))) * len(counts)
    often = wanted >= 5
    observed = np.append(seen[often], seen[~often].sum())
    expected = np.append(wanted[often], len(counts) - wanted[often].sum())
    return bool(stats.chisquare(observed, expected).pvalue > 1e-3)


@pytest.mark.parametrize("mean", [0.05, 0.7, 6.0])
def test_poisson_pairs(mean: float) -> None:
    source, target, expected = drawn("pairwise_poisson", 150, 200, mean=mean)
    per_pair = np.bincount(target * 150 + source, minlength=150 * 200)
    assert fits(per_pair, stats.poisson(mean))
    assert expected == round(150 * 200 * mean)
    assert abs(len(source) - expected) < 5 * np.sqrt(expected)
    assert uniformly(np.bincount(source, minlength=150))


def test_rows_that_outgrow_the_room_are_drawn_again_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from noble_net.network import rules

    roomy = [drawn("pairwise_poisson", 40, 30, mean=3.0), drawn("pairwise_bernoulli", 400, 300, p=0.5)]
    grown = rules.grown_rows
    monkeypatch.setattr(rules, "grown_rows", lambda fill, targets, _, own: grown(fill, targets, 0.0, own))
    tight = [drawn("pairwise_poisson", 40, 30, mean=3.0), drawn("pairwise_bernoulli", 400, 300, p=0.5)]
    for one, two in zip(roomy, tight, strict=True):
        assert np.array_equal(one[0], two[0]) and np.array_equal(one[1], two[1])


@pytest.mark.parametrize("multapses", [False, True])
def test_fixed_outdegree(multapses: bool) -> None:
    source, target, expected = drawn("fixed_outdegree", 4000, 30, outdegree=9, multapses=multapses)
    assert np.array_equal(np.bincount(source), np.full(4000, 9)) and expected == len(source)
    twice = len(source) - len(np.unique(target * 4000 + source))
    assert (twice > 0) == multapses
    counts = np.bincount(target, minlength=30)
    if multapses:
        assert uniformly(counts)
    else:
        z = (counts - 1200) / np.sqrt(4000 * 0.3 * 0.7)
        assert np.abs(z).max() < 4.5


@pytest.mark.parametrize(("number", "multapses"), [(0, False), (700, False), (5990, False), (9000, True)])
def test_fixed_total_number(number: int, multapses: bool) -> None:
    source, target, expected = drawn("fixed_total_number", 100, 60, number=number, multapses=multapses)
    assert len(source) == expected == number
    assert (len(np.unique(target * 100 + source)) < number) == multapses
    if number == 700:
        assert fits(np.bincount(target, minlength=60), stats.hypergeom(6000, 700, 100))
    if number == 9000:
        assert uniformly(np.bincount(target)) and uniformly(np.bincount(source))


def test_a_total_number_is_a_uniform_set_of_pairs() -> None:
    """Over many keys every set of 3 among 2 x 3 pairs comes equally often."""
    rule = RuleSpec.model_validate({"fixed_total_number": {"number": 3}})
    seen: dict[tuple[int, ...], int] = {}
    for i in range(4000):
        rows = draw_rows(rule, Setting(Ends(2, 3, False), stream_key(i, "connect", "x")))
        target = np.repeat(np.arange(3), np.diff(rows.indptr))
        pair = tuple((target * 2 + rows.source).tolist())
        seen[pair] = seen.get(pair, 0) + 1
    assert len(seen) == 20 and uniformly(np.array(list(seen.values())))


@settings(max_examples=60)
@given(
    size=st.integers(2, 30),
    autapses=st.booleans(),
    multapses=st.booleans(),
    share=st.floats(0, 1),
    kind=st.sampled_from(["fixed_outdegree", "fixed_total_number", "pairwise_poisson"]),
)
def test_flags_hold(size: int, autapses: bool, multapses: bool, share: float, kind: str) -> None:
    most = size if autapses else size - 1
    own: dict[str, dict[str, Any]] = {
        "fixed_outdegree": {"outdegree": round(share * most), "multapses": multapses},
        "fixed_total_number": {"number": round(share * most * size), "multapses": multapses},
        "pairwise_poisson": {"mean": 3 * share},
    }
    source, target, _ = drawn(kind, size, size, within=True, autapses=autapses, **own[kind])
    if not autapses:
        assert not np.any(source == target)
    if not multapses and kind != "pairwise_poisson":
        assert len(np.unique(source * size + target)) == len(source)


def test_autapses_come_where_allowed() -> None:
    for kind, own in (("fixed_outdegree", {"outdegree": 5}), ("fixed_total_number", {"number": 400})):
        source, target, _ = drawn(kind, 20, 20, within=True, autapses=True, **{**own, "multapses": True})
        assert np.any(source == target)


def test_small_world() -> None:
    source, target, expected = drawn("small_world", 50, 50, within=True, neighbours=6, rewire=0.0)
    assert expected == len(source) == 300
    gap = (source - target) % 50
    assert sorted(set(gap.tolist())) == [1, 2, 3, 47, 48, 49]
    source, target, _ = drawn("small_world", 2000, 2000, within=True, neighbours=10, rewire=0.3)
    assert np.array_equal(np.bincount(target), np.full(2000, 10))
    assert len(np.unique(source * 2000 + target)) == len(source) and not np.any(source == target)
    gap = np.minimum((source - target) % 2000, (target - source) % 2000)
    kept = int((gap <= 5).sum())
    assert abs(kept - 14_000) < 5 * np.sqrt(20_000 * 0.21)  # few of the rewired come back by chance
    far = gap[gap > 5]
    assert stats.kstest(far, stats.randint(6, 1001).cdf).pvalue > 1e-3 or uniformly(
        np.histogram(far, bins=10, range=(6, 1000))[0]
    )


def test_small_world_reaches_everyone_when_full() -> None:
    source, target, _ = drawn("small_world", 7, 7, within=True, neighbours=6, rewire=0.5)
    assert len(source) == 42 and len(np.unique(source * 7 + target)) == 42 and not np.any(source == target)


RULES: list[Any] = [
    {"pairwise_poisson": {"mean": 0.2}},
    {"fixed_outdegree": {"outdegree": 4}},
    {"fixed_total_number": {"number": 321}},
    {"distance": {"p0": 0.6, "sigma": "80 um"}},
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: next(iter(rule)))
def test_nothing_else_in_the_network_changes_a_draw(rule: Any) -> None:
    data = network_data()
    for population in data["populations"].values():
        population["position"] = {"box": {"x": ["0 um", "200 um"], "y": ["0 um", "200 um"]}}
    data["projections"] = [projection(rule, weight={"gamma": {"mean": "1 nS", "std": "0.4 nS"}})]
    alone = build_network(network_from(data), {}, CORES)
    more = {"new": {"size": 17}, **dict(reversed(data["populations"].items()))}
    other = projection({"fixed_total_number": {"number": 5}}, name="other", **{"from": "new"})
    beside = build_network(
        network_from({**data, "populations": more, "projections": [other, *data["projections"]]}), {}, CORES
    )
    one, two = alone.projections[0], beside.projections[1]
    assert one.size and one.name == two.name
    for key in ("indptr", "target", "weight", "delay"):
        assert np.array_equal(getattr(one, key), getattr(two, key))
    assert one.target.dtype == np.int32 and one.weight.dtype == np.float32 and one.delay.dtype == np.uint16
    renamed = build_network(
        network_from({**data, "projections": [{**data["projections"][0], "name": "y"}]}), {}, CORES
    )
    assert renamed.projections[0].target.tolist() != one.target.tolist()
    assert abs(expected_synapses(alone.spec, 0) - one.size) <= 6 * np.sqrt(one.size)


BAD = [
    ("{pairwise_poisson: {mean: -1}}", "pairwise_poisson.mean = -1", "greater than or equal to 0"),
    ("{fixed_outdegree: {outdegree: 6}}", "fixed_outdegree.outdegree = 6", "at most 5 different efferents"),
    ("within {fixed_outdegree: {outdegree: 10}}", "outdegree = 10", "at most 9 different efferents"),
    ("{fixed_total_number: {number: 51}}", "fixed_total_number.number = 51", "there are 50 pairs"),
    ("{fixed_total_number: {}}", "fixed_total_number.number", "add `number: …`"),
    ("{small_world: {neighbours: 4, rewire: 0.1}}", "small_world", "joins a population to itself"),
    ("within {small_world: {neighbours: 3, rewire: 0.1}}", "neighbours = 3", "multiple of 2"),
    ("within {small_world: {neighbours: 10, rewire: 0.1}}", "neighbours = 10", "has 9 others"),
    ("{distance: {p0: 0.3, sigma: 150 um}}", "rule", "but a has no `position`"),
    ("{distance: {p0: 0.3, profile: gaussian}}", "distance.profile", "`gaussian` needs `sigma`"),
    ("{distance: {p0: 0.3, sigma: 1 um, radius: 1 um}}", "distance.radius", "takes no `radius`"),
    ("{distance: {p0: 0.3, sigma: 15 mV}}", "distance.sigma = 15 mV", "a length such as"),
    ("within {graph: {generator: os.system}}", "graph.generator = os.system", "not a generator of networkx"),
    ("within {graph: {generator: barabasi_albert_graph}}", "graph.arguments", "needs `m`"),
    (
        "within {graph: {generator: barabasi_albert_graph, arguments: {m: 2, seed: 3}}}",
        "arguments.seed",
        "unknown key",
    ),
    (
        "within {graph: {generator: barabasi_albert_graph, arguments: {m: {a: 1}}}}",
        "arguments.m",
        "plain values",
    ),
    ("within {graph: {generator: path_graph, file: a.gml}}", "graph", "one of `generator`, `file`"),
    ("{graph: {generator: path_graph}}", "graph", "joins a population to itself"),
    ("{graph: {file: a.gml, autapses: true}}", "graph.autapses", "taken as it is"),
    ("{table: {}}", "table.file", "add `file: …`"),
    ("{all_to_all: {}, one_to_one: {}}", "rule", "has 2 rules"),
    ("3", "rule = 3", "keys with values"),
]


@pytest.mark.parametrize(("rule", "key", "message"), BAD)
def test_a_wrong_rule_is_refused_at_its_line(tmp_path: Path, rule: str, key: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_network(network_file(tmp_path, rule))
    assert key in str(caught.value) and message in str(caught.value)
    assert caught.value.line == 12


def test_weight_and_delay_may_be_left_out_only_beside_a_file(tmp_path: Path) -> None:
    for others, key in (("delay: 1 ms", "weight"), ("weight: 1 nS", "delay")):
        with pytest.raises(ConfigError, match=f"`{key}` is missing"):
            load_network(network_file(tmp_path, "all_to_all", others))
    assert load_network(network_file(tmp_path, "{table: {file: a.csv}}", "")).projections[0].weight is None
