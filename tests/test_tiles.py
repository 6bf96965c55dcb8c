"""Matrix products in registers: the numbers of a plain loop with fused multiply-adds."""

import math

import numpy as np
import pytest
from numba import njit

from noble_net.surrogate import tiles
from noble_net.surrogate.tiles import HAS_BFLOAT16, LANES, ROWS, paired


@njit
def dense(weight, bias, x, out):
    tiles.dense(weight, bias, x, out)


@njit
def put(values, rows):
    tiles.put(values, rows)


def rounded(values):
    """The nearest bfloat16 of every number, ties to even."""
    bits = values.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def halves(rows, columns):
    """Weight, terms as pairs, and the float32 that both stand for."""
    generator = np.random.default_rng(columns)
    weight = generator.standard_normal((rows, columns)).astype(np.float32)
    x = generator.standard_normal((columns, LANES)).astype(np.float32)
    pairs = np.zeros((columns // 2, LANES), np.int32)
    put(x, pairs)
    return paired(weight), pairs, rounded(weight), rounded(x)


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (8, 1), (12, 20), (96, 48)])
def test_product_is_added_term_by_term(rows, columns):
    generator = np.random.default_rng(rows)
    weight, x, bias = (
        generator.standard_normal(shape).astype(np.float32)
        for shape in ((rows, columns), (columns, LANES), rows)
    )
    out = np.full((rows, LANES), np.nan, np.float32)
    dense(weight, bias, x, out)
    # A product of two float32 is exact in float64; adding rounds twice there, which differs from a fused step in
    # about one of 2^29 sums.
    expected = np.repeat(bias[:, None], LANES, axis=1)
    for k in range(columns):
        exact = weight[:, k, None].astype(np.float64) * x[k].astype(np.float64) + expected
        expected = exact.astype(np.float32)
    assert np.array_equal(out, expected)
    assert math.isclose(float(out[0, 0]), float(bias[0] + weight[0] @ x[:, 0]), rel_tol=1e-3, abs_tol=1e-4)


def test_rows_beside_the_answer_stay_untouched():
    out = np.zeros((2 * ROWS, LANES), np.float32)
    dense(
        np.ones((ROWS, 3), np.float32),
        np.zeros(ROWS, np.float32),
        np.ones((3, LANES), np.float32),
        out[:ROWS],
    )
    assert (out[:ROWS] == 3).all() and (out[ROWS:] == 0).all()


def test_slices_of_larger_arrays():
    joined = np.arange(8 * LANES, dtype=np.float32).reshape(8, LANES)
    out = np.zeros((ROWS, LANES), np.float32)
    weight = np.zeros((ROWS, 4), np.float32)
    weight[:, 0] = 1
    dense(weight, np.zeros(ROWS, np.float32), joined[4:], out)
    assert (out == joined[4]).all()


@pytest.mark.parametrize(("rows", "columns"), [(4, 2), (8, 20), (96, 48)])
def test_bfloat16_is_summed_in_float32_the_odd_row_of_a_pair_first(rows, columns):
    weight, x, whole_weight, whole_x = halves(rows, columns)
    out = np.zeros((rows, LANES), np.float32)
    dense(weight, np.zeros(rows, np.float32), x, out)
    expected = np.zeros_like(out)
    for k in range(columns):
        at = k ^ 1
        expected += whole_weight[:, at, None] * whole_x[at]  # such a product is exact in float32
    assert np.array_equal(out, expected)


@pytest.mark.skipif(not HAS_BFLOAT16, reason="this CPU does not multiply bfloat16")
def test_cpus_without_bfloat16_find_the_same_bits():
    @njit
    def both(weight, bias, x, one, other):
        for j in range(0, len(weight), ROWS):
            row, start, terms = weight[j:].ctypes.data, bias[j:].ctypes.data, x.ctypes.data
            tiles.tile_by_instruction(row, weight.shape[1], start, terms, one[j:].ctypes.data)
            tiles.tile_in_halves(row, weight.shape[1], start, terms, other[j:].ctypes.data)

    weight, x, _, _ = halves(96, 48)
    one, other = np.zeros((96, LANES), np.float32), np.zeros((96, LANES), np.float32)
    both(weight, np.ones(96, np.float32), x, one, other)
    assert np.array_equal(one, other)
    assert one.any()


def test_bfloat16_rounds_to_the_nearest_and_ties_to_even():
    values = np.zeros((2, LANES), np.float32)
    values[:, :4] = [[1.0, 1.0 + 2**-8, 1.0 + 3 * 2**-8, -(1.0 + 2**-7 + 2**-20)]] * 2
    pairs = np.zeros((1, LANES), np.int32)
    put(values, pairs)
    words = pairs.view(np.uint32)
    lower, upper = (words << 16).view(np.float32), (words & 0xFFFF0000).view(np.float32)
    for found in (lower, upper):
        assert found[0, :4].tolist() == [1.0, 1.0, 1.0 + 2**-6, -(1.0 + 2**-7)]
