"""When a voltage trace counts as a spike: one rule for every backend and every measure.

An armed cell whose voltage crosses −40 mV upward remembers the crossing (linear interpolation between
samples). The first sample at or above −25 mV confirms the spike; its time is the remembered crossing, but
never more than 2 ms before the confirmation, which bounds how far out of order spikes can be reported.
The cell is armed again once the voltage is below −45 mV. Allen fits live in a −14 mV junction-potential
frame, so their spikes peak near −4 to 0 mV and a threshold of 0 or 10 mV would miss them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from noble_net.compiled import compiled
from noble_net.types import DT, Float32, Float64, Int32

CROSSING = -40.0
CONFIRM = -25.0
REARM = -45.0
MAX_LAG = 2.0
"""Longest time between the reported crossing and its confirmation, ms."""

UNARMED = np.float32(np.inf)
"""Detector value of a cell that waits to fall below REARM."""
NO_CROSSING = np.float32(-np.inf)
"""Detector value of an armed cell that has not crossed yet; finite values are ms since the crossing."""


@compiled()
def scan(
    voltage: Float32,
    last: Float32,
    detector: Float32,
    out_cell: Int32,
    out_sample: Int32,
    out_time: Float64,
) -> int:
    """Run the rule over a block and return the number of spikes written to the ``out_*`` arrays.

    ``voltage`` float32 [cells, samples]; ``last`` float32 [cells], the sample before the block; ``detector``
    float32 [cells], updated in place. Spikes come sorted by (sample, cell); times are ms from the block's
    start. A cell can spike at most once per two samples, which sizes the outputs.
    """
    count = 0
    n_cells, n_samples = voltage.shape
    busy, n_busy = np.empty(n_cells, np.int32), 0
    for i in range(n_cells):
        above = False
        for k in range(n_samples):
            above |= voltage[i, k] >= CROSSING
        if above or detector[i] == np.inf:
            busy[n_busy] = i
            n_busy += 1
        else:  # as most are in most blocks
            detector[i] = -np.inf
    for k in range(n_samples):
        for i in busy[:n_busy]:
            v = voltage[i, k]
            before = last[i] if k == 0 else voltage[i, k - 1]
            mark = detector[i]
            if mark == np.inf:
                if v < REARM:
                    detector[i] = -np.inf
                continue
            if before < CROSSING and v >= CROSSING:
                mark = np.float32(DT * (1.0 - (CROSSING - before) / (v - before)))
            elif v < CROSSING:
                mark = np.float32(-np.inf)
            elif mark > -np.inf:
                mark += np.float32(DT)
            if v >= CONFIRM and mark > -np.inf:
                out_cell[count] = i
                out_sample[count] = k
                out_time[count] = (k + 1) * DT - min(float(mark), MAX_LAG)
                count += 1
                mark = np.float32(np.inf)
            detector[i] = mark
    return count


def new_detector(cells: int) -> Float32:
    """Detector state of armed cells."""
    return np.full(cells, NO_CROSSING, np.float32)


def detect_block(voltage: Float32, last: Float32, detector: Float32) -> tuple[Int32, Int32, Float64]:
    """Spikes of one block as (cell, confirming sample, time in ms from the block's start).

    ``detector`` is updated in place, so that consecutive blocks give the same spikes as one long block.
    """
    cells, samples = voltage.shape
    room = cells * (samples // 2 + 1)
    cell, sample = np.empty(room, np.int32), np.empty(room, np.int32)
    time = np.empty(room, np.float64)
    n = scan(voltage, last, detector, cell, sample, time)
    return cell[:n].copy(), sample[:n].copy(), time[:n].copy()


def spike_times(voltage: NDArray[np.floating], start: float = 0.0, sampling: float = DT) -> list[Float64]:
    """Spike times (ms) of whole traces float [cells, samples] whose first sample lies at ``start`` ms, the others
    ``sampling`` ms apart; `MAX_LAG` then stretches with them."""
    traces = np.ascontiguousarray(voltage, dtype=np.float32)
    detector = new_detector(len(traces))
    cell, _, time = detect_block(traces[:, 1:], np.ascontiguousarray(traces[:, 0]), detector)
    return [time[cell == i] * (sampling / DT) + start for i in range(len(traces))]
