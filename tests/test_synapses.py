"""Synapses against closed forms, and delivery against a dense computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noble_net.config import SynapseSpec
from noble_net.network import underway_kernels
from noble_net.network.synapses import SynapseBank, fixed_point, synapse_constants, time_course
from noble_net.types import DT, Float32

EXP = SynapseSpec(model="exp", decay=4.0, reversal=-70.0)
EXP2 = SynapseSpec(model="exp2", rise=0.3, decay=5.0, reversal=0.0)
ALPHA = SynapseSpec(model="alpha", decay=1.7, reversal=-10.0)
CURRENT = SynapseSpec(model="exp2", rise=0.5, decay=3.0)


def response_to_one_event(spec: SynapseSpec, weight: float, samples: int) -> tuple[Float32, Float32]:
    bank = SynapseBank(spec, 1, longest_delay=10, longest_block=10)
    bank.arrive(0, np.ones((1, 1), np.int32), fixed_point(np.array([weight])))
    g, j = np.zeros((2, 1, samples), np.float32)
    bank.drive_block(0, g, j)
    return g[0], j[0]


def time_average(spec: SynapseSpec, samples: int) -> np.ndarray:
    """Mean over each sample of the closed-form time course, by its integral."""
    t = np.arange(samples + 1) * DT
    if spec.model == "exp":
        integral = -spec.decay * np.exp(-t / spec.decay)
        return np.diff(integral) / DT
    if spec.model == "alpha":
        return np.diff(-math.e * (t + spec.decay) * np.exp(-t / spec.decay)) / DT
    rise, decay, factor = time_course(spec.rise or 0.0, spec.decay)
    integral = factor * (rise * np.exp(-t / rise) - decay * np.exp(-t / decay))
    return np.diff(integral) / DT


@pytest.mark.parametrize("spec", [EXP, EXP2, ALPHA])
def test_conductance_follows_the_closed_form_and_carries_its_reversal(spec: SynapseSpec) -> None:
    g, j = response_to_one_event(spec, 2.0, 800)
    assert np.allclose(g, 2.0 * time_average(spec, 800), rtol=1e-5, atol=1e-7)
    assert np.allclose(j, g * (spec.reversal or 0.0), rtol=1e-6)


def test_charge_is_exact_even_when_the_time_constant_is_shorter_than_a_sample() -> None:
    short = [SynapseSpec(model=model, decay=0.02, reversal=0.0) for model in ("exp", "alpha")]
    for spec in (EXP, EXP2, ALPHA, *short):
        g, _ = response_to_one_event(spec, 1.5, 2000)
        if spec.model == "exp":
            charge = spec.decay
        elif spec.model == "alpha":
            charge = math.e * spec.decay
        else:
            rise, decay, factor = time_course(spec.rise or 0.0, spec.decay)
            charge = factor * (decay - rise)
        assert g.sum(dtype=np.float64) * DT == pytest.approx(1.5 * charge, rel=1e-6)


def test_peak_of_a_double_exponential_is_the_weight() -> None:
    rise, decay, factor = time_course(0.3, 5.0)
    peak = rise * decay / (decay - rise) * math.log(decay / rise)
    assert factor * (math.exp(-peak / decay) - math.exp(-peak / rise)) == pytest.approx(1.0, rel=1e-12)
    g, _ = response_to_one_event(SynapseSpec(model="exp2", rise=3.0, decay=30.0, reversal=0.0), 1.2, 900)
    assert g.max() == pytest.approx(1.2, rel=1e-4)


def test_equal_time_constants_approach_an_alpha_function() -> None:
    rise, decay, factor = time_course(5.0, 5.0)
    t = np.linspace(0, 40, 200)
    alpha = t / 5.0 * np.exp(1 - t / 5.0)
    assert np.allclose(factor * (np.exp(-t / decay) - np.exp(-t / rise)), alpha, atol=1e-4)


def test_an_alpha_function_peaks_at_its_time_constant_with_the_weight() -> None:
    g, _ = response_to_one_event(SynapseSpec(model="alpha", decay=20.0, reversal=0.0), 1.2, 900)
    assert g.max() == pytest.approx(1.2, rel=1e-5)
    assert abs(int(g.argmax()) * DT - 20.0) <= DT


def test_current_synapses_keep_their_sign_and_open_no_conductance() -> None:
    g, j = response_to_one_event(CURRENT, -40.0, 600)
    assert not g.any()
    assert np.allclose(j, -40.0 * time_average(CURRENT, 600), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("spec", [EXP, EXP2, ALPHA])
def test_silent_synapses_end_at_exactly_zero(spec: SynapseSpec) -> None:
    bank = SynapseBank(spec, 1, 10, 10)
    bank.arrive(0, np.ones((1, 1), np.int32), fixed_point(np.array([1.0])))
    g, j = np.zeros((2, 1, 5000), np.float32)
    bank.drive_block(0, g, j)
    assert bank.decaying[0] == 0.0 and bank.rising[0] == 0.0


def test_weights_are_exact_in_fixed_point_and_bad_specs_refused() -> None:
    weight = np.array([0.1, -33.3, 2e-3], np.float32).astype(np.float64)
    assert np.array_equal(fixed_point(weight) / underway_kernels.FIXED_POINT, weight)
    for spec in (
        SynapseSpec.model_construct(model="exp2", kind="current", decay=1.0, rise=None),
        SynapseSpec.model_construct(model="exp", kind="conductance", decay=1.0, reversal=None),
    ):
        with pytest.raises(ValueError, match="needs"):
            synapse_constants(spec)


def brute_force(
    spikes: list[tuple[int, int]], edges: list[tuple[int, int, float, int]], cells: int, samples: int
) -> np.ndarray:
    """Conductance of every target: each spike's time course laid down where it arrives."""
    course = time_average(EXP2, samples)
    total = np.zeros((cells, samples))
    for cell, sample in spikes:
        for source, target, weight, delay in edges:
            arrival = sample + 1 + delay
            if source == cell and arrival < samples:
                total[target, arrival:] += weight * course[: samples - arrival]
    return total


