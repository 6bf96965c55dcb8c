"""Injected currents and noise against their formulas and statistics; the same samples however they are asked for."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from helpers import network_spec
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from noble_net.network.injection import Injection, Target
from noble_net.network.stimuli import make_stimulus
from noble_net.network.synapses import time_course
from noble_net.types import DT, Float64

OU = {"mean": "0.3 nA", "sigma": {"uniform": {"low": "0 nA", "high": "0.2 nA"}}, "tau": "5 ms"}
SHOTS = {"rise": "0.5 ms", "decay": "4 ms", "rate": "400 Hz", "amp_mean": "0.05 nA", "amp_std": "0.03 nA"}
WINDOW = {"delay": "1.3 ms", "duration": "7.9 ms"}
CURRENTS: dict[str, dict[str, Any]] = {
    "ornstein_uhlenbeck": OU,
    "noise": {"mean": "0.1 nA", "sigma": "0.2 nA", "dt": "0.3 ms"},
    "shot_noise": SHOTS,
    "step": {"amplitude": "1 nA", "start": "3 ms", "stop": "9 ms"},
    "linear": {"amp_start": "0.1 nA", "amp_end": {"normal": {"mean": "1 nA", "std": "0.1 nA"}}, **WINDOW},
    "pulse": {"amp": "1 nA", "width": "0.7 ms", "frequency": "410 Hz", **WINDOW},
    "sinusoidal": {"amp": "1 nA", "frequency": "130 Hz", "phase": "30 deg", "dt": "0.4 ms"},
}


def stimulus(kind: str, parameters: dict[str, Any], cells: list[int] | None = None, **changes: Any) -> Any:
    """A stimulus to the 30 cells of `inh`, or some of them."""
    spec = network_spec(stimuli=[{"to": "inh", "name": "it", kind: parameters}], **changes)
    target = None if cells is None else Target("inh", 30, np.array(cells))
    return make_stimulus(spec.stimuli[0], spec, target)


@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("kind", list(CURRENTS))
@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 70), min_size=1, max_size=8))
def test_currents_are_the_same_for_any_split(kind: str, windowed: bool, cuts: list[int]) -> None:
    parameters = CURRENTS[kind] | (WINDOW if windowed and kind != "step" else {})
    whole = stimulus(kind, parameters, warmup="2 ms").values(0, sum(cuts))
    parts, start, cut = [], 0, stimulus(kind, parameters, warmup="2 ms")
    for length in cuts:
        parts.append(cut.values(start, length))
        start += length
    assert np.array_equal(whole, np.concatenate(parts, axis=1))
    assert np.array_equal(cut.values(0, sum(cuts)), whole)


@pytest.mark.parametrize("kind", list(CURRENTS))
def test_a_cell_gets_the_same_whoever_else_is_meant(kind: str) -> None:
    whole = stimulus(kind, CURRENTS[kind]).values(0, 200)
    some = stimulus(kind, CURRENTS[kind], cells=[3, 17, 29]).values(0, 200)
    assert whole.any() and np.array_equal(some, whole[[3, 17, 29]])


@pytest.mark.parametrize("kind", list(CURRENTS))
def test_it_acts_only_in_its_window(kind: str) -> None:
    parameters = CURRENTS[kind] | (WINDOW if kind != "step" else {"start": "1.3 ms", "stop": "9.2 ms"})
    values = stimulus(kind, parameters, warmup="2 ms").values(0, 200)
    outside = np.r_[0:33, 112:200]
    assert not values[:, outside].any() and values[:, 33:112].any()


def test_saving_and_restoring_state_continues_a_process() -> None:
    for kind in ("ornstein_uhlenbeck", "shot_noise"):
        first, second = stimulus(kind, CURRENTS[kind]), stimulus(kind, CURRENTS[kind])
        first.values(0, 77)
        for key, array in first.state.items():
            second.state[key][...] = array
        assert np.array_equal(first.values(77, 50), second.values(77, 50))


def test_a_ramp_carries_its_charge() -> None:
    parameters = {"amp_start": "-1 nA", "amp_end": "3 nA", "delay": "2 ms", "duration": "10 ms"}
    values = stimulus("linear", parameters).values(0, 200)[0].astype(np.float64)
    times = np.arange(200) * DT
    inside = (times > 1.95) & (times < 11.95)
    wanted = np.where(inside, -1 + 4 * (times + DT / 2 - 2) / 10, 0)
    np.testing.assert_allclose(values, wanted, atol=1e-6)
    assert values.sum() * DT == pytest.approx(10.0, rel=1e-6)


def test_pulses_come_at_their_frequency_with_their_width() -> None:
    parameters = {"amp": "2 nA", "width": "3 ms", "frequency": "50 Hz", "delay": "5 ms", "duration": "100 ms"}
    values = stimulus("pulse", parameters, warmup="1 ms").values(0, 2000)[4]
    times = np.arange(2000) - 60
    wanted = np.where((times >= 0) & (times < 1000) & (times % 200 < 30), np.float32(2), np.float32(0))
    assert np.array_equal(values, wanted)
    odd = {"amp": "1 nA", "width": "0.2 ms", "frequency": "300 Hz"}
    onsets = np.flatnonzero(np.diff(stimulus("pulse", odd).values(0, 1000)[0]) > 0) + 1
    assert np.array_equal(onsets, np.ceil(np.arange(1, 30) * 1000 / 30)[: len(onsets)])


def test_a_sine_is_held_at_the_middle_of_its_intervals() -> None:
    parameters = {"amp": "0.5 nA", "frequency": "40 Hz", "phase": "90 deg", "delay": "1 ms", "dt": "0.2 ms"}
    values = stimulus("sinusoidal", parameters).values(0, 1010)[0]
    middle = np.arange(500) * 0.2 + 0.1
    wanted = np.repeat(0.5 * np.cos(2 * np.pi * 0.04 * middle), 2)
    np.testing.assert_allclose(values[10:], wanted, atol=1e-6)


def test_parameters_differ_from_cell_to_cell() -> None:
    spread = {"uniform": {"low": "10 Hz", "high": "400 Hz"}}
    for kind, key in (("pulse", "frequency"), ("sinusoidal", "frequency"), ("shot_noise", "rate")):
        made = stimulus(kind, CURRENTS[kind] | {key: spread})
        assert len(np.unique(made.values(0, 1500), axis=0)) > 20


def test_white_noise_is_white_and_gaussian() -> None:
    parameters = {"mean": "0.2 nA", "sigma": "0.1 nA", "dt": "0.2 ms"}
    values = stimulus("noise", parameters).values(0, 20_000).astype(np.float64)
    assert np.array_equal(values[:, ::2], values[:, 1::2])
    drawn = values[:, ::2]
    assert stats.kstest(drawn[:, :400].ravel(), "norm", (0.2, 0.1)).pvalue > 1e-3
    centred = (drawn - 0.2) / 0.1
    for lag in (1, 2, 5, 40):
        assert abs((centred[:, lag:] * centred[:, :-lag]).mean()) < 0.01
    assert np.abs(np.corrcoef(drawn)[np.triu_indices(30, 1)]).max() < 0.05


def shot(rise: float, decay: float) -> tuple[float, float]:
    """Integral of a shot of unit peak and of its square, ms."""
    rise, decay, factor = time_course(rise, decay)

    def course(t: float) -> float:
        return float(factor * (np.exp(-t / decay) - np.exp(-t / rise)))

    return tuple(integrate.quad(lambda t, n=n: course(t) ** n, 0, 200)[0] for n in (1, 2))  # type: ignore[return-value]


@pytest.mark.parametrize("std", [0.0, 0.03, 0.2])
def test_shot_noise_has_campbells_mean_and_variance(std: float) -> None:
    parameters = SHOTS | {"amp_std": f"{std} nA"}
    values: Float64 = stimulus("shot_noise", parameters).values(0, 200_000)[:, 1000:].astype(np.float64)
    first, second = shot(0.5, 4.0)
    mean, variance = 0.4 * 0.05 * first, 0.4 * (0.05**2 + std**2) * second
    assert values.mean() == pytest.approx(mean, rel=0.02)
    assert values.var() == pytest.approx(variance, rel=0.05 if std < 0.1 else 0.1)


def test_single_shots_have_their_shape_and_gamma_distributed_peaks() -> None:
    sparse = SHOTS | {
        "rate": "2 Hz",
        "rise": "2 ms",
        "decay": "10 ms",
        "amp_mean": "-3 nA",
        "amp_std": "2 nA",
    }
    values = stimulus("shot_noise", sparse).values(0, 60_000).astype(np.float64)
    charge = values.sum() * DT / (0.002 * 6000 * 30)
    assert charge == pytest.approx(-3 * shot(2.0, 10.0)[0], rel=0.15)
    peaks = []
    for trace in -values:
        onsets = np.flatnonzero((np.diff(trace) > 1e-3) & (trace[:-1] < 1e-3)) + 1
        peaks += [trace[at : at + 120].max() for at in onsets]
    assert len(peaks) > 100
    shape, scale = (3 / 2) ** 2, 4 / 3
    assert stats.kstest(peaks, "gamma", (shape, 0, scale)).pvalue > 1e-3


def test_conductances_carry_their_reversal() -> None:
    parameters = SHOTS | {"amp_mean": "2 nS", "amp_std": "1 nS", "reversal": "-80 mV"}
    made = stimulus("shot_noise", parameters)
    assert isinstance(made, Injection) and made.reversal == -80.0 and made.values(0, 500).min() >= 0.0


@pytest.fixture(params=["h5", "csv"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Writes an array [intervals, cells] and returns the parameters that name it."""

    def write(values: Float64, **parameters: Any) -> dict[str, Any]:
        path = tmp_path / f"currents.{request.param}"
        if request.param == "csv":
            header = ",".join(f"c{i}" for i in range(values.shape[1]))
            np.savetxt(path, values, fmt="%.18g", delimiter=",", header=header, comments="")
            return {"file": str(path), **parameters}
        with h5py.File(path, "w") as file:
            file["group/currents"] = values * 1000
            file["group/currents"].attrs["units"] = "pA"
        return {"file": str(path), "dataset": "group/currents", **parameters}

    return write


