"""Sampling cells from a family's latent space.

The code of a family is its standardised log-conductances, so that a sampled code *is* a set of parameters:
every sampled cell can also be solved exactly. Three ways to sample:

- ``members``: members of a role, without repeating one until all have been used;
- ``gaussian``: the family's own distribution, a Gaussian in the code truncated at its bound;
- ``hull``: a random convex combination (flat Dirichlet weights) of n + 1 random members, n the number of
  code dimensions. Inside the members' convex hull by construction, but denser towards its middle than uniform.

``spread`` contracts every sample towards the medoid member (0: all cells are the medoid; 1: as sampled).
I_thr and s_thr of a member are its measured ones; for other cells they are predicted (`FeatureModel`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import truncnorm

from noble_net.cells.family import Family
from noble_net.errors import FamilyError
from noble_net.types import CellTable, Float32, Float64

PREDICTED = ("I_thr", "s_thr", "input_resistance", "voltage_base")
"""Features predicted for cells that are not members."""

Generators = Callable[[int], np.random.Generator]
"""Local cell id → its own random generator, so that a cell never depends on the others."""


def sample_cells(
    family: Family,
    size: int,
    *,
    source: str,
    role: str = "all",
    spread: float = 1.0,
    generator_of: Generators,
) -> CellTable:
    """Draw ``size`` cells. Cell i depends on ``generator_of(i)`` alone (members: also on ``generator_of(-1)``, which
    shuffles the members' order), so a larger population begins with the cells of a smaller one.

    Raises FamilyError for an unknown source or a role without members.
    """
    ids = family.ids(role)
    if not ids:
        raise FamilyError(f"family {family.name} has no members of role {role!r}")
    if source == "members":
        order = generator_of(-1).permutation(len(ids))
        cells = family.cells([ids[order[i % len(ids)]] for i in range(size)])
        return cells if spread == 1.0 else _contracted(family, cells.code, spread, "members")
    if source == "gaussian":
        code = np.stack([_gaussian(family, generator_of(i)) for i in range(size)])
    elif source == "hull":
        members = family.codes(ids)
        code = np.stack([_in_hull(members, generator_of(i)) for i in range(size)])
    else:
        raise FamilyError(f"source {source!r} is none of members, gaussian, hull")
    return _contracted(family, code, spread, source)


def medoid(family: Family, ids: Sequence[str]) -> str:
    """The member with the smallest summed distance to the others, in the code."""
    codes = family.codes(ids).astype(np.float64)
    distance = np.sqrt(((codes[:, None] - codes[None]) ** 2).sum(axis=2)).sum(axis=1)
    return ids[int(np.argmin(distance))]


def from_codes(family: Family, code: Float32, label: str) -> CellTable:
    """Cells at given codes, float32 [cells, parameters], with predicted features."""
    values = family.decode(code)
    return CellTable(
        size=len(code),
        code=code.astype(np.float32),
        parameters={name: values[:, j] for j, name in enumerate(family.parameter_names)},
        features=FeatureModel.fit(family).predict(code),
        labels=(label,) * len(code),
    )


@dataclass(frozen=True)
class FeatureModel:
    """Features as a quadratic of the code, by ridge regression on all members.

    ``r2`` is the share of variance explained in five-fold cross-validation, per feature.
    """

    coefficients: Float64
    r2: dict[str, float]

    @staticmethod
    def fit(family: Family, ridge: float = 1.0) -> FeatureModel:
        """Fit on the family's members, leaving out members that lack a feature."""
        codes = family.codes(family.ids()).astype(np.float64)
        design = _quadratic(codes)
        target = family.table[list(PREDICTED)].to_numpy(np.float64)
        folds = np.arange(len(target)) % 5
        held = np.empty_like(target)
        for k in range(5):
            held[folds == k] = design[folds == k] @ _ridge(design[folds != k], target[folds != k], ridge)
        residual = ((held - target) ** 2).sum(axis=0)
        total = ((target - target.mean(axis=0)) ** 2).sum(axis=0)
        r2 = {name: float(1.0 - residual[j] / total[j]) for j, name in enumerate(PREDICTED)}
        return FeatureModel(_ridge(design, target, ridge), r2)

    def predict(self, code: Float32) -> dict[str, Float64]:
        """Predicted features of codes float32 [cells, parameters]."""
        values = _quadratic(code.astype(np.float64)) @ self.coefficients
        return {name: values[:, j] for j, name in enumerate(PREDICTED)}


def _contracted(family: Family, code: Float32, spread: float, label: str) -> CellTable:
    if spread != 1.0:
        centre = family.codes([medoid(family, family.ids())])
        code = (centre + spread * (code - centre)).astype(np.float32)
    return from_codes(family, code, label)


def _gaussian(family: Family, generator: np.random.Generator) -> Float32:
    uniform = generator.random(len(family.parameter_names))
    return np.asarray(truncnorm.ppf(uniform, -family.bound, family.bound), np.float32)


def _in_hull(members: Float32, generator: np.random.Generator) -> Float32:
    corners = generator.choice(len(members), size=min(members.shape[1] + 1, len(members)), replace=False)
    weights = generator.dirichlet(np.ones(len(corners)))
    return np.asarray(weights @ members[corners], np.float32)


def _quadratic(code: Float64) -> Float64:
    pairs = [code[:, i] * code[:, j] for i in range(code.shape[1]) for j in range(i, code.shape[1])]
    return np.column_stack([np.ones(len(code)), code, *pairs])


def _ridge(design: Float64, target: Float64, ridge: float) -> Float64:
    penalty = ridge * np.eye(design.shape[1])
    penalty[0, 0] = 0.0
    return np.asarray(np.linalg.solve(design.T @ design + penalty, design.T @ target))
