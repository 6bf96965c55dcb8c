"""Projections of a network file: who projects to whom, by which rule, with which weights and delays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from noble_net.specs.basics import FROM, MAX_DELAY, TO, Name, Weight
from noble_net.specs.distribution import Distributed, Distribution
from noble_net.specs.rules import RuleSpec
from noble_net.specs.specification import Quantity, Spec, check_keys, fault, quantity_schema

_OFFSET = Distributed(("ms",), at_least=0.1, at_most=MAX_DELAY)


class ConductionSpec(Spec):
    """Delay as a fixed part plus the time along the axon: offset + distance / velocity."""

    velocity: Annotated[float, Quantity("µm/ms", above=0.0)]
    """Conduction velocity along the straight line between the cells."""
    offset: Annotated[Distribution, _OFFSET]
    """What distance does not explain, a distribution for synapses that differ; the shortest delay."""


class DelayByDistance(Spec):
    """A delay that grows with distance. In a file: `{distance: {velocity: 0.3 mm/ms, offset: 0.5 ms}}`."""

    distance: ConductionSpec

    @property
    def lowest(self) -> float:
        """The shortest delay there can be, ms: that of cells in one place."""
        return self.distance.offset.lowest


@dataclass(frozen=True)
class _Delay(Distributed):
    """Annotation of a delay: a Distribution, or a DelayByDistance."""

    def read(self, value: object, unit_required: bool) -> Any:
        """The delay in internal units; raises a validator's error."""
        if isinstance(value, DelayByDistance):
            return value
        if isinstance(value, Mapping) and "distance" in value:
            check_keys(value, ["distance"])
            return DelayByDistance.model_validate(value, context={"from_file": unit_required})
        return super().read(value, unit_required)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        plain = super().__get_pydantic_json_schema__(schema, handler)
        keys = {"velocity": quantity_schema("µm/ms"), "offset": plain}
        inner = {
            "type": "object",
            "properties": keys,
            "required": list(keys),
            "additionalProperties": False,
        }
        by_distance = {
            "type": "object",
            "properties": {"distance": inner},
            "required": ["distance"],
            "additionalProperties": False,
        }
        return {**plain, "anyOf": [*plain["anyOf"], by_distance]}


class ProjectionSpec(Spec):
    """Synapses of one type from one population to another."""

    name: Name
    """Keys the projection's random numbers: renaming it redraws it."""
    source: Annotated[Name, FROM]
    """Presynaptic population."""
    target: Annotated[Name, TO]
    """Postsynaptic population."""
    rule: RuleSpec
    synapse: Name
    """A key of `synapses`."""
    weight: Weight | None = None
    """Peak conductance (nS), or current (pA or nA; negative inhibits) of a current synapse. May be left out
    where the rule reads a file that has weights."""
    delay: Annotated[Distribution | DelayByDistance, _Delay(("ms",), 0.1, MAX_DELAY)] | None = None
    """Rounded to 0.1 ms; at least the core's step. May be left out where the rule reads a file that has
    delays."""

    @property
    def needs_positions(self) -> bool:
        """Whether the cells of both populations must have positions."""
        return self.rule.distance is not None or isinstance(self.delay, DelayByDistance)

    @model_validator(mode="after")
    def _weights_and_delays(self) -> ProjectionSpec:
        for key, example in (("weight", "1 nS"), ("delay", "1 ms")):
            if getattr(self, key) is None and not self.rule.lists_synapses:
                raise fault(f"`{key}` is missing", f"add `{key}: {example}`")
        return self
