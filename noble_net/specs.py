"""The parts of a network file: populations, synapses, projections.

Each model is one block of the file and checks what it can alone; `config` checks them against each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue, WithJsonSchema
from pydantic_core import CoreSchema

from noble_net.distribution import Distributed, Distribution
from noble_net.specification import (
    Quantity,
    Spec,
    check_keys,
    fault,
    from_file,
    nearest,
)

INTEGRATE_AND_FIRE = "integrate-and-fire"
MAX_DELAY = 6553.5
"""Longest delay, ms: 65535 samples."""

NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
Name = Annotated[str, Field(strict=True, pattern=NAME, max_length=64)]
Count = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Fraction = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]
TimeConstant = Annotated[float, Quantity("ms", at_least=0.01)]
Duration = Annotated[float, Quantity("ms", at_least=0.1, on_grid=True)]
Instant = Annotated[float, Quantity("ms", at_least=0.0, on_grid=True)]
Voltage = Annotated[float, Quantity("mV", at_most=1000.0)]
VoltageDistribution = Annotated[Distribution, Distributed(("mV",), at_most=1000.0)]
_FROM = Field(validation_alias="from", serialization_alias="from")
_TO = Field(validation_alias="to", serialization_alias="to")
Weight = Annotated[Distribution, Distributed(("nS", "pA"))]


def _reference(value: str, info: ValidationInfo) -> str:
    """A shipped name, or a path: relative to the file that names it."""
    if not value.strip():
        raise fault("is empty", "give a name or a path")
    folder = (info.context or {}).get("folder")
    if ("/" in value or "\\" in value or value.endswith(".csv")) and folder is not None:
        return str((Path(folder) / Path(value).expanduser()).resolve())
    return value


Reference = Annotated[str, Field(strict=True, max_length=4096), AfterValidator(_reference)]


Member = Annotated[str, Field(strict=True, min_length=1, max_length=256)]
_ANY_SOURCE = ("role", "spread")
SOURCES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "members": ((), _ANY_SOURCE),
    "gaussian": ((), (*_ANY_SOURCE, "outside")),
    "kde": ((), (*_ANY_SOURCE, "outside")),
    "hull": ((), _ANY_SOURCE),
    "circle": (("around", "radius"), (*_ANY_SOURCE, "outside")),
    "fixed": (("member",), ()),
}
"""For each source of cells its obligatory keys, and the others it takes."""


class SampleSpec(Spec):
    """How the cells of a population are drawn from their family."""

    source: Annotated[Literal["members", "gaussian", "kde", "hull", "circle", "fixed"], _FROM] = "members"
    """Whole members; the family's own Gaussian; the members' kernel density; uniform in their hull; uniform in
    a small ball around one; one member throughout."""
    role: Literal["all", "train", "held_out"] = "all"
    """Which members to draw from: all, those the core was trained on, or those it never saw."""
    spread: Fraction = 1.0
    """Heterogeneity: 1 is the family's, 0 makes every cell the medoid member."""
    outside: Literal["allow", "redraw", "warn", "fail"] = "allow"
    """What to do about cells outside the members' hull: gaussian, kde and circle can give some."""
    around: Member | None = None
    """The member at the circle's centre, of any role."""
    radius: Annotated[float, Field(strict=True, gt=0.0, le=1.0)] | None = None
    """Of the circle, as a share of the members' range."""
    member: Member | None = None
    """The member that every cell of `fixed` is."""

    @model_validator(mode="after")
    def _keys_of_the_source(self) -> SampleSpec:
        needed, optional = SOURCES[self.source]
        for key in needed:
            if getattr(self, key) is None:
                raise fault(f"`{self.source}` needs `{key}`", f"add `{key}: …`", ("from",))
        for key, field in SampleSpec.model_fields.items():
            # A default may be written out: a network written by `dump_network` does so.
            if key not in ("source", *needed, *optional) and getattr(self, key) != field.default:
                takers = [source for source, keys in SOURCES.items() if key in (*keys[0], *keys[1])]
                raise fault(
                    f"`{self.source}` takes no `{key}`", f"remove it; for {', '.join(takers)}", (key,)
                )
        return self


