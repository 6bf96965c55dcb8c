"""PyTorch's gated recurrent unit, run by compiled kernels where they can: on CPU, in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from noble_net.surrogate import recurrent_kernels as kernels
from noble_net.surrogate.tiles import LANES, ROWS
from noble_net.types import Float32


def recur(gru: nn.GRU, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """What ``gru(x, state)`` answers, of one layer with the batch first: states [B, T, H] and the last [1, B, H]."""
    units = gru.hidden_size
    if x.device.type != "cpu" or x.dtype != torch.float32 or units % ROWS:
        answer: tuple[Tensor, Tensor] = gru(x, state)
        return answer
    start = x.new_zeros(len(x), units) if state is None else state[0]
    of_input, of_state, at_input, at_state = gru.parameters()
    told = nn.functional.linear(x, of_input, at_input)
    states: Tensor = _Recurrence.apply(told, start, of_state, at_state)  # type: ignore[no-untyped-call]
    return states, states[:, -1][None]


def _array(tensor: Tensor) -> Float32:
    found: Float32 = tensor.detach().contiguous().numpy()
    return found


class _Recurrence(torch.autograd.Function):
    """told [B, T, 3H], start [B, H], weight [3H, H], bias [3H] → states [B, T, H]."""

    @staticmethod
    def forward(ctx: Any, told: Tensor, start: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        streams, steps, units = len(start), told.shape[1], start.shape[1]
        kept = np.empty((-(-streams // LANES), steps, kernels.KEPT * units, LANES), np.float32)
        states = np.empty((streams, steps, units), np.float32)
        kernels.forth(_array(told), _array(start), _array(weight), _array(bias), states, kept)
        found = torch.from_numpy(states)
        ctx.kept = kept
        ctx.save_for_backward(start, weight, found)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outside: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        start, weight, states = ctx.saved_tensors
        streams, steps, units = states.shape
        told, from_state = np.empty((streams, steps, 3 * units), np.float32), np.empty_like(states.numpy())
        begin = np.empty((streams, units), np.float32)
        kernels.back(_array(outside), _array(weight.t()), ctx.kept, told, from_state, begin)
        of_told = torch.from_numpy(told)
        # Reset and update gate get input and state alike, the new state the state through the reset gate.
        of_own = torch.cat([of_told[..., : 2 * units], torch.from_numpy(from_state)], dim=-1).flatten(0, 1)
        before = torch.cat([start[:, None], states[:, :-1]], dim=1).flatten(0, 1)
        return of_told, torch.from_numpy(begin), of_own.t() @ before, of_own.sum(0)
