"""Spike files: a writer that appends while a run goes on, and readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import ArrayLike

from noble_net.errors import shortened
from noble_net.output import reading
from noble_net.sonata.storage import Closing, H5Output, keep_rows, lies_within
from noble_net.types import Float64, Int64
from noble_net.units import parse_quantity

_SORTING = h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": 2}, basetype="u1")
"""libsonata crashes on a plain string here."""
_UNITS = ("ms", "milliseconds", "s", "seconds")
_SPIKES_PER_CHUNK = 8192
_SPIKES_HELD = 65536


class SpikeWriter(Closing):
    """Appends spikes of named populations to a SONATA file, in time order per population.

    Populations without spikes are present and empty. `flush` brings everything to disk. ``kept`` goes on with a file
    that exists, after so many spikes of each population; OutputError when it does not hold them. A context manager.
    """

    def __init__(
        self, path: Path | str, populations: Sequence[str], kept: Mapping[str, int] | None = None
    ) -> None:
        self._output = H5Output(path, append=kept is not None)
        self._count = dict.fromkeys(populations, 0) if kept is None else dict(kept)
        self._last = dict.fromkeys(populations, -np.inf)
        with self._output.opening("spikes"):
            for name, count in self._count.items():
                if kept is None:
                    self._create(name)
                else:
                    self._keep(name, count)
        self.flush()

    def _create(self, name: str) -> None:
        group = self._output.file.create_group(f"spikes/{name}")
        group.attrs.create("sorting", 2, dtype=_SORTING)
        for column, dtype in (("timestamps", "f8"), ("node_ids", "u8")):
            group.create_dataset(column, (0,), dtype, maxshape=(None,), chunks=(_SPIKES_PER_CHUNK,))
        group["timestamps"].attrs["units"] = "ms"

    def _keep(self, name: str, count: int) -> None:
        group = self._output.file["spikes"][name]
        for column in ("timestamps", "node_ids"):
            keep_rows(group[column], count)
        if count:
            self._last[name] = float(group["timestamps"][count - 1])

    @property
    def written(self) -> dict[str, int]:
        """Spikes appended so far, per population."""
        return dict(self._count)

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


class SpikeStream:
    """The spikes of one population of a SONATA file, by time, of which some are held at a time.

    A file that is not sorted by time, nor says so, is sorted here and held as a whole, 16 bytes a spike.
    ``populations`` are all in the file; one that is missing has no spikes. OSError or KeyError when it is no such file.
    """

    def __init__(self, path: Path | str, population: str) -> None:
        self.path, self.population = Path(path), population
        with h5py.File(self.path, "r") as file:
            self.populations = tuple(file["spikes"])
            there = population in self.populations
            self.count = 0
            if there:
                times, ids, _ = _columns(file["spikes"][population])
                if not (lies_within(times, file) and lies_within(ids, file)):
                    raise OSError("its spikes lie in another file")
                self.count = len(times)
                if len(ids) != self.count:
                    raise OSError(f"it has {self.count} timestamps and {len(ids)} node_ids")
            by_time = there and _labelled_by_time(file["spikes"][population])
        self._whole: tuple[Float64, Int64] | None = None
        if not by_time and not self.is_sorted():
            with h5py.File(self.path, "r") as file:
                self._whole = _sorted_spikes(file["spikes"][population])
        self._first = 0
        self._times, self._ids = self._load(0)

    def between(self, start: float, stop: float) -> tuple[Float64, Int64]:
        """Times (ms [n]) and node ids [n] of spikes with ``start`` ≤ time < ``stop``; quick when asked in order."""
        while self._first and self._times[0] >= start:
            self._go_to(max(0, self._first - _SPIKES_HELD))
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
        """Whether spikes come sorted by time; reads them all."""
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
        part = slice(first, first + _SPIKES_HELD)
        if self._whole is not None:
            times, ids = self._whole[0][part], self._whole[1][part]
        else:
            with h5py.File(self.path, "r") as file:
                times, ids = _read(file["spikes"][self.population], part)
        if not np.isfinite(times).all():
            raise OSError("a timestamp is not finite")
        return times, ids


def _columns(group: object) -> tuple[h5py.Dataset, h5py.Dataset, float]:
    """Timestamps and node ids of a population, and the ms in their unit. OSError or KeyError when they are none."""
    if not isinstance(group, h5py.Group):
        raise OSError("its spikes are no group")
    columns = group["timestamps"], group["node_ids"]
    for each in columns:
        if not isinstance(each, h5py.Dataset) or each.ndim != 1 or each.dtype.kind not in "iuf":
            raise OSError(f"{each.name} is no row of numbers")
    unit = columns[0].attrs.get("units", "ms")
    unit = unit.decode() if isinstance(unit, bytes) else str(unit)
    if unit not in _UNITS:
        raise OSError(f"its timestamps are in {shortened(unit, 20)!r}, not in {' or '.join(_UNITS)}")
    return *columns, parse_quantity(f"1 {unit}", "ms")[0]


def _read(group: object, part: slice) -> tuple[Float64, Int64]:
    """Some of the times, ms, and node ids of a population."""
    times, ids, scale = _columns(group)
    return times[part].astype(np.float64) * scale, ids[part].astype(np.int64)


def _labelled_by_time(group: h5py.Group) -> bool:
    """Whether a file says that its spikes are sorted by time: in SONATA's enumeration, or in text as bmtk does."""
    label = group.attrs.get("sorting", "none")
    text = label.decode() if isinstance(label, bytes) else str(label)
    return text in ("2", "by_time")


def read_spikes(path: Path | str) -> dict[str, tuple[Float64, Int64]]:
    """All spikes as {population: (timestamps ms [n], node ids [n])}, sorted by time, then cell.

    OutputError when the file is missing or damaged.
    """
    with reading(path, "spikes"), h5py.File(path, "r") as file:
        return {name: _sorted_spikes(group) for name, group in file["spikes"].items()}


def _sorted_spikes(group: h5py.Group) -> tuple[Float64, Int64]:
    times, ids = _read(group, slice(None))
    n = min(len(times), len(ids))
    order = np.lexsort((ids[:n], times[:n]))
    return times[order], ids[order]
