"""Fitting a cell's code: to a recording of it through a trained core, or to its features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from noble_net.cells.family import Family
from noble_net.cells.latent import PREDICTED, from_codes
from noble_net.cells.latent_space import LatentSpace
from noble_net.errors import MissingExtraError, RecordingError
from noble_net.fitting.check import Check, check, told
from noble_net.fitting.from_features import Expected, code_from_features, expected_features
from noble_net.fitting.gaussian import Posterior, Prior
from noble_net.fitting.recordings import Sweep
from noble_net.registry import checkpoint_folder, load_core, load_family
from noble_net.types import Float64

if TYPE_CHECKING:
    from noble_net.fitting.posterior import Estimate, Misfit

MOST_SECONDS = 20.0
"""Of a recording that a fit uses; of more, stretches are taken evenly."""
_ENOUGH = 1000.0
"""Recording below which a fit warns, ms."""
_POOR_CHI2 = 1.0
"""Moments' misfit a degree of freedom above which a fit warns."""

Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class CellFit:
    """A cell's code with its uncertainty.

    ``posterior`` of the code, in the order of ``family.parameter_names``, beside the family's ``prior``;
    ``features`` that are expected of such a cell; ``checks`` by name: how the core runs free with the fitted code, and
    with the family's mean, on sweeps held out or, if there is one alone, on those fitted. ``about`` is what else
    ``fit.json`` holds: where from, the starts, the loss.
    """

    family: Family
    posterior: Posterior
    prior: Prior
    features: dict[str, Expected]
    warnings: tuple[str, ...] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, tuple[float, float, float]]:
        """Each parameter in the family's unit: the fitted value, and its 90 % interval."""
        sd = 1.6449 * self.posterior.sd
        mean = self.posterior.mean
        rows = self.family.decode(np.stack([mean, mean - sd, mean + sd]).astype(np.float32))
        names = self.family.parameter_names
        return {name: tuple(float(v) for v in rows[:, j]) for j, name in enumerate(names)}  # type: ignore[misc]

    @property
    def shrinkage(self) -> Float64:
        """Posterior over prior standard deviation of each entry of the code: 1 where nothing was learned."""
        return np.asarray(self.posterior.sd / np.sqrt(np.diag(self.prior.covariance)))

    def to_json(self) -> dict[str, Any]:
        """The content of ``fit.json``."""
        sd, parameters, prior_sd = self.posterior.sd, self.parameters, np.sqrt(np.diag(self.prior.covariance))
        code = {
            name: {
                "mean": _short(self.posterior.mean[j]),
                "sd": _short(sd[j]),
                "prior_mean": _short(self.prior.mean[j]),
                "prior_sd": _short(prior_sd[j]),
                "sd_over_prior": _short(self.shrinkage[j]),
                "value": _short(parameters[name][0]),
                "interval_90": [_short(each) for each in parameters[name][1:]],
            }
            for j, name in enumerate(self.family.parameter_names)
        }
        features = {
            name: {k: _short(v) for k, v in each._asdict().items()} for name, each in self.features.items()
        }
        return {
            "family": self.family.name,
            "family_hash": self.family.hash,
            **self.about,
            "code": code,
            "covariance": [[_short(each) for each in row] for row in self.posterior.covariance],
            "features": features,
            "distance_from_family_mean": _short(self.prior.distance(self.posterior.mean)),
            "furthest_member": _short(self.prior.furthest),
            "checks": {name: told(each.measures) for name, each in self.checks.items()},
            "warnings": list(self.warnings),
        }


