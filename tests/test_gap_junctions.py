"""Gap junctions: against the exact solution of two coupled cells, and what they may not depend on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import CORES, network_data
from scipy.linalg import expm

from noble_net.config import dump_network, network_from
from noble_net.errors import ConfigError
from noble_net.loop import Loop, compile_loop
from noble_net.network.build import build_network, expected_junctions
from noble_net.surrogate.integrate_and_fire import IntegrateAndFire
from noble_net.types import DT, CoreInfo, Float64

CORE = {"integrate-and-fire": IntegrateAndFire()}
JUNCTION = {"name": "gap", "from": "a", "to": "b", "rule": "one_to_one", "conductance": "4 nS"}


def passive(capacitance: str) -> dict[str, Any]:
    cell = {"capacitance": capacitance, "resistance": "100 Mohm", "v_rest": "-70 mV", "v_threshold": "500 mV"}
    return {"size": 1, "parameters": cell}


def two_cells(**changes: Any) -> dict[str, Any]:
    data = {
        "name": "two",
        "duration": "60 ms",
        "core": "integrate-and-fire",
        "populations": {"a": passive("100 pF"), "b": passive("60 pF")},
        "gap_junctions": [JUNCTION],
        "stimuli": [{"to": "a", "step": {"amplitude": "0.2 nA", "start": "0 ms", "stop": "1 s"}}],
    }
    return {**data, **changes}


def voltages(data: dict[str, Any], step: int = 1, samples: int = 600, **options: Any) -> dict[str, Float64]:
    """Voltage of each population [cells, samples], on a core of so many samples a step."""
    network = build_network(
        network_from(data), {}, {"integrate-and-fire": CoreInfo("coarse", ("soma",), step)}
    )
    assert network.block_samples == step or not network.gap_junctions
    loop, columns = Loop(network, CORE, **options), []
    while loop.position < samples:
        columns.append({name: r.voltage for name, r in loop.advance().items()})
    return {name: np.concatenate([c[name] for c in columns], axis=1) for name in columns[0]}


def exact() -> Float64:
    """Deviation from rest of the two cells [2, samples]: the matrix exponential of their equations."""
    leak, coupling = 10.0, 4.0
    system = np.array([[-(leak + coupling), coupling], [coupling, -(leak + coupling)]])
    system /= np.array([[100.0], [60.0]])
    settled = -np.linalg.solve(system, [200.0 / 100.0, 0.0])
    times = DT * np.arange(1, 601)
    return np.stack([settled - expm(system * t) @ settled for t in times], axis=1)


def miss(step: int) -> float:
    found = voltages(two_cells(), step)
    return float(np.abs(np.concatenate([found["a"], found["b"]]) + 70.0 - exact()).max())


def test_two_cells_follow_the_exact_solution_and_the_error_is_of_first_order_in_the_step() -> None:
    size = exact()[1].max()
    assert size > 3.0
    errors = [miss(step) for step in (1, 2, 4)]
    assert errors[0] < 0.005 * size
    assert errors[1] / errors[0] == pytest.approx(2.0, rel=0.1)
    assert errors[2] / errors[1] == pytest.approx(2.0, rel=0.1)


def test_either_direction_is_the_same_junction() -> None:
    turned = two_cells(gap_junctions=[{**JUNCTION, "from": "b", "to": "a"}])
    one, other = voltages(two_cells()), voltages(turned)
    assert all(np.array_equal(one[name], other[name]) for name in one)


def coupled_network() -> dict[str, Any]:
    data = network_data()
    spread = {"lognormal": {"mean": "0.5 nS", "std": "0.2 nS"}}
    within = {"rule": {"pairwise_bernoulli": {"p": 0.3}}, "conductance": spread}
    between = {"rule": {"fixed_indegree": {"indegree": 3}}, "conductance": "0.1 nS"}
    data["gap_junctions"] = [
        {"name": "inh-inh", "from": "inh", "to": "inh", **within},
        {"name": "exc-inh", "from": "exc", "to": "inh", **between},
    ]
    return data


def test_each_pair_of_a_population_is_coupled_once_with_the_rules_probability() -> None:
    data = coupled_network()
    data["populations"]["inh"]["size"] = 300
    (between, within) = build_network(network_from(data), {}, CORES).gap_junctions
    assert np.all(within.first < within.second)
    assert len(np.unique(np.stack([within.first, within.second]), axis=1).T) == within.size
    pairs = 300 * 299 / 2
    assert abs(within.size - 0.3 * pairs) < 4 * np.sqrt(pairs * 0.3 * 0.7)
    assert within.conductance.mean() == pytest.approx(0.5, rel=0.02)
    assert between.size == 900


def test_batches_and_the_files_order_change_nothing_and_removal_does() -> None:
    data = coupled_network()
    whole = voltages(data, samples=400)
    turned = {**data, "gap_junctions": data["gap_junctions"][::-1]}
    turned["populations"] = dict(reversed(data["populations"].items()))
    for other in (voltages(data, samples=400, batch=7), voltages(turned, samples=400)):
        assert all(np.array_equal(whole[name], other[name]) for name in whole)
    alone = voltages(network_data(), samples=400)
    assert all(not np.array_equal(whole[name], alone[name][:, :400]) for name in whole)


def test_compiling_and_writing_back_work_with_gap_junctions() -> None:
    spec = network_from(coupled_network())
    compile_loop(build_network(spec, {}, CORES), CORE)
    assert "gap_junctions" in dump_network(spec)


def test_a_list_may_have_a_pair_either_way_or_both_and_is_counted_exactly(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("source,target\n3,1\n2,4\n4,2\n0,1\n2,2\n")
    (tmp_path / "g.edgelist").write_text("0 1\n1 2\n2 3\n3 4\n4 2\n3 1\n")
    pairs = {
        "t.csv": {(1, 3), (2, 4), (0, 1)},
        "g.edgelist": {(0, 1), (1, 2), (2, 3), (3, 4), (2, 4), (1, 3)},
    }
    for file, wanted in pairs.items():
        rule = {"table" if file == "t.csv" else "graph": {"file": str(tmp_path / file)}}
        one = {"name": "g", "from": "c", "to": "c", "rule": rule, "conductance": "1 nS"}
        spec = network_from(
            network_data(populations={"c": {"size": 5}}, projections=[], stimuli=[])
            | {"gap_junctions": [one]}
        )
        found = build_network(spec, {}, CORES).gap_junctions[0]
        assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == wanted
        assert found.size == expected_junctions(spec, 0) == len(wanted)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"to": "c"}, r"gap_junctions\[0\]\.to = c: unknown population"),
        ({"conductance": "-1 nS"}, r"gap_junctions\[0\]\.conductance.*can fall below 0|at least 0"),
        ({"conductance": "1 pA"}, r"gap_junctions\[0\]\.conductance = 1 pA"),
        ({"to": "a"}, r"gap_junctions\[0\]\.rule.*connects every cell of a population to itself"),
        ({"rule": {"all_to_all": {"autapses": True}}}, r"autapses.*a cell has no gap junction with itself"),
    ],
)
def test_wrong_junctions_are_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        network_from(two_cells(gap_junctions=[{**JUNCTION, **change}]))


def test_two_of_a_name_and_cores_without_a_soma_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"gap_junctions\[1\]\.name = gap: gap junctions 0 have that name"):
        network_from(two_cells(gap_junctions=[JUNCTION, JUNCTION]))
    with pytest.raises(
        ConfigError, match=r"gap_junctions\[0\]\.from = a: core odd takes no input at the soma"
    ):
        odd = {"integrate-and-fire": CoreInfo("odd", ("dendrite",), 1)}
        build_network(network_from(two_cells(stimuli=[])), {}, odd)
