"""Plasticity: against integration of its differential equations, all pairs counted by hand, and any blocks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from helpers import built, network_data
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from noble_net.config import SynapseSpec
from noble_net.loop import Loop, compile_loop
from noble_net.network.connect import ProjectionArrays
from noble_net.network.synapses import SynapseBank
from noble_net.network.transmission import Events, Stdp, TsodyksMarkram, transmission
from noble_net.surrogate.integrate_and_fire import IntegrateAndFire
from noble_net.types import DT

CORE = {"integrate-and-fire": IntegrateAndFire()}
TM = {"tsodyks_markram": {"U": 0.4, "tau_rec": "120 ms", "tau_facil": "60 ms"}}
STDP = {"tau_plus": 17.0, "tau_minus": 34.0, "a_plus": 0.02, "a_minus": 0.015, "w_max": 2.0}
DELAY = 12


def synapse(plasticity: dict[str, Any]) -> SynapseSpec:
    return SynapseSpec(model="exp", decay=2.0, plasticity=plasticity)


def dense(sources: int, targets: int, weight: float) -> ProjectionArrays:
    """All to all, with one delay."""
    size = sources * targets
    return ProjectionArrays(
        name="p",
        source="a",
        target_population="b",
        synapse="s",
        indptr=np.arange(sources + 1, dtype=np.int64) * targets,
        target=np.tile(np.arange(targets, dtype=np.int32), sources),
        weight=np.full(size, weight, np.float32),
        delay=np.full(size, DELAY, np.int32),
    )


Spikes = list[tuple[int, int]]
"""(sample, cell), sorted."""


def events(spikes: Spikes, start: int, stop: int, first: int = 0) -> Events:
    now = [(sample - start, cell + first) for sample, cell in spikes if start <= sample < stop]
    return Events(np.array([c for _, c in now], np.int32), np.array([s for s, _ in now], np.int32), first)


def run(
    plasticity: dict[str, Any], fired: Spikes, heard: Spikes, blocks: list[int], weight: float = 1.0
) -> tuple[Any, np.ndarray]:
    """The transmission after all blocks, and what arrived at each of three cells and samples."""
    samples = sum(blocks)
    projection = dense(3, 3, weight)
    bank = SynapseBank(synapse(plasticity), 3, longest_delay=samples + DELAY + 1, longest_block=1)
    way, start = transmission(projection, 3, bank), 0
    for length in blocks:
        stop = start + length
        way.send(start, events(fired, start, stop, first=5), events(heard, start, stop, first=2))
        start = stop
    counts, target, amount = bank.underway.packed()
    arrived = np.zeros((3, counts.size))
    np.add.at(arrived, (target, np.repeat(np.arange(counts.size), counts)), amount)
    return way, arrived


trains = st.lists(st.tuples(st.integers(0, 299), st.integers(0, 2)), max_size=40, unique=True).map(sorted)
cuts = st.lists(st.integers(1, 80), min_size=6, max_size=12).map(lambda c: [*c, max(300 - sum(c), 1)])


# --- short-term ------------------------------------------------------------------------------------------


def integrated(times: np.ndarray, use: float, tau_rec: float, tau_facil: float) -> list[float]:
    """u·x at each spike, from dx/dt = (1 − x)/τ_rec, du/dt = −u/τ_facil, integrated between spikes."""
    u, x, released, before = 0.0, 1.0, [], times[0]
    for time in times:
        if time > before:
            rate = 1.0 / tau_facil if tau_facil else 1e2
            course = solve_ivp(
                lambda _, y, rate=rate: [-rate * y[0], (1.0 - y[1]) / tau_rec],
                (before, time),
                [u, x],
                method="LSODA",
                rtol=1e-10,
                atol=1e-12,
            )
            u, x = course.y[:, -1]
        u += use * (1.0 - u)
        released.append(u * x)
        x, before = x - u * x, time
    return released


@pytest.mark.parametrize(("use", "tau_rec", "tau_facil"), [(0.5, 800.0, 0.0), (0.1, 100.0, 600.0)])
def test_release_follows_the_differential_equations(use: float, tau_rec: float, tau_facil: float) -> None:
    samples = np.cumsum([40, 130, 55, 210, 700, 30, 1500, 90])
    parameters = {"U": use, "tau_rec": tau_rec, "tau_facil": tau_facil}
    fired = [(int(sample), 1) for sample in samples]
    _, arrived = run({"tsodyks_markram": parameters}, fired, [], [int(samples[-1]) + 1], weight=3.0)
    found = arrived[0, samples + 1 + DELAY]
    assert np.allclose(found, 3.0 * np.array(integrated(samples * DT, use, tau_rec, tau_facil)), rtol=1e-6)
    assert np.count_nonzero(arrived) == 3 * len(samples)
    assert found[0] == pytest.approx(3.0 * use)


def test_a_regular_train_settles_where_the_closed_form_says() -> None:
    samples = np.arange(0, 20_000, 500)
    parameters = {"U": 0.5, "tau_rec": 800.0}
    _, arrived = run({"tsodyks_markram": parameters}, [(int(s), 0) for s in samples], [], [20_000])
    kept = math.exp(-50.0 / 800.0)
    settled = (1 - kept) / (1 - 0.5 * kept)
    assert arrived[2, samples[-1] + 1 + DELAY] == pytest.approx(0.5 * settled, rel=1e-6)


@given(fired=trains, blocks=cuts)
def test_blocks_do_not_change_release(fired: Spikes, blocks: list[int]) -> None:
    plasticity = {"tsodyks_markram": {"U": 0.3, "tau_rec": 20.0, "tau_facil": 9.0}}
    whole, expected = run(plasticity, fired, [], [sum(blocks)])
    parts, found = run(plasticity, fired, [], blocks)
    assert isinstance(whole, TsodyksMarkram)
    assert np.array_equal(found, expected)
    assert np.array_equal(whole.recovered, parts.recovered) and np.array_equal(whole.used, parts.used)


# --- spike-timing dependence -----------------------------------------------------------------------------


def counted(fired: Spikes, heard: Spikes, rule: str, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights [source, target] after all spikes, pair by pair; and what arrives, [target, sample]."""
    w = np.full((3, 3), weight)
    arrived = np.zeros((3, 300 + DELAY + 1))
    top = STDP["w_max"]
    for sample in range(300):
        for source in (c for s, c in fired if s == sample):
            for target in range(3):
                y = sum(
                    math.exp((s - sample) * DT / STDP["tau_minus"])
                    for s, c in heard
                    if c == target and s < sample
                )
                scale = top if rule == "additive" else w[source, target]
                w[source, target] = max(w[source, target] - STDP["a_minus"] * scale * y, 0.0)
                arrived[target, sample + 1 + DELAY] += w[source, target]
        for target in (c for s, c in heard if s == sample):
            for source in range(3):
                x = sum(
                    math.exp((s - sample) * DT / STDP["tau_plus"])
                    for s, c in fired
                    if c == source and s < sample
                )
                scale = top if rule == "additive" else top - w[source, target]
                w[source, target] = min(w[source, target] + STDP["a_plus"] * scale * x, top)
    return w, arrived


