"""The streaming core's block as one Triton kernel: every tile of cells keeps its state on the chip for all of a block.

The arithmetic is that of `noble_net.device.streaming`. A float32 product is three of float16 (each number its rounding
and what that leaves, the two small parts' own product left out), which tensor cores add up in float32: some 22 bits of
every product are kept, where bfloat16's 16 moved one spike in 70 by more than a sample. A cell's sums always run over
the same tile shape, so that its answer depends neither on how time is cut into blocks nor on which cells are advanced
with it. Weights lie in shared memory; each program works through many tiles, so that they are read once.

Shape legend: B cells of a tile, n samples a step, A slow variables, H hidden units, D units of the decoder, C numbers
of the code; P behind one is its number padded to a power of two.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra import libdevice

from noble_net.device.cores import DeviceDrive, State
from noble_net.surrogate import scaling as s
from noble_net.surrogate.streaming_shape import Shape

ROWS = 128
"""Cells of a tile."""
WARPS = 8
UNITS = 64
"""Padded hidden units."""
INPUTS = 16
"""Padded numbers of a step's input: current, conductance and voltage of each sample, and a one."""
SHARED = 212_992
"""Bytes of shared memory that a tile and the weights take, at most."""
ONE = 1.2784645427610738
"""Whose SiLU is one."""
KEPT = 30.0
"""Whose logistic function is one in float32."""


class Packed(NamedTuple):
    """The weights of a core as the kernel reads them: matrices [in, out] one after the other, padded."""

    large: Tensor
    """Their rounding to float16; where tensor cores are not used, float32 as they are."""
    small: Tensor
    """What that leaves, float16; unused where there is nothing left."""
    numbers: Tensor
    """Of slow variables (`noble_net.surrogate.streaming_shape.Slow.numbers`), float32 [3, NP], in the first columns."""
    decoder: int
    """DP."""
    direct: bool
    """Whether the last matrix, of a step's input for its answer, has anything in it."""


def holds(shape: Shape, weights: dict[str, Tensor], zones: int, device: torch.device) -> bool:
    """Whether the kernel is written for such a core, with input to the soma alone and one layer of encoder, and the
    device has the shared memory for it (an H100 or H200 has)."""
    code, slow = shape.code_units or shape.code, len(shape.slow)
    of_samples = shape.inputs - slow  # three a sample, the last of them its voltage
    if (
        zones > 1
        or "encode_out.weight" in weights
        or shape.hidden + 1 + code + slow > UNITS
        or of_samples >= INPUTS
        or slow > 2 * of_samples // 3
    ):
        return False
    if device.type != "cuda":
        return True
    room: int = torch.cuda.get_device_properties(device).shared_memory_per_block_optin  # type: ignore[attr-defined]
    return room >= SHARED


