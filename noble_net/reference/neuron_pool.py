"""Exact cells in this process's NEURON: built, hung with point processes, brought to rest and advanced.

NEURON's time, step and temperature are global, so one pool runs in a process at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from noble_net.cells.mechanisms import neuron
from noble_net.cells.solver import SECOND_ORDER, SETTLE, ExactCell
from noble_net.cells.zones import cell_zones, zone_areas
from noble_net.reference.exact_pool import AT_SOMA, Inputs, Layout, Members
from noble_net.reference.neuron_cells import PointProcesses, Probe, steps_per_sample
from noble_net.types import Float32, Float64


class CellPool:
    """The cells of a pool in this process; see `Pool`. ``dt``: NEURON's step, ms; ``settle``: at rest before, ms."""

    def __init__(self, members: list[Members], dt: float, settle: float = SETTLE) -> None:
        self._h, self._dt, self._steps = neuron().h, dt, steps_per_sample(dt)
        self._settle = settle
        built = {each.population: exact_cells(each, dt) for each in members if each.size}
        self._cells = [cell for cells in built.values() for cell in cells]
        self.segments = {population: cells[0].segments for population, cells in built.items()}
        self._zones = [cell_zones(cell.sections) for cell in self._cells]
        self.areas: dict[str, Mapping[str, Float64]] = {
            population: zone_areas(cell_zones(cells[0].sections)) for population, cells in built.items()
        }
        self._points: list[PointProcesses] = []
        self._driven: list[list[Probe]] = []
        self._gaps: list[Any] = []
        self._voltage = Probe([cell.soma(0.5)._ref_v for cell in self._cells])
        self._drive = [
            Probe([getattr(cell.drive, f"_ref_{variable}") for cell in self._cells])
            for variable in ("i0", "g", "j")
        ]

    def settle(self, layout: Layout) -> Float32:
        """See `Pool`."""
        h = self._h
        self._hang(layout)
        h.CVode().active(False)
        h.celsius, h.dt, h.secondorder = self._cells[0].model.celsius, self._dt, SECOND_ORDER
        set_initial_voltage(self._cells)
        h.finitialize()
        for _ in range(round(self._settle / self._dt)):
            h.fadvance()
        conductances = [value for each in layout.junctions for value in np.tile(each.conductance, 2).tolist()]
        for gap, conductance in zip(self._gaps, conductances, strict=True):
            gap.g = conductance
        return self._voltage.read().astype(np.float32)

    def advance(self, inputs: Inputs) -> Float32:
        """See `Pool`."""
        h = self._h
        samples = inputs.soma.shape[2]
        voltage = np.empty((len(self._cells), samples), np.float32)
        for k in range(samples):
            for probe, soma in zip(self._drive, inputs.soma, strict=True):
                probe.write(soma[:, k])
            for probes, zone in zip(self._driven, inputs.zones, strict=True):
                for probe, values in zip(probes, zone, strict=True):
                    probe.write(values[:, k])
            for points, arriving in zip(self._points, inputs.arrivals, strict=True):
                if arriving[k].any():
                    points.arrive(arriving[k])
            for _ in range(self._steps):
                h.fadvance()
            voltage[:, k] = self._voltage.read()
        return voltage

    def close(self) -> None:
        """See `Pool`."""
        for each in (self._points, self._driven, self._gaps, self._zones, self._cells):
            each.clear()

    def _hang(self, layout: Layout) -> None:
        for points in layout.points:
            zone = points.spec.zone
            places = [
                self._cells[cell].soma(0.5)
                if segment == AT_SOMA
                else self._zones[cell][zone].segments[segment]
                for cell, segment in zip(points.cell.tolist(), points.segment.tolist(), strict=True)
            ]
            self._points.append(PointProcesses(self._h, points.spec, places))
        for driven in layout.driven:
            inputs = [
                self._cells[cell].zone_drive.pointers(driven.zone, driven.half)
                for cell in driven.cell.tolist()
            ]
            self._driven.append(
                [Probe(pointers) for pointers in zip(*inputs, strict=True)] or [Probe([])] * 4
            )
        for each in layout.junctions:
            for cell, other in zip(
                np.concatenate([each.first, each.second]).tolist(),
                np.concatenate([each.second, each.first]).tolist(),
                strict=True,
            ):
                gap = self._h.NobleGap(self._cells[cell].soma(0.5))
                self._h.setpointer(self._cells[other].soma(0.5)._ref_v, "other", gap)
                self._gaps.append(gap)


def set_initial_voltage(cells: list[ExactCell]) -> None:
    """Set every segment to the voltage that its model starts from."""
    for cell in cells:
        for section in (each for group in cell.sections.values() for each in group):
            for segment in section.allseg():
                segment.v = cell.model.v_init


def exact_cells(members: Members, dt: float) -> list[ExactCell]:
    """The cells in this process's NEURON, with their parameters."""
    cells = []
    for index in range(members.size):
        cell = ExactCell(members.model, dt)
        cell.set_parameters({name: float(values[index]) for name, values in members.parameters.items()})
        cells.append(cell)
    return cells
