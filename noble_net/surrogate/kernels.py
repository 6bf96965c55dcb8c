"""The streaming core's arithmetic on CPU, compiled by numba.

Cells lie along the SIMD lanes in micro-batches of `LANES`, every sum runs over its inputs in one fixed order and
no reassociation is allowed, so a cell's result does not depend on which cells share its batch, on the number of
threads, or on how time is cut into blocks. Short micro-batches are padded, never run through a scalar remainder.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from noble_net.compiled import compiled
from noble_net.surrogate.activations import MATH, gate, silu
from noble_net.surrogate.kernels_inputs import (
    answer,
    by_samples,
    let_in,
    mean_of,
    opened,
    scale_dendrites,
    scale_slow,
    scale_soma,
    to_cells,
)
from noble_net.surrogate.tiles import LANES, Words, dense, floats, keep, put
from noble_net.types import Float32, Real, UInt32

_KILO, _ZERO = np.float32(1e3), np.float32(0.0)


class Layer(NamedTuple):
    """A matrix, float32 or pairs, and its bias (see `noble_net.surrogate.tiles.dense`); rows a multiple of 4."""

    weight: Float32 | Words
    bias: Float32


class Layers(NamedTuple):
    """The streaming core. What the later layers read lies together: the code's embedding, the encoded input, the
    state."""

    encode: Layer
    """Reads the step's input, then the code."""
    encode_again: Layer
    """The second layer of the encoder; no rows where there is one."""
    gates: Layer
    """Reset and update gates of the recurrent unit; reads encoded input and state."""
    new: Layer
    """What the encoded input adds to the new state."""
    new_from_state: Layer
    decode: Layer
    """Reads everything, the state being the new one."""
    increments: Layer
    """Reads the units of the decoder; where inputs have a way of their own to the answer, the step's input first."""

    @property
    def arrays(self) -> tuple[Float32 | Words, ...]:
        """Weight and bias of every layer: compiled code does not share nested tuples among threads."""
        return tuple(array for layer in self for array in layer)


@njit(inline="always")
def _apply(layer, x, out):  # type: ignore[no-untyped-def]
    dense(layer.weight, layer.bias, x, out)


@compiled(fastmath=MATH, error_model="numpy")
def _load(
    drive: tuple[Any, ...],
    cells: slice,
    step: slice,
    half: Float32,
    nmda: bool,
    history: Float32,
    coupling: Float32,
    limits: Float32,
    soma: Float32,
    share: Float32,
    x: Float32,
    outside: UInt32,
) -> None:
    """Fill the rows of x [inputs, LANES] with a step's input of a micro-batch. ``drive`` as in `advance`; ``soma``
    [5, n, LANES] and ``share`` [LANES] are scratch."""
    n = len(history)
    blocked = len(half) > 0
    for row in range(5 if blocked else 3):
        by_samples(drive[row][0, cells, step], soma[row])
    if blocked:
        opened(history[n - 1], half[cells], share)
        for k in range(n):
            for i in range(LANES):
                soma[1, k, i] += share[i] * soma[3, k, i]
                soma[2, k, i] += share[i] * soma[4, k, i]
    scale_soma(soma[:3], history, limits[1], x, outside)
    zones = drive[0].shape[0] - 1
    if zones == 0:
        return
    rows = (4 if nmda else 3) * zones
    dendrites = x[3 * n : 3 * n + rows]
    for zone in range(zones):
        mean_of(drive[0][zone + 1, cells, step], share)
        mean_of(drive[2][zone + 1, cells, step], dendrites[zone])
        for i in range(LANES):
            dendrites[zone, i] += _KILO * share[i]
        mean_of(drive[1][zone + 1, cells, step], dendrites[2 * zones + zone])
        if nmda and blocked:
            mean_of(drive[3][zone + 1, cells, step], dendrites[3 * zones + zone])
        elif nmda:
            dendrites[3 * zones + zone] = _ZERO
    scale_dendrites(
        dendrites, x[3 * n + rows] if nmda else share, coupling, share, history, limits[2:], outside
    )