class IntegrateAndFireSpec(Spec):
    """Parameters of an integrate-and-fire cell; each may be a distribution over cells."""

    capacitance: Annotated[Distribution, Distributed(("pF",), at_least=0.01)] = Distribution(a=100, unit="pF")
    resistance: Annotated[Distribution, Distributed(("MΩ",), at_least=0.01)] = Distribution(a=100, unit="MΩ")
    v_rest: VoltageDistribution = Distribution(a=-70, unit="mV")
    v_reset: VoltageDistribution = Distribution(a=-65, unit="mV")
    v_threshold: VoltageDistribution = Distribution(a=-50, unit="mV")
    refractory: Annotated[Distribution, Distributed(("ms",), at_least=0.0)] = Distribution(a=2, unit="ms")

    @model_validator(mode="after")
    def _reset_below_threshold(self) -> IntegrateAndFireSpec:
        if self.v_reset.highest < self.v_threshold.lowest:
            return self
        if "v_reset" in self.model_fields_set:
            raise fault(
                "can lie above v_threshold", "lower it, or bound both with `min`, `max`", ("v_reset",)
            )
        raise fault("can lie below v_reset", "raise it, or bound both with `min`, `max`", ("v_threshold",))


_PARAMETERS_SCHEMA = IntegrateAndFireSpec.model_json_schema()


class PopulationSpec(Spec):
    """A group of cells of one family on one core."""

    size: Annotated[Count, Field(ge=1, le=2**31 - 1)]
    """Number of cells."""
    core: Reference | None = None
    """A shipped core or a path; the network's unless given. `integrate-and-fire` needs no family."""
    family: Reference | None = None
    """A shipped cell family or a path."""
    sample: SampleSpec = SampleSpec()
    """How cells are drawn from the family."""
    parameters: Annotated[dict[str, Distribution], WithJsonSchema(_PARAMETERS_SCHEMA)] = Field(default={})
    """Of an integrate-and-fire cell: capacitance, resistance, v_rest, v_reset, v_threshold, refractory."""

    @field_validator("parameters", mode="before")
    @classmethod
    def _read_parameters(cls, value: object, info: ValidationInfo) -> object:
        given = IntegrateAndFireSpec.model_validate(value, context=info.context)
        return {
            key: getattr(given, key)
            for key in IntegrateAndFireSpec.model_fields
            if key in given.model_fields_set
        }


def integrate_and_fire_parameters(given: Mapping[str, Distribution]) -> dict[str, Distribution]:
    """All six parameters of IntegrateAndFireSpec: those given, defaults for the others."""
    return {key: given.get(key, field.default) for key, field in IntegrateAndFireSpec.model_fields.items()}


class SynapseSpec(Spec):
    """A type of synapse: its time course, and whether a spike opens a conductance or passes a current."""

    model: Literal["exp", "exp2"]
    """`exp`: instant rise, exponential decay; `exp2`: difference of two, its peak the weight."""
    kind: Literal["conductance", "current"] = "current"
    """`conductance` (weights in nS) when `reversal` is given, else `current` (weights in pA or nA)."""
    rise: TimeConstant | None = None
    """Rise time constant, `exp2` only."""
    decay: TimeConstant
    """Decay time constant."""
    reversal: Voltage | None = None
    """Reversal potential of a conductance."""
    zone: Annotated[str, Field(strict=True, min_length=1, max_length=64)] = "soma"
    """Input zone of the target's core."""

    @property
    def weight_unit(self) -> str:
        """Internal unit of weights through this synapse: nS or pA."""
        return "nS" if self.kind == "conductance" else "pA"

    @model_validator(mode="before")
    @classmethod
    def _kind_from_reversal(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "kind" not in data and data.get("reversal") is not None:
            return {**data, "kind": "conductance"}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> SynapseSpec:
        if self.kind == "conductance" and self.reversal is None:
            raise fault("a conductance needs `reversal`", "add it, such as `reversal: -80 mV`", ("kind",))
        if self.kind == "current" and self.reversal is not None:
            raise fault("a current synapse has no reversal", "remove it, or `kind: current`", ("reversal",))
        if self.model == "exp" and self.rise is not None:
            raise fault("`exp` has no rise time", "remove it, or write `model: exp2`", ("rise",))
        if self.model == "exp2" and self.rise is None:
            raise fault("`exp2` needs `rise`", "add it, such as `rise: 0.3 ms`", ("model",))
        if self.rise is not None and self.rise >= self.decay:
            raise fault("must be shorter than `decay`", f"give less than {self.decay:g} ms", ("rise",))
        return self


RULES: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "pairwise_bernoulli": ("p", ("p", "autapses")),
    "fixed_indegree": ("indegree", ("indegree", "autapses", "multapses")),
    "all_to_all": (None, ("autapses",)),
    "one_to_one": (None, ("autapses",)),
}
"""For each rule its obligatory key, and all keys it takes."""


