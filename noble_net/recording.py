"""What a run keeps: spikes in time order, firing rates and reports, streamed to disk in memory independent of time.

Times: the run counts samples from 0, the warm-up included; what is recorded is told in ms from the end of the
warm-up, and anything before is dropped.

>>> recorder = SpikeRecorder(None, {"pv": 2}, warmup_samples=0)
>>> recorder.add("pv", [3.5, 1.5], [0, 1])
>>> recorder.close()
>>> recorder.counts["pv"]
array([1, 1])
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noble_net.run_state import Arrays, fill, part, under
from noble_net.sonata import RateWriter, ReportWriter, SpikeWriter
from noble_net.spikes import MAX_LAG
from noble_net.types import DT, Float32, Float64, Int64, Response

HOLD_BACK = MAX_LAG + DT
"""Spikes younger than this are held, ms: until then an earlier one can still be confirmed."""

FLUSH_INTERVAL = 2.0
"""Longest time between two flushes, s of wall clock: what a killed run loses at most."""

_SPIKES_HELD = 50_000
_VALUES_HELD = 65_536


class SpikeRecorder:
    """Gathers the spikes of all populations, orders them and hands them to a writer, or only counts them.

    Call `record` with each block's response (or `add` with times), then `advance` once per block for all
    populations, then `close`. ``counts`` holds the spikes of every cell since the warm-up, int64 [cells] per
    population. The order within a file is (time, cell) and does not depend on how a run is cut into blocks.
    """

    def __init__(
        self,
        writer: SpikeWriter | None,
        sizes: Mapping[str, int],
        warmup_samples: int = 0,
        rates: RateRecorder | None = None,
    ) -> None:
        self._writer, self._rates = writer, rates
        self._warmup = warmup_samples
        self._times: dict[str, list[Float64]] = {name: [] for name in sizes}
        self._cells: dict[str, list[Int64]] = {name: [] for name in sizes}
        self._held, self._done = 0, -math.inf
        self._flushed = time.monotonic()
        self.counts: dict[str, Int64] = {name: np.zeros(size, np.int64) for name, size in sizes.items()}

    def record(self, population: str, start_sample: int, response: Response) -> None:
        """Take the spikes of the block that starts at ``start_sample``, counted from the run's start.

        Times are built from whole samples and the lag of the crossing behind its confirmation, so that they
        are the same numbers however a run is cut into blocks.
        """
        confirmed = response.event_sample.astype(np.int64) + 1
        lag = (confirmed * DT - response.event_time).astype(np.float32).astype(np.float64)
        times = (start_sample - self._warmup + confirmed) * DT - lag
        self.add(population, times, response.event_cell)

    def add(self, population: str, times: ArrayLike, cells: ArrayLike) -> None:
        """Take spikes at ``times`` (ms after the warm-up, any order) of ``cells``; drop those before 0."""
        when, who = np.asarray(times, np.float64), np.asarray(cells, np.int64)
        kept = when >= 0.0
        when, who = when[kept], who[kept]
        if not len(when):
            return
        self.counts[population] += np.bincount(who, minlength=len(self.counts[population]))
        if self._rates is not None:
            self._rates.add(population, when, who)
        if self._writer is not None:
            self._times[population].append(when)
            self._cells[population].append(who)
            self._held += len(when)

    def advance(self, samples_done: int) -> None:
        """Tell that every population has been recorded up to ``samples_done`` samples from the run's start.

        Writes and flushes when enough has gathered or some time has passed.
        """
        due = time.monotonic() - self._flushed > FLUSH_INTERVAL
        self._done = (samples_done - self._warmup) * DT
        if self._rates is not None:
            self._rates.advance(self._done, flush=due)
        if due or self._held > _SPIKES_HELD:
            self._flush()

    def _flush(self) -> None:
        if self._writer is not None:
            self._write(before=self._done - HOLD_BACK)
            self._writer.flush()
        self._flushed = time.monotonic()

    def save(self) -> dict[str, NDArray[Any]]:
        """Bring to disk what is ready; what `restore` needs besides the files to go on from here."""
        self._flush()
        arrays = {} if self._rates is None else under("rates", self._rates.save())
        if self._writer is not None:
            arrays |= under("written", {name: np.array(n) for name, n in self._writer.written.items()})
        for name, counts in self.counts.items():
            held = {
                "counts": counts,
                "times": np.concatenate([np.empty(0), *self._times[name]]),
                "cells": np.concatenate([np.empty(0, np.int64), *self._cells[name]]),
            }
            arrays |= under(f"populations/{name}", held)
        return arrays

    def restore(self, arrays: Arrays) -> None:
        """Go on from there, with writers that keep what had been written then. OutputError when it does not fit."""
        if self._rates is not None:
            self._rates.restore(part(arrays, "rates"))
        for name, counts in self.counts.items():
            fill(counts, arrays, f"populations/{name}/counts")
            times, cells = (arrays[f"populations/{name}/{key}"] for key in ("times", "cells"))
            self._times[name], self._cells[name] = [times], [cells]
            self._held += len(times)

    def close(self) -> None:
        """Write everything held and close the files; safe to call twice."""
        with ExitStack() as stack:
            if self._rates is not None:
                stack.callback(self._rates.close)
            if self._writer is not None:
                stack.enter_context(self._writer)
                self._write(before=np.inf)

    @property
    def total(self) -> int:
        """Spikes of all cells since the warm-up."""
        return int(sum(counts.sum() for counts in self.counts.values()))

    def _write(self, before: float) -> None:
        if self._writer is None:
            return
        for name in self.counts:
            if not self._times[name]:
                continue
            times, cells = np.concatenate(self._times[name]), np.concatenate(self._cells[name])
            ready = times < before
            order = np.lexsort((cells[ready], times[ready]))
            self._times[name], self._cells[name] = [times[~ready]], [cells[~ready]]
            self._held -= len(order)
            self._writer.append(name, times[ready][order], cells[ready][order])


class RateRecorder:
    """Counts spikes in bins of ``width`` ms, of populations and node sets, and hands full bins' rates to a writer.

    ``groups``: the population of each name, and a mask of its cells, bool [cells]. Call `add` with spikes and `advance`
    once per block, then `close`. A last bin that the run's end cuts is told as the rate over its part.
    """

    def __init__(
        self, writer: RateWriter, groups: Mapping[str, tuple[str, NDArray[np.bool_]]], width: float
    ) -> None:
        self._writer, self._groups, self._width = writer, groups, width
        self._first, self._done = 0, 0.0
        self._counts: dict[str, Int64] = {name: np.zeros(0, np.int64) for name in groups}

    def save(self) -> dict[str, NDArray[Any]]:
        """Bring the bins that are full to disk; what `restore` needs besides the file to go on from here."""
        self._writer.flush()
        return {"written": np.array(self._first), **under("counts", self._counts)}

    def restore(self, arrays: Arrays) -> None:
        """Go on from there, with a writer that keeps the bins written then."""
        self._first = int(arrays["written"])
        self._counts = {name: arrays[f"counts/{name}"] for name in self._counts}

    def add(self, population: str, times: Float64, cells: Int64) -> None:
        """Take spikes of ``cells`` at ``times`` (ms after the warm-up), not before bins already written."""
        index = np.floor(times / self._width + 1e-9).astype(np.int64) - self._first
        for name, (of, mask) in self._groups.items():
            if of == population:
                counted = np.bincount(index[mask[cells]], minlength=len(self._counts[name]))
                counted[: len(self._counts[name])] += self._counts[name]
                self._counts[name] = counted

    def advance(self, done: float, flush: bool = False) -> None:
        """Tell that every population has been recorded up to ``done`` ms after the warm-up."""
        self._done = done
        full = int((done - HOLD_BACK) / self._width + 1e-9)
        if full > self._first:
            self._write(full)
        if flush:
            self._writer.flush()

    def close(self) -> None:
        """Write all bins that have begun and close the file; safe to call twice."""
        with self._writer:
            bins = math.ceil(self._done / self._width - 1e-9)
            if bins > self._first:
                self._write(bins)

    def _write(self, stop: int) -> None:
        bins = np.arange(self._first, stop)
        widths = np.minimum((bins + 1) * self._width, max(self._done, 0.0)) - bins * self._width
        for name, (_, mask) in self._groups.items():
            counts = np.zeros(len(bins), np.int64)
            ready = self._counts[name][: len(bins)]
            counts[: len(ready)] = ready
            self._counts[name] = self._counts[name][len(bins) :]
            self._writer.append(name, counts / (max(mask.sum(), 1) * widths / 1000.0))
        self._first = stop


class ReportRecorder:
    """Picks the frames of a report out of the blocks and hands them to a writer.

    ``every`` is the report's dt in samples, ``before`` the samples before its first frame, the warm-up included. Frame
    i of a voltage is that ``every``·i samples later; frame 0 of a run without warm-up is the initial voltage, which
    `begin` takes. With ``held``, values are held over their samples, as input is: frame i is the sample that begins
    then.
    """

    def __init__(self, writer: ReportWriter, every: int, before: int = 0, held: bool = False) -> None:
        self._writer, self._every, self._before = writer, every, before
        self._lag = 0 if held else 1
        self._held: dict[str, list[Float32]] = {name: [] for name in writer.cells}
        self._next = dict.fromkeys(writer.cells, 0)
        self._values = dict.fromkeys(writer.cells, 0)
        self._flushed = time.monotonic()

    @property
    def populations(self) -> tuple[str, ...]:
        """Populations of which cells are recorded."""
        return tuple(self._held)

    def begin(self, population: str, voltage: Float32) -> None:
        """Take the voltage of all cells before the first sample, mV [cells]."""
        self.record(population, -1, np.asarray(voltage)[:, None])

    def record(self, population: str, start_sample: int, values: Float32) -> None:
        """Take the block that starts at ``start_sample``: [cells, samples], all cells of the population.

        ValueError if a frame was left out since the last block.
        """
        if population not in self._held:
            return
        first = start_sample + self._lag - self._before  # samples after frame 0 at which column 0 lies
        skip = -first if first < 0 else -first % self._every
        frame = (first + skip) // self._every
        wanted = slice(skip, None, self._every)
        frames = values[self._writer.cells[population], wanted].T[: max(self._writer.frames - frame, 0)]
        if not len(frames):
            return
        if frame != self._next[population]:
            raise ValueError(f"report of {population!r}: frame {self._next[population]} was left out")
        self._held[population].append(np.ascontiguousarray(frames, np.float32))
        self._next[population] += len(frames)
        self._values[population] += frames.size
        if self._values[population] > _VALUES_HELD:
            self._write(population)

    def advance(self) -> None:
        """Bring frames to disk when some time has passed; call once per block."""
        if time.monotonic() - self._flushed > FLUSH_INTERVAL:
            self._flush()

    def save(self) -> dict[str, NDArray[Any]]:
        """Bring all frames to disk; what `restore` needs besides the file to go on from here."""
        self._flush()
        return under("written", {name: np.array(frames) for name, frames in self._next.items()})

    def restore(self, arrays: Arrays) -> None:
        """Go on from there, with a writer that keeps the frames written then."""
        self._next = {name: int(arrays[f"written/{name}"]) for name in self._next}

    def _flush(self) -> None:
        for name in self._held:
            self._write(name)
        self._writer.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Write everything held and close the file; safe to call twice."""
        with self._writer:
            for name in self._held:
                self._write(name)

    def _write(self, population: str) -> None:
        if self._held[population]:
            self._writer.append(population, np.concatenate(self._held[population]))
            self._held[population], self._values[population] = [], 0
