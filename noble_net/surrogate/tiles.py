"""Matrix products of the cores, written down to the registers, since compiled loops reach half of a CPU's rate.

A tile of four rows by `TOGETHER` columns of the answer stays in registers while the sums run over their terms in order,
one fused multiply-add each, so every number is what a plain loop over the terms would give and does not depend on
the tile or the vectors' width. LLVM cuts the vectors of `WIDTH` to what the machine has.

The terms are float32, or pairs: one 32-bit word holds an even row's number in its lower and the odd row's in its upper
half.

- Pairs of bfloat16 (float32 cut to 8 bits of precision; words of int32), summed in float32. CPUs with AVX512-BF16 take
  two pairs of them at the price of one float32; on others the same sums are made in float32, in the same order.
- Pairs of int16 (words of uint32) in fixed point: terms within ±`LARGEST` in steps of 1/`STEPS`, weights in steps of
  their row's own, so that no sum of int32 can overflow. CPUs with AVX2 take two at the price of one float32, and any
  order gives the same sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import njit, types
from numba.extending import intrinsic, overload

from noble_net.types import Float32, Int32, UInt32

LANES = 64
"""Columns of every product: cells side by side."""
ROWS = 4
"""Rows of a tile; matrices are padded to multiples of it."""
WIDTH = 16
"""Numbers of a vector."""
TOGETHER = LANES if get_host_cpu_features().get("avx512f", False) else 16
"""Columns whose sums run side by side, as many as registers hold: AVX-512 has 32 of 16 numbers, others half of that."""

LARGEST, STEPS = 16.0, 2048.0
"""Of terms in fixed point: an encoded input stays below 11 in all that cores were trained on, a state below 1."""

_VECTORS = TOGETHER // WIDTH
_INT32, _INT64, _FLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType()
_VECTOR, _WORDS = ir.VectorType(_FLOAT, WIDTH), ir.VectorType(_INT32, WIDTH)

MultiplyAdd = Callable[[Any, Any, Any, Any], Any]
"""(LLVM builder, factor, term, sum) → the sum with the product added, vectors."""
Words = Int32 | UInt32
"""Pairs of bfloat16 or of int16."""


def _at(builder: Any, base: Any, offset: Any, vector: ir.Type) -> Any:
    """Pointer to a vector that begins ``offset`` elements behind ``base``."""
    return builder.bitcast(builder.gep(base, [offset]), vector.as_pointer())


def _unaligned(builder: Any, pointer: Any) -> Any:
    """What a pointer to a vector points to, which may lie at any multiple of 4 bytes."""
    loaded = builder.load(pointer)
    loaded.align = 4
    return loaded


def _splat(builder: Any, value: Any, vector: ir.VectorType) -> Any:
    """A vector of one number."""
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(_INT32, 0))
    every = ir.Constant(ir.VectorType(_INT32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), every)


def _function(builder: Any, name: str, kind: ir.FunctionType) -> Any:
    """An LLVM intrinsic by its name."""
    return builder.module.globals.get(name) or ir.Function(builder.module, kind, name)


def _in_float32(builder: Any, factor: Any, term: Any, total: Any) -> Any:
    """One fused multiply-add."""
    fused = _function(builder, f"llvm.fma.v{WIDTH}f32", ir.FunctionType(_VECTOR, [_VECTOR] * 3))
    return builder.call(fused, [factor, term, total])


def _by_instruction(builder: Any, factor: Any, term: Any, total: Any) -> Any:
    """Pairs of bfloat16 by the CPU's own dot product."""
    pairs = ir.VectorType(_Bfloat16(), 2 * WIDTH)
    kind = ir.FunctionType(_VECTOR, [_VECTOR, pairs, pairs])
    dot = _function(builder, "llvm.x86.avx512bf16.dpbf16ps.512", kind)
    return builder.call(dot, [total, builder.bitcast(factor, pairs), builder.bitcast(term, pairs)])


