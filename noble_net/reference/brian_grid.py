"""A network of integrate-and-fire cells on the grid in Brian2: what that core and its synapses are held against.

Brian2 solves linear equations exactly (``exact``) and others by Runge–Kutta; it, like `integrate-and-fire-grid`, looks
for spikes at the ends of steps of 0.1 ms. Its refractory time begins one step earlier than ours, with the step that
ends in the spike, and is given that step more here.

Holds synapses of model ``exp`` without plasticity and injected currents. Needs the extra [reference].
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from noble_net.errors import BackendError
from noble_net.network.build import Network, PopulationArrays
from noble_net.network.stimuli import network_inputs
from noble_net.specs.basics import ON_GRID
from noble_net.types import DT, Float64, Int64

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import brian2 as b2


class Answer(NamedTuple):
    """``cell`` and ``sample`` of each population's spikes (int64, sorted by sample, then cell), and the voltage of its
    first cells at the ends of the samples, mV float64 [cells, samples]."""

    spikes: dict[str, tuple[Int64, Int64]]
    voltage: dict[str, Float64]


def brian_answer(
    network: Network,
    samples: int,
    *,
    voltages: int = 0,
    heard: dict[str, tuple[Int64, Int64]] | None = None,
) -> Answer:
    """Run ``network`` for so many samples, recording the voltage of the first ``voltages`` cells of each population.

    ``heard``: spikes by population that projections transmit in place of the cells' own, so that small differences
    do not add up through the network. Raises BackendError, naming it, for what this does not hold.
    """
    _refuse(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _run(network, samples, voltages, heard)


def _run(
    network: Network, samples: int, voltages: int, heard: dict[str, tuple[Int64, Int64]] | None
) -> Answer:
    b2.prefs.codegen.target = "numpy"
    b2.defaultclock.dt = DT * b2.ms
    whole = b2.Network()
    groups = {each.name: _cells(network, each, samples) for each in network.populations}
    sources = groups if heard is None else {name: _replayed(network, name, heard[name]) for name in groups}
    spikes = {name: b2.SpikeMonitor(group) for name, group in groups.items()}
    traces = {name: b2.StateMonitor(group, "v", record=np.arange(voltages)) for name, group in groups.items()}
    whole.add(groups.values(), spikes.values(), traces.values())
    if heard is not None:
        whole.add(sources.values())
    kinds = list(network.synapses)
    for each in network.projections:
        synapses = b2.Synapses(
            sources[each.source],
            groups[each.target_population],
            "w : 1",
            on_pre=f"s{kinds.index(each.synapse)}_post += w",
        )
        synapses.connect(i=each.source_ids, j=each.target)
        synapses.w = each.weight.astype(np.float64)
        synapses.delay = each.delay * DT * b2.ms
        whole.add(synapses)
    whole.run((samples + 1) * DT * b2.ms, namespace={})
    return Answer(
        {name: _ordered(monitor, samples) for name, monitor in spikes.items()},
        {name: np.asarray(monitor.v / b2.mV)[:, 1 : samples + 1] for name, monitor in traces.items()},
    )


def _cells(network: Network, population: PopulationArrays, samples: int) -> Any:
    """The cells of a population with the synapses they receive, in ms, mV, nS, pA and pF."""
    inputs = network_inputs(network)
    mine = {name for target, name in inputs.synapses if target == population.name}
    kinds = {f"s{i}": kind for i, (name, kind) in enumerate(network.synapses.items()) if name in mine}
    currents = [s if kind.kind == "current" else f"{s}*({kind.reversal!r} - u)" for s, kind in kinds.items()]
    injected = np.zeros((samples + 1, population.size))
    for stimulus in inputs.injections:
        if stimulus.target == population.name:
            values = stimulus.values(0, samples)
            injected[:-1, stimulus.rows] += 1000.0 * values.T.astype(np.float64)
    # Voltage `u` without a unit, so that the numbers are those of the network file; `v` is for its users.
    equations = f"""
        du/dt = (g_leak*(v_rest - u) + held + {" + ".join([*currents, "0"])})/c/ms : 1 (unless refractory)
        held = injected(t, i) : 1 (constant over dt)
        v = u*mV : volt
        c : 1 (constant)
        g_leak : 1 (constant)
        v_rest : 1 (constant)
        v_reset : 1 (constant)
        v_threshold : 1 (constant)
        dead : second (constant)
        """ + "".join(f"d{s}/dt = -{s}/({kind.decay!r}*ms) : 1\n" for s, kind in kinds.items())
    exact = all(kind.kind == "current" for kind in kinds.values())
    group = b2.NeuronGroup(
        population.size,
        equations,
        threshold="u >= v_threshold",
        reset="u = v_reset",
        refractory="dead",
        method="exact" if exact else "rk4",
        namespace={"injected": b2.TimedArray(injected, dt=DT * b2.ms), "ms": b2.ms, "mV": b2.mV},
    )
    p = population.cells.parameters
    group.c, group.g_leak = p["capacitance"], 1000.0 / p["resistance"]
    group.v_rest, group.v_reset, group.v_threshold = p["v_rest"], p["v_reset"], p["v_threshold"]
    group.dead = (np.rint(p["refractory"] / DT) + 1) * DT * b2.ms
    group.u = np.where(p["v_rest"] < p["v_threshold"], p["v_rest"], p["v_reset"])
    return group


def _replayed(network: Network, name: str, spikes: tuple[Int64, Int64]) -> Any:
    cell, sample = spikes
    return b2.SpikeGeneratorGroup(network.population(name).size, cell, sample * DT * b2.ms)


def _ordered(monitor: Any, samples: int) -> tuple[Int64, Int64]:
    cell = np.asarray(monitor.i, np.int64)
    sample = np.rint(np.asarray(monitor.t / b2.ms) / DT).astype(np.int64)
    order = np.lexsort((cell, sample))
    order = order[sample[order] < samples]
    return cell[order], sample[order]


def _refuse(network: Network) -> None:
    for population in network.populations:
        if population.core != ON_GRID:
            raise BackendError(f"population {population.name} runs on core {population.core}, not {ON_GRID}")
    inputs = network_inputs(network)
    others = [each.name for each in inputs.afferents]
    others += [each.name for each in inputs.injections if each.reversal is not None]
    if others:
        raise BackendError(f"stimulus {others[0]} is no injected current")
    for name in sorted({name for _, name in inputs.synapses}):
        if network.synapses[name].model != "exp" or network.synapses[name].plasticity is not None:
            raise BackendError(f"synapse {name} is more than model `exp` without plasticity")
    if network.gap_junctions:
        raise BackendError("gap junctions are not held here")
