"""NOBLE in PyTorch: the embedding of `noble_net.surrogate.embedding` before neuraloperator's FNO.

Needs the extra [train]; nothing that only runs networks imports this module. Shape legend: B cells, F features,
N samples of the window.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from noble_net.specs.noble import NobleModelSpec
from noble_net.surrogate.embedding import Embedding, Ranges, Window
from noble_net.surrogate.fno import Float32Module, answer_alone, make_fno


class NobleNet(nn.Module):
    """(features, amplitude, onset) → the voltage of a whole window, in volts.

    A 1-D FNO (`noble_net.surrogate.fno`). The window is filled up to ``window.padded`` samples and cut
    again behind the FNO.
    """

    def __init__(self, ranges: Ranges, window: Window, model: NobleModelSpec) -> None:
        super().__init__()
        octaves = model.feature_octaves, model.amplitude_octaves, model.phase_octaves
        self.embedding = Embedding(
            ranges,
            window,
            *octaves,
            phase_members=model.phase_members,
            told_intervals=model.told_intervals,
            spike_decays=model.spike_decays,
            from_onset=model.time_from == "onset",
        )
        self.centre, self.scale = model.centre / 1000.0, model.scale / 1000.0
        self.fno = make_fno(
            self.embedding.channels,
            channels=model.channels,
            modes=model.modes,
            layers=model.layers,
            projection_ratio=model.projection_ratio,
            lifting_ratio=model.lifting_ratio,
        )
        self.rest_within = model.rest_within
        # bfloat16 keeps 8 bits: the voltage itself would be rounded to 0.4 mV.
        self.fno.projection = Float32Module(cast(nn.Module, self.fno.projection))

    def forward(self, features: Tensor, amplitude: Tensor, onset: Tensor) -> Tensor:
        """``features`` [B, F] in the order of ``embedding.features``, ``amplitude`` [B] nA, ``onset`` [B] ms →
        float32 [B, N] volts."""
        x_BCN = self.embedding(features, amplitude, onset)
        v_B1N = cast(Tensor, self.fno(x_BCN))
        return self._volts(v_B1N[:, 0, : self.embedding.window.samples], features, amplitude)

    def alone(
        self, features: Tensor, amplitude: Tensor, onset: Tensor, index: Tensor, spikes: Tensor | None = None
    ) -> Tensor:
        """As `forward` at one sample of each window, ``index`` [B], by a network without frequencies: [B] volts.

        ``spikes``: see `Embedding.forward`.
        """
        x_BC1 = self.embedding(features, amplitude, onset, index[:, None], spikes)
        answer_B = answer_alone(self.fno, x_BC1[:, :, 0], index / self.embedding.window.padded)
        return self._volts(answer_B[:, None], features, amplitude)[:, 0]

    def _volts(self, answer_BN: Tensor, features: Tensor, amplitude: Tensor) -> Tensor:
        """What the FNO answers as a voltage, [B, N]: the rest itself without a step."""
        volts_BN = self.centre + self.scale * answer_BN
        if not self.rest_within:
            return volts_BN
        rest_B = features[:, self.embedding.features.index("voltage_base")] / 1000.0
        share_B = -torch.expm1(-((amplitude / self.rest_within) ** 2))
        return torch.lerp(rest_B[:, None], volts_BN.float(), share_B[:, None])
