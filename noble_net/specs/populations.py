"""Populations of a network file: how many cells, of which family or kind, sampled how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import WithJsonSchema
from pydantic_core import PydanticCustomError

from noble_net.specs.basics import (
    FROM,
    Count,
    Fraction,
    Reference,
    VoltageDistribution,
)
from noble_net.specs.distribution import Distributed, Distribution
from noble_net.specs.nodes import NodesSpec
from noble_net.specs.positions import PositionSpec
from noble_net.specs.specification import Spec, below, fault

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

    source: Annotated[Literal["members", "gaussian", "kde", "hull", "circle", "fixed"], FROM] = "members"
    """Whole members; the family's own Gaussian; the members' kernel density; uniform in their hull; uniform in
    a small ball around one; one member throughout."""
    role: Literal["all", "train", "held_out"] = "all"
    """Which members to draw from: all, those the core was trained on, or those it never saw."""
    spread: Fraction = 1.0
    """Heterogeneity: 1 is the family's, 0 makes every cell the medoid member."""
    outside: Literal["allow", "redraw", "warn", "fail"] = "allow"
    """What to do about cells that, contracted by `spread`, lie outside the members' hull. In the 13 to 24 parameters of
    the shipped families nearly all of gaussian and kde do at spread 1, as members do of the others' hull."""
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
    """Of the membrane."""
    resistance: Annotated[Distribution, Distributed(("MΩ",), at_least=0.01)] = Distribution(a=100, unit="MΩ")
    """Of the membrane; its time constant is capacitance · resistance."""
    v_rest: VoltageDistribution = Distribution(a=-70, unit="mV")
    """Voltage without input."""
    v_reset: VoltageDistribution = Distribution(a=-65, unit="mV")
    """Voltage after a spike; below `v_threshold`."""
    v_threshold: VoltageDistribution = Distribution(a=-50, unit="mV")
    """Voltage at which a spike is fired."""
    refractory: Annotated[Distribution, Distributed(("ms",), at_least=0.0)] = Distribution(a=2, unit="ms")
    """Time after a spike for which the voltage stays at `v_reset`."""

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
    """A shipped core or a path; the network's unless given. `integrate-and-fire` and `integrate-and-fire-grid`
    need no family."""
    family: Reference | None = None
    """A shipped cell family or a path."""
    sample: SampleSpec = SampleSpec()
    """How cells are drawn from the family."""
    parameters: Annotated[dict[str, Distribution], WithJsonSchema(_PARAMETERS_SCHEMA)] = Field(default={})
    """Of an integrate-and-fire cell: capacitance, resistance, v_rest, v_reset, v_threshold, refractory."""
    position: PositionSpec | None = None
    """Where the cells are, for rules and delays that depend on distance."""
    nodes: NodesSpec | None = None
    """The nodes of a SONATA file that the cells are: their ids in edges, positions, members and parameters."""

    @property
    def may_have_positions(self) -> bool:
        """Whether cells have positions, or nodes that may bring them, which only their file tells."""
        return self.position is not None or self.nodes is not None

    @model_validator(mode="after")
    def _a_place_for_every_cell(self) -> PopulationSpec:
        if self.position is not None:
            try:
                self.position.check(self.size)
            except PydanticCustomError as error:
                raise below(error, "position") from None
        return self

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
