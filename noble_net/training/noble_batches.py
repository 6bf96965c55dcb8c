"""The traces of a NOBLE recipe in the memory of the machine that trains."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noble_net.cells.family import Family
from noble_net.errors import FamilyError
from noble_net.specs.noble import NobleRecipe
from noble_net.surrogate.embedding import Ranges
from noble_net.surrogate.noble import feature_matrix
from noble_net.training.noble_borders import read_borders
from noble_net.training.noble_data import VOLTAGE_UNIT, read_part
from noble_net.training.noble_plan import members_of, select_members

VOLTS = VOLTAGE_UNIT / 1000.0
"""Volts per integer of `NobleData.voltage`."""


class NobleData(NamedTuple):
    """Traces on the training device, and which of them are trained and validated on."""

    voltage: Tensor
    """int16 [traces, stored samples], in units of `VOLTAGE_UNIT`."""
    features: Tensor
    amplitude: Tensor
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    tables: NDArray[np.int64]
    """What the tables of spikes are made from: the training traces, and those of borders. An operator trained on the
    latter, too, answers low and wide where a cell is about to fire: there the tables tell times worst."""

    @staticmethod
    def read(recipe: NobleRecipe, family: Family, device: str | torch.device = "cpu") -> NobleData:
        """Read a recipe's traces from its dataset. Raises CheckpointError when that was made from another family,
        FamilyError when members lack an embedded feature or fewer than two traces are left."""
        part = "hyperpolarising" if recipe.fine_tune else "train"
        ids, traces = read_part(recipe, family, part)
        wanted = set(select_members(recipe.dataset, family, recipe.training.members))
        rows = np.flatnonzero([ids[m] in wanted for m in traces.member])[: recipe.training.traces]
        held = max(1, round(recipe.training.validation * len(rows)))
        if len(rows) - held < 1:
            raise FamilyError(f"recipe {recipe.name} leaves {len(rows)} traces: too few to train on")
        chosen = [traces.take(rows)]
        if recipe.training.borders and not recipe.fine_tune:
            more = read_borders(recipe, family)
            mine = [number for number, member in enumerate(ids) if member in wanted]
            chosen.append(more.take(np.isin(more.member, mine)))
        member, amplitude, voltage = (np.concatenate(parts) for parts in zip(*chosen, strict=True))
        features = feature_matrix(family.cells(ids), recipe.model.features)[member]
        order = np.arange(len(member), dtype=np.int64)
        return NobleData(
            torch.from_numpy(voltage).to(device),
            torch.from_numpy(features).to(device),
            torch.from_numpy(amplitude.astype(np.float32)).to(device),
            order[: len(rows) - held],
            order[len(rows) - held : len(rows)],
            np.delete(order, np.s_[len(rows) - held : len(rows)]),
        )


def feature_ranges(recipe: NobleRecipe, family: Family) -> Ranges:
    """Smallest and largest value of each embedded feature over the family (its hall of fame), all roles: the same for
    any choice of training members. Raises FamilyError where a member lacks one."""
    cells = family.cells(members_of(recipe.dataset, family, "all"))
    matrix = feature_matrix(cells, recipe.model.features)
    return {
        name: (float(column.min()), float(column.max()))
        for name, column in zip(recipe.model.features, matrix.T, strict=True)
    }
