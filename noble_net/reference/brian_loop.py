"""A network of point cells in Brian2, advanced block by block like the loop on surrogate cores.

The same cells, reduced to one compartment (`noble_net.reference.point_cells`), the same edges, weights, delays and
noise samples, the same rest before sample 0 and the same spike rule for what is recorded. A spike leaves at the step of
Brian2 at whose end the voltage is first at −25 mV or above, where the rule confirms it, and no second one before a fall
below −45 mV. Synapses act by their state at the start of each step, as in NEURON.

Brian2's code generation compiles one step of a group: to C++ by way of Cython, or as numpy expressions. Its standalone
mode is not offered: it runs a whole simulation at once, so noise and recordings would have to lie in memory for its
whole length. What cells cost in it is measured by `benchmarks/brian_standalone.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from noble_net.cells.family import Family
from noble_net.cells.solver import REFERENCE_DT, SETTLE
from noble_net.errors import BackendError
from noble_net.network.build import Network, PopulationArrays
from noble_net.network.connect import ProjectionArrays
from noble_net.network.stimuli import Afferents, inject, network_inputs
from noble_net.reference.answers import Answers
from noble_net.reference.brian_cells import (
    CALCIUM_STATE,
    RESET,
    THRESHOLD,
    SynapseCode,
    equations,
    step_code,
    synapse_code,
)
from noble_net.reference.neuron_cells import load_models, steps_per_sample
from noble_net.reference.point_cells import PointCells, reduce_cells
from noble_net.types import DT, Float32, Float64, Response

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import brian2 as b2

Codegen = Literal["cython", "numpy"]

_LONGEST, _SHORTEST, _ROOM = 1000, 100, 2_000_000
"""Samples of a block at most and at least, and values [cells, samples] in it: each has Brian2 prepare its code anew."""
EQUILIBRATE, EQUILIBRATED = 1e4, 2
"""Steps (ms) that bring every gate to the steady state of a voltage, and for how many samples they are taken: the
sodium channel's are implicit, and each leaves a hundredth or less of the way."""
_DRIVE = ("i_in", "g_in", "j_in")