def packed(weights: dict[str, Tensor], samples: int, slow: Tensor, split: bool) -> Packed:
    """Put together a core's weights and the numbers of its slow variables [A, 3]; ``split``: for tensor cores.

    Biases are rows of the matrices, which meet a one: the last number of a step's input, the first padded unit of the
    encoded input and of the state, and that of the decoder. Behind its one the state carries the code and what the
    encoder gets of slow variables; an update gate that is 1 there keeps them. What flows into those is answered in the
    columns before the voltages'.
    """
    known = slice(3 * samples, 3 * samples + len(slow))
    h = weights["gru.weight_hh_l0"].shape[1]
    d = len(weights["decode_in.bias"])
    dp = max(16, triton.next_power_of_2(d + 1))
    encode, decode = weights["encode_in.weight"].T, weights["decode_in.weight"].T
    told = slice(h + 1, h + 1 + len(encode) - known.stop)
    carried = slice(told.stop, told.stop + len(slow))
    told_again = slice(h + 1, h + 1 + len(decode) - 2 * h)
    at_x, at_h = (weights[f"gru.bias_{which}_l0"].view(3, h) for which in ("ih", "hh"))
    of_x, of_h = (weights[f"gru.weight_{which}_l0"].view(3, h, h).mT for which in ("ih", "hh"))

    def empty(*shape: int) -> Tensor:
        return encode.new_zeros(shape)

    from_input, from_code = empty(INPUTS, UNITS), empty(UNITS, UNITS)
    from_input[: 3 * samples, :h] = encode[: 3 * samples]
    from_input[3 * samples, :h] = weights["encode_in.bias"]
    from_input[3 * samples, h] = ONE
    from_code[told, :h], from_code[carried, :h] = encode[known.stop :], encode[known]
    gates_x, gates_h = empty(2, UNITS, UNITS), empty(2, UNITS, UNITS)
    gates_x[:, :h, :h], gates_h[:, :h, :h] = of_x[:2], of_h[:2]
    gates_x[:, h, :h] = at_x[:2] + at_h[:2]
    gates_x[1, h, h:] = KEPT
    new_x, new_h = empty(UNITS, UNITS), empty(UNITS, UNITS)
    new_x[:h, :h], new_h[:h, :h] = of_x[2], of_h[2]
    new_x[h, :h], new_h[h, :h] = at_x[2], at_h[2]
    decode_x, decode_h = empty(UNITS, dp), empty(UNITS, dp)
    decode_x[:h, :d], decode_h[:h, :d] = decode[:h], decode[h : 2 * h]
    decode_x[h, :d], decode_x[h, d] = weights["decode_in.bias"], ONE
    decode_h[told_again, :d] = decode[2 * h :]
    answer = empty(dp, INPUTS)
    flows = slice(len(slow))
    for columns, rows in ((slice(2 * samples, 3 * samples), slice(samples)), (flows, slice(samples, None))):
        answer[:d, columns] = weights["decode_out.weight"][rows].T
        answer[d, columns] = weights["decode_out.bias"][rows]
    direct, has_direct = empty(INPUTS, INPUTS), "direct.weight" in weights
    if has_direct:
        direct[: 3 * samples, 2 * samples : 3 * samples] = weights["direct.weight"].T
    numbers = empty(3, INPUTS)
    numbers[:, flows] = slow.T
    # Eight columns of either gate in turn, as they lie in the registers of tensor cores: parting them moves nothing.
    gates = (each.view(2, UNITS, UNITS // 8, 8).permute(1, 2, 0, 3) for each in (gates_x, gates_h))
    matrices = from_input, from_code, *gates, new_x, new_h, decode_x, decode_h, answer, direct
    all_of_them = torch.cat([each.flatten() for each in matrices])
    if not split:
        return Packed(all_of_them, all_of_them, numbers, dp, has_direct)
    large = all_of_them.half()
    return Packed(large, (all_of_them - large.float()).half(), numbers, dp, has_direct)


def advance(
    net: Packed, state: State, drive: DeviceDrive, limits: tuple[float, ...], voltage: Tensor, outside: Tensor
) -> None:
    """Advance all cells by a block: fills ``voltage`` [samples, B], advances the state's hidden, history and slow in
    place and adds to ``outside`` [B]. ``limits``: lowest and highest voltage, lowest and highest current, highest
    conductance of the envelope."""
    cells, n = state["history"].shape
    tiles = triton.cdiv(cells, ROWS)
    current, reversal = drive.current[0], drive.reversal_current[0]
    conductance = reversal if drive.conductance is None else drive.conductance[0]
    hidden = state["hidden"]
    _kernel[(min(tiles, _processors(voltage.device)),)](
        current,
        reversal,
        conductance,
        voltage,
        hidden,
        state["history"],
        state["slow"],
        state["code"],
        outside,
        net.large,
        net.small,
        net.numbers,
        *limits,
        *current.stride(),
        *reversal.stride(),
        *conductance.stride(),
        cells,
        drive.samples // n,
        tiles,
        H=hidden.shape[1],
        C=state["code"].shape[1],
        N=n,
        HP=UNITS,
        DP=net.decoder,
        A=state["slow"].shape[1],
        NP=INPUTS,
        ROWS=ROWS,
        CONDUCTS=drive.conductance is not None,
        DIRECT=net.direct,
        SPLIT=net.large.dtype is torch.float16,
        num_warps=WARPS,
        enable_fp_fusion=True,
    )


def _processors(device: torch.device) -> int:
    if device.type != "cuda":
        return 1
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count


_VOLTAGE_CENTRE, _VOLTAGE_SCALE = tl.constexpr(s.VOLTAGE_CENTRE), tl.constexpr(s.VOLTAGE_SCALE)
_LOW, _HIGH = tl.constexpr(s.VOLTAGE_LOW), tl.constexpr(s.VOLTAGE_HIGH)
_CURRENT_SCALE, _CURRENT_LIMIT = tl.constexpr(s.CURRENT_SCALE), tl.constexpr(s.CURRENT_LIMIT)
_CONDUCTANCE_SCALE = tl.constexpr(s.CONDUCTANCE_SCALE)
_CONDUCTANCE_LIMIT = tl.constexpr(s.CONDUCTANCE_LIMIT)
_SLOW_CENTRE, _SLOW_SCALE = tl.constexpr(s.SLOW_CENTRE), tl.constexpr(s.SLOW_SCALE)
_SLOW_LIMIT = tl.constexpr(s.SLOW_LIMIT)
_NAN = tl.constexpr(tl.PropagateNan.ALL)  # what is no number stays none, and is found


@triton.jit
def _matrix(values, at, K: tl.constexpr, M: tl.constexpr):  # type: ignore[no-untyped-def]
    """The matrix [K, M] that begins at number ``at``."""
    return tl.load(values + at + tl.arange(0, K)[:, None] * M + tl.arange(0, M)[None, :])


@triton.jit
def _plus_product(sum_BM, x_BK, large_KM, small_KM, SPLIT: tl.constexpr):  # type: ignore[no-untyped-def]
    """A sum and the product of ``x`` and a matrix."""
    if SPLIT:
        large_BK = x_BK.to(tl.float16)
        small_BK = (x_BK - large_BK.to(tl.float32)).to(tl.float16)
        sum_BM = tl.dot(small_BK, large_KM, sum_BM)
        sum_BM = tl.dot(large_BK, small_KM, sum_BM)
        sum_BM = tl.dot(large_BK, large_KM, sum_BM)
    else:
        sum_BM = tl.dot(x_BK, large_KM, sum_BM, input_precision="ieee")
    return sum_BM


@triton.jit
def _product(x_BK, large_KM, small_KM, M: tl.constexpr, SPLIT: tl.constexpr):  # type: ignore[no-untyped-def]
    return _plus_product(tl.zeros((x_BK.shape[0], M), tl.float32), x_BK, large_KM, small_KM, SPLIT)


@triton.jit
def _logistic(x, FAST: tl.constexpr):  # type: ignore[no-untyped-def]
    """1 / (1 + exp(−x)); ``FAST``: by the functions of the hardware, to 2 or 3 units in the last place."""
    return libdevice.fast_dividef(1.0, 1.0 + libdevice.fast_expf(-x)) if FAST else tl.sigmoid(x)


@triton.jit
def _kernel(  # type: ignore[no-untyped-def]
    current,
    reversal,
    conductance,
    voltage,
    hidden,
    history,
    slow,
    code,
    outside,
    large,
    small,
    numbers,
    lowest_voltage,
    highest_voltage,
    lowest_current,
    highest_current,
    most_conductance,
    current_row,
    current_cell,
    reversal_row,
    reversal_cell,
    conductance_row,
    conductance_cell,
    cells,
    steps,
    tiles,
    H: tl.constexpr,
    C: tl.constexpr,
    N: tl.constexpr,
    HP: tl.constexpr,
    DP: tl.constexpr,
    A: tl.constexpr,
    NP: tl.constexpr,
    ROWS: tl.constexpr,
    CONDUCTS: tl.constexpr,
    DIRECT: tl.constexpr,
    SPLIT: tl.constexpr,
):
    # Where each matrix begins, in the order of `packed`.
    CODED: tl.constexpr = NP * HP
    GATES: tl.constexpr = CODED + HP * HP
    NEW: tl.constexpr = GATES + 4 * HP * HP
    DECODE: tl.constexpr = NEW + 2 * HP * HP
    ANSWER: tl.constexpr = DECODE + 2 * HP * DP
    input_l, input_s = _matrix(large, 0, NP, HP), _matrix(small, 0, NP, HP)
    code_l, code_s = _matrix(large, CODED, HP, HP), _matrix(small, CODED, HP, HP)
    xg_l, xg_s = _matrix(large, GATES, HP, 2 * HP), _matrix(small, GATES, HP, 2 * HP)
    hg_l, hg_s = (
        _matrix(large, GATES + 2 * HP * HP, HP, 2 * HP),
        _matrix(small, GATES + 2 * HP * HP, HP, 2 * HP),
    )
    xn_l, xn_s = _matrix(large, NEW, HP, HP), _matrix(small, NEW, HP, HP)
    hn_l, hn_s = _matrix(large, NEW + HP * HP, HP, HP), _matrix(small, NEW + HP * HP, HP, HP)
    xd_l, xd_s = _matrix(large, DECODE, HP, DP), _matrix(small, DECODE, HP, DP)
    hd_l, hd_s = _matrix(large, DECODE + HP * DP, HP, DP), _matrix(small, DECODE + HP * DP, HP, DP)
    out_l, out_s = _matrix(large, ANSWER, DP, NP), _matrix(small, ANSWER, DP, NP)
    if DIRECT:
        past_l, past_s = _matrix(large, ANSWER + DP * NP, NP, NP), _matrix(small, ANSWER + DP * NP, NP, NP)

    unit, column = tl.arange(0, HP)[None, :], tl.arange(0, NP)[None, :]
    of_voltage = (column >= 2 * N) & (column < 3 * N)
    of_slow = column < A
    rest, kept, influx = (
        tl.load(numbers + column),
        tl.load(numbers + NP + column),
        tl.load(numbers + 2 * NP + column),
    )
    for tile in range(tl.program_id(0), tiles, tl.num_programs(0)):
        cell = tile * ROWS + tl.arange(0, ROWS)
        here = cell < cells
        row_of = cell[:, None]
        injects, answers = here[:, None] & (column < N), here[:, None] & of_voltage
        own_hidden = hidden + row_of.to(tl.int64) * H + unit
        own_history = history + row_of * N + column - 2 * N
        told = here[:, None] & (unit > H) & (unit <= H + C)
        h = tl.load(own_hidden, mask=here[:, None] & (unit < H), other=0.0)
        h += tl.load(code + row_of * C + unit - H - 1, mask=told, other=0.0)
        h += tl.where(unit == H, 1.0, 0.0)
        v = tl.load(own_history, mask=answers, other=0.0)
        own_slow = slow + row_of * A + column
        if A:
            w = tl.load(own_slow, mask=here[:, None] & of_slow, other=0.0)
        strayed = tl.load(outside + cell, mask=here, other=0)
        for step in range(steps):
            row = (step * N + column).to(tl.int64)
            last = tl.sum(tl.where(column == 3 * N - 1, v, 0.0), 1)[:, None]
            inward = tl.load(reversal + row * reversal_row + row_of * reversal_cell, mask=injects, other=0.0)
            x = tl.where(of_voltage, (v - _VOLTAGE_CENTRE) * _VOLTAGE_SCALE, 0.0)
            x = tl.where(column == 3 * N, 1.0, x)
            for k in tl.static_range(A):
                root = tl.sqrt(tl.sum(tl.where(column == k, w, 0.0), 1))[:, None]
                h = tl.where(unit == H + 1 + C + k, (root - _SLOW_CENTRE) * _SLOW_SCALE, h)
            if CONDUCTS:
                opened = conductance + row_of * conductance_cell
                g = tl.load(opened + row * conductance_row, mask=injects, other=0.0)
                inward -= g * last
                scaled = g * _CONDUCTANCE_SCALE
                strayed += tl.sum(((scaled > most_conductance) | (scaled < 0.0)).to(tl.int32), 1)
                # Read again, where the input has it.
                opens = here[:, None] & (column >= N) & (column < 2 * N)
                g = tl.load(opened + (row - N) * conductance_row, mask=opens, other=0.0)
                limited = tl.clamp(g * _CONDUCTANCE_SCALE, 0.0, _CONDUCTANCE_LIMIT, _NAN)
                x = tl.where(opens, limited, x)
            injected = tl.load(current + row * current_row + row_of * current_cell, mask=injects, other=0.0)
            effective = (injected + 1e-3 * inward) * _CURRENT_SCALE
            beyond = (effective < lowest_current) | (effective > highest_current)
            strayed += tl.sum((beyond & injects).to(tl.int32), 1)
            x = tl.where(column < N, tl.clamp(effective, -_CURRENT_LIMIT, _CURRENT_LIMIT, _NAN), x)

            e = _product(h, code_l, code_s, HP, SPLIT)
            e = _plus_product(e, x, input_l, input_s, SPLIT)
            e = e * _logistic(e, SPLIT)
            gates = _product(e, xg_l, xg_s, 2 * HP, SPLIT)
            gates = _logistic(_plus_product(gates, h, hg_l, hg_s, SPLIT), SPLIT)
            apart = tl.permute(tl.reshape(gates, (ROWS, HP // 8, 2, 8)), (0, 1, 3, 2))
            reset, update = tl.split(apart)
            reset, update = tl.reshape(reset, (ROWS, HP)), tl.reshape(update, (ROWS, HP))
            new = reset * _product(h, hn_l, hn_s, HP, SPLIT)
            new = _plus_product(new, e, xn_l, xn_s, SPLIT)
            new = 2.0 * _logistic(2.0 * new, SPLIT) - 1.0  # its hyperbolic tangent
            h = new + update * (h - new)

            d = _product(e, xd_l, xd_s, DP, SPLIT)
            d = _plus_product(d, h, hd_l, hd_s, SPLIT)
            d = d * _logistic(d, SPLIT)
            answered = _product(d, out_l, out_s, NP, SPLIT)
            if DIRECT:
                answered = _plus_product(answered, x, past_l, past_s, SPLIT)
            v = last + answered / _VOLTAGE_SCALE
            if A:
                above = kept * (w - rest) + influx * tl.maximum(answered, 0.0, _NAN)
                w = tl.minimum(rest + above, _SLOW_LIMIT, _NAN)
            beyond = (v < lowest_voltage) | (v > highest_voltage)
            strayed += tl.sum((beyond & answers).to(tl.int32), 1)
            v = tl.clamp(v, _LOW, _HIGH, _NAN)
            tl.store(voltage + (row - 2 * N) * cells + row_of, v, mask=answers)
        tl.store(own_hidden, h, mask=here[:, None] & (unit < H))
        tl.store(own_history, v, mask=answers)
        if A:
            tl.store(own_slow, w, mask=here[:, None] & of_slow)
        tl.store(outside + cell, strayed, mask=here)
