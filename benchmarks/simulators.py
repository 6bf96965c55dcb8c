"""The same integrate-and-fire network here, in NEST and in Brian2 (C++ standalone), on one core each.

    python benchmarks/simulators.py

The same cells and synapses: 10,000 cells, in-degree 1,000, delays of 1 to 10 ms. All three solve them exactly on a
grid of 0.1 ms and must give the same number of spikes; the time is that of the simulation alone, without building or
recording. Needs [bench].
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from scoreboard import Target, record

from noble_net.config import network_from
from noble_net.loop import Loop
from noble_net.network.build import Network, build_network
from noble_net.network.stimuli import network_inputs
from noble_net.registry import load_core
from noble_net.types import DT, Float64

COMMAND = "python benchmarks/simulators.py"
ISSUE = 5
CORE = "integrate-and-fire-grid"
SAMPLES = 2000
REPEATS = 9
EXCITATORY, INHIBITORY = 8000, 2000


class Turn(NamedTuple):
    """What a simulator did: seconds of wall time, and spikes."""

    seconds: float
    spikes: int


def main() -> None:
    """Build, let all three run in turns, record."""
    numba.set_num_threads(1)
    network = random_network()
    print(f"{network.n_cells:,} cells, {network.n_synapses:,} synapses", flush=True)
    runners = {"here": here(network), "NEST": nest(network), "Brian2": brian(network)}
    turns: dict[str, list[Turn]] = {name: [] for name in runners}
    for _ in range(REPEATS):
        for name, run in runners.items():
            turns[name].append(run())
            print(name, turns[name][-1], flush=True)
    spikes = {turn.spikes for each in turns.values() for turn in each}
    if len(spikes) > 1:
        sys.exit(f"these should be equal: {spikes} spikes")
    record(rows(network, turns))


def rows(network: Network, turns: dict[str, list[Turn]]) -> list[Target]:
    """Ratios of medians, and where they come from."""
    seconds = {name: statistics.median(turn.seconds for turn in each) for name, each in turns.items()}
    rate = turns["here"][0].spikes / network.n_cells / (SAMPLES * DT / 1000.0)
    times = ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())
    versions = "NEST 3.10.0, Brian2 2.9.0 C++ standalone"
    conditions = (
        f"10,000 exact integrate-and-fire cells, {network.n_synapses:,} synapses, delays 1–10 ms, {rate:.1f} Hz, "
        f"{SAMPLES * DT:g} ms on one core, medians of {REPEATS} turns: {times}; {versions}; all "
        "give the same number of spikes"
    )
    found = [
        Target(
            ISSUE,
            f"integrate-and-fire network: times faster than {name}",
            "≥ 1",
            seconds[name] / seconds["here"],
            "×",
            conditions,
            COMMAND,
        )
        for name in ("NEST", "Brian2")
    ]
    for target in found:
        print(target.line(), "|", target.conditions)
    return found


def random_network() -> Network:
    """Excitation and inhibition of fixed in-degree, cells kept going by currents of their own."""
    delay = {"uniform": {"low": "1 ms", "high": "10 ms"}}
    kinds = {"exc": ("ampa", 800, "4 pA"), "inh": ("gaba", 200, "-16 pA")}
    projections = [
        {
            "name": f"{source}-{target}",
            "from": source,
            "to": target,
            "rule": {"fixed_indegree": {"indegree": degree}},
            "synapse": synapse,
            "weight": weight,
            "delay": delay,
        }
        for source, (synapse, degree, weight) in kinds.items()
        for target in kinds
    ]
    amplitude = {"uniform": {"low": "0.15 nA", "high": "0.29 nA"}}
    step = {"start": "0 ms", "stop": f"{SAMPLES * (REPEATS + 1) * DT} ms", "amplitude": amplitude}
    data = {
        "name": "simulators",
        "seed": 1,
        "duration": step["stop"],
        "core": CORE,
        "populations": {"exc": {"size": EXCITATORY}, "inh": {"size": INHIBITORY}},
        "synapses": {"ampa": {"model": "exp", "decay": "2 ms"}, "gaba": {"model": "exp", "decay": "6 ms"}},
        "projections": projections,
        "stimuli": [{"to": name, "step": step} for name in kinds],
    }
    return build_network(network_from(data), {}, {CORE: load_core(CORE).info})


def currents(network: Network) -> dict[str, Float64]:
    """The constant current of every cell, pA."""
    return {
        each.target: 1000.0 * each.values(0, 1)[:, 0].astype(np.float64)
        for each in network_inputs(network).injections
    }


def here(network: Network) -> Callable[[], Turn]:
    """A run of our own: begun anew each turn, after a block that compiles."""

    def run() -> Turn:
        loop = Loop(network, {CORE: load_core(CORE)})
        spikes, begin = 0, time.perf_counter()
        while loop.position < SAMPLES:
            responses = loop.advance(min(loop.block_samples, SAMPLES - loop.position))
            spikes += sum(response.event_cell.size for response in responses.values())
        return Turn(time.perf_counter() - begin, spikes)

    Loop(network, {CORE: load_core(CORE)}).advance()
    return run


def nest(network: Network) -> Callable[[], Turn]:
    """NEST's ``iaf_psc_exp``, whose refractory time counts as ours does; built anew each turn, on one thread."""
    import nest as kernel

    kernel.set_verbosity("M_ERROR")

    def run() -> Turn:
        kernel.ResetKernel()
        kernel.SetKernelStatus({"resolution": DT, "local_num_threads": 1})
        build_nest(kernel, network)
        kernel.Prepare()
        begin = time.perf_counter()
        kernel.Run(SAMPLES * DT)
        seconds = time.perf_counter() - begin
        kernel.Cleanup()
        return Turn(seconds, kernel.GetKernelStatus("local_spike_counter"))

    return run


