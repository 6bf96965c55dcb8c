"""What issue 4 asks of a streaming core, beside the solver's own floor: scoreboard rows.

    python benchmarks/streaming_core.py [CORE]           default: pv-stream
    python benchmarks/streaming_core.py CORE --quick     without the 60 s runs

From accuracy.json (`noble-net evaluate`): spike times, rates and voltage by kind of input. Measured here: e-features of
the family table's own step, on members seen and unseen; rest for 60 s without input, on every member; drift over 60 s
of fluctuating input, against NEURON, whose spikes are kept in the user's cache folder. Needs [reference].
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scoreboard import Target, record

from noble_net.cache import cache_folder
from noble_net.cells.family import Family
from noble_net.cells.features import DELAY, DURATION, SLOPE_OFFSETS, response_features, step_current
from noble_net.cells.solver import REFERENCE_DT, exact_cell
from noble_net.processes import in_processes
from noble_net.registry import load_core, load_family
from noble_net.spikes import spike_times
from noble_net.surrogate.core import Core
from noble_net.training.evaluate import free_run
from noble_net.training.inputs import UNTRAINED, test_input
from noble_net.training.metrics import coincidence
from noble_net.types import DT, Drive, Float64

ROOT = Path(__file__).parent.parent
COMMAND = "python benchmarks/streaming_core.py"
ISSUE = 4
ROWS = ("seen", "unseen")
FEATURES = {
    "Spikecount": (2.0, 4.0),
    "AP1_width": (10.0, 20.0),
    "mean_AP_amplitude": (4.0, 8.0),
    "AHP_depth": (6.0, 12.0),
    "steady_state_voltage": (0.6, 1.2),
}
"""e-feature → error allowed on seen and unseen members, relative L2, %."""
MEMBERS = 60
"""Of either kind, for e-features."""
LONG = 60_000.0
"""Of drift and of rest, ms."""
PART = 10_000.0
DRIFTING = 10
"""Members of either kind."""
DRIFT_KINDS = ("ou_current", "ou_conductance")


class Row(NamedTuple):
    """A target of both kinds of members: what is allowed of each, and what was found."""

    name: str
    sign: str
    allowed: tuple[float, float]
    found: tuple[float, float]
    unit: str
    about: str


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("core", nargs="?", default="pv-stream")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    core = load_core(asked.core)
    assert core.family is not None
    family = load_family(core.family)
    accuracy = json.loads((ROOT / "surrogate/checkpoints" / asked.core / "accuracy.json").read_text())
    rows = [
        *from_table(accuracy["table"]),
        *of_features(core, family),
        of_rest(core, family),
    ]
    if not asked.quick:
        rows.append(of_drift(core, family))
    command = COMMAND if asked.core == "pv-stream" else f"{COMMAND} {asked.core}"
    targets = [
        Target(
            ISSUE, f"{asked.core}, {kind}: {row.name}", f"{row.sign} {allowed:.4g}", found, row.unit, row.about, command
        )
        for row in rows
        for kind, allowed, found in zip(ROWS, row.allowed, row.found, strict=True)
        if not math.isnan(found)
    ]  # fmt: skip
    record(targets)
    for target in targets:
        print(target.line())


def from_table(table: Mapping[str, Any]) -> list[Row]:
    """What `noble-net evaluate` has found."""
    fluctuating, steps, driven = (table[name] for name in ("fluctuating, all", "steps", "mean_driven"))
    floor = fluctuating["floor"]["gamma"]
    untrained = [table[name] for name in UNTRAINED if name in table]
    lowest = {kind: min(each[kind]["gamma"] - each["floor"]["gamma"] for each in untrained) for kind in ROWS}
    told = "free-running on inputs of the dataset's tests, pooled"

    def both(measure: str, of: Mapping[str, Any] = fluctuating, scale: float = 1.0) -> tuple[float, float]:
        return scale * of["seen"][measure], scale * of["unseen"][measure]

    def interval(kind: str) -> float:
        return abs(float(driven[kind]["isi_cv"]) - float(driven[kind]["isi_cv_reference"]))

    floors = f"{told}; solver's floor"
    rates = f"ten steps a member; solver's floor {100 * steps['floor']['rate_error']:.1f} %"
    return [
        Row("Γ, fluctuation-driven", "≥", (floor - 0.01, floor - 0.03), both("gamma"), "", f"{floors} {floor:.3f}"),
        Row(
            "Γ less the floor's, worst never-trained kind", "≥", (-0.04, -0.06), (lowest["seen"], lowest["unseen"]), "",
            f"{told}; {', '.join(name for name in UNTRAINED if name in table)}",
        ),
        Row(
            "clipped RMSE, fluctuation-driven", "≤", (0.8, 1.3), both("clipped_rmse"), "mV",
            f"{floors} {fluctuating['floor']['clipped_rmse']:.2f} mV",
        ),
        Row(
            "clipped EV, fluctuation-driven", "≥", (98.5, 96.0), both("clipped_ev", scale=100.0), "%",
            f"{floors} {100 * fluctuating['floor']['clipped_ev']:.1f} %",
        ),
        Row("F–I rate error", "≤", (2.0, 3.0), both("rate_error", steps, 100.0), "%", rates),
        Row("ISI CV, mean-driven: off by", "≤", (0.05, 0.08), (interval("seen"), interval("unseen")), "", told),
    ]  # fmt: skip


def members(family: Family, number: int) -> dict[str, list[str]]:
    """The first members trained on and held out."""
    return {"seen": family.ids("train")[:number], "unseen": family.ids("held_out")[:number]}


def of_features(core: Core, family: Family) -> list[Row]:
    """e-features at I_thr + 80 pA against those of the family's table, which NEURON's variable step has measured."""
    found: dict[str, dict[str, float]] = {}
    for kind, ids in members(family, MEMBERS).items():
        cells = family.cells(ids)
        amplitudes = cells.features["I_thr"] + SLOPE_OFFSETS[-1]
        drive = Drive.zeros(core.zones, cells.size, len(step_current(0.0)))
        drive.current[0] = amplitudes[:, None] * step_current(1.0)
        names = list(FEATURES)
        answers = response_features(
            free_run(core, cells, drive), amplitudes.tolist(), onset=DELAY, duration=DURATION, names=names
        )
        found[kind] = {name: relative_l2(cells.features[name], answers[name]) for name in names}
    about = f"{MEMBERS} members of either kind, relative L2 over those that have it in NEURON and here"
    return [
        Row(f"{name}, error at I_thr + 80 pA", "≤", allowed, (found["seen"][name], found["unseen"][name]), "%", about)
        for name, allowed in FEATURES.items()
    ]  # fmt: skip


def relative_l2(truth: Float64, answer: Float64) -> float:
    """‖answer − truth‖ / ‖truth‖ over cells that have the feature on both sides, %."""
    there = np.isfinite(truth) & np.isfinite(answer)
    return float(100.0 * np.linalg.norm((answer - truth)[there]) / np.linalg.norm(truth[there]))


def of_rest(core: Core, family: Family) -> Row:
    """Largest distance from the resting potential in 60 s without input, over all members."""
    worst = {}
    for kind, role in zip(ROWS, ("train", "held_out"), strict=True):
        cells = family.cells(family.ids(role))
        state, largest = core.begin(cells), 0.0
        for _ in range(round(LONG / 1000.0)):
            response, state = core.advance(state, Drive.zeros(core.zones, cells.size, round(1000.0 / DT)))
            away = np.abs(response.voltage - cells.features["voltage_base"][:, None])
            largest = max(largest, float(away.max()))
        worst[kind] = largest
    about = "every member, 60 s; farthest at any time from NEURON's rest (family table)"
    return Row("rest without input, off by", "≤", (0.5, 0.5), (worst["seen"], worst["unseen"]), "mV", about)


def of_drift(core: Core, family: Family) -> Row:
    """Γ of the last 10 s over Γ of the first 10 s of 60 s."""
    ratios = []
    for kind, ids in members(family, DRIFTING).items():
        trains, answers = [], []
        for regime in DRIFT_KINDS:
            solved = neuron_spikes(family, ids, regime)
            cells = family.cells(ids)
            inputs = [long_input(regime, member) for member in ids]
            drive = Drive.zeros(core.zones, cells.size, round(LONG / DT))
            for i, each in enumerate(inputs):
                drive.current[0, i], drive.conductance[0, i], drive.reversal_current[0, i] = each
            trains += solved
            answers += spike_times(free_run(core, cells, drive))
        first, last = (
            coincidence(within(trains, start), within(answers, start), PART).gamma
            for start in (0.0, LONG - PART)
        )
        print(f"{kind}: Γ {first:.3f} in the first 10 s, {last:.3f} in the last", flush=True)
        ratios.append(last / first)
    about = f"{2 * DRIFTING} traces of either kind, OU current and OU conductance at the soma; 60 s"
    return Row("drift: Γ of the last 10 s / first 10 s", "≥", (0.98, 0.98), (ratios[0], ratios[1]), "", about)


def within(trains: Sequence[Float64], start: float) -> list[Float64]:
    """Spikes of a part of 10 s."""
    return [times[(times >= start) & (times < start + PART)] for times in trains]


def long_input(regime: str, member: str) -> Any:
    """60 s of a kind of input, a member's own."""
    return test_input(regime, np.random.default_rng([ISSUE, *regime.encode(), *member.encode()]), LONG)


def neuron_spikes(family: Family, ids: Sequence[str], regime: str) -> list[Float64]:
    """Spike times of members in NEURON under `long_input`, ms; those known are read."""
    folder = cache_folder("drift") / f"{family.name}-{family.hash[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{regime}-{member}.npy" for member in ids]
    todo = [member for member, path in zip(ids, paths, strict=True) if not path.exists()]
    for member, times in in_processes(partial(_solve, family, regime), todo):
        np.save(folder / f"{regime}-{member}.npy", times)
        print(f"NEURON: {member} under {regime}, {len(times)} spikes", flush=True)
    return [np.load(path) for path in paths]


def _solve(family: Family, regime: str, member: str) -> tuple[str, Float64]:
    cell = exact_cell(family.model, dt=REFERENCE_DT)
    cells = family.cells([member])
    cell.set_parameters({name: float(values[0]) for name, values in cells.parameters.items()})
    return member, spike_times(cell.run(*long_input(regime, member))[None])[0]


if __name__ == "__main__":
    main()
