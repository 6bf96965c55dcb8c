"""Integrate-and-fire cells on the grid against Brian2: spike for spike, or how far apart.

    python benchmarks/exactness.py

networks/balanced.yaml (synapses that pass currents, solved exactly by both) and balanced-conductance.yaml (ours held
at their mean over each sample; Brian2's by Runge–Kutta of order 4). With conductances the cells are also compared
with the arrivals of ours given to both, since a spike displaced by a sample spreads through a network. Needs
[reference].
"""

from __future__ import annotations

import numpy as np
from scoreboard import Target, record

from noble_net import find_network, load_network
from noble_net.loop import Loop
from noble_net.network.build import Network, build_network
from noble_net.reference.brian_grid import Answer, brian_answer
from noble_net.registry import load_core
from noble_net.types import DT, Int64

COMMAND = "python benchmarks/exactness.py"
CORE = "integrate-and-fire-grid"
SAMPLES = 10_000
TRACED = 100


def main() -> None:
    """Run, compare, record."""
    network = built("balanced")
    mine, theirs = ours(network), brian_answer(network, SAMPLES, voltages=TRACED)
    about = f"balanced: 1,000 cells, 1 s, {spikes(mine):,} spikes, both in float64; Brian2 2.9.0 `exact`"
    rows = [
        row("currents: spikes in Brian2's sample", "= 100", 100 * shared(network, mine, theirs), "%", about)
    ]
    network = built("balanced-conductance")
    mine = ours(network)
    alone, fed = (
        brian_answer(network, SAMPLES, voltages=TRACED, heard=heard) for heard in (None, mine.spikes)
    )
    error = voltage_error(mine, fed)
    about = (
        f"balanced-conductance: 1,000 cells, 1 s, {spikes(mine):,} spikes; Brian2 2.9.0 rk4 on the same grid"
    )
    first = displaced(network, mine, alone)
    given = f"{about}; arrivals of ours given to both"
    rows += [
        row(
            "conductances: spikes in Brian2's sample",
            "≥ 99.8",
            100 * shared(network, mine, fed),
            "%",
            f"{given}; as a recurrent network, the first spike is displaced after {first:.1f} ms",
        ),
        row(
            "conductances: error of the voltage, median",
            "≤ 0.001",
            float(np.median(error)),
            "mV",
            f"{given}; 99.9th percentile {np.quantile(error, 0.999):.2g} mV",
        ),
    ]
    record(rows)
    for target in rows:
        print(target.line(), "|", target.conditions)


def row(name: str, target: str, value: float, unit: str, conditions: str) -> Target:
    """A row of this benchmark."""
    return Target(5, f"integrate-and-fire on the grid, {name}", target, value, unit, conditions, COMMAND)


def built(name: str) -> Network:
    """A shipped network, built."""
    return build_network(load_network(find_network(name)), {}, {CORE: load_core(CORE).info})


def ours(network: Network) -> Answer:
    """What our core answers."""
    loop = Loop(network, {CORE: load_core(CORE)})
    cells: dict[str, list[Int64]] = {each.name: [] for each in network.populations}
    samples: dict[str, list[Int64]] = {each.name: [] for each in network.populations}
    traces: dict[str, list[np.ndarray]] = {each.name: [] for each in network.populations}
    while loop.position < SAMPLES:
        start = loop.position
        for name, response in loop.advance(min(loop.block_samples, SAMPLES - start)).items():
            cells[name].append(response.event_cell.astype(np.int64))
            samples[name].append(response.event_sample.astype(np.int64) + start)
            traces[name].append(response.voltage[:TRACED])
    found = {name: (np.concatenate(cells[name]), np.concatenate(samples[name])) for name in cells}
    return Answer(found, {name: np.concatenate(each, axis=1) for name, each in traces.items()})


def spikes(answer: Answer) -> int:
    """Spikes of all cells."""
    return sum(len(cell) for cell, _ in answer.spikes.values())


def keys(network: Network, answer: Answer) -> dict[str, Int64]:
    """A number for every spike: its sample, then its cell."""
    return {
        name: sample * network.population(name).size + cell for name, (cell, sample) in answer.spikes.items()
    }


def shared(network: Network, one: Answer, two: Answer) -> float:
    """Share of spikes that have one of the same cell and sample in the other."""
    first, second = keys(network, one), keys(network, two)
    both = sum(len(np.intersect1d(first[name], second[name])) for name in first)
    return both / max(spikes(one), spikes(two))


def displaced(network: Network, one: Answer, two: Answer) -> float:
    """Time of the first spike that the other does not have, ms."""
    first, second = keys(network, one), keys(network, two)
    return DT * min(
        int(np.setxor1d(first[name], second[name]).min(initial=SAMPLES * network.population(name).size))
        // network.population(name).size
        for name in first
    )


def voltage_error(one: Answer, two: Answer) -> np.ndarray:
    """Absolute differences of the voltages outside spikes, mV."""
    return np.concatenate(
        [np.abs(trace - two.voltage[name][: len(trace)])[trace < 0.0] for name, trace in one.voltage.items()]
    )


if __name__ == "__main__":
    main()
