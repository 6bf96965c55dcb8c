"""Single-cell heterogeneity: e-features over a family's latent space, answered by one core, the members laid over.

What spans the space depends on the core (see `noble_net.cells.plane`): a streaming core is conditioned on the family's
parameters, so its grid lies over two of them, or two principal components, around the medoid; a step core conditioned
on features has its grid over those features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from noble_net.cells.plane import Plane
from noble_net.errors import CheckpointError, ConfigError, FamilyError
from noble_net.registry import load_family, load_step_core
from noble_net.responses.files import ResponseFolder
from noble_net.responses.requests import SAMPLED, choose_cells
from noble_net.responses.respond import RATE, WITHOUT_EFEL, Request, measured_features, save_responses
from noble_net.specs.studies import GridSpec, SingleCellSpec, StudySpec
from noble_net.surrogate.step_core import StepCore
from noble_net.types import CellTable, Float64

if TYPE_CHECKING:
    import pandas as pd

    from noble_net.cells.family import Family

Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class Map:
    """Measured values over the latent space.

    ``axes``: what x and y are, with units. ``x``, ``y`` float64 [cells]: places of the cells; ``inside`` bool [cells]:
    within what the family covers. ``members_x``, ``members_y`` float64 [members]. ``cells`` and ``members``: folders of
    their responses. ``points``: of a grid along each axis, x fastest; 0 for samples.
    """

    axes: tuple[str, str]
    x: Float64
    y: Float64
    inside: NDArray[np.bool_]
    members_x: Float64
    members_y: Float64
    cells: ResponseFolder
    members: ResponseFolder
    features: tuple[str, ...]
    points: int
    note: str = ""

    def table(self) -> pd.DataFrame:
        """One row per cell and step, members included: kind, x, y, inside, amplitude_nA and the features."""
        import pandas as pd

        steps = self.cells.amplitudes
        frames = []
        for kind, folder, x, y, inside in (
            ("grid" if self.points else "sample", self.cells, self.x, self.y, self.inside),
            ("member", self.members, self.members_x, self.members_y, np.ones(len(self.members_x), np.bool_)),
        ):
            columns = {"kind": kind, "label": np.repeat(np.array(folder.labels, dtype=object), len(steps))}
            places = {
                name: np.repeat(values, len(steps))
                for name, values in (("x", x), ("y", y), ("inside", inside))
            }
            measured = {name: folder.measured(name).ravel() for name in self.features}
            frames.append(
                pd.DataFrame({**columns, **places, "amplitude_nA": np.tile(steps, len(x)), **measured})
            )
        return pd.concat(frames, ignore_index=True)


def check(study: StudySpec) -> None:
    """Raise ConfigError, at the study's line, for an unknown core, family or axis. Answers nothing."""
    spec = _single_cell(study)
    core, family = _parts(study, spec)
    if spec.grid is not None:
        _plane(study, family, spec.grid, tuple(getattr(core, "features", ())))


