"""Matrix products in registers: the numbers of a plain loop with fused multiply-adds."""

import math

import numpy as np
import pytest

from noble_net.surrogate.tiles import LANES, ROWS, dense


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (8, 1), (12, 20), (96, 48)])
def test_product_is_added_term_by_term(rows, columns):
    generator = np.random.default_rng(rows)
    weight, x, start = (
        generator.standard_normal(shape).astype(np.float32)
        for shape in ((rows, columns), (columns, LANES), (rows, LANES))
    )
    out = start.copy()
    dense(weight, x, out)
    # A product of two float32 is exact in float64; adding rounds twice there, which differs from a fused step in
    # about one of 2^29 sums.
    expected = start.copy()
    for k in range(columns):
        exact = weight[:, k, None].astype(np.float64) * x[k].astype(np.float64) + expected
        expected = exact.astype(np.float32)
    assert np.array_equal(out, expected)
    assert math.isclose(
        float(out[0, 0]), float(start[0, 0] + weight[0] @ x[:, 0]), rel_tol=1e-3, abs_tol=1e-4
    )


def test_rows_beside_the_answer_stay_untouched():
    out = np.zeros((2 * ROWS, LANES), np.float32)
    dense(np.ones((ROWS, 3), np.float32), np.ones((3, LANES), np.float32), out[:ROWS])
    assert (out[:ROWS] == 3).all() and (out[ROWS:] == 0).all()


def test_slices_of_larger_arrays():
    joined = np.arange(8 * LANES, dtype=np.float32).reshape(8, LANES)
    out = np.zeros((ROWS, LANES), np.float32)
    weight = np.zeros((ROWS, 4), np.float32)
    weight[:, 0] = 1
    dense(weight, joined[4:], out)
    assert (out == joined[4]).all()
