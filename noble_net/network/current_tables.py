"""Tables of currents in files: CSV, arrays in HDF5, and time series of NWB files, read some rows at a time.

NWB files are read with h5py: of a TimeSeries, which any version of the format lays out alike, only the values, their
unit and their rate are needed, and pynwb would take seconds and a dozen packages to tell them.
"""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from noble_net.errors import shortened
from noble_net.sonata.storage import lies_within
from noble_net.specs.specification import nearest
from noble_net.types import DT, Float32, Float64
from noble_net.units import INTERNAL, QuantityError, parse_quantity

_VALUES_AT_ONCE = 262_144


class FileFault(ValueError):
    """A stimulus's file is missing or wrong: ``problem`` and ``remedy`` as shown to the user, ``key`` at fault."""

    def __init__(self, problem: str, remedy: str, key: str = "file") -> None:
        self.problem, self.remedy, self.key = problem, remedy, key
        super().__init__(f"{problem}. {remedy}")


class TableReader:
    """A table of currents in a file, float32 [rows, columns] in nA, of which some rows are held at a time.

    Each row is held for ``dt`` ms, which a time series tells of itself: at 10 kHz or less for as long as from value to
    value; at more, as the mean of all that fall into one sample, so that the charge is exact.

    Raises FileFault when the file is none.
    """

    def __init__(self, path: str, dataset: str | None, dt: float | None) -> None:
        self.path, self.dataset = Path(path), dataset
        self.dt = DT if dt is None else dt
        self._scale, self._offset_of_values, self._together = 1.0, 0.0, 1
        self.rows, self.columns = self._shape(dt)
        self._first = 0
        self._held: Float32 = np.zeros((0, self.columns), np.float32)
        self._line, self._offset = 0, 0

    @property
    def rows_at_once(self) -> int:
        """How many rows are read at a time."""
        return max(1, _VALUES_AT_ONCE // (self.columns * self._together))

    def read(self, first: int, count: int) -> Float32:
        """Rows ``first`` … ``first + count``, as many of them as there are."""
        parts = []
        while count > 0 and first < self.rows:
            if not self._first <= first < self._first + len(self._held):
                self._first, self._held = first, self._load(first, min(self.rows_at_once, self.rows - first))
            part = self._held[first - self._first :][:count]
            parts.append(part)
            first, count = first + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else np.concatenate([self._held[:0], *parts])

    def check(self) -> None:
        """Read everything once. Raises FileFault for a value that is no finite number."""
        if not self.rows:
            raise FileFault(f"{self.path} has no rows", "give at least one, below the names")
        for first in range(0, self.rows, self.rows_at_once):
            values = self.read(first, self.rows_at_once)
            if not np.isfinite(values).all():
                row = first + int(np.argmin(np.isfinite(values).all(axis=1)))
                raise FileFault(f"{self.path}: row {row} holds a value that is not finite", "correct it")

    def _shape(self, dt: float | None) -> tuple[int, int]:
        if self.dataset is None:
            with opening(self.path), self.path.open("rb") as stream:
                self._columns = len(stream.readline().split(b","))
                rows = sum(1 for line in stream if line.strip())
            return rows, self._columns
        with opening(self.path), h5py.File(self.path, "r") as file:
            found = time_series(file, self.dataset)
            if found is not None:
                self._take_rate(found, dt)
                found = found["data"]
                self.dataset = found.name
                self._scale = in_unit(found.attrs.get("unit", "unknown"), "nA", self.path)
                self._offset_of_values = self._scale * float(found.attrs.get("offset", 0.0))
                self._scale *= float(found.attrs.get("conversion", 1.0))
            else:
                found = file.get(self.dataset)
                if not isinstance(found, h5py.Dataset):
                    raise FileFault(
                        f"{self.path} has no such dataset", nearest(self.dataset, _choices(file)), "dataset"
                    )
                if dt is None:
                    raise FileFault(
                        f"{self.path}: is an array without a rate",
                        "add `dt`, for how long a value is held",
                        "dataset",
                    )
                self._scale = in_unit(found.attrs.get("units", "nA"), "nA", self.path)
            if found.ndim not in (1, 2) or found.dtype.kind not in "fiu" or not all(found.shape[1:]):
                problem = f"{self.path}: has shape {found.shape} and type {found.dtype}"
                raise FileFault(problem, "give numbers [intervals] or [intervals, cells]", "dataset")
            if not lies_within(found, file):
                problem = f"{self.path}: the array lies in another file"
                raise FileFault(problem, "copy it into this one", "dataset")
            return -(-found.shape[0] // self._together), found.shape[1] if found.ndim == 2 else 1

    def _take_rate(self, series: Any, dt: float | None) -> None:
        if dt is not None:
            raise FileFault(f"{self.path}: a time series has a rate of its own", "remove `dt`", "dt")
        if "starting_time" not in series:
            problem = f"{self.path}: has a time for every value instead of a rate"
            raise FileFault(problem, "resample it to a constant rate, such as 10 kHz", "dataset")
        rate = float(series["starting_time"].attrs["rate"])
        sample = 1000.0 / DT
        held, together = (max(1, round(each)) if each < 1e9 else 1 for each in (sample / rate, rate / sample))
        if not abs(rate * held / (sample * together) - 1) < 1e-6:
            problem = f"{self.path}: is sampled at {rate:g} Hz, which does not fit samples of {DT:g} ms"
            raise FileFault(problem, "resample it to a multiple or a divisor of 10 kHz", "dataset")
        self.dt, self._together = held * DT, together

    def _load(self, first: int, count: int) -> Float32:
        if self.dataset is None:
            return self._load_text(first, count)
        with opening(self.path), h5py.File(self.path, "r") as file:
            part = slice(first * self._together, (first + count) * self._together)
            values = np.asarray(file[self.dataset][part], np.float64)
        values = values.reshape(len(values), -1) * self._scale + self._offset_of_values
        with np.errstate(over="ignore"):  # an infinite current is refused before a run
            return self._averaged(values).astype(np.float32)

    def _averaged(self, values: Float64) -> Float64:
        """The mean of the values of each sample; what the last one lacks is zero, as all is after the end."""
        if self._together == 1:
            return values
        missing = -len(values) % self._together
        whole = np.concatenate([values, np.zeros((missing, self.columns))])
        mean: Float64 = whole.reshape(-1, self._together, self.columns).mean(axis=1)
        return mean

    def _load_text(self, first: int, count: int) -> Float32:
        """Lines are found from where the last ones ended; going back begins at the top."""
        with opening(self.path), self.path.open("rb") as stream:
            if first < self._line or not self._offset:
                stream.readline()
                self._line, self._offset = 0, stream.tell()
            stream.seek(self._offset)
            lines = (line for line in iter(stream.readline, b"") if line.strip())
            wanted = list(islice(lines, first - self._line, first - self._line + count))
            self._line, self._offset = first + len(wanted), stream.tell()
        for row, line in enumerate(wanted):
            if line.count(b",") + 1 != self.columns:
                problem = (
                    f"{self.path}: row {first + row} (from 0, below the names) has not {self.columns} values"
                )
                raise FileFault(problem, "separate values by commas")
        try:
            with np.errstate(over="ignore"):
                return np.array([line.split(b",") for line in wanted], np.float64).astype(np.float32)
        except ValueError:
            row = next(row for row, line in enumerate(wanted, first) if not _is_numbers(line))
            problem = f"{self.path}: row {row} (from 0, below the names) holds something that is no number"
            raise FileFault(problem, "give numbers, separated by commas") from None


class opening:
    """Turn the system's refusals to read a file into a FileFault."""

    def __init__(self, path: Path | str, key: str = "file") -> None:
        self.path, self.key = Path(path), key

    def __enter__(self) -> None:
        if not os.path.isfile(self.path):
            remedy = "give its path, relative to the network file"
            raise FileFault(f"there is no file {self.path}", remedy, self.key)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | KeyError | RuntimeError | UnicodeDecodeError):
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise FileFault(f"{self.path} cannot be read: {reason}", "give another file", self.key) from error


def in_unit(unit: object, wanted: str, path: Path) -> float:
    """What values in a file's ``unit`` are multiplied by to be in the internal unit ``wanted``. Raises FileFault."""
    text = unit.decode() if isinstance(unit, bytes) else str(unit)
    try:
        return parse_quantity(f"1 {text}", wanted)[0]
    except QuantityError as error:
        kind = INTERNAL[wanted].quantity.split(" ", 1)[1]
        problem = f"{path}: its units, {shortened(text, 20)!r}, are no {kind}"
        raise FileFault(problem, error.remedy, "dataset") from None


def _is_numbers(line: bytes) -> bool:
    try:
        np.array(line.split(b","), np.float64)
    except ValueError:
        return False
    return True


def time_series(file: h5py.File, path: str) -> Any:
    """The TimeSeries of an NWB file at ``path``, which may also be that of its data."""
    found = file.get(path)
    if isinstance(found, h5py.Dataset) and found.name.endswith("/data"):
        found = found.parent
    if isinstance(found, h5py.Group) and "neurodata_type" in found.attrs and "data" in found:
        return found
    return None


def _choices(file: h5py.File) -> list[str]:
    """What a table can be read from: time series of an NWB file, and other arrays."""
    found: list[str] = []

    def look(name: str, each: object) -> None:
        inside = isinstance(each, h5py.Dataset) and "neurodata_type" in each.parent.attrs
        if (isinstance(each, h5py.Dataset) and not inside) or (
            isinstance(each, h5py.Group) and time_series(file, name) is not None
        ):
            found.append(name)

    file.visititems(look)
    return found
