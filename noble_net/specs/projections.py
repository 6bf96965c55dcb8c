"""Projections of a network file: connection rules, weights, delays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from noble_net.specs.basics import (
    FROM,
    MAX_DELAY,
    TO,
    Count,
    Flag,
    Fraction,
    Name,
    Weight,
)
from noble_net.specs.distribution import Distributed, Distribution
from noble_net.specs.specification import (
    Spec,
    check_keys,
    fault,
    from_file,
    nearest,
)

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
    source: Annotated[Name, FROM]
    """Presynaptic population."""
    target: Annotated[Name, TO]
    """Postsynaptic population."""
    rule: RuleSpec
    synapse: Name
    """A key of `synapses`."""
    weight: Weight
    """Peak conductance (nS), or current (pA or nA; negative inhibits) of a current synapse."""
    delay: Annotated[Distribution, Distributed(("ms",), at_least=0.1, at_most=MAX_DELAY)]
    """Rounded to 0.1 ms; at least the core's step."""
