"""Connection rules: who projects to whom, with which weight and delay.

Everything is drawn per target cell from streams keyed by the projection's name, so a projection depends on
nothing but the seed, its name, its rule and the sizes of its two populations. Rules:

- ``pairwise_bernoulli``: every pair connects independently with probability p (in-degree is binomial);
- ``fixed_indegree``: a random subset of that many sources per target (with multapses: independent draws);
- ``all_to_all``, and ``one_to_one`` (equal sizes; source i to target i).

Without autapses a cell never projects to itself, where source and target are the same population.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from noble_net.config import ProjectionSpec, RuleSpec
from noble_net.network import random_kernels, wiring_kernels
from noble_net.network.random import quantile, stream_key
from noble_net.specs.distribution import Distribution
from noble_net.types import DT, Float32, Float64, Int32, Int64


@dataclass(frozen=True)
class ProjectionArrays:
    """The synapses of one projection, compressed by source and sorted by (source, target).

    The synapses of source i are entries ``indptr[i]`` to ``indptr[i + 1]`` of ``target`` (int32, cell index
    within the target population), ``weight`` (float32, nS or pA) and ``delay`` (int32, samples).
    """

    name: str
    source: str
    target_population: str
    synapse: str
    indptr: Int64
    target: Int32
    weight: Float32
    delay: Int32

    @property
    def size(self) -> int:
        """Number of synapses."""
        return int(self.target.size)

    @property
    def source_ids(self) -> Int32:
        """Source cell of every synapse, int32 [synapses]."""
        sources = np.arange(self.indptr.size - 1, dtype=np.int32)
        return np.repeat(sources, np.diff(self.indptr))


def connect(spec: ProjectionSpec, sources: int, targets: int, seed: int) -> ProjectionArrays:
    """Draw a projection between populations of the given sizes. Delays are rounded to whole samples."""
    within = spec.source == spec.target
    indptr, source = draw_pairs(spec.rule, sources, targets, stream_key(seed, "connect", spec.name), within)
    rows, order = wiring_kernels.by_source(indptr, source, sources)
    target = np.repeat(np.arange(targets, dtype=np.int32), np.diff(indptr))[order]

    def per_synapse(purpose: str, distribution: Distribution) -> Float64:
        if distribution.kind == "constant":
            return np.full(source.size, distribution.a)
        uniform = random_kernels.row_uniforms(stream_key(seed, purpose, spec.name), indptr)
        return quantile(distribution, uniform)[order]

    return ProjectionArrays(
        name=spec.name,
        source=spec.source,
        target_population=spec.target,
        synapse=spec.synapse,
        indptr=rows,
        target=target,
        weight=per_synapse("weight", spec.weight).astype(np.float32),
        delay=np.rint(per_synapse("delay", spec.delay) / DT).astype(np.int32),
    )


def draw_pairs(
    rule: RuleSpec, sources: int, targets: int, key: np.uint64, within: bool
) -> tuple[Int64, Int32]:
    """Row pointers by target, int64 [targets + 1], and source cells, ascending within a target.

    ``within``: source and target are the same population, so that autapses are possible.
    """
    leave_out_self = within and not rule.autapses
    candidates = sources - 1 if leave_out_self else sources
    indptr, source = _DRAW[rule.kind](rule, candidates, targets, key)
    if leave_out_self and rule.kind != "one_to_one":
        wiring_kernels.skip_self(indptr, source)
    return indptr, source


def expected_size(spec: ProjectionSpec, sources: int, targets: int) -> int:
    """Number of synapses a projection is going to have: exact, or the mean for a random number."""
    rule = spec.rule
    candidates = sources - 1 if spec.source == spec.target and not rule.autapses else sources
    if rule.kind == "one_to_one":
        return targets
    if rule.kind == "fixed_indegree":
        return targets * int(_given(rule.indegree))
    return round(targets * candidates * (1.0 if rule.kind == "all_to_all" else _given(rule.p)))


def _bernoulli(rule: RuleSpec, candidates: int, targets: int, key: np.uint64) -> tuple[Int64, Int32]:
    p = _given(rule.p)
    if p == 0.0:
        return _full(0, targets)
    if p == 1.0:
        return _full(candidates, targets)
    log_miss = float(np.log1p(-p))
    indptr = wiring_kernels.bernoulli_counts(key, targets, candidates, log_miss)
    return indptr, wiring_kernels.bernoulli_fill(key, indptr, candidates, log_miss)


def _fixed_indegree(rule: RuleSpec, candidates: int, targets: int, key: np.uint64) -> tuple[Int64, Int32]:
    degree = int(_given(rule.indegree))
    if degree > (0 if candidates < 1 else degree if rule.multapses else candidates):
        raise ValueError(f"an in-degree of {degree} with {candidates} candidates")
    source = wiring_kernels.indegree_fill(key, targets, candidates, degree, rule.multapses)
    return np.arange(targets + 1, dtype=np.int64) * degree, source


def _all_to_all(rule: RuleSpec, candidates: int, targets: int, key: np.uint64) -> tuple[Int64, Int32]:
    return _full(candidates, targets)


def _one_to_one(rule: RuleSpec, candidates: int, targets: int, key: np.uint64) -> tuple[Int64, Int32]:
    return np.arange(targets + 1, dtype=np.int64), np.arange(targets, dtype=np.int32)


def _full(candidates: int, targets: int) -> tuple[Int64, Int32]:
    source = np.tile(np.arange(candidates, dtype=np.int32), targets)
    return np.arange(targets + 1, dtype=np.int64) * candidates, source


def _given(value: float | None) -> float:
    if value is None:
        raise ValueError("pairwise_bernoulli needs p, fixed_indegree needs indegree")
    return value


_DRAW: dict[str, Callable[[RuleSpec, int, int, np.uint64], tuple[Int64, Int32]]] = {
    "pairwise_bernoulli": _bernoulli,
    "fixed_indegree": _fixed_indegree,
    "all_to_all": _all_to_all,
    "one_to_one": _one_to_one,
}
