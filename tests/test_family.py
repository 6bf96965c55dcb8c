"""Families and their latent space, on the shipped table."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import linprog

from noble_net.cells.family import read_family
from noble_net.cells.latent import PREDICTED, FeatureModel, medoid, sample_cells
from noble_net.errors import FamilyError
from noble_net.registry import load_family


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


@pytest.mark.parametrize("source", ["members", "gaussian", "hull"])
def test_a_larger_sample_begins_with_the_smaller(family, source):
    small = sample_cells(family, 5, source=source, generator_of=keyed)
    large = sample_cells(family, 9, source=source, generator_of=keyed)
    assert np.array_equal(small.code, large.code[:5])
    assert small.labels == large.labels[:5]


def test_members_repeat_only_when_all_are_used(family):
    n = len(family.ids("held_out"))
    cells = sample_cells(family, n + 1, source="members", role="held_out", generator_of=keyed)
    assert set(cells.labels[:n]) == set(family.ids("held_out")) and cells.labels[n] == cells.labels[0]


def test_gaussian_has_the_family_spread_and_bounds(family):
    code = sample_cells(family, 500, source="gaussian", generator_of=keyed).code
    assert np.abs(code).max() <= family.bound
    np.testing.assert_allclose(code.std(axis=0), family.codes(family.ids()).std(axis=0), atol=0.12)


def test_hull_samples_lie_in_the_hull_by_linear_programming(family):
    members = family.codes(family.ids()).astype(float)
    for code in sample_cells(family, 5, source="hull", generator_of=keyed).code.astype(float):
        found = linprog(
            np.zeros(len(members)), A_eq=np.vstack([members.T, np.ones(len(members))]), b_eq=[*code, 1.0]
        )
        slack = linprog(
            np.r_[np.zeros(len(members)), np.ones(26)],
            A_eq=np.vstack(
                [np.c_[members.T, np.eye(13), -np.eye(13)], np.r_[np.ones(len(members)), np.zeros(26)]]
            ),
            b_eq=[*code, 1.0],
        )
        assert found.success or slack.fun < 1e-5


def test_spread_contracts_to_the_medoid(family):
    cells = sample_cells(family, 4, source="gaussian", spread=0.0, generator_of=keyed)
    centre = family.codes([medoid(family, family.ids())])
    assert np.array_equal(cells.code, np.repeat(centre, 4, axis=0))


def test_predicted_features(family):
    r2 = FeatureModel.fit(family).r2
    assert r2["I_thr"] > 0.95 and r2["voltage_base"] > 0.95
    ids = family.ids()
    predicted = FeatureModel.fit(family).predict(family.codes(ids))
    measured = family.table.loc[ids, "I_thr"].to_numpy()
    assert np.abs(predicted["I_thr"] - measured).mean() < 0.005


def test_unknown_source_role_or_empty_role(family, tmp_path):
    with pytest.raises(FamilyError, match="members, gaussian, hull"):
        sample_cells(family, 1, source="box", generator_of=keyed)
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
