"""Families and their latent space, on the shipped table."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
from helpers import network_data, toy_family

from noble_net.cells.family import Family, read_family
from noble_net.cells.latent import PREDICTED, FeatureModel, medoid, sample_cells
from noble_net.cells.latent_space import LatentSpace
from noble_net.config import network_from
from noble_net.errors import ConfigError, FamilyError, LatentSpaceWarning
from noble_net.network.build import build_network
from noble_net.registry import load_family
from noble_net.types import CoreInfo


@pytest.fixture(scope="module")
def family():
    return load_family("allen-pv-peri")


def keyed(i: int) -> np.random.Generator:
    return np.random.default_rng([5, i + 1])


def test_enough_members_and_a_fixed_fifth_held_out(family):
    roles = family.table["role"]
    assert len(roles) >= 200
    assert [i for i, role in enumerate(roles) if role == "held_out"] == list(range(4, len(roles), 5))


def test_code_and_parameters_are_inverse_and_within_bounds(family):
    cells = family.cells(family.ids())
    assert cells.code.shape == (cells.size, 13) and np.abs(cells.code).max() <= family.bound + 1e-5
    back = family.decode(cells.code)
    for j, name in enumerate(family.parameter_names):
        np.testing.assert_allclose(back[:, j], cells.parameters[name], rtol=1e-5)


def test_members_differ_and_features_are_finite(family):
    assert family.table["I_thr"].std() > 0.01 and np.isfinite(family.table[list(PREDICTED)]).all(axis=None)
    assert (family.table["I_thr"] > 0).all() and (family.table["s_thr"] > 0).all()


EVERY = {
    "members": {},
    "gaussian": {},
    "kde": {},
    "hull": {},
    "circle": {"around": "allen-pv-peri-017", "radius": 0.05},
    "fixed": {"member": "allen-pv-peri-017"},
}


@pytest.mark.parametrize("source", EVERY)
def test_a_larger_sample_begins_with_the_smaller(family, source):
    small = sample_cells(family, 3, source=source, generator_of=keyed, **EVERY[source])
    large = sample_cells(family, 5, source=source, generator_of=keyed, **EVERY[source])
    assert large.size == 5 and large.code.dtype == np.float32
    assert np.array_equal(small.code, large.code[:3])
    assert small.labels == large.labels[:3]


def test_members_repeat_only_when_all_are_used(family):
    n = len(family.ids("held_out"))
    cells = sample_cells(family, n + 1, source="members", role="held_out", generator_of=keyed)
    assert set(cells.labels[:n]) == set(family.ids("held_out")) and cells.labels[n] == cells.labels[0]


def test_gaussian_has_the_family_spread_and_bounds(family):
    code = sample_cells(family, 500, source="gaussian", generator_of=keyed).code
    assert np.abs(code).max() <= family.bound
    np.testing.assert_allclose(code.std(axis=0), family.codes(family.ids()).std(axis=0), atol=0.12)


def unbounded(family: Family) -> Family:
    """The same members, as if they had not been drawn from a distribution."""

    class Undrawn(Family):
        bound = None

    return Undrawn(family.name, family.table, family.about, family.hash)


def test_gaussian_of_a_family_that_was_not_drawn_is_fitted_to_its_members(family):
    code = sample_cells(unbounded(family), 500, source="gaussian", generator_of=keyed).code
    members = family.codes(family.ids())
    np.testing.assert_allclose(code.mean(axis=0), members.mean(axis=0), atol=0.15)
    np.testing.assert_allclose(code.std(axis=0), members.std(axis=0), atol=0.12)
    assert np.abs(code).max() > family.bound


def test_hull_samples_lie_in_the_hull(family):
    space = LatentSpace.of_code(family, "train")
    code = sample_cells(family, 5, source="hull", role="train", generator_of=keyed).code
    assert space.contains(code.astype(np.float64)).all()


def test_a_circle_lies_around_its_member_whatever_the_role(family):
    held = family.ids("held_out")[3]
    cells = sample_cells(
        family, 50, source="circle", role="train", around=held, radius=0.02, generator_of=keyed
    )
    space = LatentSpace.of_code(family, "train")
    centre = space.scale(family.codes([held]).astype(np.float64))
    distance = np.linalg.norm(space.scale(cells.code.astype(np.float64)) - centre, axis=1)
    assert distance.max() <= 0.06 + 1e-5 and distance.mean() > 0.05
    assert set(cells.labels) == {"circle"}


def test_fixed_cells_are_one_member_with_its_measured_features(family):
    cells = sample_cells(family, 3, source="fixed", member="allen-pv-peri-017", generator_of=keyed)
    assert cells.labels == ("allen-pv-peri-017",) * 3
    assert set(cells.features["I_thr"]) == {family.table.loc["allen-pv-peri-017", "I_thr"]}


def test_cells_outside_the_hull_are_drawn_again_warned_of_or_refused():
    family = toy_family()
    space = LatentSpace.of_code(family)

    def draw(source: str, outside: str) -> np.ndarray:
        cells = sample_cells(family, 20, source=source, outside=outside, generator_of=keyed, what="them")
        return cells.code.astype(np.float64)

    for source in ("gaussian", "kde"):
        allowed, again = draw(source, "allow"), draw(source, "redraw")
        inside = space.contains(allowed)
        assert 0 < inside.sum() < 20 and space.contains(again).all()
        assert np.array_equal(again[inside], allowed[inside])
        with pytest.warns(LatentSpaceWarning, match=f"{(~inside).sum()} of 20 cells of them lie outside"):
            assert np.array_equal(draw(source, "warn"), allowed)
        with pytest.raises(FamilyError, match="of them lie outside the hull of the 12 members"):
            draw(source, "fail")


def test_cells_are_contracted_before_they_are_drawn_again(family):
    """Hardly any cell as it was drawn lies in the hull, but in 13 dimensions most do when contracted."""
    space = LatentSpace.of_code(family)
    for source in ("gaussian", "kde"):
        draw = partial(sample_cells, family, 20, source=source, spread=0.3, generator_of=keyed)
        allowed, again = draw(outside="allow").code, draw(outside="redraw").code
        inside = space.contains(allowed.astype(np.float64))
        assert 10 < inside.sum() < 20 and space.contains(again.astype(np.float64)).all()
        assert np.array_equal(again[inside], allowed[inside])
    with pytest.raises(
        FamilyError, match=r"none of 1000 .* in 23 coordinates .* from the hull.* lower spread"
    ):
        sample_cells(load_family("allen-nr5a1"), 1, source="gaussian", outside="redraw", generator_of=keyed)


def test_a_network_file_says_how_cells_are_drawn():
    core = {"learned": CoreInfo("learned", ("soma",), 1)}

    def build(**sample: object) -> np.ndarray:
        population = {"size": 20, "core": "learned", "family": "toy", "sample": sample}
        data = network_data(populations={"pv": population}, projections=[], stimuli=[], synapses={})
        cells = build_network(network_from(data), {"toy": toy_family()}, core).population("pv").cells
        return cells.code

    codes = build(**{"from": "circle", "around": "m3", "radius": 0.01})
    assert np.abs(codes - toy_family().codes(["m3"])).max() < 0.05
    assert np.ptp(build(**{"from": "fixed", "member": "m9"}), axis=0).max() == 0
    with pytest.warns(LatentSpaceWarning, match="cells of population pv lie outside"):
        build(**{"from": "kde", "outside": "warn"})
    with pytest.raises(ConfigError, match=r"populations\.pv\.sample.* of population pv lie outside"):
        build(**{"from": "kde", "outside": "fail"})
    with pytest.raises(ConfigError, match="toy has no member 'm33': did you mean `m3`"):
        build(**{"from": "fixed", "member": "m33"})


def test_spread_contracts_to_the_medoid(family):
    cells = sample_cells(family, 4, source="gaussian", spread=0.0, generator_of=keyed)
    centre = family.codes([medoid(family, family.ids())])
    assert np.array_equal(cells.code, np.repeat(centre, 4, axis=0))


def test_members_that_lack_a_feature_do_not_spoil_the_prediction(family):
    table = family.table.copy()
    table.loc[family.ids()[::9], "s_thr"] = np.nan
    model = FeatureModel.fit(Family(family.name, table, family.about, family.hash))
    assert model.r2["I_thr"] > 0.95 and np.isfinite(model.coefficients).all()


def test_predicted_features(family):
    r2 = FeatureModel.fit(family).r2
    assert r2["I_thr"] > 0.95 and r2["voltage_base"] > 0.95
    ids = family.ids()
    predicted = FeatureModel.fit(family).predict(family.codes(ids))
    measured = family.table.loc[ids, "I_thr"].to_numpy()
    assert np.abs(predicted["I_thr"] - measured).mean() < 0.005


def test_unknown_source_role_or_empty_role(family, tmp_path):
    with pytest.raises(FamilyError, match="members, gaussian, kde, hull, circle, fixed"):
        sample_cells(family, 1, source="box", generator_of=keyed)
    for source, missing in (("circle", "member to be around"), ("fixed", "needs a member")):
        with pytest.raises(FamilyError, match=missing):
            sample_cells(family, 1, source=source, generator_of=keyed)
    with pytest.raises(FamilyError, match="radius 0"):
        sample_cells(family, 1, source="circle", around=family.ids()[0], generator_of=keyed)
    with pytest.raises(FamilyError, match="train, held_out, all"):
        family.ids("test")


def test_a_changed_table_has_another_hash_and_a_broken_one_is_refused(family, tmp_path):
    csv = tmp_path / "f.csv"
    family.table.to_csv(csv)
    about = csv.with_suffix(".json")
    about.write_text(json.dumps(dict(family.about)))
    copy = read_family(csv)
    family.table.iloc[:-1].to_csv(csv)
    assert read_family(csv).hash != copy.hash
    family.table.drop(columns="I_thr").to_csv(csv)
    with pytest.raises(FamilyError, match="I_thr"):
        read_family(csv)
    about.unlink()
    with pytest.raises(FamilyError, match=r"f\.csv"):
        read_family(csv)
