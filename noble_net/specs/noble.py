"""Recipes of NOBLE cores (arXiv 2506.04536): step responses to train on, shape of the network, its training."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from noble_net.specs.basics import Duration, Instant, Name
from noble_net.specs.specification import Quantity, Spec, fault
from noble_net.surrogate.step_core import NOBLE_PROTOCOL

Current = Annotated[float, Quantity("nA", at_most=100.0)]
Step = Annotated[float, Quantity("ms", above=0.0, at_most=1.0)]
Temperature = Annotated[float, Quantity("mV", at_least=0.0)]
Members = int | tuple[str, ...] | None
"""All training members, the first so many of them, or those with these ids."""


INTERVALS = ("time_to_first_spike", "inv_first_ISI", "mean_frequency")
"""Features that tell intervals between spikes at one step (`noble_net.surrogate.phase.TOLD`)."""


class AmplitudeSpec(Spec):
    """Step amplitudes: a skew-normal distribution cut off at ``low`` and ``high``.

    The paper draws from [−0.11, 0.28] nA with the mode in the peri-threshold band of its cell. What is left out here
    follows from the family's training members (`noble_net.training.noble_plan.amplitude_range`).
    """

    low: Current = -0.11
    high: Current | None = None
    """Default: the largest I_thr plus ``margin``."""
    margin: Current = 0.2
    mode: Current | None = None
    """Where the density is highest. Default: the median I_thr."""
    scale: Annotated[float, Quantity("nA", above=0.0, at_most=100.0)] | None = None
    """Scale of the underlying normal. Default: a quarter of the range."""
    skew: float = Field(default=1.0, ge=-20, le=20)
    """Shape; above 0 the positive tail is the heavier one."""


class NobleDatasetSpec(Spec):
    """Step responses solved in NEURON. Recipes with equal datasets share one file."""

    seed: int = Field(ge=0)
    traces: int = Field(gt=0)
    """Training traces, each of a random training member at a random amplitude."""
    members: Members = None
    """Members the training traces are drawn from."""
    hall_of_fame: bool = True
    """In an evolved family, the hall of fame alone, of every role."""
    amplitude: AmplitudeSpec = AmplitudeSpec()
    sampling: Step = 0.06
    """Stored sampling interval, a multiple of ``dt``: low-pass filtered, then decimated."""
    dt: Step = 0.02
    """NEURON's step; with a ``tolerance`` only the interval at which its voltage is read before filtering."""
    tolerance: float | None = Field(default=1e-5, gt=0)
    """Absolute tolerance of NEURON's variable step: for current steps as fast as the fixed step of 0.02 ms, and
    converged, so that spike times move smoothly with the amplitude, which a net can learn. null: the fixed step, as in
    the paper."""
    lead: Instant = 30.0
    """Onset of the step in a stored trace; a training window starts at a random sample of the lead, so that its step
    begins 0 to 30 ms into the window."""
    settle: Duration = 500.0
    test_traces: int = Field(default=16, gt=0)
    """New amplitudes per member, for every training member and every held-out one."""
    fi_points: int = Field(default=12, ge=2)
    """Amplitudes of the F–I curve, from 0 to the highest, for every member."""
    hyperpolarising: int = Field(default=0, ge=0)
    """Traces of training members at amplitudes uniform in [low, 0), for fine-tuning."""

    @property
    def decimation(self) -> int:
        """Solver steps per stored sample."""
        return round(self.sampling / self.dt)

    @property
    def evaluation_offset(self) -> int:
        """Stored sample at which the evaluation window starts."""
        return round((self.lead - NOBLE_PROTOCOL.onset) / self.sampling)

    @model_validator(mode="after")
    def _on_grid(self) -> NobleDatasetSpec:
        if not _whole(self.sampling / self.dt):
            raise fault("is not a multiple of `dt`", "choose 3 times `dt`", ("sampling",))
        if self.lead < NOBLE_PROTOCOL.onset or not _whole((self.lead - NOBLE_PROTOCOL.onset) / self.sampling):
            raise fault("does not fit the evaluation window's onset of 15 ms", "write 30 ms", ("lead",))
        return self


