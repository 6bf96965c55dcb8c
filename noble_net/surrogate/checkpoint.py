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

from noble_net.errors import CheckpointError

VERSION = 1
_COMMON = {"name", "kind", "version", "family", "family_hash", "weights_sha256"}
_REQUIRED = {
    "streaming": {"code", "zones", "step_samples"},
    "noble": {"features", "sampling", "samples", "protocol", "model"},
}
"""Keys of core.json besides the common ones, by kind of core."""

Weights = Mapping[str, NDArray[np.float32]]


class Checkpoint(NamedTuple):
    """A core on disk: its description (core.json) and its weights by name."""

    about: dict[str, Any]
    weights: Weights
    hash: str
    """SHA-256 of the weights file."""


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
    description, weights_path = folder / "core.json", folder / "weights.safetensors"
    try:
        about = json.loads(description.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{description} cannot be read: {error}") from error
    if not isinstance(about, dict) or about.get("kind", "streaming") not in _REQUIRED:
        raise CheckpointError(f"{description} describes none of the kinds {', '.join(sorted(_REQUIRED))}")
    missing = (_COMMON | _REQUIRED[about.get("kind", "streaming")]) - set(about)
    if missing:
        raise CheckpointError(f"{description} lacks {sorted(missing)}")
    if about["version"] != VERSION:
        raise CheckpointError(f"{description} has version {about['version']}; this noble-net reads {VERSION}")
    try:
        digest = _sha256(weights_path)
        weights = load_file(weights_path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{weights_path} cannot be read: {error}") from error
    if digest != about["weights_sha256"]:
        raise CheckpointError(f"{weights_path} is not the file {description} describes: fetch both again")
    return Checkpoint(about, weights, digest)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
