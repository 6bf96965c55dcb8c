"""A core that answers nothing and keeps what it is driven with: the input that cells have in a network, for others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from noble_net.config import NetworkSpec
from noble_net.network.check import INJECTION_ZONE
from noble_net.specs.basics import ZONES
from noble_net.surrogate.core import Core
from noble_net.types import CellTable, Drive, Nmda, Real, Response, State


class Listener(Core):
    """Silent cells at 0 mV, which keep the drive of the first ``heard`` of them.

    To be driven through a whole run and asked for its `drive` then: what it keeps grows with every block.
    """

    step_samples = 1
    nmda = True

    def __init__(self, zones: tuple[str, ...], heard: int) -> None:
        self.name = "listener"
        self.zones = zones
        self._heard = heard
        self._blocks: list[Drive] = []

    def begin(self, cells: CellTable) -> State:
        """Nothing but what a state must have."""
        return State({"voltage": np.zeros(cells.size, np.float32)})

    def advance(self, state: State, drive: Drive) -> tuple[Response, State]:
        """Keep a block."""
        self._blocks.append(_drive_of(drive, slice(self._heard)))
        cells, samples = drive.current.shape[1:]
        none = np.empty(0, np.int32)
        voltage, outside = np.zeros((cells, samples), np.float32), np.zeros(cells, np.uint32)
        return Response(voltage, none, none, np.empty(0), outside), state

    @property
    def drive(self) -> Drive:
        """All that was kept, as one block: [zones, cells, samples]."""

        def joined(of: Callable[[Drive], Real]) -> Real:
            return np.concatenate([of(block) for block in self._blocks], axis=2)

        nmda = self._blocks[0].nmda
        return Drive(
            self.zones,
            joined(lambda block: block.current),
            joined(lambda block: block.conductance),
            joined(lambda block: block.reversal_current),
            nmda=nmda
            and Nmda(
                joined(lambda block: _nmda(block).conductance),
                joined(lambda block: _nmda(block).reversal_current),
                nmda.half,
            ),
        )


def zones_used(network: NetworkSpec) -> tuple[str, ...]:
    """The soma, and the zones of the dendrite that the network's synapses lie in."""
    used = {INJECTION_ZONE, *(each.zone for each in network.synapses.values())}
    return tuple(zone for zone in ZONES if zone in used)


def cell_drive(drive: Drive, index: int) -> Drive:
    """The drive of one of its cells, [zones, 1, samples]."""
    return _drive_of(drive, slice(index, index + 1))


def _drive_of(drive: Drive, cells: slice) -> Drive:
    """A copy of what drives some of the cells: the loop writes into the same arrays again."""
    parts = (drive.current, drive.conductance, drive.reversal_current)
    nmda = drive.nmda and Nmda(
        drive.nmda.conductance[:, cells].copy(),
        drive.nmda.reversal_current[:, cells].copy(),
        drive.nmda.half[cells].copy(),
    )
    return Drive(drive.zones, *(part[:, cells].copy() for part in parts), nmda=nmda)


def _nmda(drive: Drive) -> Nmda:
    if drive.nmda is None:
        raise ValueError("NMDA input in some blocks alone")
    return drive.nmda
