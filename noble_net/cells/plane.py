"""A plane through a family's latent space: where maps are drawn, and small circles around a member.

What spans it depends on what the core is conditioned on:

- a core conditioned on the family's *parameters* (any streaming core): two named parameters, or two principal
  components ``PC1``, ``PC2`` … of the members' codes. Coordinates count standard deviations of the code from the
  centre, a member. A plane over two features would not say what the parameters are, so it is refused.
- a core conditioned on *features* (NOBLE): two of those features, in their own units. Cells in it have these features
  and no parameters: nothing but such a core can answer for them. Further features are the centre's. Its space is that
  of the members the core was trained on, which are few of an evolved family's (`usual_members`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from noble_net.cells.latent import from_codes
from noble_net.errors import FamilyError
from noble_net.specs.specification import nearest
from noble_net.types import CellTable, Float64

if TYPE_CHECKING:
    from noble_net.cells.family import Family
    from noble_net.cells.latent_space import LatentSpace

COMPONENT = "PC"
"""Principal components are called PC1, PC2 …"""
RADIUS = 0.05
"""Radius of a small ball around a member, as a share of the members' range in each coordinate."""


@dataclass(frozen=True)
class Plane:
    """Two directions through a centre, a member's id. ``names``: what lies along x and y.

    ``features``: what the core is conditioned on; empty where it is conditioned on parameters. ``members``: ids of
    those a core conditioned on features was trained on; empty: the usual ones.
    """

    family: Family
    names: tuple[str, str]
    centre: str
    features: tuple[str, ...] = ()
    members: tuple[str, ...] = ()

    @staticmethod
    def through(
        family: Family,
        names: tuple[str, str],
        *,
        features: Sequence[str] = (),
        members: Sequence[str] = (),
        centre: str | None = None,
    ) -> Plane:
        """The plane of two axes through a member (the medoid unless given).

        Raises FamilyError for an axis that does not exist there, naming the nearest that does, and for twice the same.
        """
        valid = axis_names(family, features)
        for name in names:
            if name not in valid:
                raise FamilyError(f"no axis {name!r}: {nearest(name, valid)}{_why(family, name, features)}")
        if names[0] == names[1]:
            raise FamilyError(f"both axes are {names[0]!r}")
        centre = centre or _medoid(family, features, members)
        return Plane(family, names, centre, tuple(features), tuple(members))

    @property
    def units(self) -> str:
        """What coordinates are in."""
        return "own units" if self.features else "standard deviations from the centre"

    def cells(self, x: Float64, y: Float64, label: str = "plane") -> CellTable:
        """Cells at coordinates float64 [cells] each."""
        if self.features:
            centre = self.family.table.loc[[self.centre], list(self.features)].to_numpy(np.float64)[0]
            values = {name: np.full(len(x), centre[j]) for j, name in enumerate(self.features)}
            values |= {self.names[0]: x.astype(np.float64), self.names[1]: y.astype(np.float64)}
            return _feature_cells(values, label)
        return from_codes(self.family, self._code(x, y).astype(np.float32), label)

    def coordinates(self, ids: Sequence[str]) -> Float64:
        """Members in the plane, projected onto it, float64 [members, 2]."""
        if self.features:
            return self.family.table.loc[list(ids), list(self.names)].to_numpy(np.float64)
        return np.asarray((self.family.codes(ids) - self._origin) @ self._axes.T, np.float64)

    def contains(self, x: Float64, y: Float64) -> NDArray[np.bool_]:
        """Which cells lie within what the family covers, bool [cells]: the bound its parameters were drawn in, where
        there is one; else the members' convex hull, in parameters. In features the hull of those trained on."""
        if not self.features:
            from noble_net.cells.latent_space import LatentSpace

            code, bound = self._code(x, y), self.family.bound
            if bound is None:
                return np.asarray(LatentSpace.of_code(self.family).contains(code), np.bool_)
            return np.asarray((np.abs(code) <= bound + 1e-6).all(axis=1))
        cells = self.cells(x, y)
        points = np.column_stack([cells.features[name] for name in self.features])
        return np.asarray(feature_space(self.family, self.features, self.members).contains(points), np.bool_)

    def extent(self, reach: float = 1.0) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ranges of x and y: the members' (in features those trained on), ``reach`` times as far from the centre."""
        ids = (self.members or usual_members(self.family)) if self.features else self.family.ids()
        places, centre = self.coordinates(ids), self.coordinates([self.centre])[0]
        low = centre + reach * (np.nanmin(places, axis=0) - centre)
        high = centre + reach * (np.nanmax(places, axis=0) - centre)
        (x0, y0), (x1, y1) = low.tolist(), high.tolist()
        return (x0, x1), (y0, y1)

    @property
    def _origin(self) -> Float64:
        return np.asarray(self.family.codes([self.centre])[0], np.float64)

    @property
    def _axes(self) -> Float64:
        """The two directions, unit vectors of the code, float64 [2, parameters]."""
        rows = []
        for name in self.names:
            if name in self.family.parameter_names:
                rows.append(np.eye(len(self.family.parameter_names))[self.family.parameter_names.index(name)])
            else:
                rows.append(_components(self.family)[int(name.removeprefix(COMPONENT)) - 1])
        return np.array(rows)

    def _code(self, x: Float64, y: Float64) -> Float64:
        return np.asarray(self._origin + np.column_stack([x, y]) @ self._axes)


