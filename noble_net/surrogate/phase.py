"""When a cell fires regularly under a step of current: the rate and the phase of its spikes, from its features.

After its first few spikes a cell without much adaptation fires as a clock does. A small network gives that clock's rate
and phase, for the waves of `noble_net.surrogate.embedding`. It is fitted to spike times before the operator is trained
(`noble_net.training.noble_phase`) and then kept. Shape legend: B cells, F features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noble_net.cells.features import SLOPE_OFFSETS
from noble_net.cells.latent_space import HIGHEST, LOWEST

CURRENT = SLOPE_OFFSETS[-1]
"""Current above I_thr that counts as one, nA: that of the step at which e-features are measured."""
LEAST = 0.002
"""Least current above I_thr that is told apart, nA: I_thr is known to 2.5 pA."""
RATE = 50.0
"""Hz, where the network answers 0."""
_MIDDLE, _SPREAD = (LOWEST + HIGHEST) / 2.0, 0.8
"""Of scaled features (`noble_net.cells.latent_space`)."""
_POWERS = 3
"""Of the current above threshold that the network is told."""


class Phase(nn.Module):
    """(scaled features, current above I_thr) → rate and phase of regular firing.

    Spike k of a step comes at t = (k + phase)/rate after the onset, but for the first few.
    """

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(_POWERS + features, units),
            nn.SiLU(),
            nn.Linear(units, units),
            nn.SiLU(),
            nn.Linear(units, 2),
        )

    def forward(self, scaled: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        """``scaled`` [B, F] features and ``above`` [B] nA over I_thr → rate [B] Hz and phase [B] cycles, float64; both
        0 where ``above`` is not positive."""
        x = above.float().clamp(min=LEAST) / CURRENT
        told = torch.stack([x.sqrt() - 1.0, x.log(), 0.1 / x.sqrt()], dim=1)
        with torch.autocast(told.device.type, enabled=False):  # cycles to a hundredth want more than 8 bits
            found = self.layers(torch.cat([told, (scaled.float() - _MIDDLE) / _SPREAD], dim=1)).double()
        fires = above > 0.0
        return RATE * torch.exp(found[:, 0]) * fires, (1.0 + found[:, 1]) * fires
