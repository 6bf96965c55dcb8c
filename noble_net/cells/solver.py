"""One exact cell: a perisomatic Allen model in NEURON, driven by the same samples a surrogate core gets.

Use `ExactCell` to make data and to check a core. The cell is built once and re-parameterised, since building
the morphology costs more than a short run. One process holds one NEURON; use processes, not threads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noble_net.cells.mechanisms import bmtk_folder, load_mechanisms, neuron
from noble_net.errors import FamilyError, SolverError
from noble_net.types import DT, Float32

REFERENCE_DT = 0.025
"""NEURON's fixed step for datasets and references, ms; its own floor is in the cores' cards."""

SECOND_ORDER = 2
"""NEURON's `secondorder`: Crank–Nicolson. At the same step and cost as the default (implicit Euler) it is far nearer
to a converged solution of the Allen PV fit (`benchmarks/solver.py`): clipped RMSE 0.05–0.3 against 1.3–1.9 mV,
rate bias 0 against −1 to −4 %."""

SETTLE = 500.0
"""Zero input before sample 0, ms: every cell starts at its own rest."""


@dataclass(frozen=True)
class AllenModel:
    """An Allen perisomatic fit: where each parameter goes, the fixed constants and the morphology."""

    genome: Mapping[str, tuple[str, str, float]]
    """name → (section type, NEURON range variable, published value)."""
    passive: Mapping[str, Any]
    conditions: Mapping[str, Any]
    morphology: Path

    @staticmethod
    def load(fit: str, morphology: str) -> AllenModel:
        """Read ``<fit>_fit.json`` and ``<morphology>_m.swc`` from the installed bmtk."""
        folder = bmtk_folder()
        fit_path = folder / "biophysical_neuron_models" / f"{fit}_fit.json"
        swc = folder / "morphologies" / f"{morphology}_m.swc"
        for path in (fit_path, swc):
            if not path.is_file():
                raise FamilyError(f"{path} is missing: install bmtk 1.2.0, which ships it")
        data = json.loads(fit_path.read_text())
        genome = {
            f"{g['name']}.{g['section']}": (g["section"], g["name"], g["value"]) for g in data["genome"]
        }
        return AllenModel(genome, data["passive"][0], data["conditions"][0], swc)


class _Tree:
    """Import3d hangs its section lists (soma, dend, axon …) on this."""


class ExactCell:
    """A morphology with its mechanisms in NEURON; `set_parameters` turns it into any member of its family."""

    def __init__(self, model: AllenModel, dt: float = REFERENCE_DT) -> None:
        load_mechanisms()
        self.h = neuron().h
        self.h.load_file("stdrun.hoc")
        self.h.load_file("import3d.hoc")
        self.model = model
        self.dt, self.second_order = dt, SECOND_ORDER
        self.sections: dict[str, list[Any]] = {"soma": [], "dend": [], "apic": [], "axon": []}
        self._import_morphology()
        self._insert_mechanisms()
        self.drive = self.h.NobleDrive(self.soma(0.5))
        self.set_parameters({})

    @property
    def soma(self) -> Any:
        """The somatic section."""
        return self.sections["soma"][0]

    @property
    def segments(self) -> int:
        """Number of compartments."""
        return sum(int(s.nseg) for group in self.sections.values() for s in group)

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """Set the parameters named, and every other one back to its published value."""
        unknown = set(parameters) - set(self.model.genome)
        if unknown:
            raise FamilyError(
                f"the model has no parameter {sorted(unknown)}; it has {sorted(self.model.genome)}"
            )
        for name, (where, variable, published) in self.model.genome.items():
            for section in self.sections[where]:
                setattr(section, variable, parameters.get(name, published))

    def run(
        self,
        current: NDArray[np.floating],
        conductance: NDArray[np.floating] | None = None,
        reversal_current: NDArray[np.floating] | None = None,
        settle: float = SETTLE,
    ) -> Float32:
        """Somatic voltage, float32 [samples + 1] (mV at t = 0, DT, 2·DT …), after ``settle`` ms at rest.

        Inputs are float [samples]: injected current (nA), conductance (nS) and Σ g·E (pA), held constant
        over each sample. Raises SolverError when the solver returns a non-finite voltage: the Allen
        mechanisms have singular rates, and some parameter sets run into them.
        """
        h = self.h
        vectors = [
            _play(h, variable, values, settle)
            for variable, values in (
                (self.drive._ref_i0, current),
                (self.drive._ref_g, conductance),
                (self.drive._ref_j, reversal_current),
            )
            if values is not None
        ]
        stop = settle + len(current) * DT
        times = h.Vector(settle + DT * np.arange(len(current) + 1))
        recorded = h.Vector().record(self.soma(0.5)._ref_v, times)
        self.drive.i0, self.drive.g, self.drive.j = 0.0, 0.0, 0.0
        h.celsius = self.model.conditions["celsius"]
        h.dt = self.dt
        h.steps_per_ms = 1.0 / self.dt
        h.secondorder = self.second_order
        h.finitialize(self.model.conditions["v_init"])
        context = h.ParallelContext()
        context.set_maxstep(10)
        # A little past the end, so that a record time lost to rounding is still reached. `psolve` steps in
        # compiled code; `continuerun` would go through the interpreter at every step.
        context.psolve(stop + self.dt)
        voltage = np.array(recorded, dtype=np.float32)
        for vector, _ in vectors:
            vector.play_remove()
        if len(voltage) != len(current) + 1:
            raise SolverError(f"NEURON recorded {len(voltage)} of {len(current) + 1} samples")
        if not np.isfinite(voltage).all():
            raise SolverError("NEURON returned a voltage that is not finite")
        return voltage

    def _import_morphology(self) -> None:
        h = self.h
        reader = h.Import3d_SWC_read()
        reader.quiet = 1
        reader.input(str(self.model.morphology))
        tree = _Tree()
        h.Import3d_GUI(reader, False).instantiate(tree)
        for kind in ("soma", "dend", "apic"):
            self.sections[kind] = list(getattr(tree, kind, []))
        for section in getattr(tree, "axon", []):
            h.delete_section(sec=section)
        self._stub_axon()
        for group in self.sections.values():
            for section in group:
                section.nseg = 1 + 2 * int(section.L / 40.0)

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
        capacitance = {entry["section"]: entry["cm"] for entry in self.model.passive["cm"]}
        for kind, group in self.sections.items():
            for section in group:
                section.Ra = self.model.passive["ra"]
                section.cm = capacitance.get(kind, capacitance["dend"])
                section.insert("pas")
                for segment in section:
                    segment.pas.e = self.model.passive["e_pas"]
        for where, variable, _ in self.model.genome.values():
            mechanism = variable.split("_", 1)[1]
            if mechanism != "pas":
                for section in self.sections[where]:
                    section.insert(mechanism)
        for reversal in self.model.conditions["erev"]:
            for section in self.sections[reversal["section"]]:
                section.ena, section.ek = reversal["ena"], reversal["ek"]


def _play(h: Any, target: Any, values: NDArray[np.floating], start: float) -> tuple[Any, Any]:
    """Play samples into a range variable from ``start`` ms on, each held for DT, zero afterwards."""
    vector = h.Vector(np.append(np.asarray(values, dtype=np.float64), 0.0))
    times = h.Vector(start + DT * np.arange(len(values) + 1))
    vector.play(target, times, False)
    return vector, times
