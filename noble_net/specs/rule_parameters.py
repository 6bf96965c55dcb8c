"""Parameters of the connection rules that a network file describes whole: random, plain, by distance.

What each rule draws is said in `noble_net.network.rules`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from noble_net.specs.basics import Count, Flag, Fraction
from noble_net.specs.specification import Quantity, Spec, fault

Profile = Literal["gaussian", "exponential", "cutoff"]
SCALES: dict[Profile, str] = {"gaussian": "sigma", "exponential": "length", "cutoff": "radius"}
"""For each profile of a connection probability the key that holds its length."""
PositiveLength = Annotated[float, Quantity("µm", above=0.0)]


class Ends:
    """Sizes of the two populations a rule joins, and whether they are one population (``within``)."""

    def __init__(self, sources: int, targets: int, within: bool) -> None:
        self.sources, self.targets, self.within = sources, targets, within

    def candidates(self, autapses: bool) -> int:
        """Cells that may project to a given cell."""
        return self.sources - (1 if self.within and not autapses else 0)

    def receivers(self, autapses: bool) -> int:
        """Cells that a given cell may project to."""
        return self.targets - (1 if self.within and not autapses else 0)


class Rule(Spec):
    """A rule's parameters."""

    def check(self, ends: Ends) -> None:
        """Raise a validator's error where populations of such sizes cannot be joined so."""


class PairwiseBernoulliSpec(Rule):
    """Every pair is joined independently with the same probability: in-degrees are binomial."""

    p: Fraction
    """Probability of each pair."""
    autapses: Flag = False
    """Whether a cell may connect to itself."""


class PairwisePoissonSpec(Rule):
    """Every pair has a Poisson number of synapses."""

    mean: Annotated[float, Field(strict=True, ge=0.0, le=1e6)]
    """Synapses of each pair, on average."""
    autapses: Flag = False
    """Whether a cell may connect to itself."""


class FixedIndegreeSpec(Rule):
    """Every target cell has so many synapses, from random sources."""

    indegree: Annotated[Count, Field(ge=0)]
    """Synapses onto each target cell."""
    autapses: Flag = False
    """Whether a cell may connect to itself."""
    multapses: Flag = False
    """Whether a pair may have several synapses."""

    def check(self, ends: Ends) -> None:
        """At most as many different sources as there are."""
        _check_degree(
            self.indegree, ends.candidates(self.autapses), self.multapses, "afferents", ("indegree",)
        )


class FixedOutdegreeSpec(Rule):
    """Every source cell has so many synapses, onto random targets."""

    outdegree: Annotated[Count, Field(ge=0)]
    """Synapses of each source cell."""
    autapses: Flag = False
    """Whether a cell may connect to itself."""
    multapses: Flag = False
    """Whether a pair may have several synapses."""

    def check(self, ends: Ends) -> None:
        """At most as many different targets as there are."""
        _check_degree(
            self.outdegree, ends.receivers(self.autapses), self.multapses, "efferents", ("outdegree",)
        )


class FixedTotalNumberSpec(Rule):
    """So many synapses in all, between random pairs."""

    number: Annotated[Count, Field(ge=0, le=2**40)]
    """Synapses of the whole projection."""
    autapses: Flag = False
    """Whether a cell may connect to itself."""
    multapses: Flag = False
    """Whether a pair may have several synapses."""

    def check(self, ends: Ends) -> None:
        """At most as many synapses as pairs, unless pairs may have several."""
        pairs = ends.candidates(self.autapses) * ends.targets
        if self.number and (pairs < 1 or (self.number > pairs and not self.multapses)):
            remedy = "lower it" if pairs < 1 else "lower it, or add `multapses: true`"
            raise fault(f"there are {pairs} pairs to join", remedy, ("number",))


class AllToAllSpec(Rule):
    """Every pair is joined."""

    autapses: Flag = False
    """Whether a cell connects to itself."""


class OneToOneSpec(Rule):
    """Source i is joined to target i."""

    autapses: Flag = False
    """To be set where a population is joined to itself."""

    def check(self, ends: Ends) -> None:
        """Equal sizes, and no accidental autapses."""
        if ends.sources != ends.targets:
            raise fault(
                f"joins populations of {ends.sources} and of {ends.targets} cells", "make the sizes equal"
            )
        if ends.within and not self.autapses:
            remedy = "write `one_to_one: {autapses: true}` if meant"
            raise fault("connects every cell of a population to itself", remedy)


class DistanceSpec(Rule):
    """Every pair is joined independently with a probability that falls with its distance.

    `gaussian`: p0·exp(−d²/2σ²); `exponential`: p0·exp(−d/length); `cutoff`: p0 up to the radius. Both
    populations need a `position`, or `nodes` that have them.
    """

    p0: Fraction
    """Probability at distance 0."""
    profile: Profile = "gaussian"
    """How the probability falls with distance."""
    sigma: PositiveLength | None = None
    """Standard deviation of the `gaussian` profile."""
    length: PositiveLength | None = None
    """Length constant of the `exponential` profile."""
    radius: PositiveLength | None = None
    """Reach of the `cutoff` profile."""
    cutoff: PositiveLength | None = None
    """No synapses beyond this distance."""
    axes: Annotated[str, Field(strict=True, pattern=r"^(x?y?z?)$", min_length=1)] = "xyz"
    """Axes along which distance is measured."""
    autapses: Flag = False
    """Whether a cell may connect to itself."""

    @property
    def scale(self) -> float:
        """The profile's length, µm."""
        return float(getattr(self, SCALES[self.profile]))

    @model_validator(mode="after")
    def _the_profile_s_length(self) -> DistanceSpec:
        for profile, key in SCALES.items():
            if profile == self.profile and getattr(self, key) is None:
                raise fault(f"`{profile}` needs `{key}`", f"add `{key}: 150 um`", ("profile",))
            if profile != self.profile and getattr(self, key) is not None:
                raise fault(f"`{self.profile}` takes no `{key}`", f"give `{SCALES[self.profile]}`", (key,))
        return self


class SmallWorldSpec(Rule):
    """A ring in which every cell hears from its nearest neighbours, some replaced by random cells.

    The directed small world of Watts and Strogatz (1998): in-degrees are all equal.
    """

    neighbours: Annotated[Count, Field(ge=0, multiple_of=2)]
    """Synapses onto each cell, half of them from either side."""
    rewire: Fraction
    """Probability that a neighbour is replaced by a random cell."""

    def check(self, ends: Ends) -> None:
        """One population, large enough for the ring."""
        check_within(ends, "small_world")
        if self.neighbours >= max(ends.sources, 1):
            problem = f"each of {ends.sources} cells has {ends.sources - 1} others"
            raise fault(problem, "lower it", ("neighbours",))


def _check_degree(
    degree: int, candidates: int, multapses: bool, what: str, path: tuple[str | int, ...]
) -> None:
    if degree and (candidates < 1 or (degree > candidates and not multapses)):
        remedy = "lower it" if candidates < 1 else "lower it, or add `multapses: true`"
        raise fault(f"each cell can have at most {candidates} different {what}", remedy, path)


def check_within(ends: Ends, rule: str) -> None:
    """Raise a validator's error for a rule within one population that joins two."""
    if not ends.within:
        raise fault(f"`{rule}` joins a population to itself", "make `from` and `to` the same")
