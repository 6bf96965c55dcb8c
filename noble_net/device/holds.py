"""What the device loop holds, and what it leaves to the loop on CPUs; known before anything is built."""

from __future__ import annotations

from collections.abc import Mapping

from noble_net.config import NetworkSpec
from noble_net.errors import BackendError
from noble_net.surrogate.core import Core
from noble_net.surrogate.integrate_and_fire import IntegrateAndFire
from noble_net.surrogate.streaming import StreamingCore


def check_holds(spec: NetworkSpec, cores: Mapping[str, Core]) -> None:
    """Raise BackendError, naming it, for what the device loop does not hold: gap junctions, STDP, products in
    anything but float32, other cores."""
    problems = [f"gap junctions ({each.name})" for each in spec.gap_junctions]
    problems += [
        f"stdp (synapse {name})"
        for name, synapse in spec.synapses.items()
        if synapse.plasticity is not None and synapse.plasticity.stdp is not None
    ]
    if spec.precision != "float32":
        problems.append(f"precision: {spec.precision}")
    known = StreamingCore, IntegrateAndFire
    problems += [f"core {core.name}" for core in cores.values() if not isinstance(core, known)]
    if problems:
        raise BackendError(f"the device loop does not hold {', '.join(problems)}; take --device cpu")
