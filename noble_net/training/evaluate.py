"""How accurate a core is: free-running on held-out inputs, by regime, on seen and unseen members, beside the floor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from noble_net.cache import cache_folder
from noble_net.cells.family import Family
from noble_net.cells.latent import FeatureModel
from noble_net.errors import CheckpointError
from noble_net.output import saving
from noble_net.specs.windowed import NetworkCoreRecipe
from noble_net.spikes import spike_times
from noble_net.surrogate.core import Core
from noble_net.surrogate.opening import open_core
from noble_net.training.card import write_card
from noble_net.training.dataset import ARRAYS, VOLTAGE_UNIT, open_dataset, path_of_tests, regimes
from noble_net.training.inputs import FLUCTUATING, STEP_ON, STEP_PERIOD
from noble_net.training.metrics import DISCARD, clipped_error, coincidence, interval_cv, rate_error
from noble_net.training.zone_regimes import ZONE_FLUCTUATING
from noble_net.types import DT, CellTable, Drive, Float32, Float64, Nmda, Precision, Real, State

BLOCK = 1000
"""Samples per block of a free run, rounded up to the core's step; any other gives the same numbers."""

_ROUNDED: tuple[Precision, ...] = ("bfloat16", "int16")
"""Precisions that a streaming core is judged in besides float32."""
_ALSO_ROUNDED = ("fluctuating, all", "steps", "mean_driven", "zero")

Table = dict[str, dict[str, dict[str, float]]]
"""regime → rows ('seen', 'unseen', 'floor') → measures."""


def evaluate_core(
    recipe: NetworkCoreRecipe,
    family: Family,
    core: Core,
    progress: Callable[[int, int], None] | None = None,
    kept: Path | None = None,
) -> dict[str, Any]:
    """Free-run ``core`` over every test regime of the recipe's dataset and measure it against NEURON.

    Returns the content of ``accuracy.json``: the table by regime, the pooled fluctuation-driven rows, the
    predictability of features. ``kept``: a folder where the answers to a regime are left, and found when called again.
    Raises CheckpointError when the dataset belongs to another family.
    """
    table: Table = {}
    pooled: dict[str, list[tuple[Float32, Float32]]] = {}
    with open_dataset(path_of_tests(recipe, family), family) as file:
        provenance = json.loads(file.attrs["provenance"])
        names = regimes(recipe.dataset)
        if missing := [name for name in names if name not in file["test"]]:
            raise CheckpointError(
                f"{file.filename} has no tests {', '.join(missing)}: `noble-net dataset RECIPE` adds them"
            )
        for done, regime in enumerate(names):
            group = file["test"][regime]
            ids = [str(i) for i in group["ids"].asstr()[:]]
            drive = drive_of(group, recipe.dataset.zones)
            truth = volts(group, "voltage")
            answer = _kept(kept, regime, partial(free_run, core, family.cells(ids), drive))
            half = len(ids) // 2
            pairs = {"seen": (truth[:half], answer[:half]), "unseen": (truth[half:], answer[half:])}
            if "floor" in group:
                fine = volts(group, "floor")
                pairs["floor"] = (fine, truth[: len(fine)])
            table[regime] = {row: measure(regime, *pair) for row, pair in pairs.items()}
            if regime in (*FLUCTUATING, *ZONE_FLUCTUATING):
                for row, pair in pairs.items():
                    pooled.setdefault(row, []).append(pair)
            if progress:
                progress(done + 1, len(names))
    table["fluctuating, all"] = {
        row: measure("fluctuating, all", *(np.concatenate(part) for part in zip(*pairs_, strict=True)))
        for row, pairs_ in pooled.items()
    }
    return {
        "core": core.name,
        "table": table,
        "dataset": provenance,
        "feature_r2": FeatureModel.fit(family).r2,
    }


