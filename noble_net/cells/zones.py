"""The input zones of a cell, and inputs spread over its dendrites in NEURON.

A surrogate core takes a cell's synapses zone by zone. On the exact cell a zone is a set of segments: what drives it
is spread over them in proportion to membrane area and acts at each one's own voltage. Synapses are not spread in a
real cell: `noble_net.cells.psp` measures what that makes of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noble_net.errors import SolverError
from noble_net.specs.basics import ZONES as ZONES

BOUNDARY = 100.0
"""Path from the middle of the soma at which the proximal dendrite ends, µm."""

_INPUTS, _HALF = range(4), 4
"""Places in NobleZoneInput: the four played inputs, and the half of the magnesium block."""


class Zone(NamedTuple):
    """Segments (NEURON's) of a zone and their membrane area (µm²)."""

    segments: tuple[Any, ...]
    area: float


class ZoneInput(NamedTuple):
    """What drives a dendritic zone as a whole, float [samples] each, None: nothing.

    Conductance G (nS) and J = Σ g·E (pA); the same of NMDA synapses before the magnesium block B(V) = 1/(1 +
    e^(−BLOCK_SLOPE·(V − half))) (Jahr & Stevens 1990), ``half`` in mV. The current into a segment with a share s of
    the zone's area, at its voltage V, is s·(J − G·V + B(V)·(J_nmda − G_nmda·V))/1000 nA.
    """

    conductance: NDArray[np.floating] | None = None
    reversal_current: NDArray[np.floating] | None = None
    nmda_conductance: NDArray[np.floating] | None = None
    nmda_reversal_current: NDArray[np.floating] | None = None
    half: float = 0.0


def cell_zones(sections: Mapping[str, Sequence[Any]], boundary: float = BOUNDARY) -> dict[str, Zone]:
    """The zones of a cell in NEURON, by name: `ZONES`.

    ``sections``: its sections by kind, as `noble_net.cells.solver.ExactCell` holds them. The soma's zone has the axon;
    a dendritic (dend, apic) segment is proximal when its middle lies at most ``boundary`` µm of path from the middle
    of the soma, else distal. A zone may be empty.
    """
    from noble_net.cells.mechanisms import neuron

    h = neuron().h
    middle = sections["soma"][0](0.5)
    found: dict[str, list[Any]] = {name: [] for name in ZONES}
    for kind, group in sections.items():
        for section in group:
            for segment in section:
                near = kind in ("soma", "axon")
                far = not near and h.distance(middle, segment) > boundary
                found["soma" if near else "distal" if far else "proximal"].append(segment)
    return {name: Zone(tuple(s), sum(float(segment.area()) for segment in s)) for name, s in found.items()}


def zone_areas(zones: Mapping[str, Zone]) -> dict[str, NDArray[np.float64]]:
    """Membrane of each segment of the zones, µm² [segments]."""
    return {
        name: np.array([float(segment.area()) for segment in zone.segments]) for name, zone in zones.items()
    }


class ZoneDrive:
    """The dendritic zones of one cell in NEURON, each with one set of inputs that all its segments point to.

    To be made once a cell: it inserts a mechanism. NEURON then computes it in every step, driven or not.
    """

    def __init__(self, h: Any, sections: Mapping[str, Sequence[Any]], boundary: float = BOUNDARY) -> None:
        self._inputs: dict[str, Any] = {}
        for name, zone in cell_zones(sections, boundary).items():
            if name == "soma" or not zone.segments:
                continue
            source = self._inputs[name] = h.NobleZoneInput(zone.segments[0])
            for section in dict.fromkeys(segment.sec for segment in zone.segments):
                section.insert("NobleZone")
            for segment in zone.segments:
                segment.NobleZone.zone_area = zone.area
                h.setpointer(source._ref_x[0], "inputs", segment.NobleZone)

    def reset(self) -> None:
        """No input in any zone."""
        for source in self._inputs.values():
            for place in _INPUTS:
                source.x[place] = 0.0

    def played(self, zones: Mapping[str, ZoneInput]) -> Iterator[tuple[Any, NDArray[np.floating]]]:
        """Pointers to the variables of ``zones`` and the samples to play into them; sets the halves of the block.

        Raises SolverError for a zone that the cell does not have.
        """
        for name, drive in zones.items():
            for pointer, values in zip(self.pointers(name, drive.half), drive[:4], strict=True):
                if values is not None:
                    yield pointer, values

    def pointers(self, name: str, half: float) -> tuple[Any, ...]:
        """Pointers to the four inputs of a zone, in the order of `ZoneInput`; sets the half of the block (mV).

        Raises SolverError for a zone that the cell does not have.
        """
        if name not in self._inputs:
            known = ", ".join(self._inputs) or "none"
            advice = "; the soma takes `conductance` and `reversal_current`" if name == "soma" else ""
            raise SolverError(f"the cell has no dendritic zone {name!r}: it has {known}{advice}")
        source = self._inputs[name]
        source.x[_HALF] = half
        return tuple(source._ref_x[place] for place in _INPUTS)
