"""Sampling cells from a family's latent space.

The code of a family is its standardised parameters (most by their logarithm), so that a sampled code *is* a set
of parameters: every sampled cell can also be solved exactly. Ways to sample (see `LatentSpace` for the geometry):

- ``members``: members of a role, without repeating one until all have been used;
- ``gaussian``: the distribution the family was drawn from, a Gaussian in the code truncated at its bound; for a
  family that was not drawn from one, the Gaussian with the mean and covariance of the members;
- ``kde``: the kernel density of the members;
- ``hull``: uniform in the convex hull of the members;
- ``circle``: uniform in a small ball around one member;
- ``fixed``: one member, as often as there are cells.

``spread`` contracts every sample towards the medoid member (0: all cells are the medoid; 1: as sampled).
I_thr and s_thr of a member are its measured ones; for other cells they are predicted (`FeatureModel`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from scipy.stats import truncnorm

from noble_net.cells.family import Family
from noble_net.cells.latent_space import LatentSpace, Outside
from noble_net.errors import FamilyError
from noble_net.specs.specification import nearest
from noble_net.types import CellTable, Float32, Float64

PREDICTED = ("I_thr", "s_thr", "input_resistance", "voltage_base")
"""Features predicted for cells that are not members."""

Generators = Callable[[int], np.random.Generator]
"""Local cell id → its own random generator, so that a cell never depends on the others."""


SOURCES = ("members", "gaussian", "kde", "hull", "circle", "fixed")


def sample_cells(
    family: Family,
    size: int,
    *,
    source: str,
    role: str = "all",
    spread: float = 1.0,
    outside: Outside | Literal["redraw"] = "allow",
    around: str | None = None,
    radius: float | None = None,
    member: str | None = None,
    generator_of: Generators,
    what: str = "",
) -> CellTable:
    """Draw ``size`` cells. Cell i depends on ``generator_of(i)`` alone (members: also on ``generator_of(-1)``, which
    shuffles the members' order), so a larger population begins with the cells of a smaller one.

    ``outside`` says what to do about cells that, contracted by ``spread``, lie outside the hull of the role's members,
    as most of `gaussian`, `kde` and `circle` do in many dimensions: nothing, draw them again, warn
    (LatentSpaceWarning) or fail. ``around`` (any member's id) and ``radius`` (a share of the members' range) belong to
    `circle`, ``member`` to `fixed`. ``what`` names the cells in messages (default: the family).

    Raises FamilyError for an unknown source or member, a role without members, and as ``outside`` asks.
    """
    if source not in SOURCES:
        raise FamilyError(f"source {source!r} is none of {', '.join(SOURCES)}")
    if source == "fixed":
        return family.cells([_known(family, member, "fixed needs a member")] * size)
    space = LatentSpace.of_code(family, role)
    if source == "members":
        order = generator_of(-1).permutation(len(space.labels))
        cells = family.cells([space.labels[order[i % len(order)]] for i in range(size)])
        if spread == 1.0:
            return cells
        return from_codes(family, _contraction(family, spread)(cells.code), source)
    name, draw = _draw(family, space, source, around, radius)
    contracted = _contraction(family, spread)

    def drawn(generator: np.random.Generator) -> Float64:
        return np.asarray(contracted(draw(generator).astype(np.float32))[0], np.float64)

    code = np.empty((size, len(space.names)), np.float32)
    for i in range(size):
        code[i] = space.drawn(partial(drawn, generator_of(i)), name, inside=outside == "redraw")[0]
    if outside != "redraw":
        space.check(code.astype(np.float64), outside, what or f"family {family.name}")
    return from_codes(family, code, source)


def medoid(family: Family, ids: Sequence[str]) -> str:
    """The member with the smallest summed distance to the others, in the code: standard deviations throughout,
    so not scaled."""
    codes = family.codes(ids).astype(np.float64)
    return LatentSpace(family.parameter_names, codes, tuple(ids)).medoid(scaled=False)


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

    ``r2`` is the share of variance explained in five-fold cross-validation, per feature; ``errors`` float64 [members,
    features] are what the predictions of that cross-validation miss by.
    """

    coefficients: Float64
    r2: dict[str, float]
    names: tuple[str, ...]
    errors: Float64

    @staticmethod
    def fit(family: Family, ridge: float = 1.0, names: Sequence[str] = PREDICTED) -> FeatureModel:
        """Fit on the family's members, leaving out members that lack one of the features of ``names``."""
        measured = family.table[list(names)].dropna()
        design = _quadratic(family.codes([str(i) for i in measured.index]).astype(np.float64))
        target = measured.to_numpy(np.float64)
        folds = np.arange(len(target)) % 5
        held = np.empty_like(target)
        for k in range(5):
            held[folds == k] = design[folds == k] @ _ridge(design[folds != k], target[folds != k], ridge)
        errors = held - target
        residual = (errors**2).sum(axis=0)
        total = ((target - target.mean(axis=0)) ** 2).sum(axis=0)
        r2 = {name: float(1.0 - residual[j] / total[j]) for j, name in enumerate(names)}
        return FeatureModel(_ridge(design, target, ridge), r2, tuple(names), errors)

    def predict(self, code: Float32 | Float64) -> dict[str, Float64]:
        """Predicted features of codes [cells, parameters]."""
        values = _quadratic(code.astype(np.float64)) @ self.coefficients
        return {name: values[:, j] for j, name in enumerate(self.names)}


def _draw(
    family: Family, space: LatentSpace, source: str, around: str | None, radius: float | None
) -> tuple[str, Callable[[np.random.Generator], Float64]]:
    """What a source is called, and what draws one code of it, float64 [1, parameters], in the hull or not."""
    if source == "gaussian" and (bound := family.bound) is not None:
        # The distribution that made the family.
        return "the family's Gaussian", lambda generator: np.asarray(
            truncnorm.ppf(generator.random((1, len(space.names))), -bound, bound), np.float64
        )
    if source == "gaussian":
        return "the members' Gaussian", partial(space.gaussian, inside=False)
    if source == "kde":
        return "the members' kernel density", partial(space.kde, inside=False)
    if source == "hull":
        return "the hull", space.uniform
    centre = family.codes([_known(family, around, "circle needs a member to be around")])[0]
    share = 0.0 if radius is None else radius
    return f"the circle of radius {share:g}", partial(
        space.circle, around=centre.astype(np.float64), radius=share
    )


def _contraction(family: Family, spread: float) -> Callable[[Float32], Float32]:
    """What moves codes, float32 [cells, parameters], towards the medoid member."""
    if spread == 1.0:
        return lambda code: code
    centre = family.codes([medoid(family, family.ids())])
    return lambda code: (centre + spread * (code - centre)).astype(np.float32)


def _known(family: Family, member: str | None, needed: str) -> str:
    if member is None:
        raise FamilyError(needed)
    ids = family.ids()
    if member not in ids:
        raise FamilyError(f"family {family.name} has no member {member!r}: {nearest(member, ids)}")
    return member


def _quadratic(code: Float64) -> Float64:
    pairs = [code[:, i] * code[:, j] for i in range(code.shape[1]) for j in range(i, code.shape[1])]
    return np.column_stack([np.ones(len(code)), code, *pairs])


def _ridge(design: Float64, target: Float64, ridge: float) -> Float64:
    penalty = ridge * np.eye(design.shape[1])
    penalty[0, 0] = 0.0
    return np.asarray(np.linalg.solve(design.T @ design + penalty, design.T @ target))
