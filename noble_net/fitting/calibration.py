"""How a core errs on cells whose code is known: measured on the training members of its dataset.

``fitting.json`` in a checkpoint's folder holds it, for the core and family of that checkpoint alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from noble_net.cells.family import Family
from noble_net.errors import CheckpointError
from noble_net.fitting import objective
from noble_net.fitting.objective import Stretches
from noble_net.fitting.posterior import Misfit
from noble_net.output import write_json
from noble_net.surrogate.checkpoint import load_checkpoint
from noble_net.types import DT, Float32

FILE = "fitting.json"
SECONDS = 4.0
"""Of every member's run."""
_DELTA = 1.5
"""Of the loss, in spreads of the errors: beyond, errors count by their size, not its square (Huber 1964)."""

Sweep = tuple[Float32, Float32, Float32, Float32]


def calibrate(
    folder: Path, family: Family, dataset: Path, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Measure a checkpoint on the training part of its dataset and write `FILE` into its folder, which is returned.

    Takes some seconds of one core a member. Raises CheckpointError when the dataset is another family's.
    """
    from noble_net.training.dataset import open_dataset

    checkpoint = load_checkpoint(folder)
    net, samples = objective.trained_net(checkpoint), int(checkpoint.about["step_samples"])
    with open_dataset(dataset, family) as file:
        group = file["train"]
        ids = [str(i) for i in group["ids"].asstr()[:]]
        codes = family.codes(ids).astype(np.float64)
        length = min(round(1000.0 * SECONDS / DT), group["current"].shape[1])

        def stretches(row: int) -> Stretches:
            return Stretches.of([_sweep(group, row, length)], samples, np.random.default_rng([row, 0]))

        few = np.unique(np.linspace(0, len(ids) - 1, 12).round().astype(int))
        spreads = [objective.slopes(net, stretches(i), codes[i], 1.0).spread for i in few.tolist()]
        delta = float(_DELTA * np.median(spreads))
        found = []
        for row in range(len(ids)):
            found.append(objective.graded(net, stretches(row), codes[row], delta)[1].sum(axis=0))
            if progress:
                progress(row + 1, len(ids))
    content = {
        "weights_sha256": checkpoint.hash,
        "family_hash": family.hash,
        "members": len(ids),
        "seconds": SECONDS,
        "delta_mV": delta,
        "spread_mV": float(max(spreads)),
        "mean": np.mean(found, axis=0).tolist(),
        "covariance": np.atleast_2d(np.cov(np.array(found).T)).tolist(),
    }
    write_json(folder / FILE, content)
    return folder / FILE


def read_misfit(folder: Path, weights: str, length: int) -> Misfit:
    """What `calibrate` measured of the core with these ``weights`` (their hash) and codes of ``length``.

    Raises CheckpointError where it never did, for a damaged file, or that of other weights.
    """
    path = folder / FILE
    remedy = "Make it with `noble-net evaluate` and the core's recipe"
    if not path.is_file():
        raise CheckpointError(f"{path} is not there, and how this core errs is not known. {remedy}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["weights_sha256"] != weights:
            raise CheckpointError(f"{path} was measured with other weights. {remedy}")
        covariance = np.array(content["covariance"], np.float64)
        mean = np.array(content["mean"], np.float64)
        misfit = Misfit(
            float(content["delta_mV"]),
            mean,
            covariance,
            float(content["spread_mV"]),
            float(content["seconds"]),
        )
        if misfit.mean.shape != (length,) or covariance.shape != (length, length) or not misfit.delta > 0:
            raise ValueError(f"it is not one of codes of {length} numbers")
        np.linalg.cholesky(covariance)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, np.linalg.LinAlgError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. {remedy}") from error
    return misfit


def _sweep(group: h5py.Group, row: int, length: int) -> Sweep:
    from noble_net.training.dataset import ARRAYS, VOLTAGE_UNIT

    voltage = group["voltage"][row, : length + 1].astype(np.float32) * np.float32(VOLTAGE_UNIT)
    current, conductance, reversal = (group[name][row, :length] for name in ARRAYS)
    return voltage, current, conductance, reversal
