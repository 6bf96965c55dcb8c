"""Matrix products in registers: the numbers of a plain loop with fused multiply-adds."""

import math

import numpy as np
import pytest
from numba import njit

from noble_net.surrogate import tiles
from noble_net.surrogate.tiles import HAS_BFLOAT16, HAS_INT16, LANES, LARGEST, ROWS, STEPS, fixed, paired


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
            tiles.tile_by_instruction(row, weight.shape[1], start, start, terms, one[j:].ctypes.data)
            tiles.tile_in_halves(row, weight.shape[1], start, start, terms, other[j:].ctypes.data)

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


def in_fixed_point(rows, columns, largest=LARGEST):
    """Weight, steps and terms in fixed point, and the integers that they stand for."""
    generator = np.random.default_rng(rows + columns)
    weight = generator.standard_normal((rows, columns)).astype(np.float32)
    x = generator.uniform(-largest, largest, (columns, LANES)).astype(np.float32)
    pairs = np.zeros((columns // 2, LANES), np.uint32)
    put(x, pairs)
    words, steps = fixed(weight, np.full(columns, largest, np.float32))
    return weight, x, words, steps, pairs


@pytest.mark.parametrize(("rows", "columns"), [(4, 2), (8, 20), (96, 48)])
@pytest.mark.parametrize("largest", [1.0, LARGEST])
def test_fixed_point_adds_up_whole_numbers(rows, columns, largest):
    weight, x, words, steps, pairs = in_fixed_point(rows, columns, largest)
    bias = np.random.default_rng(1).standard_normal(rows).astype(np.float32)
    out = np.zeros((rows, LANES), np.float32)
    dense(words, np.stack([bias, steps]), pairs, out)
    terms = np.rint(x.astype(np.float64) * STEPS).clip(1 - LARGEST * STEPS, LARGEST * STEPS - 1)
    sums = words.view(np.int16).astype(np.float64) @ terms
    assert np.abs(sums).max() < 2**31
    expected = sums.astype(np.float32) * steps[:, None].astype(np.float64) + bias[:, None]
    np.testing.assert_allclose(out, expected, rtol=3e-7, atol=1e-6)
    # a term is off by half a step, the largest by one, a weight by half of its own
    near = np.abs(weight).sum(axis=1) / STEPS + largest * columns * 0.5 * steps * STEPS + 1e-5
    assert (np.abs(out - bias[:, None] - weight @ x).max(axis=1) < near).all()


@pytest.mark.skipif(not HAS_INT16, reason="this CPU does not multiply pairs of int16")
def test_cpus_without_avx2_find_the_same_sums():
    @njit
    def both(weight, bias, x, one, other):
        for j in range(0, len(weight), ROWS):
            row, start, step = weight[j:].ctypes.data, bias[0, j:].ctypes.data, bias[1, j:].ctypes.data
            tiles.tile_by_avx2(row, weight.shape[1], start, step, x.ctypes.data, one[j:].ctypes.data)
            tiles.tile_of_integers(row, weight.shape[1], start, step, x.ctypes.data, other[j:].ctypes.data)

    _, _, words, steps, pairs = in_fixed_point(96, 48)
    one, other = np.zeros((96, LANES), np.float32), np.zeros((96, LANES), np.float32)
    both(words, np.stack([np.ones(96, np.float32), steps]), pairs, one, other)
    assert np.array_equal(one, other) and one.any()


def test_no_sum_in_fixed_point_overflows():
    weight = np.full((ROWS, 200), 3.0, np.float32)  # all of one sign, at the largest terms
    words, steps = fixed(weight, np.full(200, LARGEST, np.float32))
    x, out = np.full((200, LANES), LARGEST, np.float32), np.zeros((ROWS, LANES), np.float32)
    pairs = np.zeros((100, LANES), np.uint32)
    put(x, pairs)
    dense(words, np.stack([np.zeros(ROWS, np.float32), steps]), pairs, out)
    np.testing.assert_allclose(out, 200 * 3.0 * LARGEST, rtol=1e-3)


def test_terms_beyond_the_largest_are_the_largest():
    values, pairs = np.zeros((2, LANES), np.float32), np.zeros((1, LANES), np.uint32)
    values[0, :3], values[1, :3] = [100.0, -1.0 / STEPS, 0.4 / STEPS], [-100.0, 1.0, -0.6 / STEPS]
    put(values, pairs)
    words = pairs.view(np.int16).reshape(LANES, 2)
    assert words[:3].tolist() == [[32767, -32767], [-1, 2048], [0, -1]]
