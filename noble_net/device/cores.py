"""Cores on a device: what the device loop asks of one, and which ones there are."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from noble_net.surrogate.core import Core
from noble_net.surrogate.integrate_and_fire import IntegrateAndFire
from noble_net.surrogate.streaming import StreamingCore
from noble_net.types import CellTable

State = dict[str, Tensor]
"""State of cells between blocks, by the names of the core on CPU; the first axis is the cell."""


class NmdaInput(NamedTuple):
    """`noble_net.types.Nmda` on a device: [zones, samples, cells] twice, and [cells]."""

    conductance: Tensor
    reversal_current: Tensor
    half: Tensor


class DeviceDrive(NamedTuple):
    """`noble_net.types.Drive` on a device, [zones, samples, cells]. ``conductance`` is None where there is none."""

    current: Tensor
    conductance: Tensor | None
    reversal_current: Tensor
    nmda: NmdaInput | None = None

    @property
    def samples(self) -> int:
        """Samples in the block."""
        return int(self.current.shape[1])

    def of(self, cells: slice) -> DeviceDrive:
        """The drive of some of the cells, a view."""
        nmda = self.nmda
        return DeviceDrive(
            self.current[..., cells],
            None if self.conductance is None else self.conductance[..., cells],
            self.reversal_current[..., cells],
            nmda and NmdaInput(nmda[0][..., cells], nmda[1][..., cells], nmda.half[cells]),
        )


class Answer(NamedTuple):
    """What a core answers for one block, [samples, cells]: voltage (mV, float32), where it spiked (bool), how long
    before the end of such a sample (ms, float32), and samples outside the envelope (int32 [cells])."""

    voltage: Tensor
    fired: Tensor
    lag: Tensor
    outside: Tensor


class DeviceCore(Protocol):
    """A core on a device. It stands for one on CPU, whose zones, step and dtype it shares."""

    @property
    def core(self) -> Core:
        """The core on CPU."""

    def begin(self, cells: CellTable) -> State:
        """State of ``cells`` at rest; see `Core.begin`."""

    def advance(self, state: State, drive: DeviceDrive) -> Answer:
        """Advance by one block; the tensors in ``state`` are replaced."""


def device_core(core: Core, device: str) -> DeviceCore:
    """A core brought to a device ('cpu', 'cuda', 'cuda:1'). TypeError for one that `check_holds` refuses."""
    if isinstance(core, StreamingCore):
        from noble_net.device.streaming import DeviceStreaming

        return DeviceStreaming(core, device)
    from noble_net.device.integrate_and_fire import DeviceIntegrateAndFire

    if not isinstance(core, IntegrateAndFire):
        raise TypeError(f"core {core.name} passed the checks")
    return DeviceIntegrateAndFire(core, device)
