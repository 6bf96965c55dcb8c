"""Short-term plasticity in NEURON: the weight of each event set when it arrives, by what its spike released."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from noble_net.specs.plasticity import TsodyksMarkramSpec

Connection = tuple[Any, float, float]
"""A NetCon without source, the weight it has when all resources are released, and its delay (ms)."""


class Release:
    """The Tsodyks-Markram resources of one source cell; `fire` is what a NetCon that watches it calls.

    Equations and conventions are those of `noble_net.network.plasticity_kernels.release`; spike times are those of
    NEURON's steps, not rounded to the sample.
    """

    def __init__(self, h: Any, spec: TsodyksMarkramSpec, connections: list[Connection]) -> None:
        self._h, self._spec, self._connections = h, spec, connections
        self._used, self._recovered, self._last = 0.0, 1.0, 0.0

    def fire(self) -> None:
        """Release at the present time and send what is released on its way."""
        spec, now = self._spec, float(self._h.t)
        elapsed = now - self._last
        x = 1.0 - (1.0 - self._recovered) * math.exp(-elapsed / spec.tau_rec)
        u = spec.U
        if spec.tau_facil > 0.0:
            u += (1.0 - spec.U) * self._used * math.exp(-elapsed / spec.tau_facil)
        self._used, self._recovered, self._last = u, x * (1.0 - u), now
        for connection, weight, delay in self._connections:
            self._h.CVode().event(now + delay, partial(self._arrive, connection, u * x * weight))

    def _arrive(self, connection: Any, weight: float) -> None:
        # A connection may have several spikes under way, and NEURON reads its weight at delivery.
        connection.weight[0] = weight
        connection.event(self._h.t)
