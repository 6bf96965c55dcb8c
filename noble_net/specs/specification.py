"""The ground all input files stand on: frozen models that forbid unknown keys, and quantities with units.

A model can be filled in two ways. From a file (`validate_document`), quantities must carry a unit. From
Python, they may also be plain floats in internal units. Either way what is stored is a float in internal
units, and `model_dump(mode="json", by_alias=True)` gives back the file's letter.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from noble_net.errors import ConfigError
from noble_net.specs.yaml_source import Document
from noble_net.types import DT
from noble_net.units import INTERNAL, NUMBER, QuantityError, format_quantity, how_to_write, parse_quantity

LARGEST = 1e9
"""No quantity of a network file is larger than this in its internal unit (1e9 ms are eleven days)."""

AnyModel = TypeVar("AnyModel", bound=BaseModel)


def fault(problem: str, remedy: str = "", path: Sequence[str | int] = ()) -> PydanticCustomError:
    """An error to raise in a validator; ``path`` leads from the validated value to the part at fault."""
    return PydanticCustomError(
        "noble_net", "{problem}. {remedy}", {"problem": problem, "remedy": remedy, "path": tuple(path)}
    )


def below(error: PydanticCustomError, *path: str | int) -> PydanticCustomError:
    """The same `fault`, raised by a part of a value that lies at ``path`` within it."""
    context = error.context or {}
    return fault(context["problem"], context["remedy"], (*path, *context["path"]))


def nearest(name: object, valid: Iterable[str]) -> str:
    """Advice for an unknown name: the nearest valid one, and what there is to choose from."""
    choices = list(dict.fromkeys(valid))
    close = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.5)
    listed = ", ".join(choices[:12]) + (", …" if len(choices) > 12 else "")
    return (f"did you mean `{close[0]}`? " if close else "") + f"valid: {listed or 'none'}"


def check_keys(given: Iterable[object], valid: Iterable[str], path: Sequence[str | int] = ()) -> None:
    """Refuse the first key that is not valid, with the nearest valid one."""
    choices = list(valid)
    for key in given:
        if key not in choices:
            raise fault("unknown key", nearest(key, choices), (*path, str(key)))


def from_file(info: ValidationInfo) -> bool:
    """Whether what is validated was read from a file, where units are obligatory."""
    return bool(info.context and info.context.get("from_file"))


class Spec(BaseModel):
    """Base of every model of an input file: frozen, unknown keys refused with the nearest valid one."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, data: Any, info: ValidationInfo) -> Any:
        if isinstance(data, Mapping):
            fields = cls.model_fields.items()
            names = [str(field.validation_alias or name) for name, field in fields]
            check_keys(data, names if from_file(info) else [*cls.model_fields, *names])
        return data


