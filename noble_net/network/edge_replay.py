"""Spikes replayed from a file along the edges of another: input from cells that are not simulated."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from noble_net.config import NetworkSpec, StimulusSpec, config_error
from noble_net.network.afferents import Afferents, Arrivals
from noble_net.network.given import Edges, GivenError, read_sonata
from noble_net.network.injection import Target, Timing
from noble_net.network.nodes import ids_of
from noble_net.network.stimulus_kernels import edge_arrivals
from noble_net.network.synapses import fixed_point
from noble_net.sonata.spikes import SpikeStream
from noble_net.specs.afferents import SynapseReplaySpec
from noble_net.types import DT, Int32, Int64

_MANY = 2**40


class EdgeReplay(Afferents):
    """Spikes of a SONATA file that arrive along ``edges``, each with its weight and delay.

    A site is an edge; they are grouped by source and ascending in delay. A function of the absolute sample, like every
    stimulus: a block asks for the spikes of as long before it as the longest delay.
    """

    def __init__(
        self, spec: SynapseReplaySpec, name: str, target: Target, timing: Timing, edges: Edges
    ) -> None:
        super().__init__(spec, name, target, timing)
        edges = edges.where(np.isin(edges.target, target.cells))
        delay = np.full(edges.source.size, spec.delay) if spec.delay is not None else edges.delay
        if delay is None:
            raise ValueError("edges without delays passed the checks")
        self._delay: Int64 = np.rint(delay / DT).astype(np.int64)
        weight = (
            self.weight[edges.target - self.first]
            if spec.weight is not None or edges.weight is None
            else edges.weight
        )
        order = np.lexsort((self._delay, edges.source))
        self.sites = edges.target[order] - self.first
        self.weight, self._delay = weight[order], self._delay[order]
        self.fixed_weight = fixed_point(self.weight.astype(np.float64))
        self._indptr: Int64 = np.searchsorted(
            edges.source[order], np.arange(edges.source.max(initial=-1) + 2)
        ).astype(np.int64)
        self._longest = int(self._delay.max(initial=0))
        self._spikes = SpikeStream(spec.file, spec.population)
        self._warmup = timing.warmup

    def pieces(self, start: int, samples: int) -> Iterator[Int32]:
        """See `Afferents`."""
        edge, arrival = self._arrivals(start, samples)
        counts = np.zeros((self.sites.size, samples), np.int32)
        np.add.at(counts, (edge, arrival), 1)
        yield counts

    def deliver(self, start: int, samples: int, bank: Arrivals) -> None:
        """See `Afferents`."""
        edge, arrival = self._arrivals(start, samples)
        bank.arrive_each(self.sites[edge], start + arrival, self.fixed_weight[edge])

    def _arrivals(self, start: int, samples: int) -> tuple[Int64, Int64]:
        """The edge of every event that arrives in a block, and the sample of the block, int64 [events]."""
        begin, end = ((at - self._warmup) * DT for at in (start - self._longest - 1, start + samples + 1))
        times, sources = self._spikes.between(begin, end)
        sample = np.floor(times / DT + self._warmup + 1e-6).astype(np.int64) - start
        room: Int64 = np.empty((2, max(1024, 2 * sources.size)), np.int64)
        while True:
            arguments = (sources, sample, samples, self._indptr, self._delay, room[0], room[1])
            number = edge_arrivals(*arguments)
            if number <= room.shape[1]:
                return room[0, :number], room[1, :number]
            room = np.empty((2, number), np.int64)


def replayed_edges(network: NetworkSpec, stimulus: StimulusSpec, size: int = _MANY) -> Edges:
    """The edges that a stimulus replays spikes along, onto the ``size`` cells of its target's population.

    Raises ConfigError, at the line of `edges`, where the file is wrong.
    """
    replay = stimulus.synapse_replay
    if replay is None or replay.edges is None:
        raise ValueError("a replay without edges")
    index = [each.name for each in network.stimuli].index(stimulus.name)
    path = ("stimuli", index, "synapse_replay", "edges")
    target = network.population_of(stimulus.to)
    conductance = network.synapses[replay.synapse].kind == "conductance"
    ids = (None, ids_of(network, target))
    try:
        edges = read_sonata(replay.edges, _MANY, size, conductance, ids)
    except GivenError as error:
        raise config_error(network, path, error.problem, error.remedy) from error
    for key, column in (("weight", edges.weight), ("delay", edges.delay)):
        if column is None and getattr(replay, key) is None:
            problem = f"{replay.edges.file} has no {key}s"
            raise config_error(network, path, problem, f"give `{key}: …` beside `edges`")
    if conductance and replay.weight is None and edges.weight is not None and np.any(edges.weight < 0):
        raise config_error(
            network, path, f"{replay.edges.file} has a conductance below 0", "make the weights positive"
        )
    return edges
