"""Recorders: time order, warm-up, frames; the same file however a run is cut into blocks."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noble_net import recording
from noble_net.recording import ReportRecorder, SpikeRecorder
from noble_net.sonata import ReportWriter, SpikeWriter, read_report, read_spikes
from noble_net.spikes import detect_block, new_detector
from noble_net.types import DT, Float32, Response

CELLS, SAMPLES = 6, 600


def noisy_voltage(seed: int = 0) -> Float32:
    """Slow random voltage that crosses both thresholds often, some long before confirmation."""
    rng = np.random.default_rng(seed)
    slow = np.cumsum(rng.normal(0, 4.0, (CELLS, SAMPLES)), axis=1)
    return (-40.0 + 25.0 * np.sin(slow / 12.0) + rng.normal(0, 2.0, slow.shape)).astype(np.float32)


def run_blocks(path: Path, voltage: Float32, cuts: list[int], warmup: int) -> SpikeRecorder:
    """Detect and record ``voltage`` block by block, cut at the samples ``cuts``."""
    detector, last = new_detector(CELLS), np.full(CELLS, -70.0, np.float32)
    recorder = SpikeRecorder(SpikeWriter(path, ["pv"]), {"pv": CELLS}, warmup)
    edges = [0, *sorted(set(cuts)), SAMPLES]
    for begin, end in pairwise(edges):
        block = np.ascontiguousarray(voltage[:, begin:end])
        spikes = detect_block(block, last, detector)
        recorder.record("pv", begin, Response(block, *spikes, np.zeros(CELLS, np.uint32)))
        recorder.advance(end)
        last = block[:, -1].copy()
    recorder.close()
    return recorder


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(1, SAMPLES - 1), max_size=40),
    warmup=st.sampled_from([0, 1, 137]),
    seed=st.integers(0, 9),
)
def test_spikes_do_not_depend_on_blocks(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], warmup: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("spikes")
    voltage = noisy_voltage(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "FLUSH_INTERVAL", -1.0)  # write at every block
        run_blocks(folder / "cut.h5", voltage, cuts, warmup)
    recorder = run_blocks(folder / "whole.h5", voltage, [], warmup)
    cut, whole = read_spikes(folder / "cut.h5")["pv"], read_spikes(folder / "whole.h5")["pv"]
    assert len(whole[0]) > 10
    assert cut[0].tobytes() == whole[0].tobytes()
    assert cut[1].tobytes() == whole[1].tobytes()
    assert np.all(np.diff(whole[0]) >= 0)
    assert whole[0][0] >= 0
    np.testing.assert_array_equal(recorder.counts["pv"], np.bincount(whole[1], minlength=CELLS))
    assert recorder.total == len(whole[0])


def test_spikes_before_the_end_of_the_warm_up_are_dropped(tmp_path: Path) -> None:
    voltage = noisy_voltage()
    run_blocks(tmp_path / "all.h5", voltage, [], 0)
    run_blocks(tmp_path / "late.h5", voltage, [], 200)
    times, cells = read_spikes(tmp_path / "all.h5")["pv"]
    late = times >= 200 * DT
    got = read_spikes(tmp_path / "late.h5")["pv"]
    np.testing.assert_allclose(got[0], times[late] - 200 * DT, atol=1e-9)
    np.testing.assert_array_equal(got[1], cells[late])


def test_a_late_confirmation_keeps_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "FLUSH_INTERVAL", -1.0)
    recorder = SpikeRecorder(SpikeWriter(tmp_path / "spikes.h5", ["a", "b"]), {"a": 2, "b": 1})
    recorder.add("a", [9.95], [0])
    recorder.advance(100)
    recorder.add("a", [8.2], [1])  # confirmed at 10.2 ms
    recorder.advance(102)
    recorder.advance(500)
    assert len(read_spikes(tmp_path / "spikes.h5")["a"][0]) == 2  # on disk before the end
    recorder.close()
    recorder.close()
    spikes = read_spikes(tmp_path / "spikes.h5")
    np.testing.assert_array_equal(spikes["a"][0], [8.2, 9.95])
    np.testing.assert_array_equal(spikes["a"][1], [1, 0])
    assert len(spikes["b"][0]) == 0


def test_memory_does_not_grow_with_time(tmp_path: Path) -> None:
    recorder = SpikeRecorder(SpikeWriter(tmp_path / "spikes.h5", ["pv"]), {"pv": 10_000})
    held = 0
    for block in range(60):
        recorder.add("pv", np.full(5000, block + 0.5), np.arange(5000))
        recorder.advance((block + 1) * 10)
        held = max(held, recorder._held)
    recorder.close()
    assert held < 80_000
    assert len(read_spikes(tmp_path / "spikes.h5")["pv"][0]) == 300_000


def test_without_a_writer_spikes_are_counted() -> None:
    recorder = SpikeRecorder(None, {"pv": 3})
    recorder.add("pv", [1.0, 2.0, -1.0], [2, 2, 0])
    recorder.advance(1000)
    recorder.close()
    assert list(recorder.counts["pv"]) == [0, 0, 2]


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(1, SAMPLES - 1), max_size=30),
    every=st.sampled_from([1, 2, 5, 7, 33]),
    warmup=st.sampled_from([0, 1, 50, 123]),
)
def test_frames_do_not_depend_on_blocks(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], every: int, warmup: int
) -> None:
    path = tmp_path_factory.mktemp("voltage") / "voltage.h5"
    initial, voltage = np.full(CELLS, -70.0, np.float32), noisy_voltage()
    duration = (SAMPLES - warmup) * DT
    writer = ReportWriter(path, {"pv": [0, 1, 2]}, 0.0, duration, every * DT)
    recorder = ReportRecorder(writer, every, warmup)
    recorder.begin("pv", initial)
    edges = [0, *sorted(set(cuts)), SAMPLES]
    for begin, end in pairwise(edges):
        recorder.record("pv", begin, voltage[:, begin:end])
        recorder.record("other", begin, voltage[:, begin:end])
        recorder.advance()
    recorder.close()
    times, _, data = read_report(path, "pv")
    whole = np.concatenate([initial[:, None], voltage], axis=1)  # column n lies at n·DT from the run's start
    expected = whole[:3, warmup::every].T[: -(-(SAMPLES - warmup) // every)]
    np.testing.assert_array_equal(data, expected)
    np.testing.assert_allclose(times, np.arange(len(expected)) * every * DT)


def test_frames_are_written_as_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "FLUSH_INTERVAL", -1.0)
    recorder = ReportRecorder(ReportWriter(tmp_path / "v.h5", {"pv": [0]}, 0.0, 60.0, DT), 1)
    recorder.begin("pv", np.zeros(CELLS, np.float32))
    recorder.record("pv", 0, noisy_voltage()[:, :100])
    recorder.advance()
    assert len(read_report(tmp_path / "v.h5", "pv")[2]) == 101
    with pytest.raises(ValueError, match="frame 101 was left out"):
        recorder.record("pv", 110, noisy_voltage()[:, 110:120])
    recorder.close()
