"""Beginning a training from the weights of a core that is trained already."""

from __future__ import annotations

import numpy as np
import torch

from noble_net.errors import CheckpointError
from noble_net.registry import checkpoint_folder
from noble_net.surrogate.checkpoint import load_checkpoint
from noble_net.surrogate.streaming_torch import StreamingNet


def begin_from(net: StreamingNet, name: str, family: str) -> None:
    """Give ``net`` the weights of the core ``name``; the layer that reads codes stays as it is where that core's codes
    are those of another family than ``family``, and calcium of which that core keeps no account changes nothing at
    first. Raises CheckpointError where shapes differ."""
    checkpoint = load_checkpoint(checkpoint_folder(name))
    weights = dict(checkpoint.weights)
    if net.calcium and checkpoint.about.get("calcium") is None:
        weights["encode_in.weight"] = np.insert(weights["encode_in.weight"], net.inputs - 1, 0.0, axis=1)
        for key in ("decode_out.weight", "decode_out.bias"):
            weights[key] = np.concatenate([weights[key], np.zeros_like(weights[key][:1])])
    mine = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    given = {key: values.shape for key, values in weights.items()}
    own = set() if checkpoint.about["family"] == family else {"code_in.weight", "code_in.bias"}
    differ = sorted(key for key in (mine.keys() | given.keys()) - own if mine.get(key) != given.get(key))
    if differ:
        key = differ[0]
        raise CheckpointError(
            f"training.start: core {name} is of another shape ({key}: {given.get(key)} there, {mine.get(key)} here); "
            "give this recipe that core's `model` and zones, and `code_units` where the family is another"
        )
    taken = {key: torch.from_numpy(values.copy()) for key, values in weights.items() if key not in own}
    net.load_state_dict(taken, strict=False)
