"""The streaming core on a device: the arithmetic of `noble_net.surrogate.kernels` as matrix products of all cells.

Float32 throughout; matrix products follow `torch.set_float32_matmul_precision`, whose default keeps float32. A cell's
answer does not depend on how time is cut into blocks; how many cells are advanced at once may change its last bits,
because a matrix product's order of sums may depend on its shape.

Shape legend: B cells, n samples per step, H hidden units.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear, silu

from noble_net.device.cores import Answer, DeviceDrive, State
from noble_net.device.detection import detect
from noble_net.device.fused import fused
from noble_net.spikes import NO_CROSSING
from noble_net.surrogate import scaling as s
from noble_net.surrogate.streaming import BLOCK_LIMIT, StreamingCore
from noble_net.types import BLOCK_SLOPE, CellTable

_SETTLED_AT_ONCE = 50
"""Steps of a block while cells settle."""


class DeviceStreaming:
    """A trained streaming core on a device."""

    def __init__(self, core: StreamingCore, device: str) -> None:
        self.core = core
        self.device = torch.device(device)
        w = {name: torch.tensor(each, device=self.device) for name, each in core.weights.items()}
        self._w = w
        limits = core.envelope.limits()
        self._voltage_limits, self._soma_limits = limits[0].tolist(), limits[1].tolist()
        self._coupling = torch.tensor(core.coupling, device=self.device)
        self._slow = torch.from_numpy(core.slow_numbers).to(self.device)
        self._slow_start = torch.from_numpy(core.slow_start).to(self.device)
        self._packed: Any = None
        if fused(self.device):
            from noble_net.device import streaming_kernel as kernel

            if kernel.holds(core.shape, w, len(core.zones), self.device):
                self._packed = kernel.packed(
                    w, core.step_samples, self._slow, split=self.device.type == "cuda"
                )
        self._dendrite_limits = torch.tensor(limits[2:], device=self.device).unbind(1)

    def begin(self, cells: CellTable) -> State:
        """Every cell at its own rest: settled under zero input, on the device. CheckpointError for wrong codes."""
        self.core.check_code(cells)
        code = self.core.told(np.ascontiguousarray(cells.code, np.float32))
        n, size = self.core.step_samples, cells.size
        rest, held, left = self.core.settling(cells)
        voltage = torch.tensor(rest, device=self.device)
        state = {
            "code": torch.tensor(code, device=self.device),
            "hidden": torch.zeros(size, self.core.hidden, device=self.device),
            "history": voltage[:, None].repeat(1, n),
            "slow": self._slow_start.repeat(size, 1),
            "voltage": voltage.clone(),
            "detector": torch.full_like(voltage, float(NO_CROSSING)),
        }
        for _ in range(held):
            self._hold(state, voltage)
        while left > 0:
            steps = min(left, _SETTLED_AT_ONCE)
            state["voltage"] = self._voltages(state, self._silence(steps, size))[0][-1].clone()
            left -= steps
        state["slow"].copy_(self._slow_start.expand_as(state["slow"]))
        return state

    def _hold(self, state: State, rest: Tensor) -> None:
        """A step of silence with the voltages [B] held; see `StreamingCore.begin`."""
        self._voltages(state, self._silence(1, len(rest)))
        state["history"].copy_(rest[:, None].expand_as(state["history"]))
        state["slow"].copy_(self._slow_start.expand_as(state["slow"]))

    def _silence(self, steps: int, size: int) -> DeviceDrive:
        shape = len(self.core.zones), steps * self.core.step_samples, size
        nothing = torch.zeros((1, 1, 1), device=self.device).expand(shape)
        return DeviceDrive(nothing, None, nothing)

    def advance(self, state: State, drive: DeviceDrive) -> Answer:
        """One block of a multiple of the core's step; see `DeviceCore.advance`."""
        voltage, outside = self._voltages(state, drive)
        fired, lag, detector = detect(voltage, state["voltage"], state["detector"])
        state["voltage"], state["detector"] = voltage[-1].clone(), detector
        return Answer(voltage, fired, lag, outside)

    def _voltages(self, state: State, drive: DeviceDrive) -> tuple[Tensor, Tensor]:
        """Voltages of a block [samples, B], and samples outside the envelope [B]."""
        n = self.core.step_samples
        size = state["hidden"].shape[0]
        voltage = torch.empty((drive.samples, size), device=self.device)
        outside = torch.zeros(size, dtype=torch.int32, device=self.device)
        if self._packed is not None and drive.nmda is None:
            from noble_net.device import streaming_kernel as kernel

            limits = (*self._voltage_limits[:2], *self._soma_limits[:3])
            kernel.advance(self._packed, state, drive, limits, voltage, outside)
            return voltage, outside
        for first in range(0, drive.samples, n):
            step = slice(first, first + n)
            last = state["history"][:, -1]
            dendrites = self._dendrites(drive, step, last, outside) if len(self.core.zones) > 1 else []
            voltage[step] = self._step(state, *_input(drive, step, last), dendrites, outside)
        return voltage, outside

    def _step(
        self,
        state: State,
        current: Tensor,
        conductance: Tensor | None,
        reversal: Tensor,
        dendrites: list[Tensor],
        outside: Tensor,
    ) -> Tensor:
        """One step of n samples, input of the soma [n, B] each, of the dendrites [B, …]: the new voltages [n, B]. Adds
        to ``outside`` [B]."""
        w, history = self._w, state["history"]
        soma = self._scaled(current, conductance, reversal, history, outside)
        slow = s.SLOW_SCALE * (state["slow"].sqrt() - s.SLOW_CENTRE)
        x_BI = torch.cat([soma, *dendrites, slow, state["code"]], dim=1)
        e_BH = silu(linear(x_BI, w["encode_in.weight"], w["encode_in.bias"]))
        if "encode_out.weight" in w:
            e_BH = silu(linear(e_BH, w["encode_out.weight"], w["encode_out.bias"]))
        told = [state["code"]] if self.core.shape.code_units else []
        state["hidden"] = h_BH = self._gated(state["hidden"], e_BH)
        d_BH = silu(linear(torch.cat([e_BH, h_BH, *told], 1), w["decode_in.weight"], w["decode_in.bias"]))
        answered = linear(d_BH, w["decode_out.weight"], w["decode_out.bias"])
        n = history.shape[1]
        increment_Bn = answered[:, :n]
        if self.core.shape.direct:
            increment_Bn = increment_Bn + linear(torch.cat([soma, *dendrites], 1), w["direct.weight"])
        new_Bn = history[:, -1:] + increment_Bn / s.VOLTAGE_SCALE
        rest, kept, influx = self._slow.unbind(1)
        above = kept * (state["slow"] - rest) + influx * answered[:, n:].clamp(min=0.0)
        state["slow"] = (rest + above).clamp(max=s.SLOW_LIMIT)
        lowest, highest, *_ = self._voltage_limits
        outside += ((new_Bn < lowest) | (new_Bn > highest)).sum(1, dtype=torch.int32)
        state["history"] = new_Bn.clamp(s.VOLTAGE_LOW, s.VOLTAGE_HIGH)
        return state["history"].T

    def _gated(self, hidden: Tensor, encoded: Tensor) -> Tensor:
        """The gated recurrent unit, [B, H]."""
        w = self._w
        reset_x, update_x, new_x = linear(encoded, w["gru.weight_ih_l0"], w["gru.bias_ih_l0"]).chunk(3, 1)
        own = linear(hidden, w["gru.weight_hh_l0"], w["gru.bias_hh_l0"])
        reset_h, update_h, new_h = own.chunk(3, 1)
        update = torch.sigmoid(update_x + update_h)
        new = torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
        return (1.0 - update) * new + update * hidden

    def _dendrites(self, drive: DeviceDrive, step: slice, last: Tensor, outside: Tensor) -> list[Tensor]:
        """Currents to the soma, local voltages and roots of the conductances of the dendrites over a step, [B, …] each;
        see `noble_net.surrogate.streaming_torch.StreamingNet`."""
        n = self.core.step_samples
        reversal_BZ = (drive.reversal_current[1:, step] + 1000.0 * drive.current[1:, step]).mean(1).T
        conductances = [torch.zeros_like(reversal_BZ)]
        if drive.conductance is not None:
            conductances = [drive.conductance[1:, step].mean(1).T]
        effective = s.CURRENT_SCALE * 1e-3 * (reversal_BZ - conductances[0] * last[:, None])
        pulled_BZ = self._coupling * last[:, None] + reversal_BZ
        loaded_BZ = self._coupling + conductances[0]
        local_BZ = pulled_BZ / loaded_BZ
        block: list[Tensor] = []
        if self.core.shape.dendritic_nmda:
            half = drive.nmda.half if drive.nmda else torch.full_like(last, s.BLOCK_CENTRE)
            block = [(s.BLOCK_SCALE * (half - s.BLOCK_CENTRE)).clamp(-BLOCK_LIMIT, BLOCK_LIMIT)[:, None]]
            nmda = drive.nmda.conductance[1:, step].mean(1).T if drive.nmda else torch.zeros_like(reversal_BZ)
            conductances.append(nmda)
            limited = s.BLOCK_CENTRE + block[0] / s.BLOCK_SCALE
            for _ in range(s.LOCAL_ROUNDS):
                local_BZ = pulled_BZ / (loaded_BZ + nmda * torch.sigmoid(BLOCK_SLOPE * (local_BZ - limited)))
        lowest, highest, *most = self._dendrite_limits
        outside += n * ((effective < lowest) | (effective > highest)).sum(1, dtype=torch.int32)
        roots = []
        for each, limit in zip(conductances, most, strict=False):
            scaled = s.CONDUCTANCE_SCALE * each
            outside += n * ((scaled > limit) | (scaled < 0.0)).sum(1, dtype=torch.int32)
            roots.append(scaled.clamp(0.0, s.CONDUCTANCE_LIMIT).sqrt())
        arriving = s.CURRENT_SCALE * 1e-3 * self._coupling * (local_BZ - last[:, None])
        return [
            arriving.clamp(-s.CURRENT_LIMIT, s.CURRENT_LIMIT),
            s.VOLTAGE_SCALE * (local_BZ - s.VOLTAGE_CENTRE),
            *roots,
            *block,
        ]

    def _scaled(
        self,
        current: Tensor,
        conductance: Tensor | None,
        reversal: Tensor,
        history: Tensor,
        outside: Tensor,
    ) -> Tensor:
        """[effective current | conductance | voltage] of one step, [B, 3n]."""
        inward = reversal if conductance is None else reversal - conductance * history[:, -1]
        effective = s.CURRENT_SCALE * (current + 1e-3 * inward)
        lowest, highest, most, _ = self._soma_limits
        beyond = (effective < lowest) | (effective > highest)
        scaled = torch.zeros_like(effective) if conductance is None else s.CONDUCTANCE_SCALE * conductance
        if conductance is not None:
            beyond |= (scaled > most) | (scaled < 0.0)
        outside += beyond.sum(0, dtype=torch.int32)
        return torch.cat(
            [
                effective.clamp(-s.CURRENT_LIMIT, s.CURRENT_LIMIT).T,
                scaled.clamp(0.0, s.CONDUCTANCE_LIMIT).T,
                s.VOLTAGE_SCALE * (history - s.VOLTAGE_CENTRE),
            ],
            dim=1,
        )


def _input(drive: DeviceDrive, step: slice, last: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
    """Current, conductance and reversal current [n, B] of a step, with what the last voltage's magnesium block lets
    through of NMDA input."""
    current, reversal = drive.current[0, step], drive.reversal_current[0, step]
    conductance = None if drive.conductance is None else drive.conductance[0, step]
    if drive.nmda is None:
        return current, conductance, reversal
    opened = torch.sigmoid(BLOCK_SLOPE * (last - drive.nmda.half))
    let_in = opened * drive.nmda.conductance[0, step]
    reversal = reversal + opened * drive.nmda.reversal_current[0, step]
    return current, let_in if conductance is None else conductance + let_in, reversal
