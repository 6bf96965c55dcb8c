"""Where cells are, and how far apart: positions of a population, voxels, distances.

Positions are float32 [cells, 3], µm, x y z; z is depth. Distances are computed from these very numbers, which
are also those of a run's nodes.h5.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from noble_net.config import PopulationSpec
from noble_net.network import distance_kernels
from noble_net.network.given import read_points
from noble_net.network.random import cell_uniforms
from noble_net.network.rows import Fill
from noble_net.specs.positions import BoxSpec, CylinderSpec, LatticeSpec
from noble_net.specs.regions import RegionSpec
from noble_net.specs.rule_parameters import DistanceSpec, Profile
from noble_net.types import Float32, Float64, Int32, Int64

_PROFILES: dict[Profile, int] = {
    "gaussian": distance_kernels.GAUSSIAN,
    "exponential": distance_kernels.EXPONENTIAL,
    "cutoff": distance_kernels.CUTOFF,
}
_MOST_VOXELS = 4096
"""So that walking through them stays cheap beside drawing a target's synapses."""


class Places(NamedTuple):
    """Positions of a projection's source and target cells, float32 [cells, 3], µm."""

    source: Float32
    target: Float32


def draw_positions(population: PopulationSpec, name: str, seed: int) -> Float32 | None:
    """Positions of a population's cells, each from a stream of its own; None where the file gives none.

    Raises GivenError for a file of points that is wrong.
    """
    position = population.position
    if position is None:
        return None
    if position.points is not None:
        return read_points(position.points, population.size)
    if position.lattice is not None:
        return _lattice(position.lattice)
    x, y, z = (cell_uniforms(seed, "position", f"{name}/{axis}", population.size) for axis in "xyz")
    if position.box is not None:
        return _box(position.box, x, y, z)
    if position.cylinder is None:
        raise TypeError("a position without kind passed validation")
    return _cylinder(position.cylinder, x, y, z)


def _box(box: BoxSpec, *uniforms: Float64) -> Float32:
    sides = zip((box.x, box.y, box.z), uniforms, strict=True)
    columns = [low + (high - low) * uniform for (low, high), uniform in sides]
    return np.stack(columns, axis=1).astype(np.float32)


def _cylinder(cylinder: CylinderSpec, x: Float64, y: Float64, z: Float64) -> Float32:
    """Uniform in a cylinder: the radius goes with the root, as area grows with its square."""
    radius, angle = cylinder.radius * np.sqrt(x), 2 * np.pi * y
    low, high = cylinder.depth
    across, along = cylinder.centre
    columns = [across + radius * np.cos(angle), along + radius * np.sin(angle), low + (high - low) * z]
    return np.stack(columns, axis=1).astype(np.float32)


def _lattice(lattice: LatticeSpec) -> Float32:
    steps = np.stack(np.meshgrid(*map(np.arange, lattice.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    return (np.asarray(lattice.origin) + lattice.spacing * steps).astype(np.float32)


def within(region: RegionSpec, position: Float32) -> NDArray[np.bool_]:
    """Which of the positions lie in a region, bool [cells]; its border counts, to what float32 can tell."""
    points = position.astype(np.float64)
    slack = float(np.abs(points).max(initial=0.0)) * 2.0**-22
    if region.box is not None:
        inside = np.ones(len(points), bool)
        for axis, bounds in enumerate((region.box.x, region.box.y, region.box.z)):
            if bounds is not None:
                inside &= _between(points[:, axis], bounds, slack)
        return inside
    if region.sphere is not None:
        return _near(points, region.sphere.centre, region.sphere.radius + slack)
    if region.cylinder is None:
        raise TypeError("a region without kind passed validation")
    across = _near(points[:, :2], region.cylinder.centre, region.cylinder.radius + slack)
    return across & _between(points[:, 2], region.cylinder.depth, slack)


def _between(values: Float64, bounds: tuple[float, float], slack: float) -> NDArray[np.bool_]:
    return (values >= bounds[0] - slack) & (values <= bounds[1] + slack)


def _near(points: Float64, centre: tuple[float, ...], radius: float) -> NDArray[np.bool_]:
    away: Float64 = points - np.asarray(centre)
    inside: NDArray[np.bool_] = (away**2).sum(axis=1) <= radius**2
    return inside


class DistanceDraw:
    """The rule `distance` between given places, ready to draw rows of synapses."""

    def __init__(self, rule: DistanceSpec, places: Places) -> None:
        self._targets = _along(places.target, rule.axes)
        self._sources = _along(places.source, rule.axes)
        cutoff = np.inf if rule.cutoff is None else rule.cutoff
        self._profile = (_PROFILES[rule.profile], rule.p0, rule.scale, cutoff)
        self._side = min(rule.scale, cutoff)  # tried: half doubles the boxes to visit, twice the draws

    def expected_size(self) -> float:
        """Mean number of synapses, from every source and evenly spaced targets."""
        step = -(-len(self._targets) // 256)
        mean = distance_kernels.mean_probability(self._targets[::step], self._sources, *self._profile)
        return mean * len(self._targets) * len(self._sources)

    def fill(self, key: np.uint64, leave_out_self: bool) -> Fill:
        """What `grown_rows` asks for."""
        order, voxels, low, high = _voxels(self._sources, self._side)
        sources = self._sources[order]

        def fill(first: int, indptr: Int64, out: Int32) -> int:
            return distance_kernels.distance_fill(
                key, first, indptr, out, self._targets, sources, order, voxels, low, high,
                *self._profile, leave_out_self,
            )  # fmt: skip

        return fill


def distances(places: Places, indptr: Int64, source: Int32, first: int) -> Float64:
    """Distance (µm) of each entry of some rows of targets, from row ``first`` on."""
    return distance_kernels.row_distances(indptr, source, first, places.target, places.source)


def _along(position: Float32, axes: str) -> Float64:
    """Positions with the axes left out set to 0."""
    return np.where([axis in axes for axis in "xyz"], position, 0.0).astype(np.float64)


def _voxels(points: Float64, side: float) -> tuple[Int32, Int64, Float64, Float64]:
    """Points grouped by voxel: their order, each voxel's first, and the corners of its bounding box."""
    origin, extent = points.min(axis=0), np.ptp(points, axis=0)
    side = max(side, float(extent.max()) / _MOST_VOXELS)
    while np.prod(np.floor(extent / side) + 1) > _MOST_VOXELS:
        side *= 1.25
    voxel = np.floor((points - origin) / side).astype(np.int64)
    shape = voxel.max(axis=0) + 1
    number = np.ravel_multi_index(tuple(voxel.T), tuple(shape))
    order = np.argsort(number, kind="stable")
    begins = np.flatnonzero(np.diff(number[order], prepend=-1))
    low = np.minimum.reduceat(points[order], begins)
    high = np.maximum.reduceat(points[order], begins)
    return order.astype(np.int32), np.append(begins, len(points)), low, high
