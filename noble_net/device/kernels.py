"""The device loop's per-cell work as Triton kernels: one pass over memory where PyTorch takes one for every operation.

The expressions are those of the modules that call these functions, in the same precision, one cell a lane, sample after
sample. Where a kernel cannot run (`noble_net.device.fused`) those modules do the same in PyTorch.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from noble_net import spikes
from noble_net.device.random import NORMALS
from noble_net.network.underway_kernels import FIXED_POINT
from noble_net.types import DT

LANES = 256
"""Cells of a program."""
ENTRIES = 1024
"""Synapses of a spike that are sent at once."""

_DT = tl.constexpr(DT)
_CROSSING, _CONFIRM = tl.constexpr(spikes.CROSSING), tl.constexpr(spikes.CONFIRM)
_REARM, _MAX_LAG = tl.constexpr(spikes.REARM), tl.constexpr(spikes.MAX_LAG)
_FIXED_POINT = tl.constexpr(FIXED_POINT)
_NORMALS = tl.constexpr(NORMALS)
_UNIT, _TURN = tl.constexpr(2.0**-32), tl.constexpr(2.0 * torch.pi * 2.0**-32)


def detect(voltage: Tensor, last: Tensor, detector: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`noble_net.device.detection.detect`."""
    samples, cells = voltage.shape
    fired = torch.empty((samples, cells), dtype=torch.bool, device=voltage.device)
    lag, after = torch.empty_like(voltage), torch.empty_like(detector)
    _detect[(triton.cdiv(cells, LANES),)](
        voltage, last, detector, fired, lag, after, cells, samples, LANES=LANES, enable_fp_fusion=True
    )
    return fired, lag, after


@triton.jit
def _detect(voltage, last, detector, fired, lag, after, cells, samples, LANES: tl.constexpr):  # type: ignore[no-untyped-def]
    cell = tl.program_id(0) * LANES + tl.arange(0, LANES)
    here = cell < cells
    before = tl.load(last + cell, mask=here, other=0.0)
    state = tl.load(detector + cell, mask=here, other=0.0)
    at = cell.to(tl.int64)
    for _ in range(samples):
        now = tl.load(voltage + at, mask=here, other=0.0)
        unarmed = state == float("inf")
        rising = (before < _CROSSING) & (now >= _CROSSING)
        climb = tl.where(rising, now - before, 1.0).to(tl.float64)
        missing = (before.to(tl.float64) - _CROSSING) / climb
        crossed = ((1.0 + missing) * _DT).to(tl.float32)
        mark = tl.where(now < _CROSSING, float("-inf"), state + _DT)
        mark = tl.where(rising, crossed, mark)
        spike = (unarmed == 0) & (now >= _CONFIRM) & (mark > float("-inf"))
        armed = tl.where(spike, float("inf"), mark)
        state = tl.where(unarmed, tl.where(now < _REARM, float("-inf"), state), armed)
        tl.store(fired + at, spike, mask=here)
        tl.store(lag + at, tl.minimum(mark, _MAX_LAG), mask=here)
        before = now
        at += cells
    tl.store(after + cell, state, mask=here)


def drive_block(
    ring: Tensor,
    start: int,
    states: tuple[Tensor, Tensor],
    means: tuple[Tensor, Tensor],
    constants: Tensor,
    conductance: Tensor | None,
    reversal_current: Tensor,
) -> None:
    """`noble_net.device.synapses.DeviceBank.drive_block`: advances the two states and clears the ring's rows in place.
    ``means`` [cells or 1] each, ``constants`` float64 [7] on the device."""
    slots, cells = ring.shape
    into = reversal_current if conductance is None else conductance
    _drive_block[(triton.cdiv(cells, LANES),)](
        ring,
        start % slots,
        slots,
        *states,
        *means,
        constants,
        into,
        into.stride(0),
        reversal_current,
        reversal_current.stride(0),
        cells,
        reversal_current.shape[0],
        OWN_MEANS=means[0].numel() > 1,
        CONDUCTS=conductance is not None,
        LANES=LANES,
        enable_fp_fusion=True,
    )


