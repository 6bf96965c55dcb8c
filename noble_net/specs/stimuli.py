"""The parts of a network file that go in and come out: stimuli, and what to record."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_serializer, field_validator, model_validator
from pydantic.json_schema import WithJsonSchema

from noble_net.specs.basics import NAME, Count, Duration, Flag, Instant, Name, TimeConstant, Voltage, Weight
from noble_net.specs.distribution import Distributed, Distribution
from noble_net.specs.specification import Quantity, Spec, fault, from_file, quantity_schema, read_quantity
from noble_net.units import format_quantity


class OrnsteinUhlenbeckSpec(Spec):
    """Coloured Gaussian noise, independent for every cell unless `shared`: a current, or (with `reversal`) a
    conductance cut off at 0."""

    reversal: Voltage | None = None
    """Reversal potential; makes it a conductance."""
    mean: Annotated[Distribution, Distributed(("nA", "nS"))]
    """nA, or nS with `reversal`; a distribution gives every cell its own."""
    sigma: Annotated[float, WithJsonSchema(quantity_schema("nA", "nS"))]
    """Standard deviation, in the unit of `mean`."""
    tau: TimeConstant
    """Correlation time."""
    shared: Flag = False
    """Whether all cells of the population get the same noise, a common input, instead of their own."""

    @property
    def unit(self) -> str:
        """nA of an injected current, nS of a conductance."""
        return "nA" if self.reversal is None else "nS"

    @field_validator("mean", mode="after")
    @classmethod
    def _unit_fits_reversal(cls, mean: Distribution, info: ValidationInfo) -> Distribution:
        unit = "nA" if info.data.get("reversal") is None else "nS"
        if not mean.unit:
            return mean.model_copy(update={"unit": unit})
        if mean.unit == "nS" and unit == "nA":
            raise fault("is a conductance, but has no `reversal`", "add it, such as `reversal: 0 mV`")
        if mean.unit == "nA" and unit == "nS":
            raise fault("is a current, but `reversal` is given", "give a conductance in nS")
        return mean

    @field_validator("sigma", mode="before")
    @classmethod
    def _read_sigma(cls, value: object, info: ValidationInfo) -> float:
        mean = info.data.get("mean")
        number, unit = read_quantity(value, ("nA", "nS") if mean is None else (mean.unit,), from_file(info))
        Quantity(unit, at_least=0.0, at_most=1e6).check(number)
        return number

    @field_serializer("sigma", when_used="json")
    def _sigma_letter(self, value: float) -> str:
        return format_quantity(value, self.unit)


class StepSpec(Spec):
    """A constant current between two times after the warm-up."""

    amplitude: Annotated[Distribution, Distributed(("nA",))]
    """A distribution gives every cell its own."""
    start: Instant = 0.0
    stop: Instant

    @model_validator(mode="after")
    def _ordered(self) -> StepSpec:
        if self.stop <= self.start:
            raise fault("is not after `start`", f"give more than {self.start:g} ms", ("stop",))
        return self


class PoissonSpec(Spec):
    """Independent Poisson spike trains, one for every cell, through a synapse."""

    rate: Annotated[float, Quantity("Hz", at_least=0.0, at_most=1e6)]
    """Rate of one cell's afferents together."""
    synapse: Name
    """A key of `synapses`."""
    weight: Weight


STIMULI = ("ornstein_uhlenbeck", "step", "poisson")


class StimulusSpec(Spec):
    """Input to every cell of a population: exactly one of `ornstein_uhlenbeck`, `step` and `poisson`."""

    name: Annotated[str, Field(strict=True, pattern=NAME, max_length=160)] | None = None
    """Keys the noise; `kind-population-number` unless given."""
    to: Name
    """The population."""
    ornstein_uhlenbeck: OrnsteinUhlenbeckSpec | None = None
    step: StepSpec | None = None
    poisson: PoissonSpec | None = None

    @property
    def kind(self) -> Literal["ornstein_uhlenbeck", "step", "poisson"]:
        """Which of the three it is."""
        if self.step is not None:
            return "step"
        return "poisson" if self.poisson is not None else "ornstein_uhlenbeck"

    @property
    def parameters(self) -> OrnsteinUhlenbeckSpec | StepSpec | PoissonSpec:
        """The parameters of that kind."""
        found = self.ornstein_uhlenbeck or self.step or self.poisson
        if found is None:
            raise TypeError("a stimulus without kind passed validation")
        return found

    @model_validator(mode="after")
    def _exactly_one(self) -> StimulusSpec:
        given = [kind for kind in STIMULI if getattr(self, kind) is not None]
        if len(given) != 1:
            problem = "has no kind" if not given else f"has {len(given)} kinds: {', '.join(given)}"
            raise fault(problem, f"give exactly one of {', '.join(STIMULI)}")
        return self


class VoltageSpec(Spec):
    """Somatic voltage of some cells."""

    cells: Annotated[Count, Field(ge=1)] | Literal["all"]
    """The first so many of each population, or all."""
    dt: Duration = 0.1
    """Interval between frames."""

    @field_validator("cells", mode="before")
    @classmethod
    def _number_or_all(cls, value: object) -> object:
        if value != "all" and (isinstance(value, bool) or not isinstance(value, int)):
            raise fault("is neither a whole number nor `all`", "write `cells: 20` or `cells: all`")
        if isinstance(value, int) and not 1 <= value < 2**31:
            raise fault("should be at least 1", "write `cells: 20`, or leave `voltage` out to record none")
        return value


class RecordSpec(Spec):
    """What to keep of a run."""

    spikes: Annotated[bool, WithJsonSchema({"enum": ["all", "none"]})] = True
    """`all` or `none`."""
    voltage: VoltageSpec | None = None
    """Nothing unless given."""

    @field_validator("spikes", mode="before")
    @classmethod
    def _all_or_none(cls, value: object, info: ValidationInfo) -> object:
        if value in ("all", "none"):
            return value == "all"
        if isinstance(value, bool) and not from_file(info):
            return value
        raise fault("is neither `all` nor `none`", "write `spikes: all`")

    @field_serializer("spikes", when_used="json")
    def _spikes_letter(self, value: bool) -> str:
        return "all" if value else "none"
