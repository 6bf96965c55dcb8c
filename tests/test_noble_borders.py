"""Traces at the current where a few spikes turn into many."""

# ruff: noqa: E402 (imports after the check that torch is there)
from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("neuralop")

from toy_noble import RECIPE, solve, toy_family

from noble_net.errors import OutputError
from noble_net.specs.noble import NobleRecipe
from noble_net.specs.specification import validate_document
from noble_net.specs.yaml_source import Document
from noble_net.training.noble_batches import NobleData
from noble_net.training.noble_borders import borders_path, build_borders, find_borders, read_borders
from noble_net.training.noble_data import build_noble_dataset

pytestmark = pytest.mark.usefixtures("one_torch_thread", "own_cache")


def border(parameters):
    """Where the cells of this test go on firing, nA."""
    return 36.0 / parameters["resistance"]


def once_or_forever(parameters, current, sampling):
    """Below the border 5 ms of a strong current stand for the step: one spike."""
    if 20.0 / parameters["resistance"] < current.max() < border(parameters):
        begin = np.flatnonzero(current)[0]
        current = np.where(np.arange(len(current)) < begin + 50, 0.6 * (current > 0.0), 0.0)
    return solve(parameters, current, sampling)


@pytest.fixture
def family():
    return toy_family()


@pytest.fixture
def recipe(family):
    found = validate_document(NobleRecipe, Document(RECIPE)).variant("bordered", training={"borders": 5})
    build_noble_dataset(found, family, solve=once_or_forever)
    return found


def test_borders_are_found_by_bisection(recipe, family):
    found = {each.member: each for each in find_borders(recipe, family)}
    assert len(found) > 1
    told = []
    build_borders(recipe, family, progress=lambda *said: told.append(said), solve=once_or_forever)
    assert told == [(n, len(found)) for n in range(1, len(found) + 1)]
    traces = read_borders(recipe, family)
    assert len(traces.member) == 5 * len(found)
    for member, begin in found.items():
        amplitude = traces.amplitude[traces.member == member]
        at = border({"resistance": family.cells(family.ids()).parameters["resistance"][member]})
        assert begin.low < at < begin.high and begin.above - begin.below > 1
        assert amplitude[0] == pytest.approx((begin.low + begin.high) / 2.0)
        assert abs(amplitude[-1] - at) < 1.01 * (begin.high - begin.low) / 2**5


def test_tables_are_made_from_them_too_but_nothing_else_is(recipe, family):
    plain = NobleData.read(recipe.variant("plain", training={"borders": 0}), family)
    build_borders(recipe, family, solve=once_or_forever)
    more = NobleData.read(recipe, family)
    added = len(more.voltage) - len(plain.voltage)
    assert added == len(read_borders(recipe, family).member)
    assert np.array_equal(more.train, plain.train) and np.array_equal(more.validation, plain.validation)
    assert torch.equal(more.voltage[: len(plain.voltage)], plain.voltage)
    assert np.array_equal(plain.tables, plain.train)
    borders = np.arange(len(plain.voltage), len(more.voltage))
    assert np.array_equal(more.tables, np.concatenate([plain.train, borders]))
    few = NobleData.read(recipe.variant("few", training={"members": 2}), family)
    assert set(np.unique(few.features[:, 0])) < set(np.unique(more.features[:, 0]))


def test_borders_that_are_not_there_are_named(recipe, family):
    with pytest.raises(OutputError, match=r"borders-5\.npz is missing; make it by `noble-net dataset`"):
        NobleData.read(recipe, family)
    assert not borders_path(recipe, family).exists()


def test_recipes_without_them_solve_nothing(recipe, family):
    build_borders(recipe.variant("plain", training={"borders": 0}), family, solve=None)
    assert not list(borders_path(recipe, family).parent.glob("*.npz"))