@triton.jit(do_not_specialize=["first"])
def _drive_block(  # type: ignore[no-untyped-def]
    ring,
    first,
    slots,
    decaying,
    rising,
    mean_decaying,
    mean_rising,
    constants,
    conductance,
    conductance_stride,
    reversal,
    reversal_stride,
    cells,
    samples,
    OWN_MEANS: tl.constexpr,
    CONDUCTS: tl.constexpr,
    LANES: tl.constexpr,
):
    cell = tl.program_id(0) * LANES + tl.arange(0, LANES)
    here = cell < cells
    gain_d, gain_r = tl.load(constants), tl.load(constants + 1)
    keep_d, keep_r = tl.load(constants + 2), tl.load(constants + 3)
    feed, share, factor = tl.load(constants + 4), tl.load(constants + 5), tl.load(constants + 6)
    own = cell if OWN_MEANS else cell * 0
    of_d = tl.load(mean_decaying + own, mask=here, other=0.0)
    of_r = tl.load(mean_rising + own, mask=here, other=0.0)
    d = tl.load(decaying + cell, mask=here, other=0.0)
    r = tl.load(rising + cell, mask=here, other=0.0)
    row = cell.to(tl.int64) * 0 + first
    inward, opened = reversal + cell, conductance + cell
    for _ in range(samples):
        arriving = ring + row * cells + cell
        weight = tl.load(arriving, mask=here, other=0).to(tl.float64) * (1.0 / _FIXED_POINT)
        tl.store(arriving, tl.zeros((LANES,), tl.int64), mask=here)
        d += gain_d * weight
        r += gain_r * weight
        mean = d * of_d + r * of_r
        d, r = d * keep_d + r * feed, r * keep_r
        held = tl.load(inward, mask=here, other=0.0)
        tl.store(inward, held + (factor * mean).to(held.dtype), mask=here)
        inward += reversal_stride
        if CONDUCTS:
            held = tl.load(opened, mask=here, other=0.0)
            tl.store(opened, held + (share * mean).to(held.dtype), mask=here)
            opened += conductance_stride
        row = tl.where(row + 1 < slots, row + 1, 0)
    tl.store(decaying + cell, d, mask=here)
    tl.store(rising + cell, r, mask=here)


def ornstein_uhlenbeck(
    key: Tensor,
    drawn: Tensor,
    first: int,
    opening: bool,
    parameters: Tensor,
    deviation: Tensor,
    chunk: Tensor,
    positive: bool,
) -> None:
    """`noble_net.device.stimuli.DeviceOrnsteinUhlenbeck`'s next chunk, of noise that is each cell's own: advances
    ``deviation`` float64 [cells] and fills ``chunk`` float32 [samples, cells], whose first sample is a multiple of 4.
    ``key`` int64 [1]; ``opening``: the stationary process begins here; ``parameters`` float64 [4, cells]: mean, sigma,
    what is kept from sample to sample, and what is added; ``positive``: negative values are zero."""
    samples, cells = chunk.shape
    _ornstein_uhlenbeck[(triton.cdiv(cells, LANES),)](
        key,
        drawn,
        first >> 2,
        parameters,
        deviation,
        chunk,
        cells,
        samples >> 2,
        OPENING=opening,
        POSITIVE=positive,
        LANES=LANES,
        enable_fp_fusion=True,
    )


@triton.jit
def _unit(word):  # type: ignore[no-untyped-def]
    return (word.to(tl.float64) + 0.5) * _UNIT


@triton.jit
def _next(y, noise, keep, kick, mean, at, here, POSITIVE: tl.constexpr):  # type: ignore[no-untyped-def]
    """The next deviation, and its value written."""
    y = keep * y + kick * noise
    value = (mean + y).to(tl.float32)
    if POSITIVE:
        value = tl.maximum(value, 0.0)
    tl.store(at, value, mask=here)
    return y