def _in_halves(builder: Any, factor: Any, term: Any, total: Any) -> Any:
    """Pairs of bfloat16 in float32, in the order in which the instruction adds them up."""

    def upper(words: Any) -> Any:
        mask = ir.Constant(_WORDS, [0xFFFF0000 - (1 << 32)] * WIDTH)
        return builder.bitcast(builder.and_(words, mask), _VECTOR)

    def lower(words: Any) -> Any:
        return builder.bitcast(builder.shl(words, ir.Constant(_WORDS, [16] * WIDTH)), _VECTOR)

    total = _in_float32(builder, upper(factor), upper(term), total)
    return _in_float32(builder, lower(factor), lower(term), total)


def _in_integers(builder: Any, factor: Any, term: Any, total: Any) -> Any:
    """Pairs of int16, multiplied and added up as int32."""

    def upper(words: Any) -> Any:
        return builder.ashr(words, ir.Constant(_WORDS, [16] * WIDTH))

    def lower(words: Any) -> Any:
        return upper(builder.shl(words, ir.Constant(_WORDS, [16] * WIDTH)))

    total = builder.add(total, builder.mul(upper(factor), upper(term)))
    return builder.add(total, builder.mul(lower(factor), lower(term)))


def _by_avx2(builder: Any, factor: Any, term: Any, total: Any) -> Any:
    """Pairs of int16 by the CPU's own instruction, eight words at a time."""
    half = WIDTH // 2
    eight, pairs = ir.VectorType(_INT32, half), ir.VectorType(ir.IntType(16), WIDTH)
    product = _function(builder, "llvm.x86.avx2.pmadd.wd", ir.FunctionType(eight, [pairs, pairs]))

    def part(words: Any, first: int) -> Any:
        places = ir.Constant(eight, list(range(first, first + half)))
        return builder.bitcast(
            builder.shuffle_vector(words, ir.Constant(_WORDS, ir.Undefined), places), pairs
        )

    halves = [builder.call(product, [part(factor, at), part(term, at)]) for at in (0, half)]
    every = ir.Constant(_WORDS, list(range(WIDTH)))
    return builder.add(total, builder.shuffle_vector(*halves, every))


class _Bfloat16(ir.Type):  # type: ignore[misc]
    """A type of LLVM that llvmlite does not name."""

    intrinsic_name = "bf16"

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bfloat16)

    def __hash__(self) -> int:
        return hash(_Bfloat16)


def _tile(term: ir.Type, multiply_add: MultiplyAdd, integers: bool = False) -> Any:
    """out[r, lane] = bias[r] + Σ_k weight[r, k]·x[k, lane] for `ROWS` rows, as a function for compiled code that takes
    (address of weight, columns, addresses of bias, step, x and out); weight and x are contiguous arrays of ``term``.
    With ``integers`` the sum is one of int32, in units of step[r]; else step is not read."""
    vector = ir.VectorType(term, WIDTH)
    summed = _WORDS if integers else _VECTOR

    def tile(typing_context, weight, columns, bias, step, x, out):  # type: ignore[no-untyped-def]
        return types.void(types.intp, types.int64, *[types.intp] * 4), generate

    def columns_from(
        builder: Any, lane: int, weights: Any, columns: Any, begins: list[Any], inputs: Any
    ) -> dict[tuple[int, int], Any]:
        """The sums of `TOGETHER` columns from ``lane`` on, by row and vector: a loop over the terms."""
        entry, loop, done = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(_INT64)
        k.add_incoming(ir.Constant(_INT64, 0), entry)
        running = {(row, part): builder.phi(summed) for row in range(ROWS) for part in range(_VECTORS)}
        for (row, _), total in running.items():
            total.add_incoming(begins[row], entry)
        first = builder.add(builder.mul(k, ir.Constant(_INT64, LANES)), ir.Constant(_INT64, lane))
        terms = [
            _unaligned(
                builder, _at(builder, inputs, builder.add(first, ir.Constant(_INT64, v * WIDTH)), vector)
            )
            for v in range(_VECTORS)
        ]
        after = {}
        for row in range(ROWS):
            offset = builder.add(k, builder.mul(columns, ir.Constant(_INT64, row)))
            factor = _splat(builder, builder.load(builder.gep(weights, [offset])), vector)
            for v in range(_VECTORS):
                after[row, v] = multiply_add(builder, factor, terms[v], running[row, v])
        following = builder.add(k, ir.Constant(_INT64, 1))
        k.add_incoming(following, loop)
        for place, total in running.items():
            total.add_incoming(after[place], loop)
        builder.cbranch(builder.icmp_signed("<", following, columns), loop, done)
        builder.position_at_end(done)
        return after

    def generate(context, builder, _, arguments):  # type: ignore[no-untyped-def]
        weight, columns, bias, step, x, out = arguments
        weights, inputs = (builder.inttoptr(each, term.as_pointer()) for each in (weight, x))
        sums = builder.inttoptr(out, _FLOAT.as_pointer())

        def of_rows(address: Any) -> list[Any]:
            first = builder.inttoptr(address, _FLOAT.as_pointer())
            each = (builder.load(builder.gep(first, [ir.Constant(_INT64, row)])) for row in range(ROWS))
            return [_splat(builder, value, _VECTOR) for value in each]

        biases = of_rows(bias)
        steps = of_rows(step) if integers else biases
        begins = [ir.Constant(_WORDS, [0] * WIDTH)] * ROWS if integers else biases
        for lane in range(0, LANES, TOGETHER):
            for (row, part), total in columns_from(builder, lane, weights, columns, begins, inputs).items():
                if integers:
                    total = _in_float32(builder, builder.sitofp(total, _VECTOR), steps[row], biases[row])
                place = ir.Constant(_INT64, row * LANES + lane + part * WIDTH)
                builder.store(total, _at(builder, sums, place, _VECTOR)).align = 4
        return context.get_dummy_value()

    return intrinsic(tile)