def fit_recording(
    sweeps: Sequence[Sweep],
    core: str = "pv-stream",
    *,
    hold_out: Sequence[str] = (),
    starts: int = 4,
    seed: int = 1,
    threads: int | None = None,
    progress: Progress | None = None,
) -> CellFit:
    """Fit the code of a streaming core's family to sweeps of `noble_net.fitting.recordings.read_recording`.

    ``hold_out``: names of sweeps that are not fitted, and that the fit is checked on. Same sweeps, seed and number of
    ``threads`` (of PyTorch; its own choice unless given), same fit. Raises RecordingError for sweeps that are too
    short, CheckpointError for a core that cannot be fitted, MissingExtraError without PyTorch.

    A core with dendritic zones is told that nothing arrives there. Of a core whose errors at known codes were never
    measured (`noble_net.fitting.calibration`), the code's covariance is the family's, and a warning says so.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("fitting (PyTorch)", "train") from error
    from noble_net.fitting.calibration import read_misfit
    from noble_net.fitting.objective import STRETCH, SomaticNet, Stretches
    from noble_net.fitting.posterior import FEWEST, estimate

    fitted, held = _parted(sweeps, hold_out)
    checkpoint, family = core_to_fit(core)
    if threads is not None:
        torch.set_num_threads(threads)
    net = SomaticNet.of(checkpoint)
    zeros = [np.zeros_like(sweep.current) for sweep in fitted]
    pieces = [(s.voltage, s.current, zero, zero) for s, zero in zip(fitted, zeros, strict=True)]
    most = round(1000.0 * MOST_SECONDS / STRETCH)
    try:
        data = Stretches.of(pieces, net, np.random.default_rng([seed, 0]), most)
    except ValueError as error:
        raise RecordingError(
            f"{error}. Give a longer recording: a second or more of changing current"
        ) from error
    prior = Prior.of(family)
    misfit = read_misfit(checkpoint.folder, checkpoint.hash, len(prior.mean))
    if misfit is None and data.size < FEWEST:
        raise RecordingError(
            f"{_unmeasured(core)}: so short a recording cannot be weighed against what is known of the family. Give a "
            "second or more of changing current"
        )
    found = estimate(
        net,
        data,
        family,
        prior,
        misfit,
        starts=starts,
        seed=seed,
        progress=progress,
    )
    running, mean = load_core(core), found.posterior.mean
    name = "held out" if held else "fitted sweeps"
    cells = from_codes(family, np.stack([mean, prior.mean]).astype(np.float32), "fitted")
    checks = {
        each: check(running, cells.take(slice(row, row + 1)), held or fitted)
        for row, each in enumerate((name, "family mean"))
    }
    seconds = data.size * STRETCH / 1000.0
    about = {
        "core": str(checkpoint.about["name"]),
        "weights_sha256": checkpoint.hash,
        "seed": seed,
        "sweeps": {
            s.name: {"seconds": s.duration / 1000.0, "rate_hz": s.rate, "held_out": s in held} for s in sweeps
        },
        "seconds_fitted": seconds,
        "loss_mV2": _short(found.loss),
        "error_mV": _short(found.spread),
        "misfit_chi2": None if found.chi2 is None else _short(found.chi2),
        "uncertainty": "the family's" if misfit is None else "measured",
        "starts": [
            {
                "from": s.name,
                "cost": _short(s.cost),
                "evaluations": s.evaluations,
                "code": [_short(c) for c in s.code],
            }
            for s in found.starts
        ],
    }
    warnings = [*_far(family, prior, mean), *_short_recording(fitted), *_poor(core, family, found, misfit)]
    return CellFit(
        family,
        found.posterior,
        prior,
        expected_features(family, found.posterior, PREDICTED, seed=seed),
        tuple(warnings),
        checks,
        about,
    )


def fit_features(features: Mapping[str, float], family: str | Family, *, seed: int = 1) -> CellFit:
    """The code of a cell of which only features are known: by names and in units of the family's table.

    Raises RecordingError for features that the family has not, FamilyError for an unknown family.
    """
    known = load_family(family) if isinstance(family, str) else family
    prior, posterior = Prior.of(known), code_from_features(known, features)
    names = list(dict.fromkeys([*PREDICTED, *features]))
    return CellFit(
        known,
        posterior,
        prior,
        expected_features(known, posterior, names, seed=seed),
        tuple(_far(known, prior, posterior.mean)),
        about={"given_features": dict(features), "seed": seed},
    )


def core_to_fit(core: str) -> tuple[Any, Family]:
    """The checkpoint of a streaming core, and its family. Raises RecordingError for a core of another kind."""
    from noble_net.surrogate.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(checkpoint_folder(core))
    about = checkpoint.about
    if about["kind"] != "streaming":
        raise RecordingError(
            f"core {core} cannot be fitted: give a streaming core, such as pv-stream or pv-zones"
        )
    family = load_family(about["family"])
    if family.hash != about["family_hash"]:
        raise RecordingError(
            f"core {core} was trained on another version of family {family.name}: train it anew"
        )
    return checkpoint, family


def _parted(sweeps: Sequence[Sweep], hold_out: Sequence[str]) -> tuple[list[Sweep], list[Sweep]]:
    names = [sweep.name for sweep in sweeps]
    for name in hold_out:
        if name not in names:
            raise RecordingError(f"there is no sweep {name!r} to hold out: there are {', '.join(names)}")
    held = [sweep for sweep in sweeps if sweep.name in hold_out]
    fitted = [sweep for sweep in sweeps if sweep.name not in hold_out]
    if not fitted:
        raise RecordingError("every sweep is held out. Leave at least one to fit")
    return fitted, held


def _far(family: Family, prior: Prior, code: Float64) -> list[str]:
    """What to say of a code that lies away from the family's members."""
    codes = LatentSpace.of_code(family).points
    beyond = [
        name
        for name, value, low, high in zip(
            family.parameter_names, code, codes.min(axis=0), codes.max(axis=0), strict=True
        )
        if not low <= value <= high
    ]
    distance = prior.distance(code)
    if not beyond and distance <= prior.furthest:
        return []
    where = f" ({', '.join(beyond)} beyond every member)" if beyond else ""
    return [
        f"the fitted cell lies {distance:.1f} standard deviations from the mean of family {family.name}, its furthest "
        f"member {prior.furthest:.1f}{where}: nothing vouches for the core there"
    ]


def _short_recording(fitted: Sequence[Sweep]) -> list[str]:
    duration = sum(sweep.duration for sweep in fitted)
    if duration >= _ENOUGH:
        return []
    return [f"{duration:.0f} ms of recording determine little: give seconds of changing current"]


def _unmeasured(core: str) -> str:
    return f"how core {core} errs on cells of known code was never measured (it has no fitting.json)"


def _poor(core: str, family: Family, found: Estimate, misfit: Misfit | None) -> list[str]:
    """What to say of the core's errors on the recording."""
    if misfit is None or found.chi2 is None:
        return [
            f"{_unmeasured(core)}: the code is the most probable one, and its uncertainty is given as that of "
            f"the whole family {family.name}, however much the recording tells. `noble-net evaluate` with the core's "
            "recipe and its whole dataset measures it"
        ]
    if found.spread <= 1.5 * misfit.spread and found.chi2 <= _POOR_CHI2 * found.moments:
        return []
    return [
        f"the core predicts this recording worse than cells of family {family.name}: errors of "
        f"{found.spread:.2g} mV (of these cells at most {misfit.spread:.2g}), misfit "
        f"{found.chi2 / found.moments:.2g} a moment. Look for another frame (junction potential), series resistance, "
        "noise, or a cell of another family"
    ]


def _short(value: float) -> float:
    return float(f"{value:.6g}")