def build_nest(kernel: Any, network: Network) -> None:
    """The network in NEST, synapse for synapse."""
    amplitudes, groups = currents(network), {}
    for each in network.populations:
        p = each.cells.parameters
        groups[each.name] = kernel.Create("iaf_psc_exp", each.size)
        groups[each.name].set(
            C_m=p["capacitance"],
            tau_m=p["capacitance"] * p["resistance"] / 1000.0,
            E_L=p["v_rest"],
            V_m=p["v_rest"],
            V_reset=p["v_reset"],
            V_th=p["v_threshold"],
            t_ref=p["refractory"],
            tau_syn_ex=2.0,
            tau_syn_in=6.0,
            I_e=amplitudes[each.name],
        )
    for each in network.projections:
        source, target = (groups[end][0].global_id for end in (each.source, each.target_population))
        synapses = {"weight": each.weight.astype(np.float64), "delay": each.delay * DT}
        kernel.Connect(each.source_ids + source, each.target + target, "one_to_one", synapses)


def brian(network: Network) -> Callable[[], Turn]:
    """Brian2, compiled once; every turn is a new run of the program, of which the simulation alone is timed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import brian2 as b2
    logging.getLogger("brian2").setLevel(logging.ERROR)
    b2.set_device("cpp_standalone", build_on_run=False)
    b2.defaultclock.dt = DT * b2.ms
    equations = """
        du/dt = (g_leak*(v_rest - u) + held + s0 + s1)/c/ms : 1 (unless refractory)
        ds0/dt = -s0/(2*ms) : 1
        ds1/dt = -s1/(6*ms) : 1
        held : 1 (constant)
    """
    amplitudes, groups, monitors, objects = currents(network), {}, {}, []
    for each in network.populations:
        p = {name: float(values[0]) for name, values in each.cells.parameters.items()}
        shared = {
            "g_leak": 1000.0 / p["resistance"],
            "c": p["capacitance"],
            "v_rest": p["v_rest"],
            "ms": b2.ms,
        }
        group = groups[each.name] = b2.NeuronGroup(
            each.size,
            equations,
            threshold=f"u >= {p['v_threshold']!r}",
            reset=f"u = {p['v_reset']!r}",
            refractory=(round(p["refractory"] / DT) + 1) * DT * b2.ms,
            method="exact",
            namespace=shared,
        )
        group.u = p["v_rest"]
        group.held = amplitudes[each.name]
        monitors[each.name] = b2.SpikeMonitor(group, record=False)
        objects += [group, monitors[each.name]]
    for each in network.projections:
        synapse = 0 if each.synapse == "ampa" else 1
        synapses = b2.Synapses(
            groups[each.source],
            groups[each.target_population],
            "w : 1 (constant)",
            on_pre=f"s{synapse}_post += w",
        )
        synapses.connect(i=each.source_ids, j=each.target)
        synapses.w = each.weight.astype(np.float64)
        synapses.delay = each.delay * DT * b2.ms
        objects.append(synapses)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = b2.Network(objects)
        whole.run(SAMPLES * DT * b2.ms)
        folder = tempfile.mkdtemp(prefix="brian-")
        b2.device.build(directory=folder, compile=True, run=False)

    def run() -> Turn:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            b2.device.run()
            spikes = sum(int(np.sum(monitor.count)) for monitor in monitors.values())
        return Turn(b2.device._last_run_time, spikes)

    return run


if __name__ == "__main__":
    sys.exit(main())
