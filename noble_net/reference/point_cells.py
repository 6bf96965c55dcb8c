"""Cells of a family reduced to one compartment that holds what the whole member holds.

The point cell of a member has

- its **passive membrane**, in two numbers measured on the member in NEURON with all channels shut: the input resistance
  R at the soma and the time τ after which the answer to a step of current has come to 1 − 1/e of its end. The leak is
  1/R, the capacitance τ/R; its reversal is the voltage at which the shut member rests.
- its **channels**, each with the member's whole conductance of that kind: the density of every section times its area,
  summed. The soma's area stands for the calcium shell.

So a family with channels at its soma alone keeps rest and input resistance with the channels open, too: at the soma,
tree and channels are conductances side by side. `docs/backends.md` has numbers. The densities of the soma on an area of
the whole capacitance, the other way to reduce a cell, multiply what is open at rest by 7 (PV) to 20 (Rorb), halve the
input resistance or worse, and leave most PV cells without spikes.

What is lost: every spike charges the dendrites at once, so spikes are smaller, thresholds higher and rates lower;
channels of axon and dendrites act at the soma's voltage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from noble_net.cells.family import Family
from noble_net.cells.model import SECTIONS, CellModel, split_parameter
from noble_net.cells.solver import ExactCell, exact_cell
from noble_net.errors import BackendError
from noble_net.network.build import PopulationArrays
from noble_net.reference.channels import CALCIUM, CALCIUM_PARAMETERS, CHANNELS
from noble_net.types import DT, CellTable, Float64

_PULSE, _SETTLE = 400.0, 100.0
"""The step with which passive cells are measured and what goes before it, ms: 16 membrane time constants of PV."""
_AMPLITUDE = 0.01
_STEP = 0.1
"""NEURON's step for that, ms."""
_GBAR = 1e-5
"""Density of a channel that no parameter sets, S/cm²: the default of all NMODL files but two, which fits always set."""
_REVERSALS = {"ena": 50.0, "ek": -77.0, "eca": 132.4579341637009}
"""NEURON's own, mV; `eca` follows the concentration where something changes it."""
_PASSIVE = ("cm", "g_pas", "e_pas", "Ra")
_NANOSIEMENS = 10.0
"""Of 1 S/cm² on 1 µm²."""


@dataclass(frozen=True)
class PointCells:
    """Cells of one compartment, all arrays float64 [cells].

    ``capacitance`` pF, ``leak`` nS, ``rest`` mV (the leak's reversal), ``area`` µm²; ``conductance``: channel → nS;
    ``constants``: reversals (mV) and what calcium goes by, as
    NEURON names them. ``celsius`` and ``v_init`` (mV) are the model's.
    """

    capacitance: Float64
    leak: Float64
    rest: Float64
    area: Float64
    conductance: Mapping[str, Float64]
    constants: Mapping[str, Float64]
    celsius: float
    v_init: float

    @property
    def calcium(self) -> bool:
        """Whether the concentration of calcium changes."""
        return f"decay_{CALCIUM}" in self.constants


def refuse_unknown(family: Family) -> None:
    """Raise BackendError, naming it, for a mechanism or parameter of a family without counterpart here."""
    model = family.model
    placed = {name for names in model.mechanisms.values() for name in names}
    unknown = sorted(placed - {*CHANNELS, CALCIUM})
    if unknown:
        raise BackendError(
            f"family {family.name} has mechanisms {', '.join(unknown)}, which this backend does not know: it has "
            f"{', '.join(sorted(CHANNELS))} and {CALCIUM}. Take the neuron backend."
        )
    for name in model.parameters:
        variable, section = split_parameter(name)
        if variable in (*_PASSIVE, *_REVERSALS) or variable.partition("_")[0] == "gbar":
            continue
        if variable not in _settable(model) or section not in ("soma", "all"):
            raise BackendError(
                f"family {family.name} sets {name}, which has no counterpart in one compartment. Take the neuron "
                "backend."
            )