HAS_BFLOAT16 = bool(get_host_cpu_features().get("avx512bf16", False))
"""Whether this CPU multiplies bfloat16."""
_tile_of_floats = _tile(_FLOAT, _in_float32)
tile_by_instruction, tile_in_halves = _tile(_INT32, _by_instruction), _tile(_INT32, _in_halves)
_tile_of_pairs = tile_by_instruction if HAS_BFLOAT16 else tile_in_halves
HAS_INT16 = bool(get_host_cpu_features().get("avx2", False))
"""Whether this CPU multiplies and adds up pairs of int16."""
tile_of_integers = _tile(_INT32, _in_integers, integers=True)
tile_by_avx2 = _tile(_INT32, _by_avx2, integers=True)
_tile_in_fixed_point = tile_by_avx2 if HAS_INT16 else tile_of_integers


def dense(weight: Float32 | Words, bias: Float32, x: Float32 | Words, out: Float32) -> None:
    """out[j, lane] = bias[j] + Σ_k weight[j, k]·x[k, lane], in compiled code; C-contiguous, rows a multiple of `ROWS`,
    `LANES` lanes. Words hold pairs (`paired`, `fixed`, `put`); of int16, bias is [2, rows], the rows' steps last."""
    raise NotImplementedError("for compiled code")


@overload(dense, strict=False)
def _dense(weight: Any, bias: Any, x: Any, out: Any) -> Any:
    if weight.dtype == types.uint32:

        def in_fixed_point(weight, bias, x, out):  # type: ignore[no-untyped-def]
            columns = weight.shape[1]
            for j in range(0, weight.shape[0], ROWS):
                rows, steps = bias[0, j:].ctypes.data, bias[1, j:].ctypes.data
                _tile_in_fixed_point(
                    weight[j:].ctypes.data, columns, rows, steps, x.ctypes.data, out[j:].ctypes.data
                )

        return in_fixed_point

    tile = _tile_of_pairs if weight.dtype == types.int32 else _tile_of_floats

    def product(weight, bias, x, out):  # type: ignore[no-untyped-def]
        columns = weight.shape[1]
        for j in range(0, weight.shape[0], ROWS):
            rows = bias[j:].ctypes.data
            tile(weight[j:].ctypes.data, columns, rows, rows, x.ctypes.data, out[j:].ctypes.data)

    return product


def floats(rows: Float32 | Words, count: int) -> Float32:
    """``count`` rows of float32 [count, LANES], in compiled code, for numbers on their way into ``rows``: these rows
    themselves where they are float32, else zeros. `keep` brings them there."""
    raise NotImplementedError("for compiled code")


