"""What a network file asks to keep of a run: spikes, reports of chosen cells, firing rates."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_serializer, field_validator, model_validator
from pydantic.json_schema import WithJsonSchema

from noble_net.specs.basics import NAME, Count, Duration, Instant, Name
from noble_net.specs.specification import Spec, fault, from_file

Cells = Annotated[Count, Field(ge=1)] | Literal["all"] | tuple[Name, ...]


WhetherToWrite = Literal["auto", True, False]
MOST_EDGES = 10_000_000
"""Edges that are written unasked: half a gigabyte."""


class ReportSpec(Spec):
    """A quantity of some cells as a function of time."""

    cells: Annotated[
        Cells,
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "integer", "minimum": 1},
                    {"type": "string"},
                    {"type": "array", "items": {"type": "string"}, "minItems": 1},
                ]
            }
        ),
    ]
    """The first so many of each population, `all`, or the names of populations and node sets."""
    dt: Duration = 0.1
    """Interval between frames."""
    start: Instant = 0.0
    """Time of the first frame."""
    stop: Duration | None = None
    """Frames before this time; to the end unless given."""

    @field_validator("cells", mode="before")
    @classmethod
    def _number_or_names(cls, value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | str | list | tuple):
            raise fault("is neither a whole number nor `all` nor names", "write `cells: 20` or `cells: all`")
        if isinstance(value, int) and not 1 <= value < 2**31:
            raise fault("should be at least 1", "write `cells: 20`, or leave the report out to record none")
        if isinstance(value, list | tuple) and not value:
            raise fault("names nobody", "write `cells: all`, or names of populations and node sets")
        for index, name in enumerate(value if isinstance(value, list | tuple) else ()):
            if not isinstance(name, str) or not re.fullmatch(NAME, name):
                raise fault("is no name", "write names of populations and node sets", (index,))
        if isinstance(value, str) and not re.fullmatch(NAME, value):
            raise fault("is no name", "write `cells: all`, or the name of a population or node set")
        return (value,) if isinstance(value, str) and value != "all" else value

    @model_validator(mode="after")
    def _ordered(self) -> ReportSpec:
        if self.stop is not None and self.stop <= self.start:
            raise fault("is not after `start`", f"give more than {self.start:g} ms", ("stop",))
        return self


class RatesSpec(Spec):
    """Firing rate of every population and node set."""

    bin: Duration = 1.0
    """Width of a bin."""


class RecordSpec(Spec):
    """What to keep of a run."""

    spikes: Annotated[
        bool, WithJsonSchema({"enum": ["all", "none"]}), Field(json_schema_extra={"default": "all"})
    ] = True
    """`all` or `none`."""
    voltage: ReportSpec | None = None
    """Somatic voltage, mV."""
    current: ReportSpec | None = None
    """Injected current, nA: the sum of all stimuli that are currents."""
    conductance: ReportSpec | None = None
    """Total conductance, nS: of all synapses and all stimuli that are conductances, over all zones."""
    synapses: dict[Name, ReportSpec] = Field(default={})
    """For a key of `synapses` its conductance (nS), or current (pA) of a current synapse: the sum of all such synapses
    of a cell, recorded in populations that have some."""
    rates: RatesSpec | None = None
    """Nothing unless given, as all reports."""
    edges: WhetherToWrite = "auto"
    """Whether edges.h5 and gap_junctions.h5 are written; `auto`: up to 10⁷ synapses and gap junctions."""
    weights: WhetherToWrite = "auto"
    """Whether weights.h5 is written, synapses with `stdp` as they are at the end; `auto`: up to 10⁷ of them."""

    @field_validator("edges", "weights", mode="before")
    @classmethod
    def _written_or_not(cls, value: object) -> object:
        if isinstance(value, bool) or value == "auto":
            return value
        raise fault("is neither `auto` nor true nor false", "write `true`, or leave it out")

    @field_validator("spikes", mode="before")
    @classmethod
    def _all_or_none(cls, value: object, info: ValidationInfo) -> object:
        if value in ("all", "none"):
            return value == "all"
        if isinstance(value, bool) and not from_file(info):
            return value
        raise fault("is neither `all` nor `none`", "write `spikes: all`")

    @field_serializer("spikes", when_used="json")
    def _spikes_letter(self, value: bool) -> str:
        return "all" if value else "none"

    @staticmethod
    def wants(whether: WhetherToWrite, edges: int) -> bool:
        """Whether a file of so many ``edges`` is to be written, by `edges` or `weights`."""
        return edges <= MOST_EDGES if whether == "auto" else whether

    @property
    def reports(self) -> dict[str, ReportSpec]:
        """All reports asked for, by name: `voltage`, `current`, `conductance`, and `synapse-…` for each synapse."""
        plain = {"voltage": self.voltage, "current": self.current, "conductance": self.conductance}
        found = {name: report for name, report in plain.items() if report is not None}
        return found | {f"synapse-{name}": report for name, report in self.synapses.items()}

    def place(self, report: str) -> tuple[str, ...]:
        """Where in `record` a report of `reports` stands."""
        return ("synapses", report.removeprefix("synapse-")) if report.startswith("synapse-") else (report,)
