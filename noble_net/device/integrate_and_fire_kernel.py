"""A block of the integrate-and-fire cores as one Triton kernel, one cell a lane, sample after sample.

The expressions are those of `noble_net.device.integrate_and_fire`, in float64.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from noble_net.device.cores import Answer, DeviceDrive, State
from noble_net.surrogate import kernels_if
from noble_net.types import BLOCK_SLOPE, DT

LANES = 128
"""Cells of a program."""

_DT, _BLOCK_SLOPE = tl.constexpr(DT), tl.constexpr(BLOCK_SLOPE)
_NAN = tl.constexpr(tl.PropagateNan.ALL)  # what is no number stays none, and is found
_LOWEST, _SPIKE = tl.constexpr(kernels_if.LOWEST), tl.constexpr(kernels_if.SPIKE_VOLTAGE)


def advance(state: State, drive: DeviceDrive, on_grid: bool) -> Answer:
    """One block, of any number of samples: replaces the tensors in ``state``."""
    samples, cells = drive.current.shape[1:]
    device = drive.current.device
    voltage = torch.empty((samples, cells), dtype=torch.float32, device=device)
    lag, fired = torch.empty_like(voltage), torch.empty_like(voltage, dtype=torch.bool)
    outside = torch.zeros(cells, dtype=torch.int32, device=device)
    membrane, refractory = torch.empty_like(state["membrane"]), torch.empty_like(state["refractory"])
    nothing = drive.current
    conductance = nothing if drive.conductance is None else drive.conductance
    nmda, nmda_reversal, half = drive.nmda or (nothing, nothing, state["membrane"])
    _kernel[(triton.cdiv(cells, LANES),)](
        state["membrane"],
        state["refractory"],
        state["constants"],
        membrane,
        refractory,
        voltage,
        lag,
        fired,
        outside,
        drive.current[0],
        drive.reversal_current[0],
        conductance[0],
        nmda[0],
        nmda_reversal[0],
        half,
        drive.current.stride(1),
        cells,
        samples,
        ON_GRID=on_grid,
        CONDUCTS=drive.conductance is not None,
        NMDA=drive.nmda is not None,
        LANES=LANES,
        enable_fp_fusion=False,
    )
    state["membrane"], state["refractory"] = membrane, refractory
    state["voltage"] = voltage[-1].clone()
    return Answer(voltage, fired, lag, outside)


@triton.jit
def _kernel(  # type: ignore[no-untyped-def]
    membrane,
    refractory,
    constants,
    new_membrane,
    new_refractory,
    voltage,
    lag,
    fired,
    outside,
    current,
    reversal,
    conductance,
    nmda,
    nmda_reversal,
    half,
    stride,
    cells,
    samples,
    ON_GRID: tl.constexpr,
    CONDUCTS: tl.constexpr,
    NMDA: tl.constexpr,
    LANES: tl.constexpr,
):
    cell = tl.program_id(0) * LANES + tl.arange(0, LANES)
    here = cell < cells
    own = constants + cell.to(tl.int64) * 7
    capacitance, leak = tl.load(own, mask=here, other=1.0), tl.load(own + 1, mask=here, other=1.0)
    at_rest, reset = tl.load(own + 2, mask=here, other=0.0), tl.load(own + 3, mask=here, other=0.0)
    threshold, dead_time = tl.load(own + 4, mask=here, other=1.0), tl.load(own + 5, mask=here, other=0.0)
    undisturbed = tl.load(own + 6, mask=here, other=0.0)
    v = tl.load(membrane + cell, mask=here, other=0.0)
    held = tl.load(refractory + cell, mask=here, other=0.0)
    strayed = tl.zeros((LANES,), tl.int32)
    if NMDA:
        half_block = tl.load(half + cell, mask=here, other=0.0).to(tl.float64)
    drawn, told = cell.to(tl.int64), cell.to(tl.int64)
    for _ in range(samples):
        injected = tl.load(current + drawn, mask=here, other=0.0).to(tl.float64)
        inward = leak * at_rest + 1000.0 * injected
        inward += tl.load(reversal + drawn, mask=here, other=0.0).to(tl.float64)
        total = leak
        waits = held >= _DT
        if CONDUCTS:
            g = tl.load(conductance + drawn, mask=here, other=0.0).to(tl.float64)
            strayed += ((g < 0.0) & (held < _DT)).to(tl.int32)
            total = total + tl.maximum(g, 0.0, _NAN)
        if NMDA:
            opened = 1.0 / (1.0 + tl.exp((v - half_block) * -_BLOCK_SLOPE))
            g = tl.load(nmda + drawn, mask=here, other=0.0).to(tl.float64)
            total = total + opened * tl.maximum(g, 0.0, _NAN)
            inward += opened * tl.load(nmda_reversal + drawn, mask=here, other=0.0).to(tl.float64)
        steady = inward / total
        kept = tl.exp((held - _DT) * total / capacitance)
        kept = tl.where((total == leak) & (held == 0.0), undisturbed, kept)
        end = steady + (v - steady) * kept
        spike = (waits == 0) & (end >= threshold)
        strayed += ((waits == 0) & (spike == 0) & (end < _LOWEST)).to(tl.int32)
        if ON_GRID:
            after, still = reset, dead_time
            late = v * 0.0
        else:
            tau = capacitance / total
            climb = tau * tl.log(tl.where(spike & (v < threshold), (steady - v) / (steady - threshold), 1.0))
            crossing = tl.minimum(held + climb, _DT)
            free = (crossing + dead_time - _DT) * -1.0
            # The refractory time may end within the sample: at most one spike a sample.
            again = steady + (reset - steady) * tl.exp(tl.maximum(free, 0.0) / tau * -1.0)
            strayed += (spike & (free > 0.0) & (again >= threshold)).to(tl.int32)
            after = tl.where(free > 0.0, tl.maximum(tl.minimum(again, threshold), _LOWEST), reset)
            still, late = tl.maximum(free * -1.0, 0.0), (crossing - _DT) * -1.0
        v = tl.where(spike, after, tl.where(waits, v, tl.maximum(end, _LOWEST, _NAN)))
        held = tl.where(waits, held - _DT, tl.where(spike, still, 0.0))
        tl.store(voltage + told, tl.where(spike, _SPIKE, v).to(tl.float32), mask=here)
        tl.store(lag + told, late.to(tl.float32), mask=here)
        tl.store(fired + told, spike, mask=here)
        drawn += stride
        told += cells
    tl.store(new_membrane + cell, v, mask=here)
    tl.store(new_refractory + cell, held, mask=here)
    tl.store(outside + cell, strayed, mask=here)