@compiled(fastmath=MATH, error_model="numpy")
def _micro_batch(
    batch: int,
    drive: tuple[Real, ...],
    half: Float32,
    block: Float32,
    code: Float32,
    hidden: Float32,
    history: Float32,
    slow: Float32,
    weights: tuple[Any, ...],
    coupling: Float32,
    limits: Float32,
    numbers: Float32,
    voltage: Float32,
    outside: UInt32,
) -> None:
    """Advance `LANES` cells, or what is left of them; arguments as in `advance`."""
    net = Layers(
        Layer(weights[0], weights[1]),
        Layer(weights[2], weights[3]),
        Layer(weights[4], weights[5]),
        Layer(weights[6], weights[7]),
        Layer(weights[8], weights[9]),
        Layer(weights[10], weights[11]),
        Layer(weights[12], weights[13]),
    )
    width, n, codes = hidden.shape[1], history.shape[1], code.shape[1]
    first = batch * LANES
    here = min(LANES, len(hidden) - first)
    cells = slice(first, first + here)
    # As many rows of a layer's terms as the products read: all, or half where two numbers share a word.
    depth = net.new.weight.shape[1]
    late = net.decode.weight.shape[1] - 2 * depth
    terms = np.zeros((late + 2 * depth, LANES), net.gates.weight.dtype)
    told, own = terms[late : late + depth], terms[late + depth :]
    arriving = net.encode.weight.shape[1]
    read = np.zeros((arriving + len(net.decode.weight), LANES), np.float32)
    x, decoded = read[:arriving], read[arriving:]
    said = read[len(read) - net.increments.weight.shape[1] :]
    soma, share = np.zeros((5, n, LANES), np.float32), np.zeros(LANES, np.float32)
    past = np.zeros((n, LANES), np.float32)
    pool = np.zeros((slow.shape[1], LANES), np.float32)
    behind = len(x) - codes
    layer, state = floats(told, width), floats(own, width)
    gates = np.empty((2 * width, LANES), np.float32)
    new, carried = np.empty((width, LANES), np.float32), np.empty((width, LANES), np.float32)
    increment = np.empty((len(net.increments.weight), LANES), np.float32)
    strayed = np.zeros(LANES, np.uint32)
    by_samples(hidden[cells], state)
    by_samples(history[cells], past)
    by_samples(slow[cells], pool)
    by_samples(code[cells], x[behind:])
    if late:
        put(x[behind:], terms[:late])
    keep(state, own)
    if len(block):
        for i in range(here):
            x[behind - len(pool) - 1, i] = block[first + i]
    for at in range(0, voltage.shape[1], n):
        step = slice(at, at + n)
        _load(drive, cells, step, half, len(block) > 0, past, coupling, limits, soma, share, x, strayed)
        if len(pool):
            scale_slow(pool, x[behind - len(pool) :])
        _apply(net.encode, x, layer)
        silu(layer)
        keep(layer, told)
        if len(net.encode_again.weight):
            _apply(net.encode_again, told, new)
            silu(new)
            put(new, told)
        _apply(net.gates, terms[late:], gates)
        _apply(net.new, told, new)
        _apply(net.new_from_state, own, carried)
        gate(gates, new, carried, state)
        keep(state, own)
        _apply(net.decode, terms, decoded)
        silu(decoded)
        _apply(net.increments, said, increment)
        if len(pool):
            let_in(increment[n:], numbers, pool)
        answer(increment, past, limits[0], strayed)
        to_cells(past, voltage[cells, step])
    to_cells(state, hidden[cells])
    to_cells(past, history[cells])
    to_cells(pool, slow[cells])
    for i in range(here):
        outside[first + i] += strayed[i]


@compiled(parallel=True, error_model="numpy")
def advance(
    drive: tuple[Real, ...],
    half: Float32,
    block: Float32,
    code: Float32,
    hidden: Float32,
    history: Float32,
    slow: Float32,
    weights: tuple[Float32 | Words, ...],
    coupling: Float32,
    limits: Float32,
    numbers: Float32,
    voltage: Float32,
    outside: UInt32,
) -> None:
    """Advance all cells by a block.

    ``drive``: current (nA), conductance (nS) and Σ g·E (pA), and NMDA's conductance and Σ g·E before the magnesium
    block, [zones, cells, samples] each, the soma first. With NMDA input ``half`` [cells] holds its voltages of half
    block (mV); without, it is empty and the last two arrays are not read. ``block`` [cells]: of a core that knows NMDA
    input on dendrites the scaled half of its magnesium block, else empty.

    ``code`` [cells, K] is what the layers are told of the cell's code; ``hidden`` [cells, H], ``history`` [cells, n]
    (mV) and ``slow`` [cells, variables] are updated in place; ``weights`` are `Layers.arrays`, ``coupling``
    [dendritic zones] in nS, ``limits`` `Envelope.limits`, ``numbers`` `slow_numbers`;
    ``voltage`` [cells, samples] and ``outside`` [cells] (added to) are the answer.
    """
    for batch in prange((len(hidden) + LANES - 1) // LANES):
        _micro_batch(
            batch,
            drive,
            half,
            block,
            code,
            hidden,
            history,
            slow,
            weights,
            coupling,
            limits,
            numbers,
            voltage,
            outside,
        )
