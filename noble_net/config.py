"""The network file: load it, check it, write it back, describe it to editors.

`load_network` turns YAML into a frozen NetworkSpec in internal units, or raises a ConfigError that names
file, line, key, value and remedy, before anything is built. What needs a core or a family to be known (zones,
shortest delay) is checked by later stages, which raise `config_error` with the right line.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PrivateAttr, ValidationError, ValidationInfo, field_validator

from noble_net.errors import ConfigError
from noble_net.specs.afferents import PoissonSpec, SynapseReplaySpec
from noble_net.specs.basics import CLOSED_FORM, Count, Duration, Instant, Name, Reference
from noble_net.specs.distribution import Distribution
from noble_net.specs.fitting import check_ends, check_target, fit_core, weighted
from noble_net.specs.gap_junctions import GapJunctionSpec
from noble_net.specs.node_sets import NodeSetSpec
from noble_net.specs.populations import PopulationSpec, SampleSpec
from noble_net.specs.projections import ProjectionSpec
from noble_net.specs.recording import RatesSpec, RecordSpec, ReportSpec
from noble_net.specs.rules import RuleSpec
from noble_net.specs.specification import (
    Quantity,
    Spec,
    WrittenDefaults,
    config_error_of,
    fault,
    nearest,
    validate_document,
)
from noble_net.specs.stimuli import OrnsteinUhlenbeckSpec, StepSpec, StimulusSpec
from noble_net.specs.synapses import SynapseSpec
from noble_net.specs.yaml_source import Document, Location, load_document
from noble_net.types import DT, Precision

__all__ = [
    "CLOSED_FORM",
    "Distribution",
    "GapJunctionSpec",
    "NetworkSpec",
    "NodeSetSpec",
    "OrnsteinUhlenbeckSpec",
    "PoissonSpec",
    "PopulationSpec",
    "ProjectionSpec",
    "RatesSpec",
    "RecordSpec",
    "ReportSpec",
    "RuleSpec",
    "SampleSpec",
    "StepSpec",
    "StimulusSpec",
    "SynapseReplaySpec",
    "SynapseSpec",
    "config_error",
    "dump_network",
    "json_schema",
    "load_network",
    "network_from",
    "with_overrides",
]

MAX_CELLS = 2**31 - 1
_YAML_KEYS = {"source": "from", "target": "to"}


class NetworkSpec(Spec):
    """A whole network file, checked and in internal units (ms, mV, nA, nS, pA, Hz).

    Two specs are equal when they describe the same network, whatever file they came from.
    """

    name: Name
    """Title of reports, and name of the run's folder."""
    seed: Annotated[Count, Field(ge=0, le=2**63 - 1)] = 1
    """Of everything random."""
    noise_seed: Annotated[Count, Field(ge=0, le=2**63 - 1)] | None = None
    """Of the stimuli's noise alone, so that runs share cells and edges and differ in noise (default: `seed`)."""
    duration: Duration
    """Simulated time that is kept."""
    warmup: Instant = 0.0
    """Simulated first and dropped."""
    dt: Annotated[float, Quantity("ms")] = DT
    """The sample: 0.1 ms."""
    core: Reference = "pv-stream"
    """Core of every population that names none: a shipped one, or a path."""
    precision: Precision = "float32"
    """Of the products of cores with weights. int16 (fixed point) is faster on CPUs with AVX2, bfloat16 on those with
    AVX512-BF16; what either does to accuracy stands in a core's card."""
    populations: Annotated[dict[Name, PopulationSpec], Field(min_length=1)]
    """The cells, in groups."""
    node_sets: dict[Name, NodeSetSpec] = Field(default={})
    """Named subsets of populations, for `to` of stimuli and `cells` of reports."""
    synapses: dict[Name, SynapseSpec] = Field(default={})
    """Types of synapses, for projections and for stimuli that act through synapses."""
    projections: tuple[ProjectionSpec, ...] = ()
    """Who projects to whom."""
    gap_junctions: tuple[GapJunctionSpec, ...] = ()
    """Who is coupled electrically."""
    stimuli: tuple[StimulusSpec, ...] = ()
    """Input from outside."""
    record: RecordSpec = RecordSpec()
    """What to keep of a run."""

    _document: Document | None = PrivateAttr(default=None)

    @property
    def source(self) -> Path | None:
        """The file it was loaded from."""
        return None if self._document is None else self._document.file

    @property
    def seed_of_noise(self) -> int:
        """The seed that keys the stimuli's noise."""
        return self.seed if self.noise_seed is None else self.noise_seed

    def core_of(self, population: str) -> str:
        """Name or path of the core a population runs on."""
        return self.populations[population].core or self.core

    def population_of(self, target: str) -> str:
        """The population that a stimulus to ``target``, a population or a node set, goes to."""
        return self.node_sets[target].population if target in self.node_sets else target

    def where(self, path: Sequence[str | int]) -> Location:
        """File, line, key and value of a path such as ``("projections", 0, "weight")``.

        Keys may be written as in the file or as attributes of the specs (``source`` for ``from``).
        """
        document = self._document or Document(self.model_dump(mode="json", by_alias=True))
        steps: list[str | int] = []
        for key in path:
            attribute = len(steps) > 1 and key in _YAML_KEYS
            steps.append(_YAML_KEYS[str(key)] if attribute else key)
        return document.locate(steps)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NetworkSpec):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in NetworkSpec.model_fields)

    @field_validator("dt", mode="after")
    @classmethod
    def _one_sample(cls, value: float) -> float:
        if value != DT:
            raise fault("every core is made for samples of 0.1 ms", "write `dt: 0.1 ms` or leave it out")
        return value

    @field_validator("populations", mode="before")
    @classmethod
    def _some_population(cls, value: object) -> object:
        if isinstance(value, Mapping) and not value:
            raise fault("there is no population", "add one, such as `pv: {family: allen-pv-peri, size: 50}`")
        return value

    @field_validator("populations", mode="after")
    @classmethod
    def _populations_fit_cores(
        cls, value: dict[str, PopulationSpec], info: ValidationInfo
    ) -> dict[str, PopulationSpec]:
        if sum(population.size for population in value.values()) > MAX_CELLS:
            raise fault(f"more than {MAX_CELLS} cells in all", "make them smaller")
        return {name: fit_core(name, each, info.data.get("core")) for name, each in value.items()}

    @field_validator("node_sets", mode="after")
    @classmethod
    def _node_sets_fit(cls, value: dict[str, NodeSetSpec], info: ValidationInfo) -> dict[str, NodeSetSpec]:
        if "populations" not in info.data:
            return value
        populations: Mapping[str, PopulationSpec] = info.data["populations"]
        for name, each in value.items():
            if name in populations:
                raise fault("a population has that name, too", "rename the node set", (name,))
            if each.population not in populations:
                remedy = nearest(each.population, populations)
                raise fault("unknown population", remedy, (name, "population"))
            if each.region is not None and not populations[each.population].may_have_positions:
                problem = f"population {each.population} has no positions"
                raise fault(problem, "give it a `position`", (name, "region"))
            size = populations[each.population].size
            if each.cells and each.cells[-1] >= size:
                problem = f"has cell {each.cells[-1]}, but {each.population} has {size} cells"
                raise fault(problem, f"cells are numbered 0 to {size - 1}", (name, "cells"))
        return value

    @field_validator("projections", mode="after")
    @classmethod
    def _projections_fit(
        cls, value: tuple[ProjectionSpec, ...], info: ValidationInfo
    ) -> tuple[ProjectionSpec, ...]:
        seen: dict[str, int] = {}
        for index, projection in enumerate(value):
            if projection.name in seen:
                problem = f"projection {seen[projection.name]} has that name, too"
                raise fault(problem, "names key the random numbers: rename one", (index, "name"))
            seen[projection.name] = index
            if "populations" in info.data:
                check_ends(projection, info.data["populations"], index)
        return tuple(weighted(each, info, (index,)) for index, each in enumerate(value))

    @field_validator("gap_junctions", mode="after")
    @classmethod
    def _gap_junctions_fit(
        cls, value: tuple[GapJunctionSpec, ...], info: ValidationInfo
    ) -> tuple[GapJunctionSpec, ...]:
        names = [each.name for each in value]
        projections = {each.name for each in info.data.get("projections", ())}
        for index, each in enumerate(value):
            if each.name in names[:index]:
                problem = f"gap junctions {names.index(each.name)} have that name, too"
                raise fault(problem, "names key the random numbers: rename one", (index, "name"))
            if each.name in projections:
                problem = "a projection has that name, too"
                raise fault(problem, "names tell edges apart: rename one", (index, "name"))
            if getattr(each.rule.parameters, "autapses", False):
                raise fault(
                    "a cell has no gap junction with itself",
                    "remove it",
                    (index, "rule", each.rule.kind, "autapses"),
                )
            if "populations" in info.data:
                check_ends(each, info.data["populations"], index)
        return value

    @field_validator("stimuli", mode="after")
    @classmethod
    def _stimuli_fit(cls, value: tuple[StimulusSpec, ...], info: ValidationInfo) -> tuple[StimulusSpec, ...]:
        counts: dict[tuple[str, str], int] = {}
        named: dict[str, StimulusSpec] = {}
        for index, stimulus in enumerate(value):
            check_target(stimulus.to, info, (index, "to"))
            number = counts.get((stimulus.kind, stimulus.to), 0)
            counts[stimulus.kind, stimulus.to] = number + 1
            name = stimulus.name or f"{stimulus.kind}-{stimulus.to}-{number}"
            if name in named:
                problem = f"another stimulus is called {name!r}, too"
                raise fault(problem, "names key the noise: rename one", (index, "name"))
            update: dict[str, Any] = {"name": name}
            if stimulus.afferents is not None:
                update[stimulus.kind] = weighted(stimulus.afferents, info, (index, stimulus.kind))
            named[name] = stimulus.model_copy(update=update)
        return tuple(named.values())

    @field_validator("record", mode="after")
    @classmethod
    def _record_fits(cls, value: RecordSpec, info: ValidationInfo) -> RecordSpec:
        for name in value.synapses:
            if name not in info.data.get("synapses", {name: None}):
                raise fault("unknown synapse", nearest(name, info.data["synapses"]), ("synapses", name))
        duration = info.data.get("duration", math.inf)
        for name, report in value.reports.items():
            place = value.place(name)
            if report.start >= duration:
                remedy = f"start before the end of the run, {duration:g} ms"
                raise fault("nothing is left to record", remedy, (*place, "start"))
            for target in report.cells if isinstance(report.cells, tuple) else ():
                check_target(target, info, (*place, "cells"))
        return value