def evaluate_both(
    recipe: NetworkCoreRecipe,
    family: Family,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """`evaluate_core` of a checkpoint folder; of a streaming core with some rows of its products rounded.

    A windowed core, which takes an hour, goes on where it was interrupted.
    """
    core = open_core(folder)
    if recipe.kind != "streaming":
        tests = path_of_tests(recipe, family).stem
        kept = cache_folder("evaluations") / f"{tests}-{str(core.hash)[:16]}"
        found = evaluate_core(recipe, family, core, progress, kept)
        shutil.rmtree(kept)
        return found
    found = evaluate_core(recipe, family, core, progress)
    for precision in _ROUNDED:
        rounded = evaluate_core(recipe, family, open_core(folder, precision), progress)["table"]
        found[precision] = {
            regime: {row: rounded[regime][row] for row in ("seen", "unseen")} for regime in _ALSO_ROUNDED
        }
    return found


def _kept(folder: Path | None, regime: str, run: Callable[[], Float32]) -> Float32:
    """What ``run`` answers, or what it did before. Raises OutputError when that cannot be kept."""
    if folder is None:
        return run()
    path = folder / f"{regime}.npy"
    if path.exists():
        return np.asarray(np.load(path), np.float32)
    answer = run()
    unfinished = path.with_suffix(".tmp")
    with saving(path):
        folder.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            np.save(file, answer)
        unfinished.rename(path)
    return answer


def free_run(core: Core, cells: CellTable, drive: Drive) -> Float32:
    """Voltage float32 [cells, samples + 1] from each cell's own rest; the core never sees true voltage."""
    return run_from(core, core.begin(cells), drive)


def run_from(core: Core, state: State, drive: Drive) -> Float32:
    """The same from ``state``, which does not keep what it was."""
    parts = [state.voltage[:, None].copy()]
    block = -(-BLOCK // core.step_samples) * core.step_samples
    for start in range(0, drive.samples, block):
        response, state = core.advance(state, _stretch(drive, slice(start, start + block)))
        parts.append(response.voltage)
    return np.concatenate(parts, axis=1)


def volts(group: h5py.Group, name: str) -> Float32:
    """A recording of a test regime's members, mV [members, samples + 1]."""
    return np.asarray(group[name][:].astype(np.float32) * np.float32(VOLTAGE_UNIT))


def drive_of(group: h5py.Group, zones: tuple[str, ...]) -> Drive:
    """The input of a test regime's members as one long block."""
    current, conductance, reversal = (group[name][:] for name in ARRAYS)
    if len(zones) == 1:
        return Drive(zones, current[None], conductance[None], reversal[None])
    conductance, reversal = (np.ascontiguousarray(a.swapaxes(0, 1)) for a in (conductance, reversal))
    injected = np.zeros_like(conductance)
    injected[0] = current
    if "nmda_conductance" not in group:
        return Drive(zones, injected, conductance, reversal)
    slow = np.zeros_like(conductance)
    slow[1:] = group["nmda_conductance"][:].swapaxes(0, 1)
    nmda = Nmda(slow, np.zeros_like(slow), group["nmda_half"][:])
    return Drive(zones, injected, conductance, reversal, nmda=nmda)


def _stretch(drive: Drive, samples: slice) -> Drive:
    def cut(array: Real) -> Real:
        return np.ascontiguousarray(array[:, :, samples])

    nmda = drive.nmda and Nmda(cut(drive.nmda.conductance), cut(drive.nmda.reversal_current), drive.nmda.half)
    inputs = (cut(each) for each in (drive.current, drive.conductance, drive.reversal_current))
    return Drive(drive.zones, *inputs, nmda=nmda)


def measure(regime: str, truth: Float32, answer: Float32) -> dict[str, float]:
    """Every measure of one regime for voltages [cells, samples + 1]."""
    skip = round(DISCARD / DT)
    truth, answer = truth[:, skip:], answer[:, skip:]
    reference, model = spike_times(truth), spike_times(answer)
    duration = (truth.shape[1] - 1) * DT
    if regime == "steps":
        counts = [np.array([_step_counts(t) for t in trains]) for trains in (reference, model)]
    else:
        counts = [np.array([len(t) for t in trains], np.float64) for trains in (reference, model)]
    error, bias = rate_error(*counts)
    # the pauses between steps are no intervals
    model_cv, reference_cv = (
        float("nan") if regime == "steps" else interval_cv(trains) for trains in (model, reference)
    )
    gamma = coincidence(reference, model, duration)
    rmse, explained = clipped_error(truth, answer)
    return {
        "gamma": gamma.gamma,
        "f_score": gamma.f_score,
        "rate_error": error,
        "rate_bias": bias,
        "clipped_rmse": rmse,
        "clipped_ev": explained,
        "isi_cv": model_cv,
        "isi_cv_reference": reference_cv,
        "rate_hz": float(np.mean([len(t) for t in reference])) * 1000.0 / duration,
        "max_voltage_error": float(np.abs(answer - truth).max()) if regime == "zero" else float("nan"),
        "cells": float(len(truth)),
        "silent": float(gamma.silent),
        "too_fast": float(gamma.too_fast),
    }


def _step_counts(times: Float64) -> Float64:
    """Spikes in each step of the 'steps' regime, whose times start at DISCARD."""
    t = times + DISCARD
    edges = np.arange(0.0, 10_000.0 + STEP_PERIOD, STEP_PERIOD)
    on = t % STEP_PERIOD >= STEP_PERIOD - STEP_ON
    return np.histogram(t[on], edges)[0].astype(np.float64)


def write_accuracy(result: dict[str, Any], folder: Path, family: Family, notes: str = "") -> Path:
    """Write ``accuracy.json`` and ``CARD.md`` beside the checkpoint; returns the card's path."""
    (folder / "accuracy.json").write_text(json.dumps(result, indent=1, default=float) + "\n")
    return write_card(folder, family, notes)
