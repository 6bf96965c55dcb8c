"""Parameters of the connection rules that take their synapses from elsewhere: graphs, tables, SONATA files."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from noble_net.specs.basics import Count, Flag, Name
from noble_net.specs.files import InputFile
from noble_net.specs.graphs import check_arguments, check_generator
from noble_net.specs.rule_parameters import Ends, Rule, check_within
from noble_net.specs.specification import fault


class GraphSpec(Rule):
    """A graph from a networkx generator or a file; an undirected edge is a synapse either way.

    `file` is GraphML, GML or a list of edges (`.graphml`, `.gml`, `.edgelist`, `.txt`), its nodes numbered
    like the cells from 0 on.
    """

    generator: Annotated[str, Field(strict=True, max_length=100)] | None = None
    """Name of a function of networkx.generators."""
    arguments: dict[Name, Any] = Field(default={})
    """Of the generator; `n` is the number of cells unless given, the seed is the projection's."""
    file: InputFile | None = None
    """Of the graph, instead of `generator`."""
    autapses: Flag = False
    """Whether self-loops of a generated graph are kept."""
    multapses: Flag = False
    """Whether parallel edges of a generated graph are kept."""

    @field_validator("generator", mode="after")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None:
            check_generator(name)
        return name

    @model_validator(mode="after")
    def _one_origin(self) -> GraphSpec:
        if (self.generator is None) == (self.file is None):
            raise fault("comes either from a generator or from a file", "give one of `generator`, `file`")
        if self.generator is not None:
            check_arguments(self.generator, self.arguments)
            return self
        for key in ("arguments", "autapses", "multapses"):
            if getattr(self, key):
                raise fault("is for generators; a file is taken as it is", "remove it", (key,))
        return self

    def check(self, ends: Ends) -> None:
        """A generated graph joins a population to itself."""
        if self.generator is not None:
            check_within(ends, "graph")


class TableSpec(Rule):
    """Synapses listed in a file: columns `source`, `target` and, if wanted, `weight`, `delay`, `synapses`.

    A `.csv` with a header, or a `.h5` with a dataset for each column. Cells are numbered from 0 within their
    population; weights are in nS (pA for a current synapse), delays in ms; `synapses` repeats a row.
    """

    file: InputFile
    """The table."""


class SonataSpec(Rule):
    """Synapses of an edge population of a SONATA file.

    Weights are read from `conductance` (nS) or `syn_weight` (µS, or nA for a current synapse), delays from
    `delay` (ms); an edge of `nsyns` counts as so many. Node ids are the cells' numbers; of a population with `nodes`,
    the ids of these, and edges of other nodes are left out.
    """

    file: InputFile
    """The edges file, HDF5."""
    population: Annotated[str, Field(strict=True, min_length=1, max_length=256)]
    """The edge population's name."""
    types: tuple[Annotated[Count, Field(ge=0)], ...] | None = None
    """Only edges of these edge types; all unless given."""
