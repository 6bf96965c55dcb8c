"""Stimuli of a network file that act through synapses: spikes drawn, or read from a file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import model_validator

from noble_net.specs.basics import Duration, Fraction, Instant, Name, Weight
from noble_net.specs.distribution import Distributed, Distribution
from noble_net.specs.files import InputFile
from noble_net.specs.given_rules import SonataSpec
from noble_net.specs.specification import Quantity, Spec, fault


class PoissonSpec(Spec):
    """Independent Poisson spike trains, one for every cell, through a synapse, at a rate that is constant,
    sinusoidal (`modulation`, `frequency`, `phase`) or read from a file (`rate_table`)."""

    rate: Annotated[Distribution, Distributed(("Hz",), at_least=0.0)] | None = None
    """Rate of one cell's afferents together; a distribution gives every cell its own."""
    modulation: Fraction = 0.0
    """Depth m of a sinusoidal rate, rate·(1 + m·sin(2π·frequency·t + phase)), t from the end of the warm-up."""
    frequency: Annotated[float, Quantity("Hz", at_least=0.001, at_most=5000.0)] | None = None
    """Of the modulation."""
    phase: Annotated[float, Quantity("rad")] = 0.0
    """Of the modulation at the end of the warm-up; in degrees (`90 deg`) or radians."""
    rate_table: InputFile | None = None
    """CSV file with columns `time` (ms from the end of the warm-up, ascending) and `rate` (Hz), instead of `rate`: each
    rate holds until the next time, the last to the end; before the first there are no spikes."""
    synapse: Name
    """A key of `synapses`."""
    weight: Weight
    """Of one spike: peak conductance, or current of a current synapse."""
    delay: Instant | None = None
    """Begins so long after the warm-up; from the start of the warm-up unless given."""
    duration: Duration | None = None
    """To the end unless given."""

    @model_validator(mode="after")
    def _one_rate(self) -> PoissonSpec:
        if (self.rate is None) == (self.rate_table is None):
            problem = "has no rate" if self.rate is None else "has two rates"
            raise fault(problem, "give either `rate` or `rate_table`")
        if self.modulation and self.rate is None:
            raise fault("modulates `rate`, which is not given", "put it into the table", ("modulation",))
        if self.modulation and self.frequency is None:
            raise fault("needs `frequency`", "add it, such as `frequency: 40 Hz`", ("modulation",))
        if self.frequency is not None and not self.modulation:
            raise fault("needs `modulation`", "add it, such as `modulation: 0.5`", ("frequency",))
        return self


class SynapseReplaySpec(Spec):
    """The spikes of a SONATA file, through a synapse: source cell i onto target cell i, or each onto all."""

    file: InputFile
    """SONATA spike file, such as the spikes.h5 of another run; times count from the end of the warm-up. One that is
    not sorted by time is held in memory as a whole."""
    population: Name
    """Whose spikes, in that file."""
    synapse: Name
    """A key of `synapses`."""
    edges: SonataSpec | None = None
    """The edges that lead each spike to its targets, of a SONATA file, instead of `map`: source ids are those of the
    spike file, target ids as in a projection's rule `sonata`. Edges onto cells that the stimulus is not for are left
    out."""
    weight: Weight | None = None
    """A distribution gives every target cell its own. May be left out where `edges` have weights."""
    delay: Instant | None = None
    """From a spike to its arrival; 0 ms, or that of the `edges`, unless given."""
    map: Literal["one_to_one", "all"] = "one_to_one"
    """`one_to_one`: source cell i drives the i-th target cell, and sources beyond them none. `all`: every source
    drives every target cell."""
    probability: Fraction = 1.0
    """Of each pair of source and target being connected at all."""

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are read."""
        return (self.file,) if self.edges is None else (self.file, self.edges.file)

    @model_validator(mode="after")
    def _one_way_to_the_targets(self) -> SynapseReplaySpec:
        if self.edges is None and self.weight is None:
            raise fault("`weight` is missing", "add `weight: 1 nS`")
        for key in ("map", "probability"):
            if self.edges is not None and getattr(self, key) != SynapseReplaySpec.model_fields[key].default:
                raise fault("`edges` say who drives whom", "remove it", (key,))
        return self
