"""Spike files and voltage reports: writers that append while a run goes on, and their readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from noble_net.output import reading
from noble_net.sonata.storage import Closing, H5Output
from noble_net.types import Float32, Float64, Int64

UInt64 = NDArray[np.uint64]

_SORTING = h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": 2}, basetype="u1")
"""libsonata crashes on a plain string here."""
_SPIKES_PER_CHUNK = 8192
_SPIKES_HELD = 65536
_VALUES_PER_CHUNK = 65536
_TIME_TOLERANCE = 1e-6
"""libsonata counts a frame while its accumulated time is below the report's stop by more than this, ms."""


class SpikeWriter(Closing):
    """Appends spikes of named populations to a SONATA file, in time order per population.

    Populations without spikes are present and empty. `flush` brings everything to disk. A context manager.
    """

    def __init__(self, path: Path | str, populations: Sequence[str]) -> None:
        self._output = H5Output(path)
        self._count = dict.fromkeys(populations, 0)
        self._last = dict.fromkeys(populations, -np.inf)
        for name in populations:
            group = self._output.file.create_group(f"spikes/{name}")
            group.attrs.create("sorting", 2, dtype=_SORTING)
            for column, dtype in (("timestamps", "f8"), ("node_ids", "u8")):
                group.create_dataset(column, (0,), dtype, maxshape=(None,), chunks=(_SPIKES_PER_CHUNK,))
            group["timestamps"].attrs["units"] = "ms"
        self.flush()

    def append(self, population: str, timestamps: ArrayLike, node_ids: ArrayLike) -> None:
        """Add spikes of cells ``node_ids`` at ``timestamps``, ms [n], in order and not before those written.

        ValueError when out of order: readers refuse a file that claims to be sorted and is not.
        """
        times, ids = np.asarray(timestamps, np.float64), np.asarray(node_ids, np.uint64)
        if not len(times):
            return
        if times[0] < self._last[population] or np.any(np.diff(times) < 0):
            raise ValueError(f"spikes of {population!r} are not in time order")
        group, end = self._output.file["spikes"][population], self._count[population] + len(times)
        for column, values in (("timestamps", times), ("node_ids", ids)):
            group[column].resize((end,))
            group[column][end - len(times) :] = values
        self._output.check()
        self._count[population], self._last[population] = end, times[-1]

    def flush(self) -> None:
        """Bring all appended spikes to disk."""
        self._output.flush()

    def close(self) -> None:
        """Flush and close; safe to call twice."""
        if not self._output.file:
            return
        with self._output:
            for name, count in self._count.items():  # drop the half of an interrupted append
                for column in ("timestamps", "node_ids"):
                    self._output.file["spikes"][name][column].resize((count,))


