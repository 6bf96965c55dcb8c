"""Delivery on a device: the synapses of all spikes of a block, expanded side by side and added to the ring at once.

A synapse is a weight (float32) and a place: its delay's row and its target's column of the ring in one number, int32
where the ring is small enough, so 8 bytes. A spike adds the row of its sample; the sum wraps around the ring's end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noble_net.device.fused import fused
from noble_net.device.synapses import DeviceBank
from noble_net.network.connect import ProjectionArrays
from noble_net.network.underway_kernels import FIXED_POINT
from noble_net.run_state import Arrays, fill
from noble_net.specs.plasticity import TsodyksMarkramSpec
from noble_net.types import DT

AT_ONCE = 1 << 24
"""Synaptic events expanded at a time (or those of one spike, where they are more): some 50 bytes each."""
_UPLOADED_AT_ONCE = 1 << 26


class Route:
    """The way of spikes through one projection onto the ring of a bank, whose weights do not change."""

    def __init__(self, projection: ProjectionArrays, bank: DeviceBank) -> None:
        plasticity = bank.spec.plasticity
        self._bank = bank
        device = bank.device
        small = 2 * bank.ring.numel() < 2**31 and projection.size < 2**31
        self._dtype = torch.int32 if small else torch.int64
        self._indptr = torch.tensor(projection.indptr, device=device)
        self._degree = self._indptr.diff()
        self._place = _places(projection, bank, self._dtype)
        self._weight = torch.tensor(projection.weight, device=device)
        self._release: Release | None = None
        if plasticity is not None and plasticity.tsodyks_markram is not None:
            self._release = Release(plasticity.tsodyks_markram, len(projection.indptr) - 1, device)

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes, as arrays."""
        return {} if self._release is None else self._release.state()

    def restore(self, arrays: Arrays) -> None:
        """Go on from such a state. OutputError when it does not fit."""
        if self._release is not None:
            self._release.restore(arrays)

    def send(self, start: int, fired: Tensor, sample: Tensor, cell: Tensor) -> None:
        """Send the spikes of the source in the block that began at ``start``: bool [samples, cells], and where that is
        true, int64 [spikes] twice."""
        share = None if self._release is None else self._release.share(start, fired)[sample, cell]
        if fused(self._bank.device):
            self._send_fused(start, sample, cell, share)
            return
        degree = self._degree[cell]
        ends = degree.cumsum(0)
        marks = ends.cpu()
        first = 0
        while first < len(marks):
            done = int(marks[first - 1]) if first else 0
            last = int(torch.searchsorted(marks, done + AT_ONCE, right=True))
            last = max(last, first + 1)
            own = slice(first, last)
            part = None if share is None else share[own]
            self._expand(start, sample[own], cell[own], degree[own], int(marks[last - 1]) - done, part)
            first = last

    def _send_fused(self, start: int, sample: Tensor, cell: Tensor, share: Tensor | None) -> None:
        from noble_net.device import kernels

        row = self._row(start, sample)
        kernels.send(cell, row, share, self._indptr, self._place, self._weight, self._bank.ring)

    def _row(self, start: int, sample: Tensor) -> Tensor:
        """Where the row of the ring begins that the spikes of these samples leave from."""
        return ((start + sample + 1) % self._bank.slots * self._bank.cells).to(self._dtype)

    def _expand(
        self, start: int, sample: Tensor, cell: Tensor, degree: Tensor, events: int, share: Tensor | None
    ) -> None:
        bank, dtype = self._bank, self._dtype
        begin = degree.cumsum(0) - degree
        owner = torch.repeat_interleave(degree.to(dtype), output_size=events)
        shift = (self._indptr[cell] - begin).to(dtype)
        row = self._row(start, sample)
        entry = torch.arange(events, dtype=dtype, device=bank.device).add_(shift.index_select(0, owner))
        place = self._place.index_select(0, entry).add_(row.index_select(0, owner))
        end = bank.ring.numel()
        place.sub_((place >= end).to(dtype), alpha=end)
        amount = self._weight.index_select(0, entry)
        if share is not None:
            amount = amount * share.index_select(0, owner)
        bank.ring.view(-1).index_add_(0, place, amount.double().mul_(FIXED_POINT).long())


class Release:
    """Short-term plasticity: `noble_net.network.plasticity_kernels.release` for all source cells, sample by sample.

    State per source cell, by the names used there.
    """

    def __init__(self, spec: TsodyksMarkramSpec, sources: int, device: torch.device) -> None:
        self._spec = spec
        self._used = torch.zeros(sources, dtype=torch.float64, device=device)
        self._recovered = torch.ones_like(self._used)
        self._last = torch.zeros(sources, dtype=torch.int64, device=device)

    def share(self, start: int, fired: Tensor) -> Tensor:
        """Share of its weight that a spike delivers, float32 [samples, cells], where ``fired`` says there is one."""
        spec, shares = self._spec, []
        for k, spikes in enumerate(fired.unbind()):
            elapsed = (start + k - self._last) * DT
            x = 1.0 - (1.0 - self._recovered) * torch.exp(-elapsed / spec.tau_rec)
            u = torch.full_like(x, spec.U)
            if spec.tau_facil > 0.0:
                u = u + (1.0 - spec.U) * self._used * torch.exp(-elapsed / spec.tau_facil)
            shares.append((u * x).float())
            self._used = torch.where(spikes, u, self._used)
            self._recovered = torch.where(spikes, x * (1.0 - u), self._recovered)
            self._last = torch.where(spikes, start + k, self._last)
        return torch.stack(shares)

    def state(self) -> dict[str, NDArray[Any]]:
        """The three arrays."""
        found = {"used": self._used, "recovered": self._recovered, "last": self._last}
        return {name: each.cpu().numpy() for name, each in found.items()}

    def restore(self, arrays: Arrays) -> None:
        """Go on from such a state. OutputError when it does not fit."""
        found = self.state()
        for name, array in found.items():
            fill(array, arrays, name)
        self._used, self._recovered, self._last = (
            torch.tensor(array, device=self._used.device) for array in found.values()
        )


def _places(projection: ProjectionArrays, bank: DeviceBank, dtype: torch.dtype) -> Tensor:
    """delay · cells + target of every synapse, brought to the device piece by piece."""
    found = torch.empty(projection.size, dtype=dtype, device=bank.device)
    for first in range(0, projection.size, _UPLOADED_AT_ONCE):
        part = slice(first, first + _UPLOADED_AT_ONCE)
        row = projection.delay[part].astype(np.int64) * bank.cells
        found[part] = torch.tensor(row + projection.target[part], device=bank.device)
    return found
