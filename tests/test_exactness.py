"""Integrate-and-fire cells on the grid, in float64, against Brian2: spike for spike with synapses that pass currents,
within an error with conductances."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from noble_net.config import SynapseSpec, load_network
from noble_net.errors import BackendError
from noble_net.loop import Loop
from noble_net.network.build import Network, build_network
from noble_net.network.synapses import sample_means, synapse_constants
from noble_net.reference.brian_grid import brian_answer
from noble_net.registry import find_network, load_core
from noble_net.surrogate.integrate_and_fire import IntegrateAndFire
from noble_net.types import DT, CellTable, Drive, Float64, Int64

CORE = "integrate-and-fire-grid"


def built(name: str, changes: Mapping[str, Any] | None = None) -> Network:
    """A shipped network, built."""
    return build_network(load_network(find_network(name), changes), {}, {CORE: load_core(CORE).info})


def ours(network: Network, samples: int) -> tuple[dict[str, tuple[Int64, Int64]], dict[str, Float64]]:
    """Spikes (cell, sample) and voltages of every population."""
    loop = Loop(network, {CORE: load_core(CORE)})
    cells: dict[str, list[Int64]] = {each.name: [] for each in network.populations}
    times: dict[str, list[Int64]] = {each.name: [] for each in network.populations}
    voltage: dict[str, list[Any]] = {each.name: [] for each in network.populations}
    while loop.position < samples:
        start = loop.position
        for name, response in loop.advance(min(loop.block_samples, samples - start)).items():
            cells[name].append(response.event_cell.astype(np.int64))
            times[name].append(response.event_sample.astype(np.int64) + start)
            voltage[name].append(response.voltage)
    spikes = {name: (np.concatenate(cells[name]), np.concatenate(times[name])) for name in cells}
    return spikes, {name: np.concatenate(each, axis=1) for name, each in voltage.items()}


def test_a_network_with_currents_equals_brian2_spike_for_spike() -> None:
    network = built("balanced")
    mine, voltage = ours(network, 4000)
    theirs = brian_answer(network, 4000, voltages=20)
    for name, (cell, sample) in mine.items():
        assert len(cell) > 4 * network.population(name).size
        assert np.array_equal(sample, theirs.spikes[name][1])
        assert np.array_equal(cell, theirs.spikes[name][0])
        traces = voltage[name][:20]
        np.testing.assert_allclose(traces[traces < 0], theirs.voltage[name][traces < 0], atol=1e-5)


def test_conductances_equal_brian2_within_the_stated_error() -> None:
    """Given the same arrivals: 998 of 1,000 spikes in the same sample, voltages within 0.001 mV at the median."""
    network = built("balanced-conductance")
    mine, voltage = ours(network, 4000)
    theirs = brian_answer(network, 4000, voltages=100, heard=mine)
    for name, (cell, sample) in mine.items():
        size = network.population(name).size
        assert len(cell) > 4 * size
        other_cell, other_sample = theirs.spikes[name]
        same = np.isin(sample * size + cell, other_sample * size + other_cell)
        assert same.mean() >= 0.998
        traces = voltage[name][:100]
        error = np.abs(traces - theirs.voltage[name])[traces < 0]
        assert np.median(error) < 1e-3


@pytest.mark.parametrize("memory", [np.inf, 15.0, 2.0, 0.03, 1e-7])
@pytest.mark.parametrize("decay", [0.05, 2.0, 2.001, 30.0])
@pytest.mark.parametrize("model", ["exp", "exp2", "alpha"])
def test_a_current_of_any_time_course_leaves_the_voltage_it_leaves(
    model: str, decay: float, memory: float
) -> None:
    """The constant current of a sample against the integral of the time course with the membrane's own."""
    rise = {"rise": decay / 3} if model == "exp2" else {}
    spec = SynapseSpec(model=model, decay=decay, **rise)  # type: ignore[arg-type]
    gain_d, gain_r, keep_d, keep_r, feed, *_ = synapse_constants(spec)
    share_d, share_r = sample_means(spec, np.array([memory]))[:, 0]
    d, r = gain_d * keep_d + gain_r * feed, gain_r * keep_r  # one sample after the arrival of a unit weight
    if model == "alpha":
        course = lambda t: math.e * t / decay * math.exp(-t / decay)  # noqa: E731
    elif model == "exp2":
        course = lambda t: gain_d * (math.exp(-t / decay) - math.exp(-3 * t / decay))  # noqa: E731
    else:
        course = lambda t: math.exp(-t / decay)  # noqa: E731
    left = DT if memory == np.inf else memory * -math.expm1(-DT / memory)
    from_ = 2 * DT - min(DT, 50 * memory)
    total, _ = quad(
        lambda t: course(t) * math.exp((t - 2 * DT) / memory), from_, 2 * DT, epsabs=0, epsrel=1e-12
    )
    tolerance = 1e-11 if memory > 1e-6 else 1e-2
    assert share_d * d + share_r * r == pytest.approx(total / left, rel=tolerance)


@given(cuts=st.lists(st.integers(1, 5), min_size=1, max_size=40))
@settings(max_examples=10)
def test_blocks_and_batches_change_nothing(cuts: list[int]) -> None:
    network = built("balanced", {"populations": {"exc": {"size": 100}, "inh": {"size": 30}}})
    whole, cut = (Loop(network, {CORE: load_core(CORE)}, batch=batch) for batch in (None, 7))
    for length in cuts:
        cut.advance(length)
    while whole.position < sum(cuts):
        whole.advance(min(5, sum(cuts) - whole.position))
    for name, voltage in whole.voltage().items():
        assert np.array_equal(voltage, cut.voltage()[name])


def test_a_cell_on_the_grid_spikes_and_waits_in_whole_samples() -> None:
    core = IntegrateAndFire(on_grid=True)
    table = CellTable(1, np.zeros((1, 0), np.float32), {"refractory": np.array([0.96])})
    drive = Drive.zeros(core.zones, 1, 400, dtype=core.drive_dtype)
    drive.current[:] = 0.5
    response, _ = core.advance(core.begin(table), drive)
    assert np.array_equal(response.event_time, (response.event_sample + 1) * DT)
    first, second = response.event_sample[:2]
    trace = response.voltage[0]
    assert np.all(trace[first + 1 : first + 11] == -65.0) and trace[first + 11] > -65.0
    tau, steady = 10.0, -20.0
    free = math.ceil(tau * math.log((steady + 65.0) / (steady + 50.0)) / DT)
    assert second - first == 10 + free


def test_what_brian2_is_not_given_is_refused_by_name() -> None:
    plastic = {
        "model": "exp",
        "decay": "2 ms",
        "plasticity": {"tsodyks_markram": {"U": 0.5, "tau_rec": "100 ms"}},
    }
    poisson = {"to": "exc", "name": "p", "poisson": {"rate": "5 Hz", "synapse": "ampa", "weight": "2 pA"}}
    for changes, named in (
        ({"synapses": {"ampa": plastic, "gaba": {"model": "exp", "decay": "6 ms"}}}, "synapse ampa"),
        ({"stimuli": [poisson]}, "stimulus p"),
        ({"core": "integrate-and-fire"}, "population exc"),
    ):
        spec = load_network(find_network("balanced"), changes)
        cores = {name: load_core(name).info for name in (CORE, "integrate-and-fire")}
        with pytest.raises(BackendError, match=named):
            brian_answer(build_network(spec, {}, cores), 10)
