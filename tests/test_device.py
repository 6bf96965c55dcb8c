"""The device loop with integrate-and-fire cells: what it shares with the loop on CPU, and what it promises itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import built, network_data
from hypothesis import given, settings
from hypothesis import strategies as st

from noble_net import network_from
from noble_net.errors import BackendError, OutputError, SolverError
from noble_net.loop import Loop
from noble_net.network.build import Network, build_network
from noble_net.surrogate.integrate_and_fire import IntegrateAndFire

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_torch_thread")

from on_device import CORES, ON, record, with_all_synapses  # noqa: E402 - needs torch

from noble_net.device.loop import DeviceLoop  # noqa: E402

# --- networks of integrate-and-fire cells -------------------------------------------------------------------


@pytest.mark.parametrize("core", list(CORES))
def test_a_network_agrees_with_the_cpu_until_rounding_shows(core: str) -> None:
    network = built(with_all_synapses()) if core == "integrate-and-fire" else grid(with_all_synapses(core))
    ours, fired = record(DeviceLoop(network, CORES, ON), 1000)
    theirs, expected = record(Loop(network, CORES), 1000)
    for name in theirs:
        assert len(expected[name]) > 25
        assert [each[:2] for each in fired[name]] == [each[:2] for each in expected[name]]
        np.testing.assert_allclose(
            [each[2] for each in fired[name]], [each[2] for each in expected[name]], atol=1e-3
        )
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=2e-2)


def grid(data: dict[str, Any]) -> Network:
    return build_network(network_from(data), {}, {name: core.info for name, core in CORES.items()})


@settings(max_examples=6, deadline=None)
@given(st.sampled_from([1, 3, 8]), st.sampled_from([None, 7, 50]), st.sampled_from(list(CORES)))
def test_same_bits_for_any_block_and_batch(block: int, batch: int | None, core: str) -> None:
    network = grid(with_all_synapses(core))
    whole, spikes = record(DeviceLoop(network, CORES, ON), 240)
    again, same = record(DeviceLoop(network, CORES, ON, block, batch), 240)
    assert sum(map(len, spikes.values())) > 20 and same == spikes
    for name, voltage in whole.items():
        assert np.array_equal(again[name], voltage)


@pytest.mark.parametrize("core", list(CORES))
def test_a_device_loop_goes_on_from_its_state(core: str) -> None:
    network = grid(with_all_synapses(core))
    whole = record(DeviceLoop(network, CORES, ON), 400)[0]
    before = DeviceLoop(network, CORES, ON)
    record(before, 184)
    state = {name: array.copy() for name, array in before.state().items()}
    record(before, 240)  # what was saved is not touched by going on
    after = DeviceLoop(network, CORES, ON, 4, 50)
    after.restore(state)
    assert after.position == 184
    rest = record(after, 400)[0]
    for name, voltage in whole.items():
        assert np.array_equal(rest[name], voltage[:, 184:])
    smaller = with_all_synapses(core)
    smaller["populations"]["inh"]["size"] = 29
    with pytest.raises(OutputError, match="does not fit its network"):
        DeviceLoop(grid(smaller), CORES, ON).restore(state)


@pytest.mark.parametrize("report", ["current", "conductance", "synapse-nmda", "synapse-gaba"])
def test_reports_of_inputs_agree(report: str) -> None:
    population = "inh" if report == "conductance" else "exc"
    kept = {"synapses": {"nmda": {"cells": 2}, "gaba": {"cells": 1}}, "current": {"cells": 3}}
    network = built(with_all_synapses(record={**kept, "conductance": {"cells": 2}}))
    loops = Loop(network, CORES), DeviceLoop(network, CORES, ON)
    told = DeviceLoop(network, CORES, ON, everything=False)
    for _ in range(40):
        for loop in (*loops, told):
            loop.advance()
        expected, found = (loop.inputs(report, population) for loop in loops)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-4)
        some = told.inputs(report, population)
        wanted = np.flatnonzero(some.any(axis=1))
        assert len(wanted) <= 3 and np.array_equal(some[wanted], found[wanted])
    assert expected.any()


def test_only_recorded_voltages_leave_the_device() -> None:
    network = built(network_data())  # records three cells
    response = DeviceLoop(network, CORES, ON, everything=False).advance()
    assert sum(int(each.voltage.any(axis=1).sum()) for each in response.values()) in (3, 6)
    network = built(network_data(record={}))
    response = DeviceLoop(network, CORES, ON, everything=False).advance()
    assert all(
        each.voltage.shape == (size, 0) for each, size in zip(response.values(), (90, 30), strict=True)
    )


def test_a_voltage_that_is_no_number_is_named() -> None:
    data = network_data()
    data["populations"] = {"exc": {"size": 90}, "inh": {"size": 30}}
    network = built(data)
    loop = DeviceLoop(network, CORES, ON)
    loop.advance()
    loop._groups[0].states[0]["membrane"][95] = np.nan
    with pytest.raises(SolverError, match=r"voltage of cell 5 .* of population inh is not finite at 0\.9 ms"):
        loop.advance()


# --- refusals -----------------------------------------------------------------------------------------------


def test_what_it_does_not_hold_is_refused_by_name() -> None:
    gap = {"name": "gap", "from": "inh", "to": "inh", "rule": {"pairwise_bernoulli": {"p": 0.1}}}
    coupled = built(network_data(gap_junctions=[{**gap, "conductance": "0.5 nS"}]))
    with pytest.raises(BackendError, match=r"gap junctions \(gap\); take --device cpu"):
        DeviceLoop(coupled, CORES, ON)
    data = network_data()
    times = {"tau_plus": "20 ms", "tau_minus": "20 ms"}
    rule = {**times, "a_plus": 0.02, "a_minus": 0.02, "w_max": "6 nS"}
    data["synapses"]["learning"] = {**data["synapses"]["ampa"], "plasticity": {"stdp": rule}}
    with pytest.raises(BackendError, match=r"stdp \(synapse learning\); take --device cpu"):
        DeviceLoop(built(data), CORES, ON)

    coarse = built(network_data(precision="bfloat16"))
    with pytest.raises(BackendError, match="precision: bfloat16; take --device cpu"):
        DeviceLoop(coarse, CORES, ON)

    class Other(IntegrateAndFire.__base__):  # type: ignore[misc, name-defined]
        name, zones, step_samples = "other", ("soma",), 1
        begin = advance = None

    with pytest.raises(BackendError, match="does not hold core other"):
        DeviceLoop(built(network_data()), {"integrate-and-fire": Other()}, ON)


@pytest.mark.parametrize("options", [{"block_samples": 9}, {"block_samples": 0}, {"batch": 0}])
def test_wrong_blocks_and_batches_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"a block of|a batch of"):
        DeviceLoop(built(network_data()), CORES, ON, **options)
