"""Evolving members to target features with BluePyOpt, in two stages per target, resumable at any individual.

For every seed and every target vector drawn from the spread: first the passive parameters alone to the hyperpolarising
steps, then all parameters to every step. Objectives are the z-scores of the 16 e-features (their means over the steps).
The evolution for a target starts from the seed's earlier individuals that come nearest to it.

Every individual that was solved is a line of ``<name>.archive.jsonl``: its parameters and features. The algorithms
are deterministic given their seed, so resuming is running again with the archive as memory: what was solved is not
solved twice, and nothing but text is ever read back.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from noble_net.cells.model import CellModel
from noble_net.cells.solver import STEP_TOLERANCE, exact_cell
from noble_net.cells.targets import WORST, Targets, features_of, mean_z, step_response
from noble_net.errors import FamilyError, MissingExtraError, SolverError
from noble_net.json_lines import read_rows
from noble_net.specs.families import EvolveSpec, FamilyRecipe
from noble_net.types import Float64

PASSIVE = ("g_pas", "e_pas", "cm", "Ra", "gbar_Ih")
"""Variables of the first stage, besides none."""

NARROW = 1.25
"""Bounds of the passive parameters in the second stage: the first one's best, divided and multiplied by this."""

HOPELESS = 6.0
"""An individual whose mean z-score at the hyperpolarising steps is above this is not solved at the others."""

SCATTER = 0.4
"""Standard deviation of the first population's log-parameters around the cell's own values."""

Responses = Mapping[float, Mapping[str, float]]
Progress = Callable[[int, int], None]


class Space(NamedTuple):
    """The parameters that vary: names, bounds, whether a coordinate is the logarithm, and the cell's own values."""

    names: tuple[str, ...]
    low: Float64
    high: Float64
    logarithmic: np.ndarray[Any, np.dtype[np.bool_]]
    centre: Float64

    @staticmethod
    def of(model: CellModel, spec: EvolveSpec) -> Space:
        """The space of a recipe. Raises FamilyError for bounds of a parameter the cell lacks, or without extent."""
        names = spec.vary or tuple(
            n for n in model.parameters if n.startswith(("gbar_", "g_pas")) or n in spec.bounds
        )
        unknown = sorted({*names, *spec.bounds} - set(model.parameters))
        if unknown:
            raise FamilyError(f"the cell has no parameter {unknown}; it has {sorted(model.parameters)}")
        centre = np.array([model.parameters[n] for n in names])
        bounds = np.array(
            [
                spec.bounds.get(n, (model.parameters[n] / spec.range, model.parameters[n] * spec.range))
                for n in names
            ]
        )
        for name, (low, high) in zip(names, bounds, strict=True):
            if not low < high:
                raise FamilyError(
                    f"parameter {name} has no extent ({low:g} to {high:g}): give it bounds, or leave it out of `vary`"
                )
        positive = bounds[:, 0] > 0
        return Space(names, bounds[:, 0], bounds[:, 1], positive, np.clip(centre, bounds[:, 0], bounds[:, 1]))

    def coordinates(self, values: Float64) -> Float64:
        """Parameter values [..., n] → coordinates in [0, 1], logarithmic where the bounds are positive."""
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.log(values / self.low) / np.log(self.high / self.low)
        return np.asarray(np.where(self.logarithmic, logs, (values - self.low) / (self.high - self.low)))

    def values(self, coordinates: Float64) -> dict[str, float]:
        """Coordinates [n] → parameter → value, rounded to nine digits so that it survives text."""
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = self.low * np.exp(coordinates * np.log(self.high / self.low))
        linear = self.low + coordinates * (self.high - self.low)
        found = np.where(self.logarithmic, logs, linear)
        return {name: float(f"{value:.9g}") for name, value in zip(self.names, found, strict=True)}


