"""Connection rules beside the plain ones: their degrees, flags, and that nothing else changes a draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import networkx as nx
import numpy as np
import pytest
from helpers import CORES, network_data
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from noble_net.config import ProjectionSpec, RuleSpec, load_network, network_from
from noble_net.errors import ConfigError
from noble_net.network.build import build_network, check_network, expected_synapses
from noble_net.network.connect import connect
from noble_net.network.random import stream_key
from noble_net.network.rules import Setting, draw_rows, expected_size
from noble_net.sonata import EdgePopulation, write_edges
from noble_net.specs.rules import Ends

KEY = stream_key(1, "connect", "test")


def drawn(kind: str, sources: int, targets: int, within: bool = False, **parameters: Any) -> Any:
    """Source and target of every synapse, and the size that was expected."""
    rule = RuleSpec.model_validate({kind: parameters})
    setting = Setting(Ends(sources, targets, within), KEY)
    rule.parameters.check(setting.ends)
    rows = draw_rows(rule, setting)
    assert rows.indptr.dtype == np.int64 and rows.source.dtype == np.int32
    target = np.repeat(np.arange(targets), np.diff(rows.indptr))
    assert np.array_equal(np.lexsort((rows.source, target)), np.arange(len(target)))
    assert not len(target) or (rows.source.min() >= 0 and rows.source.max() < sources)
    return rows.source.astype(np.int64), target, expected_size(rule, setting)


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
    monkeypatch.setattr(rules, "grown_rows", lambda fill, targets, expected: grown(fill, targets, 0.0))
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


def test_a_generated_graph_is_the_generator_s() -> None:
    source, target, expected = drawn(
        "graph", 60, 60, within=True, generator="barabasi_albert_graph", arguments={"m": 4}
    )
    graph = nx.barabasi_albert_graph(60, 4, seed=int(KEY) % 2**32)
    wanted = {(u, v) for u, v in graph.edges} | {(v, u) for u, v in graph.edges}
    assert set(zip(source.tolist(), target.tolist(), strict=True)) == wanted
    assert len(source) == len(wanted) == expected
    directed, _, _ = drawn(
        "graph", 60, 60, within=True, generator="random_k_out_graph", arguments={"k": 3, "alpha": 1.0}
    )
    assert len(directed) <= 180


def test_flags_of_a_generated_graph() -> None:
    given = {"generator": "random_k_out_graph", "arguments": {"k": 5, "alpha": 1.0}}
    plain, other, _ = drawn("graph", 9, 9, within=True, **given)
    assert len(np.unique(plain * 9 + other)) == len(plain) and not np.any(plain == other)
    both, target, _ = drawn("graph", 9, 9, within=True, autapses=True, multapses=True, **given)
    assert len(both) == 45 and np.any(both == target) and len(np.unique(both * 9 + target)) < 45


FILES = {
    "g.graphml": nx.write_graphml,
    "g.gml": nx.write_gml,
    "g.edgelist": nx.write_edgelist,
}


@pytest.mark.parametrize("name", FILES)
def test_graph_files(tmp_path: Path, name: str) -> None:
    graph = nx.DiGraph([(0, 4), (4, 0), (2, 1), (3, 3)])
    FILES[name](graph, tmp_path / name)
    source, target, expected = drawn("graph", 5, 5, file=str(tmp_path / name))
    assert sorted(zip(source.tolist(), target.tolist(), strict=True)) == [(0, 4), (2, 1), (3, 3), (4, 0)]
    assert expected == 4


def test_an_undirected_graph_file_goes_both_ways(tmp_path: Path) -> None:
    nx.write_graphml(nx.Graph([(0, 1), (1, 2)]), tmp_path / "g.graphml")
    source, target, _ = drawn("graph", 3, 3, file=str(tmp_path / "g.graphml"))
    assert sorted(zip(source.tolist(), target.tolist(), strict=True)) == [(0, 1), (1, 0), (1, 2), (2, 1)]


def projection(rule: Any, **changes: Any) -> dict[str, Any]:
    fields = {"name": "x", "from": "exc", "to": "inh", "rule": rule, "synapse": "ampa"}
    return {**fields, "weight": "1 nS", "delay": "1 ms", **changes}


def test_a_table_brings_weights_delays_and_counts(tmp_path: Path) -> None:
    text = "target,source, weight,delay,synapses\n3,7,0.5,1.0,1\n1,7,2.0,1.26,3\n3,2,0.25,0.4,0\n"
    (tmp_path / "edges.csv").write_text(text)
    rule = {"table": {"file": str(tmp_path / "edges.csv")}}
    spec = ProjectionSpec.model_validate(projection(rule, weight=None, delay=None))
    found = connect(spec, 10, 5, 1)
    assert found.source_ids.tolist() == [7, 7, 7, 7] and found.target.tolist() == [1, 1, 1, 3]
    assert found.weight.tolist() == [2.0, 2.0, 2.0, 0.5] and found.delay.tolist() == [13, 13, 13, 10]
    drawn_anew = connect(ProjectionSpec.model_validate(projection(rule, delay=None)), 10, 5, 1)
    assert drawn_anew.weight.tolist() == [1.0] * 4 and drawn_anew.delay.tolist() == [13, 13, 13, 10]


def test_an_hdf5_table_says_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    columns = {"source": rng.integers(0, 10, 40), "target": rng.integers(0, 5, 40), "delay": np.full(40, 2.0)}
    with h5py.File(tmp_path / "edges.h5", "w") as file:
        for name, values in columns.items():
            file[name] = values
    lines = ["source,target,delay", *(f"{s},{t},{d}" for s, t, d in zip(*columns.values(), strict=True))]
    (tmp_path / "edges.csv").write_text("\n".join(lines))
    found = [
        connect(
            ProjectionSpec.model_validate(
                projection({"table": {"file": str(tmp_path / f"edges.{kind}")}}, delay=None)
            ),
            10,
            5,
            1,
        )
        for kind in ("h5", "csv")
    ]
    assert np.array_equal(found[0].target, found[1].target) and found[0].size == 40
    assert np.array_equal(found[0].source_ids, found[1].source_ids)
    assert np.array_equal(np.bincount(found[0].target), np.bincount(columns["target"]))


@pytest.mark.parametrize("weight_name", ["conductance", "syn_weight"])
def test_sonata_edges_come_back(tmp_path: Path, weight_name: str) -> None:
    """What a run writes can be read as a rule: edges, weights in nS or pA, delays."""
    rng = np.random.default_rng(3)
    ends = np.unravel_index(rng.choice(90 * 30, 200, replace=False), (90, 30))
    weight, delay = rng.uniform(0.5, 2, 200), rng.integers(8, 30, 200) / 10
    edges = EdgePopulation("x", "exc", "inh", *ends, weight, weight_name, delay, "ampa")
    write_edges(tmp_path / "edges.h5", [edges], {"exc": 90, "inh": 30})
    rule = {"sonata": {"file": str(tmp_path / "edges.h5"), "population": "x"}}
    spec = ProjectionSpec.model_validate(projection(rule, weight=None, delay=None))
    found = connect(spec, 90, 30, 1, conductance=weight_name == "conductance")
    order = np.lexsort((ends[1], ends[0]))
    assert np.array_equal(found.source_ids, ends[0][order]) and np.array_equal(found.target, ends[1][order])
    np.testing.assert_allclose(found.weight, weight[order], rtol=1e-6)
    assert np.array_equal(found.delay, np.rint(delay[order] * 10))


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


def network_file(folder: Path, rule: str, more: str = "weight: 1 nS, delay: 1 ms") -> Path:
    path = folder / "net.yaml"
    path.write_text(
        "name: a\nduration: 10 ms\ncore: integrate-and-fire\n"
        "populations:\n  a: {size: 10}\n  b: {size: 5}\n"
        "synapses: {s: {model: exp, decay: 2 ms, reversal: 0 mV}}\n"
        f"projections:\n  - name: x\n    from: a\n    to: {'a' if 'within' in rule else 'b'}\n"
        f"    rule: {rule.replace('within ', '')}\n    synapse: s\n"
        + "".join(f"    {part}\n" for part in more.split(", ") if part)
    )
    return path


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


BAD_FILES = [
    ("{table: {file: t.csv}}", None, "there is no such file"),
    ("{table: {file: t.csv}}", "", "cannot be read"),
    ("{table: {file: t.txt}}", "source,target\n", "neither .csv nor .h5"),
    ("{table: {file: t.csv}}", "source,to\n1,1\n", "no column `target`"),
    ("{table: {file: t.csv}}", "source,target,wait\n1,1,1\n", "unknown column `wait`"),
    ("{table: {file: t.csv}}", "source,target\n1,1\n1,x\n", "`target` is not a number in line 3"),
    (
        "{table: {file: t.csv}}",
        "source,target\n1,1\n10,1\n",
        "`source` of row 2 is 10. cells are numbered from",
    ),
    ("{table: {file: t.csv}}", "source,target\n1,-1\n", "`target` of row 1 is -1"),
    ("{table: {file: t.csv}}", "source,target\n1,1.5\n", "`target` of row 1 is 1.5"),
    ("{table: {file: t.csv}}", "source,target\n1,\n", "`target` of row 1 is nan"),
    ("{table: {file: t.csv}}", "source,target\n1,1\n", "t.csv has no weights"),
    ("{table: {file: t.csv}}", "source,target,weight\n1,1,1\n", "t.csv has no delays"),
    ("{table: {file: t.csv}}", "source,target,weight,delay\n1,1,-1,1\n", "conductance below 0"),
    ("{table: {file: t.csv}}", "source,target,weight,delay\n1,1,1,0\n", "the delay of row 1 is 0 ms"),
    ("{table: {file: t.h5}}", "source,target\n", "t.h5 cannot be read"),
    ("{sonata: {file: t.h5, population: x}}", "not hdf5", "is no SONATA edges file"),
    ("{sonata: {file: t.h5, population: x}}", None, "there is no such file"),
]


@pytest.mark.parametrize(("rule", "content", "message"), BAD_FILES)
def test_a_wrong_file_is_refused_before_anything_is_built(
    tmp_path: Path, rule: str, content: str | None, message: str
) -> None:
    name = rule.split("file: ")[1].split("}")[0].split(",")[0]
    if content is not None:
        (tmp_path / name).write_text(content)
    spec = load_network(network_file(tmp_path, rule, ""))
    with pytest.raises(ConfigError) as caught:
        check_network(spec, CORES)
    assert message in str(caught.value) and str(tmp_path / name) in str(caught.value)
    assert caught.value.line == 12 and caught.value.key == f"projections[0].rule.{rule[1:].split(':')[0]}"


def test_a_sonata_file_without_that_population(tmp_path: Path) -> None:
    one = EdgePopulation("y", "a", "b", *np.zeros((2, 1), int), np.ones(1), "conductance", np.ones(1))
    write_edges(tmp_path / "t.h5", [one], {"a": 10, "b": 5})
    spec = load_network(network_file(tmp_path, "{sonata: {file: t.h5, population: x}}", ""))
    with pytest.raises(ConfigError, match="no edge population 'x'; it has y"):
        check_network(spec, CORES)


def test_a_short_delay_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("source,target,weight,delay\n1,1,1,0.3\n1,2,1,4\n")
    spec = load_network(network_file(tmp_path, "{table: {file: t.csv}}", ""))
    from noble_net.types import CoreInfo

    slow = {"integrate-and-fire": CoreInfo("integrate-and-fire", ("soma",), 5)}
    with pytest.raises(ConfigError, match=r"x can be 0\.3 ms, shorter than the step"):
        check_network(spec, slow)
    assert build_network(spec, {}, CORES).block_samples == 3


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("within {graph: {generator: barabasi_albert_graph, arguments: {m: 30}}}", "refuses: .*m"),
        ("within {graph: {generator: hypercube_graph, arguments: {n: 2}}}", "4 nodes for 10 cells"),
        ("within {graph: {generator: random_powerlaw_tree_sequence}}", "refuses|gives no graph"),
        ("{graph: {file: g.edgelist}}", "has a node called 'a'"),
        ("{graph: {file: g.png}}", "is no graph file"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused_at_its_line(tmp_path: Path, rule: str, message: str) -> None:
    (tmp_path / "g.edgelist").write_text("0 a\n")
    spec = load_network(network_file(tmp_path, rule))
    for attempt in (lambda: build_network(spec, {}, CORES), lambda: expected_synapses(spec, 0)):
        with pytest.raises(ConfigError, match=message) as caught:
            attempt()
        assert caught.value.line == 12
