"""Beginning a training from the weights of a core that is trained already."""

from __future__ import annotations

import numpy as np
import torch

from noble_net.errors import CheckpointError
from noble_net.registry import checkpoint_folder
from noble_net.surrogate.checkpoint import Checkpoint, load_checkpoint
from noble_net.surrogate.streaming_shape import Slow
from noble_net.surrogate.streaming_torch import StreamingNet
from noble_net.types import Float32


def begin_from(net: StreamingNet, name: str, family: str) -> None:
    """Give ``net`` the weights of the core ``name``.

    The layer that reads codes stays as it is where that core's codes are those of another family than ``family``, and
    what reads that layer where it is of another width. A slow variable of which that core keeps no account, or another,
    and a direct way that it does not have, change nothing at first. Raises CheckpointError where shapes differ.
    """
    checkpoint = load_checkpoint(checkpoint_folder(name))
    weights = dict(checkpoint.weights)
    if net.slow or checkpoint.about.get("slow"):
        weights |= _with_slow(net, checkpoint)
    if net.direct is not None:
        weights.setdefault("direct.weight", np.zeros(net.direct.weight.shape, np.float32))
    mine = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    given = {key: values.shape for key, values in weights.items()}
    own: set[str] = set()
    if checkpoint.about["family"] != family:
        own = {"code_in.weight", "code_in.bias"}
        if mine.get("code_in.bias") != given.get("code_in.bias"):
            own.add("code_out.weight")
    differ = sorted(key for key in (mine.keys() | given.keys()) - own if mine.get(key) != given.get(key))
    if differ:
        key = differ[0]
        raise CheckpointError(
            f"training.start: core {name} is of another shape ({key}: {given.get(key)} there, {mine.get(key)} here); "
            "give this recipe that core's `model` and zones, and `code_units` where the family is another"
        )
    taken = {key: torch.from_numpy(values.copy()) for key, values in weights.items() if key not in own}
    net.load_state_dict(taken, strict=False)


def _with_slow(net: StreamingNet, checkpoint: Checkpoint) -> dict[str, Float32]:
    """The core's weights that are of another shape with slow variables, for those of ``net``."""
    weights = checkpoint.weights
    known = [Slow(**each) for each in checkpoint.about.get("slow", [])]
    inputs = net.inputs - len(net.slow)
    at = slice(inputs, inputs + len(known))
    columns = np.zeros((len(weights["encode_in.weight"]), len(net.slow)), np.float32)
    rows = np.zeros((len(net.slow), weights["decode_out.weight"].shape[1] + 1), np.float32)
    answers = np.column_stack([weights["decode_out.weight"], weights["decode_out.bias"]])
    for number, slow in enumerate(net.slow):
        for place, other in enumerate(known):
            if other._replace(influx=slow.influx, start=slow.start) == slow:
                columns[:, number] = weights["encode_in.weight"][:, at][:, place]
                rows[number] = answers[net.samples + place] * (other.influx / slow.influx)
    encode = weights["encode_in.weight"]
    answers = np.concatenate([answers[: net.samples], rows])
    return {
        "encode_in.weight": np.concatenate([encode[:, :inputs], columns, encode[:, at.stop :]], axis=1),
        "decode_out.weight": answers[:, :-1],
        "decode_out.bias": answers[:, -1],
    }
