"""Words that all specs share: names, counts, times, voltages, weights, references to shipped things and files."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
)

from noble_net.specs.distribution import Distributed, Distribution
from noble_net.specs.files import whole_path
from noble_net.specs.specification import (
    Quantity,
    fault,
)

INTEGRATE_AND_FIRE = "integrate-and-fire"
ON_GRID = "integrate-and-fire-grid"
CLOSED_FORM = (INTEGRATE_AND_FIRE, ON_GRID)
"""Cores without weights or a family: their cells have parameters in the network file."""
ZONES = ("soma", "proximal", "distal")
"""Input zones of a cell: soma with axon, dendrite near the soma, dendrite beyond."""
MAX_DELAY = 6553.5
"""Longest delay, ms: 65535 samples."""

_LONGEST_REFERENCE = 200
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
FROM = Field(validation_alias="from", serialization_alias="from")
TO = Field(validation_alias="to", serialization_alias="to")
Weight = Annotated[Distribution, Distributed(("nS", "pA"))]
Length = Annotated[float, Quantity("µm", at_most=1e7)]


def _reference(value: str, info: ValidationInfo) -> str:
    """A shipped name, or a path: relative to the file that names it."""
    if not value.strip():
        raise fault("is empty", "give a name or a path")
    folder = (info.context or {}).get("folder")
    if ("/" in value or "\\" in value or value.endswith(".csv")) and folder is not None:
        return whole_path(value, info)
    if len(value) > _LONGEST_REFERENCE and "/" not in value:
        raise fault("is longer than any name", "give a name or a path")
    return value


Reference = Annotated[str, Field(strict=True, max_length=4096), AfterValidator(_reference)]