@triton.jit(do_not_specialize=["first"])
def _ornstein_uhlenbeck(  # type: ignore[no-untyped-def]
    key,
    drawn,
    first,
    parameters,
    deviation,
    chunk,
    cells,
    groups,
    OPENING: tl.constexpr,
    POSITIVE: tl.constexpr,
    LANES: tl.constexpr,
):
    cell = tl.program_id(0) * LANES + tl.arange(0, LANES)
    here = cell < cells
    identity = tl.load(drawn + cell, mask=here, other=0).to(tl.uint32)
    seed = tl.load(key)
    mean = tl.load(parameters + cell, mask=here, other=0.0)
    sigma = tl.load(parameters + cells + cell, mask=here, other=0.0)
    keep = tl.load(parameters + 2 * cells + cell, mask=here, other=0.0)
    kick = tl.load(parameters + 3 * cells + cell, mask=here, other=0.0)
    y = tl.load(deviation + cell, mask=here, other=0.0)
    at = chunk + cell.to(tl.int64)
    for group in range(groups):
        number = (first + group).to(tl.int64)
        low = (identity * 0) + (number & 0xFFFFFFFF).to(tl.uint32)
        high = (identity * 0) + (number >> 32).to(tl.uint32)
        a, b, c, d = tl.philox(seed, low, high, identity, (identity * 0) + _NORMALS)
        r0, r1 = tl.sqrt(-2.0 * tl.log(_unit(a))), tl.sqrt(-2.0 * tl.log(_unit(c)))
        x0, x1 = b.to(tl.float64) * _TURN, d.to(tl.float64) * _TURN
        noise = r0 * tl.cos(x0)
        if OPENING:
            # Of the first sample the deviation is drawn as it is in the long run.
            opens = group == 0
            y = tl.where(opens, 0.0, y)
            y = _next(y, noise, keep, tl.where(opens, sigma, kick), mean, at, here, POSITIVE)
        else:
            y = _next(y, noise, keep, kick, mean, at, here, POSITIVE)
        y = _next(y, r0 * tl.sin(x0), keep, kick, mean, at + cells, here, POSITIVE)
        y = _next(y, r1 * tl.cos(x1), keep, kick, mean, at + 2 * cells, here, POSITIVE)
        y = _next(y, r1 * tl.sin(x1), keep, kick, mean, at + 3 * cells, here, POSITIVE)
        at += 4 * cells
    tl.store(deviation + cell, y, mask=here)


def send(
    cell: Tensor,
    row: Tensor,
    share: Tensor | None,
    indptr: Tensor,
    place: Tensor,
    weight: Tensor,
    ring: Tensor,
) -> None:
    """Add the synaptic events of spikes of source cells ``cell`` int64 [spikes] to the ring int64 [slots, cells]: for
    each synapse of a spike its weight, times the spike's ``share``, in fixed point at its place plus the spike's
    ``row``, which wraps around the ring's end. ``row`` and ``place`` are of one integer type."""
    if len(cell):
        _send[(len(cell),)](
            cell,
            row,
            row if share is None else share,
            indptr,
            place,
            weight,
            ring,
            ring.numel(),
            SHARES=share is not None,
            ENTRIES=ENTRIES,
            enable_fp_fusion=True,
        )


@triton.jit
def _send(  # type: ignore[no-untyped-def]
    cell,
    row,
    share,
    indptr,
    place,
    weight,
    ring,
    size,
    SHARES: tl.constexpr,
    ENTRIES: tl.constexpr,
):
    spike = tl.program_id(0)
    source, first = tl.load(cell + spike), tl.load(row + spike)
    begin, end = tl.load(indptr + source), tl.load(indptr + source + 1)
    for at in range(begin, end, ENTRIES):
        entry = at + tl.arange(0, ENTRIES)
        here = entry < end
        to = tl.load(place + entry, mask=here, other=0) + first
        to = tl.where(to >= size, to - size, to)
        amount = tl.load(weight + entry, mask=here, other=0.0)
        if SHARES:
            amount *= tl.load(share + spike)
        tl.atomic_add(
            ring + to, (amount.to(tl.float64) * _FIXED_POINT).to(tl.int64), mask=here, sem="relaxed"
        )
