"""Cells that somebody else has chosen: members by name, exact parameters, or features to come near to."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from noble_net.cells.family import Family
from noble_net.cells.latent import from_codes
from noble_net.errors import FamilyError, LatentSpaceWarning
from noble_net.types import CellTable, Float64


def assigned_cells(
    family: Family, drawn: CellTable, *, member: Sequence[str | None], values: Mapping[str, Float64]
) -> CellTable:
    """``drawn``, with those cells replaced of which something is known.

    A cell is the ``member`` of that name; else the one with the family's parameters in ``values`` (float64 [cells] per
    name, NaN where unknown); else the member nearest in the features there, each scaled by its standard deviation over
    all members. Raises FamilyError for a cell of which some parameters are known and not all.
    """
    left = np.array([name is None for name in member])
    tables = []
    named = np.flatnonzero(~left)
    if named.size:
        tables.append((named, family.cells([str(member[i]) for i in named])))
    exact = _with_parameters(family, values, left)
    if exact.size:
        parameters = np.stack([values[name][exact] for name in family.parameter_names], axis=1)
        tables.append((exact, from_codes(family, family.encode(parameters), "given")))
        left[exact] = False
    near, ids = _nearest_members(family, values, left)
    if near.size:
        tables.append((near, family.cells(ids)))
        left[near] = False
    if left.any():
        rest = np.flatnonzero(left)
        tables.append((rest, drawn.take(rest)))
    return _merged(tables)


def _with_parameters(family: Family, values: Mapping[str, Float64], left: np.ndarray) -> np.ndarray:
    """Cells of which all parameters are known."""
    known = [values.get(name, np.full(left.size, np.nan)) for name in family.parameter_names]
    there = ~np.isnan(np.stack(known, axis=1))
    some = np.flatnonzero(left & there.any(axis=1) & ~there.all(axis=1))
    if some.size:
        missing = [name for name, has in zip(family.parameter_names, there[some[0]], strict=True) if not has]
        raise FamilyError(
            f"of cell {some[0]} {int(there[some[0]].sum())} parameters of family {family.name} are given and "
            f"{', '.join(missing[:3])} {'is' if len(missing) == 1 else 'are'} not: give all, or none"
        )
    return np.flatnonzero(left & there.all(axis=1))


def _nearest_members(
    family: Family, values: Mapping[str, Float64], left: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """Cells of which features are known, and for each the member that has all of these and comes nearest."""
    names = [name for name in family.feature_names if name in values]
    if not names:
        return np.empty(0, np.int64), []
    wanted = np.stack([values[name] for name in names], axis=1)
    cells = np.flatnonzero(left & ~np.isnan(wanted).all(axis=1))
    ids = family.ids()
    measured = family.table.loc[ids, names].to_numpy(np.float64)
    low, high = np.nanmin(measured, axis=0), np.nanmax(measured, axis=0)
    beyond = ((wanted[cells] < low) | (wanted[cells] > high)).any(axis=1)
    if beyond.any():
        problem = (
            f"features of {beyond.sum()} of {len(cells)} cells lie outside the range of family {family.name}"
        )
        warnings.warn(f"{problem}: they get the members that come nearest", LatentSpaceWarning, stacklevel=2)
    spread = np.nanstd(measured, axis=0)
    scaled = measured / np.where(spread > 0, spread, 1.0)
    found = []
    for cell in cells:
        asked = ~np.isnan(wanted[cell])
        away = ((scaled - wanted[cell] / np.where(spread > 0, spread, 1.0))[:, asked] ** 2).sum(axis=1)
        if np.isnan(away).all():
            raise FamilyError(f"no member of family {family.name} has all features given of cell {cell}")
        found.append(ids[int(np.nanargmin(away))])
    return cells, found


def _merged(tables: Sequence[tuple[np.ndarray, CellTable]]) -> CellTable:
    """One table of all cells, with the parameters and features that all parts have."""
    back = np.argsort(np.concatenate([rows for rows, _ in tables]), kind="stable")
    parts = [table for _, table in tables]

    def joined(kind: str) -> dict[str, Float64]:
        first = getattr(parts[0], kind)
        names = [name for name in first if all(name in getattr(part, kind) for part in parts)]
        return {name: np.concatenate([getattr(part, kind)[name] for part in parts])[back] for name in names}

    code = np.concatenate([part.code for part in parts])[back]
    labels = [label for part in parts for label in part.labels]
    return CellTable(
        len(code), code, joined("parameters"), joined("features"), tuple(labels[i] for i in back.tolist())
    )
