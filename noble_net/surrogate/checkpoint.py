"""Checkpoints of cores: a folder with ``weights.safetensors``, ``core.json`` and ``CARD.md``. Never pickles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from noble_net.errors import CheckpointError, shortened

VERSION = 1
_COMMON: dict[str, type] = {
    "name": str,
    "kind": str,
    "version": int,
    "family": str,
    "family_hash": str,
    "weights_sha256": str,
}
_REQUIRED: dict[str, dict[str, type]] = {
    "streaming": {"code": list, "zones": list, "step_samples": int},
    "windowed": {"code": list, "zones": list, "step_samples": int, "told": dict, "model": dict},
    "noble": {"features": dict, "sampling": float, "samples": int, "protocol": dict, "model": dict},
}
"""Keys of core.json besides the common ones, by kind of core, and what each holds; numbers are above zero."""
_LARGEST = 1e6
_WORDS = {str: "a text", int: "a whole number", float: "a number", list: "a list of texts", dict: "an object"}
_DAMAGED = "fetch weights.safetensors and core.json again, both from the same release"

Weights = Mapping[str, NDArray[np.float32]]


class Checkpoint(NamedTuple):
    """A core on disk: its description (core.json) and its weights by name."""

    about: dict[str, Any]
    weights: Weights
    hash: str
    """SHA-256 of the weights file."""
    folder: Path = Path()

    def damaged(self, problem: str) -> CheckpointError:
        """The error for weights that are not what core.json says."""
        return CheckpointError(f"{self.folder / 'weights.safetensors'}: {problem}. {_DAMAGED}")


def save_checkpoint(folder: Path, about: Mapping[str, Any], weights: Weights) -> None:
    """Write weights and core.json into ``folder`` (made if need be)."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "weights.safetensors"
    save_file({name: np.ascontiguousarray(w, np.float32) for name, w in weights.items()}, path)
    content = {**about, "version": VERSION, "weights_sha256": _sha256(path)}
    (folder / "core.json").write_text(json.dumps(content, indent=2) + "\n")


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint. Raises CheckpointError naming the file when it is missing, damaged, of another version,
    or when its weights are not the ones core.json describes."""
    weights_path = folder / "weights.safetensors"
    about = _read_description(folder / "core.json")
    try:
        digest = _sha256(weights_path)
        if digest != about["weights_sha256"]:
            raise CheckpointError(
                f"{weights_path} is not the file {folder / 'core.json'} describes. {_DAMAGED}"
            )
        weights = load_file(weights_path)
    except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{weights_path} cannot be read: {error}. {_DAMAGED}") from error
    checkpoint = Checkpoint(about, weights, digest, folder)
    for name, values in weights.items():
        if values.dtype != np.float32 or not np.isfinite(values).all():
            raise checkpoint.damaged(
                f"weight {shortened(name)} holds something else than finite float32 numbers"
            )
    return checkpoint


def _read_description(path: Path) -> dict[str, Any]:
    """The content of core.json, with every key its kind needs. Raises CheckpointError."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. {_DAMAGED}") from error
    if not isinstance(about, dict):
        raise CheckpointError(f"{path} holds no object. {_DAMAGED}")
    kind = about.get("kind", "streaming")
    if not isinstance(kind, str) or kind not in _REQUIRED:
        raise CheckpointError(
            f"{path} describes none of the kinds {', '.join(sorted(_REQUIRED))}. {_DAMAGED}"
        )
    wanted = _COMMON | _REQUIRED[kind]
    missing = set(wanted) - set(about)
    if missing:
        raise CheckpointError(f"{path} lacks {sorted(missing)}. {_DAMAGED}")
    for key, of in wanted.items():
        if not _is(about[key], of):
            problem = f"`{key}` is {shortened(about[key])}, where {_WORDS[of]} is wanted"
            raise CheckpointError(f"{path}: {problem}. {_DAMAGED}")
    if about["version"] != VERSION:
        raise CheckpointError(
            f"{path} has version {about['version']}; this noble-net reads {VERSION}: install the one it was made with"
        )
    return about


def _is(value: object, of: type) -> bool:
    """Whether a value of core.json is what is wanted."""
    if of in (int, float):
        allowed = (int, float) if of is float else int
        return isinstance(value, allowed) and not isinstance(value, bool) and 0 < value < _LARGEST
    if isinstance(value, list):
        return of is list and all(isinstance(each, str) for each in value)
    return isinstance(value, of)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
