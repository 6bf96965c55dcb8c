"""neuraloperator's FNO in one dimension, as the cores built on it use it, and their weights as plain numbers.

Needs the extra [train]; nothing that runs networks on other cores imports this module.
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
from noble_net.surrogate.spectral import spectral_convolution


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
        raise MissingExtraError("this core (neuraloperator)", "train") from error
    finally:
        if held is None:
            del sys.modules["wandb"]
    return FNO, SpectralConv


_FNO, _SpectralConv = _import_neuralop()


class _SpectralConvFloat32(_SpectralConv):  # type: ignore[misc, valid-type]
    """A spectral convolution by `noble_net.surrogate.spectral`, out of autocast: half-precision FFTs want powers of
    two, bfloat16 has none."""

    alone = False
    """Whether every sample stands alone: no frequency passes, and the bias is left."""

    def forward(self, x: Tensor, output_shape: tuple[int, ...] | None = None) -> Tensor:
        if self.alone:
            return cast(Tensor, self.bias.expand(x.shape[0], -1, x.shape[2]))
        with torch.autocast(x.device.type, enabled=False):
            return spectral_convolution(x.float(), self.weight.tensor, self.bias[:, 0])


class Float32Module(nn.Module):
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


def make_fno(
    channels_in: int, *, channels: int, modes: int, layers: int, projection_ratio: int, lifting_ratio: int = 2
) -> nn.Module:
    """An untrained FNO [B, ``channels_in``, N] → [B, 1, N] without normalisation and with the library's defaults:
    soft-gated channel MLPs, linear skips, a grid channel of its own."""
    fno: nn.Module = _FNO(
        n_modes=(modes,),
        in_channels=channels_in,
        out_channels=1,
        hidden_channels=channels,
        n_layers=layers,
        projection_channel_ratio=projection_ratio,
        lifting_channel_ratio=lifting_ratio,
        conv_module=_SpectralConvFloat32,
    )
    for module in fno.modules():
        if type(module) is nn.Conv1d and module.kernel_size == (1,):
            module.__class__ = _Pointwise
    return fno


def answer_alone(fno: nn.Module, values_PC: Tensor, place_P: Tensor) -> Tensor:
    """What the network without its frequencies, where every sample stands alone, answers to the input at P samples that
    lie at ``place`` of their windows (0 to 1): [P]."""
    parts, convolutions = cast(Any, fno), _spectral_convolutions(fno)
    try:
        for each in convolutions:
            each.alone = True
        x_1CP = parts.lifting(torch.cat([values_PC, place_P[:, None]], dim=1).T[None])
        for layer in range(parts.n_layers):
            x_1CP = parts.fno_blocks(x_1CP, layer)
    finally:
        for each in convolutions:
            each.alone = False
    return cast(Tensor, parts.projection(x_1CP)[0, 0])


def forget_frequencies(fno: nn.Module) -> None:
    """Set the weights of all frequencies to zero: what `answer_alone` gives is then what the whole network does."""
    with torch.no_grad():
        for each in _spectral_convolutions(fno):
            each.weight.tensor.zero_()


def _spectral_convolutions(fno: nn.Module) -> list[_SpectralConvFloat32]:
    return [module for module in fno.modules() if isinstance(module, _SpectralConvFloat32)]


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
    """Copy weights made by `weights_of` into ``net``. Raises CheckpointError unless names and shapes
    all fit."""
    parameters = dict(net.named_parameters())
    if parameters.keys() != weights.keys():
        odd = sorted(parameters.keys() ^ weights.keys())
        raise CheckpointError(f"the weights do not fit their description: {', '.join(odd[:4])}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            target, values = real_view(parameter), weights[name]
            if tuple(target.shape) != values.shape:
                raise CheckpointError(f"weight {name} has shape {values.shape}, not {tuple(target.shape)}")
            target.copy_(torch.from_numpy(values))
