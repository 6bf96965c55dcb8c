"""Which member is stepped by which amplitude, in every part of a NOBLE dataset. No solver is needed to know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import skewnorm

from noble_net.cells.family import Family
from noble_net.errors import FamilyError
from noble_net.specs.noble import AmplitudeSpec, Members, NobleDatasetSpec, NobleRecipe
from noble_net.types import Float64, Int32

_AT_ONCE = 24_000
"""Training traces drawn at once, so that a smaller dataset is the beginning of a larger one."""


class Steps(NamedTuple):
    """The steps of one part of a dataset."""

    member: Int32
    """Row of the dataset's ids, [traces]."""
    amplitude: Float64
    """nA, [traces]."""


class AmplitudeRange(NamedTuple):
    """An `AmplitudeSpec` made definite for a family, nA."""

    low: float
    high: float
    location: float
    scale: float
    skew: float

    def draw(self, generator: np.random.Generator, size: int) -> Float64:
        """Amplitudes, float64 [size]; a longer draw does not begin with a shorter one's."""
        delta = self.skew / np.sqrt(1.0 + self.skew**2)
        kept = np.empty(0)
        while len(kept) < size:
            normal, half = generator.standard_normal((2, 2 * size))
            z = delta * np.abs(half) + np.sqrt(1.0 - delta**2) * normal
            drawn = self.location + self.scale * z
            kept = np.append(kept, drawn[(drawn >= self.low) & (drawn <= self.high)])
        return kept[:size]


def amplitude_range(spec: AmplitudeSpec, family: Family, ids: Sequence[str]) -> AmplitudeRange:
    """The amplitudes of a family whose training members are ``ids``. Raises FamilyError for an empty range."""
    thresholds = family.cells(ids).features["I_thr"]
    high = float(np.nanmax(thresholds)) + spec.margin if spec.high is None else spec.high
    mode = float(np.nanmedian(thresholds)) if spec.mode is None else spec.mode
    if not spec.low < mode < high:
        raise FamilyError(f"step amplitudes of [{spec.low}, {high}] nA do not enclose their mode {mode} nA")
    scale = (high - spec.low) / 4.0 if spec.scale is None else spec.scale
    z = np.linspace(-5.0, 5.0, 20_001)
    peak = float(z[np.argmax(skewnorm.pdf(z, spec.skew))])
    return AmplitudeRange(spec.low, high, mode - scale * peak, scale, spec.skew)


def members_of(spec: NobleDatasetSpec, family: Family, role: str) -> list[str]:
    """Ids of a role ('train', 'held_out' or 'all'), of the hall of fame alone where the dataset wants it."""
    return family.ids(role, hall_of_fame=spec.hall_of_fame and "hall_of_fame" in family.table)


def select_members(spec: NobleDatasetSpec, family: Family, members: Members) -> list[str]:
    """Ids of the training members meant. Raises FamilyError when there are not so many, or one is none."""
    train = members_of(spec, family, "train")
    if members is None:
        return train
    if isinstance(members, int):
        if not 0 < members <= len(train):
            raise FamilyError(f"family {family.name} has {len(train)} training members, not {members}")
        return train[:members]
    odd = sorted(set(members) - set(train))
    if odd:
        raise FamilyError(f"{', '.join(odd)}: no training members of family {family.name}")
    return [i for i in train if i in set(members)]


def dataset_ids(spec: NobleDatasetSpec, family: Family) -> list[str]:
    """Members in the dataset: those trained on, then all held-out ones."""
    return [*select_members(spec, family, spec.members), *members_of(spec, family, "held_out")]


def trained_members(recipe: NobleRecipe, family: Family) -> list[str]:
    """Ids of the members a recipe's core is trained on: dataset and training both say so."""
    spec = recipe.dataset
    wanted = set(select_members(spec, family, recipe.training.members))
    return [member for member in select_members(spec, family, spec.members) if member in wanted]


def trained_amplitudes(recipe: NobleRecipe, family: Family) -> tuple[float, float]:
    """Lowest and highest step a recipe's core was trained on last, nA: fine-tuning sees hyperpolarising steps alone,
    and nothing holds what a core knew of the others."""
    spec = recipe.dataset
    low, high, *_ = amplitude_range(spec.amplitude, family, select_members(spec, family, spec.members))
    return low, 0.0 if recipe.fine_tune else high


def plan_traces(spec: NobleDatasetSpec, family: Family) -> dict[str, Steps]:
    """Members and amplitudes of every part; each part has a random stream of its own."""
    trained = select_members(spec, family, spec.members)
    amplitudes = amplitude_range(spec.amplitude, family, trained)
    everyone = np.arange(len(dataset_ids(spec, family)), dtype=np.int32)
    grid = np.linspace(0.0, amplitudes.high, spec.fi_points)
    random = [np.random.default_rng([spec.seed, part]) for part in range(3)]

    def anyone(g: np.random.Generator, size: int) -> Int32:
        return g.integers(0, len(trained), size, dtype=np.int32)

    def training(g: np.random.Generator, size: int) -> Steps:
        drawn = [Steps(anyone(g, _AT_ONCE), amplitudes.draw(g, _AT_ONCE)) for _ in range(0, size, _AT_ONCE)]
        members, steps = (np.concatenate(columns)[:size] for columns in zip(*drawn, strict=True))
        return Steps(members, steps)

    tested = np.repeat(everyone, spec.test_traces)
    parts = {
        "train": training(random[0], spec.traces),
        "test": Steps(tested, amplitudes.draw(random[1], len(tested))),
        "fi": Steps(np.repeat(everyone, len(grid)), np.tile(grid, len(everyone))),
    }
    if spec.hyperpolarising:
        steps = random[2].uniform(spec.amplitude.low, 0.0, spec.hyperpolarising)
        parts["hyperpolarising"] = Steps(anyone(random[2], spec.hyperpolarising), steps)
    return parts
