"""The memory of an evolution: every individual that was solved, on disk line by line.

A row is an individual's parameters, what was asked and its features. Nothing but text is ever read back; what was
solved is not solved twice, so that running again is resuming.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from noble_net.cells.model import CellModel
from noble_net.cells.solver import STEP_TOLERANCE, exact_cell
from noble_net.cells.targets import Targets, features_of, mean_z, step_response
from noble_net.errors import SolverError
from noble_net.json_lines import read_rows

HOPELESS = 6.0
"""An individual whose mean z-score at the hyperpolarising steps is above this is not solved at the others."""

Responses = Mapping[float, Mapping[str, float]]
"""Amplitude (nA) → feature → value; empty where the solver failed."""


def solve_individual(
    model: CellModel, steps: Sequence[float], undrawn: Targets, parameters: Mapping[str, float]
) -> dict[float, dict[str, float]]:
    """Features of one individual at ``steps``, the cheap ones first; nothing more once it is hopeless or fails.

    Order: hyperpolarising steps, then the middle one (is there a spike?), then the rest.
    """
    cell = exact_cell(model, tolerance=STEP_TOLERANCE)
    cell.set_parameters(parameters)
    found: dict[float, dict[str, float]] = {}

    def solve(amplitude: float) -> bool:
        try:
            found[amplitude] = features_of(step_response(cell, amplitude), amplitude)
        except SolverError:
            found[amplitude] = {}
        return bool(found[amplitude])

    passive = [a for a in steps if a < 0]
    solved = [solve(a) for a in passive]
    if not all(solved):
        return found
    hyperpolarised = undrawn.below(0.0)
    if hyperpolarised.at and mean_z(hyperpolarised.z_scores(found)) > HOPELESS:
        return found
    active = [a for a in steps if a >= 0]
    for amplitude in sorted(active, key=lambda a: abs(a - float(np.median(active)))) if active else ():
        if not solve(amplitude):
            break
    return found


class Archive:
    """Every individual solved, in memory and in ``<name>.archive.jsonl``; solving goes through it."""

    def __init__(self, path: Path, model: CellModel, undrawn: Targets, pool: ProcessPoolExecutor) -> None:
        self.path, self.model, self.undrawn, self.pool = path, model, undrawn, pool
        self.rows: dict[tuple[float, ...], dict[str, Any]] = {}
        self.solved = 0
        for row in read_archive(path):
            self.rows[tuple(row["parameters"].values())] = row

    def responses(
        self, individuals: Sequence[Mapping[str, float]], steps: Sequence[float], origin: Mapping[str, Any]
    ) -> list[Responses]:
        """Features of individuals at ``steps``; what is not known is solved, on all processes, and written down."""
        keys = [tuple(p.values()) for p in individuals]
        missing = {
            key: p
            for key, p in zip(keys, individuals, strict=True)
            if not set(steps) <= set(self.rows.get(key, {"asked": ()})["asked"])
        }
        solve = partial(solve_individual, self.model, tuple(steps), self.undrawn)
        with self.path.open("a") as log:
            for (key, parameters), found in zip(
                missing.items(), self.pool.map(solve, missing.values()), strict=True
            ):
                row = {
                    **origin,
                    "parameters": dict(parameters),
                    "asked": list(steps),
                    "features": _rounded(found),
                }
                # What is used is what is written, so that a resumed run takes the same way.
                self.rows[key] = row
                log.write(json.dumps(row) + "\n")
                log.flush()
        self.solved += len(missing)
        return [self.rows[key]["features"] for key in keys]


def _rounded(found: Responses) -> dict[float, dict[str, float]]:
    """Features as the archive keeps them: six digits, without the missing ones."""
    return {
        step: {name: float(f"{value:.6g}") for name, value in values.items() if np.isfinite(value)}
        for step, values in found.items()
    }


def read_archive(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of an archive, features by amplitude."""
    for row in read_rows(path):
        row["features"] = {float(step): values for step, values in row["features"].items()}
        yield row
