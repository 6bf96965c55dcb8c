"""The stimuli of a network file: injected currents and conductances by the names of SONATA's simulation config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import Field, ValidationInfo, field_validator, model_validator

from noble_net.specs.afferents import PoissonSpec, SynapseReplaySpec
from noble_net.specs.basics import NAME, Duration, Flag, Instant, Name, Voltage
from noble_net.specs.distribution import Distributed, Distribution
from noble_net.specs.files import InputFile
from noble_net.specs.specification import Spec, fault
from noble_net.types import DT

Current = Annotated[Distribution, Distributed(("nA",))]
CurrentOrConductance = Annotated[Distribution, Distributed(("nA", "nS"))]
Spread = Annotated[Distribution, Distributed(("nA",), at_least=0.0)]
SpreadOfEither = Annotated[Distribution, Distributed(("nA", "nS"), at_least=0.0)]
Time = Annotated[Distribution, Distributed(("ms",), at_least=0.01)]
Frequency = Annotated[Distribution, Distributed(("Hz",), at_least=0.001, at_most=5000.0)]
Angle = Annotated[Distribution, Distributed(("rad",))]


def _fit_unit(value: Distribution, info: ValidationInfo) -> Distribution:
    """``value`` in the unit that `reversal`, validated before it, asks for."""
    unit = "nA" if info.data.get("reversal") is None else "nS"
    if not value.unit:
        return value.model_copy(update={"unit": unit})
    if value.unit == "nS" and unit == "nA":
        remedy = "give a current such as `0.25 nA`, or add `reversal: 0 mV`"
        raise fault("is a conductance, but has no `reversal`", remedy)
    if value.unit == "nA" and unit == "nS":
        raise fault("is a current, but `reversal` is given", "give a conductance in nS")
    return value


class OrnsteinUhlenbeckSpec(Spec):
    """Coloured Gaussian noise, independent for every cell unless `shared`: a current, or (with `reversal`) a
    conductance cut off at 0."""

    reversal: Voltage | None = None
    """Reversal potential; makes it a conductance."""
    mean: CurrentOrConductance
    """nA, or nS with `reversal`; a distribution gives every cell its own."""
    sigma: SpreadOfEither
    """Standard deviation, in the unit of `mean`."""
    tau: Time
    """Correlation time."""
    shared: Flag = False
    """Whether all cells get the same noise, a common input, instead of their own."""
    delay: Instant | None = None
    """Begins so long after the warm-up; from the start of the warm-up unless given."""
    duration: Duration | None = None
    """To the end unless given."""

    _unit = field_validator("mean", "sigma", mode="after")(_fit_unit)

    @property
    def unit(self) -> str:
        """nA of an injected current, nS of a conductance."""
        return "nA" if self.reversal is None else "nS"

    @model_validator(mode="after")
    def _shared_is_one_process(self) -> OrnsteinUhlenbeckSpec:
        for key in ("sigma", "tau"):
            if self.shared and getattr(self, key).kind != "constant":
                raise fault("shared noise is one process for all cells", "give one value", (key,))
        return self


class NoiseSpec(Spec):
    """White Gaussian noise current: an independent value for every cell and interval `dt`."""

    mean: Current = Distribution(a=0.0, unit="nA")
    """A distribution gives every cell its own."""
    sigma: Spread
    """Standard deviation of the values: the square root of SONATA's `variance`."""
    dt: Duration = 0.1
    """Interval for which a value is held; the noise's spectral density is 2·sigma²·dt."""
    delay: Instant | None = None
    """Begins so long after the warm-up; from the start of the warm-up unless given."""
    duration: Duration | None = None
    """To the end unless given."""


class ShotNoiseSpec(Spec):
    """Poisson shots of double-exponential shape and gamma-distributed size, independent for every cell: a current,
    or (with `reversal`) a conductance."""

    reversal: Voltage | None = None
    """Reversal potential; makes it a conductance."""
    rise: Time
    """Rise time of a shot."""
    decay: Time
    """Decay time of a shot, longer than `rise`."""
    rate: Annotated[Distribution, Distributed(("Hz",), at_least=0.0)]
    """Shots per time, of one cell."""
    amp_mean: CurrentOrConductance
    """Mean peak of a shot, nA, or nS with `reversal`; a negative current hyperpolarises."""
    amp_std: SpreadOfEither
    """Standard deviation of the peaks: the square root of SONATA's `amp_var`."""
    delay: Instant | None = None
    """Shots begin so long after the warm-up; from the start of the warm-up unless given."""
    duration: Duration | None = None
    """To the end unless given."""

    _unit = field_validator("amp_mean", "amp_std", mode="after")(_fit_unit)

    @model_validator(mode="after")
    def _shape(self) -> ShotNoiseSpec:
        if self.rise.kind == self.decay.kind == "constant" and self.rise.a >= self.decay.a:
            raise fault("is not shorter than `decay`", f"give less than {self.decay.a:g} ms", ("rise",))
        if self.reversal is not None and self.amp_mean.lowest < 0:
            remedy = "give 0 nS or more, or bound it with `min: 0 nS`"
            raise fault("a conductance can fall below 0", remedy, ("amp_mean",))
        return self


class StepSpec(Spec):
    """A constant current between two times after the warm-up."""

    amplitude: Current
    """A distribution gives every cell its own."""
    start: Instant = 0.0
    """From the end of the warm-up."""
    stop: Instant
    """From the end of the warm-up."""

    @model_validator(mode="after")
    def _ordered(self) -> StepSpec:
        if self.stop <= self.start:
            raise fault("is not after `start`", f"give more than {self.start:g} ms", ("stop",))
        return self