def map_features(
    study: StudySpec,
    out: Path,
    *,
    jobs: int | None = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Map:
    """Answer the steps for all cells of a study and for the family's members, into folders below ``out``.

    Goes on where it was interrupted. Raises ConfigError at the study's line for an unknown core, family or axis, and as
    `save_responses`.
    """
    spec = _single_cell(study)
    core, family = _parts(study, spec)
    features = tuple(getattr(core, "features", ()))
    ids = family.ids()[: spec.members]
    members = family.cells(ids)
    if spec.grid is not None:
        plane = _plane(study, family, spec.grid, features)
        cells, x, y = _grid(plane, spec.grid)
        inside, places = plane.contains(x, y), plane.coordinates(ids)
        axes = _axis_labels(plane)
    else:
        cells = _samples(spec, family, study.seed, features)
        axes = ("I_thr (nA)", "s_thr (Hz/nA)")
        x, y = _known(cells, "I_thr"), _known(cells, "s_thr")
        inside = np.ones(cells.size, np.bool_)
        places = np.column_stack([_known(members, "I_thr"), _known(members, "s_thr")])
    measured = measured_features()
    wanted = tuple(name for name in spec.features if name != RATE and name in measured)
    shown = tuple(name for name in spec.features if name == RATE or name in measured) or (RATE,)
    folders = _answer(spec, {"cells": cells, "members": members}, wanted, out, jobs, overwrite, progress)
    note = "" if measured else f"Only rates are mapped: {WITHOUT_EFEL}"
    points = spec.grid.points if spec.grid else 0
    return Map(
        axes, x, y, inside, places[:, 0], places[:, 1], *folders, features=shown, points=points, note=note
    )


def _answer(
    spec: SingleCellSpec,
    tables: dict[str, CellTable],
    names: tuple[str, ...],
    out: Path,
    jobs: int | None,
    overwrite: bool,
    progress: Progress | None,
) -> tuple[ResponseFolder, ResponseFolder]:
    """The responses of the cells and of the members, in a folder each, with one progress over both."""
    steps, load = np.array(spec.steps), partial(load_step_core, spec.core)
    total, before = sum(table.size for table in tables.values()) * len(steps), 0
    folders = []
    for name, table in tables.items():
        told = None if progress is None else _shifted(progress, before, total)
        request = Request(table, steps, (), names)
        folders.append(
            save_responses(load, request, out / name, jobs=jobs, overwrite=overwrite, progress=told)
        )
        before += request.size
    return folders[0], folders[1]


def _shifted(progress: Progress, before: float, total: float) -> Progress:
    def told(done: float, _: float) -> None:
        progress(before + done, total)

    return told


def _single_cell(study: StudySpec) -> SingleCellSpec:
    if study.single_cell is None:
        raise ValueError(f"study {study.name} is not one of single cells")
    return study.single_cell


def _parts(study: StudySpec, spec: SingleCellSpec) -> tuple[StepCore, Family]:
    try:
        core = load_step_core(spec.core)
    except CheckpointError as error:
        raise study.error(("single_cell", "core"), str(error)) from error
    if not (spec.family or core.family):
        problem = f"core {spec.core!r} belongs to no family, so it has no latent space"
        raise study.error(("single_cell", "core"), problem, "give a trained core")
    try:
        family = load_family(spec.family or core.family)
    except FamilyError as error:
        raise study.error(("single_cell", "family" if spec.family else "core"), str(error)) from error
    if family.hash != core.family_hash:
        problem = f"core {spec.core!r} was trained on another family (or another version of it)"
        raise study.error(("single_cell", "family"), problem, "leave `family` out")
    return core, family


def _plane(study: StudySpec, family: Family, grid: GridSpec, features: tuple[str, ...]) -> Plane:
    try:
        return Plane.through(family, (grid.x, grid.y), features=features)
    except FamilyError as error:
        raise _axis_error(study, family, grid, features, error) from error


def _axis_error(
    study: StudySpec, family: Family, grid: GridSpec, features: tuple[str, ...], error: FamilyError
) -> ConfigError:
    from noble_net.cells.plane import axis_names

    key = "x" if grid.x not in axis_names(family, features) else "y"
    return study.error(("single_cell", "grid", key), str(error))


def _grid(plane: Plane, grid: GridSpec) -> tuple[CellTable, Float64, Float64]:
    """The cells of the grid and their places, x fastest."""
    (x0, x1), (y0, y1) = plane.extent(grid.reach)
    y, x = np.meshgrid(np.linspace(y0, y1, grid.points), np.linspace(x0, x1, grid.points), indexing="ij")
    return plane.cells(x.ravel(), y.ravel(), "grid"), x.ravel(), y.ravel()


def _samples(spec: SingleCellSpec, family: Family, seed: int, features: tuple[str, ...]) -> CellTable:
    cloud = spec.samples
    if cloud is None:
        raise ValueError("a study with neither grid nor samples passed validation")
    conditioned_on = features if cloud.source in SAMPLED else ()
    return choose_cells(family, f"{cloud.source}:{cloud.size}", seed, conditioned_on)


def _axis_labels(plane: Plane) -> tuple[str, str]:
    from noble_net.report.responses_page import LABELS

    if plane.features:
        return LABELS.get(plane.names[0], plane.names[0]), LABELS.get(plane.names[1], plane.names[1])
    return f"{plane.names[0]} (sd from the medoid)", f"{plane.names[1]} (sd from the medoid)"


def _known(cells: CellTable, name: str) -> Float64:
    return np.asarray(cells.features.get(name, np.full(cells.size, np.nan)), np.float64)
