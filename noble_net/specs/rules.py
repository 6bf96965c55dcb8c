"""Connection rules of a network file: which cells of two populations are joined, and by how many synapses.

In a file, a rule is one key with its parameters, ``{pairwise_bernoulli: {p: 0.2}}``, or a bare word where it
needs none, ``all_to_all``. What each rule draws is said in `noble_net.network.rules`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ConfigDict, GetJsonSchemaHandler, ValidationInfo, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from noble_net.specs.given_rules import GraphSpec, SonataSpec, TableSpec
from noble_net.specs.rule_parameters import (
    AllToAllSpec,
    DistanceSpec,
    FixedIndegreeSpec,
    FixedOutdegreeSpec,
    FixedTotalNumberSpec,
    OneToOneSpec,
    PairwiseBernoulliSpec,
    PairwisePoissonSpec,
    Rule,
    SmallWorldSpec,
)
from noble_net.specs.specification import Spec, fault, from_file


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
    def parameters(self) -> Rule:
        """The rule's parameters."""
        found: Rule = getattr(self, self.kind)
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
