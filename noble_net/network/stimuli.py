"""The stimuli of a network: made from its file, in an order that does not depend on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from noble_net.config import NetworkSpec, StimulusSpec
from noble_net.network.afferents import Afferents, Poisson, SynapseReplay
from noble_net.network.edge_replay import EdgeReplay, replayed_edges
from noble_net.network.injection import Injection, Target, Timing, held, inject, per_cell
from noble_net.network.node_sets import select_cells
from noble_net.network.noise import OrnsteinUhlenbeck, ShotNoise, WhiteNoise
from noble_net.network.stimulus_files import open_table
from noble_net.network.waveforms import Linear, Pulse, Sinusoidal, Step
from noble_net.specs.distribution import Distribution
from noble_net.specs.stimuli import CurrentTableSpec
from noble_net.types import DT, Float32, Float64

if TYPE_CHECKING:
    from noble_net.network.build import Network

__all__ = ["Afferents", "Injection", "inject", "make_stimulus", "network_inputs", "shared_signal"]


class CurrentTable(Injection):
    """Currents from a file, each held for ``dt``; read in stretches as the run goes on."""

    def __init__(self, spec: CurrentTableSpec, name: str, target: Target, timing: Timing) -> None:
        self._table = open_table(spec)
        super().__init__(name, target, timing.window(spec.delay, self._table.rows * self._table.dt))
        self._every, self._skipped = round(self._table.dt / DT), target.skipped
        self._scale: Float32 | None = None
        if spec.scale is not None:
            scale = per_cell(spec.scale, target, timing.seed, f"{name}/scale")
            self._scale = scale.astype(np.float32)[:, None]

    def _stretches(self, start: int, samples: int) -> Iterator[Float32]:
        first, offset = divmod(start - self.on, self._every)
        rows = self._table.read(first, -(-(offset + samples) // self._every))
        stop = self._skipped + len(self.cells)
        columns = np.broadcast_to(rows.T, (max(stop, self._table.columns), len(rows)))
        values = held(columns[self._skipped : stop], self._every, offset, samples)
        yield values if self._scale is None else values * self._scale


_CLASSES: dict[str, Callable[..., Injection | Afferents]] = {
    "ornstein_uhlenbeck": OrnsteinUhlenbeck,
    "noise": WhiteNoise,
    "shot_noise": ShotNoise,
    "step": Step,
    "linear": Linear,
    "pulse": Pulse,
    "sinusoidal": Sinusoidal,
    "current_table": CurrentTable,
    "poisson": Poisson,
    "synapse_replay": SynapseReplay,
}


def make_stimulus(
    spec: StimulusSpec, network: NetworkSpec, target: Target | None = None
) -> Injection | Afferents:
    """The stimulus a network file describes, with its seed and warm-up, for ``target`` (a population as a whole)."""
    if target is None:
        target = Target.whole(spec.to, network.populations[spec.to].size)
    timing = Timing(network.seed, network.seed_of_noise, round(network.warmup / DT))
    if spec.synapse_replay is not None and spec.synapse_replay.edges is not None:
        edges = replayed_edges(network, spec)
        return EdgeReplay(spec.synapse_replay, stimulus_name(spec), target, timing, edges)
    return _CLASSES[spec.kind](spec.parameters, stimulus_name(spec), target, timing)


def shared_signal(network: NetworkSpec, name: str) -> Float64:
    """What a shared stimulus adds to its mean, in every cell alike, float64 [samples] over the recorded time.

    In nA or nS, one value per 0.1 ms from the end of the warm-up on. A function of (noise seed, name, warm-up,
    duration) and the stimulus's own sigma and tau: no run is needed to get it back. A conductance is told before
    it is cut off at 0. Raises ValueError when the network has no shared stimulus of that name.
    """
    parameters = {spec.name: spec.ornstein_uhlenbeck for spec in network.stimuli}.get(name)
    if parameters is None or not parameters.shared:
        raise ValueError(f"network {network.name} has no shared stimulus {name!r}")
    alone = parameters.model_copy(update={"mean": Distribution(a=0.0, unit="nA"), "reversal": None})
    warmup, samples = round(network.warmup / DT), round(network.duration / DT)
    timing = Timing(network.seed, network.seed_of_noise, warmup)
    source = OrnsteinUhlenbeck(alone, name, Target.whole("", 1), timing)
    return source.values(0, warmup + samples)[0, warmup:].astype(np.float64)


class NetworkInputs(NamedTuple):
    """What drives a network, in an order that does not depend on the file's, so that sums do not either."""

    injections: list[Injection]
    afferents: list[Afferents]
    synapses: list[tuple[str, str]]
    """(target population, synapse) of every kind of synapse in use."""


def network_inputs(network: Network) -> NetworkInputs:
    """The stimuli of a built network and the synapses that they or its projections act through."""
    own = {each.name: each.own for each in network.populations}
    targets = [select_cells(network, spec.to) for spec in network.spec.stimuli]
    stimuli = [
        make_stimulus(spec, network.spec, target.within(own[target.population]))
        for spec, target in zip(network.spec.stimuli, targets, strict=True)
    ]
    stimuli.sort(key=lambda stimulus: stimulus.name)
    afferents = [stimulus for stimulus in stimuli if isinstance(stimulus, Afferents)]
    needed = {(each.target_population, each.synapse) for each in network.projections if each.total}
    needed |= {(stimulus.target, stimulus.synapse) for stimulus in afferents}
    injections = [stimulus for stimulus in stimuli if isinstance(stimulus, Injection)]
    return NetworkInputs(injections, afferents, sorted(needed))


def stimulus_name(spec: StimulusSpec) -> str:
    """The name that keys a stimulus's noise; a network gives one to every stimulus."""
    if spec.name is None:
        raise ValueError("a stimulus of a validated network has a name")
    return spec.name
