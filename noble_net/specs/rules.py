"""Connection rules of a network file: which cells of two populations are joined, and by how many synapses.

In a file, a rule is one key with its parameters, ``{pairwise_bernoulli: {p: 0.2}}``, or a bare word where it
needs none, ``all_to_all``. What each rule draws is said in `noble_net.network.rules`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, ValidationInfo, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from noble_net.specs.basics import Count, FilePath, Flag, Fraction, Name
from noble_net.specs.graphs import check_arguments, check_generator
from noble_net.specs.specification import Quantity, Spec, fault, from_file

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


class _Rule(Spec):
    """A rule's parameters."""

    def check(self, ends: Ends) -> None:
        """Raise a validator's error where populations of such sizes cannot be joined so."""


class PairwiseBernoulliSpec(_Rule):
    """Every pair is joined independently with the same probability: in-degrees are binomial."""

    p: Fraction
    """Probability of each pair."""
    autapses: Flag = False
    """Whether a cell may connect to itself."""


class PairwisePoissonSpec(_Rule):
    """Every pair has a Poisson number of synapses."""

    mean: Annotated[float, Field(strict=True, ge=0.0, le=1e6)]
    """Synapses of each pair, on average."""
    autapses: Flag = False
    """Whether a cell may connect to itself."""


class FixedIndegreeSpec(_Rule):
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


class FixedOutdegreeSpec(_Rule):
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


class FixedTotalNumberSpec(_Rule):
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


class AllToAllSpec(_Rule):
    """Every pair is joined."""

    autapses: Flag = False
    """Whether a cell connects to itself."""


class OneToOneSpec(_Rule):
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


class DistanceSpec(_Rule):
    """Every pair is joined independently with a probability that falls with its distance.

    `gaussian`: p0·exp(−d²/2σ²); `exponential`: p0·exp(−d/length); `cutoff`: p0 up to the radius. Both
    populations need a `position`.
    """

    p0: Fraction
    """Probability at distance 0."""
    profile: Profile = "gaussian"
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


class SmallWorldSpec(_Rule):
    """A ring in which every cell hears from its nearest neighbours, some replaced by random cells.

    The directed small world of Watts and Strogatz (1998): in-degrees are all equal.
    """

    neighbours: Annotated[Count, Field(ge=0, multiple_of=2)]
    """Synapses onto each cell, half of them from either side."""
    rewire: Fraction
    """Probability that a neighbour is replaced by a random cell."""

    def check(self, ends: Ends) -> None:
        """One population, large enough for the ring."""
        _check_within(ends, "small_world")
        if self.neighbours >= max(ends.sources, 1):
            problem = f"each of {ends.sources} cells has {ends.sources - 1} others"
            raise fault(problem, "lower it", ("neighbours",))


class GraphSpec(_Rule):
    """A graph from a networkx generator or a file; an undirected edge is a synapse either way.

    `file` is GraphML, GML or a list of edges (`.graphml`, `.gml`, `.edgelist`, `.txt`), its nodes numbered
    like the cells from 0 on.
    """

    generator: Annotated[str, Field(strict=True, max_length=100)] | None = None
    """Name of a function of networkx.generators."""
    arguments: dict[Name, Any] = Field(default={})
    """Of the generator; `n` is the number of cells unless given, the seed is the projection's."""
    file: FilePath | None = None
    autapses: Flag = False
    """Whether self-loops of a generated graph are kept."""
    multapses: Flag = False
    """Whether parallel edges of a generated graph are kept."""

    @field_validator("generator", mode="after")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None:
            check_generator(name)
        return name

    @model_validator(mode="after")
    def _one_origin(self) -> GraphSpec:
        if (self.generator is None) == (self.file is None):
            raise fault("comes either from a generator or from a file", "give one of `generator`, `file`")
        if self.generator is not None:
            check_arguments(self.generator, self.arguments)
            return self
        for key in ("arguments", "autapses", "multapses"):
            if getattr(self, key):
                raise fault("is for generators; a file is taken as it is", "remove it", (key,))
        return self

    def check(self, ends: Ends) -> None:
        """A generated graph joins a population to itself."""
        if self.generator is not None:
            _check_within(ends, "graph")


class TableSpec(_Rule):
    """Synapses listed in a file: columns `source`, `target` and, if wanted, `weight`, `delay`, `synapses`.

    A `.csv` with a header, or a `.h5` with a dataset for each column. Cells are numbered from 0 within their
    population; weights are in nS (pA for a current synapse), delays in ms; `synapses` repeats a row.
    """

    file: FilePath


class SonataSpec(_Rule):
    """Synapses of an edge population of a SONATA file.

    Weights are read from `conductance` (nS) or `syn_weight` (µS, or nA for a current synapse), delays from
    `delay` (ms).
    """

    file: FilePath
    population: Annotated[str, Field(strict=True, min_length=1, max_length=256)]
    """The edge population's name."""


class RuleSpec(Spec):
    """Which cells a projection connects: exactly one rule, such as `{pairwise_bernoulli: {p: 0.2}}`."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    pairwise_bernoulli: PairwiseBernoulliSpec | None = None
    pairwise_poisson: PairwisePoissonSpec | None = None
    fixed_indegree: FixedIndegreeSpec | None = None
    fixed_outdegree: FixedOutdegreeSpec | None = None
    fixed_total_number: FixedTotalNumberSpec | None = None
    all_to_all: AllToAllSpec | None = None
    one_to_one: OneToOneSpec | None = None
    distance: DistanceSpec | None = None
    small_world: SmallWorldSpec | None = None
    graph: GraphSpec | None = None
    table: TableSpec | None = None
    sonata: SonataSpec | None = None

    @property
    def kind(self) -> str:
        """Name of the rule."""
        return next(self._given())

    @property
    def parameters(self) -> _Rule:
        """The rule's parameters."""
        found: _Rule = getattr(self, self.kind)
        return found

    @property
    def lists_synapses(self) -> bool:
        """Whether the rule may bring weights and delays of its own."""
        return self.kind in ("table", "sonata")

    def _given(self) -> Iterator[str]:
        return (name for name in RuleSpec.model_fields if getattr(self, name) is not None)

    @model_validator(mode="before")
    @classmethod
    def _bare_words(cls, data: Any, info: ValidationInfo) -> Any:
        if isinstance(data, str):
            data = {data: {}}
        if isinstance(data, Mapping) and from_file(info):
            return {key: {} if value is None else value for key, value in data.items()}
        return data

    @model_validator(mode="after")
    def _exactly_one(self) -> RuleSpec:
        given = list(self._given())
        if len(given) != 1:
            problem = "has no rule" if not given else f"has {len(given)} rules: {', '.join(given)}"
            raise fault(problem, f"give exactly one of {', '.join(RuleSpec.model_fields)}")
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"enum": ["all_to_all", "one_to_one"]}]}


def _check_degree(
    degree: int, candidates: int, multapses: bool, what: str, path: tuple[str | int, ...]
) -> None:
    if degree and (candidates < 1 or (degree > candidates and not multapses)):
        remedy = "lower it" if candidates < 1 else "lower it, or add `multapses: true`"
        raise fault(f"each cell can have at most {candidates} different {what}", remedy, path)


def _check_within(ends: Ends, rule: str) -> None:
    if not ends.within:
        raise fault(f"`{rule}` joins a population to itself", "make `from` and `to` the same")
