"""A cell family: a table of members (real cells, each exact in NEURON), their features and their latent code.

On disk a family is two files, ``<name>.csv`` (one row a member: role, parameters, features) and ``<name>.json``
(what the cells are made of, which parameters differ and how they are coded, licence, how members came about).
The hash over both names the family; a core stores the hash of the family it was trained on.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from noble_net.errors import FamilyError, shortened
from noble_net.types import CellTable, Float32, Float64

if TYPE_CHECKING:
    from noble_net.cells.model import CellModel

ROLES = ("train", "held_out")

BOOKKEEPING = ("role", "hall_of_fame", "z_score", "seed", "target")
"""Columns that are neither parameters nor features."""

_DAMAGED = "Fetch the table and the JSON file again, or make the family anew"
_REQUIRED = ("I_thr", "s_thr", "input_resistance", "voltage_base")
"""Features every family has."""


@dataclass(frozen=True)
class Family:
    """A table of members and what they are made of.

    ``table``: DataFrame indexed by member id with columns ``role``, one per parameter and one per feature; evolved
    families also have ``hall_of_fame`` (0 or 1), ``z_score``, ``seed`` and ``target``.
    ``about``: the JSON file: ``cell`` (a `noble_net.specs.families.CellSpec`), ``parameters`` (name → ``centre``,
    ``sd`` and ``logarithmic``: how the code is standardised) and ``bound`` (a drawn family's truncation, else null).
    ``folder``: where paths in ``cell`` start.
    """

    name: str
    table: pd.DataFrame
    about: Mapping[str, Any]
    hash: str
    folder: Path = Path()

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the varied parameters, in the order of the code."""
        return tuple(self.about["parameters"])

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the measured features, in table order."""
        other = {*BOOKKEEPING, *self.parameter_names}
        return tuple(str(name) for name in self.table.columns if name not in other)

    @property
    def bound(self) -> float | None:
        """Largest absolute value of a code, in standard deviations; None when members were not drawn that way."""
        bound = self.about["bound"]
        return None if bound is None else float(bound)

    @cached_property
    def model(self) -> CellModel:
        """The cell in NEURON whose parameters the members are. Raises FamilyError when its files are missing."""
        from noble_net.cells.model import CellModel
        from noble_net.specs.families import CellSpec

        return CellModel.from_spec(CellSpec.model_validate(self.about["cell"]), self.folder)

    def ids(self, role: str = "all", *, hall_of_fame: bool = False) -> list[str]:
        """Member ids of a role ('train', 'held_out' or 'all'), in table order; the hall of fame alone if asked."""
        if role not in (*ROLES, "all"):
            raise FamilyError(f"role {role!r} is none of train, held_out, all")
        chosen = np.ones(len(self.table), bool) if role == "all" else (self.table["role"] == role).to_numpy()
        if hall_of_fame:
            if "hall_of_fame" not in self.table:
                raise FamilyError(f"family {self.name} has no hall of fame: it was not evolved")
            chosen = chosen & (self.table["hall_of_fame"] == 1).to_numpy()
        return [str(i) for i in self.table.index[chosen]]

    def codes(self, ids: Sequence[str]) -> Float32:
        """Latent codes, float32 [members, parameters]: (log(parameter) − log(centre)) / sd."""
        values = self.table.loc[list(ids), list(self.parameter_names)].to_numpy(np.float64)
        return self.encode(values)

    def encode(self, parameters: Float64) -> Float32:
        """Code of parameter values, float [cells, parameters] → float32 [cells, parameters]."""
        scaling = self._scaling
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.log(parameters / scaling.centre)
        return (np.where(scaling.logarithmic, logs, parameters - scaling.centre) / scaling.sd).astype(
            np.float32
        )

    def decode(self, code: Float32) -> Float64:
        """Parameter values of a code; the inverse of `encode`."""
        scaling, scaled = self._scaling, self._scaling.sd * code.astype(np.float64)
        return np.asarray(
            np.where(
                scaling.logarithmic,
                scaling.centre * np.exp(np.where(scaling.logarithmic, scaled, 0.0)),
                scaling.centre + scaled,
            )
        )

    def cells(self, ids: Sequence[str]) -> CellTable:
        """Members as a cell table, with their exact parameters and measured features."""
        rows = self.table.loc[list(ids)]
        return CellTable(
            size=len(rows),
            code=self.codes(ids),
            parameters={name: rows[name].to_numpy(np.float64) for name in self.parameter_names},
            features={name: rows[name].to_numpy(np.float64) for name in self.feature_names},
            labels=tuple(str(i) for i in rows.index),
        )

    @cached_property
    def _scaling(self) -> _Scaling:
        rows = list(self.about["parameters"].values())
        return _Scaling(
            np.array([row["centre"] for row in rows], np.float64),
            np.array([row["sd"] for row in rows], np.float64),
            np.array([row["logarithmic"] for row in rows], bool),
        )


@dataclass(frozen=True)
class _Scaling:
    """How parameters become a code, one entry a parameter."""

    centre: Float64
    sd: Float64
    logarithmic: np.ndarray[Any, np.dtype[np.bool_]]


def read_family(csv: Path) -> Family:
    """Read a family from its table; the JSON file lies beside it. Raises FamilyError naming the file."""
    about_path = csv.with_suffix(".json")
    try:
        table_bytes, about_bytes = csv.read_bytes(), about_path.read_bytes()
        about = json.loads(about_bytes)
        table = pd.read_csv(csv, index_col="member", dtype={"member": str, "role": str})
    except (OSError, ValueError, RecursionError) as error:
        raise FamilyError(
            f"family table {csv} (with {about_path.name}) cannot be read: {error}. {_DAMAGED}"
        ) from error
    _check_description(about_path, about)
    missing = {"role", *about["parameters"], *_REQUIRED} - set(table.columns)
    if missing:
        raise FamilyError(f"family table {csv} lacks {sorted(missing)}. {_DAMAGED}")
    _check_table(csv, table, about["parameters"])
    digest = hashlib.sha256(table_bytes + about_bytes).hexdigest()
    return Family(csv.stem, table, about, digest, csv.parent)


def _check_description(path: Path, about: Any) -> None:
    """Raise FamilyError unless the JSON file describes a family's cell and its parameters."""
    kinds: dict[str, tuple[type, ...]] = {
        "cell": (dict,),
        "parameters": (dict,),
        "bound": (int, float, type(None)),
    }
    for key, kind in kinds.items():
        if not isinstance(about, dict) or not isinstance(about.get(key, ...), kind):
            raise FamilyError(f"{path} lacks a family's `{key}`. {_DAMAGED}")
    if about["bound"] is not None and not (0 < about["bound"] < math.inf):
        raise FamilyError(f"{path}: `bound` is {about['bound']}, not a number above 0. {_DAMAGED}")
    for name, coding in about["parameters"].items():
        try:
            centre, sd, logarithmic = coding["centre"], coding["sd"], coding["logarithmic"]
            whole = (
                isinstance(logarithmic, bool)
                and math.isfinite(centre)
                and math.isfinite(sd)
                and sd > 0
                and (centre > 0 or not logarithmic)
            )
        except (KeyError, TypeError, OverflowError):
            whole = False
        if not whole:
            wanted = "a finite `centre`, an `sd` above 0 and `logarithmic`"
            raise FamilyError(f"{path}: parameter {shortened(name)} wants {wanted}. {_DAMAGED}")


def _check_table(csv: Path, table: pd.DataFrame, parameters: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise FamilyError unless members have names and roles of their own and finite parameters; features may lack."""
    if not len(table) or table.index.isna().any() or not table.index.is_unique:
        raise FamilyError(f"family table {csv} has no members, or two or one without a name. {_DAMAGED}")
    odd = ~table["role"].isin(ROLES)
    if odd.any():
        raise FamilyError(
            f"family table {csv}: the role of member {table.index[odd][0]} is none of {ROLES}. {_DAMAGED}"
        )
    for name in (*parameters, *_REQUIRED):
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise FamilyError(
                f"family table {csv}: column {name} holds something that is no number. {_DAMAGED}"
            )
    for column_name, column in table.select_dtypes("number").items():
        if column_name not in parameters and np.isinf(column.to_numpy(np.float64)).any():
            raise FamilyError(
                f"family table {csv}: column {column_name} holds an infinite number. {_DAMAGED}"
            )
    for name, coding in parameters.items():
        values = table[name].to_numpy(np.float64)
        bad = ~np.isfinite(values) | ((values <= 0) & bool(coding["logarithmic"]))
        if bad.any():
            raise FamilyError(
                f"family table {csv}: {name} of member {table.index[bad][0]} is {values[bad][0]}, which no cell "
                f"can have. {_DAMAGED}"
            )
