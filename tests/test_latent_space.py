"""The latent space: its scaling, its hull by linear programming, its samplers against exact distributions."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from helpers import toy_family
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linprog
from scipy.stats import beta, kstest, uniform

from noble_net.cells.family import Family
from noble_net.cells.hull_kernels import walk
from noble_net.cells.latent_space import STEPS, LatentSpace
from noble_net.errors import FamilyError, LatentSpaceWarning

QUICK = settings(max_examples=40, deadline=None)


def space_of(points) -> LatentSpace:
    points = np.asarray(points, np.float64)
    names = tuple(f"x{j}" for j in range(points.shape[1]))
    return LatentSpace(names, points, tuple(f"m{i}" for i in range(len(points))))


def simplex(n: int) -> LatentSpace:
    return space_of(np.vstack([np.zeros(n), np.eye(n)]))


def box(n: int) -> LatentSpace:
    return space_of(np.stack(np.meshgrid(*[[0.0, 1.0]] * n), axis=-1).reshape(-1, n))


def cross(n: int) -> LatentSpace:
    return space_of(np.vstack([np.eye(n), -np.eye(n)]))


@st.composite
def spaces(draw: st.DrawFn) -> LatentSpace:
    """Few to many members in up to seven coordinates of other sizes; on a grid, so also flat, and twice the same."""
    n = draw(st.integers(1, 7))
    grid = draw(hnp.arrays(np.int8, (draw(st.integers(1, 16)), n), elements=st.integers(-3, 3)))
    size = np.array(draw(st.lists(st.sampled_from([1e-3, 1.0, 40.0]), min_size=n, max_size=n)))
    return space_of(grid * size + 5.0 * size)


seeds = st.integers(0, 2**32).map(np.random.default_rng)


@given(spaces(), seeds)
@QUICK
def test_scaling_is_min_max_and_unscaling_its_inverse(space, rng):
    scaled = space.scale(space.points)
    varies = np.ptp(space.points, axis=0) > 0
    np.testing.assert_allclose(scaled[:, varies].max(axis=0, initial=3.5), 3.5)
    np.testing.assert_allclose(scaled.min(axis=0), 0.5)
    values = rng.normal(0, 50, (5, len(space.names)))
    np.testing.assert_allclose(space.unscale(space.scale(values)), values, rtol=1e-9, atol=1e-9)


@given(spaces(), seeds)
@QUICK
def test_members_and_convex_combinations_are_inside(space, rng):
    weights = rng.dirichlet(np.full(len(space.points), 0.3), 5)
    assert space.contains(np.vstack([space.points, weights @ space.points])).all()
    assert (space.reach(weights @ space.points) >= 1 - 1e-6).all()


@given(spaces(), seeds)
@QUICK
def test_points_beyond_a_supporting_plane_are_outside(space, rng):
    scaled, normal = space.scale(space.points), rng.standard_normal((5, len(space.names)))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    edge = scaled[(scaled @ normal.T).argmax(axis=0)]
    beyond = space.unscale(edge + 0.01 * normal)
    assert not space.contains(beyond).any()
    assert (space.reach(beyond) < 1).all()


@pytest.mark.parametrize("n", [2, 6, 13])
def test_reach_ends_on_the_hull(n):
    rng = np.random.default_rng(n)
    space = space_of(rng.standard_normal((10 * n, n)))
    points = space.gaussian(rng, 8, inside=False)
    mean = space.points.mean(axis=0)
    on = mean + space.reach(points)[:, None] * (points - mean)
    assert space.contains(on).all()
    assert not space.contains(mean + 1.001 * (on - mean)).any()
    assert np.isinf(space.reach(mean[None]))[0]


@given(spaces(), seeds)
@QUICK
def test_spread_goes_from_the_medoid_to_the_values(space, rng):
    values = rng.standard_normal((4, len(space.names)))
    medoid = space.point(space.medoid())
    assert np.array_equal(space.contract(values, 0.0), np.repeat(medoid[None], 4, axis=0))
    np.testing.assert_allclose(space.contract(values, 1.0), values, atol=1e-9)
    np.testing.assert_allclose(space.contract(values, 0.5), (values + medoid) / 2)


def test_the_medoid_has_the_least_distance_in_scaled_coordinates():
    space = space_of([[0.0, 0.0], [1.0, 50.0], [2.0, 100.0], [2.0, 0.0]])
    assert space.medoid() == "m1"
    assert space_of([[0.0, 0.0], [2.0, 4.0], [2.1, 9.0]]).medoid(scaled=False) == "m1"


SAMPLERS = {
    "gaussian": lambda space, rng, size: space.gaussian(rng, size),
    "kde": lambda space, rng, size: space.kde(rng, size),
    "uniform": lambda space, rng, size: space.uniform(rng, size),
    "circle": lambda space, rng, size: space.circle(rng, space.medoid(), 0.2, size, inside=True),
}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("n", [1, 2, 4])
def test_samples_stay_inside_and_a_larger_batch_begins_with_the_smaller(name, n):
    rng = np.random.default_rng(n)
    space = space_of(rng.lognormal(0, 0.5, (30, n)) * 10.0 ** np.arange(n))
    draw = SAMPLERS[name]
    points = draw(space, np.random.default_rng(5), 6)
    assert points.shape == (6, n) and space.contains(points).all()
    assert np.array_equal(points[:2], draw(space, np.random.default_rng(5), 2))
    assert not np.array_equal(points, draw(space, np.random.default_rng(6), 6))
    assert len(np.unique(points, axis=0)) == 6


@given(spaces(), seeds)
@QUICK
def test_uniform_samples_are_inside_whatever_the_members(space, rng):
    """Flat, collinear, repeated or single members too."""
    points = space.uniform(rng, 3)
    assert points.shape == (3, len(space.names)) and space.contains(points).all()


def walked(space: LatentSpace, size: int) -> np.ndarray:
    """Ends of walks of the stated length that all begin at one place: the worst start there is."""
    white, rng = space._white, np.random.default_rng(1)
    steps, rank = STEPS * white.shape[1], white.shape[1]
    columns = np.ascontiguousarray(np.vstack([white.T, np.ones(len(white))]))
    places = np.empty((size, rank))
    for place in places:
        basis = space._simplex.copy()
        place[:] = white[basis].mean(axis=0)
        walk(columns, basis, place, rng.standard_normal((steps, rank)), rng.random(steps))
    return space._raw(places)


SHAPES = {
    "triangle": (simplex(2), lambda x: np.c_[x, 1 - x.sum(1)], beta(1, 2).cdf),
    "box in 3-D": (box(3), lambda x: x, uniform.cdf),
    "simplex in 6-D": (simplex(6), lambda x: np.c_[x, 1 - x.sum(1)], beta(1, 6).cdf),
    "cross-polytope in 6-D": (cross(6), lambda x: np.abs(x).sum(1, keepdims=True), beta(6, 1).cdf),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("sampler", [walked, lambda space, n: space.uniform(np.random.default_rng(2), n)])
def test_the_walk_is_uniform_where_the_distribution_is_known(name, sampler):
    """Barycentric coordinates of a simplex are Beta(1, n), the radius of a cross-polytope is Beta(n, 1)."""
    space, statistic, cdf = SHAPES[name]
    values = statistic(sampler(space, 2000))
    for column in values.T:
        assert kstest(column, cdf).pvalue > 1e-3
    correlation = np.corrcoef(values.T) if values.shape[1] > 1 else np.eye(1)
    expected = -1 / (values.shape[1] - 1) if name.startswith(("triangle", "simplex")) else 0.0
    off = correlation[~np.eye(len(correlation), dtype=bool)]
    np.testing.assert_allclose(off, expected, atol=0.1)


@pytest.mark.parametrize("n", [1, 2, 6, 13])
def test_chords_end_where_linear_programming_says(n):
    rng = np.random.default_rng(n)
    white = space_of(rng.standard_normal((12 * n + 3, n)))._white
    columns = np.ascontiguousarray(np.vstack([white.T, np.ones(len(white))]))
    basis, place = np.arange(n + 1), white[: n + 1].mean(axis=0)
    walk(columns, basis, place, rng.standard_normal((5, n)), rng.random(5))
    assert (np.linalg.solve(columns[:, basis], np.r_[place, 1.0]) >= -1e-9).all()
    for direction in rng.standard_normal((5, n)):
        equal = np.c_[columns, -np.r_[direction, 0.0]]
        for sign, share in ((1, 0.0), (-1, 1.0)):
            cost = np.r_[np.zeros(len(white)), sign]
            bounds = [(0, None)] * len(white) + [(None, None)]
            end = linprog(cost, A_eq=equal, b_eq=np.r_[place, 1.0], bounds=bounds).x[-1]
            at, around = place.copy(), basis.copy()
            walk(columns, around, at, direction[None], np.array([share]))
            np.testing.assert_allclose(at, place + end * direction, atol=1e-8)


def test_gaussian_and_kernel_density_have_the_members_moments():
    rng = np.random.default_rng(3)
    points = rng.multivariate_normal([1.0, 50.0], [[0.04, 1.2], [1.2, 100.0]], 60)
    space = space_of(points)
    covariance, factor = np.cov(points.T), 60 ** (-1 / 6)
    gaussian = space.gaussian(rng, 20000, inside=False)
    np.testing.assert_allclose(gaussian.mean(axis=0), points.mean(axis=0), rtol=0.01)
    np.testing.assert_allclose(np.cov(gaussian.T), covariance, rtol=0.05)
    kde = space.kde(rng, 20000, inside=False)
    np.testing.assert_allclose(np.cov(kde.T), covariance * (59 / 60 + factor**2), rtol=0.05)


def test_a_gaussian_that_hardly_meets_the_hull_says_so():
    space = space_of(np.random.default_rng(1).standard_normal((14, 12)))
    for draw in (space.gaussian, space.kde):
        with pytest.raises(
            FamilyError, match=r"none of 1000 draws .* hull of the 14 members in 12 coord.*hull"
        ):
            draw(np.random.default_rng(2))
    assert draw(np.random.default_rng(2), inside=False).shape == (1, 12)


def test_a_circle_is_uniform_in_a_ball_of_the_scaled_range():
    space = space_of(np.random.default_rng(1).lognormal(0, 0.4, (40, 3)) * [1e-3, 1, 100])
    points = space.circle(np.random.default_rng(2), "m7", 0.05, 2000)
    distance = np.linalg.norm(space.scale(points) - space.scale(space.point("m7")), axis=1) / 0.15
    assert kstest(distance, beta(3, 1).cdf).pvalue > 1e-3
    elsewhere = space.circle(np.random.default_rng(2), space.points.max(axis=0) * 2, 0.05, 3)
    assert not space.contains(elsewhere).any()
    with pytest.raises(FamilyError, match="no member 'm77': did you mean `m7`"):
        space.circle(np.random.default_rng(2), "m77", 0.05)
    for radius in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(FamilyError, match="share of the range above 0"):
            space.circle(np.random.default_rng(2), "m7", radius)
    with pytest.raises(FamilyError, match="circle of radius"):
        space.circle(np.random.default_rng(2), space.points.max(axis=0) * 2, 0.01, inside=True)


def test_cells_outside_are_allowed_warned_of_or_refused_as_asked():
    space = box(2)
    values = np.array([[0.5, 0.5], [0.5, 1.5], [2.0, 2.0]])
    space.check(values, "allow", "population pv")
    said = r"2 of 3 cells of population pv lie outside the hull of the 4 members in 2 coordinates \(x0, x1\)"
    with pytest.warns(LatentSpaceWarning, match=said + r".* in x1 \(2\), x0 \(1\)"):
        space.check(values, "warn", "population pv")
    with pytest.raises(FamilyError, match=said):
        space.check(values, "fail", "population pv")
    with pytest.warns(LatentSpaceWarning, match="no single coordinate"):
        simplex(2).check(np.array([[0.6, 0.6]]), "warn", "population pv")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        space.check(values[:1], "warn", "population pv")
        space.check(values[:1], "fail", "population pv")
    with pytest.raises(FamilyError, match="allow, warn, fail"):
        space.check(values, "ignore", "population pv")  # type: ignore[arg-type]


def test_spaces_of_a_family():
    family = toy_family()
    table = family.table.copy()
    table.loc[["m2", "m9"], "s_thr"] = np.nan
    family = Family(family.name, table, family.about, family.hash)
    space = LatentSpace.of_features(family, ("I_thr", "s_thr"))
    assert space.left_out == 2 and len(space.labels) == 10 and "m2" not in space.labels
    assert LatentSpace.of_features(family, ["I_thr"], "train").left_out == 0
    assert LatentSpace.of_features(family, ["s_thr"], "train").labels == tuple(
        f"m{i}" for i in range(8) if i != 2
    )
    code = LatentSpace.of_code(family, "held_out")
    assert code.names == family.parameter_names and np.array_equal(
        code.points, family.codes(family.ids("held_out"))
    )
    for name in ("I_th", "role"):
        with pytest.raises(FamilyError, match=f"toy has no feature '{name}'.*I_thr"):
            LatentSpace.of_features(family, [name])
    with pytest.raises(FamilyError, match="no members of role 'held_out'"):
        LatentSpace.of_code(toy_family(held_out=0), "held_out")
    table["s_thr"] = np.nan
    with pytest.raises(FamilyError, match="no member has all coordinates I_thr, s_thr"):
        LatentSpace.of_features(family, ("I_thr", "s_thr"))


@pytest.mark.parametrize(
    ("names", "points", "labels", "message"),
    [
        ("x", [[1.0], [2.0]], "a", "shape"),
        ("", np.zeros((1, 0)), "a", "shape"),
        ("x", np.zeros((0, 1)), "", "no member"),
        ("xx", [[1.0, 2.0]], "a", "same name"),
        ("x", [[1.0], [2.0]], "aa", "same name"),
        ("x", [[math.nan]], "a", "not finite"),
    ],
)
def test_what_is_no_space_is_refused(names, points, labels, message):
    with pytest.raises(FamilyError, match=message):
        LatentSpace(tuple(names), np.asarray(points), tuple(labels))
