"""Cells of a SONATA nodes file that a population of a network file consists of."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from noble_net.specs.basics import Count
from noble_net.specs.files import InputFile
from noble_net.specs.specification import Spec, fault

_Text = Annotated[str, Field(strict=True, min_length=1, max_length=256)]
_Types = tuple[Annotated[Count, Field(ge=0)], ...]


class NodesSpec(Spec):
    """Cells of a SONATA nodes file, numbered by ascending node id: where they are, and what is said of each.

    A cell is, by the first that the files give: the member of `members` for its node type; the member named in a column
    `member` or `label`; the cell with the parameters, or the member nearest in the features, that `dynamics_params` or
    columns of these names give. All others are drawn by `sample`.
    """

    file: InputFile
    """The nodes file, HDF5."""
    population: _Text
    """Its name in that file."""
    types_file: InputFile | None = None
    """The table of node types, where values of all cells of a type stand."""
    types: _Types | None = None
    """Only nodes of these node types; all unless given."""
    members: dict[_Text, _Types] = Field(default={})
    """For a member of the family the node types whose cells it is."""
    components: InputFile | None = None
    """Folder of the JSON files that `dynamics_params` of node types names."""

    @model_validator(mode="after")
    def _one_member_a_type(self) -> NodesSpec:
        seen: dict[int, str] = {}
        for member, types in self.members.items():
            for each in types:
                if each in seen:
                    raise fault(f"node type {each} is {seen[each]}, too", "remove one", ("members", member))
                seen[each] = member
        return self

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are read."""
        return (self.file,) if self.types_file is None else (self.file, self.types_file)
