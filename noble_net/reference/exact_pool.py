"""Exact cells as a network sees them, whatever simulates them: what hangs on them, what drives them, what they answer.

A pool knows cells, not networks: what drives them comes from outside, sample by sample (`Inputs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from noble_net.cells.model import CellModel
from noble_net.config import SynapseSpec
from noble_net.network.build import Network
from noble_net.types import Float32, Float64, Int64

AT_SOMA = -1
"""The segment of a point process in the middle of the soma."""


class Members(NamedTuple):
    """Cells of one population: their model, and the parameters of each, float64 [cells]."""

    population: str
    model: CellModel
    size: int
    parameters: Mapping[str, Float64]


def members_of(network: Network, models: Mapping[str, CellModel]) -> list[Members]:
    """The cells of every population, with the models of `noble_net.reference.neuron_cells.load_models`."""
    return [
        Members(each.name, models[each.name], each.size, each.cells.parameters)
        for each in network.populations
    ]


class Points(NamedTuple):
    """Point processes of one synapse type: the cell of each, int64 [points], and the segment of the synapse's zone in
    which it lies (or AT_SOMA)."""

    spec: SynapseSpec
    cell: Int64
    segment: Int64


class Driven(NamedTuple):
    """A dendritic zone of some cells (int64 [cells]) that is driven as a whole; ``half`` of its magnesium block, mV."""

    zone: str
    cell: Int64
    half: float


class Junctions(NamedTuple):
    """Gap junctions between cells ``first`` and ``second``, int64 [junctions] each, with their conductance (nS)."""

    first: Int64
    second: Int64
    conductance: Float64


class Layout(NamedTuple):
    """What hangs on the cells of a pool, which are numbered through its members."""

    points: list[Points]
    driven: list[Driven]
    junctions: list[Junctions]


class Inputs(NamedTuple):
    """What drives a pool in a block.

    ``soma``: injected current (nA), conductance (nS) and reversal current (pA), float32 [3, cells, samples]. ``zones``,
    for each `Driven`: the four inputs of `noble_net.cells.zones.ZoneInput`, float64 [4, its cells, samples].
    ``arrivals``, for each `Points`: what arrives at the start of a sample, nS or pA, float64 [samples, points].
    """

    soma: Float32
    zones: list[Float64]
    arrivals: list[Float64]


class Pool(Protocol):
    """Exact cells, in this process or others."""

    @property
    def segments(self) -> Mapping[str, int]:
        """Compartments of one cell, per population."""

    @property
    def areas(self) -> Mapping[str, Mapping[str, Float64]]:
        """Membrane of each segment of a zone, µm² [segments], by population and zone; alike in a family's cells."""

    def settle(self, layout: Layout) -> Float32:
        """Hang ``layout`` on the cells and bring each to its own rest, without input and uncoupled: mV [cells]."""

    def advance(self, inputs: Inputs) -> Float32:
        """Voltage at the ends of the samples, mV [cells, samples]."""

    def close(self) -> None:
        """Remove everything from the simulator; safe to call twice."""
