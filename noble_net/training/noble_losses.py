"""What NOBLE's training lowers: the relative L^p error of a trace, and that of its sag (both differentiable).

Shape legend: B traces, N samples.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEADY = 0.1
"""Share of the step, at its end, that the steady voltage is the mean of."""
_SCALE = 10.0
"""Errors are taken in units of 0.1 V, so that high powers stay within float32; relative ones do not change."""


def relative_error(answer: Tensor, truth: Tensor, power: int) -> Tensor:
    """‖answer − truth‖_p / ‖truth‖_p of every trace: volts [B, N] → [B]."""
    error = torch.linalg.vector_norm(_SCALE * (answer - truth), ord=power, dim=-1)
    size = torch.linalg.vector_norm(_SCALE * truth, ord=power, dim=-1)
    return torch.div(error, size)


def sag_amplitude(
    volts: Tensor, onset: Tensor, sampling: float, duration: float, temperature: float
) -> Tensor:
    """Sag of hyperpolarising steps, mV [B]: mean of the last tenth of the step less the minimum over the step.

    ``volts`` [B, N]; ``onset`` [B], ``sampling`` and ``duration`` in ms. With a ``temperature`` the minimum is a soft
    one, the mean weighted by exp(−V / ``temperature`` mV): smoother, and blind to dips that are short.
    """
    millivolts = 1000.0 * volts
    time = sampling * torch.arange(volts.shape[1], device=volts.device) - onset[:, None]
    within = (time > -1e-4 * sampling) & (time < duration - 1e-4 * sampling)
    late = within & (time > (1.0 - STEADY) * duration - 1e-4 * sampling)
    steady = (millivolts * late).sum(dim=1) / late.sum(dim=1)
    if temperature == 0.0:
        return steady - millivolts.masked_fill(~within, torch.inf).amin(dim=1)
    weights = torch.softmax((-millivolts / temperature).masked_fill(~within, -torch.inf), dim=1)
    return steady - (weights * millivolts).sum(dim=1)


def sag_error(modelled: Tensor, wanted: Tensor) -> Tensor:
    """Relative L2 error of sags [B] over a batch of traces, a scalar."""
    error = torch.linalg.vector_norm(modelled - wanted)
    return torch.div(error, torch.linalg.vector_norm(wanted).clamp(min=1e-3))
