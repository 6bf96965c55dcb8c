"""Slow variables of a core in training: how much flows in, read off the dataset."""

from __future__ import annotations

import numpy as np

from noble_net.errors import CheckpointError
from noble_net.specs.cores import ModelSpec
from noble_net.surrogate.streaming_shape import Slow
from noble_net.training.streams import TrainingData

MUCH = 0.999
"""Which quantile of what flows in during a step is what the decoder counts in: the largest of all may be a variable
that the solver threw out of its range."""


def slow_variables(model: ModelSpec, data: TrainingData) -> tuple[Slow, ...]:
    """The slow variables of a recipe's ``model``, what flows into each during some step of a thousand, and where they
    begin, the mean over members.

    ``data`` has just these, in this order. Raises CheckpointError when nothing ever flows into one of them.
    """
    found = []
    for column, spec in enumerate(model.slow):
        assert data.slow is not None
        values = data.slow[:, column]
        slow = Slow(**spec.model_dump(), influx=1.0, start=float(values[:, 0].mean()))
        rest, kept, _ = slow.numbers(model.step_samples)
        above = values[:, :: model.step_samples] / np.float32(spec.unit) - np.float32(rest)
        much = float(np.quantile(above[:, 1:] - np.float32(kept) * above[:, :-1], MUCH))
        if not much > 0.0:
            raise CheckpointError(
                f"{spec.variable} only decays in the dataset: leave it out of `model: slow`"
            )
        found.append(slow._replace(influx=much))
    return tuple(found)
