"""Fitting a point neuron to recordings: an evolution strategy (CMA-ES) from what least squares read off them.

The loss is made of the very measures that models are judged by: 1 − Γ, the rate error over seconds, and the clipped
RMSE at `PER_MILLIVOLT`. Needs DEAP (extra [train]): without it the import raises MissingExtraError.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from noble_net.errors import MissingExtraError
from noble_net.rivals.models import MODELS, STEPS, Model, begun
from noble_net.rivals.recordings import Stretch
from noble_net.rivals.start import starting_point
from noble_net.spikes import spike_times
from noble_net.training.metrics import clipped_error, coincidence, rate_error
from noble_net.types import DT, Float32, Float64

try:
    from deap.cma import Strategy
except ImportError as error:
    raise MissingExtraError("fitting point neurons", "train") from error

Mask = NDArray[np.bool_]

PER_MILLIVOLT = 0.03
"""Loss per mV of clipped RMSE: spikes come first, and of two models with the same spikes the better voltage wins."""
_BIN = 1000.0
"""Rates are compared over this time, ms."""
_TOGETHER = 16
"""Candidates simulated in one go: their voltages stay in cache."""
_FIXED = ("spike_width",)
"""Read off the recording, not searched."""
_SPREAD = 0.12
"""Standard deviation of the first candidates around the start, as a share of each range."""


class Budget(NamedTuple):
    """How hard a fit tries: candidates per generation, generations, independent searches of which the best counts, and
    the seed of it all.

    Differential evolution (SciPy) finds about as much: on two members a loss of 0.484 and 0.256 with AdEx, 0.525 and
    0.275 with GLIF after 4,800 and 6,720 candidates; this one, after 6,160, 0.494 and 0.257, 0.515 and 0.299.
    """

    candidates: int = 28
    generations: int = 150
    searches: int = 2
    seed: int = 0


class Task(NamedTuple):
    """One fit: a model's name, a member, what it is fitted to, and how hard."""

    model: str
    member: str
    stretches: Sequence[Stretch]
    budget: Budget = Budget()

    @property
    def key(self) -> str:
        """A digest of all that determines the result, as far as it is data."""
        digest = zlib.crc32(repr((MODELS[self.model].parameters, STEPS, self.budget, PER_MILLIVOLT)).encode())
        for stretch in self.stretches:
            for array in stretch[:4]:
                digest = zlib.crc32(array.tobytes(), digest)
        return f"{digest:08x}"


class Fit(NamedTuple):
    """A member's fitted parameters, float64 [n] in the model's order; its loss and that of the start; the key of its
    task and the processor seconds it took."""

    model: str
    member: str
    parameters: Float64
    loss: float
    start_loss: float
    key: str
    seconds: float


def fit(task: Task) -> Fit:
    """Search for the parameters with the smallest `loss`. The same task gives the same parameters."""
    began = time.process_time()
    model, budget = MODELS[task.model], task.budget
    start = starting_point(model, task.stretches)
    free = np.array([name not in _FIXED for name in model.names])

    def parameters(points: Float64) -> Float64:
        """Parameters [candidates, n] of points [candidates, searched], each taken to the nearest in the unit cube."""
        rows = np.tile(start, (len(points), 1))
        rows[:, free] = from_unit(model, np.clip(points, 0.0, 1.0), free)
        return rows

    def losses(points: Float64) -> Float64:
        outside = np.sum((points - np.clip(points, 0.0, 1.0)) ** 2, axis=1)
        return np.asarray(loss(model, parameters(points), task.stretches) + outside)

    key = [zlib.crc32(name.encode()) for name in (task.model, task.member)]
    found = []
    for search in range(budget.searches):
        random = np.random.default_rng([budget.seed, *key, search])
        found.append(_searched(losses, to_unit(model, start, free), budget, random))
    point, _ = min(found, key=lambda each: each[1])
    best = np.stack([parameters(point[None])[0], start])
    after, before = loss(model, best, task.stretches)
    seconds = time.process_time() - began
    return Fit(task.model, task.member, best[0], float(after), float(before), task.key, seconds)


class _Candidate(list[float]):
    """A point of the search as DEAP wants it: ``fitness`` orders candidates, the best being the largest."""

    fitness: float