@dataclass(frozen=True)
class Quantity:
    """Annotation of a float field that is a physical quantity in the internal ``unit``.

    Bounds are in that unit. ``on_grid`` asks for a multiple of the sample length DT.
    """

    unit: str
    above: float | None = None
    at_least: float | None = None
    at_most: float = LARGEST
    on_grid: bool = False

    def read(self, value: object, unit_required: bool) -> float:
        """The value in the internal unit; raises a validator's error."""
        number, _ = read_quantity(value, (self.unit,), unit_required)
        self.check(number)
        if self.on_grid:
            samples = number / DT
            if abs(samples - round(samples)) > 1e-6 * max(1.0, abs(samples)):
                raise fault("is not a multiple of the 0.1 ms sample", "round it to 0.1 ms")
            return round(samples) / round(1 / DT)
        return number

    def check(self, number: float, path: Sequence[str | int] = ()) -> None:
        """Raise a validator's error unless ``number`` lies within the bounds."""
        shown, unit = f"write {how_to_write(self.unit)}", self.unit
        if self.above is not None and not number > self.above:
            raise fault(f"must be above {self.above:g} {unit}", shown, path)
        if self.at_least is not None and not number >= self.at_least:
            raise fault(f"must be at least {self.at_least:g} {unit}", shown, path)
        if abs(number) > self.at_most:
            raise fault(f"is beyond {self.at_most:g} {unit}", shown, path)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(value: object, info: ValidationInfo) -> float:
            return self.read(value, from_file(info))

        def serialize(value: float) -> str:
            return format_quantity(value, self.unit)

        return core_schema.with_info_plain_validator_function(
            validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                serialize, when_used="json-unless-none"
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return quantity_schema(self.unit)


def read_quantity(
    value: object, units: tuple[str, ...], unit_required: bool, path: Sequence[str | int] = ()
) -> tuple[float, str]:
    """A finite value and the one of ``units`` it came in; a plain float (from Python) is in the first."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise fault(f"is {_kind(value)}, not a quantity", f"write {how_to_write(*units)}", path)
    if isinstance(value, str):
        try:
            return parse_quantity(value, *units)
        except QuantityError as error:
            raise fault(error.problem, error.remedy, path) from None
    if unit_required:
        raise fault("has no unit", f"write {how_to_write(*units)}", path)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise fault("is not a finite number", f"write {how_to_write(*units)}", path)
    return number, units[0]


def quantity_schema(*units: str) -> JsonSchemaValue:
    """JSON schema of a quantity as it is written in a file."""
    return {
        "type": "string",
        "pattern": rf"^\s*{NUMBER}\s*[A-Za-z1/µμΩ]+\s*$",
        "description": how_to_write(*units),
        "examples": [INTERNAL[unit].example for unit in units],
    }


class WrittenDefaults(GenerateJsonSchema):
    """JSON schemas whose default quantities stand as in a file, with units, and not as numbers."""

    def get_default_value(self, schema: core_schema.WithDefaultSchema) -> Any:
        """The default of a field, as it is written."""
        return _as_written(super().get_default_value(schema), schema["schema"])


def _as_written(value: Any, schema: Mapping[str, Any]) -> Any:
    while "serialization" not in schema and "schema" in schema:
        schema = schema["schema"]  # behind a field's other validators
    if isinstance(value, tuple):
        return tuple(map(_as_written, value, schema["items_schema"]))
    write = schema.get("serialization", {}).get("function")
    return write(value) if write and isinstance(value, float) else value


def validate_document(model: type[AnyModel], document: Document) -> AnyModel:
    """The model filled from a file. Raises ConfigError for the first fault in the file, at its line."""
    context = {"from_file": True, "folder": document.file and document.file.parent}
    try:
        return model.model_validate(document.data, context=context, by_alias=True, by_name=False)
    except ValidationError as error:
        raise config_error_of(error, document) from None


def config_error_of(error: ValidationError, document: Document) -> ConfigError:
    """The first of pydantic's errors, by line, as a ConfigError at its place in the document."""
    faults = [(_full_path(detail), detail) for detail in error.errors(include_url=False)]
    path, detail = min(faults, key=lambda item: document.locate(item[0]).line or 0)
    problem, remedy = _explain(detail)
    return document.error(path, problem, remedy)


def _full_path(detail: ErrorDetails) -> tuple[str | int, ...]:
    inner = detail.get("ctx", {}).get("path", ())
    return (*(key for key in detail["loc"] if key != "[key]"), *inner)


def _kind(value: object) -> str:
    if value is None:
        return "empty"
    names = {"dict": "a mapping", "list": "a list", "bool": "true or false", "str": "text", "int": "a number"}
    return names.get(type(value).__name__, f"a {type(value).__name__}")


_WANTED = {
    "int_type": "a whole number is wanted",
    "float_type": "a number is wanted",
    "finite_number": "a finite number is wanted",
    "string_type": "text is wanted",
    "bool_type": "true or false is wanted",
    "dict_type": "keys with values are wanted",
    "model_type": "keys with values are wanted",
    "model_attributes_type": "keys with values are wanted",
    "tuple_type": "a list is wanted",
}


def _explain(detail: ErrorDetails) -> tuple[str, str]:
    """Problem and remedy of one of pydantic's errors, in the words of a network file."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "noble_net":
        return context["problem"], context["remedy"]
    if kind == "missing":
        return "this key is missing", f"add `{detail['loc'][-1]}: …`"
    if kind == "extra_forbidden":
        return "unknown key", "remove it, or correct its spelling"
    if kind in _WANTED:
        return f"is {_kind(detail['input'])}", _WANTED[kind]
    return detail["msg"].replace("Input should", "should"), "change the value"
