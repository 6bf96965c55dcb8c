"""Recordings of a cell: voltage and injected current of one or several sweeps, from HDF5, CSV or NWB files.

- **HDF5**: arrays ``voltage`` and ``current``, [samples] or [sweeps, samples], and the attribute ``rate`` (Hz) of the
  file; or a group ``sweeps`` with a group of these for each sweep, its ``rate`` there or at the file. Attributes
  ``units`` of the arrays say otherwise than mV and nA.
- **CSV**: columns ``time``, ``voltage``, ``current`` and, if there are several, ``sweep``, each with its unit in
  brackets: ``time (ms),voltage (mV),current (pA)``.
- **NWB**: every CurrentClampSeries of ``acquisition`` with the CurrentClampStimulusSeries of ``stimulus/presentation``
  that has its ``sweep_number``, or else the same number in its name, or is the only one.

Whatever the rate, a sweep becomes samples of 0.1 ms: the voltage at their ends, linear between the recorded ones and
not filtered; the current as its mean over each, recorded values being held until the next, so that the charge is exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from noble_net.errors import RecordingError, shortened
from noble_net.network.current_tables import FileFault, in_unit, opening
from noble_net.specs.specification import nearest
from noble_net.types import DT, Float32, Float64

SLOWEST = 10_000.0
"""Rate below which spikes are not resolved, Hz."""
HIGHEST_VOLTAGE, HIGHEST_CURRENT = 200.0, 20.0
"""What no patched cell exceeds, mV and nA: beyond, a unit is wrong."""
_KINDS = (".h5", ".hdf5", ".nwb", ".csv")
_HEADING = re.compile(r"\s*(\w+)\s*(?:[(\[]\s*([^)\]]+?)\s*[)\]])?\s*")


class Sweep(NamedTuple):
    """Voltage float32 [samples + 1] (mV) and injected current float32 [samples] (nA) at 0.1 ms; ``rate``: as
    recorded, Hz."""

    name: str
    voltage: Float32
    current: Float32
    rate: float

    @property
    def duration(self) -> float:
        """ms."""
        return len(self.current) * DT


def read_recording(
    file: Path | str, *, sweeps: Sequence[str] | None = None, junction_potential: float = 0.0
) -> list[Sweep]:
    """The sweeps of a recording, or those of some names; see the module for the files.

    ``junction_potential``: mV added to every voltage, so that it is in the frame of the core's family (the Allen fits:
    −14 mV, of recordings that were not corrected). Raises RecordingError, naming file, dataset, value and remedy.
    """
    path = Path(file)
    if path.suffix.lower() not in _KINDS:
        raise RecordingError(f"{path} is no recording: give one of {', '.join(_KINDS)}")
    if not path.is_file():
        raise RecordingError(f"there is no file {path}. Give the path of a recording")
    if not abs(junction_potential) <= 50.0:
        raise RecordingError(
            f"a junction potential of {junction_potential:g} mV is none: give some mV, such as -14"
        )
    found: list[Sweep] = []
    try:
        with opening(path):
            for name, where, voltage, current, rate in _raw(path, sweeps):
                _check(where, voltage, current, rate)
                found.append(_resampled(name, voltage + junction_potential, current, rate))
    except FileFault as error:
        raise RecordingError(f"{error.problem}. {error.remedy}") from error
    if not found:
        raise RecordingError(f"{path} has no sweeps. Give voltage and current of at least one")
    return found


_Raw = tuple[str, str, Float64, Float64, float]
"""Name, place for messages, voltage (mV), current (nA), rate (Hz)."""


def _raw(path: Path, wanted: Sequence[str] | None) -> Iterator[_Raw]:
    if path.suffix.lower() == ".csv":
        yield from _csv(path, wanted)
        return
    with h5py.File(path, "r") as file:
        nwb = "acquisition" in file and "nwb_version" in file.attrs
        yield from (_nwb(path, file, wanted) if nwb else _hdf5(path, file, wanted))


def _chosen(path: Path, names: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    """The names wanted, of those there are."""
    for name in wanted or ():
        if name not in names:
            raise RecordingError(f"{path} has no sweep {shortened(name)!r}: {nearest(name, names)}")
    return [name for name in names if wanted is None or name in wanted]


# --- HDF5 -------------------------------------------------------------------------------------------------


def _hdf5(path: Path, file: h5py.File, wanted: Sequence[str] | None) -> Iterator[_Raw]:
    if "sweeps" in file:
        groups = {str(name): file["sweeps"][name] for name in file["sweeps"]}
        for name in _chosen(path, list(groups), wanted):
            yield from _arrays(path, groups[name], [name], None, file)
        return
    _array(path, file, "voltage")
    voltage = file["voltage"]
    count = voltage.shape[0] if voltage.ndim == 2 else 1
    yield from _arrays(path, file, [str(i) for i in range(count)], wanted, file)


def _arrays(
    path: Path, group: h5py.Group, names: list[str], wanted: Sequence[str] | None, file: h5py.File
) -> Iterator[_Raw]:
    voltage, current = _array(path, group, "voltage"), _array(path, group, "current")
    where = f"{path}: {group.name.rstrip('/')}/voltage"
    if voltage.shape != current.shape:
        raise RecordingError(
            f"{where} has the shape {voltage.shape} and current {current.shape}. Give as many values of both"
        )
    if "rate" not in group.attrs and "rate" not in file.attrs:
        raise RecordingError(f"{path} does not tell its rate. Give the file the attribute `rate`, in Hz")
    rate = float(group.attrs.get("rate", file.attrs.get("rate")))
    to_mv = in_unit(voltage.attrs.get("units", "mV"), "mV", path)
    to_na = in_unit(current.attrs.get("units", "nA"), "nA", path)
    for name in _chosen(path, names, wanted):
        row = (names.index(name),) if voltage.ndim == 2 else ()
        values = np.asarray(voltage[row], np.float64), np.asarray(current[row], np.float64)
        yield name, f"{where} of sweep {name}", to_mv * values[0], to_na * values[1], rate


def _array(path: Path, group: h5py.Group, name: str) -> Any:
    found = group.get(name)
    if not isinstance(found, h5py.Dataset):
        have = ", ".join(list(group)[:8]) or "nothing"
        raise RecordingError(
            f"{path}: {group.name} has no array {name}, but {have}. Give `voltage` and `current`, and `rate`"
        )
    if found.ndim not in (1, 2) or found.dtype.kind not in "fiu":
        raise RecordingError(
            f"{path}: {found.name} has the shape {found.shape} and type {found.dtype}. "
            "Give numbers [samples] or [sweeps, samples]"
        )
    return found


# --- NWB --------------------------------------------------------------------------------------------------


def _nwb(path: Path, file: h5py.File, wanted: Sequence[str] | None) -> Iterator[_Raw]:
    answers = _series_of(file.get("acquisition"), "CurrentClampSeries")
    stimuli = _series_of(file.get("stimulus/presentation"), "CurrentClampStimulusSeries")
    if not answers or not stimuli:
        kind, place = (
            ("CurrentClampStimulusSeries", "stimulus/presentation")
            if answers
            else ("CurrentClampSeries", "acquisition")
        )
        raise RecordingError(
            f"{path}: {place} has no {kind}. Give a recording in current clamp, with its stimuli"
        )
    for name in _chosen(path, list(answers), wanted):
        answer = answers[name]
        partners = [each for each in stimuli.values() if _number(each) == _number(answer)]
        if len(answers) == len(stimuli) == 1:
            partners = list(stimuli.values())
        if len(partners) != 1:
            raise RecordingError(
                f"{path}: {answer.name} has {len(partners)} stimuli of its sweep number, {_number(answer)}. "
                "Give both series one `sweep_number`, or choose other sweeps by --sweeps"
            )
        voltage, rate = _values(path, answer, "mV")
        current, other = _values(path, partners[0], "nA")
        if abs(rate / other - 1.0) > 1e-6:
            raise RecordingError(
                f"{path}: {answer.name} is sampled at {rate:g} Hz and its stimulus at {other:g}. Resample one"
            )
        count = min(len(voltage), len(current))
        yield name, f"{path}: {answer.name}", voltage[:count], current[:count], rate


def _series_of(group: Any, kind: str) -> dict[str, h5py.Group]:
    if not isinstance(group, h5py.Group):
        return {}
    return {
        str(name): each
        for name, each in group.items()
        if isinstance(each, h5py.Group) and each.attrs.get("neurodata_type") == kind and "data" in each
    }


def _number(series: h5py.Group) -> int | None:
    """The number of a series' sweep: told, or the first in its name."""
    if "sweep_number" in series.attrs:
        return int(series.attrs["sweep_number"])
    digits = re.search(r"\d+", series.name.rsplit("/", 1)[-1])
    return int(digits.group()) if digits else None


