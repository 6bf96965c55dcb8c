"""The settings of a validation: which runs, what is measured of them, and what is asked of a network that holds.

All have defaults, so a file is needed only to change some. Errors name file, line, key and remedy, as in the network
file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from noble_net.specs.basics import Count, Duration, Fraction, Instant
from noble_net.specs.specification import Quantity, Spec, fault, validate_document
from noble_net.specs.yaml_source import Document, load_document

Seed = Annotated[Count, Field(ge=0, le=2**63 - 1)]
Ratio = Annotated[float, Field(strict=True, ge=0.0, le=100.0)]
Change = Annotated[float, Field(strict=True, ge=0.0, lt=1.0)]


class ReplaySpec(Spec):
    """Decoupled replay: every cell gets the input it had in the reference network, from rest, without a warm-up."""

    duration: Duration = 2000.0
    """Of the reference run that is replayed."""
    discard: Instant = 200.0
    """Start of it that counts in no measure."""
    voltage_cells: Annotated[Count, Field(ge=0)] = 50
    """Explained variance is that of so many cells of each population, the first ones; Γ that of all."""
    floor_cells: Annotated[Count, Field(ge=0)] = 8
    """So many cells of each population, the first ones, are answered by the reference at the finer step, too."""

    @model_validator(mode="after")
    def _something_left(self) -> ReplaySpec:
        if self.discard >= self.duration:
            raise fault("nothing of the replay is left to measure", "discard less", ("discard",))
        return self


class ChangesSpec(Spec):
    """What both sides are asked to answer alike: networks changed by these shares, down and up. 0: not asked."""

    input: Change = 0.2
    """Of the amplitudes, means and rates of all stimuli."""
    inhibition: Change = 0.3
    """Of the weights of inhibitory projections."""
    mix: Change = 0.2
    """Of the size of the smallest population, where there are several."""
    seeds: Annotated[Count, Field(ge=1)] = 2
    """So many of the validation's seeds, the first ones."""
    duration: Duration = 2000.0
    """Counted after the warm-up; the validation's own where that is shorter."""


class TolerancesSpec(Spec):
    """What is asked; see docs/validation.md for the definitions."""

    emd_ratio: Ratio = 1.15
    """Distance to the reference, over the reference's own from seed to seed."""
    rate: Ratio = 0.03
    """Relative error of a population's rate."""
    peak: Annotated[float, Quantity("Hz", at_least=0.0)] = 2.0
    """Error of the frequency of a clear rhythm."""
    slope: Ratio = 0.15
    """Relative error of the change of rates with a parameter."""
    gamma: Fraction = 0.03
    """Median Γ(±2 ms) over cells under the reference's own input: by how much below the reference's floor, or below 1
    where there is none."""
    explained_variance: Fraction = 0.01
    """Median clipped explained variance, likewise."""


class ValidationSpec(Spec):
    """Settings of a validation."""

    seeds: Annotated[tuple[Seed, ...], Field(min_length=2)] = (1, 2, 3, 4, 5)
    """Of the noise. Cells and edges stay those of the network's own seed."""
    fine_seeds: Annotated[Count, Field(ge=0)] = 1
    """So many of the seeds, the first ones, run on the reference at the finer step, too."""
    refinement: Annotated[Count, Field(ge=2, le=100)] = 5
    """The finer step is this part of the reference's."""
    warmup: Instant = 1000.0
    """Simulated first and dropped, on both sides, in place of the network's."""
    duration: Duration = 5000.0
    """Counted after the warm-up, in place of the network's."""
    durations: tuple[Duration, ...] = (1000.0, 2000.0, 3000.0)
    """Shorter times after which the distances are told as well; those beyond `duration` are left out."""
    replay: ReplaySpec | None = ReplaySpec()
    """`null`: none."""
    changes: ChangesSpec | None = ChangesSpec()
    """`null`: none."""
    tolerances: TolerancesSpec = TolerancesSpec()

    @property
    def times(self) -> tuple[float, ...]:
        """The durations that distances are told for, ascending, ms; the last is `duration`."""
        return (*sorted(each for each in set(self.durations) if each < self.duration), self.duration)

    @property
    def changed_duration(self) -> float:
        """What is counted of networks that are changed, ms."""
        return 0.0 if self.changes is None else min(self.changes.duration, self.duration)

    @field_validator("seeds", mode="after")
    @classmethod
    def _each_once(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        for index, item in enumerate(value):
            if item in value[:index]:
                raise fault("is listed twice", "remove one", (index,))
        return value

    @model_validator(mode="after")
    def _seeds_there(self) -> ValidationSpec:
        if self.fine_seeds > len(self.seeds):
            raise fault(f"there are {len(self.seeds)} seeds", "give fewer", ("fine_seeds",))
        if self.changes is not None and self.changes.seeds > len(self.seeds):
            raise fault(f"there are {len(self.seeds)} seeds", "give fewer", ("changes", "seeds"))
        return self


def load_settings(path: Path | str) -> ValidationSpec:
    """Load settings from a YAML file. Raises ConfigError for the first fault, at its line."""
    return validate_document(ValidationSpec, load_document(path))


def settings_from(data: Mapping[str, Any]) -> ValidationSpec:
    """Settings from a mapping written like such a file. Raises ConfigError."""
    return validate_document(ValidationSpec, Document(dict(data)))
