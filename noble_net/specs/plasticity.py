"""Plasticity of a type of synapse: short-term depression and facilitation, or spike-timing dependence."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from noble_net.specs.basics import Fraction, TimeConstant, Weight
from noble_net.specs.distribution import Distribution
from noble_net.specs.specification import Quantity, Spec, fault


class TsodyksMarkramSpec(Spec):
    """Short-term plasticity (Tsodyks, Pawelzik & Markram 1998): a spike delivers weight·u·x.

    x are the resources at hand and u the share of them a spike uses. The weight is that of all resources at once:
    a first spike after rest delivers U·weight.
    """

    U: Annotated[Fraction, Field(gt=0.0)]
    """Share of the resources that a spike after rest uses."""
    tau_rec: TimeConstant
    """Time constant of recovery from depression."""
    tau_facil: Annotated[float, Quantity("ms", at_least=0.0)] = 0.0
    """Time constant of facilitation; 0 ms: u stays at U."""


class StdpSpec(Spec):
    """Pair-based spike-timing-dependent plasticity, every pair counted (Morrison, Diesmann & Gerstner 2008)."""

    tau_plus: TimeConstant
    """Time constant of potentiation, by spikes of the target after those of the source."""
    tau_minus: TimeConstant
    """Time constant of depression, by spikes of the source after those of the target."""
    a_plus: Fraction
    """Potentiation by a pair without delay: of w_max (additive) or of w_max − w (multiplicative)."""
    a_minus: Fraction
    """Depression by a pair without delay: of w_max (additive) or of w (multiplicative)."""
    w_max: Weight
    """Largest weight; the smallest is 0."""
    rule: Literal["additive", "multiplicative"] = "additive"
    """Whether changes depend on the weight: not, or so that it meets its bounds softly."""

    @field_validator("w_max", mode="after")
    @classmethod
    def _one_bound(cls, value: Distribution) -> Distribution:
        if value.kind != "constant" or not value.a > 0:
            raise fault("must be one weight above 0", "write a quantity such as `2 nS`")
        return value


class PlasticitySpec(Spec):
    """How a synapse changes with use: `{tsodyks_markram: …}` or `{stdp: …}`."""

    tsodyks_markram: TsodyksMarkramSpec | None = None
    stdp: StdpSpec | None = None

    @property
    def kind(self) -> str:
        """The rule's key in the file."""
        return "stdp" if self.tsodyks_markram is None else "tsodyks_markram"

    @model_validator(mode="after")
    def _one_rule(self) -> PlasticitySpec:
        if (self.tsodyks_markram is None) == (self.stdp is None):
            problem = "holds no rule" if self.stdp is None else "holds two rules"
            remedy = "give one, such as `tsodyks_markram: {U: 0.5, tau_rec: 800 ms}`"
            raise fault(problem, remedy)
        return self
