"""NOBLE, as published, as a step core: from a cell's features and an amplitude to the voltage of the whole window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noble_net.errors import CheckpointError, FamilyError, MissingExtraError
from noble_net.specs.noble import NobleModelSpec
from noble_net.surrogate.checkpoint import Checkpoint, load_checkpoint
from noble_net.surrogate.step_core import StepCore, StepProtocol
from noble_net.types import CellTable, Float32, Float64

if TYPE_CHECKING:
    from noble_net.surrogate.noble_torch import NobleNet

MILLIVOLTS = 1000.0
"""The network answers in volts."""

BATCH = 8
"""Rows answered at once on a CPU: the fastest measured; some 50 MB of intermediate values for the published network."""

GPU_BATCH = 1024
"""Rows answered at once on a GPU: some 2 GB for each intermediate value of the published network."""


_LONGEST_WINDOW = 1e6
"""ms."""


class Noble(StepCore):
    """A trained NOBLE core; needs the extra [train]. Embeds the cell features named in ``features``.

    A row's answer varies with the batch it is computed in by some 1e-6 of the voltage (the library's matrix products),
    which can decide about a spike at threshold.
    """

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu") -> None:
        about = checkpoint.about
        if about["kind"] != "noble":
            raise CheckpointError(f"core {about['name']} is of kind {about['kind']}, not noble")
        self.name, self.family = str(about["name"]), str(about["family"])
        self.family_hash, self.hash = str(about["family_hash"]), checkpoint.hash
        self.sampling = float(about["sampling"])
        self.protocol = _protocol(about)
        self.batch = BATCH if device == "cpu" else GPU_BATCH
        self.device = device
        self.net = _build(about).to(device).eval()
        from noble_net.surrogate.fno import load_weights

        load_weights(self.net, checkpoint.weights)
        self.features = self.net.embedding.features

    @staticmethod
    def load(folder: Path, device: str = "cpu") -> Noble:
        """Read a checkpoint folder. Raises CheckpointError, or MissingExtraError without neuraloperator."""
        return Noble(load_checkpoint(folder), device)

    def respond(self, cells: CellTable, amplitude: Float64) -> Float32:
        """See `StepCore.respond`. Raises FamilyError when a cell lacks a feature the core embeds."""
        import torch

        if np.shape(amplitude) != (cells.size,):
            raise ValueError(f"{cells.size} cells want as many amplitudes, got {np.shape(amplitude)}")
        features = feature_matrix(cells, self.features)
        amplitudes = np.asarray(amplitude, np.float32)
        answer = np.empty((cells.size, self.net.embedding.window.samples), np.float32)
        with torch.inference_mode():
            for start in range(0, cells.size, self.batch):
                rows = slice(start, start + self.batch)
                f, a = (torch.from_numpy(x[rows]).to(self.device) for x in (features, amplitudes))
                volts = self.net(f, a, torch.full_like(a, self.protocol.onset))
                answer[rows] = MILLIVOLTS * volts.float().cpu().numpy()
        return answer


def device_here() -> str:
    """Where NOBLE computes fastest on this machine: 'cuda' where PyTorch sees a GPU, else 'cpu'."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def feature_matrix(cells: CellTable, names: Sequence[str]) -> Float32:
    """Features of cells by name, float32 [cells, names].

    Raises FamilyError for a feature the cells do not have, or have no finite value of.
    """
    matrix = np.empty((cells.size, len(names)), np.float32)
    for column, name in enumerate(names):
        if name not in cells.features:
            known = ", ".join(sorted(cells.features)) or "none"
            raise FamilyError(f"these cells have no feature {name!r}; known are {known}")
        matrix[:, column] = cells.features[name]
        bad = np.flatnonzero(~np.isfinite(matrix[:, column]))
        if len(bad):
            which = cells.labels[bad[0]] if cells.labels else f"cell {bad[0]}"
            raise FamilyError(f"feature {name} of {which} is not a finite number")
    return matrix


def _protocol(about: dict[str, Any]) -> StepProtocol:
    """The step core.json describes. Raises CheckpointError when it describes none."""
    try:
        protocol = StepProtocol(**{key: float(value) for key, value in about["protocol"].items()})
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"core.json of {about['name']} is damaged: protocol: {error}") from error
    if not 0.0 <= protocol.onset < protocol.end <= protocol.total < _LONGEST_WINDOW:
        raise CheckpointError(
            f"core.json of {about['name']} is damaged: its protocol is no step within a window"
        )
    return protocol


def _build(about: dict[str, Any]) -> NobleNet:
    """An untrained network of the shape core.json describes. Raises CheckpointError when that is no shape."""
    module = _torch_part()
    try:
        model = NobleModelSpec.model_validate(about["model"])
        ranges = {str(name): (float(low), float(high)) for name, (low, high) in about["features"].items()}
        window = module.Window(
            int(about["samples"]),
            model.padded,
            float(about["sampling"]),
            float(about["protocol"]["duration"]),
        )
        if set(ranges) != set(model.features):
            raise ValueError(f"ranges of {sorted(ranges)}, but features {list(model.features)}")
        net: NobleNet = module.NobleNet(ranges, window, model)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"core.json of {about['name']} is damaged: {error}") from error
    return net


def _torch_part() -> Any:
    """`noble_net.surrogate.noble_torch`, imported on first use: torch takes seconds."""
    try:
        from noble_net.surrogate import noble_torch
    except ImportError as error:
        raise MissingExtraError("a NOBLE core (PyTorch, neuraloperator)", "train") from error
    return noble_torch
