"""Statistics agree with elephant and with signals whose answer is known; silence gives NaN, not errors."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import rhythmic_spikes

from noble_net.report.statistics import (
    CORRELATED_CELLS,
    PopulationStatistics,
    earth_movers_distance,
    mean,
)
from noble_net.types import Float64


def population(size: int = 30, duration: float = 2000.0, **how: float) -> PopulationStatistics:
    times, cells = rhythmic_spikes(size, duration, **how)  # type: ignore[arg-type]
    return PopulationStatistics("pv", [times[cells == i] for i in range(size)], duration)


def poisson(size: int, duration: float, rate: float, seed: int = 3) -> list[Float64]:
    rng = np.random.default_rng(seed)
    return [np.sort(rng.uniform(0, duration, rng.poisson(rate * duration / 1000))) for _ in range(size)]


def test_agrees_with_elephant() -> None:
    ours = population(duration=1000.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # neo and elephant warn of each other's deprecations
        import elephant.statistics
        import neo
        import quantities as pq
        from elephant.conversion import BinnedSpikeTrain
        from elephant.spectral import welch_psd
        from elephant.spike_train_correlation import correlation_coefficient

        trains = [neo.SpikeTrain(train, units="ms", t_stop=1000.0) for train in ours.trains]
        rates = [float(elephant.statistics.mean_firing_rate(t).rescale("Hz")) for t in trains]
        cv = [elephant.statistics.cv(elephant.statistics.isi(train)) for train in ours.trains]
        matrix = correlation_coefficient(BinnedSpikeTrain(trains, bin_size=5 * pq.ms))
        signal = neo.AnalogSignal(ours.population_rate[:, None], units="Hz", sampling_rate=1 * pq.kHz)
        frequency, power = welch_psd(signal, frequency_resolution=2 * pq.Hz)
    np.testing.assert_allclose(ours.rates, rates)
    np.testing.assert_allclose(ours.cv, cv)
    np.testing.assert_allclose(ours.correlations, matrix[np.triu_indices(30, 1)], atol=1e-12)
    np.testing.assert_allclose(ours.spectrum.frequency, frequency.magnitude)
    np.testing.assert_allclose(ours.spectrum.power, power.magnitude[0])


def test_a_rhythm_is_found() -> None:
    for frequency in (25.0, 41.0, 63.5):
        spectrum = population(200, 4000.0, frequency=frequency).spectrum
        assert spectrum.peak == pytest.approx(frequency, abs=0.7)
        assert spectrum.is_clear


def test_poisson_cells_have_no_rhythm_a_cv_of_one_and_no_correlation() -> None:
    cells = PopulationStatistics("x", poisson(100, 5000.0, 20.0), 5000.0)
    assert not cells.spectrum.is_clear
    assert mean(cells.cv) == pytest.approx(1.0, abs=0.05)
    assert mean(cells.correlations) == pytest.approx(0.0, abs=0.01)
    assert mean(cells.rates) == pytest.approx(20.0, rel=0.05)


@pytest.mark.parametrize("duration", [150.0, 400.0, 1000.0, 3000.0])
def test_chance_makes_no_rhythm_in_short_runs(duration: float) -> None:
    runs = [PopulationStatistics("x", poisson(50, duration, 30.0, seed=i), duration) for i in range(60)]
    assert not any(one.spectrum.is_clear for one in runs)


def test_regular_cells() -> None:
    train = np.arange(5.0, 1000.0, 10.0)
    cells = PopulationStatistics("x", [train, train, train[:3]], 1000.0)
    np.testing.assert_allclose(cells.rates, [100.0, 100.0, 3.0])
    np.testing.assert_allclose(cells.cv, [0.0, 0.0, np.nan], atol=1e-9)
    assert cells.correlations[0] == pytest.approx(1.0)


@pytest.mark.parametrize("trains", [[[]], [[], [], []], [[3.0]], [[3.0], []], [[1.0, 2.0], [1.5]]])
@pytest.mark.parametrize("duration", [0.0, 0.5, 20.0, 1000.0])
def test_little_or_nothing_is_no_error(trains: list[list[float]], duration: float) -> None:
    arrays = [np.array(train)[np.array(train) < duration] if train else np.empty(0) for train in trains]
    cells = PopulationStatistics("x", arrays, duration)
    assert len(cells.rates) == len(cells.cv) == len(trains)
    assert np.isnan(cells.cv).all()
    assert len(cells.correlations) <= 1
    assert len(cells.spectrum.frequency) == 0 or cells.counts.sum()
    assert np.isnan(mean([])) and np.isnan(mean([np.nan]))


def test_large_populations_are_sampled_the_same_way_in_every_run() -> None:
    one = PopulationStatistics("x", poisson(800, 200.0, 30.0, seed=1), 200.0)
    two = PopulationStatistics("x", poisson(800, 200.0, 30.0, seed=2), 200.0)
    np.testing.assert_array_equal(one.sampled_cells, two.sampled_cells)
    assert len(np.unique(one.sampled_cells)) == CORRELATED_CELLS
    assert len(one.correlations) <= CORRELATED_CELLS * (CORRELATED_CELLS - 1) // 2


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.floats(-100, 100), min_size=1, max_size=30),
    shift=st.floats(-50, 50),
    gaps=st.integers(0, 3),
)
def test_earth_movers_distance(values: list[float], shift: float, gaps: int) -> None:
    moved = [value + shift for value in values] + [np.nan] * gaps
    assert earth_movers_distance(values, moved) == pytest.approx(abs(shift), abs=1e-9)
    assert earth_movers_distance(moved, values) == pytest.approx(abs(shift), abs=1e-9)
    assert np.isnan(earth_movers_distance(values, []))