def _values(path: Path, series: h5py.Group, unit: str) -> tuple[Float64, float]:
    """Values of a time series in an internal unit, and its rate (Hz)."""
    data = series["data"]
    if "starting_time" not in series:
        raise RecordingError(
            f"{path}: {series.name} has a time for every value. Resample it to a constant rate"
        )
    if data.ndim != 1 or data.dtype.kind not in "fiu":
        raise RecordingError(f"{path}: {data.name} has the shape {data.shape}. Give numbers [samples]")
    scale = in_unit(data.attrs.get("unit", "unknown"), unit, path)
    values = np.asarray(data[()], np.float64) * float(data.attrs.get("conversion", 1.0))
    return scale * (values + float(data.attrs.get("offset", 0.0))), float(
        series["starting_time"].attrs["rate"]
    )


# --- CSV --------------------------------------------------------------------------------------------------


def _csv(path: Path, wanted: Sequence[str] | None) -> Iterator[_Raw]:
    import pandas as pd

    try:
        table = pd.read_csv(path, skipinitialspace=True)
    except (ValueError, UnicodeDecodeError) as error:
        raise RecordingError(f"{path} cannot be read: {error}. Give columns separated by commas") from error
    columns: dict[str, Any] = {}
    for heading in table.columns:
        match = _HEADING.fullmatch(str(heading))
        name, unit = match.groups() if match else (str(heading), None)
        kind = {"time": "ms", "voltage": "mV", "current": "nA"}.get(name.lower())
        if kind is None:
            columns[name.lower()] = table[heading]
            continue
        if unit is None:
            raise RecordingError(f"{path}: column {heading!r} has no unit. Write such as `{name} ({kind})`")
        if not pd.api.types.is_numeric_dtype(table[heading]):
            raise RecordingError(f"{path}: column {heading!r} holds something that is no number. Correct it")
        columns[name.lower()] = in_unit(unit, kind, path) * table[heading].to_numpy(np.float64)
    missing = {"time", "voltage", "current"} - set(columns)
    if missing:
        raise RecordingError(f"{path} has no column {sorted(missing)[0]}. Give time, voltage and current")
    labels = np.asarray(columns.get("sweep", np.zeros(len(table), np.int64))).astype(str)
    for name in _chosen(path, list(dict.fromkeys(labels.tolist())), wanted):
        rows = labels == name
        where = f"{path}: sweep {name}"
        time = columns["time"][rows]
        yield name, where, columns["voltage"][rows], columns["current"][rows], _rate(where, time)


