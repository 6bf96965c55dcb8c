"""Positions of a population's cells in a network file: a box, a cylinder, a lattice, or points from a file."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from noble_net.specs.basics import Count, Length
from noble_net.specs.files import InputFile
from noble_net.specs.specification import Quantity, Spec, fault


def _pair(value: Any) -> Any:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise fault("is not a pair of lengths", "write it like `[0 um, 400 um]`")
    return value


def _ascending(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise fault("the first is above the second", "swap them")
    return value


Interval = Annotated[tuple[Length, Length], AfterValidator(_ascending), BeforeValidator(_pair)]
Places = Annotated[Count, Field(ge=1)]


class BoxSpec(Spec):
    """Cells uniform in a box."""

    x: Interval
    """From and to."""
    y: Interval
    """From and to."""
    z: Interval = (0.0, 0.0)
    """From and to; depth."""


class CylinderSpec(Spec):
    """Cells uniform in an upright cylinder, such as one layer of a column."""

    radius: Annotated[float, Quantity("µm", above=0.0)]
    """Around its axis."""
    depth: Interval
    """From and to along z."""
    centre: Annotated[tuple[Length, Length], BeforeValidator(_pair)] = (0.0, 0.0)
    """x and y of the axis."""


class LatticeSpec(Spec):
    """Cells on a regular lattice, the last axis running fastest; as many places as cells."""

    spacing: Annotated[float, Quantity("µm", above=0.0)]
    """From one place to the next, along every axis."""
    shape: tuple[Places, Places, Places]
    """Places along x, y and z."""
    origin: tuple[Length, Length, Length] = (0.0, 0.0, 0.0)
    """Position of the first cell."""


class PositionSpec(Spec):
    """Where the cells of a population are: exactly one of `box`, `cylinder`, `lattice` and `points`."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    box: BoxSpec | None = None
    cylinder: CylinderSpec | None = None
    lattice: LatticeSpec | None = None
    points: InputFile | None = None
    """A .csv with columns x, y and z in µm and a row for each cell."""

    @model_validator(mode="after")
    def _exactly_one(self) -> PositionSpec:
        given = [name for name in PositionSpec.model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            problem = "has no kind" if not given else f"has {len(given)} kinds: {', '.join(given)}"
            raise fault(problem, f"give exactly one of {', '.join(PositionSpec.model_fields)}")
        return self

    def check(self, size: int) -> None:
        """Raise a validator's error where ``size`` cells have no such positions."""
        if self.lattice is not None and math.prod(self.lattice.shape) != size:
            places = math.prod(self.lattice.shape)
            raise fault(f"has {places} places for {size} cells", "make them equal", ("lattice", "shape"))
