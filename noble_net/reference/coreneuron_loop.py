"""A network's exact cells in CoreNEURON, which runs block by block without a word of Python's in between.

So synapses hear spikes through NetCons, which is NEURON's own way:

- a spike leaves when the voltage is first seen at −25 mV, `noble_net.spikes`'s confirmation, after one of NEURON's
  steps. In the loop on surrogate cores it leaves at the end of the sample: delays are longer here by what lies between
  in the mean, and a spike arrives less than half a sample earlier or later than there;
- a dendritic zone's synapses are a point process per type in each of its segments, with a share of the weight by
  membrane area, and act by their state at the start of each step.

Between blocks voltages and inputs of one block are held: memory does not grow with simulated time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from noble_net.cells.family import Family
from noble_net.cells.solver import REFERENCE_DT, SECOND_ORDER, SETTLE, ExactCell
from noble_net.cells.zones import Zone, cell_zones
from noble_net.errors import BackendError
from noble_net.network.afferents import Afferents
from noble_net.network.build import Network
from noble_net.network.connect import ProjectionArrays
from noble_net.network.stimuli import network_inputs
from noble_net.reference.answers import Answers
from noble_net.reference.coreneuron_library import load_coreneuron
from noble_net.reference.exact_inputs import injected
from noble_net.reference.exact_pool import members_of
from noble_net.reference.neuron_cells import Kind, load_models, steps_per_sample
from noble_net.reference.neuron_pool import exact_cells, set_initial_voltage
from noble_net.spikes import CONFIRM
from noble_net.types import DT, Float32, Response

BLOCK = 2500
"""Samples a block: what is handed to CoreNEURON and back between blocks is small beside it."""
_SOMA = "soma"


class Site(NamedTuple):
    """Where synapses of one type act on one cell: point processes of NEURON, and what an event of 1 nS or pA is to
    each."""

    processes: list[Any]
    weights: list[float]


class CoreNeuronLoop:
    """A built network in CoreNEURON, on ``threads`` threads.

    ``families``, ``dt`` and ``settle`` are those of `noble_net.reference.neuron_loop.NeuronLoop`. Raises BackendError
    for cells without a family, for families at different temperatures, for a step that does not divide the sample and
    for zones that a cell does not have; MissingExtraError and SolverError as `load_coreneuron`.
    """

    def __init__(
        self,
        network: Network,
        families: Mapping[str, Family],
        dt: float = REFERENCE_DT,
        threads: int = 1,
        settle: float = SETTLE,
    ) -> None:
        self._steps = steps_per_sample(dt)
        members = members_of(network, load_models(network, families))
        self._coreneuron = load_coreneuron()
        from neuron import h

        self.network, self.block_samples, self.position = network, BLOCK, 0
        self._h, self._settle, self._late = h, settle, 0.5 * (DT - dt)
        self._scheduled = 0
        self._last: Float32 = np.zeros(network.n_cells, np.float32)
        self._injected: Float32 = np.zeros((3, network.n_cells, 0), np.float32)
        shortest = min((each.delays[0] for each in network.projections if each.size), default=1)
        self._notice = max(shortest, 1)
        """Samples that an event of a stimulus is under way: as spikes are, so that threads need not meet more often."""
        self._context = h.ParallelContext()
        self._answers = Answers(network, "CoreNEURON")
        self._offsets = {each.name: each.offset for each in network.populations}
        self._kept: list[Any] = []
        """Objects of NEURON's that nothing else holds."""
        self._cells: list[ExactCell] = []
        self._zones: list[dict[str, Zone]] = []
        self._relays: list[_Relay] = []
        self._plays: list[_Played] = []
        self._records: list[Any] = []
        self.segments: dict[str, int] = {}
        try:
            for each in members:
                cells = exact_cells(each, dt)
                self._cells += cells
                self.segments[each.population] = cells[0].segments if cells else 0
            self._zones = [cell_zones(cell.sections) for cell in self._cells]
            self._connect()
            self._begin(dt, threads)
        except BaseException:
            self.close()
            raise

    def advance(self, samples: int | None = None) -> dict[str, Response]:
        """Run ``samples`` (default and at most: one block) and return every population's response. Raises SolverError,
        naming the cell, for a voltage that is not finite."""
        samples = samples or self.block_samples
        if samples > BLOCK:
            raise ValueError(f"{samples} samples are more than a block of {BLOCK}")
        self._play(self.position, samples)
        self._schedule(self.position + samples + self._notice)
        voltage = self._run(self._time(self.position + samples))[:, self._steps - 1 :: self._steps]
        self._answers.check(voltage, self.position)
        self.position += samples
        before, self._last = self._last, np.ascontiguousarray(voltage[:, -1])
        return self._answers.responses(voltage, before)

    def voltage(self) -> dict[str, Float32]:
        """The last voltage of every cell, mV [cells] per population."""
        return self._answers.by_population(self._last)

    def inputs(self, report: str, population: str) -> Float32:
        """The injected current of the last block, nA [cells, samples]; other reports of inputs are refused."""
        if report != "current":
            raise BackendError(f"CoreNEURON records no {report}")
        current: Float32 = self._injected[0][self._answers.ranges[population]]
        return current

    def weights(self) -> dict[str, Float32]:
        """No weight changes here."""
        return {each.name: each.weight for each in self.network.projections}

    def close(self) -> None:
        """Remove the network; safe to call twice."""
        self._coreneuron.enable = False
        self._context.gid_clear()
        for each in (self._kept, self._zones, self._records, self._relays, self._plays, self._cells):
            each.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self) -> None:
        """Sources, then what hears them: NEURON wants every output before the first input."""
        network = self.network
        self._injections, afferents, needed = network_inputs(network)
        for number, cell in enumerate(self._cells):
            self._output(number, cell.soma(0.5)._ref_v, cell.soma, CONFIRM)
        places = []
        for stimulus in afferents:
            for number in np.flatnonzero(stimulus.weight).tolist():
                relay = self._h.NobleRelay()
                gid = len(self._cells) + len(self._relays)
                self._output(gid, relay)
                self._relays.append(_Relay(self._h.NetCon(None, relay), stimulus, number))
                places.append(gid)
        self._afferents = afferents
        sites = {key: self._sites(*key) for key in needed}
        for gid, each in zip(places, self._relays, strict=True):
            site = sites[each.stimulus.target, each.stimulus.synapse][int(each.stimulus.sites[each.number])]
            self._hear(gid, site, float(each.stimulus.weight[each.number]), self._notice * DT)
        for projection in network.projections:
            if projection.size:
                self._project(projection, sites[projection.target_population, projection.synapse])

    def _output(self, gid: int, source: Any, section: Any = None, threshold: float | None = None) -> None:
        connection = self._h.NetCon(source, None, **({} if section is None else {"sec": section}))
        if threshold is not None:
            connection.threshold = threshold
        self._context.set_gid2node(gid, self._context.id())
        self._context.cell(gid, connection)
        self._kept += [source, connection]

    def _sites(self, target: str, synapse: str) -> list[Site]:
        """Where a synapse type acts on each cell of a population."""
        spec = self.network.synapses[synapse]
        kind, first = Kind.of(spec), self._offsets[target]
        found = []
        for number in range(first, first + self.network.population(target).size):
            zone = self._zones[number][spec.zone]
            if spec.zone == _SOMA:
                places = [(self._cells[number].soma(0.5), 1.0)]
            elif zone.segments:
                places = [(segment, segment.area() / zone.area) for segment in zone.segments]
            else:
                raise BackendError(
                    f"synapse {synapse} lies in zone {spec.zone}, which the cells of population {target} do not have"
                )
            processes = [kind.at(self._h, place) for place, _ in places]
            self._kept += processes
            found.append(Site(processes, [kind.unit * share for _, share in places]))
        return found

    def _project(self, projection: ProjectionArrays, sites: list[Site]) -> None:
        first = self._offsets[projection.source]
        delay = projection.delay * DT + self._late
        for source in range(len(projection.indptr) - 1):
            for entry in range(projection.indptr[source], projection.indptr[source + 1]):
                site = sites[projection.target[entry]]
                self._hear(first + source, site, float(projection.weight[entry]), float(delay[entry]))

    def _hear(self, gid: int, site: Site, weight: float, delay: float) -> None:
        for process, unit in zip(*site, strict=True):
            connection = self._context.gid_connect(gid, process)
            connection.weight[0], connection.delay = unit * weight, delay
            self._kept.append(connection)

    def _begin(self, dt: float, threads: int) -> None:
        """Bring every cell to its own rest, without input."""
        h = self._h
        self._plays = [_Played(h, cell.drive) for cell in self._cells] if self._injections else []
        self._clock = h.Vector(np.linspace(0.0, self._settle, 2 * BLOCK))
        for played in self._plays:
            played.begin(self._clock)
        self._records = [h.Vector() for _ in self._cells]
        for record, cell in zip(self._records, self._cells, strict=True):
            record.record(cell.soma(0.5)._ref_v)
        h.CVode().active(False)
        h.CVode().cache_efficient(True)
        h.celsius, h.dt, h.secondorder = self._cells[0].model.celsius, dt, SECOND_ORDER
        self._context.nthread(threads)
        set_initial_voltage(self._cells)
        self._coreneuron.enable, self._coreneuron.verbose = True, 0
        self._context.set_maxstep(10)
        h.finitialize()
        self._schedule(self._notice)
        self._last = np.ascontiguousarray(self._run(self._settle)[:, -1])
        self._answers.check(self._last[:, None], 0)
        self._answers.compile(self._last)

    def _time(self, sample: int) -> float:
        """NEURON's time at the start of a sample, ms."""
        return self._settle + sample * DT

    def _run(self, until: float) -> Float32:
        """Run to a time; the voltages after each step, mV [cells, steps]."""
        for record in self._records:
            record.resize(0)
        # NEURON adds up its steps: at a whole number of them, its time may lie on either side.
        self._context.psolve(until + 0.25 * DT / self._steps)
        return np.array([record.as_numpy() for record in self._records], np.float32)

    def _play(self, start: int, samples: int) -> None:
        """Let the stimuli's currents and conductances of a block act, each sample held."""
        self._injected = injected(self.network, self._injections, start, samples)
        if not self._plays:
            return
        # Each value at the start and at the end of its sample: CoreNEURON takes no steps, but jumps between two points.
        # Vectors keep their length, since NEURON goes on from the point it has come to.
        lacking = BLOCK - samples
        edges = self._time(start) + DT * np.arange(BLOCK + 1)
        self._clock.as_numpy()[:] = np.repeat(edges, 2)[1:-1]
        held = np.pad(self._injected, ((0, 0), (0, 0), (0, lacking)), mode="edge")
        for number, played in enumerate(self._plays):
            played.fill(np.repeat(held[:, number], 2, axis=1))

    def _schedule(self, until: int) -> None:
        """Put the stimuli's events that arrive before sample ``until`` under way."""
        first, self._scheduled = self._scheduled, until
        counts = {each.name: each.counts(first, until - first) for each in self._afferents}
        for relay in self._relays:
            mine = counts[relay.stimulus.name][relay.number]
            at = np.flatnonzero(mine)
            for sample in np.repeat(at, mine[at]).tolist():
                relay.input.event(self._time(first + sample - self._notice))


class _Relay(NamedTuple):
    """What sends a stimulus's events on: the NetCon that takes them, whose they are, and the number of the site."""

    input: Any
    stimulus: Afferents
    number: int


class _Played:
    """The three inputs of a cell's NobleDrive, played from vectors."""

    def __init__(self, h: Any, drive: Any) -> None:
        self._drive, self._vectors = drive, [h.Vector(2 * BLOCK) for _ in range(3)]

    def begin(self, clock: Any) -> None:
        """Play by a clock, ms [2 BLOCK]; nothing, for the time being."""
        for vector, name in zip(self._vectors, ("i0", "g", "j"), strict=True):
            vector.play(getattr(self._drive, f"_ref_{name}"), clock, True)

    def fill(self, values: Float32) -> None:
        """Set what is played, [3, 2 BLOCK]."""
        for vector, row in zip(self._vectors, values, strict=True):
            vector.as_numpy()[:] = row