def _rate(where: str, time: Float64) -> float:
    """Hz; RecordingError unless times, ms, are evenly spaced."""
    steps = np.diff(time)
    mean = float(steps.mean()) if steps.size else 0.0
    uneven = ~(np.abs(steps - mean) <= 0.02 * abs(mean))
    if not mean > 0 or uneven.any():
        row = int(np.argmax(uneven)) + 1 if steps.size else 0
        raise RecordingError(
            f"{where}: times are not evenly spaced at row {row}. Resample it to a constant rate"
        )
    return 1000.0 / mean


# --- any ---------------------------------------------------------------------------------------------------


def _check(where: str, voltage: Float64, current: Float64, rate: float) -> None:
    """Refuse values that no recording of a cell has."""
    if not SLOWEST * (1 - 1e-6) <= rate < 1e7:
        raise RecordingError(
            f"{where} is sampled at {rate:g} Hz. Give {SLOWEST / 1000:g} kHz or more: below, spikes are not resolved"
        )
    for what, values, most, unit in (
        ("voltage", voltage, HIGHEST_VOLTAGE, "mV"),
        ("current", current, HIGHEST_CURRENT, "nA"),
    ):
        good = np.abs(values) <= most
        if not good.all():
            row = int(np.argmin(good))
            raise RecordingError(
                f"{where}: {what} is {values[row]:g} {unit} at sample {row}, which no cell has. "
                "Correct it or its unit, or leave the sweep out (NaN marks where NWB files hold nothing)"
            )
    if len(voltage) < 2:
        raise RecordingError(f"{where} has {len(voltage)} samples. Give some seconds")
    if float(np.ptp(voltage)) < 1e-3:
        raise RecordingError(f"{where}: voltage is {voltage[0]:g} mV throughout. Give a cell's answer")
    if float(np.max(np.abs(voltage))) < 1.0:
        raise RecordingError(
            f"{where}: voltage never exceeds {np.max(np.abs(voltage)):g} mV. Give mV, or the unit it has"
        )


def _resampled(name: str, voltage: Float64, current: Float64, rate: float) -> Sweep:
    """At 0.1 ms; see the module."""
    recorded = 1000.0 / rate
    count = int(np.floor((len(voltage) - 1) * recorded / DT + 1e-6))
    if abs(recorded - DT) < 1e-9:
        return Sweep(name, voltage.astype(np.float32), current[:-1].astype(np.float32), rate)
    ends = DT * np.arange(count + 1)
    times = recorded * np.arange(len(voltage))
    charge = np.concatenate([[0.0], np.cumsum(current[:-1])]) * recorded
    held = np.diff(np.interp(ends, times, charge)) / DT
    return Sweep(name, np.interp(ends, times, voltage).astype(np.float32), held.astype(np.float32), rate)
