"""A cell's code as a Gaussian: that of a family's members before anything is known, and what is known afterwards."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from noble_net.cells.family import Family
from noble_net.types import Float64

NOTHING = 1e-12
"""Share of the largest variance below which there is none, only rounding."""
RIDGE = 1e-3
"""Of the members' variance, added to every direction: members can lie in a plane."""


class Prior(NamedTuple):
    """The Gaussian of a family's members in the code: ``mean`` [C], ``covariance`` [C, C], and how far the members lie
    from the mean, in its standard deviations (Mahalanobis), ``furthest``."""

    mean: Float64
    covariance: Float64
    furthest: float

    @staticmethod
    def of(family: Family, ids: list[str] | None = None) -> Prior:
        """Of all members, or of those of ``ids``."""
        codes = family.codes(family.ids() if ids is None else ids).astype(np.float64)
        mean = codes.mean(axis=0)
        covariance = np.atleast_2d(np.cov(codes.T))
        covariance = covariance + RIDGE * np.trace(covariance) / len(mean) * np.eye(len(mean))
        prior = Prior(mean, covariance, 0.0)
        return prior._replace(furthest=max(prior.distance(code) for code in codes))

    def distance(self, code: Float64) -> float:
        """Of a code from the mean, in standard deviations."""
        away = code - self.mean
        return float(np.sqrt(away @ np.linalg.solve(self.covariance, away)))

    @property
    def root(self) -> Float64:
        """The matrix R with RᵀR the inverse of the covariance."""
        return whitening(self.covariance)


class Posterior(NamedTuple):
    """A code's ``mean`` [C] and ``covariance`` [C, C]."""

    mean: Float64
    covariance: Float64

    @property
    def sd(self) -> Float64:
        """Standard deviation of each entry [C]."""
        return np.sqrt(np.diag(self.covariance))

    def sample(self, count: int, seed: int) -> Float64:
        """Codes drawn from it [count, C]."""
        generator = np.random.default_rng(seed)
        return generator.multivariate_normal(self.mean, self.covariance, count, method="cholesky")


def whitening(covariance: Float64) -> Float64:
    """The matrix R with RᵀR the inverse of a covariance."""
    lower = cholesky(covariance, lower=True)
    return np.asarray(solve_triangular(lower, np.eye(len(lower)), lower=True))


def whitening_where_varied(covariance: Float64) -> Float64:
    """The matrix R [r, C] with RᵀR the pseudo-inverse of a covariance of rank r: nothing on what never varies."""
    variances, directions = np.linalg.eigh(covariance)
    some = variances > NOTHING * variances[-1]
    return np.asarray((directions[:, some] / np.sqrt(variances[some])).T)
