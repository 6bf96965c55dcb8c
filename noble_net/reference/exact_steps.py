"""The exact cells as a step core: every response solved in NEURON, one after another."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from noble_net.errors import BackendError
from noble_net.surrogate.step_core import NOBLE_PROTOCOL, StepCore, StepProtocol
from noble_net.types import DT, CellTable, Float32, Float64

if TYPE_CHECKING:
    from noble_net.cells.family import Family

SETTLE = 500.0
"""Zero input before a response, ms: every cell starts at its own rest."""


class Solvable(Protocol):
    """What is asked of an exact cell (`noble_net.cells.solver.ExactCell`)."""

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """Turn it into the cell with these parameters."""

    def run(self, current: Float64, *, settle: float, sampling: float) -> Float32:
        """Voltage, mV, at t = 0, ``sampling`` … of the response to ``current`` (nA per 0.1 ms)."""


class ExactSteps(StepCore):
    """Cells of a family solved exactly. Each is set to its own parameters, so cells without any are refused.

    Slow (tenths of a second to seconds a response) and bound to one process by NEURON; use several processes.
    Not in the last bit independent of the machine, but of the cells beside it.
    """

    name = "neuron"
    hash: str | None = None
    sampling = DT
    batch = 8

    def __init__(
        self,
        family: Family,
        cell: Solvable | None = None,
        protocol: StepProtocol = NOBLE_PROTOCOL,
        settle: float = SETTLE,
    ) -> None:
        if cell is None:
            from noble_net.cells.solver import ExactCell

            cell = ExactCell(family.model)
        self.family, self.family_hash = family.name, family.hash
        self.protocol = protocol
        self._cell, self._settle = cell, settle

    def respond(self, cells: CellTable, amplitude: Float64) -> Float32:
        """Voltage, mV, float32 [cells, samples]; see `StepCore.respond`.

        Raises BackendError for cells without parameters, SolverError for a voltage that is not finite.
        """
        if not cells.parameters:
            raise BackendError(
                f"cells drawn over features ({', '.join(sorted(set(cells.labels))[:3])}) have no parameters to solve: "
                "take members, or the surrogate backend"
            )
        samples = round(self.protocol.total / DT)
        times = DT * (np.arange(samples) + 0.5)
        on = (times >= self.protocol.onset) & (times < self.protocol.end)
        voltage = np.empty((cells.size, samples), np.float32)
        for i in range(cells.size):
            self._cell.set_parameters({name: float(values[i]) for name, values in cells.parameters.items()})
            solved = self._cell.run(amplitude[i] * on, settle=self._settle, sampling=self.sampling)
            voltage[i] = solved[:samples]
        return voltage


@cache
def load_exact_steps(family: str) -> ExactSteps:
    """The exact cells of a family, by its name or path; built once in a process.

    Raises FamilyError, MissingExtraError without NEURON, SolverError without a compiler.
    """
    from noble_net.registry import load_family

    return ExactSteps(load_family(family))
