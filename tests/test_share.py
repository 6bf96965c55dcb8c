"""Shares of a network that several processes have: together they are the network, cell for cell and edge for edge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import CORES, network_data
from hypothesis import given
from hypothesis import strategies as st

from noble_net.config import ProjectionSpec, network_from
from noble_net.network.afferents import Afferents
from noble_net.network.build import build_checked, build_network
from noble_net.network.connect import ProjectionArrays, connect
from noble_net.network.geometry import Places
from noble_net.network.share import Share
from noble_net.network.stimuli import network_inputs
from noble_net.sonata import SpikeWriter

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
DRAWN = {"normal": {"mean": "0.2 nA", "std": "0.05 nA"}}


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


STIMULI: list[dict[str, Any]] = [
    {"ornstein_uhlenbeck": {"mean": "0.2 nA", "sigma": "0.1 nA", "tau": "5 ms"}},
    {"ornstein_uhlenbeck": {"mean": DRAWN, "sigma": "0.1 nA", "tau": "5 ms", "shared": True}},
    {"noise": {"mean": DRAWN, "sigma": "0.1 nA"}},
    {
        "shot_noise": {
            "rate": "900 Hz",
            "amp_mean": "1 nS",
            "amp_std": "0.5 nS",
            "rise": "0.4 ms",
            "decay": "4 ms",
            "reversal": "0 mV",
        }
    },
    {"step": {"amplitude": DRAWN, "stop": "15 ms"}},
    {"current_table": {"file": "table.csv", "dt": "1 ms"}},
    {
        "poisson": {
            "rate": "900 Hz",
            "synapse": "ampa",
            "weight": {"uniform": {"low": "1 nS", "high": "2 nS"}},
        }
    },
    {"synapse_replay": {"file": "spikes.h5", "population": "in", "synapse": "ampa", "weight": "1 nS"}},
    {
        "synapse_replay": {
            "file": "spikes.h5",
            "population": "in",
            "synapse": "ampa",
            "weight": "1 nS",
            "map": "all",
            "probability": 0.4,
        }
    },
]


@pytest.mark.parametrize("stimulus", STIMULI, ids=lambda each: next(iter(each)))
@pytest.mark.parametrize("to", ["exc", "some"])
def test_shares_of_a_stimulus_are_the_whole(
    stimulus: dict[str, Any], to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = 90 if to == "exc" else 40
    table = np.random.default_rng(1).normal(size=(30, cells))
    np.savetxt("table.csv", table, delimiter=",", header=",".join(map(str, range(cells))), comments="")
    generator = np.random.default_rng(2)
    with SpikeWriter(tmp_path / "spikes.h5", ["in"]) as writer:
        writer.append("in", np.sort(generator.uniform(0, 20, 400)), generator.integers(0, cells, 400))
    (key, parameters), chosen = next(iter(stimulus.items())), {"population": "exc", "fraction": 40 / 90}
    data = network_data(
        stimuli=[{"to": to, "name": "it", key: parameters}], node_sets={"some": chosen}, warmup="1 ms"
    )
    spec = network_from(data)

    def made(share: Share | None) -> Any:
        injections, afferents, _ = network_inputs(build_checked(spec, {}, CORES, share))
        return [*injections, *afferents][0]

    def told(it: Any) -> Any:
        """What every cell of the population gets here, [cells, samples], and with which weight."""
        if isinstance(it, Afferents):
            return it.counts(0, 200), it.weight
        size = len(it.cells) if isinstance(it.rows, slice) else 90
        values = np.zeros((size, 200), np.float32)
        values[it.rows] = it.values(0, 200)
        return values, np.zeros(size)

    values, weight = told(made(None))
    assert values.any()
    for rank in range(3):
        here, (mine, mine_weight) = Share(rank, 3).of(90), told(made(Share(rank, 3)))
        assert np.array_equal(mine[: len(here)], values[here.start : here.stop])
        assert np.array_equal(mine_weight[: len(here)], weight[here.start : here.stop])
