"""The compiled hit-and-run walk in a convex hull, its chords ended by a simplex method that starts warm.

A chord is the linear programme: largest t such that x + t·d is a convex combination of the points. The walk
always knows a simplex of r + 1 points around its place; from there the primal simplex method passes from one
simplex to the next along the line until no point lies further out. That takes tens of microseconds where a
general solver, which starts from nothing, takes milliseconds.
"""

from __future__ import annotations

import numpy as np

from noble_net.compiled import compiled
from noble_net.types import Float64, Int64

_EPSILON = 1e-10
"""Values below this count as zero; coordinates are whitened, so of order one."""
_PIVOTS = 50
"""Pivots per corner of the simplex before a chord is ended where it has come to: short of the hull, so inside."""


@compiled()
def walk(columns: Float64, basis: Int64, place: Float64, directions: Float64, shares: Float64) -> None:
    """Hit-and-run from ``place``, changed in place, float64 [r].

    ``columns`` float64 [r + 1, points]: the points' whitened coordinates, then a row of ones. ``basis`` int64
    [r + 1]: points around ``place``, affinely independent; changed in place. ``directions`` float64 [steps, r],
    any length but zero; ``shares`` float64 [steps] in [0, 1): where on each chord to go.
    """
    corners, limit = columns.shape[0], _PIVOTS * columns.shape[0]
    reached, bases = np.empty((2, limit + 1)), np.empty((2, limit + 1, corners), np.int64)
    right = np.ones(corners)
    for step in range(len(shares)):
        right[:-1] = place
        # Anew each step, so that no rounding adds up.
        inverse = np.linalg.inv(columns[:, basis]).astype(np.float64)
        weights, change = np.dot(inverse, right), np.zeros(corners)
        for i in range(corners):
            for k in range(corners - 1):
                change[i] += inverse[i, k] * directions[step, k]
        last = _chord_end(columns, basis, inverse.copy(), weights.copy(), -change, reached[0], bases[0])
        length = reached[0, last]
        last = _chord_end(columns, basis, inverse, weights, change, reached[1], bases[1])
        back = reached[1, last]
        if not length + back > _EPSILON:
            continue
        to = shares[step] * (length + back) - back
        way, passed = (0 if to >= 0.0 else 1), 0
        while reached[way, passed] < abs(to):
            passed += 1
        basis[:] = bases[way, passed]
        place += to * directions[step]


@compiled()
def _chord_end(
    columns: Float64,
    basis: Int64,
    inverse: Float64,
    weights: Float64,
    entering: Float64,
    reached: Float64,
    bases: Int64,
) -> int:
    """Follow a line to the hull's surface; returns the index of the last simplex passed.

    ``inverse`` float64 [r + 1, r + 1] of the basis's columns, ``weights`` of the place in them, and
    ``entering``: how fast the weights fall along the line; all three are used up. Simplex i, ``bases[i]``,
    holds the line up to distance ``reached[i]``, which grows with i.
    """
    corners, points = columns.shape
    bases[0] = basis
    row, reached[0] = _first_to_vanish(weights, entering, -1)
    if row < 0:
        reached[0] = 0.0
        return 0
    # The distance takes the row of the first point that leaves; from here on it grows as others enter.
    _pivot(inverse, weights, entering, row)
    last, members, cost = 0, basis.copy(), np.empty(points)
    while last < len(reached) - 1:
        cost[:] = 0.0
        for i in range(corners):
            price = inverse[row, i]
            for j in range(points):
                cost[j] += price * columns[i, j]
        enters = np.argmin(cost)
        if cost[enters] > -_EPSILON:
            break
        for i in range(corners):
            entering[i] = 0.0
            for k in range(corners):
                entering[i] += inverse[i, k] * columns[k, enters]
        leaves, _ = _first_to_vanish(weights, entering, row)
        if leaves < 0:
            break
        members[row] = enters  # in the distance's row: the points around this part of the line
        last += 1
        bases[last] = members
        _pivot(inverse, weights, entering, leaves)
        members[leaves] = enters
        reached[last] = max(weights[row], reached[last - 1])
    return last


@compiled()
def _first_to_vanish(weights: Float64, falling: Float64, free: int) -> tuple[int, float]:
    """Which weight reaches zero first, and after how far; row ``free`` may take any value. -1: none does."""
    first, shortest = -1, np.inf
    for i in range(len(weights)):
        if i != free and falling[i] > _EPSILON and weights[i] < shortest * falling[i]:
            first, shortest = i, max(weights[i] / falling[i], 0.0)
    return first, shortest


@compiled()
def _pivot(inverse: Float64, weights: Float64, entering: Float64, leaving: int) -> None:
    """Exchange one column of the basis: ``entering`` is the new column in terms of the old basis."""
    corners, scale = len(weights), 1.0 / entering[leaving]
    for k in range(corners):
        inverse[leaving, k] *= scale
    weights[leaving] *= scale
    for i in range(corners):
        if i != leaving:
            for k in range(corners):
                inverse[i, k] -= entering[i] * inverse[leaving, k]
            weights[i] -= entering[i] * weights[leaving]