def reduce_cells(population: PopulationArrays, model: CellModel) -> PointCells:
    """The cells of a population as point cells; a tenth of a second for each that differs in its passive membrane."""
    cells = population.cells
    exact = exact_cell(model, dt=_STEP)
    areas = {
        kind: sum(segment.area() for section in group for segment in section)
        for kind, group in exact.sections.items()
    }
    placed = {name for names in model.mechanisms.values() for name in names}
    conductance = {
        name: sum(
            _NANOSIEMENS * areas[section] * _value(cells, model, f"gbar_{name}", section, _GBAR)
            for section in SECTIONS
            if name in model.mechanisms.get(section, ())
        )
        for name in CHANNELS
        if name in placed
    }
    constants = {
        name: _value(cells, model, name, "soma", default)
        for name, default in {**_REVERSALS, **_settable(model)}.items()
    }
    resistance, time, rest = _passive(exact, cells, model)
    return PointCells(
        capacitance=1000.0 * time / resistance,
        leak=1000.0 / resistance,
        rest=rest,
        area=np.full(cells.size, areas["soma"]),
        conductance={name: np.asarray(value, np.float64) for name, value in conductance.items()},
        constants=constants,
        celsius=model.celsius,
        v_init=model.v_init,
    )


def _settable(model: CellModel) -> dict[str, float]:
    """What sections may differ in besides densities, with its values where no parameter sets them."""
    placed = {name for names in model.mechanisms.values() for name in names}
    if CALCIUM not in placed:
        return {}
    return {f"{parameter}_{CALCIUM}": value for parameter, value in CALCIUM_PARAMETERS.items()}


def _value(cells: CellTable, model: CellModel, variable: str, section: str, default: float) -> Float64:
    """What a variable is in a section of each cell: as in NEURON the last parameter to set it counts."""
    value = np.full(cells.size, default)
    for name, given in model.parameters.items():
        where = split_parameter(name)
        if where in ((variable, section), (variable, "all")):
            value = np.asarray(cells.parameters.get(name, np.full(cells.size, given)), np.float64)
    return value


def _passive(exact: ExactCell, cells: CellTable, model: CellModel) -> tuple[Float64, Float64, Float64]:
    """Input resistance (MΩ), time constant (ms) and rest (mV) of the cells with all channels shut, each [cells]."""
    names = [name for name in model.parameters if split_parameter(name)[0] in _PASSIVE]
    shut = {name: 0.0 for name in model.parameters if split_parameter(name)[0].startswith("gbar_")}
    columns = [np.asarray(cells.parameters.get(n, np.full(cells.size, model.parameters[n]))) for n in names]
    different, which = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    measured = []
    for row in different:
        exact.set_parameters({**shut, **dict(zip(names, row.tolist(), strict=True))})
        _shut_unset(exact, model)
        measured.append(_measure(exact))
    resistance, time, rest = np.array(measured)[which.ravel()].T
    return resistance, time, rest


def _shut_unset(exact: ExactCell, model: CellModel) -> None:
    """Channels whose density no parameter sets are shut by hand."""
    for kind, names in model.mechanisms.items():
        for section in exact.sections[kind]:
            for name in names:
                if name in CHANNELS:
                    setattr(section, f"gbar_{name}", 0.0)


def _measure(exact: ExactCell) -> tuple[float, float, float]:
    """Input resistance (MΩ), time constant (ms) and rest (mV) of a cell without channels.

    It is linear, so the difference of two answers is the answer to the difference of their inputs, however far the
    cell was from rest.
    """
    samples = round(_PULSE / DT)
    without, answer = (
        exact.run(np.full(samples, amplitude), settle=_SETTLE).astype(np.float64)
        for amplitude in (0.0, _AMPLITUDE)
    )
    risen = answer - without
    level = risen[-1] * (1.0 - np.exp(-1.0))
    after = int(np.argmax(risen >= level))
    time = DT * (after - (risen[after] - level) / (risen[after] - risen[after - 1]))
    return risen[-1] / _AMPLITUDE, time, float(without[-1])