def load_network(path: str | Path, overrides: Mapping[str, Any] | None = None) -> NetworkSpec:
    """Load a network file. Raises ConfigError for the first fault, at its line.

    ``overrides`` replaces top-level values such as ``seed`` and ``duration`` (see ``with_overrides``).
    """
    document = load_document(path)
    spec = validate_document(NetworkSpec, document)
    spec._document = document
    return with_overrides(spec, overrides) if overrides else spec


def network_from(data: Mapping[str, Any], file: Path | None = None) -> NetworkSpec:
    """A network from a mapping written like a network file. Raises ConfigError like `load_network`, naming ``file``
    if the mapping was made of one."""
    document = Document(dict(data), file)
    spec = validate_document(NetworkSpec, document)
    spec._document = document
    return spec


def with_overrides(spec: NetworkSpec, overrides: Mapping[str, Any]) -> NetworkSpec:
    """A copy with other top-level values, checked again; quantities as text or floats in internal units.

    Raises ConfigError, naming the override, or at the line of what does not go with it.
    """
    values = {name: getattr(spec, name) for name in NetworkSpec.model_fields}
    try:
        changed = NetworkSpec.model_validate({**values, **overrides})
    except ValidationError as error:
        told = config_error_of(error, Document({**values, **overrides}, Path("<override>")))
        if spec._document is None or (told.key or "").split(".")[0] in overrides:
            raise told from None
        there = config_error_of(error, spec._document)
        problem = f"{there.problem} (with {', '.join(f'{key} {value}' for key, value in overrides.items())})"
        raise ConfigError(
            problem,
            file=there.file,
            line=there.line,
            key=there.key,
            value=there.value,
            remedy=there.remedy,
        ) from None
    changed._document = spec._document
    return changed


def dump_network(spec: NetworkSpec) -> str:
    """The network as YAML with units and all defaults; `load_network` reads back an equal spec."""
    from ruamel.yaml import YAML

    writer = YAML()
    writer.width = 110
    stream = io.StringIO()
    writer.dump(spec.model_dump(mode="json", by_alias=True, exclude_none=True), stream)
    return stream.getvalue()


def json_schema() -> dict[str, Any]:
    """JSON schema of the network file, for editors: keys, choices, and quantities as text with units."""
    schema = NetworkSpec.model_json_schema(by_alias=True, schema_generator=WrittenDefaults)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "noble-net network"}


def config_error(spec: NetworkSpec, path: Sequence[str | int], problem: str, remedy: str = "") -> ConfigError:
    """A ConfigError at the place of ``path`` in the file that ``spec`` was loaded from."""
    place = spec.where(path)
    return ConfigError(
        problem, file=place.file, line=place.line, key=place.key, value=place.value, remedy=remedy
    )
