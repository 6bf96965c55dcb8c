"""How accurate a core is on square steps: voltage, e-features, firing and F–I curves against the exact cells.

Rows: 'ID' are the members the core was trained on at new amplitudes, 'OOD' the held-out members. Any `StepCore` can
be measured so, whatever its sampling; the truth is brought onto its samples.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from noble_net.cells.family import Family
from noble_net.cells.features import NOBLE_FEATURES
from noble_net.errors import CheckpointError
from noble_net.markdown import write_markdown
from noble_net.responses.respond import RATE, SPIKES, Responses, measure
from noble_net.specs.noble import NobleDatasetSpec, NobleRecipe, window_samples
from noble_net.surrogate.step_core import StepCore
from noble_net.training.noble_data import VOLTAGE_UNIT, Traces, read_part
from noble_net.training.noble_plan import members_of, trained_members
from noble_net.types import Float32, Float64

ABOVE_THRESHOLD = 1.2
"""F–I curves are compared from this multiple of I_thr on."""
DEVIATES = 0.1
"""Largest relative error of a rate at which an F–I curve still counts as followed."""

PAPER: dict[str, dict[str, float]] = {
    "ID": {
        "V": 0.0218,
        "Spikecount": 0.03,
        "AP1_width": 0.328,
        "mean_AP_amplitude": 0.0854,
        "steady_state_voltage": 0.0083,
    },
    "OOD": {
        "V": 0.117,
        "Spikecount": 0.092,
        "AP1_width": 3.5,
        "mean_AP_amplitude": 0.14,
        "steady_state_voltage": 0.02,
    },
    "VIP": {
        "V": 0.025,
        "Spikecount": 0.09,
        "AP1_width": 0.2,
        "mean_AP_amplitude": 0.1,
        "steady_state_voltage": 0.0099,
    },
}
"""Relative L2 errors the paper reports (arXiv 2506.04536): of a PVALB cell's hall of fame, members trained on and held
out, and of a VIP cell's, members trained on. Both cells are others than ours."""

VIP_FAMILIES = ("vip-like",)
"""Families that stand beside the paper's VIP cell; all others stand beside its PVALB cell."""

Progress = Callable[[int, int], None]
"""(responses done, all)."""


def paper_rows(family: str) -> dict[str, dict[str, float | None]]:
    """What the paper reports for the rows 'ID' and 'OOD' of a family's table; None where it reports nothing."""
    if family in VIP_FAMILIES:
        return {"ID": dict(PAPER["VIP"]), "OOD": dict.fromkeys(PAPER["VIP"])}
    return {row: dict(PAPER[row]) for row in ("ID", "OOD")}


def evaluate_noble(
    recipe: NobleRecipe, family: Family, core: StepCore, progress: Progress | None = None
) -> dict[str, Any]:
    """Measure ``core`` against the recipe's dataset; returns the content of ``accuracy.json``.

    Raises CheckpointError when core and dataset are not of this family, MissingExtraError without eFEL.
    """
    if core.family_hash != family.hash:
        raise CheckpointError(f"core {core.name} was trained on another version of family {family.name}")
    ids, tests = read_part(recipe, family, "test")
    _, curves = read_part(recipe, family, "fi")
    table: dict[str, Any] = {}
    fi: dict[str, Any] = {}
    done = 0
    for row, members in _rows(recipe, family).items():
        for part, measured, into in ((tests, compare, table), (curves, _curves, fi)):
            traces = part.take(np.isin(part.member, [ids.index(m) for m in members]))
            if not len(traces.member):
                continue
            into[row] = measured(recipe.dataset, family, core, ids, traces)
            done += len(traces.member)
            if progress:
                progress(done, len(tests.member) + len(curves.member))
    return {
        "core": core.name,
        "sampling_ms": core.sampling,
        "table": table,
        "fi": fi,
        "dataset": recipe.dataset.model_dump(mode="json"),
        "members": {row: len(members) for row, members in _rows(recipe, family).items()},
    }


def compare(
    spec: NobleDatasetSpec, family: Family, core: StepCore, ids: list[str], traces: Traces
) -> dict[str, Any]:
    """All measures of one row of the table over ``traces``."""
    truth, answer = _both(spec, family, core, ids, traces)
    measured = [
        measure(Responses(traces.member.astype(np.int64), traces.amplitude, v), core, NOBLE_FEATURES)
        for v in (truth, answer)
    ]
    fires = [m[SPIKES] > 0 for m in measured]
    errors = _relative(truth, answer, 2)
    return {
        "traces": len(truth),
        "voltage_rel_l2": float(errors.mean()),
        "voltage_rel_l2_median": float(np.median(errors)),
        "voltage_rel_l4": float(_relative(truth, answer, 4).mean()),
        "fires": int(fires[0].sum()),
        "missed": int((fires[0] & ~fires[1]).sum()),
        "false": int((~fires[0] & fires[1]).sum()),
        "features": {name: feature_error(measured[0][name], measured[1][name]) for name in NOBLE_FEATURES},
    }


