"""What members are evolved to: mean and standard deviation of e-features at current steps, and vectors drawn from them.

Without experimental traces the means are a published fit's own responses and the spread is stated, not measured:
`SPREAD` follows the order of cell-to-cell variation within one type (10 to 25 % of a feature, 2 to 4 mV of a voltage).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import truncnorm

from noble_net.cells.features import NOBLE_FEATURES, response_features
from noble_net.cells.model import CellModel
from noble_net.cells.solver import STEP_TOLERANCE, ExactCell
from noble_net.errors import FamilyError
from noble_net.specs.families import FamilyRecipe, TargetSpec
from noble_net.specs.specification import read_quantity
from noble_net.surrogate.step_core import NOBLE_PROTOCOL
from noble_net.types import DT, Float32, Float64

WORST = 10.0
"""Largest z-score of one feature; that of a feature the cell does not have."""

SAMPLING = 0.05
"""Samples of the traces that features are taken from, ms."""

SETTLE = 200.0
"""Zero input before a step, ms."""

SPREAD: Mapping[str, tuple[float, float]] = {
    "AHP_depth": (0.0, 3.0),
    "AHP_time_from_peak": (0.25, 0.3),
    "AHP1_depth_from_peak": (0.0, 4.0),
    "AP1_peak": (0.0, 4.0),
    "AP1_width": (0.12, 0.02),
    "decay_time_constant_after_stim": (0.2, 1.0),
    "depol_block": (0.0, 0.1),
    "inv_first_ISI": (0.25, 4.0),
    "mean_AP_amplitude": (0.0, 4.0),
    "mean_frequency": (0.25, 4.0),
    "sag_amplitude": (0.3, 0.5),
    "Spikecount": (0.25, 1.6),
    "steady_state_voltage": (0.0, 2.5),
    "steady_state_voltage_stimend": (0.0, 3.0),
    "time_to_first_spike": (0.25, 3.0),
    "voltage_base": (0.0, 2.0),
}
"""Feature → (share of its mean, least value): standard deviation = the larger. Units as eFEL gives them."""

_FACTORS: Sequence[Mapping[str, float]] = (
    {"mean_frequency": 1, "Spikecount": 1, "inv_first_ISI": 1, "time_to_first_spike": -1},
    {"voltage_base": 1, "steady_state_voltage": 1, "steady_state_voltage_stimend": 1},
    {"AP1_peak": 1, "mean_AP_amplitude": 1, "AHP1_depth_from_peak": 1},
    {"AHP_depth": 1, "AHP1_depth_from_peak": -0.5},
    {"AP1_width": 1},
    {"AHP_time_from_peak": 1},
    {"decay_time_constant_after_stim": 1},
    {"sag_amplitude": 1},
)
"""Features that vary together between cells: drawing each on its own would ask for what no cell can be. Input
resistance is one more factor: it moves the end of a step away from rest, whatever the step's sign."""


class Targets(NamedTuple):
    """Mean and standard deviation of features: step (nA) → feature → (mean, sd)."""

    at: Mapping[float, Mapping[str, tuple[float, float]]]

    @property
    def steps(self) -> tuple[float, ...]:
        """The amplitudes, nA, ascending."""
        return tuple(sorted(self.at))

    def below(self, amplitude: float) -> Targets:
        """The part at steps below ``amplitude``: with 0, the hyperpolarising ones."""
        return Targets({step: wanted for step, wanted in self.at.items() if step < amplitude})

    def z_scores(self, responses: Mapping[float, Mapping[str, float]]) -> dict[str, float]:
        """Feature → mean over the steps of |value − mean| / sd, each at most `WORST`; so is that of a missing one."""
        found: dict[str, list[float]] = {}
        for step, wanted in self.at.items():
            values = responses.get(step, {})
            for name, (mean, sd) in wanted.items():
                value = values.get(name, float("nan"))
                z = abs(value - mean) / sd if np.isfinite(value) else WORST
                found.setdefault(name, []).append(min(z, WORST))
        return {name: float(np.mean(each)) for name, each in found.items()}

    def draw(self, generator: np.random.Generator, reach: float) -> Targets:
        """A target vector: every mean moved by its factors' draws (standard normals within ± reach) times its sd."""
        *draws, resistance = truncnorm.rvs(-reach, reach, size=len(_FACTORS) + 1, random_state=generator)
        shift: dict[str, float] = {}
        for z, factor in zip(draws, _FACTORS, strict=True):
            for name, sign in factor.items():
                shift[name] = shift.get(name, 0.0) + sign * float(z)

        def moved(step: float, name: str, mean: float, sd: float) -> float:
            z = shift.get(name, 0.0)
            if name == "steady_state_voltage_stimend":
                z += float(np.sign(step) * resistance)
            return max(mean + z * sd, 0.0) if name in _POSITIVE else mean + z * sd

        return Targets(
            {
                step: {name: (moved(step, name, mean, sd), sd) for name, (mean, sd) in wanted.items()}
                for step, wanted in self.at.items()
            }
        )


