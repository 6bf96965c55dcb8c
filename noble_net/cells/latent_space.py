"""A latent space: named coordinates, the members of a family in them, their convex hull, and ways to sample it.

Coordinates may be e-features (`LatentSpace.of_features`) or a family's code (`LatentSpace.of_code`). The hull is
never built: in seven or more dimensions it has tens of thousands of facets. Membership is a linear programme
and uniform sampling a hit-and-run walk, both exact in any dimension.

Sources: Ghafourpour et al. 2025 (NOBLE, arXiv 2506.04536) for the scaling and the small circle; Smith 1984 for
hit-and-run; Scott 1992 for the bandwidth of the kernel density estimate.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr
from scipy.optimize import linprog

from noble_net.cells.family import Family
from noble_net.cells.hull_kernels import walk
from noble_net.errors import FamilyError, LatentSpaceWarning
from noble_net.specs.specification import nearest
from noble_net.types import Float64, Int64

LOWEST, HIGHEST = 0.5, 3.5
"""What the smallest and the largest value of each coordinate are scaled to."""
TOLERANCE = 1e-6
"""A point is inside the hull if it lies no further beyond it than this share of its distance from the mean."""
REDRAWS = 1000
"""Draws of one cell that may fall outside the hull before giving up."""
STEPS = 20
"""Steps of the hit-and-run walk per dimension. Each sample is the end of a walk of its own, so there is nothing
to thin. In the 13 coordinates of allen-pv-peri the walk forgets its place within 1.2 steps per dimension."""

Outside = Literal["allow", "warn", "fail"]


@dataclass(frozen=True, eq=False)
class LatentSpace:
    """Members as points of a space with named coordinates.

    ``points`` float64 [members, n], in each coordinate's own unit; ``labels``: the members' ids. ``left_out``
    counts members that lack a coordinate. Values passed in or out are float64 [cells, n] in the same units and
    order. Members may be few or lie in a plane: hull and samplers then keep to that plane. Raises FamilyError
    without members, for values that are not finite and for names or ids given twice.
    """

    names: tuple[str, ...]
    points: Float64
    labels: tuple[str, ...]
    left_out: int = 0

    def __post_init__(self) -> None:
        if self.points.shape != (len(self.labels), len(self.names)) or not self.names:
            raise FamilyError(
                f"a latent space of {len(self.labels)} members and {len(self.names)} coordinates cannot have "
                f"points of shape {self.points.shape}"
            )
        if not self.labels:
            raise FamilyError(f"no member has all coordinates {', '.join(self.names)}")
        if len(set(self.names)) < len(self.names) or len(set(self.labels)) < len(self.labels):
            raise FamilyError("two coordinates, or two members, of a latent space have the same name")
        if not np.isfinite(self.points).all():
            raise FamilyError("a member of a latent space has a coordinate that is not finite: leave it out")

    @staticmethod
    def of_features(family: Family, names: Sequence[str], role: str = "all") -> LatentSpace:
        """The space of some numeric columns of the family's table, without the members of ``role`` that lack one.

        Raises FamilyError for an unknown column or role, or if no member is left.
        """
        columns = [str(c) for c in family.table.select_dtypes("number").columns]
        for name in names:
            if name not in columns:
                raise FamilyError(f"family {family.name} has no feature {name!r}: {nearest(name, columns)}")
        ids = np.array(family.ids(role), dtype=object)
        values = family.table.loc[list(ids), list(names)].to_numpy(np.float64)
        whole = np.isfinite(values).all(axis=1)
        return LatentSpace(tuple(names), values[whole], tuple(ids[whole]), int((~whole).sum()))

    @staticmethod
    def of_code(family: Family, role: str = "all") -> LatentSpace:
        """The space of the family's code. Raises FamilyError for an unknown role or one without members."""
        ids = family.ids(role)
        if not ids:
            raise FamilyError(f"family {family.name} has no members of role {role!r}")
        return LatentSpace(family.parameter_names, family.codes(ids).astype(np.float64), tuple(ids))

    # --- coordinates --------------------------------------------------------------------------------------

    def scale(self, values: Float64) -> Float64:
        """Each coordinate min–max scaled, the members to [0.5, 3.5]; one that never varies keeps its unit."""
        return np.asarray(LOWEST + (values - self._low) * ((HIGHEST - LOWEST) / self._span))

    def unscale(self, values: Float64) -> Float64:
        """The inverse of `scale`."""
        return np.asarray(self._low + (values - LOWEST) * (self._span / (HIGHEST - LOWEST)))

    def point(self, label: str) -> Float64:
        """A member's coordinates, float64 [n]. Raises FamilyError with the nearest id for an unknown one."""
        if label not in self.labels:
            raise FamilyError(f"there is no member {label!r}: {nearest(label, self.labels)}")
        return np.asarray(self.points[self.labels.index(label)])

    def medoid(self, scaled: bool = True) -> str:
        """The member with the smallest summed distance to the others.

        ``scaled``: in scaled coordinates; else as they are, for coordinates that share one unit.
        """
        points = self.scale(self.points) if scaled else self.points
        distance = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2)).sum(axis=1)
        return self.labels[int(np.argmin(distance))]

    def contract(self, values: Float64, spread: float) -> Float64:
        """Values moved towards the medoid: 0 puts all there, 1 leaves them where they are."""
        centre = self.point(self.medoid())
        return np.asarray(centre + spread * (values - centre))

    # --- the hull -----------------------------------------------------------------------------------------

    def contains(self, values: Float64) -> NDArray[np.bool_]:
        """Whether each point lies in the convex hull of the members, bool [cells]; see TOLERANCE.

        Points beyond a plane that touches the hull, at right angles to their own direction, are out and members
        are in without more ado; the others take a linear programme each, of some milliseconds.
        """
        white, inside = self._whitened(values)
        distance = np.linalg.norm(white, axis=1)
        along = white @ self._white.T
        squared = distance[:, None] ** 2 + (self._white**2).sum(axis=1) - 2.0 * along
        member = squared.min(axis=1) <= TOLERANCE**2
        inside &= member | (along.max(axis=1) >= (1.0 - TOLERANCE) * distance**2)
        for i in np.flatnonzero(inside & ~member):
            inside[i] = self._reach(white[i]) >= 1.0 - TOLERANCE
        return inside

    def reach(self, values: Float64) -> Float64:
        """Where the hull ends on the way from the members' mean to each point, as a share of it, float64 [cells].

        At least 1 inside (infinite at the mean), 0 out of the members' plane. A point moved to
        mean + reach·(point − mean) lies on the hull.
        """
        white, in_plane = self._whitened(values)
        return np.array([self._reach(w) if here else 0.0 for w, here in zip(white, in_plane, strict=True)])

    def check(self, values: Float64, outside: Outside, what: str) -> None:
        """Say so if cells of ``what`` lie outside the hull: not at all, as LatentSpaceWarning or as FamilyError."""
        if outside not in ("allow", "warn", "fail"):
            raise FamilyError(f"outside {outside!r} is none of allow, warn, fail")
        beyond = np.zeros(len(values), np.bool_) if outside == "allow" else ~self.contains(values)
        if not beyond.any():
            return
        slack = TOLERANCE * self._span
        far = (values < self._low - slack) | (values > self._low + np.ptp(self.points, axis=0) + slack)
        counts = far[beyond].sum(axis=0)
        most = [j for j in np.argsort(-counts, kind="stable")[:4] if counts[j]]
        ranges = ", ".join(f"{self.names[j]} ({counts[j]})" for j in most) or "no single coordinate"
        problem = (
            f"{beyond.sum()} of {len(values)} cells of {what} lie outside the hull of the {len(self.labels)} "
            f"members in {self._coordinates}; they leave the members' range most often in {ranges}"
        )
        if outside == "fail":
            raise FamilyError(f"{problem}. Draw from the hull, or allow cells outside")
        warnings.warn(problem, LatentSpaceWarning, stacklevel=2)

    # --- samplers, float64 [size, n]: a larger size begins with the points of a smaller one ---------------

    def gaussian(self, generator: np.random.Generator, size: int = 1, *, inside: bool = True) -> Float64:
        """Points of the Gaussian with the members' mean and covariance.

        ``inside``: each is drawn again until it lies in the hull. Raises FamilyError after REDRAWS of one.
        """
        rank = self._white.shape[1]

        def draw() -> Float64:
            return self._raw(np.asarray(generator.standard_normal(rank)))

        return self.drawn(draw, "the Gaussian", size, inside=inside)

    def kde(self, generator: np.random.Generator, size: int = 1, *, inside: bool = True) -> Float64:
        """Points of the members' kernel density: a random member plus a Gaussian, their covariance times the
        square of Scott's factor, members^(−1/(dimensions + 4)). ``inside`` as for `gaussian`."""
        members, rank = self._white.shape
        factor = members ** (-1.0 / (rank + 4))

        def draw() -> Float64:
            member = self._white[generator.integers(members)]
            return self._raw(member + factor * generator.standard_normal(rank))

        return self.drawn(draw, "the kernel density", size, inside=inside)

    def uniform(self, generator: np.random.Generator, size: int = 1) -> Float64:
        """Points uniform in the hull: each the end of a hit-and-run walk of its own (see STEPS).

        A walk begins at a random place of one simplex of members, which is the whole hull if there are no others.
        """
        rank = self._white.shape[1]
        columns = np.ascontiguousarray(np.vstack([self._white.T, np.ones(len(self._white))]))
        places = np.empty((size, rank))
        for place in places:
            basis = self._simplex.copy()
            place[:] = generator.dirichlet(np.ones(rank + 1)) @ self._white[basis]
            directions = generator.standard_normal((STEPS * rank, rank))
            walk(columns, basis, place, directions, generator.random(len(directions)))
        return self._raw(places)

    def circle(
        self,
        generator: np.random.Generator,
        around: str | Float64,
        radius: float,
        size: int = 1,
        *,
        inside: bool = False,
    ) -> Float64:
        """Points uniform in a ball around a member (its id) or a point, float64 [n].

        The ball is round in scaled coordinates; ``radius`` is a share of the scaled range. ``inside`` as for
        `gaussian`. Raises FamilyError for an unknown member or a radius that is not positive.
        """
        if not 0.0 < radius < np.inf:
            raise FamilyError(f"a circle of radius {radius:g} is none: give a share of the range above 0")
        centre = self.scale(self.point(around) if isinstance(around, str) else around)

        def draw() -> Float64:
            direction = generator.standard_normal(len(self.names))
            share = generator.random() ** (1.0 / len(self.names)) / np.linalg.norm(direction)
            return self.unscale(centre + radius * (HIGHEST - LOWEST) * share * direction)

        return self.drawn(draw, f"the circle of radius {radius:g}", size, inside=inside)

    def drawn(self, draw: Callable[[], Float64], what: str, size: int = 1, *, inside: bool = True) -> Float64:
        """Points of any other distribution: ``draw`` gives one, float64 [n]. ``inside`` as for `gaussian`;
        ``what`` names the distribution in the error."""
        points = np.empty((size, len(self.names)))
        for i in range(size):
            for _ in range(REDRAWS):
                points[i] = draw()
                if not inside or self.contains(points[i : i + 1])[0]:
                    break
            else:
                raise FamilyError(
                    f"none of {REDRAWS} draws of {what} lies in the hull of the {len(self.labels)} members in "
                    f"{self._coordinates}: in so many dimensions hardly any does. Draw uniformly from the hull, "
                    f"or allow cells outside; a lower spread helps where the medoid member is not on the hull itself"
                )
        return points

    # --- within -------------------------------------------------------------------------------------------

    def _reach(self, white: Float64) -> float:
        """`reach` of one whitened point, float64 [rank]: the largest s so that s·point is in the hull."""
        distance, members = float(np.linalg.norm(white)), len(self._white)
        if distance < TOLERANCE**2:
            return np.inf
        convex = np.vstack([np.c_[self._white.T, -white / distance], np.r_[np.ones(members), 0.0]])
        goal = np.r_[np.zeros(len(white)), 1.0]
        found = linprog(np.r_[np.zeros(members), -1.0], A_eq=convex, b_eq=goal, method="highs")
        if found.x is None:
            raise FamilyError(f"whether a point lies in the hull cannot be told: {found.message}")
        return float(found.x[-1]) / distance

    def _whitened(self, values: Float64) -> tuple[Float64, NDArray[np.bool_]]:
        """Whitened coordinates, float64 [cells, rank], and whether each point lies in the members' plane."""
        axes, deviations = self._principal
        centred = self.scale(values) - self._mean
        along = centred @ axes.T
        residual = np.abs(centred - along @ axes).max(axis=1)
        return along / deviations, residual <= TOLERANCE * (HIGHEST - LOWEST)

    def _raw(self, white: Float64) -> Float64:
        axes, deviations = self._principal
        return self.unscale(self._mean + (white * deviations) @ axes)

    @property
    def _coordinates(self) -> str:
        shown = ", ".join(self.names[:3]) + (", …" if len(self.names) > 3 else "")
        return f"{len(self.names)} coordinates ({shown})"

    @cached_property
    def _low(self) -> Float64:
        return np.asarray(self.points.min(axis=0))

    @cached_property
    def _span(self) -> Float64:
        extent = np.ptp(self.points, axis=0)
        return np.where(extent > 0.0, extent, HIGHEST - LOWEST)

    @cached_property
    def _mean(self) -> Float64:
        return np.asarray(self.scale(self.points).mean(axis=0))

    @cached_property
    def _principal(self) -> tuple[Float64, Float64]:
        """Directions in which the members vary, float64 [rank, n], and their standard deviations there.

        Where no member leaves the others' plane by more than the tolerance, they count as lying in it.
        """
        _, values, axes = np.linalg.svd(self.scale(self.points) - self._mean, full_matrices=False)
        rank = int((values > TOLERANCE * (HIGHEST - LOWEST)).sum())
        return axes[:rank], values[:rank] / np.sqrt(max(len(self.points) - 1, 1))

    @cached_property
    def _white(self) -> Float64:
        """The members in coordinates of unit covariance, float64 [members, rank]."""
        return self._whitened(self.points)[0]

    @cached_property
    def _simplex(self) -> Int64:
        """rank + 1 members that span the hull's plane, int64 [rank + 1]: those far apart."""
        columns = np.vstack([self._white.T, np.ones(len(self._white))])
        order = qr(columns, mode="r", pivoting=True)[1]
        return np.asarray(order[: len(columns)], np.int64)
