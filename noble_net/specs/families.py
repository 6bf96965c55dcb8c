"""Recipes of cell families: what the cells are made of, and how the members come about.

Members are drawn around a fit (``draw``), evolved to target features (``evolve``) or read from a table of ready
parameter sets (``table``); all three end in the same family.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from noble_net.specs.specification import Quantity, Spec, fault, nearest, read_quantity

SECTIONS = ("soma", "axon", "dend", "apic")

Current = Annotated[float, Quantity("nA", at_most=10.0)]
Feature = str
"""An eFEL feature's name."""


def names_a_file(morphology: str) -> bool:
    """Whether a morphology is a path, rather than the name of a shipped reconstruction."""
    return morphology.lower().endswith(".swc")


def _beside_recipe(path: str, info: ValidationInfo) -> str:
    """Paths in a recipe are relative to it."""
    folder = info.context and info.context.get("folder")
    return str(Path(folder) / path) if folder else path


def _check_parameters(names: Iterable[str]) -> None:
    for name in names:
        variable, _, section = name.rpartition(".")
        if not variable or section not in (*SECTIONS, "all"):
            problem = "is not a variable and a section, like gbar_NaV.soma"
            raise fault(problem, nearest(section, (*SECTIONS, "all")), (name,))


def never_negative(name: str) -> bool:
    """Whether a parameter is a conductance, capacitance or resistivity, which cannot fall below 0."""
    return name.startswith(("gbar_", "g_pas", "cm.", "Ra."))


def _check_values(values: Mapping[str, Iterable[float]]) -> None:
    for name, several in values.items():
        for value in several:
            if not math.isfinite(value):
                raise fault("is not a finite number", "give one", (name,))
            if value < 0 and never_negative(name):
                raise fault("is below 0", "conductances, capacitances and resistivities are not", (name,))


class CellSpec(Spec):
    """What every member is made of. Parameters are named ``variable.section``, in NEURON's units."""

    morphology: str
    """An SWC file, or the name of a reconstruction shipped with bmtk."""
    fit: str | None = None
    """An Allen fit shipped with bmtk, whose mechanisms and values are the ground the rest is laid on."""
    nmodl: str | None = None
    """Folder of NMODL files besides bmtk's."""
    mechanisms: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Section (soma, axon, dend, apic, or all) → mechanisms put there."""
    values: dict[str, float] = Field(default_factory=dict)
    """Values of parameters, such as ``ek.dend: -107``."""
    axon: Literal["stub", "drawn"] = "stub"
    segment_length: float = Field(default=40.0, gt=0)
    """A section gets 1 + 2·int(length / segment_length) compartments, µm."""
    celsius: float | None = None
    v_init: float | None = None
    """Where the voltage starts before settling, mV."""

    @model_validator(mode="after")
    def _complete(self) -> CellSpec:
        if self.fit is None and (self.celsius is None or self.v_init is None):
            raise fault("a cell without a fit needs `celsius` and `v_init`", "add both", ("morphology",))
        return self

    @field_validator("values")
    @classmethod
    def _physical(cls, values: dict[str, float]) -> dict[str, float]:
        _check_values({name: (value,) for name, value in values.items()})
        return values

    @field_validator("morphology", "nmodl")
    @classmethod
    def _from_the_recipe(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None or (info.field_name == "morphology" and not names_a_file(value)):
            return value
        return _beside_recipe(value, info)

    @field_validator("mechanisms")
    @classmethod
    def _known_sections(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for section in value:
            if section not in (*SECTIONS, "all"):
                raise fault("is no section", nearest(section, (*SECTIONS, "all")), (section,))
        return value

    @field_validator("values")
    @classmethod
    def _known_names(cls, value: dict[str, float]) -> dict[str, float]:
        _check_parameters(value)
        return value


class DrawSpec(Spec):
    """Members around the cell's own values: parameter = value · exp(sigma·z), z a standard normal within ± bound."""

    members: int = Field(gt=0)
    sigma: float = Field(gt=0, lt=2)
    bound: float = Field(gt=0, le=5)
    seed: int = Field(ge=0)
    keep: tuple[str, ...] = ()
    """Conductances left at their value."""


class TargetSpec(Spec):
    """Mean and spread of e-features at steps of 400 ms: what members are evolved to."""

    steps: tuple[Current, ...] = ()
    """Amplitudes; the features of ``of_fit`` at them are the means."""
    of_fit: str | None = None
    """An Allen fit shipped with bmtk whose own responses are the means."""
    on_morphology: str | None = None
    """The morphology of ``of_fit``; default: the cell's."""
    table: dict[str, dict[Feature, tuple[float, float]]] = Field(default_factory=dict)
    """Step (as '0.2 nA') → feature → [mean, standard deviation]: written by hand, in eFEL's units."""
    spread: dict[Feature, tuple[float, float]] = Field(default_factory=dict)
    """Feature → [share of the mean, least standard deviation]; replaces single entries of the default spread."""

    @field_validator("on_morphology")
    @classmethod
    def _from_the_recipe(cls, value: str | None, info: ValidationInfo) -> str | None:
        return _beside_recipe(value, info) if value is not None and names_a_file(value) else value

    @field_validator("table")
    @classmethod
    def _steps_and_spreads(
        cls, value: dict[str, dict[Feature, tuple[float, float]]]
    ) -> dict[str, dict[Feature, tuple[float, float]]]:
        written: dict[float, str] = {}
        for step, features in value.items():
            amplitude, _ = read_quantity(step, ("nA",), True, (step,))
            if amplitude in written:
                raise fault(
                    f"is the same step as {written[amplitude]!r}", "put their features together", (step,)
                )
            written[amplitude] = step
            for name, (_, sd) in features.items():
                if not sd > 0:
                    raise fault("has no spread", "write [mean, standard deviation above 0]", (step, name))
        return value

    @model_validator(mode="after")
    def _one_source(self) -> TargetSpec:
        if (self.of_fit is None) == (not self.table):
            raise fault("targets need either `of_fit` with `steps`, or a `table`", "give one of them")
        idle = [key for key in ("steps", "on_morphology", "spread") if self.table and getattr(self, key)]
        if idle:
            raise fault("has no effect beside `table`", "remove it", (idle[0],))
        if self.of_fit is not None and not self.steps:
            raise fault("`of_fit` needs `steps`", "add e.g. `steps: [-0.05 nA, 0.2 nA]`")
        return self


