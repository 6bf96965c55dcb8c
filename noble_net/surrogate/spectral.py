"""The spectral convolution of a 1-D FNO: only the kept frequencies are multiplied, as products of real matrices.

What neuraloperator's own computes, forth and back. PyTorch's complex batched product goes through the frequencies one
by one on a CPU and copies each, and its gradient of a real transform is a complex one: together more than half of
a training step. Shape legend: B traces, I and O channels in and out, M kept frequencies, N samples.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor


def spectral_convolution(x_BIN: Tensor, weight_IOM: Tensor, bias_O: Tensor) -> Tensor:
    """Real [B, I, N] times complex weights at frequencies 0 … M − 1 of the window, others dropped, plus ``bias`` →
    real [B, O, N]. M is at most N // 2 + 1."""
    return cast(Tensor, _SpectralConvolution.apply(x_BIN, weight_IOM, bias_O))  # type: ignore[no-untyped-call]


class _SpectralConvolution(torch.autograd.Function):
    """x → X = rfft(x) / N → Y_om = Σ_i X_im·W_iom → y = irfft(Y), whose sum takes every frequency but 0 (and N / 2)
    twice, for its conjugate."""

    @staticmethod
    def forward(ctx: Any, x_BIN: Tensor, weight_IOM: Tensor, bias_O: Tensor) -> Tensor:
        count = weight_IOM.shape[-1]
        x_MBI2 = _as_matrices(torch.fft.rfft(x_BIN, norm="forward")[..., :count])
        w_MIO2 = _rotations(weight_IOM)
        ctx.save_for_backward(x_MBI2, w_MIO2)
        y_BOM = _as_complex(torch.bmm(x_MBI2, w_MIO2))
        y_BOM[..., 0] += bias_O
        return _signal(y_BOM, x_BIN.shape[-1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (gradient_BON,) = gradients
        x_MBI2, w_MIO2 = ctx.saved_tensors
        count, samples = len(x_MBI2), gradient_BON.shape[-1]
        times_M = torch.full((count,), 2.0, device=gradient_BON.device)
        times_M[0] = 1.0
        if 2 * (count - 1) == samples:
            times_M[-1] = 1.0
        back_BOM = torch.fft.rfft(gradient_BON)[..., :count] * times_M
        back_MBO2 = _as_matrices(back_BOM)
        of_x_BIM = _as_complex(torch.bmm(back_MBO2, w_MIO2.transpose(1, 2))) / (samples * times_M)
        of_x_BIN = _signal(of_x_BIM, samples)
        of_w_MIO2 = torch.bmm(x_MBI2.transpose(1, 2), back_MBO2)
        return of_x_BIN, _unrotated(of_w_MIO2), back_BOM[..., 0].real.sum(dim=0)


def _signal(values_BCM: Tensor, samples: int) -> Tensor:
    """The real [B, C, N] of these frequencies, which are changed: 0 and N / 2 lose their imaginary parts, that no real
    signal has. A CPU's transforms ignore them; cuFFT's are not bound to."""
    imaginary_BCM = torch.view_as_real(values_BCM)[..., 1]
    imaginary_BCM[..., 0] = 0.0
    if 2 * (values_BCM.shape[-1] - 1) == samples:
        imaginary_BCM[..., -1] = 0.0
    signal_BCN: Tensor = torch.fft.irfft(values_BCM, n=samples, norm="forward")
    return signal_BCN


def _as_matrices(values_BCM: Tensor) -> Tensor:
    """Complex [B, C, M] → real [M, B, 2C]: real parts, then imaginary ones."""
    real_BCM2 = torch.view_as_real(values_BCM)
    return real_BCM2.permute(2, 0, 3, 1).reshape(values_BCM.shape[2], values_BCM.shape[0], -1)


def _as_complex(values_MBC2: Tensor) -> Tensor:
    """The way back: real [M, B, 2C] → complex [B, C, M]."""
    count, traces, _ = values_MBC2.shape
    halves_MB2C = values_MBC2.view(count, traces, 2, -1)
    return torch.view_as_complex(halves_MB2C.permute(1, 3, 0, 2).contiguous())


def _rotations(weight_IOM: Tensor) -> Tensor:
    """Complex [I, O, M] → real [M, 2I, 2O], by which (real, imaginary) rows are multiplied as by the complex ones."""
    inner, outer, count = weight_IOM.shape
    rows_MI2O = torch.view_as_real(weight_IOM).permute(2, 0, 3, 1).contiguous()
    blocks_M2I2O = rows_MI2O.new_empty(count, 2, inner, 2, outer)
    blocks_M2I2O[:, 0] = rows_MI2O
    torch.neg(rows_MI2O[:, :, 1], out=blocks_M2I2O[:, 1, :, 0])
    blocks_M2I2O[:, 1, :, 1] = rows_MI2O[:, :, 0]
    return blocks_M2I2O.view(count, 2 * inner, 2 * outer)


def _unrotated(gradient_MIO2: Tensor) -> Tensor:
    """The gradient of `_rotations`: real [M, 2I, 2O] → complex [I, O, M]."""
    inner, outer = gradient_MIO2.shape[1] // 2, gradient_MIO2.shape[2] // 2
    above, below = gradient_MIO2[:, :inner], gradient_MIO2[:, inner:]
    real_MIO = above[..., :outer] + below[..., outer:]
    imaginary_MIO = above[..., outer:] - below[..., :outer]
    return torch.complex(real_MIO.permute(1, 2, 0), imaginary_MIO.permute(1, 2, 0)).contiguous()
