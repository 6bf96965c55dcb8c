"""Exact cells in Arbor: the sections of a cell in NEURON as a morphology, its mechanisms from Arbor's Allen catalogue.

The cell is built in NEURON first (`noble_net.cells.solver.ExactCell`), so that both simulators have the same points,
the same axon and the same compartments: a section's nseg are its control volumes here. Rest and, at the same implicit
Euler step, the times of spikes are the same, too (`tests/test_arbor.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from noble_net.cells.family import Family
from noble_net.cells.model import SECTIONS, CellModel, split_parameter
from noble_net.cells.solver import ExactCell
from noble_net.cells.zones import cell_zones, zone_areas
from noble_net.errors import BackendError, MissingExtraError

Values = Mapping[str, Mapping[str, float]]
"""Section → variable → value, in NEURON's units."""

_PASSIVE = {"cm": 1.0, "Ra": 35.4, "e_pas": -70.0, "g_pas": 0.001}
"""What every section has, with NEURON's defaults."""
_REVERSALS = {"ena": "na", "ek": "k"}
_KELVIN = 273.15
_CALCIUM_MM = {"int_con": 5e-5, "ext_con": 2.0}
"""NEURON's initial concentrations, from which both take the reversal potential of calcium (Nernst)."""


def arbor() -> ModuleType:
    """The `arbor` package. Raises MissingExtraError when it is not installed."""
    try:
        import arbor as module
    except ImportError as error:
        raise MissingExtraError("Arbor", "reference") from error
    return module  # type: ignore[no-any-return]


class Geometry:
    """A cell of NEURON as Arbor sees it: its morphology, its control volumes, and where its segments are.

    ``segments``: compartments. ``sections``: kinds of section that there are. ``areas`` (µm² [segments]) and
    ``places`` (locations in Arbor's language) of the segments of each input zone; ``soma``: the middle of the soma.
    """

    def __init__(self, cell: ExactCell) -> None:
        simulator = arbor()
        tree = simulator.segment_tree()
        drawn: dict[_Cone, tuple[Any, int]] = {}
        kinds = {section: kind for kind, group in cell.sections.items() for section in group}
        for section, cone, parent in _cones(cell.soma, None):
            ends = [simulator.mpoint(*end) for end in cone]
            above = simulator.mnpos if parent is None else drawn[parent][1]
            drawn[cone] = section, tree.append(above, *ends, tag=SECTIONS.index(kinds[section]) + 1)
        self.morphology = simulator.morphology(tree)
        spans = self._spans({cone: section for cone, (section, _) in drawn.items()})
        self.segments = cell.segments
        self.sections = frozenset(kinds.values())
        bounds = [
            span.at(k / section.nseg) for section, span in spans.items() for k in range(section.nseg + 1)
        ]
        self.volumes = simulator.cv_policy_explicit(f"(join {' '.join(dict.fromkeys(bounds))})")
        self.soma = spans[cell.soma].at(0.5)
        zones = cell_zones(cell.sections)
        self.areas = zone_areas(zones)
        self.places = {
            name: [spans[segment.sec].at(segment.x) for segment in zone.segments]
            for name, zone in zones.items()
        }

    def _spans(self, drawn: Mapping[_Cone, Any]) -> dict[Any, _Span]:
        """Where each section lies on Arbor's branches, which run on through sections that do not fork."""
        spans: dict[Any, _Span] = {}
        for branch in range(self.morphology.num_branches):
            cones = [
                (_coordinates(piece.prox), _coordinates(piece.dist))
                for piece in self.morphology.branch_segments(branch)
            ]
            ends = np.cumsum([0.0, *map(_length, cones)])
            ends /= ends[-1]
            for cone, first, last in zip(cones, ends[:-1].tolist(), ends[1:].tolist(), strict=True):
                section = drawn[cone]
                spans[section] = _Span(branch, spans[section].first if section in spans else first, last)
        return spans


class _Span(NamedTuple):
    """A section on a branch of Arbor: between ``first`` and ``last`` of its length."""

    branch: int
    first: float
    last: float

    def at(self, x: float) -> str:
        """The location of NEURON's position ``x`` on the section."""
        return f"(location {self.branch} {self.first + x * (self.last - self.first):.12g})"


_Point = tuple[float, float, float, float]
"""x, y, z and radius, µm."""
_Cone = tuple[_Point, _Point]


def _coordinates(point: Any) -> _Point:
    return point.x, point.y, point.z, point.radius