def _searched(
    losses: Callable[[Float64], Float64], start: Float64, budget: Budget, random: np.random.Generator
) -> tuple[Float64, float]:
    """The best point found from ``start`` on, and its loss, by CMA-ES (Hansen & Ostermeier 2001)."""
    strategy = Strategy(start, _SPREAD, lambda_=budget.candidates)
    best, least = start, float("inf")
    for _ in range(budget.generations):
        # as in Strategy.generate, which draws from numpy's global generator
        steps = random.standard_normal((budget.candidates, len(start))) @ strategy.BD.T
        points = strategy.centroid + strategy.sigma * steps
        population = [_Candidate(point) for point in points]
        for candidate, point, value in zip(population, points, losses(points), strict=True):
            candidate.fitness = -float(value)
            if value < least:
                best, least = point, float(value)
        strategy.update(population)
    return best, least


def loss(model: Model, parameters: Float64, stretches: Sequence[Stretch]) -> Float64:
    """1 − Γ + rate error + `PER_MILLIVOLT` · clipped RMSE of candidates [n, parameters] over all stretches, [n]."""
    return np.concatenate(
        [
            _losses(model, parameters[i : i + _TOGETHER], stretches)
            for i in range(0, len(parameters), _TOGETHER)
        ]
    )


def simulate(model: Model, parameters: Float64, stretch: Stretch, steps: int = STEPS) -> Float32:
    """Voltages float32 [cells, samples + 1] of cells [cells, n] that all get the input of ``stretch``."""
    state = begun(model, parameters)
    shape = len(parameters), len(stretch.current)
    inputs = (np.broadcast_to(array, shape) for array in stretch[:3])
    voltage, outside = np.empty(shape, np.float32), np.zeros(shape[0], np.uint32)
    first = state[:, :1].astype(np.float32)
    model.kernel(steps, parameters, state, *inputs, voltage, outside)
    return np.concatenate([first, voltage], axis=1)


def _losses(model: Model, parameters: Float64, stretches: Sequence[Stretch]) -> Float64:
    n = len(parameters)
    trains: list[list[Float64]] = [[] for _ in range(n)]
    counts: list[list[Float64]] = [[] for _ in range(n)]
    squares, duration, shift = np.zeros(n), 0.0, 0.0
    reference, expected = [], []
    for stretch in stretches:
        length = len(stretch.current) * DT
        edges = np.append(np.arange(0.0, length - 0.5 * _BIN, _BIN), length)
        truth = spike_times(stretch.voltage[None])[0]
        expected.append(np.histogram(truth, edges)[0].astype(np.float64))
        voltage = simulate(model, parameters, stretch)
        for i, times in enumerate(spike_times(voltage)):
            counts[i].append(np.histogram(times, edges)[0].astype(np.float64))
            if stretch.timed:
                trains[i].append(times + shift)
            squares[i] += clipped_error(stretch.voltage[None], voltage[i : i + 1])[0] ** 2 * length
        duration += length
        if stretch.timed:
            reference.append(truth + shift)
            shift += length
    spikes, rates = [np.concatenate(reference)], np.concatenate(expected)
    found = np.empty(n)
    for i in range(n):
        gamma = coincidence(spikes, [np.concatenate(trains[i])], shift).gamma
        error = rate_error(rates, np.concatenate(counts[i]))[0]
        rmse = np.sqrt(squares[i] / duration)
        found[i] = 1.0 - np.nan_to_num(gamma) + np.nan_to_num(error) + PER_MILLIVOLT * rmse
    return found


def to_unit(model: Model, parameters: Float64, free: Mask) -> Float64:
    """Searched parameters of [n] as a point in the unit cube."""
    low, high, logarithmic = _ranges(model, free)
    values = np.where(logarithmic, np.log(np.where(logarithmic, parameters[free], 1.0)), parameters[free])
    return (values - low) / (high - low)


def from_unit(model: Model, unit: Float64, free: Mask) -> Float64:
    """Searched parameters [candidates, searched] of points in the unit cube."""
    low, high, logarithmic = _ranges(model, free)
    values = low + unit * (high - low)
    return np.where(logarithmic, np.exp(np.where(logarithmic, values, 0.0)), values)


def _ranges(model: Model, free: Mask) -> tuple[Float64, Float64, Mask]:
    searched = [p for p, wanted in zip(model.parameters, free, strict=True) if wanted]
    logarithmic = np.array([p.logarithmic for p in searched])
    low, high = (np.array([getattr(p, side) for p in searched]) for side in ("low", "high"))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(logarithmic, np.log(low), low), np.where(logarithmic, np.log(high), high), logarithmic
