"""What a validation keeps of a run: spike trains and, of a run to be replayed, what a replay is held against.

A record is one small file, so that those of a reference can be kept with a network and a laptop need not run NEURON:
spike times as differences of int32 in units of 0.01 ms, voltages clipped for their measure, in steps of 0.02 mV, every
0.5 ms. What is measured is measured on records, on both sides alike.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noble_net.errors import OutputError
from noble_net.output import read_json, saving, write_json
from noble_net.training.metrics import CLIP
from noble_net.types import DT, Float32, Float64, Int32, Int64

TIME_STEP = 0.01
"""Resolution of spike times, ms."""
VOLTAGE_STEP = 0.02
"""Resolution of voltages, mV."""
EVERY = 5
"""Samples from one voltage kept to the next."""
INDEX = "index.json"
_FORMAT = 1


@dataclass(frozen=True)
class Floor:
    """How well the reference at a finer step answers the input that cells had in the reference network.

    ``gamma`` and ``explained_variance`` float64 [cells], of the first cells of a population; ``check_…`` the same at
    the reference's own step: what is lost by giving a cell its input instead of the network's.
    """

    gamma: Float64
    explained_variance: Float64
    check_gamma: Float64
    check_explained_variance: Float64


@dataclass(frozen=True)
class Replayable:
    """What a replay needs of a population: the spikes it sent, and its voltages.

    ``cell`` int32 and ``sample`` int64 [n]: confirming samples from the start of the run, sorted. ``voltage`` float32
    [cells, frames], mV: of the first cells, clipped above at −50 mV, frame i at (i + 1)·EVERY samples.
    """

    cell: Int32
    sample: Int64
    voltage: Float32
    floor: Floor | None = None


@dataclass(frozen=True)
class Record:
    """A run: what is told of it (`about`, plain data), its spike times in ms for every cell of every population."""

    about: Mapping[str, Any]
    trains: Mapping[str, Sequence[Float64]]
    replay: Mapping[str, Replayable] = field(default_factory=dict)


class Store:
    """Folders that records are looked for in; new ones go to all of ``write``. A record's name is its key."""

    def __init__(self, read: Sequence[Path], write: Sequence[Path]) -> None:
        self._read, self._write = tuple(read), tuple(write)

    def find(self, key: str) -> Record | None:
        """The record of that key, if there is one; it is copied to where new ones go.

        Raises OutputError, naming it, for a file that is damaged.
        """
        for folder in self._read:
            if (path := folder / f"{key}.npz").is_file():
                record = read_record(path)
                self.add(key, record)
                return record
        return None

    def add(self, key: str, record: Record) -> None:
        """Keep a record."""
        for folder in self._write:
            if not (folder / f"{key}.npz").is_file():
                write_record(folder / f"{key}.npz", record)

    def write_index(self, folder: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Say in ``folder`` what its records are: ``entries`` by key, beside those of earlier validations."""
        path = folder / INDEX
        before = read_json(path, "index of records") if path.is_file() else {}
        kept = {
            key: value for key, value in {**before, **entries}.items() if (folder / f"{key}.npz").is_file()
        }
        write_json(path, dict(sorted(kept.items(), key=lambda item: str(item[1].get("name")))))


def write_record(path: Path, record: Record) -> None:
    """Write a record, whole or not at all. Raises OutputError."""
    arrays: dict[str, NDArray[Any]] = {}
    for i, trains in enumerate(record.trains.values()):
        arrays[f"{i}/counts"] = np.array([len(train) for train in trains], np.int32)
        arrays[f"{i}/times"] = _shuffled(np.concatenate([np.empty(0, np.int32), *map(_deltas, trains)]))
    for i, name in enumerate(record.trains):
        if name in record.replay:
            arrays |= {f"{i}/{key}": each for key, each in _replay_arrays(record.replay[name]).items()}
    about = {"format": _FORMAT, "populations": list(record.trains), **record.about}
    arrays["about"] = np.frombuffer(json.dumps(about, allow_nan=False).encode(), np.uint8)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")  # others may be making the same
    with saving(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        os.replace(part, path)


def read_record(path: Path) -> Record:
    """Read a record. Raises OutputError, naming the file, when it is damaged or of another version."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        about = json.loads(arrays["about"].tobytes())
        if about.pop("format") != _FORMAT:
            raise ValueError("it is of another version of noble-net")
        names = about.pop("populations")
        trains = {name: _trains(arrays[f"{i}/counts"], arrays[f"{i}/times"]) for i, name in enumerate(names)}
        replay = {
            name: _replayable(
                {key[len(f"{i}/") :]: a for key, a in arrays.items() if key.startswith(f"{i}/")}
            )
            for i, name in enumerate(names)
            if f"{i}/sent" in arrays
        }
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OutputError(f"{path}: cannot be read as the record of a run: {reason}. Remove it.") from error
    return Record(about, trains, replay)


def kept_voltage(voltage: NDArray[np.floating]) -> Float32:
    """Of voltages [cells, frames], every EVERY-th frame, clipped and rounded as they are kept; frame 0 is not."""
    return _rounded(voltage[:, EVERY::EVERY])


def kept_times(times: Float64) -> Float64:
    """Spike times (ms) as they are kept."""
    kept: Float64 = np.rint(times / TIME_STEP) * TIME_STEP
    return kept


def _rounded(voltage: NDArray[np.floating]) -> Float32:
    levels = np.rint(np.minimum(voltage.astype(np.float64), CLIP) / VOLTAGE_STEP)
    return (levels * VOLTAGE_STEP).astype(np.float32)


def frame_times(frames: int) -> Float64:
    """When the voltages kept were, ms from the start of the run, [frames]."""
    return np.arange(1, frames + 1, dtype=np.float64) * (EVERY * DT)


def _deltas(train: Float64) -> Int32:
    return np.diff(np.rint(train / TIME_STEP), prepend=0.0).astype(np.int32)


def _trains(counts: Int32, shuffled: NDArray[np.uint8]) -> list[Float64]:
    deltas = _unshuffled(shuffled).astype(np.int64)
    if counts.sum() != len(deltas):
        raise ValueError("spikes are missing")
    parts = np.split(deltas, np.cumsum(counts)[:-1])
    return [np.asarray(np.cumsum(part) * TIME_STEP, np.float64) for part in parts]


def _replay_arrays(replay: Replayable) -> dict[str, NDArray[Any]]:
    levels = np.rint(replay.voltage.astype(np.float64) / VOLTAGE_STEP).astype(np.int32)
    arrays: dict[str, NDArray[Any]] = {
        "sent": _shuffled(np.diff(replay.sample, prepend=0).astype(np.int32)),
        "cells": _shuffled(replay.cell),
        "voltage": _shuffled(np.diff(levels, axis=1, prepend=0).ravel().astype(np.int32)),
        "shape": np.array(levels.shape, np.int64),
    }
    if replay.floor is not None:
        arrays |= {f"floor_{key}": value for key, value in vars(replay.floor).items()}
    return arrays


def _replayable(arrays: Mapping[str, NDArray[Any]]) -> Replayable:
    levels = np.cumsum(_unshuffled(arrays["voltage"]).reshape(arrays["shape"]).astype(np.int64), axis=1)
    kept = {key.removeprefix("floor_"): value for key, value in arrays.items() if key.startswith("floor_")}
    return Replayable(
        cell=_unshuffled(arrays["cells"]),
        sample=np.cumsum(_unshuffled(arrays["sent"]).astype(np.int64)),
        voltage=(levels * VOLTAGE_STEP).astype(np.float32),
        floor=Floor(**kept) if kept else None,
    )


def _shuffled(values: Int32) -> NDArray[np.uint8]:
    """Bytes of equal worth side by side, [4, n]: they compress twice as well."""
    return np.ascontiguousarray(values.astype("<i4").view(np.uint8).reshape(-1, 4).T)


def _unshuffled(planes: NDArray[np.uint8]) -> Int32:
    return np.ascontiguousarray(planes.T).view("<i4").ravel().astype(np.int32)
