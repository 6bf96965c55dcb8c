"""The state of a run on disk: named arrays and a description in one file, whole or not at all.

What is in it is up to those who keep state: the loop, its stimuli and synapses, the recorders. Arrays are told apart by
paths such as ``banks/pv/gaba/ring``; `part` takes a branch out.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from noble_net.errors import OutputError
from noble_net.output import saving

FILE = "state.safetensors"

Arrays = Mapping[str, NDArray[Any]]


class RunState(NamedTuple):
    """Arrays by path, and a description that JSON can hold."""

    arrays: Arrays
    about: Mapping[str, Any]


def write_state(folder: Path, state: RunState) -> None:
    """Replace the state in ``folder``; a kill at any moment leaves the old one or the new one. Raises OutputError."""
    path, part = folder / FILE, folder / f"{FILE}.part"
    arrays = {name: np.asarray(array, order="C") for name, array in sorted(state.arrays.items())}
    about = json.dumps({**state.about, "checksum": checksum(arrays)})
    with saving(path):
        try:
            save_file(arrays, part, {"about": about})
            os.replace(part, path)
        except (OSError, SafetensorError) as error:
            part.unlink(missing_ok=True)
            raise error if isinstance(error, OSError) else OSError(str(error)) from error


def read_state(folder: Path) -> RunState | None:
    """The state in ``folder``, if there is one. Raises OutputError when it is damaged."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, "numpy") as file:
            about = json.loads(file.metadata()["about"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise OutputError(f"{path}: is damaged: {error}. Start the run again with --overwrite.") from error
    if checksum(arrays) != about.pop("checksum", None):
        raise OutputError(
            f"{path}: is damaged: its check sum is wrong. Start the run again with --overwrite."
        )
    return RunState(arrays, about)


def part(arrays: Arrays, branch: str) -> dict[str, NDArray[Any]]:
    """The arrays below ``branch``, by the rest of their paths."""
    head = f"{branch}/"
    return {name.removeprefix(head): array for name, array in arrays.items() if name.startswith(head)}


def under(branch: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """The arrays with ``branch`` before their paths: the inverse of `part`."""
    return {f"{branch}/{name}": array for name, array in arrays.items()}


def fill(target: NDArray[Any], arrays: Arrays, name: str) -> None:
    """Copy a stored array into one of the same shape and type. Raises OutputError for any other."""
    found = arrays.get(name)
    if found is None or found.shape != target.shape or found.dtype != target.dtype:
        told = "missing" if found is None else f"{found.dtype} {list(found.shape)}"
        wanted = f"{target.dtype} {list(target.shape)}"
        raise OutputError(
            f"the state of the run does not fit its network: {name} is {told}, not {wanted}. Start the run again with "
            "--overwrite."
        )
    target[...] = found


def checksum(arrays: Arrays) -> int:
    """A check sum of the arrays' names, types, shapes and values."""
    total = 0
    for name, array in sorted(arrays.items()):
        total = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), total)
        if array.size:
            total = zlib.crc32(np.ascontiguousarray(array).data.cast("B"), total)
    return total
