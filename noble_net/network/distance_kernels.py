"""Connection probabilities that fall with distance, and distances, compiled."""

from __future__ import annotations

import math

import numpy as np

from noble_net.compiled import compiled
from noble_net.network.random_kernels import uniform
from noble_net.types import Float32, Float64, Int32, Int64

GAUSSIAN, EXPONENTIAL, CUTOFF = 0, 1, 2


@compiled(inline="always")
def probability(distance: float, profile: int, p0: float, scale: float, cutoff: float) -> float:
    """Of a pair at ``distance`` µm: falls, or stays, with distance in every profile."""
    if distance > cutoff:
        return 0.0
    if profile == GAUSSIAN:
        return p0 * math.exp(-0.5 * (distance / scale) ** 2)
    if profile == EXPONENTIAL:
        return p0 * math.exp(-distance / scale)
    return p0 if distance <= scale else 0.0


@compiled(inline="always")
def _nearest(point: Float64, low: Float64, high: Float64) -> float:
    """Distance from a point to a box."""
    total = 0.0
    for axis in range(3):
        gap = max(low[axis] - point[axis], point[axis] - high[axis], 0.0)
        total += gap * gap
    return math.sqrt(total)


@compiled(inline="always")
def _between(one: Float64, other: Float64) -> float:
    total = 0.0
    for axis in range(3):
        gap = np.float64(one[axis]) - np.float64(other[axis])
        total += gap * gap
    return math.sqrt(total)


@compiled()
def distance_fill(
    key: np.uint64,
    first: int,
    indptr: Int64,
    out: Int32,
    targets: Float64,
    sources: Float64,
    cell_of: Int32,
    voxels: Int64,
    low: Float64,
    high: Float64,
    profile: int,
    p0: float,
    scale: float,
    cutoff: float,
    leave_out_self: bool,
) -> int:
    """Sources of every target from row ``first`` on, as `wiring_kernels` describes.

    ``sources`` float64 [n, 3] (µm) are grouped in voxels: those of voxel v are ``voxels[v]`` to
    ``voxels[v + 1]``, inside the box ``low[v]`` … ``high[v]``; ``cell_of`` is the cell each one is. Within a
    voxel no probability exceeds that at the box's nearest point, so candidates are drawn with that one,
    and kept with the share of it that their own distance leaves (thinning). One exponential variable runs
    through the hazards −log(1 − p) of all voxels until a candidate is hit, so voxels without one cost no draw.
    """
    for row in range(first, indptr.size - 1):
        point = targets[row]
        room = out[indptr[row] :]
        count, draw = 0, 1
        left = -math.log(uniform(key, row, 0))
        for voxel in range(voxels.size - 1):
            bound = probability(_nearest(point, low[voxel], high[voxel]), profile, p0, scale, cutoff)
            if bound <= 0.0:
                continue
            hazard = math.inf if bound >= 1.0 else -math.log1p(-bound)
            at = voxels[voxel]
            while at < voxels[voxel + 1] and left < hazard * (voxels[voxel + 1] - at):
                at = min(at + int(left / hazard), voxels[voxel + 1] - 1)
                p = probability(_between(point, sources[at]), profile, p0, scale, cutoff)
                keep = uniform(key, row, draw) * bound < p
                left = -math.log(uniform(key, row, draw + 1))
                draw += 2
                if keep and not (leave_out_self and cell_of[at] == row):
                    if count < room.size:
                        room[count] = cell_of[at]
                    count += 1
                at += 1
            if hazard < math.inf:
                left -= hazard * (voxels[voxel + 1] - at)
        if count > room.size:
            return row
        room[:count].sort()
        indptr[row + 1] = indptr[row] + count
    return indptr.size - 1


@compiled()
def mean_probability(
    targets: Float64, sources: Float64, profile: int, p0: float, scale: float, cutoff: float
) -> float:
    """Mean connection probability over all pairs of the points given."""
    total = 0.0
    for row in range(targets.shape[0]):
        for at in range(sources.shape[0]):
            total += probability(_between(targets[row], sources[at]), profile, p0, scale, cutoff)
    mean: float = total / (targets.shape[0] * sources.shape[0])
    return mean


@compiled()
def row_distances(indptr: Int64, source: Int32, first: int, targets: Float32, sources: Float32) -> Float64:
    """Distances (µm) of the entries of the rows from number ``first`` on, whose pointers are given."""
    out = np.empty(indptr[-1] - indptr[0], np.float64)
    for row in range(indptr.size - 1):
        for entry in range(indptr[row], indptr[row + 1]):
            out[entry - indptr[0]] = _between(targets[first + row], sources[source[entry]])
    return out
