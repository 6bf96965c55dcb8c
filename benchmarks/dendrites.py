"""Synapses on the dendrites of a core with zones: its postsynaptic potentials beside NEURON's.

    python benchmarks/dendrites.py [CORE]      default: pv-zones; results/dendrites-CORE.json

Synchronous synapses in one zone of a resting cell, 1 to 64 of 1 nS, on members seen and unseen. NEURON twice: the same
conductance spread over the zone, which the core was trained on (the core's error), and synapses one by one in random
segments (what spreading costs). Needs [reference]; ten minutes of one core for NEURON.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scoreboard import RESULTS

from noble_net.cells.family import Family
from noble_net.cells.psp import COUNTS, WINDOW, Potential, Synapse, potential, summation
from noble_net.cells.solver import exact_cell
from noble_net.output import write_json
from noble_net.processes import in_processes
from noble_net.registry import load_core, load_family
from noble_net.surrogate.core import Core
from noble_net.training.evaluate import free_run
from noble_net.types import DT, Drive, Float64

AMPA, GABA = Synapse(0.2, 2.0, 1.0, 0.0), Synapse(0.3, 5.0, 1.0, -80.0)
SYNAPSES = {"AMPA": AMPA, "GABA": GABA}
MEMBERS = 4
"""Of either kind."""


class Case(NamedTuple):
    """Synapses of a kind in a zone of a member."""

    member: str
    zone: str
    kind: str


def main(name: str) -> None:
    """Measure, print, write."""
    core = load_core(name)
    assert core.family is not None
    family = load_family(core.family)
    members = {"seen": family.ids("train")[:MEMBERS], "unseen": family.ids("held_out")[:MEMBERS]}
    cases = [
        Case(member, zone, kind)
        for ids in members.values()
        for member in ids
        for zone in core.zones
        for kind in SYNAPSES
    ]
    exact = dict(in_processes(partial(solved, family), cases))
    found = {case: [list(each) for each in answered(core, family, case)] for case in cases}
    rows: dict[str, Any] = {}
    for zone in core.zones:
        for kind in SYNAPSES:
            for row, ids in members.items():
                mine = [Case(member, zone, kind) for member in ids]
                rows.setdefault(zone, {}).setdefault(kind, {})[row] = {
                    "core": compared([found[case] for case in mine], [exact[case][0] for case in mine]),
                    "spreading": compared(
                        [exact[case][0] for case in mine], [exact[case][1] for case in mine]
                    ),
                }
    write_json(
        RESULTS / f"dendrites-{name}.json", {"core": name, "counts": COUNTS, "members": members, "rows": rows}
    )
    print(as_markdown(rows))


def solved(family: Family, case: Case) -> tuple[Case, tuple[list[Potential], list[Potential]]]:
    """NEURON's summation curve, spread over the zone and synapse by synapse."""
    cell = exact_cell(family.model)
    cells = family.cells([case.member])
    cell.set_parameters({name: float(values[0]) for name, values in cells.parameters.items()})
    synapse = SYNAPSES[case.kind]
    return case, (
        summation(cell, case.zone, synapse),
        summation(cell, case.zone, synapse, seed=family.ids().index(case.member)),
    )


def answered(core: Core, family: Family, case: Case) -> list[Potential]:
    """The core's summation curve, all numbers of synapses at once."""
    cells = family.cells([case.member] * len(COUNTS))
    synapse, samples = SYNAPSES[case.kind], round(WINDOW / DT)
    drive = Drive.zeros(core.zones, cells.size, samples)
    zone = core.zones.index(case.zone)
    drive.conductance[zone] = np.outer(COUNTS, synapse.course(samples))
    drive.reversal_current[zone] = drive.conductance[zone] * synapse.reversal
    return [potential(trace) for trace in free_run(core, cells, drive)]


Curves = Sequence[Sequence[Sequence[float]]]
"""Member → number of synapses → amplitude and half-width."""


def compared(answers: Curves, truths: Curves) -> dict[str, Any]:
    """Over members: mean amplitudes (mV) by number of synapses and their error, that of one synapse, of the width."""
    answer, truth = np.array(answers, np.float64), np.array(truths, np.float64)  # [members, counts, 2]
    amplitude, width = (relative(answer[:, :, i], truth[:, :, i]) for i in range(2))
    return {
        "amplitudes_mv": np.round(answer[:, :, 0].mean(0), 3).tolist(),
        "reference_mv": np.round(truth[:, :, 0].mean(0), 3).tolist(),
        "amplitude_error": round(amplitude, 4),
        "single_amplitude_error": round(relative(answer[:, 0, 0], truth[:, 0, 0]), 4),
        "width_error": round(width, 4),
    }


def relative(answer: Float64, truth: Float64) -> float:
    """Relative L2 error over what both have."""
    there = np.isfinite(answer) & np.isfinite(truth)
    return float(np.linalg.norm((answer - truth)[there]) / np.linalg.norm(truth[there]))


def as_markdown(rows: dict[str, Any]) -> str:
    """The table."""
    lines = [
        "| zone, synapse | members | core: amplitude, one synapse | core: all numbers | core: half-width | "
        "spreading: amplitude | mean of 1 / 8 / 64 in NEURON, mV | by the core |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for zone, kinds in rows.items():
        for kind, members in kinds.items():
            for row, each in members.items():
                core = each["core"]
                some = [
                    " / ".join(f"{core[name][i]:.2f}" for i in (0, 3, 6))
                    for name in ("reference_mv", "amplitudes_mv")
                ]
                errors = [core["single_amplitude_error"], core["amplitude_error"], core["width_error"]]
                shown = [f"{100 * error:.1f} %" for error in (*errors, each["spreading"]["amplitude_error"])]
                lines.append(f"| {zone}, {kind} | {row} | {' | '.join([*shown, *some])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "pv-zones")
