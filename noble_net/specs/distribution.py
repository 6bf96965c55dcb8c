"""A quantity that may differ from one synapse or cell to the next: a constant or a distribution.

In a file: ``1.2 nS``, ``{normal: {mean: 1 ms, std: 0.2 ms, min: 0.5 ms}}``, the same for ``lognormal`` and
``gamma``, or ``{uniform: {low: …, high: …}}``. This module says what is meant; the network floor draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import (
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from noble_net.specs.specification import (
    Quantity,
    Spec,
    check_keys,
    fault,
    from_file,
    nearest,
    quantity_schema,
    read_quantity,
)
from noble_net.units import format_quantity

_BOUNDED = {"mean": "a", "std": "b", "min": "low", "max": "high"}
LETTERS: dict[str, dict[str, str]] = {
    "normal": _BOUNDED,
    "lognormal": _BOUNDED,
    "gamma": _BOUNDED,
    "uniform": {"low": "a", "high": "b"},
}
"""For each kind, the keys of the file and the fields they fill."""
_OPTIONAL = ("min", "max")


class Distribution(Spec):
    """A constant or a distribution, in internal units.

    ``constant``: value ``a``. ``normal``, ``lognormal`` and ``gamma``: mean ``a`` and standard deviation
    ``b`` of the variable itself, truncated to [``low``, ``high``] where given. ``uniform`` on
    [``a``, ``b``]. ``unit`` is the internal unit of all of them.
    """

    kind: Literal["constant", "normal", "lognormal", "gamma", "uniform"] = "constant"
    a: float
    b: float = 0.0
    low: float | None = None
    high: float | None = None
    unit: str = ""

    @property
    def lowest(self) -> float:
        """Lower end of the support."""
        unbounded = {"normal": -math.inf, "lognormal": 0.0, "gamma": 0.0}.get(self.kind, self.a)
        return unbounded if self.low is None else max(unbounded, self.low)

    @property
    def highest(self) -> float:
        """Upper end of the support."""
        unbounded = {"constant": self.a, "uniform": self.b}.get(self.kind, math.inf)
        return unbounded if self.high is None else min(unbounded, self.high)

    @model_validator(mode="after")
    def _consistent(self) -> Distribution:
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if not all(math.isfinite(x) for x in (self.a, self.b)) or math.isnan(low) or math.isnan(high):
            raise fault("is not a finite number", "give finite numbers")
        if self.kind == "uniform" and self.a > self.b:
            raise fault("`low` is above `high`", "swap them", ("uniform", "low"))
        if LETTERS.get(self.kind) is _BOUNDED:
            if self.b < 0:
                raise fault("a standard deviation cannot be negative", "give 0 or more", (self.kind, "std"))
            if not low <= self.a <= high:
                raise fault("the mean lies outside `min` … `max`", "move the bounds", (self.kind, "mean"))
        if self.kind in ("lognormal", "gamma") and self.a <= 0:
            problem = f"the mean of a {self.kind} must be above 0"
            raise fault(problem, "use `normal` instead", (self.kind, "mean"))
        return self

    @model_serializer(mode="wrap", when_used="json")
    def _letter(self, default: Any) -> Any:
        """The distribution as it is written in a file."""
        if self.kind == "constant":
            return format_quantity(self.a, self.unit)
        values = {key: getattr(self, name) for key, name in LETTERS[self.kind].items()}
        return {self.kind: {k: format_quantity(v, self.unit) for k, v in values.items() if v is not None}}


@dataclass(frozen=True)
class Distributed:
    """Annotation of a Distribution field: the internal ``units`` it may come in, the bounds of its support.

    An unbounded tail that would leave ``at_least`` is refused, with the advice to add ``min``.
    """

    units: tuple[str, ...]
    at_least: float | None = None
    at_most: float = 1e6

    def read(self, value: object, unit_required: bool) -> Distribution:
        """The distribution in internal units; raises a validator's error."""
        if isinstance(value, Distribution):
            unit = value.unit or (self.units[0] if len(self.units) == 1 else "")
            found = value if unit == value.unit else value.model_copy(update={"unit": unit})
        elif isinstance(value, Mapping):
            found = self._read_mapping(value, unit_required)
        else:
            number, unit = read_quantity(value, self.units, unit_required)
            unit = unit if isinstance(value, str) or len(self.units) == 1 else ""
            found = Distribution(a=number, unit=unit)
        self._check(found)
        return found

    def _read_mapping(self, value: Mapping[Any, Any], unit_required: bool) -> Distribution:
        kind = next(iter(value), None)
        if kind not in LETTERS:
            raise fault("unknown distribution", nearest(kind, LETTERS), () if kind is None else (str(kind),))
        inner = value[kind]
        check_keys([key for key in value if key != kind], [str(kind)])
        if not isinstance(inner, Mapping):
            wanted = ", ".join(f"{key}: …" for key in LETTERS[kind])
            raise fault("has no parameters", f"write `{kind}: {{{wanted}}}`", (kind,))
        check_keys(inner, LETTERS[kind], (kind,))
        fields: dict[str, Any] = {}
        units = self.units
        for key, name in LETTERS[kind].items():
            if key in inner:
                fields[name], unit = read_quantity(inner[key], units, unit_required, (kind, key))
                units = (unit,) if unit_required or isinstance(inner[key], str) else units
            elif key not in _OPTIONAL:
                raise fault(f"`{key}` is missing", f"add `{key}: …`", (kind,))
        return Distribution(kind=kind, unit=units[0] if len(units) == 1 else "", **fields)

    def _check(self, found: Distribution) -> None:
        bounds = Quantity(found.unit or self.units[0], at_least=self.at_least, at_most=self.at_most)
        if found.kind == "constant":
            bounds.check(found.a)
            return
        for key, name in LETTERS[found.kind].items():
            value = getattr(found, name)
            if value is not None and abs(value) > self.at_most:
                bounds.check(value, (found.kind, key))
        if self.at_least is not None and found.lowest < self.at_least:
            key = "low" if found.kind == "uniform" else "min"
            remedy = f"give `{key}` of at least {self.at_least:g} {bounds.unit}"
            raise fault(f"can fall below {self.at_least:g} {bounds.unit}", remedy, (found.kind,))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(value: object, info: ValidationInfo) -> Distribution:
            return self.read(value, from_file(info))

        return core_schema.with_info_before_validator_function(validate, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        plain = quantity_schema(*self.units)
        variants = [_variant_schema(kind, plain) for kind in LETTERS]
        return {"anyOf": [plain, *variants], "description": plain["description"] + ", or a distribution"}


def _variant_schema(kind: str, plain: JsonSchemaValue) -> JsonSchemaValue:
    keys = LETTERS[kind]
    inner = {
        "type": "object",
        "properties": dict.fromkeys(keys, plain),
        "required": [key for key in keys if key not in _OPTIONAL],
        "additionalProperties": False,
    }
    return {"type": "object", "properties": {kind: inner}, "required": [kind], "additionalProperties": False}
