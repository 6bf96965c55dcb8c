"""The streaming core in PyTorch: the definition that is trained; `noble_net.surrogate.streaming` runs it fast.

Shape legend: B cells, T recurrent steps, n samples per step, C code length, H hidden units.
Needs the extra [train]; nothing that only runs networks imports this module.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noble_net.surrogate import scaling as s


class StreamingNet(nn.Module):
    """One recurrent step maps (n samples of input, the cell's own last n voltages, code, state) → next n voltages.

    encoder: [effective current | conductance | voltage | code] → H → H; GRU of H units; decoder [encoded | state]
    → H → n increments on the last voltage. Activations are SiLU. See `noble_net.surrogate.scaling` for units.
    """

    def __init__(self, code: int, hidden: int, samples: int) -> None:
        super().__init__()
        self.samples = samples
        self.encode_in = nn.Linear(3 * samples + code, hidden)
        self.encode_out = nn.Linear(hidden, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.decode_in = nn.Linear(2 * hidden, hidden)
        self.decode_out = nn.Linear(hidden, samples)
        with torch.no_grad():
            self.decode_out.weight.mul_(0.1)

    def forward(
        self, drive: Tensor, voltage: Tensor, code: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Teacher-forced pass, parallel over time but for the recurrent unit.

        ``drive`` [B, T, 3, n] (nA, nS, pA), ``voltage`` [B, T, n] (mV): the n samples before each step, ``code``
        [B, C], ``state`` [1, B, H] or None at the start. Returns the next voltages [B, T, n] (mV) and the state.
        """
        x_BTI = self._scale(drive, voltage)
        e_BTH = self._encode(x_BTI, self._fold(code)[:, None])
        g_BTH, state = self.gru(e_BTH, state)
        return self._decode(e_BTH, g_BTH, voltage), state

    def roll_out(
        self,
        drive: Tensor,
        voltage: Tensor,
        code: Tensor,
        state: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Free-running pass on the core's own voltage; ``voltage`` [B, n] are the n samples before the first step,
        other shapes as in `forward`."""
        h_BH = state[0] if state is not None else drive.new_zeros(len(drive), self.gru.hidden_size)
        bias = self._fold(code)
        gru: list[Tensor] = [*self.gru.parameters()]  # weight_ih, weight_hh, bias_ih, bias_hh
        answers = []
        for t in range(drive.shape[1]):
            e_BH = self._encode(self._scale(drive[:, t], voltage), bias)
            h_BH = torch.gru_cell(e_BH, h_BH, *gru)
            voltage = self._decode(e_BH, h_BH, voltage)
            answers.append(voltage)
        return torch.stack(answers, dim=1), h_BH[None]

    def _fold(self, code: Tensor) -> Tensor:
        """Encoder bias with the code folded in, [B, H]."""
        return nn.functional.linear(code, self.encode_in.weight[:, 3 * self.samples :], self.encode_in.bias)

    def _scale(self, drive: Tensor, voltage: Tensor) -> Tensor:
        """[…, 3, n] and […, n] → […, 3n]: effective current at the last voltage, conductance, voltage."""
        current, conductance, reversal = drive.unbind(dim=-2)
        effective = current + 1e-3 * (reversal - conductance * voltage[..., -1:])
        return torch.cat(
            [
                (s.CURRENT_SCALE * effective).clamp(-s.CURRENT_LIMIT, s.CURRENT_LIMIT),
                (s.CONDUCTANCE_SCALE * conductance).clamp(0.0, s.CONDUCTANCE_LIMIT),
                s.VOLTAGE_SCALE * (voltage - s.VOLTAGE_CENTRE),
            ],
            dim=-1,
        )

    def _encode(self, x: Tensor, bias: Tensor) -> Tensor:
        silu, weight = nn.functional.silu, self.encode_in.weight[:, : 3 * self.samples]
        return silu(self.encode_out(silu(nn.functional.linear(x, weight) + bias)))

    def _decode(self, encoded: Tensor, state: Tensor, voltage: Tensor) -> Tensor:
        d = nn.functional.silu(self.decode_in(torch.cat([encoded, state], dim=-1)))
        new: Tensor = voltage[..., -1:] + self.decode_out(d) / s.VOLTAGE_SCALE
        return new.clamp(s.VOLTAGE_LOW, s.VOLTAGE_HIGH)
