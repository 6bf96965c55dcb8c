"""Files that stimuli are read from: currents and rates. They are checked as a whole before a run."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import h5py
import numpy as np

from noble_net.config import NetworkSpec, config_error
from noble_net.errors import ConfigError, shortened
from noble_net.sonata.spikes import SpikeStream
from noble_net.sonata.storage import lies_within
from noble_net.specs.specification import nearest
from noble_net.specs.stimuli import CurrentTableSpec
from noble_net.types import Float32, Float64
from noble_net.units import QuantityError, parse_quantity

_VALUES_AT_ONCE = 262_144


class FileFault(ValueError):
    """A stimulus's file is missing or wrong: ``problem`` and ``remedy`` as shown to the user, ``key`` at fault."""

    def __init__(self, problem: str, remedy: str, key: str = "file") -> None:
        self.problem, self.remedy, self.key = problem, remedy, key
        super().__init__(f"{problem}. {remedy}")


class TableReader:
    """A table of currents in a file, float32 [rows, columns] in nA, of which some rows are held at a time.

    Raises FileFault when the file is none.
    """

    def __init__(self, path: str, dataset: str | None) -> None:
        self.path, self.dataset = Path(path), dataset
        self._scale = 1.0
        self.rows, self.columns = self._shape()
        self._first = 0
        self._held: Float32 = np.zeros((0, self.columns), np.float32)
        self._line, self._offset = 0, 0

    @property
    def rows_at_once(self) -> int:
        """How many rows are read at a time."""
        return max(1, _VALUES_AT_ONCE // self.columns)

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

    def _shape(self) -> tuple[int, int]:
        if self.dataset is None:
            with _opening(self.path), self.path.open("rb") as stream:
                self._columns = len(stream.readline().split(b","))
                rows = sum(1 for line in stream if line.strip())
            return rows, self._columns
        with _opening(self.path), h5py.File(self.path, "r") as file:
            found = file.get(self.dataset)
            if not isinstance(found, h5py.Dataset):
                remedy = nearest(self.dataset, _datasets(file))
                raise FileFault(f"{self.path} has no such dataset", remedy, "dataset")
            if found.ndim not in (1, 2) or found.dtype.kind not in "fiu":
                problem = f"{self.path}: has shape {found.shape} and type {found.dtype}"
                raise FileFault(problem, "give numbers [intervals] or [intervals, cells]", "dataset")
            if not lies_within(found, file):
                raise FileFault(
                    f"{self.path}: the array lies in another file", "copy it into this one", "dataset"
                )
            self._scale = _in_nanoampere(found.attrs.get("units", "nA"), self.path)
            return found.shape[0], found.shape[1] if found.ndim == 2 else 1

    def _load(self, first: int, count: int) -> Float32:
        if self.dataset is None:
            return self._load_text(first, count)
        with _opening(self.path), h5py.File(self.path, "r") as file:
            values = np.asarray(file[self.dataset][first : first + count], np.float64)
        with np.errstate(over="ignore"):  # an infinite current is refused before a run
            return (values.reshape(len(values), -1) * self._scale).astype(np.float32)

    def _load_text(self, first: int, count: int) -> Float32:
        """Lines are found from where the last ones ended; going back begins at the top."""
        with _opening(self.path), self.path.open("rb") as stream:
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


def read_rate_table(path: str) -> tuple[Float64, Float64]:
    """Times (ms) and rates (Hz) of a CSV file. Raises FileFault when it is none."""
    import pandas as pd

    with _opening(path, "rate_table"):
        try:
            table = pd.read_csv(path)
            columns = [table[name].to_numpy(np.float64) for name in ("time", "rate")]
        except (KeyError, ValueError):
            problem = f"{path}: has no columns of numbers called time and rate"
            raise FileFault(problem, "name them in its first line", "rate_table") from None
    times, rates = columns
    if not len(times) or not np.isfinite(columns).all() or (np.diff(times) <= 0).any() or (rates < 0).any():
        problem = f"{path}: times do not ascend, or a rate is negative or missing"
        raise FileFault(problem, "give times in ms, ascending, and rates in Hz", "rate_table")
    return times, rates


def check_files(spec: NetworkSpec) -> None:
    """Refuse stimuli whose files are missing or wrong: ConfigError at the line of the key that names them."""
    for index, stimulus in enumerate(spec.stimuli):
        try:
            if stimulus.current_table is not None:
                open_table(stimulus.current_table).check()
            elif stimulus.synapse_replay is not None:
                with _opening(stimulus.synapse_replay.file):
                    _check_spikes(stimulus.synapse_replay.file, stimulus.synapse_replay.population)
            elif stimulus.poisson is not None and stimulus.poisson.rate_table is not None:
                read_rate_table(stimulus.poisson.rate_table)
        except FileFault as fault:
            raise _refused(spec, index, fault) from None


def check_columns(spec: NetworkSpec, index: int, cells: int) -> None:
    """Refuse a table of currents that fits neither all ``cells`` of stimulus ``index`` together nor each."""
    table = spec.stimuli[index].current_table
    if table is None:
        return
    columns = open_table(table).columns
    if columns not in (1, cells):
        problem = f"{table.file} has {columns} columns, {spec.stimuli[index].to} has {cells} cells"
        raise _refused(spec, index, FileFault(problem, "give one column, or one for every cell"))


def open_table(spec: CurrentTableSpec) -> TableReader:
    """The table of a stimulus. Raises FileFault when there is none."""
    return TableReader(spec.file, spec.dataset)


def _refused(spec: NetworkSpec, index: int, fault: FileFault) -> ConfigError:
    stimulus = spec.stimuli[index]
    return config_error(spec, ("stimuli", index, stimulus.kind, fault.key), fault.problem, fault.remedy)


def _check_spikes(path: str, population: str) -> None:
    stream = SpikeStream(path, population)
    if population not in stream.populations:
        problem = f"{path} has no spikes of such a population"
        raise FileFault(problem, nearest(population, stream.populations), "population")
    if not stream.is_sorted():
        problem = f"{path}: spikes of {population} are not sorted by time, as the file says they are"
        raise FileFault(problem, "sort them, or remove the attribute `sorting`")


class _opening:
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


def _in_nanoampere(unit: object, path: Path) -> float:
    text = unit.decode() if isinstance(unit, bytes) else str(unit)
    try:
        return parse_quantity(f"1 {text}", "nA")[0]
    except QuantityError as error:
        raise FileFault(
            f"{path}: its units, {shortened(text, 20)!r}, are no current", error.remedy, "dataset"
        ) from None


def _is_numbers(line: bytes) -> bool:
    try:
        np.array(line.split(b","), np.float64)
    except ValueError:
        return False
    return True


def _datasets(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, each: found.append(name) if isinstance(each, h5py.Dataset) else None)
    return found
