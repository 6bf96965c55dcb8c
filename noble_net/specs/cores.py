"""Recipes of streaming cores, and of the datasets of all that run networks, as frozen specs read from YAML."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from noble_net.specs.basics import ZONES, Duration, Flag, Instant, Name
from noble_net.specs.specification import Quantity, Spec, fault

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


_ADD_ZONES = f"add `zones: [{', '.join(ZONES)}]`, or leave it out"


class DatasetSpec(_Recipe):
    """NEURON runs of the members."""

    seed: int = Field(ge=0)
    duration: Duration
    """Training input per member and kind of ``inputs``, ms."""
    inputs: tuple[Literal["mixed", "strong", "alternating"], ...] = Field(default=("mixed",), min_length=1)
    """What cells are trained on: mixed input to every zone, and with dendrites strong input to those, by itself or
    alternating with mixed input (`noble_net.training.zone_inputs`)."""
    dt: Annotated[float, Quantity("ms", above=0.0, at_most=0.1)] = 0.025
    """NEURON's step, ms."""
    zones: tuple[str, ...] = ZONES[:1]
    """Where input arrives: the soma alone, or soma, proximal and distal dendrite (`noble_net.cells.zones`)."""
    nmda: Flag = False
    """Whether the dendrites have NMDA conductances too."""
    lowest_current: Annotated[float, Quantity("nA", at_most=10.0)] = -0.3
    """What injected current in training stays above when smoothed over 10 ms, where there is input on the dendrites:
    some families' mechanisms leave their range in long and deep hyperpolarisation."""
    record: tuple[Name, ...] = ()
    """Slow variables of the soma recorded in training, by NEURON's names (`cai`, `h_Kd`), for a core that keeps account
    of them."""
    test: TestSpec = TestSpec()

    @property
    def zoned(self) -> bool:
        """Whether there is input on the dendrites."""
        return len(self.zones) > 1

    @model_validator(mode="after")
    def _known_zones(self) -> DatasetSpec:
        if self.zones not in (ZONES[:1], ZONES):
            problem = f"is [{', '.join(self.zones)}]"
            raise fault(problem, f"give [soma], or [{', '.join(ZONES)}]", ("zones",))
        if len(set(self.inputs)) < len(self.inputs):
            raise fault(f"is [{', '.join(self.inputs)}]", "name each once", ("inputs",))
        for kind in self.inputs:
            if kind != "mixed" and not self.zoned:
                raise fault(f"{kind} needs dendritic zones", _ADD_ZONES, ("inputs",))
        if self.nmda and not self.zoned:
            raise fault("needs dendritic zones", _ADD_ZONES, ("nmda",))
        return self

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A recipe reads, and names its dataset, as it did before there was what it has no need of."""
        content: dict[str, Any] = handler(self)
        new = set() if self.zoned else {"zones", "nmda", "lowest_current"}
        new |= set() if self.record else {"record"}
        new |= set() if self.inputs != ("mixed",) else {"inputs"}
        return {key: value for key, value in content.items() if key not in new}


class SlowSpec(_Recipe):
    """A slow variable; see `noble_net.surrogate.streaming_shape.Slow`. Numbers are in NEURON's unit of the variable:
    `cai` is in mM."""

    variable: Name
    decay: Duration
    unit: float = Field(gt=0)
    rest: float = Field(default=0.0, ge=0)


class ModelSpec(_Recipe):
    """Shape of the streaming core; the defaults are those of the cores that ship."""

    hidden: int = Field(default=56, gt=0, multiple_of=8)
    step_samples: int = Field(default=5, gt=0)
    """Samples per recurrent step; the core's smallest exact delay."""
    encoder_layers: int = Field(default=1, ge=1, le=2)
    code_units: int = Field(default=16, ge=0, multiple_of=2)
    """Numbers a cell's code is embedded into, which encoder and decoder are told; 0: the encoder alone is, of the code
    as it is."""
    code_hidden: int | None = Field(default=None, gt=0)
    """Units between the code and its embedding, which cost a network nothing; null: ``code_units``."""
    decoder_units: int | None = Field(default=32, gt=0, multiple_of=4)
    """Width of the decoder; null: ``hidden``."""
    direct: Flag = False
    """Whether a step's input is led to the answer past all activations, too."""
    slow: tuple[SlowSpec, ...] = ()
    """Variables of the soma that the core keeps account of, and the dataset then has to record: what currents follow
    over hundreds of ms, calcium and slow inactivation."""

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A recipe reads, and names its training, as it did before there were these."""
        content: dict[str, Any] = handler(self)
        new = ("code_hidden", "direct", "slow")
        return {key: value for key, value in content.items() if key not in new or value}


class OwnVoltageSpec(_Recipe):
    """Streams that are fed the core's own voltage; see `noble_net.training.own_voltage`."""

    share: float = Field(default=0.75, gt=0, le=1)
    """Of the streams."""
    within: Millivolts = 3.0
    """Further from the truth the truth takes the place of the own voltage, mV."""