def feature_error(truth: Float64, answer: Float64) -> dict[str, float | int | None]:
    """Relative L2 error over the traces that have the feature on both sides, their number, and how many have it
    on one side alone. The error is None where there is nothing to compare, or the truth is zero throughout."""
    has = np.isfinite(truth), np.isfinite(answer)
    both = has[0] & has[1]
    size = float(np.linalg.norm(truth[both]))
    difference = float(np.linalg.norm(answer[both] - truth[both]))
    error = difference / size if size else (0.0 if both.any() and not difference else None)
    return {"error": error, "traces": int(both.sum()), "left_out": int((has[0] ^ has[1]).sum())}


def _curves(
    spec: NobleDatasetSpec, family: Family, core: StepCore, ids: list[str], traces: Traces
) -> dict[str, Any]:
    """F–I curves: for each member the largest relative error of its rate above 1.2 I_thr."""
    rates = [
        measure(Responses(traces.member.astype(np.int64), traces.amplitude, v), core)[RATE]
        for v in _both(spec, family, core, ids, traces)
    ]
    thresholds = family.cells(ids).features["I_thr"][traces.member]
    counted = (traces.amplitude >= ABOVE_THRESHOLD * thresholds) & (rates[0] > 0)
    errors = np.abs(rates[1] - rates[0]) / np.where(counted, rates[0], 1.0)
    members = {
        ids[m]: float(errors[counted & (traces.member == m)].max())
        for m in np.unique(traces.member)
        if (counted & (traces.member == m)).any()
    }
    values = np.array(list(members.values()))
    return {
        "members": members,
        "median": float(np.median(values)) if len(values) else None,
        "largest": float(values.max()) if len(values) else None,
        "deviating": int((values > DEVIATES).sum()),
    }


def _rows(recipe: NobleRecipe, family: Family) -> dict[str, list[str]]:
    """Members of each row: those trained on (dataset and training both say so), and the held-out ones."""
    return {
        "ID": trained_members(recipe, family),
        "OOD": members_of(recipe.dataset, family, "held_out"),
    }


def _both(
    spec: NobleDatasetSpec, family: Family, core: StepCore, ids: list[str], traces: Traces
) -> tuple[Float32, Float32]:
    """Truth and answer in the core's window and samples, mV, float32 [traces, samples] each."""
    cells = family.cells([ids[m] for m in traces.member])
    answer = np.concatenate(
        [
            core.respond(cells.take(slice(i, i + core.batch)), traces.amplitude[i : i + core.batch])
            for i in range(0, cells.size, core.batch)
        ]
    )
    truth = true_voltage(spec, core, traces)
    samples = min(truth.shape[1], answer.shape[1])
    return truth[:, :samples], answer[:, :samples]


def true_voltage(spec: NobleDatasetSpec, core: StepCore, traces: Traces) -> Float32:
    """Stored traces in a core's window, mV: every so many samples, or interpolated where the grids do not meet."""
    start = (spec.lead - core.protocol.onset) / spec.sampling
    stride = core.sampling / spec.sampling
    place = start + stride * np.arange(window_samples(core.protocol.total, core.sampling))
    place = place[place <= traces.voltage.shape[1] - 1 + 1e-6]
    if np.allclose(place, np.round(place), atol=1e-6):
        stored = traces.voltage[:, np.round(place).astype(int)].astype(np.float64)
    else:
        grid = np.arange(traces.voltage.shape[1])
        stored = np.stack([np.interp(place, grid, trace) for trace in traces.voltage])
    return (stored * VOLTAGE_UNIT).astype(np.float32)


def _relative(truth: Float32, answer: Float32, power: int) -> Float64:
    error = np.linalg.norm((answer - truth).astype(np.float64), power, axis=1)
    return np.asarray(error / np.linalg.norm(truth.astype(np.float64), power, axis=1))


def write_noble_accuracy(result: dict[str, Any], folder: Path, family: Family, notes: str = "") -> Path:
    """Write ``accuracy.json`` and ``CARD.md`` beside a checkpoint; returns the card's path."""
    (folder / "accuracy.json").write_text(json.dumps(result, indent=1) + "\n")
    values = {
        "core": json.loads((folder / "core.json").read_text()),
        "family": family,
        "accuracy": result,
        "paper": paper_rows(family.name),
        "features": NOBLE_FEATURES,
        "notes": notes.strip(),
    }
    return write_markdown(folder / "CARD.md", __package__, "noble_card.md.j2", values, {"percent": _percent})


def _percent(value: float | None) -> str:
    """A share for a table; an em dash where there is none."""
    return "—" if value is None else f"{100.0 * value:.2f} %"
