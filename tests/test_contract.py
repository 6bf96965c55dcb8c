"""What is promised of a network on the trained core: same seed, same spikes; no effect before its cause."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from noble_net import find_network, load_core, load_family, load_network, network_from, simulate
from noble_net.errors import OutputError
from noble_net.loop import Loop
from noble_net.network.build import build_network

FAMILY = "allen-pv-peri"


@pytest.fixture(scope="module")
def quickstart():
    """The quickstart's 400 cells and synapses, arrays built."""
    spec = load_network(find_network("quickstart"), {"duration": "80 ms", "warmup": "0 ms"})
    core = load_core("pv-stream")
    return build_network(spec, {FAMILY: load_family(FAMILY)}, {"pv-stream": core.info}), core


def spikes_of(network, core, *, batch=None, block=None, samples=400):
    """(cell, time) of every spike of the first ``samples``."""
    loop = Loop(network, {"pv-stream": core}, block_samples=block, batch=batch)
    cells, times = [], []
    while loop.position < samples:
        start = loop.position
        (response,) = loop.advance(min(loop.block_samples, samples - start)).values()
        cells.append(response.event_cell)
        times.append(response.event_time + start * 0.1)
    return np.concatenate(cells), np.concatenate(times)


def test_same_spikes_for_any_batch_thread_count_and_block(quickstart):
    import numba

    network, core = quickstart
    whole = spikes_of(network, core)
    assert len(whole[0]) > 100
    for batch in (23, 100, 400):  # test_streaming has single cells
        assert all(map(np.array_equal, spikes_of(network, core, batch=batch), whole))
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        assert all(map(np.array_equal, spikes_of(network, core), whole))
    finally:
        numba.set_num_threads(threads)


def test_same_spikes_for_the_shortest_and_the_longest_exact_block():
    spec = network_from(data(delay="3 ms"))
    core = load_core("pv-stream")
    network = build_network(spec, {FAMILY: load_family(FAMILY)}, {"pv-stream": core.info})
    assert network.block_samples == 30
    blocks = [spikes_of(network, core, block=block, samples=1500) for block in (core.step_samples, 15, 30)]
    assert len(blocks[0][0]) > 50
    for a, b in itertools.pairwise(blocks):
        # times from a block's start are added to the start, so they may differ in the last bit
        assert np.array_equal(a[0], b[0])
        np.testing.assert_allclose(a[1], b[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("precision", ["bfloat16", "int16"])
def test_precision_is_part_of_a_network_and_of_its_runs(tmp_path, precision):
    wanted = {**data(), "record": {"voltage": {"cells": 24}}}
    exact, rounded = (
        simulate(network_from({**wanted, "precision": each}), out=tmp_path / each, report=False)
        for each in ("float32", precision)
    )
    assert load_network(rounded.path / "network.yaml").precision == precision
    counts = [len(results.spikes("pv")) for results in (exact, rounded)]
    assert counts[0] > 20 and abs(counts[0] - counts[1]) <= 0.1 * counts[0]
    early = [results.voltage("pv", stop=4.0).to_numpy() for results in (exact, rounded)]
    assert 0 < np.abs(early[0] - early[1]).max() < 1.0  # before the first spikes
    with pytest.raises(OutputError, match="another network: precision differ"):
        simulate(network_from(wanted), out=rounded.path, resume=True)


def data(delay: str = "1 ms", stimuli: list[dict[str, object]] | None = None) -> dict[str, object]:
    """A small inhibitory network on held-out members."""
    return {
        "name": "contract",
        "duration": "150 ms",
        "populations": {
            "pv": {"family": FAMILY, "size": 24, "sample": {"from": "members", "role": "held_out"}}
        },
        "synapses": {"gaba": {"model": "exp2", "rise": "0.3 ms", "decay": "5 ms", "reversal": "-80 mV"}},
        "projections": [
            {
                "name": "pv-pv",
                "from": "pv",
                "to": "pv",
                "rule": {"fixed_indegree": {"indegree": 8}},
                "synapse": "gaba",
                "weight": "2 nS",
                "delay": delay,
            }
        ],
        "stimuli": [
            {"to": "pv", "ornstein_uhlenbeck": {"mean": "0.3 nA", "sigma": "0.12 nA", "tau": "5 ms"}},
            *(stimuli or []),
        ],
    }


def test_changing_the_input_after_a_time_changes_no_spike_before_it(tmp_path):
    late = [{"to": "pv", "step": {"amplitude": "0.2 nA", "start": "90 ms", "stop": "150 ms"}}]
    runs = [
        simulate(network_from(data(stimuli=extra)), out=tmp_path / name, report=False).spikes("pv")
        for name, extra in (("without", []), ("with", late))
    ]
    before = [run[run["time"] < 90.0].reset_index(drop=True) for run in runs]
    after = [run[run["time"] >= 90.0] for run in runs]
    assert len(before[0]) > 20 and before[0].equals(before[1])
    assert len(after[1]) > len(after[0])
