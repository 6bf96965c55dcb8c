"""The spike rule: one detector for every backend."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from noble_net.spikes import MAX_LAG, detect_block, new_detector, spike_times
from noble_net.types import DT


def trace(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def test_crossing_time_is_interpolated():
    assert spike_times(trace(-60, -50, -30, -10, -60))[0] == pytest.approx([1.5 * DT])


def test_a_wavelet_below_the_confirmation_is_no_spike():
    assert len(spike_times(trace(-60, -38, -30, -60, -38, -60))[0]) == 0


def test_the_crossing_that_counts_is_the_last_before_confirmation():
    assert spike_times(trace(-60, -39, -41, -39, -20, -60))[0] == pytest.approx([2.5 * DT])


def test_rearmed_only_below_minus_45():
    assert len(spike_times(trace(-60, 0, -42, 0, -42, 0, -46, 0))[0]) == 2


def test_a_slow_rise_is_reported_at_most_two_ms_early():
    slow = np.concatenate([[-60.0], np.linspace(-39.9, -24.0, 100)]).astype(np.float32)[None]
    confirmed = np.flatnonzero(slow[0] >= -25)[0] * DT
    assert spike_times(slow)[0] == pytest.approx([confirmed - MAX_LAG])


@given(arrays(np.float32, (3, 40), elements=st.floats(-90, 20, width=32)), st.integers(1, 39))
def test_cutting_time_changes_nothing(voltage, cut):
    last = np.full(3, -70, np.float32)
    whole = detect_block(voltage, last, new_detector(3))
    detector = new_detector(3)
    first = detect_block(np.ascontiguousarray(voltage[:, :cut]), last, detector)
    second = detect_block(
        np.ascontiguousarray(voltage[:, cut:]), np.ascontiguousarray(voltage[:, cut - 1]), detector
    )
    assert np.array_equal(whole[0], np.concatenate([first[0], second[0]]))
    assert np.array_equal(whole[1], np.concatenate([first[1], second[1] + cut]))
    np.testing.assert_allclose(whole[2], np.concatenate([first[2], second[2] + cut * DT]), atol=1e-5)


def test_samples_further_apart_stretch_time() -> None:
    voltage = np.full((1, 60), -70.0, np.float32)
    voltage[0, [20, 40]] = 0.0
    (near,), (far,) = spike_times(voltage), spike_times(voltage, start=-3.0, sampling=0.6)
    assert len(near) == 2
    np.testing.assert_allclose(far, 6.0 * near - 3.0)
