"""Recipes of streaming cores: how datasets and cores are made, as frozen specs read from YAML."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from noble_net.specs.basics import Duration, Instant
from noble_net.specs.specification import Quantity, Spec

Millivolts = Annotated[float, Quantity("mV", at_least=0.0)]


class _Recipe(Spec):
    """A frozen spec whose unknown keys are refused with the nearest known one."""


class TestSpec(_Recipe):
    """The held-out inputs of a dataset: pure regimes on seen and unseen members."""

    members: int = Field(default=12, gt=0)
    """Members of each role (seen: train; unseen: held out)."""
    duration: Duration = 10_000.0
    """Per member and regime, ms."""
    floor_members: int = Field(default=4, ge=0)
    """Seen members solved again at a fifth of the step: the solver's own floor."""


class DatasetSpec(_Recipe):
    """NEURON runs of the members."""

    seed: int = Field(ge=0)
    duration: Duration
    """Training input per member, ms."""
    dt: Annotated[float, Quantity("ms", above=0.0, at_most=0.1)] = 0.025
    """NEURON's step, ms."""
    test: TestSpec = TestSpec()


class ModelSpec(_Recipe):
    """Shape of the streaming core."""

    hidden: int = Field(default=96, gt=0, multiple_of=16)
    step_samples: int = Field(default=5, gt=0)
    """Samples per recurrent step; the core's smallest exact delay."""


class TrainingSpec(_Recipe):
    """Optimisation of a core; see `noble_net.training.train`."""

    seed: int = Field(default=0, ge=0)
    iterations: int = Field(gt=0)
    batch: int = Field(default=128, gt=0)
    """Members streamed at once."""
    chunk: Duration = 200.0
    """Stretch of an iteration, through which gradients flow, ms."""
    chunks: int = Field(default=20, gt=0)
    """Consecutive chunks a stream runs through, the recurrent state carried, before new streams are drawn."""
    burn_in: Instant = 50.0
    """Start of a stream that does not count in the loss, ms."""
    learning_rate: float = Field(default=3e-3, gt=0)
    warmup: int = Field(default=100, gt=0)
    voltage_noise: Millivolts = 2.0
    """Largest standard deviation of the noise on the voltage fed back under teacher forcing, mV."""


class CoreRecipe(_Recipe):
    """A core: the family it stands for, the data it is trained on, its shape and its training."""

    kind: Literal["streaming"] = "streaming"
    name: str
    family: str
    dataset: DatasetSpec
    model: ModelSpec = ModelSpec()
    training: TrainingSpec
    notes: str = ""
    """Markdown for the card: what was tried, what failed."""
