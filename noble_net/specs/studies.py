"""The study file: what `noble-net study` varies, and what it measures.

A study is one of two kinds, told by its key: ``single_cell`` maps e-features over a family's latent space,
``population`` runs a network again and again with other heterogeneity. Errors name file, line, key and remedy, as in
the network file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from noble_net.cells.features import NOBLE_FEATURES
from noble_net.errors import ConfigError
from noble_net.specs.basics import Count, Fraction, Name, Reference
from noble_net.specs.specification import Quantity, Spec, fault, nearest, validate_document
from noble_net.specs.yaml_source import Document, load_document

MAPPED = ("rate_hz", *NOBLE_FEATURES)
"""What can be mapped over the latent space."""
Amplitude = Annotated[float, Quantity("nA")]
_FROM = Field(validation_alias="from", serialization_alias="from")


class GridSpec(Spec):
    """Cells on a grid over a plane of the latent space, around the member nearest to all others (the medoid)."""

    x: Annotated[str, Field(strict=True)] = "PC1"
    """A parameter of the family, or a principal component of the code such as `PC1`; for a core conditioned on
    features (NOBLE), one of those."""
    y: Annotated[str, Field(strict=True)] = "PC2"
    """The other axis."""
    points: Annotated[Count, Field(ge=2, le=200)] = 15
    """Along each axis."""
    reach: Annotated[float, Field(strict=True, gt=0.0, le=3.0)] = 1.0
    """How far the grid goes, as a share of the members' own range."""


class CloudSpec(Spec):
    """Cells sampled from the latent space."""

    source: Annotated[Literal["members", "gaussian", "kde", "hull"], _FROM] = "gaussian"
    """As in a population's `sample`."""
    size: Annotated[Count, Field(ge=1, le=1_000_000)] = 300
    """Number of cells."""


class SingleCellSpec(Spec):
    """E-features of single cells over the latent space: maps, with the family's members laid over them."""

    core: Reference = "pv-stream"
    """What answers: a shipped core or a path."""
    family: Reference | None = None
    """The core's own unless given."""
    steps: Annotated[tuple[Amplitude, ...], Field(min_length=1)]
    """Amplitudes of the square steps."""
    grid: GridSpec | None = None
    samples: CloudSpec | None = None
    members: Annotated[Count, Field(ge=1)] | None = None
    """So many of the family's members are laid over the map, the first ones; all unless given."""
    features: tuple[str, ...] = (
        "rate_hz",
        "AP1_width",
        "mean_AP_amplitude",
        "AHP_depth",
        "time_to_first_spike",
    )
    """What is mapped: `rate_hz` and NOBLE's e-features, by eFEL's names."""

    @field_validator("features", mode="after")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for index, name in enumerate(value):
            if name not in MAPPED:
                raise fault(f"unknown feature {name!r}", nearest(name, MAPPED), (index,))
        return value

    @model_validator(mode="after")
    def _grid_or_samples(self) -> SingleCellSpec:
        if (self.grid is None) == (self.samples is None):
            problem = (
                "has neither `grid` nor `samples`" if self.grid is None else "has both `grid` and `samples`"
            )
            raise fault(problem, "give one of them, such as `grid: {x: PC1, y: PC2, points: 15}`")
        return self


class PopulationStudySpec(Spec):
    """A network under growing heterogeneity: every spread × condition × seed is one run."""

    network: Annotated[str, Field(strict=True, min_length=1, max_length=4096)]
    """A shipped network, or a path (relative to this file)."""
    vary: tuple[Name, ...] = ()
    """Populations whose `sample.spread` is swept; all that have a family unless given."""
    spreads: Annotated[tuple[Fraction, ...], Field(min_length=1)] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """0: every cell is the medoid member; 1: the family's own heterogeneity."""
    seeds: Annotated[tuple[Annotated[Count, Field(ge=0, le=2**63 - 1)], ...], Field(min_length=1)] = (1, 2, 3)
    """Of the network. Runs of one seed share edges, noise and the draw of cells, which the spread contracts."""
    overrides: Annotated[dict[str, Any], Field(validation_alias="set", serialization_alias="set")] = Field(
        default={}
    )
    """Keys of the network file in every run, by dotted path: `populations.pv.size: 50`."""
    conditions: dict[Name, dict[str, Any]] = Field(default={})
    """Named sets of such overrides. One run each; without any, the network as it is."""
    signal: Name | None = None
    """Name of a shared stimulus: information about it in the rate of the population it goes to is measured."""

    @field_validator("spreads", "seeds", mode="after")
    @classmethod
    def _each_once(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        for index, item in enumerate(value):
            if item in value[:index]:
                raise fault("is listed twice", "remove one", (index,))
        return value


class StudySpec(Spec):
    """A whole study file."""

    name: Name
    """Title of the report, and name of the study's folder."""
    seed: Annotated[Count, Field(ge=0, le=2**63 - 1)] = 1
    """Of sampled cells."""
    single_cell: SingleCellSpec | None = None
    population: PopulationStudySpec | None = None

    _document: Document | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _exactly_one(self, info: ValidationInfo) -> StudySpec:
        if (self.single_cell is None) == (self.population is None):
            problem = "is of no kind" if self.population is None else "is of two kinds"
            raise fault(f"the study {problem}", "give either `single_cell:` or `population:`")
        return self

    @property
    def source(self) -> Path | None:
        """The file it was loaded from."""
        return None if self._document is None else self._document.file

    @property
    def folder(self) -> Path:
        """Where relative paths start."""
        return Path() if self.source is None else self.source.parent

    def error(self, path: tuple[str | int, ...], problem: str, remedy: str = "") -> ConfigError:
        """A ConfigError at the place of ``path`` in the study file."""
        return (self._document or Document({})).error(path, problem, remedy)


def load_study(path: Path | str) -> StudySpec:
    """Load a study file. Raises ConfigError for the first fault, at its line."""
    document = load_document(path)
    spec = validate_document(StudySpec, document)
    spec._document = document
    return spec


def study_from(data: dict[str, Any]) -> StudySpec:
    """A study from a mapping written like a study file. Raises ConfigError like `load_study`."""
    document = Document(data)
    spec = validate_document(StudySpec, document)
    spec._document = document
    return spec