class AgainSpec(_Recipe):
    """More iterations on the weights that training reached, the learning rate falling anew (a warm restart)."""

    iterations: int = Field(gt=0)
    learning_rate: float = Field(gt=0)


class TrainingSpec(_Recipe):
    """Optimisation of a core; see `noble_net.training.train`."""

    seed: int = Field(default=0, ge=0)
    iterations: int = Field(gt=0)
    batch: int = Field(default=128, gt=0)
    """Members streamed at once."""
    chunk: Duration = 50.0
    """Stretch of an iteration, through which gradients flow, ms."""
    chunks: int = Field(default=80, gt=0)
    """Consecutive chunks a stream runs through, the recurrent state carried, before new streams are drawn."""
    burn_in: Instant = 25.0
    """Start of a stream that does not count in the loss, ms."""
    learning_rate: float = Field(default=3e-3, gt=0)
    warmup: int = Field(default=100, gt=0)
    voltage_noise: Millivolts = 0.7
    """Largest standard deviation of the noise on the voltage fed back under teacher forcing, mV."""
    noise_time: Instant = 0.0
    """Correlation time of that noise, ms: a free run's own errors last. 0: every step's is drawn anew."""
    own_voltage: OwnVoltageSpec | None = None
    """Streams fed the core's own voltage, beside those that are fed the true one with noise; null: none."""
    optimiser: Literal["adamw", "muon"] = "adamw"
    """muon: torch's Muon for the matrices between units, AdamW for all else."""
    start: str | None = None
    """A core of the same shape, by name or path, whose weights training begins from; null: from random ones."""
    again: AgainSpec | None = None
    """Goes on from the end of the training above, also from one that ended before this was asked for."""

    @model_validator(mode="after")
    def _something_counts(self) -> TrainingSpec:
        if self.burn_in >= self.chunk:
            problem = f"{self.burn_in:g} ms are the whole of a chunk of {self.chunk:g} ms"
            raise fault(problem, "give less, or longer chunks", ("burn_in",))
        if self.own_voltage and round(self.own_voltage.share * self.batch) == 0:
            problem = f"{self.own_voltage.share:g} of {self.batch} streams are none"
            raise fault(problem, "give a larger share, or leave own_voltage out", ("own_voltage", "share"))
        return self


class CoreRecipe(_Recipe):
    """A core: the family it stands for, the data it is trained on, its shape and its training."""

    kind: Literal["streaming"] = "streaming"
    name: Name
    family: str
    dataset: DatasetSpec
    model: ModelSpec = ModelSpec()
    training: TrainingSpec
    notes: str = ""
    """Markdown for the card: what was tried, what failed."""

    @model_validator(mode="after")
    def _slow_variables_are_recorded(self) -> CoreRecipe:
        names = [each.variable for each in self.model.slow]
        for number, name in enumerate(names):
            if name not in self.dataset.record:
                raise fault(
                    f"is {name}, which the dataset does not record",
                    f"add it to `dataset: {{record: [{', '.join([*self.dataset.record, name])}]}}`, or leave it out",
                    ("model", "slow", number, "variable"),
                )
            if name in names[:number]:
                raise fault(f"names {name} twice", "leave one out", ("model", "slow", number, "variable"))
        return self
