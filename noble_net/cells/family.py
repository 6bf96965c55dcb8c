"""A cell family: a table of members (real cells, each exact in NEURON), their features and their latent code.

On disk a family is two files, ``<name>.csv`` (one row a member: role, parameters, features) and ``<name>.json``
(the model the parameters belong to, their distribution, licence, how many candidates were redrawn and why).
The hash over both names the family; a core stores the hash of the family it was trained on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from noble_net.cells.features import FEATURES
from noble_net.errors import FamilyError
from noble_net.types import CellTable, Float32, Float64

ROLES = ("train", "held_out")


@dataclass(frozen=True)
class Family:
    """A table of members and the distribution they were drawn from.

    ``table``: DataFrame indexed by member id with columns ``role``, one per parameter and one per feature.
    ``about``: the JSON file: ``fit``, ``morphology``, ``parameters`` (name → published value), ``sigma`` and
    ``bound`` (the log-normal's standard deviation, and its truncation in standard deviations).
    """

    name: str
    table: pd.DataFrame
    about: Mapping[str, Any]
    hash: str

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the varied parameters, in the order of the code."""
        return tuple(self.about["parameters"])

    @property
    def bound(self) -> float:
        """Largest absolute value of a code, in standard deviations."""
        return float(self.about["bound"])

    def ids(self, role: str = "all") -> list[str]:
        """Member ids of a role ('train', 'held_out' or 'all'), in table order."""
        if role not in (*ROLES, "all"):
            raise FamilyError(f"role {role!r} is none of train, held_out, all")
        chosen = self.table.index if role == "all" else self.table.index[self.table["role"] == role]
        return [str(i) for i in chosen]

    def codes(self, ids: Sequence[str]) -> Float32:
        """Latent codes, float32 [members, parameters]: log(parameter / published value) / sigma."""
        values = self.table.loc[list(ids), list(self.parameter_names)].to_numpy(np.float64)
        return self.encode(values)

    def encode(self, parameters: Float64) -> Float32:
        """Code of parameter values, float [cells, parameters] → float32 [cells, parameters]."""
        return (np.log(parameters / self._published) / self._sigma).astype(np.float32)

    def decode(self, code: Float32) -> Float64:
        """Parameter values of a code; the inverse of `encode`."""
        return np.asarray(self._published * np.exp(self._sigma * code.astype(np.float64)))

    def cells(self, ids: Sequence[str]) -> CellTable:
        """Members as a cell table, with their exact parameters and measured features."""
        rows = self.table.loc[list(ids)]
        return CellTable(
            size=len(rows),
            code=self.codes(ids),
            parameters={name: rows[name].to_numpy(np.float64) for name in self.parameter_names},
            features={name: rows[name].to_numpy(np.float64) for name in FEATURES},
            labels=tuple(str(i) for i in rows.index),
        )

    @cached_property
    def _published(self) -> Float64:
        return np.array([self.about["parameters"][name] for name in self.parameter_names], np.float64)

    @property
    def _sigma(self) -> float:
        return float(self.about["sigma"])


def read_family(csv: Path) -> Family:
    """Read a family from its table; the JSON file lies beside it. Raises FamilyError naming the file."""
    about_path = csv.with_suffix(".json")
    try:
        table_bytes, about_bytes = csv.read_bytes(), about_path.read_bytes()
        about = json.loads(about_bytes)
        table = pd.read_csv(csv, index_col="member", dtype={"member": str, "role": str})
    except (OSError, ValueError) as error:
        raise FamilyError(f"family table {csv} (with {about_path.name}) cannot be read: {error}") from error
    missing = {"role", *about.get("parameters", {}), *FEATURES} - set(table.columns)
    if missing or not {"parameters", "sigma", "bound", "fit", "morphology"} <= set(about):
        raise FamilyError(f"family table {csv} or {about_path.name} lacks {sorted(missing) or 'its model'}")
    digest = hashlib.sha256(table_bytes + about_bytes).hexdigest()
    return Family(csv.stem, table, about, digest)