@given(
    fired=trains, heard=trains, blocks=cuts, rule=st.sampled_from(["additive", "multiplicative"]),
    weight=st.sampled_from([0.05, 1.0, 1.98]),
)  # fmt: skip
def test_weights_are_those_of_all_pairs_counted_for_any_blocks(
    fired: Spikes, heard: Spikes, blocks: list[int], rule: str, weight: float
) -> None:
    way, found = run({"stdp": {**STDP, "rule": rule}}, fired, heard, blocks, weight)
    weights, arrived = counted(fired, heard, rule, weight)
    assert isinstance(way, Stdp)
    assert np.allclose(way.weight.reshape(3, 3), weights, rtol=0, atol=1e-5)
    assert np.allclose(found[:, : arrived.shape[1]], arrived, rtol=0, atol=1e-4)
    whole, _ = run({"stdp": {**STDP, "rule": rule}}, fired, heard, [sum(blocks)], weight)
    assert np.array_equal(whole.weight, way.weight)


def test_a_pair_changes_the_weight_by_its_time_difference() -> None:
    after, _ = run({"stdp": STDP}, [(100, 0)], [(150, 1)], [300])
    before, _ = run({"stdp": STDP}, [(150, 0)], [(100, 1)], [300])
    assert after.weight[1] == pytest.approx(1.0 + 0.02 * 2.0 * math.exp(-5.0 / 17.0), rel=1e-6)
    assert before.weight[1] == pytest.approx(1.0 - 0.015 * 2.0 * math.exp(-5.0 / 34.0), rel=1e-6)
    assert np.all(np.delete(after.weight, 1) == 1.0) and np.all(np.delete(before.weight, 1) == 1.0)


# --- in a network ----------------------------------------------------------------------------------------


def plastic_data() -> dict[str, Any]:
    data = network_data()
    stdp = {"tau_plus": "17 ms", "tau_minus": "34 ms", "a_plus": 0.02, "a_minus": 0.015, "w_max": "8 nS"}
    data["synapses"]["changing"] = {
        **data["synapses"]["ampa"],
        "model": "alpha",
        "plasticity": {"stdp": stdp},
    }
    del data["synapses"]["changing"]["rise"]
    data["synapses"]["gaba"]["plasticity"] = TM
    data["projections"][0] |= {"synapse": "changing", "weight": {"uniform": {"low": "0 nS", "high": "3 nS"}}}
    return data


def advanced(data: dict[str, Any], **options: Any) -> tuple[np.ndarray, dict[str, np.ndarray], Loop]:
    loop = Loop(built(data), CORE, **options)
    spikes = []
    while loop.position < 2000:
        start = loop.position
        for number, response in enumerate(loop.advance(min(loop.block_samples, 2000 - start)).values()):
            events = np.stack([response.event_sample + start, response.event_cell])
            spikes.append(np.concatenate([np.full((1, events.shape[1]), number), events]))
    found = np.concatenate(spikes, axis=1)
    return found[:, np.lexsort(found)], loop.weights(), loop


@pytest.mark.parametrize(
    "options", [{"block_samples": 1}, {"block_samples": 3, "batch": 7}, {"batch": 1}], ids=str
)
def test_blocks_and_batches_change_no_spike_and_no_weight(options: dict[str, int]) -> None:
    spikes, weights, loop = advanced(plastic_data())
    others, other_weights, _ = advanced(plastic_data(), **options)
    assert spikes.shape[1] > 100 and np.array_equal(spikes, others)
    assert all(np.array_equal(weights[name], other_weights[name]) for name in weights)
    before = {each.name: each.weight for each in loop.network.projections}
    assert not np.array_equal(weights["e-i"], before["e-i"]) and np.array_equal(weights["i-e"], before["i-e"])


def test_plasticity_changes_what_the_network_does_and_compiling_does_not() -> None:
    spikes, _, _ = advanced(plastic_data())
    data = plastic_data()
    del data["synapses"]["gaba"]["plasticity"]
    assert not np.array_equal(advanced(data)[0], spikes)
    network = built(plastic_data())
    weight = network.projections[0].weight.copy()
    compile_loop(network, CORE)
    assert np.array_equal(network.projections[0].weight, weight)
