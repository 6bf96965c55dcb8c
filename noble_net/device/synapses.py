"""Synapses on a device: the banks of `noble_net.network.synapses`, and the ring in which their events arrive.

Amounts are added up in fixed point (int64), so that neither the order of events nor that of atomic additions matters:
what arrives is equal to the CPU's, bit for bit. States are float64, with the same expressions; the CPU's setting of
states below 10⁻¹² to zero is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noble_net.config import SynapseSpec
from noble_net.device.fused import fused
from noble_net.network.synapses import sample_means, synapse_constants
from noble_net.network.underway_kernels import FIXED_POINT
from noble_net.run_state import Arrays, fill
from noble_net.types import Float64, Int32, Int64


class DeviceBank:
    """State of one synapse type on the cells of one population.

    ``ring`` int64 [slots, cells] holds what arrives in each sample n, in row n modulo the slots: the samples of the
    longest delay (and one), or of the block where that is longer. It is 8 bytes a cell and sample of delay.
    """

    def __init__(
        self,
        spec: SynapseSpec,
        cells: int,
        longest_delay: int,
        longest_block: int,
        memory: Float64 | None,
        device: torch.device,
    ) -> None:
        self.spec, self.cells, self.device = spec, cells, device
        self.constants: list[float] = synapse_constants(spec).tolist()
        self._on_device = torch.tensor(self.constants, dtype=torch.float64, device=device)
        if memory is None or spec.kind == "conductance":
            memory = np.full(1, np.inf)
        self._mean_decaying, self._mean_rising = torch.tensor(sample_means(spec, memory), device=device)
        self._ahead = longest_delay + 1
        self.slots = max(self._ahead, longest_block)
        self.ring = torch.zeros((self.slots, cells), dtype=torch.int64, device=device)
        self.decaying, self.rising = torch.zeros((2, cells), dtype=torch.float64, device=device)

    def state(self, position: int) -> dict[str, NDArray[Any]]:
        """All that changes between blocks: the states, and what arrives from sample ``position`` on."""
        found = {
            "decaying": self.decaying,
            "rising": self.rising,
            "arriving": self.ring[self._next(position)],
        }
        return {name: each.cpu().numpy() for name, each in found.items()}

    def restore(self, position: int, arrays: Arrays) -> None:
        """Go on from such a state. OutputError when it does not fit."""
        found = self.state(position)
        for name, array in found.items():
            fill(array, arrays, name)
        self.decaying, self.rising = (
            torch.tensor(found[name], device=self.device) for name in ("decaying", "rising")
        )
        self.ring.zero_()
        self.ring[self._next(position)] = torch.tensor(found["arriving"], device=self.device)

    def _next(self, position: int) -> Tensor:
        return self.rows(position, self._ahead)

    def rows(self, start: int, samples: int) -> Tensor:
        """The rows of the ring for so many samples, int64."""
        return torch.arange(start, start + samples, device=self.device) % self.slots

    def drive_block(self, start: int, conductance: Tensor | None, reversal_current: Tensor) -> None:
        """Advance from sample ``start`` by the samples of the drive [samples, cells], adding to it; the exact solution
        of `noble_net.network.synapse_kernels.synapse_block`."""
        gain_d, gain_r, keep_d, keep_r, feed, share, factor = self.constants
        opened = conductance if share else None
        if fused(self.device):
            from noble_net.device import kernels

            means = self._mean_decaying, self._mean_rising
            states = self.decaying, self.rising
            kernels.drive_block(self.ring, start, states, means, self._on_device, opened, reversal_current)
            return
        rows = self.rows(start, reversal_current.shape[0])
        arrived = self.ring.index_select(0, rows).double().mul_(1.0 / FIXED_POINT)
        self.ring.index_fill_(0, rows, 0)
        single = gain_r == 0.0 and feed == 0.0  # one exponential: the rising part stays zero
        d, r = self.decaying, self.rising
        for k, weight in enumerate(arrived.unbind()):
            d = d + gain_d * weight
            mean = d * self._mean_decaying
            if single:
                d = d * keep_d
            else:
                r = r + gain_r * weight
                mean = mean + r * self._mean_rising
                d, r = d * keep_d + r * feed, r * keep_r
            reversal_current[k] += (factor * mean).to(reversal_current.dtype)
            if opened is not None:
                opened[k] += (share * mean).to(opened.dtype)
        self.decaying, self.rising = d, r

    def add(self, sample: int, values: Tensor, cells: Tensor | None = None) -> None:
        """Let int64 ``values`` [samples, cells] arrive from ``sample`` on, at all cells or those given."""
        rows = self.rows(sample, values.shape[0])
        if cells is None:
            self.ring.index_add_(0, rows, values)
        else:
            places = rows[:, None] * self.cells + cells
            self.ring.view(-1).index_add_(0, places.flatten(), values.flatten())

    def arrive(self, start: int, counts: Int32, weight: Int64) -> None:
        """`SynapseBank.arrive`, for events that are drawn on the CPU."""
        cell, sample = np.nonzero(counts)
        self.arrive_each(cell, start + sample, counts[cell, sample] * weight[cell])

    def arrive_each(self, cells: Int64, samples: Int64, weights: Int64) -> None:
        """`SynapseBank.arrive_each`, likewise."""
        places = torch.tensor((samples % self.slots) * self.cells + cells, device=self.device)
        self.ring.view(-1).index_add_(0, places, torch.tensor(weights, device=self.device))
