"""The cells of a NEURON network shared out over processes: the same numbers, and what cannot be shared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_neuron_network import FAMILIES, FAMILY, GABA, build, population, recurrent
from test_neuron_zones import advanced, network, onto_dendrites
from test_plasticity import STDP

from noble_net.config import network_from
from noble_net.errors import BackendError, SolverError
from noble_net.reference.exact_pool import Layout, Members
from noble_net.reference.neuron_loop import NeuronLoop
from noble_net.reference.neuron_network import simulate_neuron
from noble_net.reference.neuron_processes import SharedPool, _dealt

pytest.importorskip("neuron")


def two_populations() -> dict[str, Any]:
    """Five cells of two populations, with synapses at the soma, spread over a dendrite and told apart there."""
    data = recurrent(
        populations={"pv": population(3), "more": population(2)},
        synapses={
            "gaba": {
                **GABA,
                "zone": "distal",
                "plasticity": {"tsodyks_markram": {"U": 0.4, "tau_rec": "60 ms"}},
            },
            "ampa": {"model": "exp", "decay": "3 ms"},
            "nmda": {
                "model": "nmda",
                "rise": "2 ms",
                "decay": "30 ms",
                "reversal": "0 mV",
                "zone": "proximal",
            },
        },
    )
    across = {"name": "pv-more", "from": "pv", "to": "more", "rule": "all_to_all", "synapse": "nmda"}
    data["projections"].append({**across, "weight": "2 nS", "delay": "0.3 ms"})
    data["stimuli"].append({"to": "more", "ornstein_uhlenbeck": data["stimuli"][0]["ornstein_uhlenbeck"]})
    return data


def test_cells_are_dealt_out_in_turn() -> None:
    members = [
        Members(name, None, size, {"g": np.arange(size) + offset})  # type: ignore[arg-type]
        for name, size, offset in (("a", 4, 0.0), ("b", 1, 4.0), ("c", 3, 5.0))
    ]
    for processes in (1, 3, 5, 8):
        for rank in range(processes):
            own = list(_dealt(members, rank, processes))
            cells = np.concatenate([each.parameters["g"] for each in own])
            np.testing.assert_array_equal(cells, np.arange(8)[rank::processes])
            assert [each.size for each in own] == [each.parameters["g"].size for each in own]


def test_two_processes_give_the_bits_of_one(tmp_path: Path) -> None:
    """Passive cells on which synapses with STDP are told apart and others lie at the soma."""
    data = onto_dendrites()
    data["synapses"]["nmda"]["zone"] = "soma"
    times = {key: f"{STDP[key]} ms" for key in ("tau_plus", "tau_minus")}
    data["synapses"]["ampa"]["plasticity"] = {"stdp": {**STDP, **times, "w_max": "2 nS"}}
    built, families = network(tmp_path, data)
    found = []
    for processes in (1, 2):
        with NeuronLoop(built, families, placement="points", processes=processes) as loop:
            voltage, spikes = advanced(loop, 200)
            found.append([*voltage.values(), *spikes.values(), *loop.weights().values()])
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["lumped", "points"])
def test_any_number_of_processes_gives_the_same_bits(placement: Any) -> None:
    network = build(two_populations())
    found = []
    for processes in (1, 2, 3):
        with NeuronLoop(network, FAMILIES, placement=placement, processes=processes) as loop:
            begin = loop.voltage()
            blocks = [loop.advance(samples) for samples in (150, 250)]
            found.append((begin, blocks, loop.inputs("current", "more"), loop.segments))
    for begin, blocks, current, segments in found[1:]:
        assert segments == found[0][3]
        np.testing.assert_array_equal(current, found[0][2])
        for name in ("pv", "more"):
            np.testing.assert_array_equal(begin[name], found[0][0][name])
            for mine, first in zip(blocks, found[0][1], strict=True):
                for key in ("voltage", "event_cell", "event_sample", "event_time"):
                    np.testing.assert_array_equal(getattr(mine[name], key), getattr(first[name], key))
    assert sum(block["pv"].event_cell.size for block in found[0][1]) >= 3


@pytest.mark.slow
def test_a_run_over_processes_leaves_what_one_in_a_process_leaves(tmp_path: Path) -> None:
    data = recurrent(duration="30 ms", record={"voltage": {"cells": 2}, "current": {"cells": 1}})
    one, two = (
        simulate_neuron(network_from(data), out=tmp_path / str(n), processes=n, report=False) for n in (1, 2)
    )
    assert one.summary["spikes"] > 0
    for report in ("voltage", "current"):
        np.testing.assert_array_equal(one.recording(report, "pv"), two.recording(report, "pv"))
    np.testing.assert_array_equal(one.spike_arrays("pv"), two.spike_arrays("pv"))


@pytest.mark.slow
def test_what_fails_in_a_process_is_told_and_ends_the_others(tmp_path: Path) -> None:
    model = FAMILIES[FAMILY].model
    members = [Members("pv", model, 2, {"gbar_Nonsense.soma": np.ones(2)})]
    with pytest.raises(SolverError, match=r"process 0 of NEURON: FamilyError: .*gbar_Nonsense"):
        SharedPool(members, 0.025, 2)
    pool = SharedPool([Members("pv", model, 2, {})], 0.025, 2)
    try:
        pool._workers[1][0].kill()
        pool._workers[1][0].join()
        with pytest.raises(SolverError, match="process 1 of NEURON has ended"):
            pool.settle(Layout([], [], []))
    finally:
        pool.close()


def test_gap_junctions_between_processes_are_refused_by_name(tmp_path: Path) -> None:
    gap = {"name": "pv-gap", "from": "pv", "to": "pv", "rule": "all_to_all", "conductance": "1 nS"}
    with pytest.raises(BackendError, match=r"gap junctions \(pv-gap\) do not go between processes"):
        simulate_neuron(network_from(recurrent(gap_junctions=[gap])), out=tmp_path / "run", processes=2)
    assert not (tmp_path / "run").exists()
