"""Cells whose voltage is no number any more: found in the block where it happens, and named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from noble_net.errors import SolverError
from noble_net.surrogate.core import Core
from noble_net.types import DT, Drive, Response

if TYPE_CHECKING:
    from noble_net.network.build import Network


class Advanced(Protocol):
    """Cells of one core that were advanced together by a drive; ``ranges`` are those of each population."""

    core: Core
    ranges: dict[str, slice]
    drive: Drive
    response: Response


def check_finite(network: Network, group: Advanced, start: int) -> None:
    """Refuse the last block of a group, which began at sample ``start``, if a voltage in it is not finite.

    Costs one sum over the block. Raises SolverError naming the first such cell, the time and what to look at.
    """
    voltage = group.response.voltage
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(voltage.sum()):
            return
    finite = np.isfinite(voltage)
    if finite.all():
        return
    sample = int(np.argmin(finite.all(axis=0)))
    index = int(np.argmin(finite[:, sample]))
    name = next(name for name, cells in group.ranges.items() if cells.start <= index < cells.stop)
    population = network.population(name)
    cell = index - group.ranges[name].start + population.here.start
    labels = population.cells.labels
    which = f"{cell} ({labels[cell]})" if labels else str(cell)
    raise SolverError(
        f"the voltage of cell {which} of population {name} is not finite at {(start + sample + 1) * DT:g} ms "
        f"of the run, warm-up included (core {group.core.name}; cells affected: {int((~finite).any(axis=1).sum())}). "
        + _remedy(group, index, sample)
    )


def _remedy(group: Advanced, index: int, sample: int) -> str:
    """What to look at: the cell's input if that was no number either, else the cell and its core."""
    drive = group.drive
    arrays = [drive.current, drive.conductance, drive.reversal_current]
    if drive.nmda is not None:
        arrays += [drive.nmda.conductance, drive.nmda.reversal_current]
    # A core that steps in several samples has read all of them before its first answer.
    step = group.core.step_samples
    seen = slice(0, -(-(sample + 1) // step) * step)
    if all(np.isfinite(each[:, index, seen]).all() for each in arrays):
        return (
            "Its input was finite: draw the cell from where the core was trained, or use another core, "
            "if the core's weights are not what they were"
        )
    return "Its input was not finite: lower the weights, currents or rates that reach it"
