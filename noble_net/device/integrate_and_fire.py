"""The integrate-and-fire cores on a device: the closed form of `noble_net.surrogate.kernels_if`, all cells at once.

Float64, cell by cell the same expressions, so the same voltages to the rounding of exp and log; no result depends on
how time is cut into blocks or cells into batches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from noble_net.device.cores import Answer, DeviceDrive, State
from noble_net.device.fused import fused
from noble_net.surrogate.integrate_and_fire import IntegrateAndFire
from noble_net.surrogate.kernels_if import LOWEST, SPIKE_VOLTAGE
from noble_net.types import BLOCK_SLOPE, DT, CellTable


class DeviceIntegrateAndFire:
    """A leaky integrate-and-fire core on a device, `integrate-and-fire` or `integrate-and-fire-grid`."""

    def __init__(self, core: IntegrateAndFire, device: str) -> None:
        self.core, self.device = core, torch.device(device)
        self.on_grid = core.on_grid

    def begin(self, cells: CellTable) -> State:
        """The state that the core on CPU begins with."""
        return {
            name: torch.tensor(array, device=self.device)
            for name, array in self.core.begin(cells).arrays.items()
        }

    def advance(self, state: State, drive: DeviceDrive) -> Answer:
        """One block, of any number of samples."""
        if fused(self.device):
            from noble_net.device import integrate_and_fire_kernel as kernel

            return kernel.advance(state, drive, self.on_grid)
        shape = drive.current.shape[1:]
        voltage = torch.empty(shape, dtype=torch.float32, device=self.device)
        lag = torch.empty_like(voltage)
        fired = torch.empty(shape, dtype=torch.bool, device=self.device)
        outside = torch.zeros(shape[1], dtype=torch.int32, device=self.device)
        constants = state["constants"].unbind(1)
        membrane, refractory = state["membrane"], state["refractory"]
        for k in range(drive.samples):
            held = refractory
            total, inward, negative = _input(drive, k, membrane, constants)
            steady, kept = _course(total, inward, held, constants)
            membrane, refractory, fired[k], lag[k], strayed = self._sample(
                membrane, held, total, steady, kept, constants
            )
            voltage[k] = torch.where(fired[k], SPIKE_VOLTAGE, membrane)
            if negative is not None:
                strayed = strayed + (negative & (held < DT))
            outside += strayed
        state["membrane"], state["refractory"] = membrane, refractory
        state["voltage"] = voltage[-1].clone()
        return Answer(voltage, fired, lag, outside)

    def _sample(
        self,
        membrane: Tensor,
        held: Tensor,
        total: Tensor,
        steady: Tensor,
        kept: Tensor,
        constants: tuple[Tensor, ...],
    ) -> tuple[Tensor, ...]:
        """Membrane and refractory time after a sample, whether it has a spike, how long before its end that crossed
        (float32), and how often the cell left the envelope; all [cells]."""
        capacitance, _, _, reset, threshold, dead_time, _ = constants
        waits = held >= DT
        end = steady + (membrane - steady) * kept
        spike = ~waits & (end >= threshold)
        strayed = (~waits & ~spike & (end < LOWEST)).int()
        rest = torch.where(waits, membrane, end.clamp(min=LOWEST))
        if self.on_grid:
            after, still, lag = reset, dead_time, torch.zeros_like(membrane, dtype=torch.float32)
        else:
            tau = capacitance / total
            climb = tau * torch.log((steady - membrane) / (steady - threshold))
            crossing = torch.where(membrane < threshold, held + climb, held).clamp(max=DT)
            free = DT - crossing - dead_time
            # The refractory time may end within the sample: at most one spike a sample.
            again = steady + (reset - steady) * torch.exp(-free / tau)
            strayed += spike & (free > 0.0) & (again >= threshold)
            after = torch.where(free > 0.0, torch.minimum(again, threshold).clamp(min=LOWEST), reset)
            still, lag = (-free).clamp(min=0.0), (DT - crossing).float()
        return (
            torch.where(spike, after, rest),
            torch.where(waits, held - DT, torch.where(spike, still, 0.0)),
            spike,
            lag,
            strayed,
        )


def _input(
    drive: DeviceDrive, k: int, membrane: Tensor, constants: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Of sample ``k``, [cells]: total conductance (nS), inward current at 0 mV (pA), and where a conductance is
    negative, which counts as zero."""
    leak, rest = constants[1], constants[2]
    inward = leak * rest + 1000.0 * drive.current[0, k].double() + drive.reversal_current[0, k].double()
    negative, total = None, leak
    if drive.conductance is not None:
        g = drive.conductance[0, k].double()
        negative = g < 0.0
        total = leak + g.clamp(min=0.0)
    if drive.nmda is not None:
        opened = 1.0 / (1.0 + torch.exp(-BLOCK_SLOPE * (membrane - drive.nmda.half.double())))
        total = total + opened * drive.nmda.conductance[0, k].double().clamp(min=0.0)
        inward = inward + opened * drive.nmda.reversal_current[0, k].double()
    return total, inward, negative


def _course(
    total: Tensor, inward: Tensor, held: Tensor, constants: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """The voltage a cell tends to in a sample (mV), and the share of its distance from there left at the end."""
    capacitance, leak, undisturbed = constants[0], constants[1], constants[6]
    kept = torch.exp(-(DT - held) * total / capacitance)
    return inward / total, torch.where((total == leak) & (held == 0.0), undisturbed, kept)