class VoltageWriter(Closing):
    """Appends somatic voltage frames of chosen cells to a report; frame i lies at ``start`` + i·``dt``.

    ``cells`` maps each population to the node ids recorded, ascending. ``frames`` is how many frames fill
    [start, stop), stop excluded. The file's own stop always tells the frames really written. float32,
    uncompressed (libsonata reads no compressed reports). A context manager.
    """

    def __init__(
        self, path: Path | str, cells: Mapping[str, ArrayLike], start: float, stop: float, dt: float
    ) -> None:
        self._output = H5Output(path)
        self.cells: dict[str, Int64] = {name: np.asarray(ids, np.int64) for name, ids in cells.items()}
        self.start, self.dt = start, dt
        self.frames = round((stop - start) / dt)
        self._written = dict.fromkeys(self.cells, 0)
        self._reached = dict.fromkeys(self.cells, start)
        for name, ids in self.cells.items():
            self._create(name, ids)
        self.flush()

    def _create(self, name: str, ids: Int64) -> None:
        group, n = self._output.file.create_group(f"report/{name}"), len(ids)
        rows = max(1, min(_VALUES_PER_CHUNK // max(n, 1), self.frames))
        data = group.create_dataset("data", (0, n), "f4", maxshape=(None, n), chunks=(rows, max(n, 1)))
        data.attrs["units"] = "mV"
        data.attrs["variable"] = "v"
        mapping = group.create_group("mapping")
        mapping.create_dataset("node_ids", data=ids.astype(np.uint64)).attrs["sorted"] = np.uint8(1)
        mapping.create_dataset("index_pointers", data=np.arange(n + 1, dtype=np.uint64))
        mapping["index_pointer"] = mapping["index_pointers"]  # bmtk's name for it
        mapping.create_dataset("element_ids", data=np.zeros(n, np.uint32))
        mapping.create_dataset("element_pos", data=np.full(n, 0.5, np.float32))
        time = mapping.create_dataset("time", data=np.array([self.start, self.start, self.dt]))
        time.attrs["units"] = "ms"

    def append(self, population: str, data: ArrayLike) -> None:
        """Add frames: ``data`` in mV [frames, cells]. ValueError beyond the planned number of frames."""
        block = np.asarray(data, np.float32)
        begin = self._written[population]
        end = begin + len(block)
        if end > self.frames:
            raise ValueError(f"{end} frames of {population!r} where {self.frames} were planned")
        dataset = self._output.file["report"][population]["data"]
        dataset.resize(end, axis=0)
        dataset[begin:] = block
        self._output.check()
        steps = np.full(len(block) + 1, self.dt)
        steps[0] = self._reached[population]
        self._reached[population] = float(np.add.accumulate(steps)[-1])
        self._written[population] = end

    def flush(self) -> None:
        """Bring all frames to disk and say in the file how many there are."""
        for name, frames in self._written.items():
            group = self._output.file["report"][name]
            group["data"].resize(frames, axis=0)  # drops the half of an interrupted append
            group["mapping"]["time"][1] = self._stop(frames, self._reached[name])
        self._output.flush()

    def _stop(self, frames: int, reached: float) -> float:
        """The stop from which every reader gets the right number of frames.

        bmtk divides and rounds down; libsonata adds dt until it reaches stop, which after some 10⁵ frames is
        another number. Then the sum is what counts: bmtk may miss the last frame, libsonata would refuse all.
        """
        stop = self.start + frames * self.dt
        if abs(reached - stop) > _TIME_TOLERANCE:
            return reached
        while (stop - self.start) / self.dt < frames:
            stop = float(np.nextafter(stop, np.inf))
        return stop

    def close(self) -> None:
        """Flush and close; safe to call twice."""
        if self._output.file:
            with self._output:
                self.flush()


class SpikeStream:
    """The spikes of one population of a SONATA file sorted by time, of which some are held at a time.

    ``populations`` are all in the file; one that is missing has no spikes. OSError or KeyError when it is no such file.
    """

    def __init__(self, path: Path | str, population: str) -> None:
        self.path, self.population = Path(path), population
        with h5py.File(self.path, "r") as file:
            self.populations = tuple(file["spikes"])
            there = population in self.populations
            self.count = len(file["spikes"][population]["timestamps"]) if there else 0
        self._first = 0
        self._times, self._ids = self._load(0)

    def between(self, start: float, stop: float) -> tuple[Float64, Int64]:
        """Times (ms [n]) and node ids [n] of spikes with ``start`` ≤ time < ``stop``; quick when asked in order."""
        if self._first and not self._times[:1] < start:
            self._go_to(0)
        times, ids = [self._times[:0]], [self._ids[:0]]
        while True:
            low, high = np.searchsorted(self._times, (start, stop))
            times.append(self._times[low:high])
            ids.append(self._ids[low:high])
            end = self._first + len(self._times)
            if high < len(self._times) or end >= self.count:
                return np.concatenate(times), np.concatenate(ids)
            self._go_to(end)

    def is_sorted(self) -> bool:
        """Whether spikes are sorted by time; reads them all."""
        last = -np.inf
        for first in range(0, self.count, _SPIKES_HELD):
            times, _ = self._load(first)
            if times[0] < last or np.any(np.diff(times) < 0):
                return False
            last = times[-1]
        return True

    def _go_to(self, first: int) -> None:
        self._first = first
        self._times, self._ids = self._load(first)

    def _load(self, first: int) -> tuple[Float64, Int64]:
        if not self.count:
            return np.empty(0), np.empty(0, np.int64)
        with h5py.File(self.path, "r") as file:
            group, part = file["spikes"][self.population], slice(first, first + _SPIKES_HELD)
            return group["timestamps"][part].astype(np.float64), group["node_ids"][part].astype(np.int64)


def read_spikes(path: Path | str) -> dict[str, tuple[Float64, Int64]]:
    """All spikes as {population: (timestamps ms [n], node ids [n])}, sorted by time, then cell.

    OutputError when the file is missing or damaged.
    """
    with reading(path, "spikes"), h5py.File(path, "r") as file:
        return {name: _sorted_spikes(group) for name, group in file["spikes"].items()}


def _sorted_spikes(group: h5py.Group) -> tuple[Float64, Int64]:
    times = np.asarray(group["timestamps"][:], np.float64)
    ids = np.asarray(group["node_ids"][:], np.int64)
    n = min(len(times), len(ids))
    order = np.lexsort((ids[:n], times[:n]))
    return times[order], ids[order]


def read_voltage(
    path: Path | str, population: str, start: float = 0.0, stop: float = np.inf
) -> tuple[Float64, Int64, Float32]:
    """A voltage report of one population: times (ms [frames]), node ids [cells], data (mV [frames, cells]).

    Only frames with ``start`` ≤ time < ``stop`` (ms) are read. OutputError when the file is missing or
    damaged, or holds no such population.
    """
    with reading(path, "voltage report"), h5py.File(path, "r") as file:
        group = file["report"][population]
        origin, _, dt = (float(value) for value in group["mapping"]["time"][:])
        first, last = (_frame(time, origin, dt, len(group["data"])) for time in (start, stop))
        data = np.asarray(group["data"][first:last], np.float32)
        ids = np.asarray(group["mapping"]["node_ids"][:], np.int64)
        times: Float64 = origin + dt * np.arange(first, first + len(data), dtype=np.float64)
        return times, ids, data


def _frame(time: float, origin: float, dt: float, frames: int) -> int:
    """The first frame at or after ``time``, up to rounding."""
    return int(np.ceil(np.clip((time - origin) / dt - _TIME_TOLERANCE, 0, frames)))