@pytest.mark.parametrize("columns", [1, 30])
def test_tables_of_currents_are_held_in_between(
    table: Any, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noble_net.network.current_tables._VALUES_AT_ONCE", 7 * columns)
    values = np.random.default_rng(0).normal(0, 1, (50, columns))
    parameters = table(values, dt="0.3 ms", delay="1 ms")
    made = stimulus("current_table", parameters, warmup="1 ms")
    whole = made.values(0, 250)
    wanted = np.zeros((30, 250))
    wanted[:, 20:170] = np.repeat(values.T, 3, axis=1)
    np.testing.assert_allclose(whole, wanted, rtol=1e-6)
    cut = stimulus("current_table", parameters, warmup="1 ms")
    edges = [0, 1, 22, 23, 60, 170, 171, 250]
    parts = [cut.values(a, b - a) for a, b in itertools.pairwise(edges)]
    assert np.array_equal(np.concatenate(parts, axis=1), whole)
    assert np.array_equal(cut.values(30, 9), whole[:, 30:39])  # back in time
    doubled = stimulus("current_table", parameters | {"scale": "2 nA"}, warmup="1 ms").values(0, 250)
    np.testing.assert_allclose(doubled, 2 * wanted, rtol=1e-6)


def test_tables_are_not_held_in_memory(table: Any) -> None:
    made = stimulus("current_table", table(np.ones((400_000, 1)), dt="0.1 ms"))
    for start in range(0, 400_000, 5_000):
        assert (made.values(start, 50) == 1).all()
        assert made._table._held.size <= 262_144


@pytest.mark.parametrize("kind", ["noise", "current_table"])
def test_memory_does_not_grow_with_the_interval_a_value_is_held_for(tmp_path: Path, kind: str) -> None:
    (tmp_path / "t.csv").write_text("a\n1\n2\n")
    given = {"noise": CURRENTS["noise"], "current_table": {"file": str(tmp_path / "t.csv")}}[kind]
    made = stimulus(kind, given | {"dt": "100 s"})  # 120 MB for the 30 cells as a whole
    tracemalloc.start()
    block = made.values(999_990, 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    assert np.array_equal(block[:, :10], np.repeat(made.values(0, 1), 10, axis=1))
    assert np.array_equal(block[:, 10:], np.repeat(made.values(1_000_000, 1), 10, axis=1))
