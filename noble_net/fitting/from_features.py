"""A cell's code from its features alone: those of a paper's table, or of a cell whose recording is not at hand.

Features are predicted from the code (`noble_net.cells.latent.FeatureModel`), with the error that the prediction has on
members it was not fitted to. The code is the most probable one under the family's Gaussian, its covariance Laplace's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

from noble_net.cells.family import Family
from noble_net.cells.latent import FeatureModel
from noble_net.errors import RecordingError, shortened
from noble_net.fitting.gaussian import Posterior, Prior, whitening
from noble_net.report.family_statistics import UNITS
from noble_net.specs.specification import nearest
from noble_net.types import Float64

DIFFERENCE = 1e-4
"""Step of the differences by which predicted features are derived, standard deviations of the code."""

FAR = 10.0
"""A feature that lies further beyond the members' than this many times their range is in another unit."""


class Expected(NamedTuple):
    """A feature of a fitted cell: its expected value, standard deviation and 90 % interval."""

    mean: float
    sd: float
    low: float
    high: float


def code_from_features(family: Family, features: Mapping[str, float]) -> Posterior:
    """The code of a cell with these features, by names and in units of the family's table.

    Raises RecordingError for names that the family has not, and values that are no finite numbers or in another unit.
    """
    names = _checked(family, features)
    model = FeatureModel.fit(family, names=names)
    wanted = np.array([features[name] for name in names])
    error = np.atleast_2d(np.cov(model.errors.T)) + 1e-9 * np.diag(np.var(model.errors, axis=0) + 1e-30)
    white = whitening(error)
    prior = Prior.of(family)

    def predicted(code: Float64) -> Float64:
        found = model.predict(np.atleast_2d(code))
        return np.stack([found[name] for name in names], axis=-1)

    def residuals(code: Float64) -> Float64:
        return np.concatenate([white @ (predicted(code)[0] - wanted), prior.root @ (code - prior.mean)])

    def derived(code: Float64) -> Float64:
        moved = DIFFERENCE * np.eye(len(code))
        slopes = (predicted(code + moved) - predicted(code - moved)) / (2.0 * DIFFERENCE)
        return np.concatenate([white @ slopes.T, prior.root])

    found = least_squares(residuals, prior.mean, derived, method="trf")
    slopes = derived(found.x)
    return Posterior(np.asarray(found.x), np.asarray(np.linalg.inv(slopes.T @ slopes), np.float64))


def expected_features(
    family: Family, posterior: Posterior, names: Sequence[str], *, draws: int = 2000, seed: int = 1
) -> dict[str, Expected]:
    """Features of a cell of uncertain code: from draws of the code, with the error of the prediction."""
    model = FeatureModel.fit(family, names=names)
    codes = posterior.sample(draws, seed).astype(np.float32)
    generator = np.random.default_rng([seed, 1])
    found = {}
    for j, (name, values) in enumerate(model.predict(codes).items()):
        drawn = values + generator.choice(model.errors[:, j], draws)
        low, high = np.percentile(drawn, [5.0, 95.0])
        found[name] = Expected(float(drawn.mean()), float(drawn.std()), float(low), float(high))
    return found


def _checked(family: Family, features: Mapping[str, float]) -> list[str]:
    known = [name for name in family.feature_names if family.table[name].std() > 0]
    for name, value in features.items():
        if name not in known:
            raise RecordingError(
                f"family {family.name} has no feature {shortened(name)!r}: {nearest(name, known)}"
            )
        if not np.isfinite(value):
            raise RecordingError(f"feature {name} is {value}. Leave it out, or give a number")
        low, high = float(family.table[name].min()), float(family.table[name].max())
        if not -FAR * (high - low) <= value - low <= (1.0 + FAR) * (high - low):
            raise RecordingError(
                f"feature {name} is {value:g}, far beyond the members of family {family.name}, {low:.3g} to "
                f"{high:.3g}. Give it in {UNITS.get(name, 'the unit of the family table')}, or take another family"
            )
    if not features:
        raise RecordingError(f"no features are given. Give some of {', '.join(known)}")
    return list(features)


def read_features(path: Path) -> dict[str, float]:
    """Features of a CSV table with the columns ``name`` and ``value``. Raises RecordingError."""
    import pandas as pd

    if not path.is_file():
        raise RecordingError(f"there is no file {path}. Give a table with the columns name, value")
    try:
        table = pd.read_csv(path, skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path} cannot be read: {error}. Give columns name, value") from error
    missing = {"name", "value"} - set(table.columns)
    if missing:
        raise RecordingError(f"{path} has no column {sorted(missing)[0]}. Give columns name, value")
    names = [str(name).strip() for name in table["name"]]
    if len(set(names)) < len(names):
        raise RecordingError(f"{path} has a feature twice. Remove one")
    found = {}
    for row, (name, value) in enumerate(zip(names, table["value"], strict=True)):
        try:
            found[name] = float(value)
        except ValueError:
            raise RecordingError(
                f"{path}: row {row} (from 0): {name} is {shortened(value)!r}, no number. Correct it"
            ) from None
    return found
