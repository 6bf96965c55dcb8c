"""The state of a run on disk: any arrays come back, a kill leaves one state, damage is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from noble_net import run_state
from noble_net.errors import OutputError
from noble_net.run_state import FILE, RunState, fill, part, read_state, under, write_state

KINDS = st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint32, np.uint8, np.bool_])
PATHS = st.text("abc/-0", min_size=1, max_size=8)


@given(
    st.dictionaries(
        PATHS,
        KINDS.flatmap(lambda kind: arrays_of.arrays(kind, arrays_of.array_shapes(min_dims=0, min_side=0))),
    ),
    st.dictionaries(st.text(), st.integers() | st.text() | st.booleans()),
)
def test_any_state_comes_back(tmp_path_factory, arrays, about):
    folder = tmp_path_factory.mktemp("state")
    about.pop("checksum", None)
    write_state(folder, RunState(arrays, about))
    found = read_state(folder)
    assert found.about == about
    assert found.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].tobytes() == array.tobytes()


def test_there_may_be_none(tmp_path):
    assert read_state(tmp_path) is None


def test_what_cannot_be_replaced_stays(tmp_path, monkeypatch):
    write_state(tmp_path, RunState({"a": np.arange(3)}, {"position": 1}))

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_state.os, "replace", refuse)
    with pytest.raises(OutputError, match="Free some space"):
        write_state(tmp_path, RunState({"a": np.arange(4)}, {"position": 2}))
    assert read_state(tmp_path).about == {"position": 1}
    assert [each.name for each in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("place", [3, 40, -1])
def test_a_changed_byte_is_told(tmp_path, place):
    write_state(tmp_path, RunState({"a": np.arange(100.0)}, {"position": 1}))
    content = bytearray((tmp_path / FILE).read_bytes())
    content[place] ^= 0xFF
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(OutputError, match=r"damaged.*--overwrite"):
        read_state(tmp_path)


def test_a_short_file_is_told(tmp_path):
    write_state(tmp_path, RunState({"a": np.arange(100.0)}, {}))
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content[:-5])
    with pytest.raises(OutputError, match="damaged"):
        read_state(tmp_path)


def test_branches():
    arrays = {"banks/pv/ring": np.zeros(2), "cells/v": np.ones(2)}
    assert part(arrays, "banks").keys() == {"pv/ring"}
    assert under("banks", part(arrays, "banks")).keys() == {"banks/pv/ring"}


def test_fill_takes_what_fits_alone():
    target = np.zeros(3, np.float32)
    fill(target, {"x": np.ones(3, np.float32)}, "x")
    assert target.tolist() == [1, 1, 1]
    for wrong in ({}, {"x": np.ones(4, np.float32)}, {"x": np.ones(3)}):
        with pytest.raises(OutputError, match="does not fit its network"):
            fill(target, wrong, "x")
