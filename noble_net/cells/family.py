"""A cell family: a table of members (real cells, each exact in NEURON), their features and their latent code.

On disk a family is two files, ``<name>.csv`` (one row a member: role, parameters, features) and ``<name>.json``
(what the cells are made of, which parameters differ and how they are coded, licence, how members came about).
The hash over both names the family; a core stores the hash of the family it was trained on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from noble_net.errors import FamilyError
from noble_net.types import CellTable, Float32, Float64

if TYPE_CHECKING:
    from noble_net.cells.model import CellModel

ROLES = ("train", "held_out")

BOOKKEEPING = ("role", "hall_of_fame", "z_score", "seed", "target")
"""Columns that are neither parameters nor features."""

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
    except (OSError, ValueError) as error:
        raise FamilyError(f"family table {csv} (with {about_path.name}) cannot be read: {error}") from error
    missing = {"role", *about.get("parameters", {}), *_REQUIRED} - set(table.columns)
    if missing or not {"cell", "parameters", "bound"} <= set(about):
        raise FamilyError(f"family table {csv} or {about_path.name} lacks {sorted(missing) or 'its cell'}")
    digest = hashlib.sha256(table_bytes + about_bytes).hexdigest()
    return Family(csv.stem, table, about, digest, csv.parent)
