"""Recipes of windowed cores: Fourier neural operators on the input of a stretch of time, fed back their own voltage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from noble_net.specs.basics import Flag, Name
from noble_net.specs.cores import CoreRecipe, DatasetSpec, Millivolts
from noble_net.specs.specification import Quantity, Spec, fault
from noble_net.types import DT

Stretch = Annotated[float, Quantity("ms", at_least=DT, at_most=1000.0, on_grid=True)]


class WindowedModelSpec(Spec):
    """Shape of the network: the stretch of time it sees, what it is told of a cell, and the operator behind."""

    history: Stretch = 39.0
    """What lies behind and is known, ms; with the window best a length with small prime factors, in samples."""
    window: Stretch = 1.0
    """What is answered at once, ms; the core's smallest exact delay."""
    features: tuple[str, ...] = ("I_thr", "s_thr")
    """Embedded e-features of a cell; cells that are no members have I_thr, s_thr, input_resistance and voltage_base."""
    code: Flag = False
    """Whether the numbers of the cell's code (its standardised parameters) are embedded too."""
    octaves: int = Field(default=1, gt=0, le=16)
    """K: sines and cosines of 2^0 … 2^(K−1) turns a stretch, for each of these numbers."""
    layers: int = Field(default=4, gt=0)
    channels: int = Field(default=24, gt=0)
    modes: int = Field(default=64, gt=1)
    """As neuraloperator counts them: modes // 2 + 1 complex frequencies are kept."""
    projection_ratio: int = Field(default=2, gt=0)

    @property
    def history_samples(self) -> int:
        """Samples of the history."""
        return round(self.history / DT)

    @property
    def window_samples(self) -> int:
        """Samples of the window."""
        return round(self.window / DT)

    @field_validator("features")
    @classmethod
    def _ordered(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise fault("names a feature twice", "name each once")
        return tuple(sorted(names))

    @model_validator(mode="after")
    def _fits(self) -> WindowedModelSpec:
        if not self.features and not self.code:
            raise fault("is empty, and so is the code", "name features, or write `code: true`", ("features",))
        if self.modes > self.history_samples + self.window_samples:
            raise fault("are more than the samples of history and window", "lower them", ("modes",))
        return self


class WindowedTrainingSpec(Spec):
    """Optimisation; see `noble_net.training.windowed_train`."""

    seed: int = Field(default=0, ge=0)
    iterations: int = Field(gt=0)
    batch: int = Field(default=64, gt=0)
    """Windows an iteration, each of a random member at a random time."""
    learning_rate: float = Field(default=3e-3, gt=0)
    warmup: int = Field(default=100, gt=0)
    voltage_noise: Millivolts = 2.0
    """Largest standard deviation of the noise on the history's voltage, mV."""


class WindowedRecipe(Spec):
    """A windowed core: the family it stands for, the data it is trained on, its shape and its training.

    Recipes with equal ``dataset`` blocks, of streaming cores too, share one dataset.
    """

    kind: Literal["windowed"]
    name: Name
    family: str
    dataset: DatasetSpec
    model: WindowedModelSpec = WindowedModelSpec()
    training: WindowedTrainingSpec
    notes: str = ""
    """Markdown for the card: what was tried, what failed."""

    @model_validator(mode="after")
    def _fits(self) -> WindowedRecipe:
        if self.dataset.zoned:
            raise fault("has dendrites, and a windowed core has none", "write [soma]", ("dataset", "zones"))
        if self.dataset.duration < self.model.history + self.model.window:
            remedy = "raise it, or see a shorter stretch"
            raise fault("is shorter than the model's history and window", remedy, ("dataset", "duration"))
        if round(self.dataset.test.duration / DT) % self.model.window_samples:
            raise fault("does not divide `dataset: {test: {duration}}`", "choose 1 ms", ("model", "window"))
        return self


NetworkCoreRecipe = CoreRecipe | WindowedRecipe
"""Recipes of cores that run networks, on datasets of one layout."""
