"""How a core errs on cells whose code is known: measured on the training members of its dataset.

``fitting.json`` in a checkpoint's folder holds it, for the core and family of that checkpoint alone. Recordings that
are fitted have a current at the soma and nothing on the dendrites: so, of a core with dendritic zones, it is measured
where the dataset's dendrites are silent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import h5py
import numpy as np

from noble_net.cells.family import Family
from noble_net.errors import CheckpointError
from noble_net.fitting import objective
from noble_net.fitting.gaussian import NOTHING
from noble_net.fitting.objective import DELTA, STRETCH, Piece, SomaticNet, Stretches
from noble_net.fitting.posterior import Misfit
from noble_net.output import write_json
from noble_net.surrogate.checkpoint import load_checkpoint
from noble_net.types import DT

FILE = "fitting.json"
SECONDS = 4.0
"""Of every member's run, at most."""
_SPREADS = 12
"""Members on which the spread of the errors is measured."""
_AT_ONCE = 64
"""Members whose slow variables are kept account of at a time: what bounds the memory."""


def calibrate(
    folder: Path, family: Family, dataset: Path, progress: Callable[[int, int], None] | None = None
) -> Path | None:
    """Measure a checkpoint on the training part of its dataset and write `FILE` into its folder, which is returned.

    Takes a second or some of one core a member. None, and nothing is written, unless more members have stretches to
    measure on than a code has numbers. Raises CheckpointError when the dataset is another family's.
    """
    from noble_net.training.dataset import open_dataset

    checkpoint = load_checkpoint(folder)
    net = SomaticNet.of(checkpoint)
    with open_dataset(dataset, family) as file:
        group = file["train"]
        ids = [str(i) for i in group["ids"].asstr()[:]]
        codes = family.codes(ids).astype(np.float64)
        few = np.unique(np.linspace(0, len(ids) - 1, _SPREADS).round().astype(int)).tolist()
        some = _stretches(group, few, net)
        spreads = [objective.slopes(net, each, codes[i], 1.0).spread for i, each in some]
        if not spreads:
            return None
        delta = float(DELTA * np.median(spreads))
        found = []
        for first in range(0, len(ids), _AT_ONCE):
            rows = range(first, min(first + _AT_ONCE, len(ids)))
            for row, each in _stretches(group, rows, net):
                found.append(objective.graded(net, each, codes[row], delta)[1].sum(axis=0))
            if progress:
                progress(rows.stop, len(ids))
    if len(found) <= codes.shape[1]:  # their covariance would be singular
        return None
    content = {
        "weights_sha256": checkpoint.hash,
        "family_hash": family.hash,
        "members": len(found),
        "seconds": SECONDS,
        "delta_mV": delta,
        "spread_mV": float(max(spreads)),
        "mean": np.mean(found, axis=0).tolist(),
        "covariance": np.atleast_2d(np.cov(np.array(found).T)).tolist(),
    }
    write_json(folder / FILE, content)
    return folder / FILE


def read_misfit(folder: Path, weights: str, length: int) -> Misfit | None:
    """What `calibrate` measured of the core with these ``weights`` (their hash) and codes of ``length``; None where
    it never did. Raises CheckpointError for a damaged file, or that of other weights.
    """
    path = folder / FILE
    remedy = "Make it with `noble-net evaluate` and the core's recipe"
    if not path.is_file():
        return None
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
        variances = np.linalg.eigvalsh(covariance)
        if not (np.isfinite(mean).all() and variances[0] > -NOTHING * variances[-1] and variances[-1] > 0):
            raise ValueError("its covariance is none")
        if int(content["members"]) <= length:
            raise ValueError(f"{content['members']} members are too few")
    except (OSError, ValueError, KeyError, TypeError, RecursionError, np.linalg.LinAlgError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. {remedy}") from error
    return misfit


def _stretches(group: h5py.Group, rows: Sequence[int], net: SomaticNet) -> Iterator[tuple[int, Stretches]]:
    """Some `SECONDS` of members' runs, nothing arriving on their dendrites, by row; no row without such a stretch."""
    from noble_net.training.dataset import recorded

    length = group["current"].shape[1]
    cuts: dict[int, list[slice]] = {}
    for row in rows:
        if group["conductance"].ndim == 2:
            cuts[row] = [slice(0, min(round(1000.0 * SECONDS / DT), length))]
        else:
            cuts[row] = _silent(group, row)
    sweeps = {row: [_sweep(group, row, cut) for cut in some] for row, some in cuts.items()}
    names = recorded(group.file) if net.net.slow else ()
    columns = [names.index(each.variable) for each in net.net.slow]
    starts = (
        [group["slow"][row, :, cut.start][columns] for row in rows for cut in cuts[row]] if columns else []
    )
    slow = np.stack(starts) if starts else None
    accounts = iter(net.accounts([sweep for row in rows for sweep in sweeps[row]], slow))
    most = round(1000.0 * SECONDS / STRETCH)
    for row in rows:
        told = list(islice(accounts, len(sweeps[row])))
        with suppress(ValueError):  # none is long enough
            yield row, Stretches.of(sweeps[row], net, np.random.default_rng([row, 0]), most, told)


def _silent(group: h5py.Group, row: int) -> list[slice]:
    """Where no conductance acts on any dendrite of a member."""
    loud = (group["conductance"][row, 1:] != 0).any(axis=0)
    if "nmda_conductance" in group:
        loud |= (group["nmda_conductance"][row] != 0).any(axis=0)
    edges = np.flatnonzero(np.diff(np.concatenate([[True], loud, [True]]).astype(np.int8)))
    return [slice(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _sweep(group: h5py.Group, row: int, cut: slice) -> Piece:
    """Voltage before, during and after some samples of a member's run, and what drives its soma in them."""
    from noble_net.training.dataset import ARRAYS, VOLTAGE_UNIT

    volts = group["voltage"][row, cut.start : cut.stop + 1]
    current, conductance, reversal = (group[name] for name in ARRAYS)
    soma = (row, 0, cut) if conductance.ndim == 3 else (row, cut)
    voltage = volts.astype(np.float32) * np.float32(VOLTAGE_UNIT)
    return voltage, current[row, cut], conductance[soma], reversal[soma]
