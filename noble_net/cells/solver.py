"""One exact cell: a multi-compartment model in NEURON, driven by the same samples a surrogate core gets.

Use `ExactCell` to make data and to check a core. The cell is built once and re-parameterised, since building
the morphology costs more than a short run. One process holds one NEURON; use processes, not threads.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from noble_net.cells.mechanisms import load_mechanisms, neuron
from noble_net.cells.model import SECTIONS, CellModel, split_parameter
from noble_net.cells.zones import ZoneDrive, ZoneInput
from noble_net.errors import FamilyError, SolverError
from noble_net.types import DT, Float32, Float64

REFERENCE_DT = 0.025
"""NEURON's fixed step for datasets and references, ms; its own floor is in the cores' cards."""

SECOND_ORDER = 2
"""NEURON's `secondorder`: Crank–Nicolson. At the same step and cost as the default (implicit Euler) it is far nearer
to a converged solution of the Allen PV fit (`benchmarks/solver.py`): clipped RMSE 0.05–0.3 against 1.3–1.9 mV,
rate bias 0 against −1 to −4 %."""

STEP_TOLERANCE = 1e-3
"""Absolute tolerance of the variable step for responses to current steps (`ExactCell.tolerance`)."""

SHORTEST_STEP = 1e-7
"""Where the variable step gives up, ms: the Allen mechanisms jump at the singular points of their rates, and a voltage
that lingers at one would otherwise be followed with ever smaller steps."""

SETTLE = 500.0
"""Zero input before sample 0, ms: every cell starts at its own rest."""


_cells: dict[int, ExactCell] = {}


def exact_cell(model: CellModel, *, dt: float = REFERENCE_DT, tolerance: float | None = None) -> ExactCell:
    """The one cell of a model in this process, with this step and tolerance (see `ExactCell`).

    It is built at the first call: to be re-parameterised, not kept, since the next call sets it anew.
    """
    key = zlib.crc32(repr(model).encode())
    if key not in _cells:
        _cells[key] = ExactCell(model)
    cell = _cells[key]
    cell.dt, cell.tolerance = dt, tolerance
    return cell


class _Tree:
    """Import3d hangs its section lists (soma, dend, axon …) on this."""


class ExactCell:
    """A morphology with its mechanisms in NEURON; `set_parameters` turns it into any member of its family.

    ``dt``: the fixed step, ms. ``tolerance``: with a number, NEURON's variable step (CVODE) at that absolute tolerance
    takes its place: for steps of current faster and nearer to converged (`STEP_TOLERANCE`), for noise far slower.
    """

    def __init__(self, model: CellModel, dt: float = REFERENCE_DT) -> None:
        load_mechanisms(model.nmodl)
        self.h = neuron().h
        self.h.load_file("stdrun.hoc")
        self.h.load_file("import3d.hoc")
        self.model = model
        self.dt, self.second_order = dt, SECOND_ORDER
        self.tolerance: float | None = None
        self.sections: dict[str, list[Any]] = {name: [] for name in SECTIONS}
        self._import_morphology()
        self._insert_mechanisms()
        self.drive = self.h.NobleDrive(self.soma(0.5))
        self._zone_drive: ZoneDrive | None = None
        self.set_parameters({})

    @property
    def soma(self) -> Any:
        """The somatic section."""
        return self.sections["soma"][0]

    @property
    def zone_drive(self) -> ZoneDrive:
        """Its dendritic zones, which are made when they are first asked for: a cell without costs nothing more."""
        if self._zone_drive is None:
            self._zone_drive = ZoneDrive(self.h, self.sections)
        return self._zone_drive

    @property
    def segments(self) -> int:
        """Number of compartments."""
        return sum(int(s.nseg) for group in self.sections.values() for s in group)

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """Set the parameters named, and every other one back to the model's own value.

        Raises FamilyError for a parameter the model does not have, or that NEURON does not know there.
        """
        unknown = set(parameters) - set(self.model.parameters)
        if unknown:
            raise FamilyError(
                f"the model has no parameter {sorted(unknown)}; it has {sorted(self.model.parameters)}"
            )
        for name, value in self.model.parameters.items():
            self._set(name, float(parameters.get(name, value)))

    def _set(self, name: str, value: float) -> None:
        variable, where = split_parameter(name)
        sections = (
            [s for group in self.sections.values() for s in group] if where == "all" else self.sections[where]
        )
        try:
            for section in sections:
                setattr(section, variable, value)
        except (AttributeError, LookupError, TypeError) as error:
            raise FamilyError(
                f"parameter {name!r} is unknown to NEURON: does a mechanism in {where!r} define it?"
            ) from error

    def run(
        self,
        current: NDArray[np.floating],
        conductance: NDArray[np.floating] | None = None,
        reversal_current: NDArray[np.floating] | None = None,
        settle: float = SETTLE,
        *,
        sampling: float = DT,
        zones: Mapping[str, ZoneInput] | None = None,
    ) -> Float32:
        """Somatic voltage, mV, float32, at t = 0, ``sampling``, 2·``sampling`` … ms to the end of the input (with the
        default, [samples + 1]), after ``settle`` ms at rest.

        Inputs are float [samples]: injected current (nA), conductance (nS) and Σ g·E (pA) at the soma's middle, held
        constant over each sample; ``zones`` those of the dendritic zones. Raises SolverError when the solver returns a
        non-finite voltage: the Allen mechanisms have singular rates, and some parameter sets run into them.
        """
        inputs = current, conductance, reversal_current
        return self._run(*inputs, settle, sampling, zones, ("v",))[0]

    def run_recording(
        self,
        variables: Sequence[str],
        current: NDArray[np.floating],
        conductance: NDArray[np.floating] | None = None,
        reversal_current: NDArray[np.floating] | None = None,
        settle: float = SETTLE,
        *,
        zones: Mapping[str, ZoneInput] | None = None,
    ) -> tuple[Float32, Float32]:
        """The same by the fixed step, and beside the voltage one or more range variables of the soma's middle, by their
        names in NEURON and in its units: `cai`, `h_Kd`; [variables, samples + 1].

        Raises FamilyError for a variable that the soma does not have.
        """
        for name in variables:
            if not hasattr(self.soma(0.5), name):
                raise FamilyError(
                    f"the soma has no variable {name!r} in NEURON: see `dataset.record` in the recipe"
                )
        inputs = current, conductance, reversal_current
        voltage, *others = self._run(*inputs, settle, DT, zones, ("v", *variables))
        return voltage, np.stack(others)

    def _run(
        self,
        current: NDArray[np.floating],
        conductance: NDArray[np.floating] | None,
        reversal_current: NDArray[np.floating] | None,
        settle: float,
        sampling: float,
        zones: Mapping[str, ZoneInput] | None,
        variables: tuple[str, ...],
    ) -> list[Float32]:
        """Variables of the soma's middle over time; the variable step tells the voltage alone."""
        inputs = [
            (self.drive._ref_i0, current),
            (self.drive._ref_g, conductance),
            (self.drive._ref_j, reversal_current),
            *(self.zone_drive.played(zones) if zones else ()),
        ]
        vectors = [
            _play(self.h, variable, values, settle) for variable, values in inputs if values is not None
        ]
        times = settle + sampling * np.arange(round(len(current) * DT / sampling) + 1, dtype=np.float64)
        try:
            if self.tolerance is not None and variables == ("v",):
                voltage = self._integrate_variable(times, self.tolerance)
                if voltage is not None:
                    return [voltage]
            return self._integrate_fixed(times, variables)
        finally:
            for vector, _ in vectors:
                vector.play_remove()

    def _integrate_fixed(self, times: Float64, variables: tuple[str, ...]) -> list[Float32]:
        at = self.h.Vector(times)  # NEURON keeps no reference to it
        middle = self.soma(0.5)
        recorded = [self.h.Vector().record(getattr(middle, f"_ref_{name}"), at) for name in variables]
        self._integrate(float(times[-1]), None)
        values = [np.array(each, dtype=np.float32) for each in recorded]
        if len(values[0]) != len(times):
            raise SolverError(f"NEURON recorded {len(values[0])} of {len(times)} samples")
        if not all(np.isfinite(each).all() for each in values):
            raise SolverError("NEURON returned a voltage that is not finite")
        return values

    def _integrate_variable(self, times: Float64, tolerance: float) -> Float32 | None:
        """The variable step's own points, interpolated at ``times``: far cheaper than to make it stop at each.

        None where it gave up, at a rate's singular point: only the fixed step jumps over it.
        """
        recorded = self.h.Vector().record(self.soma(0.5)._ref_v)
        recorded_at = self.h.Vector().record(self.h._ref_t)
        self._integrate(float(times[-1]), tolerance)
        at, values = np.array(recorded_at), np.array(recorded)
        if not np.isfinite(values).all():
            raise SolverError("NEURON returned a voltage that is not finite")
        if at[-1] < times[-1]:
            return None
        last = np.append(
            np.diff(at) > 0, True
        )  # at a jump of the input a time comes twice, with the same voltage
        return PchipInterpolator(at[last], values[last])(times).astype(np.float32)

    def _integrate(self, stop: float, tolerance: float | None) -> None:
        h = self.h
        self.drive.i0, self.drive.g, self.drive.j = 0.0, 0.0, 0.0
        if self._zone_drive is not None:
            self._zone_drive.reset()
        h.celsius = self.model.celsius
        h.dt, h.steps_per_ms, h.secondorder = self.dt, 1.0 / self.dt, self.second_order
        solver = h.CVode()
        solver.active(tolerance is not None)
        if tolerance is not None:
            solver.atol(tolerance)
            solver.minstep(SHORTEST_STEP)
        context = h.ParallelContext()
        context.set_maxstep(10)
        h.finitialize(self.model.v_init)
        # A little past the end, so that a record time lost to rounding is still reached. `psolve` steps in
        # compiled code; `continuerun` would go through the interpreter at every step.
        context.psolve(stop + self.dt)

    def _import_morphology(self) -> None:
        h = self.h
        reader = h.Import3d_SWC_read()
        reader.quiet = 1
        reader.input(str(self.model.morphology))
        tree = _Tree()
        h.Import3d_GUI(reader, False).instantiate(tree)
        for kind in SECTIONS:
            self.sections[kind] = list(getattr(tree, kind, []))
        if not self.sections["soma"]:
            raise FamilyError(f"{self.model.morphology} has no soma")
        if self.model.axon == "stub":
            for section in self.sections["axon"]:
                h.delete_section(sec=section)
            self._stub_axon()
        for group in self.sections.values():
            for section in group:
                section.nseg = 1 + 2 * int(section.L / self.model.segment_length)

    def _stub_axon(self) -> None:
        """The Allen fits replace the reconstructed axon by two 30 µm pieces of 1 µm diameter."""
        h = self.h
        first, second = h.Section(name="axon[0]", cell=self), h.Section(name="axon[1]", cell=self)
        for section in (first, second):
            section.L, section.diam = 30.0, 1.0
        first.connect(self.sections["soma"][0](0.5), 0)
        second.connect(first(1), 0)
        self.sections["axon"] = [first, second]

    def _insert_mechanisms(self) -> None:
        for kind, group in self.sections.items():
            for section in group:
                section.insert("pas")
                for mechanism in self.model.mechanisms.get(kind, ()):
                    try:
                        section.insert(mechanism)
                    except ValueError as error:
                        raise FamilyError(
                            f"NEURON has no mechanism {mechanism!r}: put its NMODL file into the folder `nmodl`"
                        ) from error


def _play(h: Any, target: Any, values: NDArray[np.floating], start: float) -> tuple[Any, Any]:
    """Play samples into a range variable from ``start`` ms on, each held for DT, zero afterwards.

    Only changes are played, since every one restarts the variable step.
    """
    held = np.append(np.asarray(values, dtype=np.float64), 0.0)
    changes = np.flatnonzero(np.diff(held, prepend=np.nan))
    vector, times = h.Vector(held[changes]), h.Vector(start + DT * changes)
    vector.play(target, times, False)
    return vector, times