@settings(max_examples=60)
@given(data=st.data())
def test_delivery_equals_a_dense_computation_for_any_delays_and_blocks(data: st.DataObject) -> None:
    sources, targets = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    shortest = data.draw(st.integers(1, 12))
    edge = st.tuples(
        st.integers(0, sources - 1),
        st.integers(0, targets - 1),
        st.floats(0.0625, 5.0, width=32),
        st.integers(shortest, shortest + 20),
    )
    edges = sorted(data.draw(st.lists(edge, min_size=1, max_size=25)), key=lambda e: e[:2])
    spikes = data.draw(st.lists(st.tuples(st.integers(0, sources - 1), st.integers(0, 99)), max_size=25))
    blocks: list[int] = []
    while sum(blocks) < 100:
        blocks.append(data.draw(st.integers(1, min(shortest, 100 - sum(blocks)))))

    found = run_ring(spikes, edges, sources, targets, blocks, max(shortest, 1))
    assert np.allclose(found, brute_force(spikes, edges, targets, 100), rtol=1e-5, atol=1e-5)
    shuffled = run_ring(spikes[::-1], edges, sources, targets, [1] * 100, max(shortest, 1))
    assert np.array_equal(found, shuffled)


def run_ring(
    spikes: list[tuple[int, int]],
    edges: list[tuple[int, int, float, int]],
    sources: int,
    targets: int,
    blocks: list[int],
    longest_block: int,
) -> Float32:
    column = list(zip(*edges, strict=True))
    indptr = np.searchsorted(np.array(column[0]), np.arange(sources + 1)).astype(np.int64)
    target, weight = np.array(column[1], np.int32), np.array(column[2], np.float32)
    delay = np.array(column[3], np.int32)
    bank = SynapseBank(EXP2, targets, int(delay.max()), longest_block)
    found, start = [], 0
    for length in blocks:
        g, j = np.zeros((2, targets, length), np.float32)
        bank.drive_block(start, g, j)
        found.append(g)
        now = [(cell, sample - start) for cell, sample in spikes if start <= sample < start + length]
        cell = np.array([event[0] for event in now], np.int32)
        sample = np.array([event[1] for event in now], np.int32)
        bank.underway.make_room(underway_kernels.outgoing(cell, 0, indptr))
        pool = bank.underway.pool
        underway_kernels.send(cell, sample, 0, start, indptr, target, weight, delay, np.empty(0), pool)
        start += length
    return np.concatenate(found, axis=1)
