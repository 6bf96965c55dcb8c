"""Node sets of a network file: named subsets of a population's cells, to stimulate or to record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_serializer, field_validator, model_validator
from pydantic.json_schema import WithJsonSchema

from noble_net.specs.basics import Count, Name
from noble_net.specs.regions import RegionSpec
from noble_net.specs.specification import Spec, fault, from_file, quantity_schema, read_quantity
from noble_net.units import format_quantity

UNITS = {
    **dict.fromkeys(("I_thr",), "nA"),
    **dict.fromkeys(("input_resistance", "resistance"), "MΩ"),
    **dict.fromkeys(("inv_first_ISI", "mean_frequency"), "Hz"),
    **dict.fromkeys(
        ("AP1_width", "AHP_time_from_peak", "time_to_first_spike", "decay_time_constant_after_stim"), "ms"
    ),
    **dict.fromkeys(("voltage_base", "steady_state_voltage", "steady_state_voltage_stimend"), "mV"),
    **dict.fromkeys(("AP1_peak", "mean_AP_amplitude", "AHP_depth", "AHP1_depth_from_peak"), "mV"),
    **dict.fromkeys(("sag_amplitude", "v_rest", "v_reset", "v_threshold"), "mV"),
    "capacitance": "pF",
    "refractory": "ms",
}
"""Units of features and parameters; the bounds of all others are plain numbers as in the family's table."""

_KINDS = ("cells", "fraction", "where", "region")
_BOUND = {"anyOf": [{"type": "number"}, quantity_schema(*dict.fromkeys(UNITS.values()))]}
_WHERE = {
    "type": "object",
    "additionalProperties": {"type": "array", "items": _BOUND, "minItems": 2, "maxItems": 2},
    "examples": [{"I_thr": ["0.1 nA", "0.2 nA"]}],
}


class NodeSetSpec(Spec):
    """Some cells of one population: exactly one of `cells`, `fraction`, `where` and `region`."""

    population: Name
    """Whose cells they are."""
    cells: tuple[Annotated[Count, Field(ge=0)], ...] | None = None
    """Their numbers within the population, from 0."""
    fraction: Annotated[float, Field(strict=True, gt=0.0, le=1.0)] | None = None
    """So large a share of the population, drawn at random."""
    where: Annotated[dict[str, tuple[float, float]], WithJsonSchema(_WHERE)] | None = None
    """Cells whose features or parameters all lie within bounds (included)."""
    region: RegionSpec | None = None
    """Cells in a part of space, of a population with positions."""

    @field_validator("cells", mode="after")
    @classmethod
    def _each_once(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and not value:
            raise fault("holds no cell", "name some, such as `cells: [0, 5, 7]`")
        seen: set[int] = set()
        for index, cell in enumerate(value or ()):
            if cell in seen:
                raise fault("is named twice", "remove it", (index,))
            seen.add(cell)
        return None if value is None else tuple(sorted(value))

    @field_validator("where", mode="before")
    @classmethod
    def _read_bounds(cls, value: object, info: ValidationInfo) -> object:
        if value is None:
            return None
        if not isinstance(value, Mapping) or not value:
            raise fault("has no feature", "write, for example, `where: {I_thr: [0.1 nA, 0.2 nA]}`")
        return {str(name): _bounds(str(name), each, from_file(info)) for name, each in value.items()}

    @field_serializer("where", when_used="json-unless-none")
    def _where_letter(self, value: Mapping[str, tuple[float, float]]) -> dict[str, list[Any]]:
        return {
            name: [format_quantity(each, UNITS[name]) if name in UNITS else each for each in bounds]
            for name, bounds in value.items()
        }

    @model_validator(mode="after")
    def _exactly_one(self) -> NodeSetSpec:
        given = [key for key in _KINDS if getattr(self, key) is not None]
        if len(given) != 1:
            problem = f"has {' and '.join(given)}" if given else "says nothing of its cells"
            raise fault(problem, f"give exactly one of {', '.join(_KINDS)}")
        return self


def _bounds(name: str, value: object, unit_required: bool) -> tuple[float, float]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise fault("is not two bounds", "write [lowest, highest]", (name,))
    low, high = (_bound(name, each, unit_required, index) for index, each in enumerate(value))
    if low > high:
        raise fault("the lowest value is above the highest", "swap them", (name,))
    return low, high


def _bound(name: str, value: object, unit_required: bool, index: int) -> float:
    if name in UNITS:
        return read_quantity(value, (UNITS[name],), unit_required, (name, index))[0]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        remedy = f"{name} is given without unit, as in the family's table"
        if isinstance(value, str) and (close := get_close_matches(name, UNITS, n=1, cutoff=0.8)):
            remedy = f"did you mean `{close[0]}`? {remedy}"
        raise fault("is not a plain number", remedy, (name, index))
    return float(value)
