"""Gap junctions: pairs of cells coupled by a conductance, without delay.

A junction of conductance g adds to each of its cells the current g·(V_other − V_self): g to the drive's conductance and
g·V_other to its reversal current. V_other is held through a step of the network (the least common multiple of its
cores' steps) at its value at the step's start; V_self is the core's own, so the coupling never overshoots. The
neighbour is thus late by half a step h in the mean, a first-order error: the current is off by g·(h/2)·dV_other/dt,
0.5 % of it for changes over 10 ms and h = 0.1 ms; the upstroke of a spike is passed on up to one step late. An
integrate-and-fire cell shows +20 mV to its neighbours for the sample of its spike.

A block is one step in a network with gap junctions, so that lag is the same however a run is cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noble_net.compiled import compiled
from noble_net.network import random_kernels
from noble_net.network.geometry import Places
from noble_net.network.random import quantile, stream_key
from noble_net.network.rules import Setting, draw_rows, expected_size
from noble_net.specs.gap_junctions import GapJunctionSpec
from noble_net.specs.rule_parameters import Ends
from noble_net.types import Float32, Int32, Real

_LISTS = ("table", "sonata", "graph")


@dataclass(frozen=True)
class GapJunctions:
    """Junctions of one name: cell ``first[i]`` of population ``source`` and ``second[i]`` of ``target`` (int32) are
    coupled by ``conductance[i]`` (nS, float32). No pair comes twice unless the rule has multapses."""

    name: str
    source: str
    target: str
    first: Int32
    second: Int32
    conductance: Float32

    @property
    def size(self) -> int:
        """Number of junctions."""
        return int(self.first.size)


def couple_pairs(
    spec: GapJunctionSpec, sources: int, targets: int, seed: int, places: Places | None = None
) -> GapJunctions:
    """Draw the junctions between populations of the given sizes; ``places`` are needed where distance counts.

    Raises GivenError for a file or a generator that does not fit.
    """
    within = spec.source == spec.target
    rows = draw_rows(spec.rule, _setting(spec, sources, targets, seed, places))
    indptr, source = rows.indptr, rows.source
    target = np.repeat(np.arange(targets, dtype=np.int32), np.diff(indptr))
    uniform = random_kernels.row_uniforms(stream_key(seed, "gap conductance", spec.name), indptr)
    conductance = quantile(spec.conductance, uniform).astype(np.float32)
    kept = source < target if within else np.ones(source.size, bool)
    if within and _from_file(spec):
        turned = _only_turned(source, target, sources)
        source, target = np.where(turned, target, source), np.where(turned, source, target)
        kept |= turned
    return GapJunctions(spec.name, spec.source, spec.target, source[kept], target[kept], conductance[kept])


def expected_number(
    spec: GapJunctionSpec, sources: int, targets: int, seed: int, places: Places | None = None
) -> int:
    """Number of junctions there are going to be: exact for a list or a graph, else the mean, to which of pairs drawn
    within a population half count."""
    if spec.rule.kind in _LISTS:
        return couple_pairs(spec, sources, targets, seed, places).size
    drawn = expected_size(spec.rule, _setting(spec, sources, targets, seed, places))
    return drawn // 2 if spec.source == spec.target else drawn


def _from_file(spec: GapJunctionSpec) -> bool:
    return spec.rule.kind in _LISTS and getattr(spec.rule.parameters, "file", None) is not None


def _only_turned(source: Int32, target: Int32, cells: int) -> NDArray[np.bool_]:
    """Which pairs of a list go from a higher to a lower cell and are not there the other way round, too: a list may
    have a junction either way, or both."""
    first, second = np.minimum(source, target).astype(np.int64), np.maximum(source, target)
    pair = first * cells + second
    found: NDArray[np.bool_] = (source > target) & ~np.isin(pair, pair[source < target])
    return found


def _setting(spec: GapJunctionSpec, sources: int, targets: int, seed: int, places: Places | None) -> Setting:
    ends = Ends(sources, targets, spec.source == spec.target)
    return Setting(ends, stream_key(seed, "gap junctions", spec.name), places)


@compiled()
def couple(
    cell: Int32,
    neighbour: Int32,
    conductance: Float32,
    voltage: Float32,
    total_conductance: Real,
    reversal_current: Real,
) -> None:
    """Add to the drive [cells, samples] of each ``cell`` what it feels of its ``neighbour``, whose population has
    ``voltage`` (mV, [cells]); junction by junction, in their order."""
    for junction in range(cell.size):
        g = conductance[junction]
        j = g * voltage[neighbour[junction]]
        for k in range(total_conductance.shape[1]):
            total_conductance[cell[junction], k] += g
            reversal_current[cell[junction], k] += j
