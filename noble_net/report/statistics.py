"""Statistics of a population's spikes: rates, regularity, correlations, rhythm.

Computed with numpy and scipy rather than elephant, whose import alone takes longer than a report may; the
tests hold them to elephant's numbers. Undefined values are NaN, never an error: a silent population has
statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from noble_net.results import Results
from noble_net.types import Float64, Int64

CORRELATION_BIN = 5.0
"""Width of the bins in which spikes are counted for correlations, ms."""
CORRELATED_CELLS = 500
"""Larger populations are represented by this many cells, the same ones in every run: 124,750 pairs."""
MIN_INTERVALS = 3
"""Fewest interspike intervals from which a CV is taken."""
MIN_SPIKES = 20
"""Fewest spikes of a population of which a spectrum is taken."""
RATE_BIN = 1.0
"""Width of the bins of the population rate, ms."""
RESOLUTION = 2.0
"""Frequency resolution of the spectrum where the run is long enough, Hz."""
BAND = (4.0, 300.0)
"""Where a rhythm is looked for, Hz."""
CLEAR_CONTRAST = 4.0
"""A clear peak has at least this many times the median power of the band, for spectra are not quite flat …"""
CLEAR_CHANCE = 1e-3
"""… and is higher than all but this share of runs without a rhythm would show."""


@dataclass(frozen=True)
class Spectrum:
    """Power spectral density of the population rate: ``frequency`` (Hz), ``power`` (Hz² per Hz).

    ``peak``: the strongest frequency within BAND, Hz; ``contrast``: its power over the median of the band;
    ``chance``: the contrast that a flat spectrum from as little data exceeds with probability CLEAR_CHANCE.
    All NaN, and the arrays empty, where spikes are too few or the run is too short.
    """

    frequency: Float64
    power: Float64
    peak: float
    contrast: float
    chance: float

    @property
    def is_clear(self) -> bool:
        """Whether the peak stands clear of what chance gives."""
        return bool(self.contrast >= max(CLEAR_CONTRAST, self.chance))


class PopulationStatistics:
    """Statistics of one population, each computed when first asked for.

    >>> trains = [np.arange(0.0, 1000.0, 20.0), np.array([])]
    >>> fired = PopulationStatistics("pv", trains, duration=1000.0)
    >>> fired.rates
    array([50.,  0.])
    >>> fired.cv
    array([ 0., nan])
    """

    def __init__(self, name: str, trains: Sequence[Float64], duration: float) -> None:
        self.name, self.trains, self.duration = name, trains, duration
        self.size = len(trains)

    @classmethod
    def of(cls, results: Results, population: str) -> PopulationStatistics:
        """The statistics of a population of a run."""
        return cls(population, results.trains(population), results.duration)

    @cached_property
    def counts(self) -> Int64:
        """Spikes of every cell."""
        return np.array([len(train) for train in self.trains], np.int64)

    @cached_property
    def rates(self) -> Float64:
        """Firing rate of every cell, Hz."""
        return self.counts.astype(np.float64) * (1000.0 / self.duration if self.duration else 0.0)

    @cached_property
    def intervals(self) -> Float64:
        """All interspike intervals of all cells, ms."""
        return np.concatenate([np.diff(train) for train in self.trains])

    @cached_property
    def cv(self) -> Float64:
        """Coefficient of variation of every cell's intervals (std over mean); NaN below MIN_INTERVALS."""
        number = np.maximum(self.counts - 1, 0)
        owner = np.repeat(np.arange(self.size), number)
        safe = np.maximum(number, 1)
        mean = np.bincount(owner, self.intervals, self.size) / safe
        variance = np.bincount(owner, (self.intervals - mean[owner]) ** 2, self.size) / safe
        enough = (number >= MIN_INTERVALS) & (mean > 0)
        return np.where(enough, np.sqrt(variance) / np.where(enough, mean, 1.0), np.nan)

    @cached_property
    def sampled_cells(self) -> Int64:
        """The cells whose pairs are correlated: all, or CORRELATED_CELLS drawn by the population's size
        alone.
        """
        if self.size <= CORRELATED_CELLS:
            return np.arange(self.size)
        chosen = np.random.default_rng(self.size).choice(self.size, CORRELATED_CELLS, replace=False)
        return np.sort(chosen).astype(np.int64)

    @cached_property
    def correlations(self) -> Float64:
        """Pearson correlation of the spike counts of every pair of sampled cells that fire."""
        bins = int(self.duration // CORRELATION_BIN)
        firing = [self.trains[cell] for cell in self.sampled_cells if self.counts[cell]]
        if bins < 2 or len(firing) < 2:
            return np.empty(0)
        counts = np.stack([_binned(train, bins, CORRELATION_BIN) for train in firing])
        counts = counts[counts.std(axis=1) > 0]
        if len(counts) < 2:
            return np.empty(0)
        pairs: Float64 = np.corrcoef(counts)[np.triu_indices(len(counts), 1)]
        return pairs

    @cached_property
    def population_rate(self) -> Float64:
        """Mean rate of the population's cells in bins of RATE_BIN, Hz."""
        bins = max(int(self.duration // RATE_BIN), 1)
        spikes = np.concatenate([np.empty(0), *self.trains])
        return _binned(spikes, bins, RATE_BIN) * (1000.0 / RATE_BIN / max(self.size, 1))

    @cached_property
    def spectrum(self) -> Spectrum:
        """Power spectrum of the population rate (Welch, Hann windows, half overlapping)."""
        rate, sampling = self.population_rate, 1000.0 / RATE_BIN
        segment = min(round(sampling / RESOLUTION), len(rate) // 2)
        if segment < 50 or self.counts.sum() < MIN_SPIKES:
            return Spectrum(np.empty(0), np.empty(0), np.nan, np.nan, np.nan)
        from scipy.signal import welch

        frequency, power = welch(rate, fs=sampling, nperseg=segment)
        band = (frequency >= BAND[0]) & (frequency <= BAND[1])
        top = int(np.flatnonzero(band)[np.argmax(power[band])])
        median = float(np.median(power[band]))
        contrast = float(power[top]) / median if median > 0 else np.nan
        chance = _chance_contrast(int(band.sum()), len(rate) // (segment - segment // 2) - 1)
        return Spectrum(frequency, power, _refined(frequency, power, top), contrast, chance)


def statistics(results: Results) -> dict[str, PopulationStatistics]:
    """The statistics of every population of a run."""
    return {name: PopulationStatistics.of(results, name) for name in results.populations}


def mean(values: ArrayLike) -> float:
    """Mean of the values that are not NaN; NaN, without a warning, when there is none."""
    finite = _finite(values)
    return float(finite.mean()) if len(finite) else float("nan")


def earth_movers_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Earth mover's distance between two distributions given as samples, in their unit, NaNs left out.

    NaN when either has no value. (`scipy.stats.wasserstein_distance`.)
    """
    from scipy.stats import wasserstein_distance

    left, right = _finite(a), _finite(b)
    return float(wasserstein_distance(left, right)) if len(left) and len(right) else float("nan")


def _finite(values: ArrayLike) -> Float64:
    array: Float64 = np.asarray(values, np.float64)
    finite: Float64 = array[np.isfinite(array)]
    return finite


def _binned(times: Float64, bins: int, width: float) -> Float64:
    """Spikes per bin; those after the last whole bin are left out."""
    index = (times / width).astype(np.int64)
    counts: Float64 = np.bincount(index[index < bins], minlength=bins).astype(np.float64)
    return counts


def _chance_contrast(frequencies: int, segments: int) -> float:
    """Highest of ``frequencies`` powers over their median that noise exceeds with probability CLEAR_CHANCE.

    A flat spectrum averaged over n segments is gamma-distributed with shape n; Hann windows that overlap by
    half count for 1/1.06 each.
    """
    from scipy.special import gammainccinv

    shape = max(segments, 1) / 1.06
    return float(gammainccinv(shape, CLEAR_CHANCE / frequencies) / gammainccinv(shape, 0.5))


def _refined(frequency: Float64, power: Float64, top: int) -> float:
    """The summit of the parabola through the logarithms of the three points around ``top``."""
    if not 0 < top < len(power) - 1 or power[top - 1 : top + 2].min() <= 0:
        return float(frequency[top])
    left, middle, right = np.log(power[top - 1 : top + 2])
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float(frequency[top] + np.clip(shift, -0.5, 0.5) * (frequency[1] - frequency[0]))
