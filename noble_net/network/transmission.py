"""Transmission: what the spikes of one block make of a projection's weights as they are sent.

One of three, by the synapse's plasticity.

- `Static`: a spike delivers the weight.
- `TsodyksMarkram`: it delivers weight·u·x, and u and x live in the source cell: release depends on its spikes
  alone, so all synapses of the projection share them. Event-driven and exact between spikes, whose times are
  rounded to the sample.
- `Stdp`: weights change with pairs of spikes. Half of a delay is taken for axonal and half for dendritic, so that
  two spikes meet at the synapse with the difference they have at the somata. A weight is then read when its spike
  leaves: no spike of the target from then until the arrival at the synapse can still reach it.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from noble_net.network import plasticity_kernels, underway_kernels, wiring_kernels
from noble_net.network.connect import ProjectionArrays
from noble_net.network.synapses import SynapseBank
from noble_net.network.underway import Underway
from noble_net.network.underway_kernels import Pool
from noble_net.specs.plasticity import StdpSpec, TsodyksMarkramSpec
from noble_net.types import Float32, Float64, Int32, Int64

_EVERYTHING = np.empty(0, np.float64)
_Arrays = tuple[Any, ...]


class Events(NamedTuple):
    """Spikes of one block of a whole group of cells, sorted by sample, in which a population's begin at ``first``."""

    cell: Int32
    sample: Int32
    first: int


class Transmission(Protocol):
    """How a projection's spikes are sent."""

    weight: Float32
    """Weights now, [synapses] in the projection's order, nS or pA."""

    common: frozenset[str]
    """What of the state belongs to source cells, and so is the same in every process that shares the network."""

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes, in arrays that may be refilled."""

    def send(self, start: int, fired: Events, heard: Events) -> None:
        """Send the spikes of the source in the block that began at ``start``; ``heard``: those of the target."""


class Static:
    """Weights that never change."""

    common: frozenset[str] = frozenset()

    def __init__(self, projection: ProjectionArrays, bank: SynapseBank) -> None:
        self.weight = projection.weight
        self.state: dict[str, NDArray[Any]] = {}
        self._arrays = (*_synapses(projection), _EVERYTHING)
        self._indptr, self._underway = projection.indptr, bank.underway

    def send(self, start: int, fired: Events, heard: Events) -> None:
        """See `Transmission`."""
        arrays = (*self._arrays, _room(self._underway, fired, self._indptr))
        underway_kernels.send(*fired, start, *arrays)


class TsodyksMarkram:
    """Short-term depression and facilitation.

    State per source cell: ``used`` and ``recovered`` float64, ``last`` int64 (see `plasticity_kernels.release`).
    """

    common = frozenset({"used", "recovered", "last"})

    def __init__(self, spec: TsodyksMarkramSpec, projection: ProjectionArrays, bank: SynapseBank) -> None:
        sources = projection.indptr.size - 1
        self.weight = projection.weight
        self.used: Float64 = np.zeros(sources)
        self.recovered: Float64 = np.ones(sources)
        self.last: Int64 = np.zeros(sources, np.int64)
        self.state: dict[str, NDArray[Any]] = {
            "used": self.used,
            "recovered": self.recovered,
            "last": self.last,
        }
        self._constants = np.array([spec.U, spec.tau_rec, spec.tau_facil])
        self._arrays = _synapses(projection)
        self._indptr, self._underway = projection.indptr, bank.underway

    def send(self, start: int, fired: Events, heard: Events) -> None:
        """See `Transmission`."""
        share: Float64 = np.zeros(fired.cell.size)
        plasticity_kernels.release(
            *fired, start, self._constants, self.used, self.recovered, self.last, share
        )
        arrays = (*self._arrays, share, _room(self._underway, fired, self._indptr))
        underway_kernels.send(*fired, start, *arrays)


class Stdp:
    """Pair-based spike-timing-dependent plasticity with traces of all spikes.

    State: ``weight`` float32 [synapses], a copy of the projection's; per source and per target cell a trace
    (float64) and the sample of its last spike (int64).
    """

    common = frozenset({"pre_trace", "pre_last"})

    def __init__(self, spec: StdpSpec, projection: ProjectionArrays, targets: int, bank: SynapseBank) -> None:
        sources = projection.indptr.size - 1
        self.weight = projection.weight.copy()
        self.pre_trace: Float64 = np.zeros(sources)
        self.pre_last: Int64 = np.zeros(sources, np.int64)
        self.post_trace: Float64 = np.zeros(targets)
        self.post_last: Int64 = np.zeros(targets, np.int64)
        self.state: dict[str, NDArray[Any]] = {
            "weight": self.weight,
            "pre_trace": self.pre_trace,
            "pre_last": self.pre_last,
            "post_trace": self.post_trace,
            "post_last": self.post_last,
        }
        rows, entries = wiring_kernels.grouped(projection.target, targets)
        constants = spec.tau_plus, spec.tau_minus, spec.a_plus, spec.a_minus, spec.w_max.a
        wiring = projection.indptr, projection.target, projection.delay, rows, entries, projection.source_ids
        rule = np.array(constants), spec.rule == "multiplicative"
        traces = self.pre_trace, self.pre_last, self.post_trace, self.post_last
        self._arrays: _Arrays = (*wiring, *rule, self.weight, *traces)
        self._indptr, self._underway = projection.indptr, bank.underway

    def send(self, start: int, fired: Events, heard: Events) -> None:
        """See `Transmission`."""
        arrays = (*self._arrays, _room(self._underway, fired, self._indptr))
        plasticity_kernels.pair_stdp(*fired, *heard, start, *arrays)


def _synapses(projection: ProjectionArrays) -> _Arrays:
    return projection.indptr, projection.target, projection.weight, projection.delay


def _room(underway: Underway, fired: Events, indptr: Int64) -> Pool:
    """The pool of ``underway`` with room for what these spikes send."""
    underway.make_room(underway_kernels.outgoing(fired.cell, fired.first, indptr))
    return underway.pool


def transmission(projection: ProjectionArrays, targets: int, bank: SynapseBank) -> Transmission:
    """The transmission of a projection onto ``targets`` cells, by the plasticity of the bank's synapse."""
    plasticity = bank.spec.plasticity
    if plasticity is not None and plasticity.tsodyks_markram is not None:
        return TsodyksMarkram(plasticity.tsodyks_markram, projection, bank)
    if plasticity is not None and plasticity.stdp is not None:
        return Stdp(plasticity.stdp, projection, targets, bank)
    return Static(projection, bank)