_POSITIVE = ("Spikecount", "mean_frequency", "inv_first_ISI", "time_to_first_spike", "sag_amplitude")


def mean_z(scores: Mapping[str, float]) -> float:
    """The mean z-score: the error by which members are ranked."""
    return float(np.mean(list(scores.values())))


def read_targets(recipe: FamilyRecipe) -> Targets:
    """The undrawn targets of a recipe. Raises FamilyError for features eFEL does not know here, and without NEURON."""
    spec = recipe.targets
    assert spec is not None
    if spec.of_fit is not None:
        model = CellModel.from_fit(spec.of_fit, spec.on_morphology or recipe.cell.morphology)
        cell = ExactCell(model)
        cell.tolerance = STEP_TOLERANCE
        return from_responses(measure_steps(cell, spec.steps), spec)
    at: dict[float, dict[str, tuple[float, float]]] = {}
    for written, wanted in spec.table.items():
        amplitude, _ = read_quantity(written, ("nA",), True, ("targets", "table", written))
        unknown = sorted(set(wanted) - set(NOBLE_FEATURES))
        if unknown:
            raise FamilyError(
                f"targets of {recipe.name}: unknown features {unknown}; known: {', '.join(NOBLE_FEATURES)}"
            )
        at[amplitude] = {name: (float(mean), float(sd)) for name, (mean, sd) in wanted.items()}
    return Targets(at)


def from_responses(responses: Mapping[float, Mapping[str, float]], spec: TargetSpec) -> Targets:
    """Targets whose means are a cell's own features, with the spread of ``spec`` over `SPREAD`. Raises FamilyError."""
    unknown = sorted(set(spec.spread) - set(NOBLE_FEATURES))
    if unknown:
        raise FamilyError(f"targets.spread: unknown features {unknown}; known: {', '.join(NOBLE_FEATURES)}")
    spread = {**SPREAD, **spec.spread}
    return Targets(
        {
            step: {
                name: (value, max(spread[name][0] * abs(value), spread[name][1]))
                for name, value in values.items()
                if np.isfinite(value)
            }
            for step, values in responses.items()
        }
    )


def measure_steps(cell: ExactCell, amplitudes: Sequence[float]) -> dict[float, dict[str, float]]:
    """The 16 e-features of a cell at steps of 400 ms: amplitude → feature → value (NaN where there is none)."""
    return {amplitude: features_of(step_response(cell, amplitude), amplitude) for amplitude in amplitudes}


def step_response(cell: ExactCell, amplitude: float) -> Float32:
    """Voltage under NOBLE's step protocol, sampled every `SAMPLING` ms. Raises SolverError."""
    return cell.run(protocol_current(amplitude), settle=SETTLE, sampling=SAMPLING)


def protocol_current(amplitude: float) -> Float64:
    """NOBLE's step (`NOBLE_PROTOCOL`) as samples of DT, nA."""
    current = np.zeros(round(NOBLE_PROTOCOL.total / DT))
    current[round(NOBLE_PROTOCOL.onset / DT) : round(NOBLE_PROTOCOL.end / DT)] = amplitude
    return current


def features_of(voltage: Float32, amplitude: float) -> dict[str, float]:
    """The 16 e-features of one response of `step_response`."""
    found = response_features(
        voltage[None],
        [amplitude],
        onset=NOBLE_PROTOCOL.onset,
        duration=NOBLE_PROTOCOL.duration,
        sampling=SAMPLING,
    )
    return {name: float(values[0]) for name, values in found.items()}