class EvolveSpec(Spec):
    """Multi-objective evolution (BluePyOpt) to targets drawn from the spread; see `noble_net.cells.evolve`."""

    seeds: tuple[int, ...] = (1, 2, 3)
    targets: int = Field(default=10, gt=0)
    """Target vectors drawn per seed, evolved to one after the other."""
    generations: int = Field(default=25, gt=0)
    """Generations per target with all parameters."""
    subthreshold_generations: int = Field(default=8, ge=0)
    """Generations per target with the passive parameters alone, before."""
    offspring: int = Field(default=16, gt=1)
    algorithm: Literal["IBEA", "NSGA2"] = "IBEA"
    range: float = Field(default=4.0, gt=1)
    """Bounds of a parameter without its own: value / range to value · range."""
    bounds: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Parameter → [low, high]."""
    vary: tuple[str, ...] = ()
    """Parameters that differ between members; default: every conductance, and what has bounds."""
    reach: float = Field(default=1.5, gt=0)
    """Targets are drawn within ± reach standard deviations."""
    max_z: float = Field(default=2.0, gt=0)
    """An individual is a member when its mean z-score against the undrawn targets is at most this."""
    members: int = Field(default=600, gt=0)
    """The most members the family takes from the archive."""
    distance: float = Field(default=0.05, gt=0)
    """Smallest root-mean-square distance of two members, as a share of the parameters' (logarithmic) bounds."""
    hall_of_fame: int = Field(default=60, ge=0)
    """Members of the hall of fame: the same number of best from every drawn target."""
    hall_held_out: int = Field(default=10, ge=0)

    @field_validator("bounds")
    @classmethod
    def _bounds_enclose(cls, bounds: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        _check_values(bounds)
        for name, (low, high) in bounds.items():
            if not low < high:
                raise fault("encloses nothing", "write [low, high]", (name,))
        return bounds

    @model_validator(mode="after")
    def _bounds_of_what_varies(self) -> EvolveSpec:
        idle = [name for name in self.bounds if self.vary and name not in self.vary]
        if idle:
            raise fault(
                "has bounds, but is not in `vary`", "remove them, or add it there", ("bounds", idle[0])
            )
        return self


class TableSpec(Spec):
    """Ready parameter sets: a CSV with one column per parameter, or a BluePyOpt ``final.json``."""

    file: str
    rename: dict[str, str] = Field(default_factory=dict)
    """Name in the file → ``variable.section``."""
    leave_out: tuple[str, ...] = ()
    """Numbers in the file that are no parameters (an index, a score)."""

    @field_validator("file")
    @classmethod
    def _from_the_recipe(cls, value: str, info: ValidationInfo) -> str:
        return _beside_recipe(value, info)


class FamilyRecipe(Spec):
    """A family: its cell, and one of ``draw``, ``evolve`` (with ``targets``) and ``table``."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    cell: CellSpec
    draw: DrawSpec | None = None
    evolve: EvolveSpec | None = None
    table: TableSpec | None = None
    targets: TargetSpec | None = None
    recovers: bool = True
    """Members come back to rest after a strong current that falls to nothing (`noble_net.cells.features.FALLING`)."""
    source: str = ""
    """Licence and attribution. Default: that of the Allen fit or reconstruction, where the cell is made of one."""
    notes: str = ""
    """Markdown for the card."""

    @model_validator(mode="after")
    def _one_way(self) -> FamilyRecipe:
        given = [way for way in ("draw", "evolve", "table") if getattr(self, way) is not None]
        if len(given) != 1:
            raise fault(f"a family needs one of draw, evolve, table; given: {given or 'none'}", "keep one")
        if (self.evolve is None) != (self.targets is None):
            raise fault("`evolve` and `targets` belong together", "give both or neither")
        return self

    @property
    def attribution(self) -> str:
        """`source`, or what follows from the cell."""
        allen = "read from bmtk 1.2.0; Allen Institute terms of use"
        if self.source:
            return self.source
        if self.cell.fit is not None:
            return f"Allen Cell Types Database fit, {allen}"
        if not names_a_file(self.cell.morphology):
            return f"Allen Cell Types Database reconstruction, {allen}"
        return "not stated: give `source` in the recipe"

    def about_cell(self) -> dict[str, Any]:
        """The cell as a family's JSON keeps it."""
        return self.cell.model_dump(mode="json", exclude_defaults=True)
