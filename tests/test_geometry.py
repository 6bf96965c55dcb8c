"""Positions, connection probabilities by distance, and delays by distance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import CORES, network_data
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cdist

from noble_net.config import PopulationSpec, ProjectionSpec, RuleSpec, load_network, network_from
from noble_net.errors import ConfigError
from noble_net.network.build import build_network, expected_synapses
from noble_net.network.check import check_network
from noble_net.network.connect import connect
from noble_net.network.geometry import Places, draw_positions
from noble_net.network.random import stream_key
from noble_net.network.rules import Setting, draw_rows, expected_size
from noble_net.simulation import describe, simulate
from noble_net.sonata.nodes import read_nodes
from noble_net.specs.rule_parameters import Ends

KEY = stream_key(1, "connect", "test")


def positions(position: dict[str, Any], size: int, name: str = "a", seed: int = 1) -> np.ndarray:
    population = PopulationSpec.model_validate({"size": size, "position": position})
    found = draw_positions(population, name, seed)
    assert found is not None and found.shape == (size, 3) and found.dtype == np.float32
    return found


def test_a_box_is_filled_uniformly() -> None:
    box = {"x": ["0 um", "0.4 mm"], "y": ["-100 um", "100 um"], "z": ["5 um", "5 um"]}
    found = positions({"box": box}, 4000)
    assert stats.kstest(found[:, 0], stats.uniform(0, 400).cdf).pvalue > 1e-3
    assert stats.kstest(found[:, 1], stats.uniform(-100, 200).cdf).pvalue > 1e-3
    assert np.all(found[:, 2] == 5)
    assert np.abs(np.corrcoef(found[:, :2].T)[0, 1]) < 0.06


def test_a_cylinder_is_filled_uniformly() -> None:
    cylinder = {"radius": "400 um", "depth": ["300 um", "500 um"], "centre": ["10 um", "-20 um"]}
    found = positions({"cylinder": cylinder}, 4000)
    radius = np.hypot(found[:, 0] - 10, found[:, 1] + 20)
    assert stats.kstest((radius / 400) ** 2, "uniform").pvalue > 1e-3
    angle = np.arctan2(found[:, 1] + 20, found[:, 0] - 10)
    assert stats.kstest(angle, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3
    assert stats.kstest(found[:, 2], stats.uniform(300, 200).cdf).pvalue > 1e-3


def test_a_lattice_has_every_place_once() -> None:
    lattice = {"spacing": "20 um", "shape": [3, 2, 4], "origin": ["1 um", "2 um", "3 um"]}
    found = positions({"lattice": lattice}, 24)
    assert found[0].tolist() == [1, 2, 3] and found[1].tolist() == [1, 2, 23]
    assert found[-1].tolist() == [41, 22, 63] and len(np.unique(found, axis=0)) == 24


def test_points_come_from_their_file(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("y,x,z\n1,2,3\n4.5,-5,6e1\n")
    assert positions({"points": str(tmp_path / "p.csv")}, 2).tolist() == [[2, 1, 3], [-5, 4.5, 60]]


def test_a_cell_keeps_its_place_whatever_else_there_is() -> None:
    box = {"box": {"x": ["0 um", "1 mm"], "y": ["0 um", "1 mm"]}}
    assert np.array_equal(positions(box, 10), positions(box, 30)[:10])
    assert not np.array_equal(positions(box, 10), positions(box, 10, name="b"))
    assert not np.array_equal(positions(box, 10), positions(box, 10, seed=2))


def network_file(folder: Path, position: str) -> Path:
    path = folder / "net.yaml"
    path.write_text(
        "name: a\nduration: 10 ms\ncore: integrate-and-fire\npopulations:\n"
        f"  a:\n    size: 10\n    position: {position}\n"
    )
    return path


BOX = "{box: {x: [0 um, 4 um], y: [0 um, 4 um], z: [0 um, 4 um]}}"


@pytest.mark.parametrize(
    ("position", "key", "message"),
    [
        ("{}", "position", "has no kind"),
        ("{box: {x: [0 um, 4 um]}}", "box.y", "add `y: …`"),
        ("{box: {x: [4 um, 0 um], y: [0 um, 4 um]}}", "box.x", "the first is above the second"),
        ("{box: {x: 4 um, y: [0 um, 4 um]}}", "box.x = 4 um", "is not a pair of lengths"),
        ("{box: {x: [0 um, 4], y: [0 um, 4 um]}}", "box.x[1] = 4", "has no unit"),
        ("{cylinder: {radius: 0 um, depth: [0 um, 4 um]}}", "cylinder.radius = 0 um", "above 0 µm"),
        ("{cylinder: {radius: 4 ms, depth: [0 um, 4 um]}}", "cylinder.radius = 4 ms", "a length such as"),
        ("{lattice: {spacing: 1 um, shape: [2, 2, 2]}}", "lattice.shape", "has 8 places for 10 cells"),
        ("{sphere: {radius: 1 um}}", "position.sphere", "unknown key"),
        (BOX[:-1] + ", points: p.csv}", "position", "has 2 kinds"),
    ],
)
def test_a_wrong_position_is_refused_at_its_line(
    tmp_path: Path, position: str, key: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_network(network_file(tmp_path, position))
    assert key in str(caught.value) and message in str(caught.value) and caught.value.line == 7


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        ("x,y,z\n1,2,3\n", "has 1 points for 10 cells"),
        ("x,y\n1,2\n", "has no column `z`"),
        ("x,y,z\n" + "1,2,inf\n" * 10, "no finite position"),
        ("x,y,z\n" + "1,2,\n" * 10, "no finite position"),
    ],
)
def test_wrong_points_are_refused_at_their_line(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "p.csv").write_text(content)
    spec = load_network(network_file(tmp_path, "{points: p.csv}"))
    with pytest.raises(ConfigError) as caught:
        check_network(spec, CORES)
    assert message in str(caught.value) and caught.value.line == 7 and "points" in str(caught.value.key)


def scattered(size: int, seed: int, flat: bool = False) -> np.ndarray:
    places = np.random.default_rng(seed).uniform(0, 600, (size, 3)).astype(np.float32)
    return places * np.float32([1, 1, 0]) if flat else places


PROFILES: list[tuple[dict[str, Any], Any]] = [
    ({"sigma": "100 um"}, lambda d: np.exp(-(d**2) / 2 / 100**2)),
    ({"profile": "exponential", "length": "80 um"}, lambda d: np.exp(-d / 80)),
    ({"profile": "cutoff", "radius": "150 um"}, lambda d: (d <= 150) * 1.0),
    ({"sigma": "100 um", "cutoff": "130 um"}, lambda d: np.exp(-(d**2) / 2 / 100**2) * (d <= 130)),
    ({"sigma": "30 mm"}, lambda d: np.exp(-(d**2) / 2 / 30000**2)),
]


@pytest.mark.parametrize(("own", "profile"), PROFILES)
@pytest.mark.parametrize(("p0", "flat"), [(0.3, False), (1.0, True)])
def test_pairs_connect_with_the_probability_of_their_distance(
    own: dict[str, Any], profile: Any, p0: float, flat: bool
) -> None:
    """Binned by distance, the number of synapses is a sum of independent Bernoulli variables."""
    places = Places(scattered(700, 1, flat), scattered(500, 2, flat))
    rule = RuleSpec.model_validate({"distance": {"p0": p0, **own}})
    setting = Setting(Ends(700, 500, False), KEY, places)
    rows = draw_rows(rule, setting)
    matrix = np.zeros((500, 700))
    matrix[np.repeat(np.arange(500), np.diff(rows.indptr)), rows.source] = 1
    assert matrix.sum() == len(rows.source)  # no pair twice
    distance = cdist(places.target, places.source)
    p = p0 * profile(distance)
    for low, high in zip(range(0, 900, 50), range(50, 950, 50), strict=True):
        band = (distance >= low) & (distance < high)
        variance = (p * (1 - p))[band].sum()
        assert abs(matrix[band].sum() - p[band].sum()) <= 4.5 * np.sqrt(variance) + 1e-9
    for axis in (0, 1):  # and no cell is favoured
        variance = (p * (1 - p)).sum(axis=axis)
        z = (matrix - p).sum(axis=axis)[variance > 5] / np.sqrt(variance[variance > 5])
        assert not z.size or np.abs(z).max() < 4.5
    assert expected_size(rule, setting) == pytest.approx(p.sum(), rel=0.05)


def test_distance_along_some_axes_only() -> None:
    places = Places(scattered(300, 1), scattered(200, 2))
    rule = RuleSpec.model_validate(
        {"distance": {"p0": 1.0, "profile": "cutoff", "radius": "90 um", "axes": "xy"}}
    )
    rows = draw_rows(rule, Setting(Ends(300, 200, False), KEY, places))
    near = cdist(places.target[:, :2].astype(float), places.source[:, :2].astype(float)) <= 90
    assert np.array_equal(np.diff(rows.indptr), near.sum(axis=1))
    assert np.array_equal(rows.source, np.nonzero(near)[1])


def test_distance_leaves_a_cell_itself_out_unless_told() -> None:
    places = Places(*(scattered(200, 1),) * 2)
    for autapses in (False, True):
        rule = RuleSpec.model_validate({"distance": {"p0": 1.0, "sigma": "50 um", "autapses": autapses}})
        setting = Setting(Ends(200, 200, True), KEY, places)
        rows = draw_rows(rule, setting)
        own = int((np.repeat(np.arange(200), np.diff(rows.indptr)) == rows.source).sum())
        assert own == (200 if autapses else 0)
        assert expected_size(rule, setting) == pytest.approx(len(rows.source), rel=0.15)


@settings(max_examples=30, deadline=None)
@given(
    sources=st.integers(1, 40),
    targets=st.integers(1, 30),
    more=st.integers(0, 20),
    side=st.sampled_from([1e-3, 1.0, 50.0, 1e6]),
    p0=st.sampled_from([0.0, 1e-9, 0.5, 1.0]),
)
def test_a_target_s_sources_depend_on_no_other_target(
    sources: int, targets: int, more: int, side: float, p0: float
) -> None:
    rule = RuleSpec.model_validate({"distance": {"p0": p0, "sigma": f"{side} um"}})
    source, target = scattered(sources, 3), scattered(targets + more, 4)
    large = draw_rows(rule, Setting(Ends(sources, targets + more, False), KEY, Places(source, target)))
    small = draw_rows(rule, Setting(Ends(sources, targets, False), KEY, Places(source, target[:targets])))
    assert np.array_equal(large.indptr[: targets + 1], small.indptr)
    assert np.array_equal(large.source[: small.indptr[-1]], small.source)


def by_distance(offset: Any) -> dict[str, Any]:
    return {"distance": {"velocity": "0.3 mm/ms", "offset": offset}}


def test_delays_grow_with_distance() -> None:
    fields = {"name": "x", "from": "a", "to": "b", "rule": "all_to_all", "synapse": "s", "weight": "1 nS"}
    places = Places(scattered(50, 1), scattered(40, 2))
    spec = ProjectionSpec.model_validate({**fields, "delay": by_distance("0.5 ms")})
    found = connect(spec, 50, 40, 1, places)
    exact = 0.5 + cdist(places.source, places.target)[found.source_ids, found.target] / 300
    assert np.abs(found.delay / 10 - exact).max() <= 0.05 + 1e-6
    spread = by_distance({"uniform": {"low": "0.5 ms", "high": "2.5 ms"}})
    spec = ProjectionSpec.model_validate({**fields, "delay": spread})
    extra = connect(spec, 50, 40, 1, places).delay / 10 - exact
    assert stats.kstest(extra, stats.uniform(0, 2).cdf).statistic < 0.05


def test_the_shortest_delay_by_distance_is_its_offset() -> None:
    from noble_net.types import CoreInfo

    slow = {"integrate-and-fire": CoreInfo("integrate-and-fire", ("soma",), 10)}
    data = network_data()
    for population in data["populations"].values():
        population["position"] = {"box": {"x": ["0 um", "400 um"], "y": ["0 um", "400 um"]}}
    for offset, good in (("1 ms", True), ("0.5 ms", False)):
        data["projections"] = [{**network_data()["projections"][0], "delay": by_distance(offset)}]
        spec = network_from(data)
        if good:
            check_network(spec, slow)
        else:
            with pytest.raises(ConfigError, match=r"e-i can be 0\.5 ms, shorter than the step"):
                check_network(spec, slow)


def test_delays_beyond_the_longest_are_refused_at_their_line() -> None:
    data = network_data()
    far = (
        {"box": {"x": ["0 um", "1 um"], "y": ["0 um", "0 um"]}},
        {"box": {"x": ["3 m", "3 m"], "y": ["0 um", "0 um"]}},
    )
    for population, position in zip(data["populations"].values(), far, strict=True):
        population["position"] = position
    data["projections"] = [{**data["projections"][0], "delay": by_distance("1 ms")}]
    with pytest.raises(ConfigError, match="has a delay of 10001 ms"):
        build_network(network_from(data), {}, CORES)


def test_positions_are_part_of_a_network_of_its_dry_run_and_of_nodes_h5(tmp_path: Path) -> None:
    data = network_data()
    for population in data["populations"].values():
        population["position"] = {"cylinder": {"radius": "100 um", "depth": ["0 um", "50 um"]}}
    data["projections"] = [
        {**data["projections"][0], "rule": {"distance": {"p0": 0.5, "sigma": "60 um"}}},
    ]
    network = build_network(network_from(data), {}, CORES)
    simulate(network.spec, out=tmp_path / "run", duration="5 ms", report=False)
    nodes = read_nodes(tmp_path / "run" / "nodes.h5")
    for population in network.populations:
        assert population.position is not None and population.position.shape == (population.size, 3)
        assert np.array_equal(nodes[population.name][["x", "y", "z"]].to_numpy(), population.position)
    expected = expected_synapses(network.spec, 0)
    assert network.projections[0].size == pytest.approx(expected, rel=0.2)
    assert f"exc → inh, distance, {expected} synapses" in describe(network.spec)
