"""NMDA synapses: the magnesium block against the equation, on both kinds of core, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import CORES, network_data
from scipy.integrate import solve_ivp
from test_streaming import cells as streaming_cells
from test_streaming import core, cut, drive, weights  # noqa: F401  (fixtures)
from test_synapses_in_neuron import CAPACITANCE, RESISTANCE, REST, SAMPLES, pair, simulated

from noble_net.config import SynapseSpec, network_from
from noble_net.errors import ConfigError, EnvelopeWarning
from noble_net.loop import Loop
from noble_net.network.build import build_network
from noble_net.network.check import check_network
from noble_net.network.synapses import half_block, time_course
from noble_net.surrogate.integrate_and_fire import IntegrateAndFire
from noble_net.types import DT, CellTable, CoreInfo, Drive, Nmda

NMDA: dict[str, Any] = {"model": "nmda", "rise": "2 ms", "decay": "40 ms", "reversal": "0 mV"}


def block(voltage: Any, magnesium: float, shift: float = 0.0) -> Any:
    """The share that is not blocked, as Jahr & Stevens (1990) write it."""
    return 1.0 / (1.0 + magnesium / 3.57 * np.exp(-0.062 * (voltage + shift)))


@pytest.mark.parametrize(("magnesium", "shift"), [(1.0, 0.0), (0.4, 14.0), (3.57, -5.0)])
def test_half_of_the_conductance_is_blocked_where_the_equation_says(magnesium: float, shift: float) -> None:
    spec = SynapseSpec(model="nmda", rise=2.0, decay=40.0, reversal=0.0, magnesium=magnesium, shift=shift)
    assert block(half_block(spec), magnesium, shift) == pytest.approx(0.5, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "magnesium", "shift"),
    [
        ({}, 1.0, 0.0),
        ({"magnesium": "0.2 mM", "shift": "14 mV"}, 0.2, 14.0),
        ({"magnesium": "0 mM"}, 0.0, 0.0),
    ],
    ids=str,
)
def test_potentials_are_those_of_the_equations(
    changes: dict[str, str], magnesium: float, shift: float
) -> None:
    arrivals, voltage = simulated(pair({**NMDA, **changes}, "4 nS"))
    rise, decay, factor = time_course(2.0, 40.0)

    def slope(t: float, v: np.ndarray) -> np.ndarray:
        since = np.maximum(t - arrivals, 0.0)
        g = 4.0 * factor * (np.exp(-since / decay) - np.exp(-since / rise)).sum()
        return (-(v - REST) * 1000.0 / RESISTANCE - g * block(v, magnesium, shift) * v) / CAPACITANCE

    times = DT * np.arange(1, SAMPLES + 1)
    exact = solve_ivp(slope, (0, times[-1]), [REST], t_eval=times, max_step=0.2, rtol=1e-8).y[0]
    assert np.ptp(exact) > 5.0
    assert np.abs(voltage - exact).max() < 0.005 * np.ptp(exact)


def test_the_error_of_the_held_block_falls_with_the_change_of_voltage() -> None:
    """A sample's mean block is off by 0.031·(1 − B)·ΔV, as the core's docstring says."""
    table = CellTable(1, np.zeros((1, 0), np.float32), {"v_threshold": np.array([500.0])})
    one = Drive.zeros(("soma",), 1, 1, np.full(1, half_block(SynapseSpec(**_python())), np.float32))
    assert one.nmda is not None
    one.nmda.conductance[:] = 50.0
    found = IntegrateAndFire().advance(IntegrateAndFire().begin(table), one)[0].voltage[0, 0]
    leak, capacity, rest = _constants()
    exact = solve_ivp(
        lambda _, v: (-(v - rest) * leak - 50.0 * block(v, 1.0) * v) / capacity, (0, DT), [rest], rtol=1e-10
    ).y[0, -1]
    change = exact - rest
    missed = 1.0 - (found - rest) / change
    assert missed == pytest.approx(0.031 * (1.0 - block(rest, 1.0)) * change, rel=0.2)


def _python() -> dict[str, Any]:
    return {"model": "nmda", "rise": 2.0, "decay": 40.0, "reversal": 0.0}


def _constants() -> tuple[float, float, float]:
    state = IntegrateAndFire().begin(CellTable(1, np.zeros((1, 0), np.float32)))
    capacity, leak, rest = state.arrays["constants"][0, :3]
    return leak, capacity, rest


# --- the streaming core ----------------------------------------------------------------------------------


def with_nmda(d: Drive, half: float) -> Drive:
    n = np.random.default_rng(7)
    g = n.uniform(0, 4, d.conductance.shape).astype(np.float32)
    return Drive(
        d.zones, d.current, d.conductance, d.reversal_current,
        nmda=Nmda(g, g * np.float32(-3.0), np.full(g.shape[1], half, np.float32)),
    )  # fmt: skip


def part(d: Drive, cell: slice, sample: slice) -> Drive:
    assert d.nmda is not None
    nmda = (np.ascontiguousarray(a[:, cell, sample]) for a in (d.nmda.conductance, d.nmda.reversal_current))
    plain = cut(d, cell, sample)
    return Drive(
        d.zones, plain.current, plain.conductance, plain.reversal_current, nmda=Nmda(*nmda, d.nmda.half[cell])
    )


@pytest.mark.parametrize("core", ["float32"], indirect=True)  # bfloat16 rounds the two ways to sum apart
def test_the_streaming_core_without_magnesium_takes_a_plain_conductance(core: Any) -> None:  # noqa: F811
    d = with_nmda(drive(37, 100), -np.inf)
    assert d.nmda is not None
    added = Drive(
        d.zones, d.current, d.conductance + d.nmda.conductance, d.reversal_current + d.nmda.reversal_current
    )
    table = streaming_cells(37)
    found, _ = core.advance(core.begin(table), d)
    expected, _ = core.advance(core.begin(table), added)
    without, _ = core.advance(core.begin(table), drive(37, 100))
    np.testing.assert_allclose(found.voltage, expected.voltage, atol=1e-2)
    assert np.abs(found.voltage - without.voltage).max() > 1.0


def test_the_streaming_core_blocks_by_the_last_voltage_of_each_step(core: Any) -> None:  # noqa: F811
    d, table = with_nmda(drive(5, 5), -20.0), streaming_cells(5)
    assert d.nmda is not None
    state = core.begin(table)
    opened = (1 / (1 + np.exp(-0.062 * (state.voltage + 20.0))))[None, :, None].astype(np.float32)
    by_hand = Drive(
        d.zones, d.current,
        d.conductance + opened * d.nmda.conductance,
        d.reversal_current + opened * d.nmda.reversal_current,
    )  # fmt: skip
    found, _ = core.advance(state.copy(), d)
    expected, _ = core.advance(state.copy(), by_hand)
    np.testing.assert_allclose(found.voltage, expected.voltage, atol=1e-4)


def test_batches_and_blocks_do_not_matter_to_the_streaming_core(core: Any) -> None:  # noqa: F811
    d, table = with_nmda(drive(45, 100), -17.0), streaming_cells(45)
    whole, _ = core.advance(core.begin(table), d)
    for first in range(0, 45, 7):
        some = slice(first, min(first + 7, 45))
        state = core.begin(table.take(some))
        voltage = []
        for start in range(0, 100, 25):
            response, state = core.advance(state, part(d, some, slice(start, start + 25)))
            voltage.append(response.voltage)
        assert np.array_equal(np.concatenate(voltage, axis=1), whole.voltage[some])


# --- in a network ----------------------------------------------------------------------------------------


def nmda_data() -> dict[str, Any]:
    data = network_data()
    data["synapses"]["ampa"] = NMDA
    return data


@pytest.mark.parametrize("options", [{"block_samples": 1}, {"block_samples": 3, "batch": 7}], ids=str)
def test_blocks_and_batches_change_nothing(options: dict[str, int]) -> None:
    network = build_network(network_from(nmda_data()), {}, CORES)
    whole, cut_up = (
        Loop(network, {"integrate-and-fire": IntegrateAndFire()}, **each) for each in ({}, options)
    )
    for loop in (whole, cut_up):
        loop.spikes = 0
        while loop.position < 1200:
            responses = loop.advance(min(loop.block_samples, 1200 - loop.position))
            loop.spikes += responses["inh"].event_cell.size
    assert whole.spikes == cut_up.spikes > 20
    for name, voltage in whole.voltage().items():
        assert np.array_equal(voltage, cut_up.voltage()[name])


def test_cores_without_nmda_and_two_blocks_on_a_population_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"synapses\.ampa\.model = nmda: core plain of population inh takes no"
    ):
        check_network(network_from(nmda_data()), {"integrate-and-fire": CoreInfo("plain", ("soma",), 1)})
    data = nmda_data()
    data["synapses"]["other"] = {**NMDA, "magnesium": "2 mM"}
    data["stimuli"][1]["poisson"]["synapse"] = "other"
    with pytest.raises(ConfigError, match=r"synapses\.ampa\.magnesium: synapse other, onto population inh"):
        check_network(network_from(data), CORES)


def test_a_block_beyond_what_a_core_was_trained_on_is_told() -> None:
    trained = {"integrate-and-fire": CORES["integrate-and-fire"]._replace(half_block=(-40.0, -15.0))}
    data = nmda_data()
    check_network(network_from(data), trained)
    data["synapses"]["ampa"]["shift"] = "-14 mV"
    with pytest.warns(
        EnvelopeWarning, match=r"synapse ampa is half blocked .* at -6\.5 mV.*-40\.0 to -15\.0 mV"
    ):
        check_network(network_from(data), trained)
