"""A cell's code from a recording: the most probable one, and how uncertain it is.

A core is not the cell: told the true code, its mean score (see `noble_net.fitting.objective`) is not zero on a
recording, by more than chance. Taken for independent noise, millions of small errors of one kind would make any code
seem certain and wrong. So the code is estimated by the generalised method of moments (Hansen 1982): the scores g(c) of
a code c are the moments, which at the true code have the mean and covariance that they were found to have on members of
the family (`noble_net.fitting.calibration`), plus what they vary by from stretch to stretch of the recording. With
S their covariance and N(μ, P⁻¹) the family's Gaussian, what is minimised is

    ½ (g(c) − ḡ)ᵀ S⁻¹ (g(c) − ḡ) + ½ (c − μ)ᵀ P (c − μ),

and the covariance of the code is (H S⁻¹ H + P)⁻¹, H the curvature of the loss
(Laplace's approximation). What the recording does not determine so stays the family's. A core that is told of a code
by fewer numbers than the code has (``code_units``) gives as few moments, and S⁻¹ is the pseudo-inverse.

Far from the true code all scores are saturated and the moments tell nothing: so the loss itself is descended first,
with the prior, by L-BFGS from several starts (weighted as if S were `STAND_IN` of what single stretches vary by); the
moments are then solved from the best of these by least squares.

Where nobody measured ḡ and S for a core, nothing says how certain a code is: it is then where the descent ended, and
its covariance is the family's, P⁻¹.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares, minimize

from noble_net.cells.family import Family
from noble_net.fitting import objective
from noble_net.fitting.gaussian import Posterior, Prior, whitening_where_varied
from noble_net.fitting.objective import DELTA, SomaticNet, Stretches
from noble_net.types import Float64

DESCENT, EVALUATIONS = 30, 6
"""Steps of the optimiser on the loss, from each start, and on the moments, from the best; at most."""
WIDER = 4.0
"""What the covariance of the scores is multiplied by. On unseen members under inputs of a single kind, which training
mixes, their χ² at the true code is 1.7 times what a Gaussian's would be; the rest is for curvature, which Laplace's
approximation does not know."""
NEARER = 1
"""Further descents from the best start: the loss tells more the nearer the code is."""
STAND_IN = 0.2
"""Of the covariance of single stretches' scores: takes the place of S while the loss is descended. By its trace, S of
pv-stream is 0.07 to 0.31 of it, on six recordings of its unseen members; that of nr5a1-zones is made by the few
members whose answers depend steeply on the code, and would leave the loss no weight for the others."""
FEWEST = 3
"""Stretches that tell what stretches vary by."""
_ROUGH = 8
"""Stretches on which all members are tried."""

Progress = Callable[[float, float], None]


class Misfit(NamedTuple):
    """How a core errs on cells whose code is known: ``delta`` of the loss (mV), ``mean`` [C] and ``covariance`` [C, C]
    of the scores at the true code, ``spread`` of the errors (mV): the largest among the cells; ``seconds`` of each."""

    delta: float
    mean: Float64
    covariance: Float64
    spread: float
    seconds: float


class Start(NamedTuple):
    """One start of the optimiser: where from, and where it came to."""

    name: str
    cost: float
    code: Float64
    evaluations: int


class Estimate(NamedTuple):
    """What a fit gives: the posterior, every start (the best first), and at the mean the loss (mV²), the errors' spread
    (mV) and the moments' misfit (χ² with about as many degrees of freedom as there are ``moments``; None where no
    misfit was measured, and the posterior's covariance is the family's)."""

    posterior: Posterior
    starts: list[Start]
    loss: float
    spread: float
    chi2: float | None
    moments: int


def estimate(
    net: SomaticNet,
    data: Stretches,
    family: Family,
    prior: Prior,
    misfit: Misfit | None,
    *,
    starts: int = 4,
    seed: int = 1,
    progress: Progress | None = None,
) -> Estimate:
    """Fit the code to stretches of recordings; see the module, also for a ``misfit`` that is not known.

    Starts are the family's mean, the members that predict a few stretches best, and, one in three, draws of the prior.
    """
    moments = _Moments(net, data, prior, misfit)
    found: list[Start] = []
    for name, code in _starting_points(net, data, family, prior, moments.delta, starts, seed):
        found.append(moments.descend(name, code))
        if progress:
            progress(len(found), starts + 1)
    best = min(found, key=lambda start: start.cost)
    for _ in range(NEARER):
        moments.rescale(best.code)
        best = moments.descend(best.name, best.code)
    others = sorted(found, key=lambda start: start.cost)
    if misfit is None:
        at = objective.slopes(net, data, best.code, moments.delta)
        estimated = Estimate(Posterior(best.code, prior.covariance), others, at.loss, at.spread, None, 0)
    else:
        moments.weigh(best.code, misfit)
        last = moments.solve(best.name, best.code, misfit)
        at = objective.slopes(net, data, last.code, misfit.delta)
        weighted = moments.white @ at.curvature
        precision = weighted.T @ weighted + prior.root.T @ prior.root
        away = moments.white @ (at.scores.sum(axis=0) - misfit.mean)
        posterior = Posterior(last.code, np.asarray(np.linalg.inv(precision), np.float64))
        estimated = Estimate(posterior, others, at.loss, at.spread, float(away @ away), len(away))
    if progress:
        progress(starts + 1, starts + 1)
    return estimated


class _Moments:
    """The least squares that are minimised, with the weights of the moments."""

    def __init__(self, net: SomaticNet, data: Stretches, prior: Prior, misfit: Misfit | None) -> None:
        self.net, self.data, self.prior, self.misfit = net, data, prior, misfit
        self.delta = 1.0 if misfit is None else misfit.delta
        self.white: Float64 = np.eye(len(prior.mean))
        self.scale = 0.0
        self.rescale(prior.mean)

    def rescale(self, code: Float64) -> None:
        """Let the loss count as much as it tells, at a code, in the directions it tells most of."""
        if self.misfit is None:
            self.delta = DELTA * objective.slopes(self.net, self.data, code, self.delta).spread
        at = objective.slopes(self.net, self.data, code, self.delta)
        covariance = STAND_IN * self.data.size * _varied(at.scores)
        if self.data.size < FEWEST and self.misfit is not None:
            covariance = self.misfit.covariance
        self.scale = float(np.trace(at.curvature) / np.trace(covariance))

    def descend(self, name: str, code: Float64) -> Start:
        """The minimum of the loss and the prior that is reached from a code."""
        root = self.prior.root

        def graded(c: Float64) -> tuple[float, Float64]:
            loss, given = objective.graded(self.net, self.data, c, self.delta)
            away = root @ (c - self.prior.mean)
            return self.scale * loss + 0.5 * float(away @ away), root.T @ away - self.scale * given.sum(
                axis=0
            )

        found = minimize(
            graded,
            code,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": DESCENT, "ftol": 1e-4, "gtol": 1e-2},
        )
        return Start(name, float(found.fun), np.asarray(found.x), int(found.nfev))

    def weigh(self, code: Float64, misfit: Misfit) -> None:
        """Weights of the moments with what the scores vary by at a code, which must be near the true one: far away
        they vary so much that any code would do."""
        _, given = objective.graded(self.net, self.data, code, misfit.delta)
        self.white = whitening_where_varied(WIDER * (misfit.covariance + _varied(given)))

    def solve(self, name: str, code: Float64, misfit: Misfit) -> Start:
        """The minimum that is reached from a code."""
        root = self.prior.root

        def residuals(c: Float64) -> Float64:
            given = objective.graded(self.net, self.data, c, misfit.delta)[1].sum(axis=0)
            return np.concatenate([self.white @ (given - misfit.mean), root @ (c - self.prior.mean)])

        def derived(c: Float64) -> Float64:
            return np.concatenate(
                [-self.white @ objective.slopes(self.net, self.data, c, misfit.delta).curvature, root]
            )

        found = least_squares(
            residuals, code, derived, method="trf", xtol=1e-3, ftol=1e-4, max_nfev=EVALUATIONS
        )
        return Start(name, float(found.cost), np.asarray(found.x), int(found.nfev))


def _varied(scores: Float64) -> Float64:
    """The covariance of the mean score [C, C], from what the stretches' scores [S, C] vary by."""
    centred = scores - scores.mean(axis=0)
    return np.asarray(centred.T @ centred * (len(scores) / max(len(scores) - 1, 1)))


def _starting_points(
    net: SomaticNet, data: Stretches, family: Family, prior: Prior, delta: float, count: int, seed: int
) -> list[tuple[str, Float64]]:
    drawn = count // 3
    points = [("family mean", prior.mean)]
    if count - drawn > 1:
        ids = family.ids()
        rows = np.unique(np.linspace(0, data.size - 1, min(_ROUGH, data.size)).round().astype(np.int64))
        losses = objective.losses(net, data.take(rows), family.codes(ids).astype(np.float64), delta)
        nearest = np.argsort(losses, kind="stable")[: count - drawn - 1]
        points += [(ids[i], family.codes([ids[i]])[0].astype(np.float64)) for i in nearest]
    codes = Posterior(prior.mean, prior.covariance).sample(drawn, seed)
    return points + [(f"draw {i + 1}", code) for i, code in enumerate(codes)]
