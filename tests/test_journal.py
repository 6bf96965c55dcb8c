"""A file that is whole at any moment: killed at every single system call, and refused at every single one."""

from __future__ import annotations

import errno
import io
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noble_net.errors import OutputError
from noble_net.sonata import journal
from noble_net.sonata.journal import JOURNAL, PAGE, PART, JournaledFile, recover
from noble_net.sonata.storage import H5Output

ROWS = 700
"""Rows appended at each flush of the file under test."""


class Faults:
    """Stands before every system call that changes the disk: takes snapshots of a folder, or refuses one call."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, snapshots: Path | None = None, refused: int = 0
    ) -> None:
        self.count, self.refused, self.folder, self.snapshots = 0, refused, folder, snapshots
        write, truncate, replace, unlink = io.FileIO.write, io.FileIO.truncate, os.replace, Path.unlink
        faults = self

        class Raw(io.FileIO):
            def write(self, data: object) -> int:
                faults.step()
                return write(self, bytes(data)[: len(bytes(data)) // 2 or None])  # as calls may, half of it

            def truncate(self, size: int | None = None) -> int:
                faults.step()
                return truncate(self, size)

        def opened(path: Path, mode: str, buffering: int = -1) -> io.FileIO:
            return Raw(path, mode.replace("b", ""))

        def replaced(source: Path, target: Path) -> None:
            faults.step()
            replace(source, target)

        def unlinked(path: Path, missing_ok: bool = False) -> None:
            faults.step()
            unlink(path, missing_ok)

        monkeypatch.setattr(journal, "open", opened, raising=False)
        monkeypatch.setattr(journal.os, "replace", replaced)
        monkeypatch.setattr(journal.Path, "unlink", unlinked)

    def step(self) -> None:
        """One more system call."""
        self.count += 1
        if self.count == self.refused:
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.snapshots is not None:
            shutil.copytree(self.folder, self.snapshots / str(self.count))


def write_rows(path: Path) -> int:
    """Append rows in four flushes, changing an attribute each time; how many flushes came to an end."""
    done = 0
    with H5Output(path) as output:
        data = output.file.create_dataset("rows", (0,), "i8", maxshape=(None,), chunks=(100,))
        for flush in range(1, 5):
            data.resize((flush * ROWS,))
            data[(flush - 1) * ROWS :] = np.arange((flush - 1) * ROWS, flush * ROWS)
            output.file.attrs["flushes"] = flush
            output.file.create_group(f"group-{flush}")
            output.flush()
            done = flush
    return done


def state_of(path: Path) -> int:
    """The flush whose state a file is in; fails unless it is in one, as a whole."""
    with h5py.File(path, "r") as file:
        flush = int(file.attrs["flushes"])
        assert file["rows"][:].tolist() == list(range(flush * ROWS))
        assert [name for name in file if name.startswith("group")] == [f"group-{i + 1}" for i in range(flush)]
        return flush


def test_killed_before_every_system_call_the_last_flush_is_there(tmp_path: Path) -> None:
    folder, snapshots = tmp_path / "run", tmp_path / "snapshots"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        faults = Faults(patch, folder, snapshots)
        assert write_rows(folder / "rows.h5") == 4
    assert state_of(folder / "rows.h5") == 4
    seen = []
    for at in range(1, faults.count + 1):
        path = snapshots / str(at) / "rows.h5"
        recover(path)
        assert {each.name for each in path.parent.iterdir()} <= {"rows.h5"}
        seen.append(state_of(path) if path.exists() else 0)
    assert seen == sorted(seen)
    assert set(seen) == {0, 1, 2, 3, 4}
    assert len(seen) > 60


def test_refused_at_any_system_call_an_error_tells_and_what_was_flushed_stays(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        calls = Faults(patch, tmp_path)
        write_rows(tmp_path / "whole.h5")
    refusals = 0
    for at in range(1, calls.count + 1):
        path = tmp_path / f"{at}.h5"
        with pytest.MonkeyPatch.context() as patch:
            Faults(patch, tmp_path, refused=at)
            try:
                write_rows(path)
            except OutputError as error:
                refusals += 1
                assert str(path) in str(error)
                assert "Free some space" in str(error)
        recover(path)
        if path.exists():
            state_of(path)
    assert refusals > 60


def test_a_file_goes_on_where_it_was_left(tmp_path: Path) -> None:
    path = tmp_path / "more.h5"
    write_rows(path)
    with H5Output(path, append=True) as output:
        output.file["rows"].resize((5 * ROWS,))
        output.file["rows"][4 * ROWS :] = np.arange(4 * ROWS, 5 * ROWS)
        output.file.attrs["flushes"] = 5
        output.file.create_group("group-5")
    assert state_of(path) == 5


def test_a_new_file_has_its_name_from_the_first_flush_on(tmp_path: Path) -> None:
    path = tmp_path / "new.h5"
    output = H5Output(path)
    assert not path.exists()
    assert path.with_name("new.h5" + PART).exists()
    output.flush()
    assert path.exists()
    output.close()
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_journal_is_told(tmp_path: Path) -> None:
    path = tmp_path / "odd.h5"
    write_rows(path)
    path.with_name("odd.h5" + JOURNAL).write_bytes(b"noble-net journal 1\n" + bytes(40))
    with pytest.raises(OSError, match="damaged"):
        recover(path)
    assert state_of(path) == 4


edits = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 4 * PAGE), st.binary(min_size=1, max_size=2 * PAGE)),
        st.tuples(st.just("truncate"), st.integers(0, 4 * PAGE), st.just(b"")),
        st.tuples(st.just("commit"), st.just(0), st.just(b"")),
    ),
    max_size=12,
)


@given(edits)
def test_it_reads_and_writes_like_any_file(tmp_path_factory: pytest.TempPathFactory, edits: list) -> None:
    path = tmp_path_factory.mktemp("edits") / "file"
    plain, ours = io.BytesIO(), JournaledFile(path)
    committed = None
    for kind, place, data in edits:
        if kind == "write":
            for file in (plain, ours):
                file.seek(place)
                file.write(data)
        elif kind == "truncate":
            for file in (plain, ours):
                file.truncate(place)
            missing = place - len(plain.getvalue())
            if missing > 0:  # BytesIO does not grow
                plain.seek(0, io.SEEK_END)
                plain.write(bytes(missing))
        else:
            ours.commit()
            committed = plain.getvalue()
        size = len(plain.getvalue())
        ours.seek(0)
        assert ours.seek(0, io.SEEK_END) == size
        ours.seek(0)
        assert ours.read(size) == plain.getvalue()
    ours.close()
    if committed is None:
        assert not path.exists()
    else:
        assert path.read_bytes()[: len(committed)] == committed
