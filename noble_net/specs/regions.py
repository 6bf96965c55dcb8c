"""Regions of space in a network file: a box or layer, a sphere, an upright cylinder. Their borders belong to them."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, model_validator

from noble_net.specs.basics import Length
from noble_net.specs.positions import CylinderSpec, Interval
from noble_net.specs.specification import Quantity, Spec, fault


class SlabSpec(Spec):
    """A box; without bounds along the axes left out, so that `{z: [100 um, 300 um]}` is a layer."""

    x: Interval | None = None
    """From and to."""
    y: Interval | None = None
    """From and to."""
    z: Interval | None = None
    """From and to; depth."""

    @model_validator(mode="after")
    def _some_axis(self) -> SlabSpec:
        if self.x is self.y is self.z is None:
            raise fault("has no bounds", "give some, such as `z: [100 um, 300 um]`")
        return self


class SphereSpec(Spec):
    """Everything within a distance of a point."""

    centre: tuple[Length, Length, Length]
    """x, y and z of the point."""
    radius: Annotated[float, Quantity("µm", above=0.0)]
    """The largest distance."""


class RegionSpec(Spec):
    """A part of space: exactly one of `box`, `sphere` and `cylinder`."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    box: SlabSpec | None = None
    sphere: SphereSpec | None = None
    cylinder: CylinderSpec | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> RegionSpec:
        given = [name for name in RegionSpec.model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            problem = "has no kind" if not given else f"has {len(given)} kinds: {', '.join(given)}"
            raise fault(problem, f"give exactly one of {', '.join(RegionSpec.model_fields)}")
        return self
