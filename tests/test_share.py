"""Shares of a network that several processes have: together they are the network, cell for cell and edge for edge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import CORES, network_data
from hypothesis import given
from hypothesis import strategies as st

from noble_net.config import ProjectionSpec, network_from
from noble_net.network.build import build_checked, build_network
from noble_net.network.connect import ProjectionArrays, connect
from noble_net.network.geometry import Places
from noble_net.network.share import Share

RULES: list[dict[str, Any] | str] = [
    {"pairwise_bernoulli": {"p": 0.2}},
    {"pairwise_bernoulli": {"p": 1.0}},
    {"pairwise_poisson": {"mean": 0.4}},
    {"fixed_indegree": {"indegree": 5}},
    {"fixed_outdegree": {"outdegree": 4}},
    {"fixed_total_number": {"number": 77}},
    {"fixed_total_number": {"number": 90, "multapses": True}},
    {"distance": {"p0": 0.6, "sigma": "60 um"}},
    {"small_world": {"neighbours": 4, "rewire": 0.3}},
    {"graph": {"generator": "gnp_random_graph", "arguments": {"p": 0.2}}},
    "all_to_all",
    "one_to_one",
]
SIZE = 23


def projection(rule: dict[str, Any] | str) -> ProjectionSpec:
    return ProjectionSpec.model_validate(
        {
            "name": "p",
            "from": "a",
            "to": "a",
            "rule": rule,
            "synapse": "s",
            "weight": {"normal": {"mean": "1 nS", "std": "0.2 nS"}},
            "delay": {"uniform": {"low": "0.5 ms", "high": "4 ms"}},
        }
    )


def edges(arrays: ProjectionArrays) -> list[tuple[Any, ...]]:
    columns = arrays.source_ids, arrays.target + arrays.first, arrays.weight, arrays.delay
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("ranks", [2, 3, 30])
def test_shares_are_the_whole(rule: dict[str, Any] | str, ranks: int) -> None:
    points = np.random.default_rng(1).uniform(0, 200, (SIZE, 3)).astype(np.float32)
    arguments = projection(rule), SIZE, SIZE, 1, Places(points, points)
    whole = connect(*arguments)
    shares = [connect(*arguments, own=Share(rank, ranks).of(SIZE)) for rank in range(ranks)]
    assert whole.size
    assert sorted(edge for share in shares for edge in edges(share)) == sorted(edges(whole))
    for rank, share in enumerate(shares):
        here = Share(rank, ranks).of(SIZE)
        assert edges(share) == [edge for edge in edges(whole) if edge[1] in here]
    assert sum(share.extent().fingerprint for share in shares) % 2**64 == whole.extent().fingerprint


@given(st.integers(0, 1000), st.integers(1, 50))
def test_stretches_follow_each_other(size: int, ranks: int) -> None:
    stretches = [Share(rank, ranks).of(size) for rank in range(ranks)]
    assert [cell for each in stretches for cell in each] == list(range(size))
    assert max(map(len, stretches)) - min(map(len, stretches)) <= 1


def test_a_fingerprint_tells_weights_delays_and_ends_apart() -> None:
    base = {"rule": {"fixed_indegree": {"indegree": 3}}, "synapse": "s", "from": "a", "to": "b", "name": "p"}
    found = {
        connect(ProjectionSpec.model_validate({**base, **each}), 9, 8, seed).extent().fingerprint
        for seed, each in [
            (1, {"weight": "1 nS", "delay": "1 ms"}),
            (1, {"weight": "1.0000001 nS", "delay": "1 ms"}),
            (1, {"weight": "1 nS", "delay": "1.1 ms"}),
            (2, {"weight": "1 nS", "delay": "1 ms"}),
        ]
    }
    assert len(found) == 4


def test_a_share_of_a_network_has_all_cells_and_its_own_synapses() -> None:
    spec = network_from(network_data())
    whole = build_network(spec, {}, CORES)
    share = build_checked(spec, {}, CORES, Share(1, 3))
    exc, all_exc = share.population("exc"), whole.population("exc")
    assert exc.here == range(30, 60) and exc.size == 90
    for key, values in all_exc.cells.parameters.items():
        assert np.array_equal(exc.cells_here.parameters[key], values[30:60])
    for part, full in zip(share.projections, whole.projections, strict=True):
        assert 0 < part.size < full.size
