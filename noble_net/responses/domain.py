"""What a core was trained on, of square steps: members and amplitudes; and saying so where a request goes beyond.

NOBLE has it in its core.json (``trained_on``), and its space is that of the features it embeds. Of a network's core it
is the envelope of the injected current; which of its cells are new is said where they are drawn
(`noble_net.responses.requests.choose_cells`), as in a network file.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from noble_net.cells.latent_space import Outside
from noble_net.cells.plane import feature_space
from noble_net.errors import (
    CheckpointError,
    EnvelopeWarning,
    NobleNetError,
    NobleNetWarning,
    shortened,
)
from noble_net.output import read_json
from noble_net.surrogate.step_core import StepCore
from noble_net.surrogate.step_streaming import ZONE, SteppedCore
from noble_net.types import CellTable, Float64

if TYPE_CHECKING:
    from noble_net.cells.family import Family

_SLACK = 1e-9
"""nA: what rounding may put a step beyond the range that it ends."""
_STEPS = 11
"""Steps asked for where hardly one of the usual ones lies in the range."""


@dataclass(frozen=True)
class Domain:
    """What the core ``name`` was trained on.

    ``features``: what it knows a cell by, empty where that is its parameters; ``members``: ids of the family's members
    it was trained on, empty where it does not say; ``amplitude``: lowest and highest current, nA, or None.
    """

    name: str
    features: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    amplitude: tuple[float, float] | None = None

    @staticmethod
    def of(core: StepCore, folder: Path | None = None, family: Family | None = None) -> Domain:
        """The domain of a core; ``folder``: that of its checkpoint, where it has one; ``family``: the core's.

        Raises CheckpointError when core.json tells what makes no sense.
        """
        if isinstance(core, SteppedCore):
            envelope = getattr(core.core, "envelope", None)
            return Domain(core.name, amplitude=envelope.zones[ZONE].current if envelope else None)
        features = tuple(getattr(core, "features", ()))
        about = read_json(folder / "core.json", "the description of a core") if folder else {}
        if (told := about.get("trained_on")) is None:
            return Domain(core.name, features)
        try:
            members, amplitude = _members(told["members"], family), _range(told["amplitude"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"core.json of {core.name} is damaged: trained_on: {error}") from error
        return Domain(core.name, features, members, amplitude)

    @property
    def is_told(self) -> bool:
        """Whether it is known: not of a NOBLE core made before core.json had it."""
        return bool(self.members) or not self.features

    def within(self, amplitudes: Float64) -> Float64:
        """Those of some steps (nA) that the core was trained on; steps over its range where that is hardly one."""
        if self.amplitude is None:
            return amplitudes
        kept = amplitudes[~self._beyond(amplitudes)]
        return kept if len(kept) > 1 else np.linspace(*self.amplitude, _STEPS)

    def check(
        self, family: Family | None, cells: CellTable, amplitudes: Float64, outside: Outside = "warn"
    ) -> tuple[str, ...]:
        """Say so of cells outside the hull of the members trained on (LatentSpaceWarning), and of steps beyond those
        trained on (EnvelopeWarning); returns what was said.

        ``outside``: 'allow' says nothing; 'fail' raises FamilyError or NobleNetError instead.
        """
        if outside == "allow":
            return ()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", NobleNetWarning)
            if not self.is_told:
                self._unknown(outside)
            elif family is not None and self.features:
                self._check_cells(family, cells, outside)
            self._check_steps(amplitudes, outside)
        for warning in told:
            warnings.warn(str(warning.message), warning.category, stacklevel=2)
        return tuple(str(warning.message) for warning in told)

    def _check_cells(self, family: Family, cells: CellTable, outside: Outside) -> None:
        values = np.column_stack([np.asarray(cells.features[name], np.float64) for name in self.features])
        finite = np.isfinite(values).all(axis=1)  # the core itself refuses the others by name
        space = feature_space(family, self.features, self.members)
        space.check(values[finite], outside, f"the request to core {self.name}")

    def _check_steps(self, amplitudes: Float64, outside: Outside) -> None:
        if self.amplitude is None or not (beyond := self._beyond(amplitudes)).any():
            return
        low, high = self.amplitude
        problem = (
            f"{beyond.sum()} of {len(amplitudes)} steps, from {amplitudes.min():g} to {amplitudes.max():g} nA, lie "
            f"outside what core {self.name} was trained on, {low:g} to {high:g} nA"
        )
        if outside == "fail":
            raise NobleNetError(f"{problem}. Ask for steps within, or allow steps outside")
        warnings.warn(f"{problem}: there its answers are extrapolated", EnvelopeWarning, stacklevel=2)

    def _unknown(self, outside: Outside) -> None:
        problem = f"core {self.name} does not say which members and steps it was trained on"
        if outside == "fail":
            raise CheckpointError(f"{problem}: let `noble-net train` write it again, or allow cells outside")
        warnings.warn(
            f"{problem}, so its answers may be extrapolated. Let `noble-net train` write it again",
            EnvelopeWarning,
            stacklevel=2,
        )

    def _beyond(self, amplitudes: Float64) -> NDArray[np.bool_]:
        low, high = self.amplitude or (-np.inf, np.inf)
        return np.asarray((amplitudes < low - _SLACK) | (amplitudes > high + _SLACK))


def _members(told: Any, family: Family | None) -> tuple[str, ...]:
    if not isinstance(told, list) or not told or not all(isinstance(each, str) for each in told):
        raise ValueError("members is no list of ids")
    odd = set(told) - set(told if family is None else family.ids())
    if odd:
        raise ValueError(f"the family has no member {shortened(min(odd))}")
    return tuple(told)


def _range(told: Any) -> tuple[float, float]:
    low, high = (float(each) for each in told)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"amplitude is {low} to {high}, no range")
    return low, high