class NobleModelSpec(Spec):
    """Shape of the network: the embedded features and the Fourier neural operator behind them."""

    features: tuple[str, ...] = ("I_thr", "s_thr")
    """Embedded features of a cell; kept in alphabetical order, so that the order in the file means nothing."""
    layers: int = Field(default=12, gt=0)
    channels: int = Field(default=24, gt=0)
    modes: int = Field(default=256, gt=1)
    """As neuraloperator counts them: modes // 2 + 1 complex frequencies are kept."""
    projection_ratio: int = Field(default=4, gt=0)
    """Hidden channels behind the Fourier layers, over ``channels``."""
    lifting_ratio: int = Field(default=2, gt=0)
    """The same before them."""
    feature_octaves: int = Field(default=1, ge=0)
    """K of a feature: frequencies 2^0 … 2^(K−1), a sine and a cosine each; 0: the scaled number itself at all times."""
    amplitude_octaves: int = Field(default=9, gt=0)
    """K of the amplitude."""
    phase_octaves: int = Field(default=0, ge=0)
    """K of the cycles of firing, from spikes that tables fitted to spike times predict from the features
    (`noble_net.surrogate.phase`), sharpest where I_thr is among these; 0: none, as in the paper."""
    phase_members: int = Field(default=50, gt=0)
    """Most members trained on that have such a table."""
    told_intervals: bool = False
    """Whether the tables are of logarithmic intervals beside those that the features time_to_first_spike, inv_first_ISI
    and mean_frequency tell of one step, where these are embedded: cells unlike all members then fire as these say."""
    spike_decays: tuple[Duration, ...] = ()
    """How fast marks before and after each predicted spike fade, ms; a pair of channels each."""
    time_from: Literal["window", "onset"] = "window"
    """Where the waves' time begins: with the window, as in the paper, or with the step."""
    centre: Annotated[float, Quantity("mV")] = 0.0
    scale: Annotated[float, Quantity("mV", above=0.0)] = 1000.0
    """The network's answer times ``scale``, plus ``centre``, is the voltage. In the paper it answers in volts, of
    which a tenth is a whole spike: an optimiser's first steps are then larger than what is to be learned."""
    rest_within: Annotated[float, Quantity("nA", at_least=0.0, at_most=1.0)] = 0.0
    """Without a step nothing changes: the answer is rest + (1 − exp(−(current/rest_within)²))·(answer − rest), where
    the rest is the cell's feature voltage_base; 0: the network's answer alone, as in the paper."""
    decimate: int = Field(default=1, gt=0)
    """Samples of the dataset per sample of the network."""
    padded: int = Field(default=8640, gt=0)
    """Samples the window is filled up to: a length with small prime factors (8,583 = 3 × 2,861 makes a slow FFT)."""

    @field_validator("features")
    @classmethod
    def _ordered(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise fault("names a feature twice", "name each once")
        return tuple(sorted(names))

    @model_validator(mode="after")
    def _knows_enough(self) -> NobleModelSpec:
        if self.rest_within and "voltage_base" not in self.features:
            problem = "wants voltage_base among the `features`"
            raise fault(problem, "add it, or leave this out", ("rest_within",))
        if self.told_intervals and not set(INTERVALS) & set(self.features):
            problem = f"wants one of {', '.join(INTERVALS)} among the `features`"
            raise fault(problem, "add one, or leave this out", ("told_intervals",))
        return self


class NobleTrainingSpec(Spec):
    """Optimisation: Adam, a rate that falls, relative L^p loss."""

    seed: int = Field(default=0, ge=0)
    epochs: int = Field(gt=0)
    batch: int = Field(default=64, gt=0)
    learning_rate: float = Field(default=4e-3, gt=0)
    points: int = Field(default=0, ge=0)
    """Iterations on single samples before whole windows are trained on: the network without its frequencies, which then
    begin at zero. What is known of the phase of firing gives much of a voltage sample by sample, and this is fast."""
    borders: int = Field(default=0, ge=0)
    """Traces of each member at the current where a few spikes turn into many, beside the dataset's and for the tables
    alone: see `noble_net.training.noble_borders`."""
    schedule: Literal["plateau", "cosine"] = "plateau"
    """plateau: the rate is lowered when the validation error stalls, as in the paper; cosine: it falls by half a cosine
    to 1 % over all epochs, which suits a training too short to stall."""
    factor: float = Field(default=0.4, gt=0, lt=1)
    """Of plateau: what the rate is multiplied by after ``patience`` epochs without a better validation error."""
    patience: int = Field(default=4, ge=0)
    power: int = Field(default=4, ge=1)
    """p of the relative L^p loss."""
    validation: float = Field(default=0.02, gt=0, lt=1)
    """Share of the training traces (the last ones) that is only validated on."""
    members: Members = None
    """Train on the traces of these members only; what is left out of the dataset."""
    traces: int | None = Field(default=None, gt=1)
    """Train on at most so many traces."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: autocast on a GPU; Fourier transforms and the projection stay in float32."""


class FineTuneSpec(Spec):
    """Fine-tuning of a trained core on hyperpolarising steps: L(λ) = L_data + λ·L_F, F a differentiable feature."""

    base: str
    """Name of the trained core, in the same folder of checkpoints; with other weights, fine-tuning begins anew."""
    feature: Literal["sag_amplitude"] = "sag_amplitude"
    weight: float = Field(default=25.0, ge=0)
    """λ; L_F is the relative L2 error of the feature over a batch."""
    temperature: Temperature = 0.0
    """Of a soft minimum, mV; 0: the minimum itself, which a soft one lets go its own way."""


class NobleRecipe(Spec):
    """A NOBLE core: its family, step responses, network and training."""

    kind: Literal["noble"]
    name: Name
    family: str
    dataset: NobleDatasetSpec
    model: NobleModelSpec = NobleModelSpec()
    training: NobleTrainingSpec
    fine_tune: FineTuneSpec | None = None
    notes: str = ""
    """Markdown for the card: what was tried, what failed."""

    @property
    def sampling(self) -> float:
        """Interval of the network's samples, ms."""
        return self.dataset.sampling * self.model.decimate

    @property
    def samples(self) -> int:
        """Samples of the network's window, from t = 0 on."""
        return window_samples(NOBLE_PROTOCOL.total, self.sampling)

    @model_validator(mode="after")
    def _fits(self) -> NobleRecipe:
        if self.model.padded < self.samples:
            raise fault(f"is below the window's {self.samples} samples", "raise it", ("model", "padded"))
        if self.model.modes > self.model.padded:
            raise fault("are more than the samples", "lower them", ("model", "modes"))
        if self.fine_tune and not self.dataset.hyperpolarising:
            path = ("dataset", "hyperpolarising")
            raise fault("is 0, but fine-tuning trains on these traces", "raise it", path)
        return self

    def variant(self, name: str, **changes: dict[str, Any]) -> NobleRecipe:
        """This recipe under another name with some keys changed, for ablations and ensembles of trained networks.

        ``changes`` maps blocks to keys: ``recipe.variant("no-slope", model={"features": ("I_thr",)})``,
        ``training={"seed": 3}``, ``training={"members": 20}``, ``fine_tune={"base": …, "weight": 0.0}``.
        """
        content = self.model_dump()
        for block, keys in changes.items():
            content[block] = {**(content[block] or {}), **keys}
        return NobleRecipe.model_validate({**content, "name": name})


def window_samples(total: float, sampling: float) -> int:
    """Samples of a window of ``total`` ms, t = 0 included and the end left out (515 ms at 0.06 ms: 8,583)."""
    return math.floor(total / sampling + 1e-6)


def _whole(ratio: float) -> bool:
    return abs(ratio - round(ratio)) < 1e-6