@overload(floats, strict=False)
def _floats(rows: Any, count: Any) -> Any:
    if rows.dtype == types.float32:
        return lambda rows, count: rows
    return lambda rows, count: np.zeros((count, LANES), np.float32)


def keep(values: Float32, rows: Float32 | Words) -> None:
    """Bring what was written to ``values = floats(rows, …)`` into ``rows``, in compiled code."""
    raise NotImplementedError("for compiled code")


@overload(keep, strict=False)
def _keep(values: Any, rows: Any) -> Any:
    if rows.dtype == types.float32:
        return lambda values, rows: None
    return lambda values, rows: put(values, rows)


def put(values: Float32, rows: Float32 | Words) -> None:
    """rows = values [k, LANES], in compiled code; as pairs where ``rows`` is int32 (bfloat16) or uint32 (int16, the
    nearest within ±`LARGEST`) [k/2, LANES]."""
    raise NotImplementedError("for compiled code")


@overload(put, strict=False)
def _put(values: Any, rows: Any) -> Any:
    if rows.dtype == types.float32:

        def copy(values, rows):  # type: ignore[no-untyped-def]
            for k in range(len(rows)):
                for i in range(LANES):
                    rows[k, i] = values[k, i]

        return copy

    if rows.dtype == types.uint32:

        def whole(values, rows):  # type: ignore[no-untyped-def]
            for k in range(len(rows)):
                for i in range(LANES):
                    even, odd = _in_steps(values[2 * k, i]), _in_steps(values[2 * k + 1, i])
                    rows[k, i] = np.uint32(even & np.int32(0xFFFF)) | (np.uint32(odd) << np.uint32(16))

        return whole

    def pair(values, rows):  # type: ignore[no-untyped-def]
        bits = values.view(np.uint32)
        for k in range(len(rows)):
            for i in range(LANES):
                even, odd = _rounded(bits[2 * k, i]), _rounded(bits[2 * k + 1, i])
                rows[k, i] = np.int32((even >> np.uint32(16)) | (odd & np.uint32(0xFFFF0000)))

    return pair


@njit(inline="always")
def _rounded(bits):  # type: ignore[no-untyped-def]
    """A float32's bits, the nearest bfloat16 in the upper half (ties to even)."""
    return bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))


_STEPS, _MOST = np.float32(STEPS), np.float32(LARGEST * STEPS - 1.0)


@njit(inline="always")
def _in_steps(value):  # type: ignore[no-untyped-def]
    """A float32 in fixed point, the nearest (ties to even) within what an int16 holds."""
    return np.int32(np.rint(min(max(value * _STEPS, -_MOST), _MOST)))


def fixed(weight: Float32, largest: Float32) -> tuple[UInt32, Float32]:
    """A matrix with an even number of columns in fixed point: pairs of int16, uint32 [rows, columns/2], and what a unit
    of each row's sum stands for, float32 [rows]. ``largest`` [columns]: what its terms stay within."""
    reach = np.minimum(np.asarray(largest, np.float64) * STEPS, LARGEST * STEPS - 1.0)
    most = np.abs(weight.astype(np.float64))
    # Every weight may be half a step larger than it is.
    whole = (2.0**31 - 1.0 - 0.5 * reach.sum()) / np.maximum(most @ reach, 1e-30)
    steps = np.minimum(whole, 32766.0 / np.maximum(most.max(axis=1), 1e-30))
    numbers = np.rint(weight * steps[:, None]).astype(np.int16)
    return np.ascontiguousarray(numbers).view(np.uint32), (1.0 / (steps * STEPS)).astype(np.float32)


def paired(weight: Float32) -> Int32:
    """A matrix with an even number of columns as pairs of bfloat16, int32 [rows, columns/2]."""
    bits = np.ascontiguousarray(weight, np.float32).view(np.uint32)
    bits = bits + 0x7FFF + ((bits >> 16) & 1)
    return ((bits[:, 0::2] >> 16) | (bits[:, 1::2] & np.uint32(0xFFFF0000))).astype(np.uint32).view(np.int32)
