"""The rule of `noble_net.spikes` in PyTorch, all cells at once, sample by sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from noble_net.device.fused import fused
from noble_net.spikes import CONFIRM, CROSSING, MAX_LAG, REARM
from noble_net.types import DT


def detect(voltage: Tensor, last: Tensor, detector: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes of a block, as (where they are confirmed, how long before its end they crossed, the detector).

    ``voltage`` float32 [samples, cells]; ``last`` float32 [cells], the sample before the block; ``detector`` float32
    [cells], as in `noble_net.spikes`. Returns bool and float32 [samples, cells], a lag in ms, and [cells].
    """
    if fused(voltage.device):
        from noble_net.device import kernels

        return kernels.detect(voltage, last, detector)
    fired, lags = [], []
    before = last
    for now in voltage.unbind():
        unarmed = detector == math.inf
        share = (CROSSING - before.double()) / (now - before)
        crossed = (DT * (1.0 - share)).float()
        mark = torch.where(now < CROSSING, -math.inf, detector + DT)
        mark = torch.where((before < CROSSING) & (now >= CROSSING), crossed, mark)
        spike = ~unarmed & (now >= CONFIRM) & (mark > -math.inf)
        armed = torch.where(spike, math.inf, mark)
        detector = torch.where(unarmed, torch.where(now < REARM, -math.inf, detector), armed)
        fired.append(spike)
        lags.append(mark.clamp(max=MAX_LAG))
        before = now
    return torch.stack(fired), torch.stack(lags), detector
