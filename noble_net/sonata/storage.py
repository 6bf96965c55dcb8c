"""What all SONATA HDF5 files share: opening, the root attributes, text and enumerated columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from noble_net.errors import OutputError
from noble_net.output import reading, saving, unwritable
from noble_net.sonata.journal import JournaledFile, recover

_MAGIC = np.uint32(0x0A7A)
_VERSION = np.array([0, 1], np.uint32)

TEXT = h5py.string_dtype("utf-8")


class Closing(ABC):
    """A context manager that closes itself; a failing close never hides the error that led there."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left and close; safe to call twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except OutputError:
            if error is None:
                raise


class H5Output(Closing):
    """An HDF5 file being written, with SONATA's root attributes, that reports a full disk as OutputError.

    Use ``file`` (an h5py.File) and call `check` after writing; `close` never leaves the file open. A process killed at
    any moment leaves what was last flushed (`JournaledFile`). ``append`` goes on with a file that exists.
    """

    def __init__(self, path: Path | str, *, append: bool = False) -> None:
        self.path = Path(path)
        with saving(self.path):
            if append:
                recover(self.path)
            self._guard = JournaledFile(self.path, append=append)
        try:
            with reading(self.path, "HDF5"):
                self.file = h5py.File(self._guard, "r+" if append else "w")
        except OutputError:
            self._guard.close()
            raise
        if not append:
            self.file.attrs["magic"] = _MAGIC
            self.file.attrs["version"] = _VERSION

    @contextmanager
    def opening(self, what: str) -> Iterator[None]:
        """Turn what goes wrong inside with a file that is no ``what`` into an OutputError, and close it."""
        try:
            with reading(self.path, what):
                yield
        except BaseException:
            with suppress(OutputError):
                self.close()
            raise

    def check(self) -> None:
        """Raise OutputError if the disk refused anything so far."""
        if self._guard.refusal is not None:
            raise unwritable(self.path, self._guard.refusal)

    def flush(self) -> None:
        """Bring everything to disk, so that a killed run leaves a readable file."""
        self.file.flush()
        self._guard.commit()
        self.check()

    def close(self) -> None:
        """Write what is left and close; safe to call twice. OutputError if the disk refused anything."""
        if self._guard.closed:
            return
        try:
            self.file.close()
            self._guard.commit()
        finally:
            self._guard.close()
        self.check()


def keep_rows(dataset: h5py.Dataset, rows: int) -> None:
    """Drop what follows the first ``rows``. ValueError when there are fewer."""
    if len(dataset) < rows:
        raise ValueError(f"{dataset.name} holds {len(dataset)} rows where {rows} had been written")
    dataset.resize(rows, axis=0)


def lies_within(data: h5py.Dataset, file: h5py.File) -> bool:
    """Whether the values of a dataset are in the file itself, not in another one that it links to."""
    return data.file.filename == file.filename and not data.external and not data.is_virtual


def write_constant(group: h5py.Group, name: str, value: float, size: int, dtype: str) -> None:
    """A column that holds ``value`` everywhere and takes no space: a fill value over chunks never written."""
    chunks = (min(size, 65536),) if size else None
    group.create_dataset(
        name, shape=(size,), dtype=dtype, fillvalue=np.dtype(dtype).type(value), chunks=chunks
    )


def write_enumerated(group: h5py.Group, name: str, values: Sequence[str] | str, size: int) -> None:
    """A text column as SONATA keeps it: integers, and the distinct texts under ``@library``.

    One text stands for all rows.
    """
    library = group.require_group("@library")
    if isinstance(values, str):
        write_constant(group, name, 0, size, "u4")
        library.create_dataset(name, data=[values], dtype=TEXT)
        return
    texts, codes = np.unique(np.asarray(values, dtype=str), return_inverse=True)
    group.create_dataset(name, data=codes.astype(np.uint32))
    library.create_dataset(name, data=[str(text) for text in texts], dtype=TEXT)


def read_column(group: h5py.Group, name: str) -> NDArray[Any]:
    """A column as numbers, or as texts where it is enumerated or a string."""
    column = group[name]
    if "@library" in group and name in group["@library"]:
        texts = group["@library"][name].asstr()[:]
        return np.asarray(texts[column[:]])
    return np.asarray(column.asstr()[:] if h5py.check_string_dtype(column.dtype) else column[:])
