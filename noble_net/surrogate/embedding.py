"""NOBLE's input: features and amplitude of a cell written as waves over the window, beside the current itself.

A scaled number p becomes the channels sin(2^k·t·p) and cos(2^k·t·p), k = 0 … K − 1, over a time t that runs from 0
to 2π through the window ("NeRF" encoding, arXiv 2506.04536). Unlike in the code published with the paper, features
are known by name and the amplitude is given, not read off the current: zero current is as good as any.

Shape legend: B cells, F features, C channels, N samples (of the padded window), K octaves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from noble_net.cells.latent_space import HIGHEST, LOWEST
from noble_net.errors import FamilyError
from noble_net.surrogate.step_core import NOBLE_PROTOCOL

CURRENT_SCALE = 10.0
"""Current channel and amplitude are in 0.1 nA."""

Ranges = Mapping[str, tuple[float, float]]
"""Feature → its smallest and largest value over the family, in its own unit."""


class Window(NamedTuple):
    """The samples of a network: ``samples`` of the protocol, ``padded`` in all, ``sampling`` ms apart."""

    samples: int
    padded: int
    sampling: float
    duration: float = NOBLE_PROTOCOL.duration
    """Of the step, ms."""


class Embedding(nn.Module):
    """(features, amplitude, onset) → channels: the current, 2K of the amplitude, 2K of each feature.

    ``features`` holds the names in the order in which `forward` wants their values: alphabetical, whatever the order
    of ``ranges``. Raises FamilyError when a range is empty or not finite.
    """

    def __init__(
        self, ranges: Ranges, window: Window, feature_octaves: int = 1, amplitude_octaves: int = 9
    ) -> None:
        super().__init__()
        self.features = tuple(sorted(ranges))
        self.window = window
        for name in self.features:
            low, high = ranges[name]
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise FamilyError(f"feature {name} ranges over [{low}, {high}]: it cannot tell cells apart")
        self.channels = 1 + 2 * amplitude_octaves + 2 * feature_octaves * len(self.features)
        limits = torch.tensor([ranges[name] for name in self.features], dtype=torch.float64).reshape(-1, 2)
        self._buffer("low", limits[:, 0].float())
        self._buffer("width", (limits[:, 1] - limits[:, 0]).float())
        self._buffer("feature_waves", _octaves(window, feature_octaves))
        self._buffer("amplitude_waves", _octaves(window, amplitude_octaves))
        self._buffer("index", torch.arange(window.padded))

    def _buffer(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values, persistent=False)

    def forward(self, features: Tensor, amplitude: Tensor, onset: Tensor) -> Tensor:
        """``features`` [B, F] in their own units, ``amplitude`` [B] nA, ``onset`` [B] ms → float32 [B, C, N].

        Features are scaled as in a latent space (`noble_net.cells.latent_space`) and extrapolated outside their range.
        """
        low, width = self.get_buffer("low"), self.get_buffer("width")
        scaled_BF = LOWEST + (HIGHEST - LOWEST) * (features - low) / width
        scaled_B = CURRENT_SCALE * amplitude
        return torch.cat(
            [
                self._current(scaled_B, onset),
                _waves(scaled_B[:, None], self.get_buffer("amplitude_waves")),
                _waves(scaled_BF, self.get_buffer("feature_waves")),
            ],
            dim=1,
        )

    def _current(self, scaled: Tensor, onset: Tensor) -> Tensor:
        """The step, [B, 1, N]: on at the samples of [onset, onset + duration)."""
        # In float64 and with a margin: 15 ms is exactly sample 250 of 0.06 ms, which no rounding may miss.
        first = torch.ceil(onset.double() / self.window.sampling - 1e-4)
        last = torch.ceil((onset.double() + self.window.duration) / self.window.sampling - 1e-4)
        index = self.get_buffer("index")
        on = (index >= first[:, None]) & (index < last[:, None])
        return (on * scaled[:, None])[:, None]


def _octaves(window: Window, octaves: int) -> Tensor:
    """2^k·t, [K, N], with t = 2π at the window's last sample; the padding runs on at the same rate."""
    time = torch.arange(window.padded, dtype=torch.float64) * (2.0 * math.pi / max(window.samples - 1, 1))
    return (2.0 ** torch.arange(octaves, dtype=torch.float64)[:, None] * time).float()


def _waves(values: Tensor, octaves_KN: Tensor) -> Tensor:
    """Values [B, F] → [B, 2·F·K, N]: for each value its K sines, then its K cosines."""
    phase_BFKN = values[:, :, None, None] * octaves_KN
    waves = torch.stack([torch.sin(phase_BFKN), torch.cos(phase_BFKN)], dim=2)
    return waves.flatten(1, 3)
