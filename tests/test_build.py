"""Building a network: what is refused, the block length, and who depends on whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import CORES, built, network_data, toy_family

from noble_net.config import load_network, network_from
from noble_net.errors import ConfigError
from noble_net.network.build import LONGEST_BLOCK, Network, build_network
from noble_net.network.check import check_network
from noble_net.types import CoreInfo

SLOW = {"integrate-and-fire": CoreInfo("integrate-and-fire", ("soma", "dendrite"), 5)}


def same_projection(name: str, one: Network, two: Network) -> bool:
    first, second = (next(p for p in network.projections if p.name == name) for network in (one, two))
    arrays = ("indptr", "target", "weight", "delay")
    return all(np.array_equal(getattr(first, key), getattr(second, key)) for key in arrays)


def same_cells(name: str, one: Network, two: Network) -> bool:
    first, second = one.population(name).cells.parameters, two.population(name).cells.parameters
    return all(np.array_equal(first[key], second[key]) for key in first)


def test_arrays_and_sizes() -> None:
    network = built(network_data())
    assert [(p.name, p.size, p.offset) for p in network.populations] == [("exc", 90, 0), ("inh", 30, 90)]
    assert network.n_cells == 120
    assert network.n_synapses == sum(p.size for p in network.projections)
    assert network.projections[1].size == 90 * 8
    assert network.longest_delay == 30
    exc = network.population("exc").cells
    assert exc.code.shape == (90, 0) and exc.parameters["v_threshold"].std() == pytest.approx(1.0, rel=0.3)


def test_other_populations_change_nothing() -> None:
    data = network_data()
    one = built(data)
    more = {"new": {"size": 17}, **dict(reversed(data["populations"].items()))}
    extra = {**data["projections"][0], "name": "new-i", "from": "new"}
    two = built({**data, "populations": more, "projections": [extra, *reversed(data["projections"])]})
    assert two.population("exc").offset != one.population("exc").offset
    for name in ("exc", "inh"):
        assert same_cells(name, one, two)
    for name in ("e-i", "i-e"):
        assert same_projection(name, one, two)


def test_seed_and_name_change_the_draw() -> None:
    data = network_data()
    other = built({**data, "seed": 4})
    assert not same_cells("exc", built(data), other) and not same_projection("e-i", built(data), other)


def test_block_is_the_largest_multiple_of_the_step_below_the_shortest_delay() -> None:
    assert built(network_data()).block_samples == 8
    assert build_network(network_from(network_data()), {}, SLOW).block_samples == 5
    assert built(network_data(projections=[])).block_samples == LONGEST_BLOCK
    late = [{**each, "delay": "9 ms"} for each in network_data()["projections"]]
    assert built(network_data(projections=late)).block_samples == LONGEST_BLOCK


def test_steps_of_several_cores_are_combined() -> None:
    data = network_data()
    data["populations"]["exc"]["core"] = "integrate-and-fire"
    data["populations"]["inh"]["core"] = "integrate-and-fire"
    data["populations"]["slow"] = {"size": 3, "core": "other", "family": "any"}
    cores = {**CORES, "other": CoreInfo("other", ("soma",), 3)}
    spec = network_from(data)
    check_network(spec, cores)
    assert build_network(network_from(network_data()), {}, CORES).step_samples == 1
    data["projections"][0]["delay"] = "0.2 ms"
    with pytest.raises(
        ConfigError, match=r"e-i can be 0\.2 ms, shorter than the step of core other, 0\.3 ms"
    ):
        check_network(network_from(data), cores)


def write(path: Path, **changes: Any) -> Path:
    from ruamel.yaml import YAML

    with path.open("w") as stream:
        YAML(typ="safe", pure=True).dump({**network_data(), **changes}, stream)
    return path


@pytest.mark.parametrize(
    ("delay", "shortest"),
    [
        ("0.4 ms", "0.4 ms"),
        ({"uniform": {"low": "0.3 ms", "high": "2 ms"}}, "0.3 ms"),
        ({"normal": {"mean": "1 ms", "std": "0.1 ms", "min": "0.2 ms"}}, "0.2 ms"),
    ],
)
def test_a_delay_below_the_step_is_refused_at_its_line(tmp_path: Path, delay: Any, shortest: str) -> None:
    projections = [network_data()["projections"][0], {**network_data()["projections"][1], "delay": delay}]
    file = write(tmp_path / "net.yaml", projections=projections)
    with pytest.raises(ConfigError) as caught:
        check_network(load_network(file), SLOW)
    text = str(caught.value)
    assert caught.value.line is not None and "delay" in file.read_text().splitlines()[caught.value.line - 1]
    for part in ("projections[1].delay", "i-e", shortest, "0.5 ms", "integrate-and-fire", "net.yaml"):
        assert part in text


def test_a_delay_that_rounds_up_to_the_step_is_taken() -> None:
    projections = [{**each, "delay": "0.46 ms"} for each in network_data()["projections"]]
    network = build_network(network_from(network_data(projections=projections)), {}, SLOW)
    assert network.block_samples == 5


@pytest.mark.parametrize("used_by", ["projection", "poisson"])
def test_an_unknown_zone_is_refused_with_the_nearest(tmp_path: Path, used_by: str) -> None:
    data = network_data()
    data["synapses"]["ampa"]["zone"] = "dendrit"
    if used_by == "poisson":
        data["projections"] = []
    file = write(tmp_path / "net.yaml", **data)
    with pytest.raises(ConfigError, match=r"synapses\.ampa\.zone = dendrit.*did you mean `dendrite`"):
        check_network(load_network(file), SLOW)


def test_injected_current_needs_a_soma() -> None:
    cores = {"integrate-and-fire": CoreInfo("integrate-and-fire", ("dendrite",), 1)}
    stimuli = [network_data()["stimuli"][0]]
    with pytest.raises(ConfigError, match="no input at the soma"):
        check_network(network_from(network_data(stimuli=stimuli, projections=[])), cores)


def family_data(role: str = "all", **populations: Any) -> dict[str, Any]:
    sample = {"from": "members", "role": role}
    population = {"size": 9, "core": "learned", "family": "toy", "sample": sample}
    return network_data(
        populations={**populations, "pv": population}, projections=[], stimuli=[], synapses={}
    )


def test_cells_are_sampled_from_their_family_whatever_else_there_is() -> None:
    cores = {**CORES, "learned": CoreInfo("learned", ("soma",), 1)}
    families = {"toy": toy_family()}
    alone = build_network(network_from(family_data("train")), families, cores).population("pv")
    data = family_data("train", other={"size": 5})
    beside = build_network(network_from(data), families, cores).population("pv")
    assert beside.offset == 5 and np.array_equal(alone.cells.code, beside.cells.code)
    assert set(alone.cells.labels) == {f"m{i}" for i in range(8)}
    assert alone.cells.features["I_thr"].shape == (9,)
    other = build_network(network_from({**data, "seed": 9}), families, cores).population("pv")
    assert other.cells.labels != alone.cells.labels


def test_a_role_without_members_is_refused() -> None:
    cores = {"learned": CoreInfo("learned", ("soma",), 1)}
    families = {"toy": toy_family(held_out=0)}
    with pytest.raises(ConfigError, match=r"populations\.pv\.sample: .* no members of role 'held_out'"):
        build_network(network_from(family_data("held_out")), families, cores)