class LinearSpec(Spec):
    """A current that ramps from one value to another, and is zero before and after."""

    amp_start: Current
    """Value at `delay`."""
    amp_end: Current
    """Value at `delay` + `duration`."""
    delay: Instant = 0.0
    """From the end of the warm-up."""
    duration: Duration
    """Of the ramp."""


class PulseSpec(Spec):
    """A train of rectangular current pulses."""

    amp: Current
    """Current of a pulse."""
    width: Annotated[Distribution, Distributed(("ms",), at_least=DT)]
    """Of one pulse, a sample or more; rounded to the sample."""
    frequency: Frequency
    """Pulses per time; the first begins at `delay`."""
    delay: Instant = 0.0
    """From the end of the warm-up."""
    duration: Duration | None = None
    """To the end unless given."""

    @model_validator(mode="after")
    def _separate(self) -> PulseSpec:
        period = 1000.0 / self.frequency.lowest
        if self.width.kind == self.frequency.kind == "constant" and self.width.a >= period:
            problem = f"is not shorter than the time from pulse to pulse, {period:g} ms"
            raise fault(problem, "shorten it, or lower `frequency`", ("width",))
        return self


class SinusoidalSpec(Spec):
    """A sinusoidal current, amp·sin(2π·frequency·(t − delay) + phase)."""

    amp: Current
    """Amplitude, half of peak to peak."""
    frequency: Frequency
    """Periods per time."""
    phase: Angle = Distribution(a=0.0, unit="rad")
    """At `delay`; in degrees (`90 deg`) or radians."""
    delay: Instant = 0.0
    """From the end of the warm-up."""
    duration: Duration | None = None
    """To the end unless given."""
    dt: Duration = 0.1
    """Interval for which a value, that of its middle, is held."""


class CurrentTableSpec(Spec):
    """Currents from a file, one column for every cell or one for all; zero before and after."""

    file: InputFile
    """HDF5 (`.h5`, `.hdf5`, `.nwb`) or CSV (one line of names, then one line per interval), in nA."""
    dataset: Annotated[str, Field(strict=True, min_length=1, max_length=1000)] | None = None
    """HDF5 path of the array [intervals] or [intervals, cells], or of a TimeSeries of an NWB file, such as
    `stimulus/presentation/step`; not of a CSV file."""
    dt: Duration | None = None
    """Interval for which a value is held; not of a TimeSeries, which has a rate. Of one above 10 kHz, the values within
    each sample are averaged."""
    delay: Instant = 0.0
    """When the first interval begins, from the end of the warm-up, whatever the `starting_time` of a TimeSeries."""
    scale: Annotated[Distribution, Distributed(("nA",))] | None = None
    """What a value of 1 in the file means; nA unless given. A distribution gives every cell its own."""

    @model_validator(mode="after")
    def _dataset_of_hdf5(self) -> CurrentTableSpec:
        text = Path(self.file).suffix.lower() == ".csv"
        if text and self.dt is None:
            raise fault("a table of currents needs `dt`", "add it, such as `dt: 1 ms`", ("file",))
        if text and self.dataset is not None:
            raise fault("a CSV file has no datasets", "remove it", ("dataset",))
        if not text and self.dataset is None:
            raise fault("needs `dataset`", "add the array's path, such as `dataset: current`", ("file",))
        return self


Parameters = (
    OrnsteinUhlenbeckSpec
    | NoiseSpec
    | ShotNoiseSpec
    | StepSpec
    | LinearSpec
    | PulseSpec
    | SinusoidalSpec
    | CurrentTableSpec
    | PoissonSpec
    | SynapseReplaySpec
)
Kind = Literal[
    "ornstein_uhlenbeck",
    "noise",
    "shot_noise",
    "step",
    "linear",
    "pulse",
    "sinusoidal",
    "current_table",
    "poisson",
    "synapse_replay",
]
STIMULI: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]


class StimulusSpec(Spec):
    """Input to the cells of a population or a node set: exactly one of the kinds below."""

    name: Annotated[str, Field(strict=True, pattern=NAME, max_length=160)] | None = None
    """Keys the noise; `kind-population-number` unless given."""
    to: Name
    """The population, or node set."""
    ornstein_uhlenbeck: OrnsteinUhlenbeckSpec | None = None
    noise: NoiseSpec | None = None
    shot_noise: ShotNoiseSpec | None = None
    step: StepSpec | None = None
    linear: LinearSpec | None = None
    pulse: PulseSpec | None = None
    sinusoidal: SinusoidalSpec | None = None
    current_table: CurrentTableSpec | None = None
    poisson: PoissonSpec | None = None
    synapse_replay: SynapseReplaySpec | None = None

    @property
    def kind(self) -> Kind:
        """Which of the kinds it is."""
        return next(kind for kind in STIMULI if getattr(self, kind) is not None)

    @property
    def parameters(self) -> Parameters:
        """The parameters of that kind."""
        return cast(Parameters, getattr(self, self.kind))

    @property
    def afferents(self) -> PoissonSpec | SynapseReplaySpec | None:
        """The parameters, if it acts through synapses; None of an injection."""
        return self.poisson or self.synapse_replay

    @property
    def begins(self) -> float:
        """When it begins to act, ms from the end of the warm-up; 0 where that is earlier."""
        if isinstance(self.parameters, StepSpec):
            return self.parameters.start
        if isinstance(self.parameters, SynapseReplaySpec):  # its delay is its synapses'
            return 0.0
        return self.parameters.delay or 0.0

    @model_validator(mode="after")
    def _exactly_one(self) -> StimulusSpec:
        given = [kind for kind in STIMULI if getattr(self, kind) is not None]
        if len(given) != 1:
            problem = "has no kind" if not given else f"has {len(given)} kinds: {', '.join(given)}"
            raise fault(problem, f"give exactly one of {', '.join(STIMULI)}")
        return self
