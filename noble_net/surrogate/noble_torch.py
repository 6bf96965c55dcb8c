"""NOBLE in PyTorch: the embedding of `noble_net.surrogate.embedding` before neuraloperator's FNO.

Needs the extra [train]; nothing that only runs networks imports this module. Shape legend: B cells, F features,
N samples of the window.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from noble_net.errors import CheckpointError, MissingExtraError
from noble_net.specs.noble import NobleModelSpec
from noble_net.surrogate.embedding import Embedding, Ranges, Window


def _import_neuralop() -> tuple[Any, Any]:
    """FNO and SpectralConv of neuraloperator, without what its import does on the side.

    It would load wandb, a logger that talks to a server, if installed; and change the global warning filters.
    """
    held = sys.modules.get("wandb")
    if held is None:
        sys.modules["wandb"] = None  # type: ignore[assignment]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from neuralop.layers.spectral_convolution import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
                SpectralConv,
            )
            from neuralop.models import FNO  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError as error:
        raise MissingExtraError("NOBLE (neuraloperator)", "train") from error
    finally:
        if held is None:
            del sys.modules["wandb"]
    return FNO, SpectralConv


_FNO, _SpectralConv = _import_neuralop()


class _SpectralConvFloat32(_SpectralConv):  # type: ignore[misc, valid-type]
    """A spectral convolution that leaves autocast: half-precision FFTs want powers of two, bfloat16 has none."""

    def forward(self, x: Tensor, output_shape: tuple[int, ...] | None = None) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return cast(Tensor, super().forward(x.float(), output_shape))


class _Float32(nn.Module):
    """A module that leaves autocast."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return cast(Tensor, self.inner(x.float()))


class _Pointwise(nn.Conv1d):
    """A convolution over one sample as matrix products: a third faster in training on a CPU than oneDNN's."""

    def forward(self, x: Tensor) -> Tensor:
        weight_BOI = self.weight[:, :, 0].expand(x.shape[0], -1, -1)
        if self.bias is None:
            return torch.bmm(weight_BOI, x)
        return torch.baddbmm(self.bias[None, :, None], weight_BOI, x)


class NobleNet(nn.Module):
    """(features, amplitude, onset) → the voltage of a whole window, in volts.

    A 1-D FNO without normalisation and with neuraloperator's defaults (soft-gated channel MLPs, linear skips, a grid
    channel of its own). The window is filled up to ``window.padded`` samples and cut again behind the FNO.
    """

    def __init__(self, ranges: Ranges, window: Window, model: NobleModelSpec) -> None:
        super().__init__()
        octaves = model.feature_octaves, model.amplitude_octaves, model.rate_octaves
        self.embedding = Embedding(ranges, window, *octaves, from_onset=model.time_from == "onset")
        self.centre, self.scale = model.centre / 1000.0, model.scale / 1000.0
        self.fno = _FNO(
            n_modes=(model.modes,),
            in_channels=self.embedding.channels,
            out_channels=1,
            hidden_channels=model.channels,
            n_layers=model.layers,
            projection_channel_ratio=model.projection_ratio,
            conv_module=_SpectralConvFloat32,
        )
        for module in self.fno.modules():
            if type(module) is nn.Conv1d and module.kernel_size == (1,):
                module.__class__ = _Pointwise
        # bfloat16 keeps 8 bits: the voltage itself would be rounded to 0.4 mV.
        self.fno.projection = _Float32(self.fno.projection)

    def forward(self, features: Tensor, amplitude: Tensor, onset: Tensor) -> Tensor:
        """``features`` [B, F] in the order of ``embedding.features``, ``amplitude`` [B] nA, ``onset`` [B] ms →
        float32 [B, N] volts."""
        x_BCN = self.embedding(features, amplitude, onset)
        v_B1N = cast(Tensor, self.fno(x_BCN))
        return self.centre + self.scale * v_B1N[:, 0, : self.embedding.window.samples]


def parameter_count(net: nn.Module) -> int:
    """Real parameters: a complex one counts twice."""
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in net.parameters())


def real_view(tensor: Tensor) -> Tensor:
    """A complex tensor as a real one with a last axis of 2; any other as it is."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def weights_of(net: nn.Module) -> dict[str, NDArray[np.float32]]:
    """Every parameter by name as float32, complex ones as real views."""
    # Not state_dict(): neuraloperator puts its constructor's arguments in there.
    return {
        name: real_view(p.detach()).to("cpu", torch.float32, copy=True).numpy()
        for name, p in net.named_parameters()
    }


def load_weights(net: nn.Module, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Copy weights made by `weights_of` into ``net``. Raises CheckpointError unless names and shapes all fit."""
    parameters = dict(net.named_parameters())
    if parameters.keys() != weights.keys():
        odd = sorted(parameters.keys() ^ weights.keys())
        raise CheckpointError(f"the weights of a NOBLE core do not fit its description: {', '.join(odd[:4])}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            target, values = real_view(parameter), weights[name]
            if tuple(target.shape) != values.shape:
                raise CheckpointError(f"weight {name} has shape {values.shape}, not {tuple(target.shape)}")
            target.copy_(torch.from_numpy(values))