class BrianLoop:
    """A built network in Brian2; `advance` runs it on.

    ``families``: every family by the name the network file gives it. ``dt``: Brian2's step (ms), which must divide the
    sample. ``codegen``: what Brian2 makes of the equations. ``position`` is the next sample, counted from the start of
    the warm-up.

    Raises BackendError for cells without a family and for a step that does not divide the sample.
    """

    def __init__(
        self,
        network: Network,
        families: Mapping[str, Family],
        dt: float = REFERENCE_DT,
        codegen: Codegen = "cython",
    ) -> None:
        self.network, self.dt = network, dt
        self.block_samples = max(_SHORTEST, min(_LONGEST, _ROOM // max(1, network.n_cells)))
        self.position = 0
        self._codegen = codegen
        steps_per_sample(dt)
        models = load_models(network, families)
        self.cells = {each.name: reduce_cells(each, models[each.name]) for each in network.populations}
        self._answers = Answers(network, "Brian2")
        self._injections, self._afferents, needed = network_inputs(network)
        names = list(network.synapses)
        self._codes = {
            (target, synapse): synapse_code(f"s{names.index(synapse)}", network.synapses[synapse])
            for target, synapse in needed
        }
        self._last: Float32 = np.empty(network.n_cells, np.float32)
        with self._quietly():
            self._clock = b2.Clock(dt=dt * b2.ms)
            self._groups = {each.name: self._group(each) for each in network.populations}
            self._states = {
                (name, state): group.variables[state].get_value()
                for name, group in self._groups.items()
                for state in self._shared_states(name)
            }
            whole = [
                *self._groups.values(),
                *(self._connect(each) for each in network.projections if each.size),
            ]
            whole.append(b2.NetworkOperation(self._between_samples, dt=DT * b2.ms, when="start"))
            self._brian = b2.Network(*whole)
        self._settle()

    def advance(self, samples: int | None = None) -> dict[str, Response]:
        """Run ``samples`` (default: one block) and return every population's response.

        How a run is cut into blocks changes no number. Raises SolverError, naming the cell, for a voltage that is not
        finite.
        """
        samples = samples or self.block_samples
        before = self._last
        self._prepare(samples)
        self._run(samples)
        voltage = self._voltage
        self._answers.check(voltage, self.position)
        self.position += samples
        responses = self._answers.responses(voltage, before)
        self._last = np.ascontiguousarray(voltage[:, -1])
        return responses

    def voltage(self) -> dict[str, Float32]:
        """The last voltage of every cell, mV [cells] per population."""
        return self._answers.by_population(self._last)

    def inputs(self, report: str, population: str) -> Float32:
        """The injected current of the last block, nA [cells, samples]; other reports of inputs are refused."""
        if report != "current":
            raise BackendError(f"Brian2 records no {report} here")
        return self._drive[0][self._answers.ranges[population]]

    def weights(self) -> dict[str, Float32]:
        """None: Brian2 is given no synapses with STDP."""
        return {}

    def _mine(self, population: str) -> dict[str, SynapseCode]:
        return {code.states[0]: code for (target, _), code in self._codes.items() if target == population}

    def _shared_states(self, population: str) -> list[str]:
        """What is read and written between samples, without going through Brian2."""
        return ["v", *_DRIVE, *(state for code in self._mine(population).values() for state in code.states)]

    def _group(self, population: PopulationArrays) -> Any:
        cells, codes = self.cells[population.name], self._mine(population.name)
        group = b2.NeuronGroup(
            population.size,
            equations(cells, codes),
            threshold=THRESHOLD,
            reset=RESET,
            clock=self._clock,
            namespace={"celsius": cells.celsius},
        )
        group.run_regularly(step_code(cells, codes), clock=self._clock, when="groups")
        set_constants(group, cells)
        return group

    def _connect(self, projection: ProjectionArrays) -> Any:
        code = self._codes[projection.target_population, projection.synapse]
        synapses = b2.Synapses(
            self._groups[projection.source],
            self._groups[projection.target_population],
            "w : 1",
            on_pre=code.on_event,
            clock=self._clock,
        )
        synapses.connect(i=projection.source_ids, j=projection.target)
        synapses.w = projection.weight.astype(np.float64)
        synapses.delay = projection.delay * DT * b2.ms
        return synapses

    def _settle(self) -> None:
        """Gates at the steady state of the first voltage, then every cell at its own rest, without spikes."""
        self._voltage = np.empty((self.network.n_cells, 0), np.float32)
        for group in self._groups.values():
            group.step, group.held_step, group.sending = EQUILIBRATE, 0.0, 0.0
        self._run(EQUILIBRATED)
        for group in self._groups.values():
            group.step, group.held_step = self.dt, self.dt
        self._run(round(SETTLE / DT))
        for group in self._groups.values():
            group.armed, group.sending = 1.0, 1.0
        self._last = self._now()
        self._answers.check(self._last[:, None], self.position)

    def _prepare(self, samples: int) -> None:
        """Input of the coming samples: what is injected, and what of the stimuli's events each synapse gets."""
        shape = (self.network.n_cells, samples)
        self._drive = (np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.float32))
        for stimulus in self._injections:
            cells = self._answers.ranges[stimulus.target]
            inject(stimulus, self.position, *(values[cells] for values in self._drive))
        self._events = [(stimulus, self._arriving(stimulus, samples)) for stimulus in self._afferents]
        self._voltage = np.empty(shape, np.float32)

    def _arriving(self, stimulus: Afferents, samples: int) -> Float64:
        """Sum of the weights that arrive at each cell at the start of each sample, [samples, cells]."""
        counts = stimulus.counts(self.position, samples)
        arriving = np.zeros((samples, self.network.population(stimulus.target).size))
        site, sample = np.nonzero(counts)
        amount = counts[site, sample] * stimulus.weight[site].astype(np.float64)
        np.add.at(arriving, (sample, stimulus.sites[site]), amount)
        return arriving

    def _run(self, samples: int) -> None:
        self._sample = 0
        with self._quietly():
            self._brian.run(samples * DT * b2.ms)
        if self._voltage.shape[1]:
            self._voltage[:, -1] = self._now()

    def _between_samples(self) -> None:
        """Record the sample that is over and hand over the input of the next."""
        k, self._sample = self._sample, self._sample + 1
        if not self._voltage.shape[1]:
            return
        if k:
            self._voltage[:, k - 1] = self._now()
        for name, cells in self._answers.ranges.items():
            scales = (1000.0, 1.0, 1.0)  # nA → pA; nS; pA
            for variable, values, scale in zip(_DRIVE, self._drive, scales, strict=True):
                np.multiply(values[cells, k], scale, out=self._states[name, variable], dtype=np.float64)
        for stimulus, arriving in self._events:
            code = self._codes[stimulus.target, stimulus.synapse]
            for state, gain in zip(code.states, code.gains, strict=True):
                self._states[stimulus.target, state] += gain * arriving[k]

    def _now(self) -> Float32:
        now: Float32 = np.concatenate([self._states[name, "v"] for name in self._answers.ranges]).astype(
            np.float32
        )
        return now

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """With this loop's code generation, and without the warnings of Brian2 and what it stands on."""
        before = b2.prefs.codegen.target
        b2.prefs.codegen.target = self._codegen
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                yield
        finally:
            b2.prefs.codegen.target = before


def set_constants(group: Any, cells: PointCells) -> None:
    """Give a group of Brian2 the constants of its cells, and the states it begins with."""
    for name in ("capacitance", "leak", "rest", "area"):
        setattr(group, name, getattr(cells, name))
    for name, values in cells.conductance.items():
        setattr(group, f"g_{name}", values)
    for name, values in cells.constants.items():
        setattr(group, name, values)
    group.v = cells.v_init
    if cells.calcium:
        group.cai = cells.constants[CALCIUM_STATE]
    if "NaV" in cells.conductance:
        group.C0_NaV = 1.0
