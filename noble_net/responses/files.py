"""The folder of step responses: parts while it is being filled, then responses.h5 and features.csv.

A part holds some cells under all amplitudes and is written whole or not at all, so that work cut off at any moment
goes on from the parts on disk. Filled, the parts become one HDF5 file and one table, and go away.

responses.h5: ``amplitude`` [amplitudes] (nA), ``measured/<name>`` [cells, amplitudes], ``voltage`` float32
[kept cells, amplitudes, samples] (mV) of the cells in ``voltage_cell``, ``cells/{label, code, features/<name>}``; its
attribute ``request`` is the JSON of what was asked for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from noble_net.errors import OutputError
from noble_net.output import read_json, reading, saving, write_json
from noble_net.types import CellTable, Float32, Float64, Int64

H5, CSV, REQUEST, PARTS = "responses.h5", "features.csv", "request.json", "parts"
_FILES = (H5, CSV, REQUEST, "report.html")
_OURS = {PARTS, *_FILES, *(f"{name}.part" for name in _FILES)}
"""What may lie in the folder; a kill can leave the half-written neighbours."""
_DIGITS = "%.6g"


class ResponseFolder:
    """A folder of responses, being filled or finished. Reads are of one quantity at a time."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def open(self, identity: Mapping[str, Any], cells_per_part: int, *, overwrite: bool) -> int:
        """Claim the folder for a request; returns the cells per part, an earlier call's where it left parts.

        Raises OutputError when it holds something else, or other responses and ``overwrite`` is not asked for.
        """
        with saving(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            held = {entry.name for entry in self.path.iterdir()}
        if held - _OURS:
            found = ", ".join(sorted(held - _OURS)[:3])
            raise OutputError(f"{self.path}: holds something else ({found}). Give a new or an empty folder.")
        if REQUEST in held:
            before = read_request(self.path)
            if before["identity"] == identity:
                return int(before["cells_per_part"])
            if not overwrite:
                raise OutputError(
                    f"{self.path}: holds responses to another request. Give another folder, or ask to overwrite it "
                    "(--overwrite)."
                )
        self._clear()
        with saving(self.path):
            (self.path / PARTS).mkdir(exist_ok=True)
        write_json(self.path / REQUEST, {"identity": identity, "cells_per_part": cells_per_part})
        return cells_per_part

    def _clear(self) -> None:
        with saving(self.path):
            for part in (self.path / PARTS).glob("*"):
                part.unlink()
            for name in _OURS - {PARTS}:
                (self.path / name).unlink(missing_ok=True)

    @property
    def is_complete(self) -> bool:
        """Whether everything asked for is there."""
        return (self.path / H5).is_file() and (self.path / CSV).is_file()

    def part_path(self, first: int) -> Path:
        """Where the part that begins with cell ``first`` lies."""
        return self.path / PARTS / f"{first:09d}.npz"

    def has_part(self, first: int) -> bool:
        """Whether that part has been answered."""
        return self.part_path(first).is_file()

    def assemble(self, cells: CellTable, amplitudes: Float64, firsts: Sequence[int]) -> None:
        """Make responses.h5 and features.csv of the parts, one in memory at a time, and remove the parts."""
        for name, write in ((H5, self._assemble_h5), (CSV, self._assemble_csv)):
            part = self.path / f"{name}.part"
            with saving(part):
                write(part, cells, amplitudes, firsts)
                os.replace(part, self.path / name)
        with saving(self.path):
            for first in firsts:
                self.part_path(first).unlink(missing_ok=True)
            (self.path / PARTS).rmdir()

    def _parts(self, firsts: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        for first in firsts:
            path = self.part_path(first)
            with reading(path, "a part of the responses"), np.load(path, allow_pickle=False) as part:
                yield first, {name: part[name] for name in part.files}

    def _assemble_h5(self, path: Path, cells: CellTable, amplitudes: Float64, firsts: Sequence[int]) -> None:
        identity = read_request(self.path)["identity"]
        kept = np.array(identity["voltage_of"], np.int64)
        with h5py.File(path, "w") as file:
            file.attrs["request"] = json.dumps(identity)
            file["amplitude"], file["voltage_cell"] = amplitudes, np.sort(kept)
            _write_cells(file.create_group("cells"), cells)
            measured, at = file.create_group("measured"), 0
            for first, part in self._parts(firsts):
                voltage = part.pop("voltage", None)
                for name, values in part.items():
                    if name not in measured:
                        measured.create_dataset(name, (cells.size, len(amplitudes)), np.float64)
                    measured[name][first : first + len(values)] = values
                if voltage is not None:
                    if "voltage" not in file:
                        shape = (len(kept), *voltage.shape[1:])
                        file.create_dataset(
                            "voltage", shape, np.float32, chunks=(1, 1, shape[2]), compression=4
                        )
                    file["voltage"][at : at + len(voltage)] = voltage
                    at += len(voltage)

    def _assemble_csv(self, path: Path, cells: CellTable, amplitudes: Float64, firsts: Sequence[int]) -> None:
        import pandas as pd

        labels = np.array(cells.labels or [""] * cells.size, dtype=object)
        with path.open("w", encoding="utf-8", newline="") as stream:
            for first, part in self._parts(firsts):
                part.pop("voltage", None)
                number = len(next(iter(part.values())))
                cell = np.repeat(np.arange(first, first + number), len(amplitudes))
                columns = {"cell": cell, "label": labels[cell], "amplitude_nA": np.tile(amplitudes, number)}
                table = pd.DataFrame({**columns, **{name: values.ravel() for name, values in part.items()}})
                table.to_csv(stream, header=first == firsts[0], index=False, float_format=_DIGITS)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What was asked for: core, family, protocol, amplitudes, features."""
        return dict(read_request(self.path)["identity"])

    @cached_property
    def amplitudes(self) -> Float64:
        """Amplitudes of the steps, nA [amplitudes]."""
        return np.array(self._read("amplitude"))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Where each cell comes from."""
        return tuple(text.decode() for text in self._read("cells/label"))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What was measured: 'spikes', 'rate_hz' and the e-features, in the order of the request."""
        return ("spikes", "rate_hz", *self.identity["features"])

    @cached_property
    def voltage_cells(self) -> Int64:
        """The cells whose voltage is stored."""
        return np.array(self._read("voltage_cell"), np.int64)

    def measured(self, name: str) -> Float64:
        """One measured quantity, float64 [cells, amplitudes]."""
        return np.array(self._read(f"measured/{name}"), np.float64)

    def cell_feature(self, name: str) -> Float64:
        """A feature of the cells themselves, such as I_thr, float64 [cells]; NaN where unknown."""
        with reading(self.path / H5, "responses"), h5py.File(self.path / H5, "r") as file:
            features = file["cells/features"]
            return np.array(features[name]) if name in features else np.full(len(file["cells/label"]), np.nan)

    def voltage(self, cell: int) -> Float32:
        """Stored voltage of a cell, mV, float32 [amplitudes, samples]. KeyError when it was not asked for."""
        at = np.flatnonzero(self.voltage_cells == cell)
        if not len(at):
            raise KeyError(cell)
        return np.array(self._read("voltage", int(at[0])), np.float32)

    def _read(self, name: str, index: Any = ()) -> Any:
        with reading(self.path / H5, "responses"), h5py.File(self.path / H5, "r") as file:
            return file[name][index]


def write_part(path: Path, columns: Mapping[str, Float64], voltage: Float32 | None) -> None:
    """Write one part through a temporary neighbour, so that a part on disk is whole."""
    neighbour = path.with_suffix(".part")
    with saving(path):
        arrays: dict[str, Any] = {**columns, **({} if voltage is None else {"voltage": voltage})}
        with neighbour.open("wb") as stream:
            np.savez(stream, **arrays)
        os.replace(neighbour, path)


def read_request(folder: Path) -> dict[str, Any]:
    """The content of request.json."""
    content = read_json(folder / REQUEST, "the request of responses")
    with reading(folder / REQUEST, "the request of responses"):
        return {"identity": content["identity"], "cells_per_part": int(content["cells_per_part"])}


def _write_cells(group: Any, cells: CellTable) -> None:
    group["label"] = np.array([label.encode() for label in cells.labels or [""] * cells.size])
    group["code"] = cells.code
    features = group.create_group("features")
    for name, values in cells.features.items():
        features[name] = values