def _length(cone: _Cone) -> float:
    return math.dist(cone[0][:3], cone[1][:3])


def _cones(section: Any, parent: _Cone | None) -> Iterator[tuple[Any, _Cone, _Cone | None]]:
    """The cones of a section and of all that hangs on it, each with the one that it begins at.

    Children begin at the end of their parent's last. On the soma NEURON has them in its middle: half of the soma's own
    resistance, some 40 kΩ, lies between.
    """
    if section.n3d():
        points = [
            (section.x3d(i), section.y3d(i), section.z3d(i), section.diam3d(i) / 2)
            for i in range(section.n3d())
        ]
    else:  # a cylinder without points, which goes anywhere
        x, y, z, _ = (0.0, 0.0, 0.0, 0.0) if parent is None else parent[1]
        points = [(x, y, z, section.diam / 2), (x, y, z + section.L, section.diam / 2)]
    for cone in pairwise(points):
        if _length(cone):
            yield section, cone, parent
            parent = cone
    for child in sorted(section.children(), key=lambda each: str(each.name())):
        yield from _cones(child, parent)


def section_values(model: CellModel, parameters: Mapping[str, float]) -> Values:
    """What each section's variables are in a member: the model's own and ``parameters``, in the order they are set."""
    values: dict[str, dict[str, float]] = {name: dict(_PASSIVE) for name in SECTIONS}
    for name, own in model.parameters.items():
        variable, where = split_parameter(name)
        for section in SECTIONS if where == "all" else (where,):
            values[section][variable] = float(parameters.get(name, own))
    return values


def refuse_unknown(family: Family) -> None:
    """Raise BackendError, naming them, for mechanisms and variables of a family that Arbor's Allen catalogue lacks."""
    model = family.model
    catalogue = arbor().allen_catalogue()
    there = set(catalogue)
    for section, names in model.mechanisms.items():
        if missing := sorted(set(names) - there):
            raise BackendError(
                f"family {family.name}: Arbor's Allen catalogue has no mechanism {', '.join(missing)}, which the "
                f"cell has in {section}. It has {', '.join(sorted(there))}. Take --backend neuron"
            )
    for section, values in section_values(model, {}).items():
        known = {*_PASSIVE, *_REVERSALS}
        for name in model.mechanisms.get(section, ()):
            known |= {f"{each}_{name}" for each in (*catalogue[name].parameters, *catalogue[name].globals)}
        if unknown := sorted(set(values) - known):
            raise BackendError(
                f"family {family.name}: Arbor has no {', '.join(unknown)} in {section}. Take --backend neuron"
            )


def decorated(model: CellModel, geometry: Geometry, parameters: Mapping[str, float]) -> Any:
    """The membrane of one member, an Arbor decor without synapses."""
    simulator, units = arbor(), arbor().units
    catalogue = simulator.allen_catalogue()
    decor = simulator.decor()
    decor.set_property(Vm=model.v_init * units.mV, tempK=(model.celsius + _KELVIN) * units.Kelvin)
    for section, values in section_values(model, parameters).items():
        if section not in geometry.sections:
            continue
        region = f"(tag {SECTIONS.index(section) + 1})"
        decor.paint(
            region, cm=values["cm"] * 1e-2 * units.F / units.m2, rL=values["Ra"] * units.Ohm * units.cm
        )
        decor.paint(region, simulator.density(f"pas/e={values['e_pas']!r}", {"g": values["g_pas"]}))
        for name in model.mechanisms.get(section, ()):
            mine = {
                variable.removesuffix(f"_{name}"): value
                for variable, value in values.items()
                if variable.endswith(f"_{name}")
            }
            shared = [f"{each}={mine.pop(each)!r}" for each in catalogue[name].globals if each in mine]
            decor.paint(region, simulator.density("/".join([name, ",".join(shared)]).rstrip("/"), mine))
        for variable, ion in _REVERSALS.items():
            if variable in values:
                decor.paint(region, ion=ion, rev_pot=values[variable] * units.mV)
    return decor


def properties() -> Any:
    """Arbor's properties of all cells: both catalogues, NEURON's ions, calcium's reversal potential by Nernst."""
    simulator, units = arbor(), arbor().units
    found = simulator.neuron_cable_properties()
    catalogue = simulator.allen_catalogue()
    catalogue.extend(simulator.default_catalogue(), "")
    found.catalogue = catalogue
    found.set_ion("ca", method="nernst/ca", **{name: value * units.mM for name, value in _CALCIUM_MM.items()})
    return found