def solve_individual(
    model: CellModel, steps: Sequence[float], undrawn: Targets, parameters: Mapping[str, float]
) -> dict[float, dict[str, float]]:
    """Features of one individual at ``steps``, the cheap ones first; nothing more once it is hopeless or fails.

    Order: hyperpolarising steps, then the middle one (is there a spike?), then the rest.
    """
    cell = exact_cell(model)
    cell.tolerance = STEP_TOLERANCE
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
                self.rows[key] = (
                    row  # what is used is what is written, so that a resumed run takes the same way
                )
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


def evolve(
    recipe: FamilyRecipe,
    model: CellModel,
    undrawn: Targets,
    path: Path,
    pool: ProcessPoolExecutor,
    progress: Progress | None = None,
) -> Path:
    """Evolve to every target of every seed; returns the archive's path, ``path``. Beside it `history_path`.

    Targets are the outer loop, so that an evolution cut short has served every seed alike.
    """
    spec = recipe.evolve
    assert spec is not None
    archive = Archive(path, model, undrawn, pool)
    space = Space.of(model, spec)
    history: list[dict[str, Any]] = []
    total = spec.targets * len(spec.seeds) * (spec.generations + spec.subthreshold_generations)

    def tick(row: Mapping[str, Any]) -> None:
        history.append(dict(row))
        if progress:
            progress(len(history), total)

    seen: dict[int, list[dict[str, float]]] = {seed: [] for seed in spec.seeds}
    for target in range(spec.targets):
        for seed in spec.seeds:
            seen[seed] += _to_one_target(spec, space, archive, seed, target, seen[seed], tick)
            history_path(path).write_text("".join(json.dumps(row) + "\n" for row in history))
    return path


def history_path(archive: Path) -> Path:
    """Error by generation, one JSON line each, beside an archive."""
    return archive.with_name(archive.name.replace(".archive.", ".history."))


def drawn_target(undrawn: Targets, spec: EvolveSpec, seed: int, target: int) -> Targets:
    """The target vector of a seed and a number."""
    return undrawn.draw(np.random.default_rng([seed, target]), spec.reach)


def _to_one_target(
    spec: EvolveSpec,
    space: Space,
    archive: Archive,
    seed: int,
    target: int,
    seen: Sequence[Mapping[str, float]],
    tick: Callable[[Mapping[str, Any]], None],
) -> list[dict[str, float]]:
    """Both stages for one target; returns the individuals of the second."""
    wanted = drawn_target(archive.undrawn, spec, seed, target)
    generator = np.random.default_rng([seed, target, 1])
    passive = np.array([name.split(".")[0] in PASSIVE for name in space.names])
    low, high = np.zeros(len(space.names)), np.ones(len(space.names))
    centre = space.coordinates(space.centre)
    origin = {"seed": seed, "target": target}
    below = wanted.below(0.0)
    if below.at and passive.any() and spec.subthreshold_generations:
        fixed_low, fixed_high = np.where(passive, low, centre), np.where(passive, high, centre)
        run = _Stage(spec, space, archive, below, {**origin, "stage": 1}, tick)
        best = run.evolve(
            spec.subthreshold_generations, fixed_low, fixed_high, _scattered(space, generator, spec.offspring)
        )
        reach = np.log(NARROW) / np.log(space.high / np.where(space.logarithmic, space.low, np.nan))
        reach = np.where(space.logarithmic, reach, 0.1)
        low, high = (
            np.where(passive, np.clip(best - reach, 0, 1), low),
            np.where(passive, np.clip(best + reach, 0, 1), high),
        )
    start = _start(space, archive, wanted, seen, generator, spec.offspring)
    run = _Stage(spec, space, archive, wanted, {**origin, "stage": 2}, tick)
    run.evolve(spec.generations, low, high, [np.clip(x, low, high) for x in start])
    return run.visited


def _scattered(space: Space, generator: np.random.Generator, count: int) -> list[Float64]:
    """Coordinates around the cell's own values."""
    centre = space.coordinates(space.centre)
    with np.errstate(invalid="ignore", divide="ignore"):
        width = np.where(space.logarithmic, SCATTER / np.log(space.high / space.low), 0.15)
    return [np.clip(centre + width * generator.standard_normal(len(centre)), 0, 1) for _ in range(count)]


