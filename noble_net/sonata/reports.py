"""SONATA reports: quantities of chosen cells as functions of time, appended while a run goes on, and their reader."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import ArrayLike

from noble_net.output import reading
from noble_net.sonata.storage import Closing, H5Output, keep_rows
from noble_net.types import Float32, Float64, Int64

_VALUES_PER_CHUNK = 65536
_TIME_TOLERANCE = 1e-6
"""libsonata counts a frame while its accumulated time is below the report's stop by more than this, ms."""


class Report(NamedTuple):
    """What a report holds: the recorded node ids of each population, times in ms, the name and unit of its quantity."""

    cells: Mapping[str, Int64]
    start: float
    stop: float
    dt: float
    variable: str
    unit: str


class ReportWriter(Closing):
    """Appends frames of a quantity of chosen cells to a report; frame i lies at ``start`` + i·``dt``.

    ``cells`` maps each population to the node ids recorded, ascending. ``frames`` is how many frames fill
    [start, stop), stop excluded. The file's own stop always tells the frames really written. float32,
    uncompressed (libsonata reads no compressed reports). ``kept`` goes on with a file that exists, after so many frames
    of each population; OutputError when it does not hold them. A context manager.
    """

    def __init__(
        self,
        path: Path | str,
        cells: Mapping[str, ArrayLike],
        start: float,
        stop: float,
        dt: float,
        variable: str = "v",
        unit: str = "mV",
        kept: Mapping[str, int] | None = None,
    ) -> None:
        self._output = H5Output(path, append=kept is not None)
        self.cells: dict[str, Int64] = {name: np.asarray(ids, np.int64) for name, ids in cells.items()}
        self.start, self.dt = start, dt
        self.frames = math.ceil(round((stop - start) / dt, 6))
        self._written = dict.fromkeys(self.cells, 0)
        self._reached = dict.fromkeys(self.cells, start)
        with self._output.opening("report"):
            for name, ids in self.cells.items():
                if kept is None:
                    self._create(name, ids, variable, unit)
                else:
                    keep_rows(self._output.file["report"][name]["data"], kept[name])
                    self._count(name, kept[name])
        self.flush()

    def _create(self, name: str, ids: Int64, variable: str, unit: str) -> None:
        group, n = self._output.file.create_group(f"report/{name}"), len(ids)
        rows = max(1, min(_VALUES_PER_CHUNK // max(n, 1), self.frames))
        data = group.create_dataset("data", (0, n), "f4", maxshape=(None, n), chunks=(rows, max(n, 1)))
        data.attrs["units"] = unit
        data.attrs["variable"] = variable
        mapping = group.create_group("mapping")
        mapping.create_dataset("node_ids", data=ids.astype(np.uint64)).attrs["sorted"] = np.uint8(1)
        mapping.create_dataset("index_pointers", data=np.arange(n + 1, dtype=np.uint64))
        mapping["index_pointer"] = mapping["index_pointers"]  # bmtk's name for it
        mapping.create_dataset("element_ids", data=np.zeros(n, np.uint32))
        mapping.create_dataset("element_pos", data=np.full(n, 0.5, np.float32))
        time = mapping.create_dataset("time", data=np.array([self.start, self.start, self.dt]))
        time.attrs["units"] = "ms"

    def append(self, population: str, data: ArrayLike) -> None:
        """Add frames: ``data`` [frames, cells]. ValueError beyond the planned number of frames."""
        block = np.asarray(data, np.float32)
        begin = self._written[population]
        end = begin + len(block)
        if end > self.frames:
            raise ValueError(f"{end} frames of {population!r} where {self.frames} were planned")
        dataset = self._output.file["report"][population]["data"]
        dataset.resize(end, axis=0)
        dataset[begin:] = block
        self._output.check()
        self._count(population, len(block))

    def _count(self, population: str, frames: int) -> None:
        steps = np.full(frames + 1, self.dt)
        steps[0] = self._reached[population]
        self._reached[population] = float(np.add.accumulate(steps)[-1])
        self._written[population] += frames

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


def read_report(
    path: Path | str, population: str, start: float = 0.0, stop: float = np.inf
) -> tuple[Float64, Int64, Float32]:
    """A report of one population: times (ms [frames]), node ids [cells], data [frames, cells].

    Only frames with ``start`` ≤ time < ``stop`` (ms) are read. OutputError when the file is missing or
    damaged, or holds no such population.
    """
    with reading(path, "report"), h5py.File(path, "r") as file:
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


def reported_populations(path: Path | str) -> list[str]:
    """The populations of which a report holds cells. OutputError when the file is missing or damaged."""
    with reading(path, "report"), h5py.File(path, "r") as file:
        return list(file["report"])
