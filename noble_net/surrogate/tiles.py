"""Matrix products of the cores, written down to the registers, since compiled loops reach half of a CPU's rate.

A tile of four rows by `LANES` columns of the answer stays in registers while the sums run over their terms in order,
one fused multiply-add each, so every number is what a plain loop over the terms would give and does not depend on
the vectors' width. LLVM cuts the vectors of `WIDTH` to what the machine has.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from noble_net.types import Float32

LANES = 64
"""Columns of every product: cells side by side."""
ROWS = 4
"""Rows of a tile; matrices are padded to multiples of it."""
WIDTH = 16
"""Numbers of a vector."""

_VECTORS = LANES // WIDTH
_INT32, _INT64, _FLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, WIDTH)


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


def _tile_in_llvm(typing_context, weight, columns, x, out):  # type: ignore[no-untyped-def]
    """out[r, lane] += Σ_k weight[r, k]·x[k, lane] for `ROWS` rows; addresses of contiguous float32 arrays."""
    signature = types.void(types.intp, types.int64, types.intp, types.intp)

    def generate(context, builder, _, arguments):  # type: ignore[no-untyped-def]
        weight, columns, x, out = arguments
        weights, inputs, sums = (builder.inttoptr(each, _FLOAT.as_pointer()) for each in (weight, x, out))
        multiply_add = _function(builder, f"llvm.fma.v{WIDTH}f32", ir.FunctionType(_VECTOR, [_VECTOR] * 3))

        def at(row: int, vector: int) -> Any:
            return _at(builder, sums, ir.Constant(_INT64, row * LANES + vector * WIDTH), _VECTOR)

        places = [(row, vector) for row in range(ROWS) for vector in range(_VECTORS)]
        before = {place: _unaligned(builder, at(*place)) for place in places}
        entry, loop, done = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(_INT64)
        k.add_incoming(ir.Constant(_INT64, 0), entry)
        running = {place: builder.phi(_VECTOR) for place in places}
        for place in places:
            running[place].add_incoming(before[place], entry)
        row_of_x = builder.mul(k, ir.Constant(_INT64, LANES))
        terms = [
            _unaligned(
                builder,
                _at(builder, inputs, builder.add(row_of_x, ir.Constant(_INT64, v * WIDTH)), _VECTOR),
            )
            for v in range(_VECTORS)
        ]
        after = {}
        for row in range(ROWS):
            offset = builder.add(k, builder.mul(columns, ir.Constant(_INT64, row)))
            factor = _splat(builder, builder.load(builder.gep(weights, [offset])), _VECTOR)
            for v in range(_VECTORS):
                after[row, v] = builder.call(multiply_add, [factor, terms[v], running[row, v]])
        following = builder.add(k, ir.Constant(_INT64, 1))
        k.add_incoming(following, loop)
        for place in places:
            running[place].add_incoming(after[place], loop)
        builder.cbranch(builder.icmp_signed("<", following, columns), loop, done)
        builder.position_at_end(done)
        for place in places:
            builder.store(after[place], at(*place)).align = 4
        return context.get_dummy_value()

    return signature, generate


_tile: Any = intrinsic(_tile_in_llvm)


@njit(cache=True, error_model="numpy")
def dense(weight: Float32, x: Float32, out: Float32) -> None:
    """out[j, lane] += Σ_k weight[j, k]·x[k, lane]; C-contiguous, rows of weight a multiple of `ROWS`, `LANES` lanes."""
    columns = weight.shape[1]
    for j in range(0, weight.shape[0], ROWS):
        _tile(weight[j:].ctypes.data, columns, x.ctypes.data, out[j:].ctypes.data)