class RuleSpec(Spec):
    """Which cells a projection connects. In a file: `{pairwise_bernoulli: {p: 0.2}}` or `all_to_all`."""

    kind: Literal["pairwise_bernoulli", "fixed_indegree", "all_to_all", "one_to_one"]
    p: Fraction | None = None
    """Probability of each pair."""
    indegree: Annotated[Count, Field(ge=0)] | None = None
    """Synapses onto each target cell."""
    autapses: Flag = False
    """Whether a cell may connect to itself."""
    multapses: Flag = False
    """Whether a pair may have several synapses."""

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, data: Any, info: ValidationInfo) -> Any:
        if isinstance(data, str):
            data = {data: {}}
        if not isinstance(data, Mapping) or ("kind" in data and not from_file(info)):
            return data
        kind = next(iter(data), None)
        if kind not in RULES:
            raise fault("unknown rule", nearest(kind, RULES), () if kind is None else (str(kind),))
        check_keys([key for key in data if key != kind], [str(kind)])
        inner = {} if data[kind] is None else data[kind]
        if not isinstance(inner, Mapping):
            raise fault("has no parameters", f"give {', '.join(RULES[kind][1])}", (kind,))
        needed, valid = RULES[kind]
        check_keys(inner, valid, (kind,))
        if needed is not None and inner.get(needed) is None:
            raise fault(f"`{needed}` is missing", f"write `{kind}: {{{needed}: …}}`", (kind,))
        return {"kind": kind, **inner}

    @model_serializer(mode="wrap", when_used="json")
    def _letter(self, default: SerializerFunctionWrapHandler) -> Any:
        needed, valid = RULES[self.kind]
        inner = {key: getattr(self, key) for key in valid if key == needed or getattr(self, key)}
        return {self.kind: inner} if inner else self.kind

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        flag = {"type": "boolean"}
        kinds = {
            "p": {"type": "number", "minimum": 0, "maximum": 1},
            "indegree": {"type": "integer", "minimum": 0},
        }
        variants: list[JsonSchemaValue] = [
            {"enum": [name for name, rule in RULES.items() if rule[0] is None]}
        ]
        for name, (needed, valid) in RULES.items():
            inner: JsonSchemaValue = {"type": "object", "additionalProperties": False}
            inner["properties"] = {key: kinds.get(key, flag) for key in valid}
            inner["required"] = [needed] if needed else []
            variants.append(_only(name, inner))
        return {"anyOf": variants, "description": "Which cells are connected"}


def _only(key: str, inner: JsonSchemaValue) -> JsonSchemaValue:
    return {"type": "object", "properties": {key: inner}, "required": [key], "additionalProperties": False}


class ProjectionSpec(Spec):
    """Synapses of one type from one population to another."""

    name: Name
    """Keys the projection's random numbers: renaming it redraws it."""
    source: Annotated[Name, _FROM]
    """Presynaptic population."""
    target: Annotated[Name, _TO]
    """Postsynaptic population."""
    rule: RuleSpec
    synapse: Name
    """A key of `synapses`."""
    weight: Weight
    """Peak conductance (nS), or current (pA or nA; negative inhibits) of a current synapse."""
    delay: Annotated[Distribution, Distributed(("ms",), at_least=0.1, at_most=MAX_DELAY)]
    """Rounded to 0.1 ms; at least the core's step."""
