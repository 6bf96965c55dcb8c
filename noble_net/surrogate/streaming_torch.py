"""The streaming core in PyTorch: the definition that is trained; `noble_net.surrogate.streaming` runs it fast.

Shape legend: B cells, T recurrent steps, n samples per step, Z dendritic zones, A slow variables, C code length, K
units of the code's embedding, H hidden units. Needs the extra [train]; nothing that only runs networks imports it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from noble_net.surrogate import scaling as s
from noble_net.surrogate.recurrent_torch import recur
from noble_net.surrogate.streaming_shape import Slow, input_count, slow_numbers, slow_start
from noble_net.types import BLOCK_SLOPE

COUPLINGS = (30.0, 10.0)
"""Of the nearest and the farthest dendritic zone to the soma, at the start of training, nS."""


class Dendrites(NamedTuple):
    """Input of the dendritic zones, means over each step: conductance (nS) and Σ g·E (pA) [B, T, Z]; with NMDA its
    conductance before the magnesium block (nS, reversing at 0 mV) [B, T, Z] and the half of that block, mV [B]."""

    conductance: Tensor
    reversal_current: Tensor
    nmda: Tensor | None = None
    half: Tensor | None = None

    def to(self, device: torch.device) -> Dendrites:
        """The same on a device."""
        nmda = None if self.nmda is None else self.nmda.to(device)
        half = None if self.half is None else self.half.to(device)
        return Dendrites(self.conductance.to(device), self.reversal_current.to(device), nmda, half)

    def at(self, step: int) -> Dendrites:
        """The input of one step, [B, Z] each."""
        nmda = None if self.nmda is None else self.nmda[:, step]
        return Dendrites(self.conductance[:, step], self.reversal_current[:, step], nmda, self.half)


class StreamingNet(nn.Module):
    """One recurrent step maps (n samples of input, the cell's own last n voltages, code, state) → next n voltages.

    encoder: [effective current | conductance | voltage | dendrites | slow | code] → H (→ H with two layers); GRU of
    H units; decoder [encoded | state] → D (H, unless told) → n increments on the last voltage. Activations are SiLU.
    ``direct``: the encoder's inputs, but for slow variables and code, are led to the increments past all activations,
    as a membrane takes up a current in proportion.

    See `noble_net.surrogate.scaling` for units. With ``code_units`` the code is first embedded, C → L → K (L: K unless
    told), and enters encoder and decoder; without, the encoder alone, as it is.

    The input of a dendritic zone acts at a voltage of its own, at which it is balanced by the current from the soma
    through ``coupling`` (log nS, learned). The encoder gets that current, that voltage and roots of the conductances.

    With ``slow`` variables the encoder gets the roots of those too, and the decoder answers what flows in during the
    step, where that is above 0; the state is the H hidden units, then the A variables, each in its unit.
    """

    def __init__(
        self,
        code: int,
        hidden: int,
        samples: int,
        zones: int = 0,
        nmda: bool = False,
        code_units: int = 0,
        encoder_layers: int = 2,
        decoder_units: int | None = None,
        slow: Sequence[Slow] = (),
        direct: bool = False,
        code_hidden: int | None = None,
    ) -> None:
        super().__init__()
        self.samples, self.hidden, self.slow = samples, hidden, tuple(slow)
        self.inputs = input_count(samples, zones, nmda, len(self.slow))
        self.numbers: Tensor
        self.slow_start: Tensor
        self.register_buffer("numbers", torch.from_numpy(slow_numbers(self.slow, samples)), persistent=False)
        self.register_buffer("slow_start", torch.from_numpy(slow_start(self.slow)), persistent=False)
        between = code_hidden or code_units
        self.code_in = nn.Linear(code, between) if code_units else None
        self.code_out = nn.Linear(between, code_units) if code_units else None
        if zones:
            self.coupling = nn.Parameter(
                torch.linspace(math.log(COUPLINGS[0]), math.log(COUPLINGS[1]), zones)
            )
        self.encode_in = nn.Linear(self.inputs + (code_units or code), hidden)
        self.encode_out = nn.Linear(hidden, hidden) if encoder_layers == 2 else None
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.decode_in = nn.Linear(2 * hidden + code_units, decoder_units or hidden)
        self.decode_out = nn.Linear(decoder_units or hidden, samples + len(self.slow))
        with torch.no_grad():
            self.decode_out.weight.mul_(0.1)
        self.direct: nn.Linear | None = None
        if direct:
            self.direct = nn.Linear(self.inputs - len(self.slow), samples, bias=False)
            nn.init.zeros_(self.direct.weight)

    def forward(
        self,
        drive: Tensor,
        voltage: Tensor,
        code: Tensor,
        state: Tensor | None = None,
        dendrites: Dendrites | None = None,
        slow: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Teacher-forced pass, parallel over time but for the recurrent unit.

        ``drive`` [B, T, 3, n] (nA, nS, pA) of the soma, ``voltage`` [B, T, n] (mV): the n samples before each step,
        ``code`` [B, C], ``state`` [1, B, H] or None at the start. Returns the next voltages [B, T, n] (mV) and the
        state.

        A net with slow variables is fed those, too, [B, T, A] before each step, and what flows in stands behind each
        step's voltages, [B, T, n + A]; or it is not, keeps account of them as in `roll_out`, one step after the other,
        and answers as a net without.
        """
        if self.slow and slow is None:
            return self._walk(drive, voltage[:, 0], code, state, dendrites, voltage)[:2]
        c_BK = self._embed(code)
        x_BTI = self._scale(drive, voltage, dendrites, slow)
        e_BTH = self._encode(x_BTI, self._fold(self.encode_in, c_BK)[:, None])
        g_BTH, state = recur(self.gru, e_BTH, state)
        answer, influx = self._decode(x_BTI, e_BTH, g_BTH, voltage, self._late_bias(c_BK)[:, None])
        return torch.cat([answer, influx], dim=-1) if self.slow else answer, state

    def roll_out(
        self,
        drive: Tensor,
        voltage: Tensor,
        code: Tensor,
        state: Tensor | None = None,
        dendrites: Dendrites | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Free-running pass on the core's own voltage; ``voltage`` [B, n] are the n samples before the first step,
        other shapes as in `forward`; the state is [1, B, H + A]."""
        return self._walk(drive, voltage, code, state, dendrites, None)[:2]

    def account(
        self, drive: Tensor, voltage: Tensor, code: Tensor, state: Tensor, dendrites: Dendrites | None
    ) -> Tensor:
        """Its own account of slow variables before each step, [B, T, A], while it is fed voltages; arguments as in
        `forward`, the state with slow variables."""
        return self._walk(drive, voltage[:, 0], code, state, dendrites, voltage)[2]

    def start(self, cells: int) -> Tensor:
        """The state of so many cells at rest."""
        return torch.cat([self.slow_start.new_zeros(self.hidden), self.slow_start]).expand(1, cells, -1)

    def _walk(
        self,
        drive: Tensor,
        voltage: Tensor,
        code: Tensor,
        state: Tensor | None,
        dendrites: Dendrites | None,
        fed: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step after the other, from its own voltage, or from what is ``fed`` [B, T, n]: voltages after each step,
        the state then, and slow variables before each, [B, T, A]."""
        state = self.start(len(drive)) if state is None else state
        h_BH, s_BA = state[0, :, : self.hidden], state[0, :, self.hidden :]
        c_BK = self._embed(code)
        bias = self._fold(self.encode_in, c_BK)
        late = self._late_bias(c_BK)
        gru: list[Tensor] = [*self.gru.parameters()]  # weight_ih, weight_hh, bias_ih, bias_hh
        answers, accounts = [], []
        for t in range(drive.shape[1]):
            accounts.append(s_BA)
            voltage = voltage if fed is None else fed[:, t]
            at = None if dendrites is None else dendrites.at(t)
            x_BI = self._scale(drive[:, t], voltage, at, s_BA)
            e_BH = self._encode(x_BI, bias)
            h_BH = torch.gru_cell(e_BH, h_BH, *gru)
            voltage, influx = self._decode(x_BI, e_BH, h_BH, voltage, late)
            s_BA = self.let_in(influx, s_BA)
            answers.append(voltage)
        state = torch.cat([h_BH, s_BA], dim=-1)[None]
        return torch.stack(answers, dim=1), state, torch.stack(accounts, dim=1)

    def let_in(self, influx: Tensor, slow: Tensor) -> Tensor:
        """Slow variables […, A] after a step of which the decoder answers ``influx`` […, A]."""
        flown = self.numbers[:, 2] * influx.clamp(min=0.0)
        return (self.left(slow) + flown).clamp(max=s.SLOW_LIMIT)

    def left(self, slow: Tensor) -> Tensor:
        """What decay leaves of slow variables […, A] within a step."""
        rest, kept = self.numbers[:, 0], self.numbers[:, 1]
        return rest + kept * (slow - rest)

    def _embed(self, code: Tensor) -> Tensor:
        """What the layers are told of the code: its embedding [B, K], or itself."""
        if self.code_in is None or self.code_out is None:
            return code
        embedded: Tensor = self.code_out(nn.functional.silu(self.code_in(code)))
        return embedded

    @staticmethod
    def _fold(layer: nn.Linear, code: Tensor) -> Tensor:
        """A layer's bias with the code, its last inputs, folded in, [B, H]."""
        return nn.functional.linear(code, layer.weight[:, -code.shape[-1] :], layer.bias)

    def _late_bias(self, code: Tensor) -> Tensor:
        """The decoder's bias, [B or 1, H]: with the code, where it is embedded."""
        return self.decode_in.bias[None] if self.code_in is None else self._fold(self.decode_in, code)

    def _scale(
        self, drive: Tensor, voltage: Tensor, dendrites: Dendrites | None, slow: Tensor | None
    ) -> Tensor:
        """[…, 3, n], […, n] and […, A] → […, inputs]: effective current at the last voltage, conductance, voltage; of
        the dendrites what `_local` finds, and the roots of the conductances; those of slow variables."""
        current, conductance, reversal = drive.unbind(dim=-2)
        last = voltage[..., -1:]
        parts = [
            _current(current + 1e-3 * (reversal - conductance * last)),
            (s.CONDUCTANCE_SCALE * conductance).clamp(0.0, s.CONDUCTANCE_LIMIT),
            s.VOLTAGE_SCALE * (voltage - s.VOLTAGE_CENTRE),
        ]
        if dendrites is not None:
            half = dendrites.half
            if half is not None:
                half = half.reshape(-1, *[1] * (voltage.dim() - 1))
            local = self._local(dendrites, last, half)
            parts += [
                _current(1e-3 * torch.exp(self.coupling) * (local - last)),
                s.VOLTAGE_SCALE * (local - s.VOLTAGE_CENTRE),
                _root(dendrites.conductance),
            ]
            if dendrites.nmda is not None and half is not None:
                scaled = s.BLOCK_SCALE * (half - s.BLOCK_CENTRE)
                parts += [_root(dendrites.nmda), scaled.expand(*voltage.shape[:-1], 1)]
        if slow is not None:
            parts.append(s.SLOW_SCALE * (slow.sqrt() - s.SLOW_CENTRE))
        return torch.cat(parts, dim=-1)

    def _local(self, dendrites: Dendrites, last: Tensor, half: Tensor | None) -> Tensor:
        """The voltages U of the dendritic zones, […, Z] mV: c·(V − U) + J − G·U − B(U)·G_nmda·U = 0 with the coupling c
        to the somatic voltage V […, 1] and the magnesium block B, in `LOCAL_ROUNDS` rounds."""
        coupling = torch.exp(self.coupling)
        pulled = coupling * last + dendrites.reversal_current
        loaded = coupling + dendrites.conductance
        local = pulled / loaded
        if dendrites.nmda is not None and half is not None:
            for _ in range(s.LOCAL_ROUNDS):
                local = pulled / (loaded + dendrites.nmda * torch.sigmoid(BLOCK_SLOPE * (local - half)))
        return local

    def _encode(self, x: Tensor, bias: Tensor) -> Tensor:
        silu, weight = nn.functional.silu, self.encode_in.weight[:, : self.inputs]
        encoded = silu(nn.functional.linear(x, weight) + bias)
        return encoded if self.encode_out is None else silu(self.encode_out(encoded))

    def _decode(
        self, x: Tensor, encoded: Tensor, state: Tensor, voltage: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The next voltages […, n], and what flows in […, A]."""
        weight = self.decode_in.weight[:, : 2 * self.hidden]
        d = nn.functional.silu(nn.functional.linear(torch.cat([encoded, state], dim=-1), weight) + bias)
        answered: Tensor = self.decode_out(d)
        increment = answered[..., : self.samples]
        if self.direct is not None:
            increment = increment + self.direct(x[..., : self.direct.in_features])
        new = voltage[..., -1:] + increment / s.VOLTAGE_SCALE
        return new.clamp(s.VOLTAGE_LOW, s.VOLTAGE_HIGH), answered[..., self.samples :]


def _current(effective: Tensor) -> Tensor:
    return (s.CURRENT_SCALE * effective).clamp(-s.CURRENT_LIMIT, s.CURRENT_LIMIT)


def _root(conductance: Tensor) -> Tensor:
    return (s.CONDUCTANCE_SCALE * conductance).clamp(0.0, s.CONDUCTANCE_LIMIT).sqrt()
