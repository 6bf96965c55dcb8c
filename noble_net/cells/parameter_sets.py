"""Ready parameter sets: a CSV table, or the ``final.json`` that BluePyOpt's workflows leave."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from noble_net.cells.model import CellModel
from noble_net.errors import FamilyError
from noble_net.specs.families import SECTIONS, TableSpec, never_negative


def read_parameter_sets(spec: TableSpec, model: CellModel) -> list[dict[str, float]]:
    """The parameter sets of a file, named as the cell names them. Raises FamilyError naming file and parameter.

    A ``final.json`` maps models' names to ``{"params": {...}}`` (BluePyEModel) or directly to their parameters; a list
    of such entries and a single one are read as well. Text that is not named like a parameter is left out, and so is
    ``spec.leave_out``. Names go through ``spec.rename``; BluePyOpt's section lists (``gbar_NaV.somatic``, axonal,
    basal, apical) are understood.
    """
    path = Path(spec.file)
    raw = _read(path)
    given = {str(name) for entry in raw for name in entry}
    odd = sorted({*spec.rename, *spec.leave_out} - given)
    if odd:
        raise FamilyError(f"{path} has no {odd}, which the recipe's table names; it has {sorted(given)}")
    sets = [_renamed(entry, spec, path) for entry in raw]
    if not sets or not any(sets):
        raise FamilyError(f"{path} holds no parameter set")
    unknown = sorted({name for each in sets for name in each} - set(model.parameters))
    if unknown:
        raise FamilyError(
            f"{path}: the cell has no parameter {unknown}: add it to `values`, `rename` it to one of "
            f"{sorted(model.parameters)}, or name it in `leave_out`"
        )
    _check(sets, path)
    return sets


_LISTS = {"somatic": "soma", "axonal": "axon", "basal": "dend", "apical": "apic"}


def _read(path: Path) -> list[Mapping[str, object]]:
    """Entries of a file, name → value."""
    try:
        if path.suffix.lower() != ".json":
            return [dict(row) for row in pd.read_csv(path).to_dict("records")]  # type: ignore[arg-type]
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FamilyError(f"parameter sets {path} cannot be read: {error}") from error
    if isinstance(content, dict):
        single = "params" in content or not any(isinstance(each, dict) for each in content.values())
        content = [content] if single else list(content.values())
    entries = [each.get("params", each) if isinstance(each, dict) else each for each in content]
    if not all(isinstance(each, dict) for each in entries):
        raise FamilyError(
            f'{path} is no table of parameter sets: write {{name: {{"params": {{parameter: value}}}}}}'
        )
    return entries


def _renamed(entry: Mapping[str, object], spec: TableSpec, path: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for given, value in entry.items():
        if given in spec.leave_out:
            continue
        variable, dot, section = str(given).rpartition(".")
        ours = spec.rename.get(str(given), f"{variable}{dot}{_LISTS.get(section, section)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            if ours.rpartition(".")[2] in (*SECTIONS, "all") or isinstance(value, int | float):
                raise FamilyError(f"{path}: parameter {given} is {value!r} in one of the sets, not a number")
            continue
        if ours in found:
            raise FamilyError(f"{path}: two columns are parameter {ours}; one of them is {given}")
        if value < 0 and never_negative(ours):
            raise FamilyError(
                f"{path}: parameter {given} is {value!r} in one of the sets: it cannot be below 0"
            )
        found[ours] = float(value)
    return found


def _check(sets: Sequence[Mapping[str, float]], path: Path) -> None:
    """Raise FamilyError unless the sets name the same parameters and differ."""
    first: dict[tuple[tuple[str, float], ...], int] = {}
    for number, each in enumerate(sets, start=1):
        if set(each) != set(sets[0]):
            odd = sorted(set(each) ^ set(sets[0]))
            raise FamilyError(
                f"{path}: not all sets name the same parameters: sets 1 and {number} differ in {odd}"
            )
        clone = first.setdefault(tuple(sorted(each.items())), number)
        if clone != number:
            raise FamilyError(f"{path}: sets {clone} and {number} are the same: leave one out")
