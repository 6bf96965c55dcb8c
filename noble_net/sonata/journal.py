"""A file that is whole at any moment: what a killed process leaves is the state of the last commit.

HDF5 changes its tables of contents in place, so that a process killed between two of these writes leaves a file that no
reader opens. `JournaledFile` lets it append as it likes, but holds back every change to what was committed, until
`commit` writes all of them to a journal beside the file and then into the file. A kill before the journal is complete
leaves the last commit, one after it leaves a journal that `recover` brings into the file. A new file has another name
until its first commit. This guards against the death of the process, not against that of the machine.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = 4096
"""Bytes held back and written at once."""

_MAGIC = b"noble-net journal 1\n"
JOURNAL, PART = ".journal", ".part"


class JournaledFile(io.RawIOBase):
    """A file for h5py to write to; ``append`` opens one that exists (after `recover`), else a new one is made.

    It takes every write: the first that the system refuses is kept in ``refusal``, and from then on the disk keeps the
    last commit. HDF5 could not cope: it raises again on every attempt to close and may end the process.
    """

    def __init__(self, path: Path, *, append: bool = False) -> None:
        super().__init__()
        self.path = path
        self._new = not append
        name = path if append else path.with_name(path.name + PART)
        self._file = open(name, "r+b" if append else "w+b", buffering=0)  # noqa: SIM115 - closed by close()
        self._committed = self._size = self._file.seek(0, io.SEEK_END)
        self._at = 0
        self._pages: dict[int, bytearray] = {}
        self.refusal: OSError | None = None

    def write(self, data: Any) -> int:
        """Take all of ``data``; its length."""
        view = memoryview(data).cast("B")
        end = self._at + len(view)
        split = min(max(self._committed - self._at, 0), len(view))
        if self.refusal is None:
            try:
                self._hold(self._at, view[:split])
                _write_all(self._file, self._at + split, view[split:])
            except OSError as error:
                self.refusal = error
        self._at, self._size = end, max(self._size, end)
        return len(view)

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` from the current position; zeros where nothing was written, or was refused."""
        view = memoryview(buffer).cast("B")
        self._file.seek(self._at)
        count = 0
        while count < len(view) and (got := self._file.readinto(view[count:])):
            count += got
        view[count:] = bytes(len(view) - count)
        for index, inside, outside in _spans(self._at, min(self._at + len(view), self._committed)):
            if index in self._pages:
                view[outside] = self._pages[index][inside]
        self._at += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the file's length; below what was committed, the disk hears of it at the next commit."""
        end = self._at if size is None else size
        if self.refusal is None:
            try:
                self._file.truncate(max(end, self._committed))
                self._hold(end, memoryview(bytes(max(self._committed - end, 0))))
            except OSError as error:
                self.refusal = error
        self._size = end
        return end

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to ``offset``."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """Current position."""
        return self._at

    def commit(self) -> None:
        """Make everything written so far what a kill leaves. The file as written must be a whole one."""
        if self.refusal is not None:
            return
        try:
            if self._pages:
                _write_journal(self.path, self._pages)
                _apply(self._file, self._pages)
                self.path.with_name(self.path.name + JOURNAL).unlink()
            self._file.truncate(self._size)
            if self._new:
                os.replace(self.path.with_name(self.path.name + PART), self.path)
                self._new = False
        except OSError as error:
            self.refusal = error
            return
        self._pages.clear()
        self._committed = self._size

    def close(self) -> None:
        """Close the file on disk; a new one that was never committed goes away."""
        if not self.closed:
            self._file.close()
            if self._new:
                self.path.with_name(self.path.name + PART).unlink(missing_ok=True)
        super().close()

    def _hold(self, start: int, view: memoryview) -> None:
        """Change committed bytes in memory alone."""
        for index, inside, outside in _spans(start, start + len(view)):
            if index not in self._pages:
                self._file.seek(index * PAGE)
                length = min(PAGE, self._committed - index * PAGE)
                page = bytearray(self._file.read(length))
                self._pages[index] = page + bytearray(length - len(page))
            self._pages[index][inside] = view[outside]


def recover(path: Path) -> None:
    """Bring a file whose writer was killed to its last commit. Not while someone writes it. Raises OSError."""
    path.with_name(path.name + PART).unlink(missing_ok=True)
    path.with_name(path.name + JOURNAL + PART).unlink(missing_ok=True)
    journal = path.with_name(path.name + JOURNAL)
    if not journal.exists():
        return
    with open(path, "r+b", buffering=0) as file:
        _apply(file, _read_journal(journal))
    journal.unlink()


def _spans(start: int, stop: int) -> Iterator[tuple[int, slice, slice]]:
    """The pages of [start, stop): number, the part within the page, and the same within the stretch."""
    at = start
    while at < stop:
        index, offset = divmod(at, PAGE)
        end = min(stop, (index + 1) * PAGE)
        yield index, slice(offset, offset + end - at), slice(at - start, end - start)
        at = end


def _write_journal(path: Path, pages: dict[int, bytearray]) -> None:
    """All pages, their numbers and a check sum; under its own name only when complete."""
    body = b"".join(
        index.to_bytes(8, "little") + len(page).to_bytes(4, "little") + page for index, page in pages.items()
    )
    part = path.with_name(path.name + JOURNAL + PART)
    with open(part, "wb", buffering=0) as file:
        _write_all(file, 0, memoryview(_MAGIC + zlib.crc32(body).to_bytes(4, "little") + body))
    os.replace(part, path.with_name(path.name + JOURNAL))


def _read_journal(journal: Path) -> dict[int, bytearray]:
    """The pages of a journal. Raises OSError when it is damaged."""
    content = journal.read_bytes()
    head = len(_MAGIC) + 4
    body = content[head:]
    if content[: len(_MAGIC)] != _MAGIC or int.from_bytes(
        content[len(_MAGIC) : head], "little"
    ) != zlib.crc32(body):
        raise OSError(f"{journal} is damaged")
    pages, at = {}, 0
    while at < len(body):
        length = int.from_bytes(body[at + 8 : at + 12], "little")
        pages[int.from_bytes(body[at : at + 8], "little")] = bytearray(body[at + 12 : at + 12 + length])
        at += 12 + length
    return pages


def _apply(file: io.FileIO, pages: dict[int, bytearray]) -> None:
    for index, page in pages.items():
        _write_all(file, index * PAGE, memoryview(page))


def _write_all(file: io.FileIO, at: int, view: memoryview) -> None:
    """Write every byte at a place of the file."""
    if len(view):
        file.seek(at)
    while len(view):
        view = view[file.write(view) :]
