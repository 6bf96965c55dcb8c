"""What a cell is made of: its morphology, which mechanisms go where, and the value of every parameter.

A parameter is named ``variable.section``: a NEURON variable (``gbar_NaV``, ``g_pas``, ``cm``, ``Ra``, ``e_pas``,
``ena``) and where it applies (``soma``, ``axon``, ``dend``, ``apic`` or ``all``). So one mapping holds a whole cell,
and any part of it can differ between the members of a family.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from noble_net.cells.mechanisms import bmtk_folder
from noble_net.errors import FamilyError
from noble_net.specs.families import SECTIONS as SECTIONS
from noble_net.specs.families import CellSpec, names_a_file

Axon = Literal["stub", "drawn"]
"""'stub': two pieces of 30 µm × 1 µm in place of the reconstructed axon, as in the Allen fits; 'drawn': the SWC's."""


@dataclass(frozen=True)
class CellModel:
    """A cell before it is built in NEURON (`noble_net.cells.solver.ExactCell` builds it).

    ``parameters``: ``variable.section`` → value in NEURON's units, in the order they are set. ``mechanisms``: section →
    what is inserted there besides ``pas``. ``nmodl``: folder of NMODL files besides bmtk's, or None.
    ``segment_length``: a section gets 1 + 2·int(length / segment_length) compartments, µm.
    """

    morphology: Path
    parameters: Mapping[str, float]
    mechanisms: Mapping[str, tuple[str, ...]]
    celsius: float
    v_init: float
    nmodl: Path | None = None
    axon: Axon = "stub"
    segment_length: float = 40.0

    @staticmethod
    def from_fit(fit: str, morphology: str, folder: Path | None = None) -> CellModel:
        """The Allen fit ``<fit>_fit.json`` of the installed bmtk on a morphology (see `find_morphology`)."""
        path = bmtk_folder() / "biophysical_neuron_models" / f"{fit}_fit.json"
        if not path.is_file():
            raise FamilyError(f"{path} is missing: install bmtk 1.2.0, which ships it")
        data = json.loads(path.read_text())
        passive, conditions = data["passive"][0], data["conditions"][0]
        genome = {f"{g['name']}.{g['section']}": float(g["value"]) for g in data["genome"]}
        return CellModel(
            morphology=find_morphology(morphology, folder),
            parameters={**_passive(passive), **genome, **_reversals(conditions)},
            mechanisms=_placed(genome),
            celsius=float(conditions["celsius"]),
            v_init=float(conditions["v_init"]),
        )

    @staticmethod
    def from_spec(spec: CellSpec, folder: Path | None = None) -> CellModel:
        """The cell of a recipe or of a family's JSON; relative paths start at ``folder``.

        Raises FamilyError when a file is missing, or something is put where the morphology has no section.
        """
        _check_sections(spec, find_morphology(spec.morphology, folder))
        nmodl = None if spec.nmodl is None else (folder or Path()) / spec.nmodl
        if nmodl is not None and not nmodl.is_dir():
            raise FamilyError(f"nmodl: {nmodl} is missing: give the folder of the NMODL files (*.mod)")
        if spec.fit is not None:
            base = CellModel.from_fit(spec.fit, spec.morphology, folder)
        else:
            base = CellModel(find_morphology(spec.morphology, folder), {}, {}, 0.0, 0.0)
        return replace(
            base.with_mechanisms(spec.mechanisms).with_values(spec.values),
            celsius=base.celsius if spec.celsius is None else spec.celsius,
            v_init=base.v_init if spec.v_init is None else spec.v_init,
            nmodl=nmodl,
            axon=spec.axon,
            segment_length=spec.segment_length,
        )

    def with_values(self, values: Mapping[str, float]) -> CellModel:
        """This cell with some parameters at other values, or with parameters added."""
        return replace(self, parameters={**self.parameters, **values})

    def with_mechanisms(self, mechanisms: Mapping[str, Iterable[str]]) -> CellModel:
        """This cell with mechanisms added, section (or all) → names."""
        placed = {section: list(names) for section, names in self.mechanisms.items()}
        for given, names in mechanisms.items():
            for section in SECTIONS if given == "all" else (given,):
                here = placed.setdefault(section, [])
                here.extend(name for name in names if name not in here)
        return replace(self, mechanisms={section: tuple(names) for section, names in placed.items()})


