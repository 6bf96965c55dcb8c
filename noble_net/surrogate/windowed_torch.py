"""The windowed core in PyTorch: a Fourier neural operator on [history | window].

`noble_net.surrogate.windowed` runs it. Needs the extra [train]. Shape legend: B cells, H samples of history, W of
window, N = H + W, F numbers told of a cell, K octaves, C channels.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from noble_net.specs.windowed import WindowedModelSpec
from noble_net.surrogate import scaling as s
from noble_net.surrogate.embedding import octaves_of, waves
from noble_net.surrogate.fno import make_fno


class WindowedNet(nn.Module):
    """(voltage so far, input so far and in the window, what is told of the cell) → voltage in the window.

    Channels of the FNO: voltage (zero in the window), effective current, conductance, the window's mask, and of each
    told number K sines and K cosines over the stretch (`noble_net.surrogate.embedding`). It answers increments on the
    last voltage. See `noble_net.surrogate.scaling` for units.
    """

    def __init__(self, told: int, model: WindowedModelSpec) -> None:
        super().__init__()
        self.history, self.window = model.history_samples, model.window_samples
        samples = self.history + self.window
        turn = 2.0 * math.pi / (samples - 1)
        mask = torch.zeros(1, 1, samples)
        mask[..., self.history :] = 1.0
        self.register_buffer("time", turn * torch.arange(samples), persistent=False)
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("octaves", octaves_of(model.octaves), persistent=False)
        self.fno = make_fno(
            4 + 2 * model.octaves * told,
            channels=model.channels,
            modes=model.modes,
            layers=model.layers,
            projection_ratio=model.projection_ratio,
        )
        self.fno.projection = _OfWindow(cast(nn.Module, self.fno.projection), self.window)

    def embed(self, told: Tensor) -> Tensor:
        """The channels that tell of the cells, [B, 2·F·K, N], from scaled numbers [B, F]: the same in every window."""
        return waves(told, self.get_buffer("octaves"), self.get_buffer("time")[None])

    def forward(self, voltage: Tensor, current: Tensor, conductance: Tensor, embedded: Tensor) -> Tensor:
        """``voltage`` [B, H] mV, ``current`` [B, N] nA (effective) and ``conductance`` [B, N] nS → [B, W] mV, which may
        lie beyond any bound."""
        scaled_BH = s.VOLTAGE_SCALE * (voltage - s.VOLTAGE_CENTRE)
        x_BCN = torch.cat(
            [
                nn.functional.pad(scaled_BH, (0, self.window))[:, None],
                (s.CURRENT_SCALE * current).clamp(-s.CURRENT_LIMIT, s.CURRENT_LIMIT)[:, None],
                (s.CONDUCTANCE_SCALE * conductance).clamp(0.0, s.CONDUCTANCE_LIMIT)[:, None],
                self.get_buffer("mask").expand(len(voltage), -1, -1),
                embedded,
            ],
            dim=1,
        )
        increment_B1W = cast(Tensor, self.fno(x_BCN))
        return voltage[:, -1:] + increment_B1W[:, 0] / s.VOLTAGE_SCALE


class _OfWindow(nn.Module):
    """A pointwise module that is asked for the window alone."""

    def __init__(self, inner: nn.Module, samples: int) -> None:
        super().__init__()
        self.inner, self.samples = inner, samples

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.inner(x[..., -self.samples :]))


def effective_current(
    current: Tensor, conductance: Tensor, reversal_current: Tensor, voltage: Tensor
) -> Tensor:
    """I + (J − G·V)/1000, nA, of input [B, n] (nA, nS, pA) at voltages [B, n] or [B, 1] mV."""
    return current + 1e-3 * (reversal_current - conductance * voltage)
