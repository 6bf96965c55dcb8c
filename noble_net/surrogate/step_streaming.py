"""Any streaming core as a step core: what a network's core answers to NOBLE's protocol of square steps."""

from __future__ import annotations

import numpy as np

from noble_net.errors import CheckpointError
from noble_net.surrogate.core import Core
from noble_net.surrogate.step_core import NOBLE_PROTOCOL, StepCore, StepProtocol
from noble_net.types import DT, CellTable, Drive, Float32, Float64

ZONE = "soma"
"""The input zone the step is injected into."""
BLOCK = 500
"""Samples advanced at a time (rounded up to the core's step): bounds the memory of the drive."""


class SteppedCore(StepCore):
    """A streaming core, free-running on square steps.

    Every cell first settles at zero input, which `Core.begin` does: the first sample is its own rest. Then the core
    is fed nothing but the step; it never sees a true voltage. Samples lie at 0, DT … below ``protocol.total``.
    A cell's answer does not depend on the cells beside it, bit for bit, because the core's does not.
    """

    sampling = DT
    batch = 256

    def __init__(self, core: Core, protocol: StepProtocol = NOBLE_PROTOCOL) -> None:
        if ZONE not in core.zones:
            raise CheckpointError(
                f"core {core.name} takes no input at the {ZONE}: its zones are {core.zones}"
            )
        self.core, self.protocol = core, protocol
        self.name, self.family, self.family_hash = core.name, core.family or "", core.family_hash or ""
        self.hash = core.hash

    def respond(self, cells: CellTable, amplitude: Float64) -> Float32:
        """Voltage, mV, float32 [cells, samples]; see `StepCore.respond`."""
        samples = round(self.protocol.total / DT)
        block = -(-BLOCK // self.core.step_samples) * self.core.step_samples
        state = self.core.begin(cells)
        voltage = np.empty((cells.size, samples), np.float32)
        voltage[:, 0] = state.voltage
        drive = Drive.zeros(self.core.zones, cells.size, block)
        current = drive.current[self.core.zones.index(ZONE)]
        for start in range(0, samples - 1, block):
            times = DT * np.arange(start, start + block) + 0.5 * DT  # mid-sample: no rounding at the edges
            on = (times >= self.protocol.onset) & (times < self.protocol.end)
            current[:] = np.outer(amplitude, on)
            response, state = self.core.advance(state, drive)
            kept = min(block, samples - 1 - start)
            voltage[:, start + 1 : start + 1 + kept] = response.voltage[:, :kept]
        return voltage
