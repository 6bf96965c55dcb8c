"""The interface everything turns on: a core advances a set of cells by one block of input.

Contract, tested for every core: causal (input after t changes nothing before t); bounded for any finite
input; bitwise independent of how cells are batched and of how time is cut into blocks; state can be copied,
saved and restored. A class is either this abstract one or final: wrap a core to change it, never subclass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from noble_net.types import CellTable, CoreInfo, Drive, DriveDtype, Float64, Response, State


class Core(ABC):
    """A map (drive over a block, cell code, state) → (voltage and spikes over the block, state).

    ``zones`` are the input zones the core offers, ``step_samples`` its native step: a block must be a
    multiple of it, and no synapse of a network on this core may have a shorter delay.
    """

    name: str
    zones: tuple[str, ...]
    step_samples: int
    nmda: bool = False
    """Whether the core takes the drive's NMDA input."""
    half_block: tuple[float, float] | None = None
    """Between which voltages (mV) half of that was blocked in training, where the core tells."""
    drive_dtype: DriveDtype = np.float32
    """Of the drive it takes."""
    hash: str | None = None
    """Hash of the weights; None for a core without weights."""
    family: str | None = None
    """Name of the cell family the core was trained on; None for a core that needs no family."""
    family_hash: str | None = None
    """Hash of that family."""

    @property
    def info(self) -> CoreInfo:
        """The facts the network floor needs."""
        return CoreInfo(self.name, self.zones, self.step_samples, self.nmda, self.half_block)

    @abstractmethod
    def begin(self, cells: CellTable) -> State:
        """State of ``cells`` at rest, each at its own resting potential."""

    def memory(self, cells: CellTable) -> Float64 | None:
        """Time constant (ms) [cells] with which a cell forgets current, of a core that is linear in current.

        The current of synapses then comes, in each sample, as that constant current which brings the cell at the
        sample's end to where the current itself would. None: as its mean over the sample.
        """
        return None

    def check_drive(self, drive: Drive) -> None:
        """Raise ValueError for a drive of other zones, or that is no multiple of the core's step."""
        if drive.zones != self.zones or drive.samples % self.step_samples:
            raise ValueError(
                f"core {self.name} takes zones {self.zones} and a multiple of {self.step_samples} samples, "
                f"got {drive.zones} and {drive.samples}"
            )

    @abstractmethod
    def advance(self, state: State, drive: Drive) -> tuple[Response, State]:
        """Advance by one block. ``drive`` has shape [zones, cells, samples] with zones in this core's
        order; its samples are a multiple of ``step_samples``. The state passed in is consumed: its buffers
        may be reused, so keep a ``copy()`` to go back."""