def _start(
    space: Space,
    archive: Archive,
    wanted: Targets,
    seen: Sequence[Mapping[str, float]],
    generator: np.random.Generator,
    count: int,
) -> list[Float64]:
    """First population: half the seed's own individuals nearest to the target, half new ones."""
    scored = sorted(
        {tuple(p.values()): p for p in seen}.values(),
        key=lambda p: mean_z(wanted.z_scores(archive.rows[tuple(p.values())]["features"])),
    )
    old = [space.coordinates(np.array(list(p.values()))) for p in scored[: count // 2]]
    return [*old, *_scattered(space, generator, count - len(old))]


class _Stage:
    """One BluePyOpt run: the evaluator it asks, and what came of it."""

    def __init__(
        self,
        spec: EvolveSpec,
        space: Space,
        archive: Archive,
        wanted: Targets,
        origin: Mapping[str, Any],
        tick: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self.spec, self.space, self.archive, self.wanted = spec, space, archive, wanted
        self.origin, self.tick = origin, tick
        self.objectives = sorted({name for each in wanted.at.values() for name in each})
        self.visited: list[dict[str, float]] = []
        self.best, self.best_error = np.zeros(0), float("inf")
        self.generation = 0

    def evolve(self, generations: int, low: Float64, high: Float64, start: Sequence[Float64]) -> Float64:
        """Run; returns the coordinates with the smallest mean z-score. Coordinates whose bounds meet stay fixed."""
        try:
            from bluepyopt.deapext.optimisations import DEAPOptimisation
            from bluepyopt.evaluators import Evaluator
            from bluepyopt.objectives import Objective
            from bluepyopt.parameters import Parameter
        except ImportError as error:
            raise MissingExtraError("evolution (BluePyOpt)", "reference") from error
        free = np.flatnonzero(high > low)
        base = low.copy()
        evaluator = Evaluator(
            [Objective(name) for name in self.objectives],
            [Parameter(self.space.names[i], bounds=(float(low[i]), float(high[i]))) for i in free],
        )

        def one(individual: Sequence[float]) -> list[float]:
            return evaluate_all(None, [individual])[0]

        evaluator.init_simulator_and_evaluate_with_lists = (
            one  # BluePyOpt asks for it; `map_function` serves instead
        )

        def evaluate_all(_: object, individuals: Sequence[Sequence[float]]) -> list[list[float]]:
            full = np.tile(base, (len(individuals), 1))
            if len(individuals):
                full[:, free] = np.asarray([list(each) for each in individuals])
            return self._evaluate(full)

        seed = zlib.crc32(repr(sorted(self.origin.items())).encode())
        optimisation = DEAPOptimisation(
            evaluator=evaluator,
            seed=seed,
            offspring_size=self.spec.offspring,
            eta=10.0,
            mutpb=0.7,
            cxpb=0.7,
            map_function=evaluate_all,
            selector_name=self.spec.algorithm,
        )
        optimisation.run(max_ngen=generations, parent_population=[[float(x[i]) for i in free] for x in start])
        return self.best

    def _evaluate(self, coordinates: Float64) -> list[list[float]]:
        """Objectives of a generation."""
        parameters = [self.space.values(x) for x in coordinates]
        steps = self.wanted.steps
        found = self.archive.responses(parameters, steps, {**self.origin, "generation": self.generation})
        scores = [self.wanted.z_scores(each) for each in found]
        errors = [mean_z(each) for each in scores]
        for x, error in zip(coordinates, errors, strict=True):
            if error < self.best_error:
                self.best, self.best_error = x, error
        self.visited += parameters
        self.tick(
            {
                **self.origin,
                "generation": self.generation,
                "best": round(self.best_error, 4),
                "median": round(float(np.median(errors)), 4) if errors else WORST,
                "solved": self.archive.solved,
            }
        )
        self.generation += 1
        return [[each[name] for name in self.objectives] for each in scores]
