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
from noble_net.surrogate.phase import COLUMNS, Phase, phase_of, usual_columns
from noble_net.surrogate.step_core import NOBLE_PROTOCOL

CURRENT_SCALE = 10.0
"""Current channel and amplitude are in 0.1 nA."""
RATE_SCALE = 20.0
"""Over the length of a predicted cycle, ms."""
CYCLE_SCALE = 0.05
"""Per cycle of firing since the onset."""

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
    """(features, amplitude, onset) → channels: the current, 2K of the amplitude, 2K of each feature; with
    ``phase_octaves`` the rate and cycles of the firing that `noble_net.surrogate.phase` predicts, 2K waves of them, and
    two marks of each spike per ``spike_decays``: exp(−s/decay) at s ms after it and before it.

    ``features`` holds the names in the order in which `forward` wants their values: alphabetical, whatever the order
    of ``ranges``. Raises FamilyError when a range is empty or not finite.
    """

    def __init__(
        self,
        ranges: Ranges,
        window: Window,
        feature_octaves: int = 1,
        amplitude_octaves: int = 9,
        phase_octaves: int = 0,
        phase_members: int = 50,
        told_intervals: bool = False,
        spike_decays: tuple[float, ...] = (),
        from_onset: bool = False,
    ) -> None:
        super().__init__()
        self.features = tuple(sorted(ranges))
        self.window = window
        self.from_onset = from_onset
        self.told_intervals = told_intervals
        for name in self.features:
            low, high = ranges[name]
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise FamilyError(f"feature {name} ranges over [{low}, {high}]: it cannot tell cells apart")
        self.channels = 1 + 2 * amplitude_octaves + (2 * feature_octaves or 1) * len(self.features)
        self.channels += 2 + 2 * phase_octaves + 2 * len(spike_decays) if phase_octaves else 0
        self.phase = Phase(len(self.features), phase_members).requires_grad_(False) if phase_octaves else None
        limits = torch.tensor([ranges[name] for name in self.features], dtype=torch.float64).reshape(-1, 2)
        self._buffer("low", limits[:, 0].float())
        self._buffer("width", (limits[:, 1] - limits[:, 0]).float())
        self._buffer("feature_octaves", octaves_of(feature_octaves))
        self._buffer("amplitude_octaves", octaves_of(amplitude_octaves))
        self._buffer("phase_octaves", octaves_of(phase_octaves))
        self._buffer("spike_decays", torch.tensor(spike_decays, dtype=torch.float64))
        self._buffer("time", _time(window))
        self._buffer("index", torch.arange(window.padded))

    def _buffer(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values, persistent=False)

    def forward(
        self,
        features: Tensor,
        amplitude: Tensor,
        onset: Tensor,
        index: Tensor | None = None,
        spikes: Tensor | None = None,
    ) -> Tensor:
        """``features`` [B, F] in their own units, ``amplitude`` [B] nA, ``onset`` [B] ms → float32 [B, C, N]: of all
        samples of the padded window, or of those with numbers ``index`` [B, N]. ``spikes``: what the
        method of that name gives, where it is known already.

        Features are scaled as in a latent space (`noble_net.cells.latent_space`) and extrapolated outside their range.
        """
        index_BN = self.get_buffer("index")[None] if index is None else index
        scaled_BF = self.scaled(features)
        scaled_B = CURRENT_SCALE * amplitude
        time_BN = self._time(onset, index_BN)
        on_BN = self._on(onset, index_BN)
        channels = [
            (on_BN * scaled_B[:, None])[:, None],
            waves(scaled_B[:, None], self.get_buffer("amplitude_octaves"), time_BN),
            self._features(scaled_BF, time_BN),
        ]
        if self.phase is not None:
            spikes = self.spikes(features, amplitude) if spikes is None else spikes
            channels.append(self._firing(spikes, onset, index_BN) * on_BN[:, None])
        return torch.cat(channels, dim=1)

    def spikes(self, features: Tensor, amplitude: Tensor) -> Tensor:
        """Times of the spikes that the tables tell, [B, S] ms after the onset. Raises ValueError without tables."""
        if self.phase is None:
            raise ValueError("this core has no tables of spikes")
        above = self.above(features, amplitude)
        times: Tensor = self.phase(self.scaled(features), above, self.usual(features))
        return times

    def usual(self, features: Tensor) -> Tensor:
        """What the columns of the cells' tables are beside, float64 [B, COLUMNS]: zero unless features tell of them."""
        if not self.told_intervals:
            return torch.zeros(len(features), COLUMNS, dtype=torch.float64, device=features.device)
        return usual_columns({name: features[:, i] for i, name in enumerate(self.features)})

    def scaled(self, features: Tensor) -> Tensor:
        """Features [B, F] as a latent space scales them."""
        low, width = self.get_buffer("low"), self.get_buffer("width")
        return LOWEST + (HIGHEST - LOWEST) * (features - low) / width

    def unscaled(self, scaled: Tensor) -> Tensor:
        """Features [B, F] in their own units."""
        low, width = self.get_buffer("low"), self.get_buffer("width")
        return low + width * (scaled - LOWEST) / (HIGHEST - LOWEST)

    def above(self, features: Tensor, amplitude: Tensor) -> Tensor:
        """Current above I_thr, [B] nA; the current itself where I_thr is not embedded."""
        if "I_thr" not in self.features:
            return amplitude
        return amplitude - features[:, self.features.index("I_thr")]

    def _features(self, scaled_BF: Tensor, time_BN: Tensor) -> Tensor:
        octaves_K = self.get_buffer("feature_octaves")
        if len(octaves_K):
            return waves(scaled_BF, octaves_K, time_BN)
        return scaled_BF[:, :, None].expand(-1, -1, time_BN.shape[1])

    def _time(self, onset: Tensor, index_BN: Tensor) -> Tensor:
        """Time of the waves, [B or 1, N]: 2π a window, from its beginning or from each step's."""
        time_BN: Tensor = self.get_buffer("time")[index_BN]
        if not self.from_onset:
            return time_BN
        turn = 2.0 * math.pi / ((self.window.samples - 1) * self.window.sampling)
        return time_BN - (turn * onset.double()).float()[:, None]

    def _firing(self, times: Tensor, onset: Tensor, index_BN: Tensor) -> Tensor:
        """Rate and cycles of the predicted firing, its waves, and marks of its spikes: [B, 2 + 2K + 2D, N]."""
        since_BN = self.window.sampling * index_BN - onset.double()[:, None]
        cycles_BN, length_BN = phase_of(times, since_BN)
        phase_BKN = 2.0 * math.pi * self.get_buffer("phase_octaves")[:, None] * cycles_BN[:, None]
        told_BN = torch.stack([RATE_SCALE / length_BN, CYCLE_SCALE * cycles_BN], dim=1)
        decay_D1 = self.get_buffer("spike_decays")[:, None]
        part_BN = cycles_BN - cycles_BN.floor()
        after_BDN = torch.exp(-(part_BN * length_BN)[:, None] / decay_D1) * (cycles_BN >= 0.0)[:, None]
        before_BDN = torch.exp(-((1.0 - part_BN) * length_BN)[:, None] / decay_D1)
        waves_of_it = torch.sin(phase_BKN), torch.cos(phase_BKN)
        return torch.cat([told_BN, *waves_of_it, after_BDN, before_BDN], dim=1).float()

    def _on(self, onset: Tensor, index_BN: Tensor) -> Tensor:
        """Whether the step is on, [B, N]: at the samples of [onset, onset + duration)."""
        # In float64 and with a margin: 15 ms is exactly sample 250 of 0.06 ms, which no rounding may miss.
        first = torch.ceil(onset.double() / self.window.sampling - 1e-4)
        last = torch.ceil((onset.double() + self.window.duration) / self.window.sampling - 1e-4)
        return (index_BN >= first[:, None]) & (index_BN < last[:, None])


def octaves_of(octaves: int) -> Tensor:
    """2^k, [K]."""
    return 2.0 ** torch.arange(octaves, dtype=torch.float32)


def _time(window: Window) -> Tensor:
    """Time from the window's beginning, [N], 2π at its last sample; the padding runs on at the same rate."""
    turn = 2.0 * math.pi / max(window.samples - 1, 1)
    return (torch.arange(window.padded, dtype=torch.float64) * turn).float()


def waves(values: Tensor, octaves_K: Tensor, time: Tensor) -> Tensor:
    """Values [B, F] over a time [B or 1, N] → [B, 2·F·K, N]: for each value its K sines, then its K cosines."""
    phase_BFKN = values[:, :, None, None] * (octaves_K[:, None] * time[:, None])[:, None]
    both = torch.stack([torch.sin(phase_BFKN), torch.cos(phase_BFKN)], dim=2)
    return both.flatten(1, 3)
