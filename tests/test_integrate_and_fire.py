"""The closed-form core against its closed form, and the contract every core keeps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noble_net.surrogate.integrate_and_fire import IntegrateAndFire
from noble_net.types import DT, CellTable, Drive, Float64, Response, State

PARAMETERS = {
    "capacitance": 150.0,
    "resistance": 120.0,
    "v_rest": -70.0,
    "v_reset": -62.0,
    "v_threshold": -50.0,
    "refractory": 1.73,
}
CORE = IntegrateAndFire()


def cells(size: int, **changes: float) -> CellTable:
    values = {**PARAMETERS, **changes}
    return CellTable(size, np.zeros((size, 0), np.float32), {k: np.full(size, v) for k, v in values.items()})


def run(table: CellTable, drive: Drive, blocks: list[int] | None = None) -> tuple[Response, Float64, State]:
    """The whole response, with spike times in ms from the start."""
    state, start = CORE.begin(table), 0
    voltages, events, outside = [], [], np.zeros(table.size, np.uint32)
    for length in blocks or [drive.samples]:
        part = slice(start, start + length)
        arrays = (drive.current, drive.conductance, drive.reversal_current)
        block = Drive(drive.zones, *(np.ascontiguousarray(array[:, :, part]) for array in arrays))
        response, state = CORE.advance(state, block)
        voltages.append(response.voltage)
        lag = (response.event_sample + 1) * DT - response.event_time
        sample = response.event_sample + start
        events.append((response.event_cell, sample, (sample + 1) * DT - lag.astype(np.float32)))
        outside += response.outside
        start += length
    cell, sample, time = (np.concatenate(column) for column in zip(*events, strict=True))
    return Response(np.concatenate(voltages, axis=1), cell, sample, time, outside), time, state


def constant(size: int, samples: int, current: float = 0.0, g: float = 0.0, reversal: float = 0.0) -> Drive:
    drive = Drive.zeros(CORE.zones, size, samples)
    drive.current[:] = current
    drive.conductance[:] = g
    drive.reversal_current[:] = g * reversal
    return drive


@pytest.mark.parametrize("current", [0.17, 0.2, 0.35, 1.0, 4.0])
@pytest.mark.parametrize("g", [0.0, 3.0])
def test_rate_follows_the_closed_form_with_refractory_time(current: float, g: float) -> None:
    i, g_nS, reversal = float(np.float32(current)), g, -60.0
    leak = 1000.0 / PARAMETERS["resistance"]
    steady = (leak * -70.0 + 1000.0 * i + g_nS * reversal) / (leak + g_nS)
    tau = PARAMETERS["capacitance"] / (leak + g_nS)
    _, times, _ = run(cells(1), constant(1, 20_000, current, g, reversal))
    if steady <= -50.0:
        assert not len(times)
        return
    first = tau * math.log((steady + 70.0) / (steady + 50.0))
    interval = 1.73 + tau * math.log((steady + 62.0) / (steady + 50.0))
    expected = first + interval * np.arange(len(times))
    assert len(times) == 1 + math.floor((2000.0 - first) / interval)
    assert np.allclose(times, expected, rtol=0, atol=1e-6)


def test_subthreshold_voltage_is_exact_under_changing_input() -> None:
    generator = np.random.default_rng(1)
    drive = constant(1, 400)
    drive.current[:] = generator.normal(0.02, 0.05, (1, 1, 400)).astype(np.float32)
    drive.conductance[:] = generator.uniform(0, 5, (1, 1, 400)).astype(np.float32)
    drive.reversal_current[:] = drive.conductance * np.float32(-75.0)
    response, times, _ = run(cells(1), drive)
    v, leak = -70.0, 1000.0 / 120.0
    for k in range(400):
        total = leak + float(drive.conductance[0, 0, k])
        injected = 1000.0 * float(drive.current[0, 0, k]) + float(drive.reversal_current[0, 0, k])
        steady = (leak * -70.0 + injected) / total
        v = steady + (v - steady) * math.exp(-DT * total / 150.0)
        assert response.voltage[0, k] == pytest.approx(v, abs=1e-5)
    assert not len(times)


def test_a_spike_shows_for_one_sample_then_the_reset_is_held() -> None:
    response, _, _ = run(cells(1), constant(1, 1000, 0.5))
    sample = int(response.event_sample[0])
    trace = response.voltage[0]
    assert trace[sample] == 20.0 and trace[sample - 1] < -50.0
    assert np.all(trace[sample + 1 : sample + 17] == -62.0) and trace[sample + 19] > -62.0


@given(cuts=st.lists(st.integers(1, 60), min_size=1, max_size=12), seed=st.integers(0, 50))
def test_blocks_change_nothing(cuts: list[int], seed: int) -> None:
    drive = noisy(4, sum(cuts), seed)
    whole, times, end = run(cells(4), drive)
    parts, cut_times, cut_end = run(cells(4), drive, cuts)
    assert np.array_equal(whole.voltage, parts.voltage)
    assert np.array_equal(whole.event_cell, parts.event_cell) and np.array_equal(times, cut_times)
    assert np.array_equal(whole.outside, parts.outside)
    assert all(np.array_equal(end.arrays[key], cut_end.arrays[key]) for key in end.arrays)


@pytest.mark.parametrize("batch", [1, 7])
def test_batches_change_nothing(batch: int) -> None:
    drive = noisy(20, 2000, 3)
    whole, _, _ = run(cells(20), drive)
    assert whole.event_cell.size > 100
    for begin in range(0, 20, batch):
        part = slice(begin, min(begin + batch, 20))
        some = Drive(
            drive.zones, drive.current[:, part], drive.conductance[:, part], drive.reversal_current[:, part]
        )
        response, _ = CORE.advance(CORE.begin(cells(part.stop - part.start)), some)
        assert np.array_equal(response.voltage, whole.voltage[part])


def noisy(size: int, samples: int, seed: int) -> Drive:
    generator = np.random.default_rng(seed)
    drive = Drive.zeros(CORE.zones, size, samples)
    drive.current[:] = generator.normal(0.3, 0.4, drive.current.shape)
    drive.conductance[:] = generator.uniform(-0.1, 5, drive.current.shape)
    drive.reversal_current[:] = drive.conductance * np.float32(-70.0)
    return drive


@given(at=st.integers(0, 299))
def test_input_changes_nothing_before_it(at: int) -> None:
    drive, changed = noisy(3, 300, 1), noisy(3, 300, 1)
    changed.current[:, :, at:] += 1.0
    one, two = run(cells(3), drive)[0], run(cells(3), changed)[0]
    assert np.array_equal(one.voltage[:, :at], two.voltage[:, :at])
    assert np.array_equal(one.event_time[one.event_sample < at], two.event_time[two.event_sample < at])


@pytest.mark.parametrize("size", [1e30, -1e30, 3e38, -3e38])
@pytest.mark.parametrize("part", ["current", "conductance", "reversal_current"])
def test_any_finite_input_leaves_a_bounded_flagged_voltage(size: float, part: str) -> None:
    drive = Drive.zeros(CORE.zones, 2, 50)
    getattr(drive, part)[:] = size
    response, _, _ = run(cells(2, refractory=0.0), drive)
    assert np.all(response.voltage >= -150.0) and np.all(response.voltage <= 80.0)
    if not (part == "conductance" and size > 0):
        assert response.outside.min() > 0


def test_more_than_one_spike_a_sample_is_cut_off_and_flagged() -> None:
    response, times, _ = run(cells(1, refractory=0.0), constant(1, 100, 50.0))
    assert np.array_equal(response.event_sample, np.arange(response.event_sample[0], 100))
    assert response.outside[0] > 0
    slower, times, _ = run(cells(1, refractory=0.04), constant(1, 1000, 10.0))
    leak, steady = 1000.0 / 120.0, -70.0 + 1200.0
    interval = 0.04 + 150.0 / leak * math.log((steady + 62.0) / (steady + 50.0))
    assert slower.outside[0] == 0 and np.allclose(np.diff(times), interval, atol=1e-6)


def test_state_can_be_copied_and_continued() -> None:
    state = CORE.begin(cells(3))
    _, state = CORE.advance(state, noisy(3, 100, 1))
    kept = state.copy()
    first, _ = CORE.advance(state, noisy(3, 100, 2))
    again, _ = CORE.advance(kept, noisy(3, 100, 2))
    assert np.array_equal(first.voltage, again.voltage)
    assert np.array_equal(first.event_time, again.event_time)


def test_cells_begin_at_rest_and_stay_there() -> None:
    table = CellTable(2, np.zeros((2, 0), np.float32))
    assert np.all(CORE.begin(table).voltage == -70.0)
    response, _, _ = run(table, Drive.zeros(CORE.zones, 2, 100))
    assert np.all(response.voltage == -70.0)
    tonic = CORE.begin(cells(1, v_rest=-40.0))
    assert tonic.voltage[0] == -62.0


@pytest.mark.parametrize(
    "change",
    [
        {"capacitance": 0.0},
        {"resistance": -1.0},
        {"refractory": -0.1},
        {"v_reset": -50.0},
        {"capacitance": math.nan},
    ],
)
def test_impossible_parameters_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        CORE.begin(cells(1, **change))
