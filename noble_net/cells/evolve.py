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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from noble_net.cells.archive import Archive
from noble_net.cells.model import CellModel
from noble_net.cells.parameter_space import Space
from noble_net.cells.targets import WORST, Targets, mean_z
from noble_net.errors import MissingExtraError
from noble_net.specs.families import EvolveSpec, FamilyRecipe
from noble_net.types import Float64

PASSIVE = ("g_pas", "e_pas", "cm", "Ra", "gbar_Ih")
"""Variables of the first stage, besides none."""

NARROW = 1.25
"""Bounds of the passive parameters in the second stage: the first one's best, divided and multiplied by this."""

SCATTER = 0.4
"""Standard deviation of the first population's log-parameters around the cell's own values."""

Progress = Callable[[int, int], None]


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

        # BluePyOpt asks for it; `map_function` serves instead.
        evaluator.init_simulator_and_evaluate_with_lists = one

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
