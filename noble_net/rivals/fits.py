"""The fits of many members: on all cores, each written to a table the moment it is done, so that work cut short goes
on with nothing lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from noble_net.output import reading, write_text
from noble_net.processes import in_processes
from noble_net.rivals.fit import Fit, Task, fit
from noble_net.rivals.models import MODELS, Model
from noble_net.types import CellTable

_ABOUT = ("key", "loss", "start_loss", "seconds")

Progress = Callable[[Fit, int, int], None]


def fit_all(
    tasks: Sequence[Task], folder: Path, jobs: int | None = None, progress: Progress | None = None
) -> dict[str, dict[str, Fit]]:
    """Fits by model and member. What ``<folder>/<model>.csv`` holds of the very same task is not done again.

    Raises OutputError when a table cannot be read or written.
    """
    kept = {name: read_fits(folder / f"{name}.csv", model) for name, model in MODELS.items()}
    found: dict[str, dict[str, Fit]] = {name: {} for name in MODELS}
    todo = []
    for task in tasks:
        before = kept[task.model].get(task.member)
        if before and before.key == task.key:
            found[task.model][task.member] = before
        else:
            todo.append(task)
    done = len(tasks) - len(todo)
    for each in in_processes(fit, todo, jobs):
        found[each.model][each.member] = kept[each.model][each.member] = each
        write_fits(folder / f"{each.model}.csv", MODELS[each.model], kept[each.model])
        done += 1
        if progress:
            progress(each, done, len(tasks))
    return found


def read_fits(path: Path, model: Model) -> dict[str, Fit]:
    """Fits by member; none where there is no such file. Raises OutputError for one that is no such table."""
    if not path.exists():
        return {}
    with reading(path, f"fits of {model.name}"):
        table = pd.read_csv(path, index_col="member", dtype={"key": str})
        values = table[list(model.names)].to_numpy(np.float64)
        about = zip(table.index, values, *(table[name] for name in _ABOUT), strict=True)
        return {
            str(member): Fit(model.name, str(member), row, loss, before, key, seconds)
            for member, row, key, loss, before, seconds in about
        }


def write_fits(path: Path, model: Model, fits: Mapping[str, Fit]) -> None:
    """Write fits, sorted by member; the file comes whole or not at all."""
    rows = [
        {"member": each.member, **dict(zip(model.names, each.parameters, strict=True))}
        | {name: getattr(each, name) for name in _ABOUT}
        for each in sorted(fits.values(), key=lambda each: each.member)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, pd.DataFrame(rows).to_csv(index=False))


def fitted_cells(model: Model, fits: Mapping[str, Fit], members: Sequence[str]) -> CellTable:
    """Fitted ``members`` as the cells of `noble_net.rivals.models.PointNeurons`. Raises KeyError without a fit."""
    parameters = np.stack([fits[member].parameters for member in members])
    columns = {name: np.ascontiguousarray(parameters[:, i]) for i, name in enumerate(model.names)}
    return CellTable(len(members), np.zeros((len(members), 0), np.float32), columns, labels=tuple(members))
