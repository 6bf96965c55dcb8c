"""Models side by side: all run free over the same test recordings, and are measured by `evaluate.measure`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import h5py
import numpy as np

from noble_net.rivals.recordings import judged, recorded
from noble_net.surrogate.core import Core
from noble_net.training.evaluate import drive_of, free_run, measure, volts
from noble_net.training.inputs import FLUCTUATING
from noble_net.types import CellTable, Drive, Float32

POOLED = "fluctuating, all"
FLOOR = "floor"
"""NEURON at its step against itself at a fifth of it, beside the models."""

Judgement = dict[str, dict[str, dict[str, dict[str, float]]]]
"""regime → model → 'seen' or 'unseen' → measures; the floor has no such rows, only 'seen'."""


class Player(NamedTuple):
    """A model that is judged: its core, and the cells that stand for members."""

    core: Core
    cells: Callable[[Sequence[str]], CellTable]


def judge(
    file: h5py.File,
    players: Mapping[str, Player],
    members: Mapping[str, Sequence[str]],
    regimes: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
) -> Judgement:
    """Measures of every player, on the judged part of the test recordings (`recordings.judged`).

    ``file``: a dataset whose only zone is the soma. ``members``: ids of the rows 'seen' and 'unseen'.
    """
    found: Judgement = {}
    pooled: dict[tuple[str, str], list[tuple[Float32, Float32]]] = {}
    for done, regime in enumerate(regimes):
        pairs = _pairs(file["test"][regime], regime, players, members)
        _enter(found, regime, pairs)
        if regime in FLUCTUATING:
            for key, pair in pairs.items():
                pooled.setdefault(key, []).append(pair)
        if progress:
            progress(done + 1, len(regimes))
    if pooled:
        _enter(found, POOLED, {key: _together(pairs) for key, pairs in pooled.items()})
    return found


def _pairs(
    group: h5py.Group, regime: str, players: Mapping[str, Player], members: Mapping[str, Sequence[str]]
) -> dict[tuple[str, str], tuple[Float32, Float32]]:
    """Truth and answer of every player and row."""
    ids = [str(i) for i in group["ids"].asstr()[:]]
    drive = drive_of(group, ("soma",))
    index = judged(regime, drive.samples)
    truth = volts(group, "voltage")
    pairs = {}
    for row, wanted in members.items():
        rows = np.array([ids.index(member) for member in wanted], np.int64)
        inputs = (array[:, rows] for array in (drive.current, drive.conductance, drive.reversal_current))
        taken = Drive(drive.zones, *inputs)
        for name, player in players.items():
            answer = free_run(player.core, player.cells(wanted), taken)
            pairs[name, row] = recorded(truth[rows], index), recorded(answer, index)
    if "floor" in group:
        fine = volts(group, "floor")
        pairs[FLOOR, "seen"] = recorded(fine, index), recorded(truth[: len(fine)], index)
    return pairs


def _together(pairs: Sequence[tuple[Float32, Float32]]) -> tuple[Float32, Float32]:
    truth, answer = zip(*pairs, strict=True)
    return np.concatenate(truth), np.concatenate(answer)


def _enter(found: Judgement, regime: str, pairs: Mapping[tuple[str, str], tuple[Float32, Float32]]) -> None:
    for (name, row), (truth, answer) in pairs.items():
        found.setdefault(regime, {}).setdefault(name, {})[row] = measure(regime, truth, answer)


def lines(found: Judgement) -> list[str]:
    """The judgement as a Markdown table. Under steps the rate error is that of the F–I curve."""
    head = "| input | members | model | Γ | rate error | rate bias | clipped RMSE, mV | clipped EV |"
    table = [head, "|---|---|---|---|---|---|---|---|"]
    for regime, models in found.items():
        for row in ("seen", "unseen"):
            for name, rows in models.items():
                if row in rows:
                    table.append(_line(regime, row, name, rows[row]))
    return table


def _line(regime: str, row: str, name: str, m: Mapping[str, float]) -> str:
    cells = (
        f"{m['gamma']:.3f}",
        f"{100 * m['rate_error']:.1f} %",
        f"{100 * m['rate_bias']:+.1f} %",
        f"{m['clipped_rmse']:.2f}",
        f"{100 * m['clipped_ev']:.1f} %",
    )
    shown = ("—" if "nan" in cell else cell for cell in cells)
    return f"| {regime} | {row} | {name} | {' | '.join(shown)} |"
