"""Node sets by region: the cells whose positions lie in a box, a layer, a sphere, a cylinder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import built, network_data
from hypothesis import given
from hypothesis import strategies as st

from noble_net import simulate
from noble_net.config import dump_network, load_network, network_from
from noble_net.errors import ConfigError
from noble_net.network.geometry import within
from noble_net.network.node_sets import select_cells
from noble_net.specs.regions import RegionSpec

LATTICE = {"lattice": {"spacing": "0.1 um", "shape": [5, 3, 2]}}
BOX = {"box": {"x": ["0 um", "100 um"], "y": ["0 um", "100 um"], "z": ["0 um", "200 um"]}}


def data(region: dict[str, Any], position: dict[str, Any] | None = None) -> dict[str, Any]:
    inh = {"size": 30, "position": position or LATTICE}
    populations = {**network_data()["populations"], "inh": inh}
    return network_data(populations=populations, node_sets={"some": {"population": "inh", "region": region}})


@pytest.mark.parametrize(
    ("region", "cells"),
    [
        ({"box": {"z": ["0.1 um", "1 um"]}}, range(1, 30, 2)),  # the last axis runs fastest
        ({"box": {"x": ["0.3 um", "0.3 um"], "y": ["0.2 um", "0.2 um"]}}, [22, 23]),
        ({"sphere": {"centre": ["0.2 um", "0.1 um", "0 um"], "radius": "0.1 um"}}, [8, 12, 14, 15, 16, 20]),
        (
            {"cylinder": {"centre": ["0.4 um", "0.2 um"], "radius": "0.1 um", "depth": ["0 um", "0.05 um"]}},
            [22, 26, 28],
        ),
    ],
)
def test_cells_of_a_region_are_those_inside_it_with_its_border(region: Any, cells: Any) -> None:
    assert select_cells(built(data(region)), "some").cells.tolist() == list(cells)


@given(radius=st.floats(1.0, 200.0), centre=st.tuples(*(st.floats(-50.0, 250.0),) * 3))
def test_a_sphere_holds_what_is_near_its_centre(radius: float, centre: tuple[float, float, float]) -> None:
    points = np.random.default_rng(1).uniform(0, 200, (300, 3)).astype(np.float32)
    inside = within(RegionSpec.model_validate({"sphere": {"centre": centre, "radius": radius}}), points)
    distance = np.sqrt(((points.astype(np.float64) - centre) ** 2).sum(axis=1))
    clear = abs(distance - radius) > 1e-3
    assert np.array_equal(inside[clear], (distance < radius)[clear])


def test_a_region_is_written_like_any_node_set_and_reads_back(tmp_path: Path) -> None:
    region = {"cylinder": {"radius": "60 um", "depth": ["50 um", "150 um"], "centre": ["50 um", "50 um"]}}
    spec = network_from(data(region, BOX) | {"duration": "10 ms"})
    (tmp_path / "net.yaml").write_text(dump_network(spec))
    assert load_network(tmp_path / "net.yaml") == spec
    results = simulate(spec, out=tmp_path / "run", report=False)
    population, cells = results.node_sets["some"]
    position = results.nodes("inh")[["x", "y", "z"]].to_numpy()
    across = np.hypot(position[:, 0] - 50, position[:, 1] - 50)
    wanted = (across <= 60) & (position[:, 2] >= 50) & (position[:, 2] <= 150)
    assert population == "inh" and 0 < len(cells) < 30
    assert cells.tolist() == np.flatnonzero(wanted).tolist()


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ({"box": {}}, "has no bounds"),
        ({"box": {"z": ["2 um", "1 um"]}}, "the first is above the second"),
        ({"sphere": {"centre": ["0 um", "0 um", "0 um"], "radius": "0 um"}}, "must be above 0"),
        ({}, "give exactly one of box, sphere, cylinder"),
        (
            {"box": {"z": ["0 um", "1 um"]}, "sphere": {"centre": ["0 um"] * 3, "radius": "1 um"}},
            "has 2 kinds",
        ),
        ({"bix": {}}, "did you mean `box`"),
    ],
)
def test_a_wrong_region_is_named(region: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        network_from(data(region))
    assert "node_sets.some.region" in str(caught.value)


def test_regions_need_positions_and_cells() -> None:
    sets = {"some": {"population": "exc", "region": {"box": {"z": ["0 um", "1 um"]}}}}
    with pytest.raises(ConfigError, match=r"node_sets\.some\.region.*exc has no positions"):
        network_from(network_data(node_sets=sets))
    with pytest.raises(ConfigError, match="no cell of inh is chosen"):
        built(data({"box": {"z": ["10 um", "20 um"]}}))