def find_morphology(name: str, folder: Path | None = None) -> Path:
    """The SWC file of a path (relative to ``folder``), or of the name of a reconstruction shipped with bmtk.

    Raises FamilyError naming what there is.
    """
    if names_a_file(name):
        path = (folder or Path()) / name
        if not path.is_file():
            raise FamilyError(f"morphology {path} is missing: give the path of an SWC file")
        return path
    shipped = bmtk_folder() / "morphologies"
    path = shipped / f"{name}_m.swc"
    if not path.is_file():
        known = ", ".join(sorted(p.name.removesuffix("_m.swc") for p in shipped.glob("*_m.swc")))
        raise FamilyError(f"there is no morphology {name!r}: bmtk ships {known}; or name an .swc file")
    return path


def sections_of(morphology: Path) -> set[str]:
    """Sections an SWC file has samples of. Raises FamilyError for another kind of file, one without a soma, or one
    with samples of other types than soma, axon, dend and apic."""
    try:
        lines = morphology.read_text(encoding="utf-8", errors="replace").splitlines()
        kinds = {int(line.split()[1]) for line in lines if line.strip() and not line.lstrip().startswith("#")}
    except (OSError, ValueError, IndexError) as error:
        raise FamilyError(f"morphology {morphology} is not an SWC file: {error}") from error
    other = sorted(kinds - set(range(1, len(SECTIONS) + 1)))
    if other:
        raise FamilyError(
            f"morphology {morphology} has samples of type {', '.join(map(str, other))}, which would be lost: "
            f"give them one of the types 1 to {len(SECTIONS)} ({', '.join(SECTIONS)})"
        )
    found = {name for kind, name in enumerate(SECTIONS, start=1) if kind in kinds}
    if "soma" not in found:
        raise FamilyError(f"morphology {morphology} has no soma: no sample is of type 1")
    return found


def _check_sections(spec: CellSpec, morphology: Path) -> None:
    """What is put where the morphology has nothing would be without effect, and evolved in vain."""
    there = {*sections_of(morphology), "all", *(("axon",) if spec.axon == "stub" else ())}
    for key, section in (
        *((f"mechanisms.{section}", section) for section in spec.mechanisms),
        *((f"values.{name}", split_parameter(name)[1]) for name in spec.values),
    ):
        if section not in there:
            raise FamilyError(
                f"cell.{key}: morphology {morphology} has no {section}; it has {', '.join(sorted(there - {'all'}))}"
            )


def split_parameter(name: str) -> tuple[str, str]:
    """Variable and section of a parameter's name. Raises FamilyError when it has no section."""
    variable, _, section = name.rpartition(".")
    if not variable or section not in (*SECTIONS, "all"):
        raise FamilyError(
            f"parameter {name!r} must be a variable and a section, like gbar_NaV.soma; "
            f"sections: {', '.join(SECTIONS)}, all"
        )
    return variable, section


def _passive(passive: Mapping[str, Any]) -> dict[str, float]:
    """Ra, cm and e_pas of a fit; sections a perisomatic fit does not name have the dendrites' capacitance."""
    values = {"Ra.all": float(passive["ra"])}
    capacitance = {entry["section"]: float(entry["cm"]) for entry in passive.get("cm", [])}
    if capacitance:
        values |= {f"cm.{section}": capacitance.get(section, capacitance["dend"]) for section in SECTIONS}
    if "e_pas" in passive:
        values["e_pas.all"] = float(passive["e_pas"])
    return values


def _reversals(conditions: Mapping[str, Any]) -> dict[str, float]:
    return {
        f"{ion}.{entry['section']}": float(entry[ion])
        for entry in conditions["erev"]
        for ion in ("ena", "ek")
    }


def _placed(genome: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Mechanisms by section, from names like ``gbar_Kv3_1.soma``."""
    placed: dict[str, list[str]] = {}
    for name in genome:
        variable, section = split_parameter(name)
        mechanism = variable.partition("_")[2]
        if mechanism and mechanism != "pas":
            here = placed.setdefault(section, [])
            if mechanism not in here:
                here.append(mechanism)
    return {section: tuple(names) for section, names in placed.items()}
