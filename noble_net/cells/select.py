"""From an archive of evolved individuals to members: valid, distinct, balanced over the targets, best first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from noble_net.cells.evolve import drawn_target
from noble_net.cells.parameter_space import Space
from noble_net.cells.targets import Targets, mean_z
from noble_net.specs.families import EvolveSpec
from noble_net.types import Float64


class Candidate(NamedTuple):
    """An individual that may become a member."""

    parameters: Mapping[str, float]
    z_score: float
    """Mean z-score against the undrawn targets: how typical of the family it is."""
    error: float
    """Mean z-score against the target it was evolved to."""
    seed: int
    target: int
    hall_of_fame: bool


def candidates(
    rows: Iterable[Mapping[str, Any]], undrawn: Targets, spec: EvolveSpec, space: Space
) -> list[Candidate]:
    """Every valid and distinct individual of an archive, the hall of fame first.

    Valid: solved at every step, mean z-score against the undrawn targets ≤ ``max_z``. Distinct: at least ``distance``
    from every one before it (root-mean-square over the coordinates). The hall of fame is that of `with_hall_of_fame`;
    the others follow one of each target in turn. Individuals with other parameters (of an older recipe) are left out.
    """
    groups: dict[tuple[int, int], list[Candidate]] = {}
    for row in rows:
        if set(row["parameters"]) != set(space.names):
            continue
        if row.get("stage") == 2 and set(undrawn.steps) <= set(row["features"]):
            z = mean_z(undrawn.z_scores(row["features"]))
            if z <= spec.max_z:
                key = (int(row["seed"]), int(row["target"]))
                error = mean_z(drawn_target(undrawn, spec, *key).z_scores(row["features"]))
                groups.setdefault(key, []).append(Candidate(row["parameters"], z, error, *key, False))
    for group in groups.values():
        group.sort(key=lambda each: each.error)
    chosen = _distinct(_in_turn([groups[key] for key in sorted(groups)]), space, spec.distance)
    marked = with_hall_of_fame(chosen, spec.hall_of_fame)
    return sorted(marked, key=lambda each: not each.hall_of_fame)


def with_hall_of_fame(ordered: Sequence[Candidate], wanted: int) -> list[Candidate]:
    """The candidates in their order, the ``wanted`` best marked: equally many of every drawn target, as far as they go.

    Within a target the order is that of ``ordered``.
    """
    sizes = Counter((each.seed, each.target) for each in ordered)
    share = next(
        (n for n in range(wanted + 1) if sum(min(n, size) for size in sizes.values()) >= wanted), wanted
    )
    taken: Counter[tuple[int, int]] = Counter()
    marked = []
    for each in ordered:
        key = (each.seed, each.target)
        inside = taken.total() < wanted and taken[key] < share
        taken[key] += inside
        marked.append(each._replace(hall_of_fame=inside))
    return marked


def _in_turn(groups: list[list[Candidate]]) -> Iterator[Candidate]:
    """The first of every group, then the second …"""
    for rank in range(max((len(group) for group in groups), default=0)):
        for group in groups:
            if rank < len(group):
                yield group[rank]


def _distinct(ordered: Iterable[Candidate], space: Space, distance: float) -> list[Candidate]:
    kept: list[Candidate] = []
    places: Float64 = np.empty((0, len(space.names)))
    for each in ordered:
        place = space.coordinates(np.array([each.parameters[name] for name in space.names]))
        if len(kept) == 0 or np.sqrt(((places[: len(kept)] - place) ** 2).mean(axis=1)).min() >= distance:
            if len(kept) == len(places):
                places = np.concatenate([places, np.empty((max(256, len(places)), len(space.names)))])
            places[len(kept)] = place
            kept.append(each)
    return kept
