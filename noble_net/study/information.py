"""What a population tells about a common input, and how synchronous it is: measures of a study.

Sources: Gabbiani & Koch 1998, "Principles of spike train analysis", and Borst & Theunissen 1999, Nature
Neuroscience 2: 947 (information from coherence); Golomb & Hansel 2000, Neural Computation 12: 1095 (χ).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from noble_net.report.statistics import CORRELATION_BIN
from noble_net.types import Float64

SEGMENT = 256
"""Samples of a Welch segment: at 1 ms, a resolution of 3.9 Hz. A coherence finer than that is smeared out."""
HIGHEST = 150.0
"""Upper end of the band the information is summed over, Hz."""
FEWEST_SEGMENTS = 4
"""With fewer independent segments a coherence means nothing."""
_OVERLAP_LOSS = 1.06
"""Hann windows overlapping by half count for 1/1.06 independent segments each."""


class Information(NamedTuple):
    """A lower bound on an information rate. NaN, with empty arrays, where the signals are too short or constant.

    ``rate``: bits/s, the bias taken off (it may come out slightly below 0); ``bias``: bits/s that were taken off;
    ``frequency`` (Hz), ``coherence``: what the rate was summed over, biased as estimated; ``segments``: their
    independent number.
    """

    rate: float
    bias: float
    frequency: Float64
    coherence: Float64
    segments: float


def information_rate(
    signal: Float64, response: Float64, sampling: float = 1.0, *, highest: float = HIGHEST
) -> Information:
    """Lower bound on the information rate about ``signal`` in ``response``, float64 [samples] each, ``sampling`` in ms.

    I = −∫₀^highest log₂(1 − C(f)) df, C the magnitude-squared coherence (Welch, Hann windows of SEGMENT samples, half
    overlapping). Exact for a Gaussian signal through a linear channel with Gaussian noise that is independent of it;
    otherwise the best linear decoder gets at least as much, if the signal is Gaussian.

    Bias: estimated from n independent segments, −ln(1 − C) is too large by 1/(n − 1) on average at every frequency,
    whatever the true C (1 − Ĉ is a ratio of a residual with n − 1 and a total with n complex degrees of freedom);
    this is subtracted. What C varies within the resolution of a segment is lost and makes the bound lower.
    """
    from scipy.signal import coherence

    overlapping = (len(signal) - SEGMENT) // (SEGMENT // 2) + 1
    segments = overlapping / _OVERLAP_LOSS
    if len(signal) != len(response):
        raise ValueError(f"a signal of {len(signal)} samples, a response of {len(response)}")
    if segments < FEWEST_SEGMENTS or np.ptp(signal) == 0.0 or np.ptp(response) == 0.0:
        return Information(math.nan, math.nan, np.empty(0), np.empty(0), max(segments, 0.0))
    frequency, found = coherence(signal, response, fs=1000.0 / sampling, nperseg=SEGMENT)
    band = (frequency > 0.0) & (frequency <= highest)  # the mean is taken off: 0 Hz tells nothing
    width = float(frequency[1] - frequency[0])
    squared = np.minimum(found[band], 1.0 - 1e-12)
    bias = width * int(band.sum()) / ((segments - 1.0) * math.log(2.0))
    rate = -width * float(np.log2(1.0 - squared).sum())
    return Information(rate - bias, bias, frequency[band], squared, segments)


def synchrony(trains: Sequence[Float64], duration: float, width: float = CORRELATION_BIN) -> float:
    """Population synchrony χ of the cells that fire, on spike counts in bins of ``width`` ms.

    χ² = Var(mean over cells) / mean over cells(Var): 1 when all counts are the same, 1/√cells when they are
    independent. Compare it between populations of one size only. NaN when fewer than two cells fire.
    """
    bins = int(duration // width)
    firing = [train for train in trains if len(train)]
    if bins < 2 or len(firing) < 2:
        return math.nan
    total, of_squares, single = np.zeros(bins), 0.0, 0.0
    for train in firing:  # one cell at a time: memory does not grow with cells × bins
        index = (train / width).astype(np.int64)
        counts = np.bincount(index[index < bins], minlength=bins).astype(np.float64)
        total += counts
        of_squares += float((counts**2).mean())
        single += float(counts.mean()) ** 2
    alone = (of_squares - single) / len(firing)
    together = float((total / len(firing)).var())
    return math.sqrt(together / alone) if alone > 0.0 else math.nan
