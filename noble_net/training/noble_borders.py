"""Where firing changes just above threshold: traces at currents found by bisection, for NOBLE's tables of spikes.

Some cells fire once, or a few times, up to some current, and from there on for as long as a step lasts. Which of both a
step evokes cannot be told from traces that lie some pA apart. The traces of all members lie in one file beside the
dataset's.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noble_net.cells.family import Family
from noble_net.errors import OutputError
from noble_net.processes import in_processes
from noble_net.specs.noble import NobleDatasetSpec, NobleRecipe
from noble_net.surrogate.phase import FIRST
from noble_net.training.noble_data import (
    VOLTAGE_UNIT,
    Progress,
    Solve,
    Traces,
    in_units,
    nudged,
    on_neuron,
    part_path,
    read_part,
    save_arrays,
    step_spikes,
)
from noble_net.types import Float32

CHANGE = 2
"""A border's least change of the number of spikes: one more comes at any current."""


class Border(NamedTuple):
    """Two steps of a member that no other trace lies between, nA, and how many spikes they evoke."""

    member: int
    """Row of the dataset's ids."""
    parameters: dict[str, float]
    low: float
    high: float
    below: int
    above: int


def borders_path(recipe: NobleRecipe, family: Family) -> Path:
    """Where these traces lie."""
    return part_path(recipe, family, "train").with_suffix(f".borders-{recipe.training.borders}.npz")


def build_borders(
    recipe: NobleRecipe,
    family: Family,
    jobs: int | None = None,
    progress: Progress | None = None,
    solve: Solve | None = None,
) -> None:
    """Solve the traces that the recipe's ``training.borders`` asks for, unless they are there; arguments and errors as
    those of `noble_net.training.noble_data.build_noble_dataset`, whose dataset must be there."""
    spec, path = recipe.dataset, borders_path(recipe, family)
    if not recipe.training.borders or path.exists():
        return
    todo = find_borders(recipe, family)
    work = partial(_bisect, spec, recipe.training.borders, solve or family.model)
    found: list[Traces] = []
    for each in map(work, todo) if solve else in_processes(work, todo, jobs):
        found.append(each)
        if progress:
            progress(len(found), len(todo))
    found.sort(key=lambda traces: int(traces.member[0]))  # processes end in any order
    columns = zip(Traces._fields, zip(*found, strict=True), strict=True)
    save_arrays(path, np.savez_compressed, **{name: np.concatenate(parts) for name, parts in columns})


def read_borders(recipe: NobleRecipe, family: Family) -> Traces:
    """These traces; ``member`` as in the dataset. Raises OutputError when they are not there."""
    path = borders_path(recipe, family)
    if not path.exists():
        raise OutputError(f"{path} is missing; make it by `noble-net dataset` on the recipe {recipe.name}")
    with np.load(path) as file:
        return Traces(file["member"], file["amplitude"], file["voltage"])


def find_borders(recipe: NobleRecipe, family: Family) -> list[Border]:
    """The border of each member that has one: of the training traces next to each other in current, with fewer than
    `FIRST` spikes in one of them, those whose numbers differ most."""
    ids, traces = read_part(recipe, family, "train")
    volts = VOLTAGE_UNIT * traces.voltage.astype(np.float32)
    number = _spike_numbers(recipe.dataset, volts)
    cells = family.cells(ids)
    found = []
    for member in np.unique(traces.member):
        rows = np.flatnonzero(traces.member == member)
        rows = rows[np.argsort(traces.amplitude[rows])]
        low, high = rows[:-1], rows[1:]
        change = np.where(
            np.minimum(number[low], number[high]) < FIRST, np.abs(number[high] - number[low]), 0
        )
        if change.max(initial=0) >= CHANGE:
            at = int(np.argmax(change))
            ends = low[at], high[at]
            parameters = {name: float(values[member]) for name, values in cells.parameters.items()}
            currents, numbers = traces.amplitude[list(ends)].tolist(), number[list(ends)].tolist()
            found.append(Border(int(member), parameters, *currents, *numbers))
    return found


def _spike_numbers(spec: NobleDatasetSpec, volts: Float32) -> NDArray[np.int64]:
    """How many spikes stored traces (mV, [traces, samples]) have during their steps."""
    return np.array([len(each) for each in step_spikes(spec, volts)], np.int64)


def _bisect(spec: NobleDatasetSpec, steps: int, solver: Any, border: Border) -> Traces:
    """So many steps towards the current where the number of spikes changes."""
    solve: Solve = solver if callable(solver) else on_neuron(solver, spec)
    low, high, below, above = border[2:]
    amplitudes, traces = [], []
    for _ in range(steps):
        voltage, amplitude = nudged(spec, solve, border.parameters, (low + high) / 2.0)
        number = int(_spike_numbers(spec, voltage[None].astype(np.float32))[0])
        amplitudes.append(amplitude)
        traces.append(in_units(voltage).astype(np.int16))
        if abs(number - below) < abs(above - number):
            low, below = amplitude, number
        else:
            high, above = amplitude, number
    member = np.full(steps, border.member, np.int32)
    return Traces(member, np.array(amplitudes), np.stack(traces))
