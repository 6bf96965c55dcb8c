"""Synapse types of a network file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    model_validator,
)

from noble_net.specs.basics import (
    TimeConstant,
    Voltage,
)
from noble_net.specs.plasticity import PlasticitySpec
from noble_net.specs.specification import (
    Quantity,
    Spec,
    fault,
)


class SynapseSpec(Spec):
    """A type of synapse: its time course, and whether a spike opens a conductance or passes a current."""

    model: Literal["exp", "exp2", "alpha", "nmda"]
    """`exp`: instant rise, exponential decay; `exp2`: difference of two; `alpha`: t·e^(−t/decay). Their peak is the
    weight. `nmda`: `exp2`, times the share of it that magnesium does not block at the cell's voltage V,
    1/(1 + magnesium/3.57 mM·e^(−0.062·(V + shift)/mV)) (Jahr & Stevens 1990)."""
    kind: Literal["conductance", "current"] = "current"
    """`conductance` (weights in nS) when `reversal` is given, else `current` (weights in pA or nA)."""
    rise: TimeConstant | None = None
    """Rise time constant, `exp2` and `nmda` only."""
    decay: TimeConstant
    """Decay time constant; of `alpha` the only one, at which it peaks."""
    reversal: Voltage | None = None
    """Reversal potential of a conductance."""
    magnesium: Annotated[float, Quantity("mM", at_least=0.0, at_most=1000.0)] | None = None
    """Concentration outside the cell, `nmda` only (default: 1 mM)."""
    shift: Voltage | None = None
    """Added to V in the magnesium block, `nmda` only (default: 0 mV). 14 mV lets it act on cells of the Allen families,
    whose voltages lie 14 mV below those recorded, as it would on the recorded ones."""
    zone: Annotated[str, Field(strict=True, min_length=1, max_length=64)] = "soma"
    """Input zone of the target's core."""
    plasticity: PlasticitySpec | None = None
    """How weights change with use; none: they do not."""

    @property
    def weight_unit(self) -> str:
        """Internal unit of weights through this synapse: nS or pA."""
        return "nS" if self.kind == "conductance" else "pA"

    @model_validator(mode="before")
    @classmethod
    def _kind_from_reversal(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "kind" not in data and data.get("reversal") is not None:
            data = {**data, "kind": "conductance"}
        if isinstance(data, Mapping) and data.get("model") == "nmda":
            given = {key: value for key, value in data.items() if value is not None}
            data = {"magnesium": "1 mM", "shift": "0 mV", **given}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> SynapseSpec:
        if self.kind == "conductance" and self.reversal is None:
            raise fault("a conductance needs `reversal`", "add it, such as `reversal: -80 mV`", ("kind",))
        if self.kind == "current" and self.reversal is not None:
            raise fault("a current synapse has no reversal", "remove it, or `kind: current`", ("reversal",))
        if self.model in ("exp", "alpha") and self.rise is not None:
            raise fault(f"`{self.model}` has no rise time", "remove it, or write `model: exp2`", ("rise",))
        if self.model in ("exp2", "nmda") and self.rise is None:
            raise fault(f"`{self.model}` needs `rise`", "add it, such as `rise: 0.3 ms`", ("model",))
        if self.model == "nmda" and self.kind == "current":
            raise fault("`nmda` is a conductance", "add its reversal, such as `reversal: 0 mV`", ("model",))
        for key in ("magnesium", "shift"):
            if self.model != "nmda" and getattr(self, key) is not None:
                raise fault("belongs to `model: nmda`", "remove it", (key,))
        if self.rise is not None and self.rise >= self.decay:
            raise fault("must be shorter than `decay`", f"give less than {self.decay:g} ms", ("rise",))
        stdp = self.plasticity and self.plasticity.stdp
        if stdp and stdp.w_max.unit not in ("", self.weight_unit):
            problem = f"is not a weight of a {self.kind} synapse"
            raise fault(problem, f"give it in {self.weight_unit}", ("plasticity", "stdp", "w_max"))
        return self
