"""Opening a core that runs networks, whatever its kind."""

from __future__ import annotations

from pathlib import Path

from noble_net.errors import CheckpointError
from noble_net.surrogate.checkpoint import load_checkpoint
from noble_net.surrogate.core import Core
from noble_net.types import Precision


def open_core(folder: Path, precision: Precision = "float32") -> Core:
    """The core of a checkpoint folder. Raises CheckpointError, or MissingExtraError for a windowed core without
    PyTorch."""
    checkpoint = load_checkpoint(folder)
    kind = checkpoint.about["kind"]
    if kind == "windowed":
        if precision != "float32":
            name = checkpoint.about["name"]
            raise CheckpointError(
                f"core {name} is windowed and knows no {precision}: write `precision: float32`"
            )
        from noble_net.surrogate.windowed import WindowedCore

        return WindowedCore(checkpoint)
    from noble_net.surrogate.streaming import StreamingCore

    return StreamingCore(checkpoint, precision)
