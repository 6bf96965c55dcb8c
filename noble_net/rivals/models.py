"""The two point neurons, as cores: what their parameters are, in which ranges a fit looks, and how they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from noble_net.rivals import kernels
from noble_net.spikes import detect_block, new_detector
from noble_net.surrogate.core import Core
from noble_net.types import CellTable, Drive, Float64, Response, State

STEPS = 2
"""Sub-steps a sample: see `tests/test_rivals.py` for how far four times as many move a spike."""


class Parameter(NamedTuple):
    """A parameter of a model: its unit and the range a fit looks in."""

    name: str
    unit: str
    low: float
    high: float
    logarithmic: bool = False
    """Looked for on a logarithmic scale."""


_COMMON = (
    Parameter("capacitance", "pF", 5.0, 300.0, True),
    Parameter("leak", "nS", 0.5, 50.0, True),
    Parameter("v_rest", "mV", -105.0, -55.0),
    Parameter("v_reset", "mV", -105.0, -50.0),
    Parameter("refractory", "ms", 0.3, 6.0),
    Parameter("spike_width", "ms", 0.1, 3.0),
)
"""First of every model, in this order. ``spike_width`` is read off the recording, not searched."""


class Model(NamedTuple):
    """A point neuron: its name, parameters, compiled loop and number of state variables."""

    name: str
    parameters: tuple[Parameter, ...]
    kernel: Callable[..., None]
    variables: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in the kernel's order."""
        return tuple(parameter.name for parameter in self.parameters)


ADEX = Model(
    "adex",
    (
        *_COMMON,
        Parameter("v_threshold", "mV", -80.0, -35.0),
        Parameter("slope", "mV", 0.1, 10.0, True),
        Parameter("coupling", "nS", -10.0, 20.0),
        Parameter("tau_w", "ms", 1.0, 500.0, True),
        Parameter("jump", "pA", -100.0, 400.0),
    ),
    kernels.adaptive_exponential,
    3,
)
"""Adaptive exponential integrate-and-fire (Brette & Gerstner 2005); see `kernels.adaptive_exponential`."""

GLIF = Model(
    "glif",
    (
        *_COMMON,
        Parameter("v_threshold", "mV", -80.0, -35.0),
        Parameter("fast_jump", "pA", -600.0, 300.0),
        Parameter("fast_tau", "ms", 1.0, 30.0, True),
        Parameter("slow_jump", "pA", -200.0, 100.0),
        Parameter("slow_tau", "ms", 30.0, 500.0, True),
        Parameter("threshold_jump", "mV", -5.0, 25.0),
        Parameter("threshold_tau", "ms", 0.5, 300.0, True),
        Parameter("threshold_coupling", "", -0.3, 0.95),
        Parameter("coupling_tau", "ms", 0.5, 100.0, True),
    ),
    kernels.generalised_leaky,
    6,
)
"""Generalised leaky integrate-and-fire with after-spike currents and a moving threshold; see
`kernels.generalised_leaky`."""

MODELS = {model.name: model for model in (ADEX, GLIF)}


class PointNeurons(Core):
    """Cells of a `Model`, each with parameters of its own (``CellTable.parameters``), under somatic input.

    Spikes are found in the voltage by the rule of `noble_net.spikes`. Counted in ``Response.outside``: voltages below
    −150 mV, clamped.
    """

    zones = ("soma",)
    step_samples = 1

    def __init__(self, model: Model, steps: int = STEPS) -> None:
        self.model, self.steps, self.name = model, steps, model.name

    def begin(self, cells: CellTable) -> State:
        """Cells at v_rest. Raises ValueError naming a parameter that is missing."""
        missing = [name for name in self.model.names if name not in cells.parameters]
        if missing:
            raise ValueError(f"{self.name} cells lack {', '.join(missing)}")
        parameters = np.stack([cells.parameters[name] for name in self.model.names], axis=1)
        state = begun(self.model, parameters)
        return State(
            {
                "voltage": state[:, 0].astype(np.float32),
                "variables": state,
                "parameters": parameters,
                "detector": new_detector(cells.size),
            }
        )

    def advance(self, state: State, drive: Drive) -> tuple[Response, State]:
        """One block, of any number of samples."""
        arrays = state.arrays
        cells, samples = drive.current.shape[1:]
        voltage, outside = np.empty((cells, samples), np.float32), np.zeros(cells, np.uint32)
        inputs = drive.current[0], drive.conductance[0], drive.reversal_current[0]
        self.model.kernel(self.steps, arrays["parameters"], arrays["variables"], *inputs, voltage, outside)
        spikes = detect_block(voltage, state.voltage, arrays["detector"])
        arrays["voltage"] = voltage[:, -1].copy()
        return Response(voltage, *spikes, outside), state


def begun(model: Model, parameters: Float64) -> Float64:
    """State variables of cells with ``parameters`` [cells, n] at rest, float64 [cells, variables]."""
    state = np.zeros((len(parameters), model.variables))
    state[:, 0] = parameters[:, model.names.index("v_rest")]
    return state
