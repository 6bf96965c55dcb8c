"""Gap junctions of a network file."""

from __future__ import annotations

from typing import Annotated

from noble_net.specs.basics import FROM, TO, Name
from noble_net.specs.distribution import Distributed, Distribution
from noble_net.specs.rules import RuleSpec
from noble_net.specs.specification import Spec


class GapJunctionSpec(Spec):
    """Electrical coupling of pairs of cells: the same conductance both ways, no delay, at the soma."""

    name: Name
    """Keys the random numbers: renaming redraws them."""
    source: Annotated[Name, FROM]
    """One population of the pairs."""
    target: Annotated[Name, TO]
    """The other, or the same."""
    rule: RuleSpec
    """Which pairs. Within one population, of the pairs drawn those from a lower cell to a higher count: each pair once
    with probability p, or as many junctions on a cell, in the mean, as its in-degree. A file may list a pair either way
    or both."""
    conductance: Annotated[Distribution, Distributed(("nS",), at_least=0.0)]
    """Of one junction."""

    @property
    def needs_positions(self) -> bool:
        """Whether distance counts."""
        return self.rule.distance is not None