def axis_names(family: Family, features: Sequence[str] = ()) -> tuple[str, ...]:
    """What can span a plane for a core conditioned on ``features``, or on parameters where there are none."""
    if features:
        return tuple(features)
    components = [f"{COMPONENT}{i + 1}" for i in range(len(family.parameter_names))]
    return (*components, *family.parameter_names)


def usual_members(family: Family) -> list[str]:
    """Ids of the members NOBLE is trained on unless its recipe says otherwise: those to train on, and of an evolved
    family its hall of fame alone."""
    return family.ids("train", hall_of_fame="hall_of_fame" in family.table)


def feature_space(family: Family, features: Sequence[str], members: Sequence[str] = ()) -> LatentSpace:
    """The space of ``features`` over some members, less those that lack one; without ``members`` the usual ones.

    Raises FamilyError for an unknown feature, or where no member is left.
    """
    from noble_net.cells.latent_space import LatentSpace

    whole = LatentSpace.of_features(family, features)
    meant = set(members or usual_members(family))
    kept = np.array([label in meant for label in whole.labels])
    labels = tuple(label for label in whole.labels if label in meant)
    return LatentSpace(whole.names, whole.points[kept], labels, len(meant) - len(labels))


def cells_over_features(
    family: Family,
    features: Sequence[str],
    source: str,
    number: int,
    generator: np.random.Generator,
    around: str = "",
    members: Sequence[str] = (),
) -> CellTable:
    """Cells drawn in the space of features, for a core conditioned on them, as NOBLE interpolates between cells.

    ``source``: ``gaussian`` or ``kde``, in the members' hull or not (`noble_net.responses.domain.Domain` says so),
    ``hull`` (uniform in it) or ``circle`` (a ball of RADIUS around ``around``, any member of the family). ``members``:
    those the core was trained on; the usual ones unless given. Raises FamilyError for another source or an unknown
    member.
    """
    space = feature_space(family, features, members)
    if source == "circle":
        points = space.circle(generator, _place(family, features, around), RADIUS, number)
    elif source == "hull":
        points = space.uniform(generator, number)
    elif source in ("gaussian", "kde"):
        points = getattr(space, source)(generator, number, inside=False)
    else:
        raise FamilyError(f"source {source!r} is none of gaussian, kde, hull, circle")
    return _feature_cells({name: points[:, j] for j, name in enumerate(features)}, source)


def _place(family: Family, features: Sequence[str], member: str) -> Float64:
    """A member's features, float64 [features]. Raises FamilyError for an unknown one, or one that lacks a feature."""
    known = family.ids()
    if member not in known:
        raise FamilyError(f"family {family.name} has no member {member!r}: {nearest(member, known)}")
    place = family.table.loc[member, list(features)].to_numpy(np.float64)
    if not np.isfinite(place).all():
        raise FamilyError(f"member {member} lacks one of the features {', '.join(features)}: name another")
    return place


def _feature_cells(values: dict[str, Float64], label: str) -> CellTable:
    """Cells that are known by features alone."""
    size = len(next(iter(values.values())))
    return CellTable(size, np.zeros((size, 0), np.float32), {}, values, (label,) * size)


def _medoid(family: Family, features: Sequence[str], members: Sequence[str]) -> str:
    """The member nearest to all others, in the space of the features or of the code."""
    from noble_net.cells.latent_space import LatentSpace

    if features:
        return feature_space(family, features, members).medoid()
    return LatentSpace.of_code(family).medoid(scaled=False)


def _components(family: Family) -> Float64:
    """Principal components of the members' codes, in rows; each points to where its largest entry is positive."""
    codes = family.codes(family.ids()).astype(np.float64)
    rows: Float64 = np.linalg.svd(codes - codes.mean(axis=0), full_matrices=False)[2]
    largest = rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)]
    return np.asarray(rows * np.sign(largest)[:, None])


def _why(family: Family, name: str, features: Sequence[str]) -> str:
    if features or name not in family.table.columns:
        return ""
    return (
        f". {name} is a feature, but this core is conditioned on parameters, which two features do not determine: "
        "give two parameters or principal components"
    )
