"""Networks in NEURON: cells, inputs and synapses by an independent calculation; files; what is refused."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import pair_network
from test_plasticity import integrated

from noble_net.cells import mechanisms
from noble_net.cells.family import Family
from noble_net.cells.mechanisms import neuron
from noble_net.cells.model import CellModel
from noble_net.cells.solver import REFERENCE_DT, SECOND_ORDER, SETTLE, ExactCell
from noble_net.config import NetworkSpec, SynapseSpec, network_from
from noble_net.errors import BackendError, ConfigError, MissingExtraError, OutputError, SolverError
from noble_net.network.afferents import Poisson
from noble_net.network.build import Network, build_network
from noble_net.network.node_sets import select_cells
from noble_net.network.noise import OrnsteinUhlenbeck
from noble_net.network.stimuli import make_stimulus
from noble_net.network.synapses import time_course
from noble_net.network.waveforms import Step
from noble_net.reference.neuron_cells import PointProcesses
from noble_net.reference.neuron_loop import NeuronLoop
from noble_net.reference.neuron_network import NEURON, simulate_neuron
from noble_net.registry import load_family
from noble_net.results import Results, load_results
from noble_net.sonata import SpikeWriter
from noble_net.specs.families import CellSpec
from noble_net.spikes import detect_block, new_detector, spike_times
from noble_net.types import DT, CellTable, CoreInfo, Float32, Response

FAMILY = "allen-pv-peri"
FAMILIES = {FAMILY: load_family(FAMILY)}
OU = {"mean": "0.3 nA", "sigma": "0.15 nA", "tau": "5 ms"}
GABA = {"model": "exp2", "rise": "0.3 ms", "decay": "4 ms", "reversal": "-70 mV"}
SYNAPSES: dict[str, dict[str, str]] = {
    "ExpSyn": {"model": "exp", "decay": "3 ms", "reversal": "0 mV"},
    "Exp2Syn": {"model": "exp2", "rise": "0.4 ms", "decay": "3 ms", "reversal": "0 mV"},
    "NobleExpCurrent": {"model": "exp", "decay": "3 ms"},
    "NobleExp2Current": {"model": "exp2", "rise": "0.4 ms", "decay": "3 ms"},
}
"""Every kind of synapse by NEURON's name for it."""
GAP = {
    "name": "gap",
    "from": "pv",
    "to": "pv",
    "rule": {"pairwise_bernoulli": {"p": 1.0}},
    "conductance": "1 nS",
}


def population(size: int, **more: Any) -> dict[str, Any]:
    return {"family": FAMILY, "size": size, **more}


def recurrent(**changes: Any) -> dict[str, Any]:
    """Three cells that inhibit each other, with noise and Poisson input."""
    data: dict[str, Any] = {
        "name": "tiny",
        "seed": 5,
        "duration": "60 ms",
        "populations": {"pv": population(3, sample={"from": "members", "role": "held_out"})},
        "synapses": {"gaba": GABA, "ampa": SYNAPSES["NobleExpCurrent"]},
        "projections": [
            {
                "name": "pv-pv",
                "from": "pv",
                "to": "pv",
                "rule": "all_to_all",
                "synapse": "gaba",
                "weight": {"uniform": {"low": "1 nS", "high": "6 nS"}},
                "delay": {"uniform": {"low": "0.5 ms", "high": "2 ms"}},
            }
        ],
        "stimuli": [
            {"to": "pv", "ornstein_uhlenbeck": OU},
            {"to": "pv", "poisson": {"rate": "2000 Hz", "synapse": "ampa", "weight": "20 pA"}},
        ],
    }
    return {**data, **changes}


def pair(kind: str, weight: str, delay: str = "1.3 ms") -> dict[str, Any]:
    """One cell that is driven, and one that hears it through the synapse of that kind."""
    step = {"amplitude": "0.6 nA", "start": "5 ms", "stop": "20 ms"}
    cell = population(1)
    return pair_network(cell, cell, SYNAPSES[kind], step, weight=weight, delay=delay, duration="40 ms")


def build(data: dict[str, Any]) -> Network:
    spec = network_from(data)
    return build_network(spec, FAMILIES, {spec.core_of(name): NEURON for name in spec.populations})


def record(loop: NeuronLoop, population: str, blocks: list[int]) -> tuple[Float32, list[Response]]:
    """Voltage [cells, samples + 1] of a population over blocks of the given lengths, and its responses."""
    columns, responses = [loop.voltage()[population][:, None]], []
    for samples in blocks:
        responses.append(loop.advance(samples)[population])
        columns.append(responses[-1].voltage)
    return np.concatenate(columns, axis=1), responses


def exact_cell(network: Network, name: str, index: int) -> ExactCell:
    """A cell of a population, built by hand."""
    cell = ExactCell(FAMILIES[FAMILY].model)
    parameters = network.population(name).cells.parameters
    cell.set_parameters({key: float(values[index]) for key, values in parameters.items()})
    return cell


def left_behind() -> list[int]:
    """Sections and objects in NEURON."""
    h = neuron().h
    kinds = ("NetCon", "NobleDrive", *SYNAPSES)
    return [len(list(h.allsec())), *(int(h.List(kind).count()) for kind in kinds)]


# --- cells and inputs -------------------------------------------------------------------------------------


def test_an_isolated_cell_is_the_exact_cell() -> None:
    data = recurrent(projections=[], synapses={})
    data["stimuli"] = [
        {"to": "pv", "step": {"amplitude": "0.3 nA", "start": "3 ms", "stop": "30 ms"}},
        {
            "to": "pv",
            "ornstein_uhlenbeck": {"mean": "4 nS", "sigma": "2 nS", "tau": "3 ms", "reversal": "-20 mV"},
        },
    ]
    network = build(data)
    with NeuronLoop(network, FAMILIES) as loop:
        voltage, _ = record(loop, "pv", [100] * 5)
        assert loop.segments == {"pv": 121}
    step, noise = (make_stimulus(spec, network.spec) for spec in network.spec.stimuli)
    assert isinstance(step, Step) and isinstance(noise, OrnsteinUhlenbeck)
    current, conductance = step.values(0, 500), noise.values(0, 500)
    for index in range(3):
        cell = exact_cell(network, "pv", index)
        expected = cell.run(current[index], conductance[index], conductance[index] * np.float32(-20.0))
        np.testing.assert_allclose(voltage[index], expected, atol=1e-6)
        assert len(spike_times(expected[None])[0]) >= 1


def test_blocks_change_nothing_and_spikes_follow_the_rule() -> None:
    network = build(recurrent())
    results = []
    for blocks in ([600], [7, 93, *[1] * 300, 200]):
        with NeuronLoop(network, FAMILIES) as loop:
            results.append(record(loop, "pv", blocks))
            np.testing.assert_array_equal(loop.voltage()["pv"], results[-1][0][:, -1])
    (whole, (response,)), (cut, parts) = results
    np.testing.assert_array_equal(whole, cut)
    begin = np.cumsum([0, *(part.voltage.shape[1] for part in parts)])[:-1]
    samples = np.concatenate([p.event_sample + b for p, b in zip(parts, begin, strict=True)])
    np.testing.assert_array_equal(samples, response.event_sample)
    np.testing.assert_array_equal(np.concatenate([p.event_cell for p in parts]), response.event_cell)
    for cell, expected in enumerate(spike_times(whole)):
        assert len(expected) >= 1
        np.testing.assert_allclose(response.event_time[response.event_cell == cell], expected, atol=1e-4)
    assert not response.outside.any()


def test_poisson_events_arrive_at_the_start_of_their_sample() -> None:
    network = build(recurrent(projections=[]))
    stimulus = next(
        each
        for each in (make_stimulus(s, network.spec) for s in network.spec.stimuli)
        if isinstance(each, Poisson)
    )
    counts = stimulus.counts(0, 200)
    assert counts.max() > 1 and counts.min() == 0
    others = list(neuron().h.List("NobleExpCurrent"))
    with NeuronLoop(network, FAMILIES) as loop:
        processes = made_since(others, "NobleExpCurrent")
        expected = np.zeros(3)
        for k in range(200):
            loop.advance(1)
            expected = (expected + 20.0 * counts[:, k]) * np.exp(-DT / 3.0)
            np.testing.assert_allclose([process.s for process in processes], expected, rtol=1e-9)


def test_stimuli_and_reports_are_those_of_the_loop(tmp_path: Path) -> None:
    """Every kind of injection, node sets and replayed spikes reach the exact cells as they reach a core."""
    with SpikeWriter(tmp_path / "spikes.h5", ["pre"]) as writer:
        writer.append("pre", [0.55, 3.21, 3.24], [1, 0, 1])
    spikes = {"file": str(tmp_path / "spikes.h5"), "population": "pre", "synapse": "ampa", "weight": "20 pA"}
    shots = {"rise": "1 ms", "decay": "3 ms", "rate": "500 Hz", "amp_mean": "2 nS", "amp_std": "1 nS"}
    stimuli = [
        {"to": "some", "noise": {"mean": "0.1 nA", "sigma": "0.1 nA"}},
        {"to": "pv", "shot_noise": {**shots, "reversal": "-20 mV"}},
        {"to": "pv", "sinusoidal": {"amp": "0.1 nA", "frequency": "100 Hz"}},
        {"to": "some", "synapse_replay": spikes},
    ]
    data = recurrent(
        projections=[], stimuli=stimuli, node_sets={"some": {"population": "pv", "cells": [0, 2]}}
    )
    network = build(data)
    spec = network.spec
    made = [make_stimulus(each, spec, select_cells(network, each.to)) for each in spec.stimuli]
    noise, shot, sine = (each.values(0, 100) for each in made[:3])  # type: ignore[union-attr]
    current = sine.copy()
    current[[0, 2]] = noise + sine[[0, 2]]
    expected = np.zeros(3)
    arrived = {5: 2, 32: (0, 2)}
    others, driven = (list(neuron().h.List(kind)) for kind in ("NobleExpCurrent", "NobleDrive"))
    with NeuronLoop(network, FAMILIES) as loop:
        processes = made_since(others, "NobleExpCurrent")
        for k in range(100):
            loop.advance(1)
            np.testing.assert_allclose(loop.inputs("current", "pv")[:, 0], current[:, k], rtol=1e-6)
            weight = np.zeros(3)
            weight[np.array(arrived.get(k, []), int)] = 20.0
            expected = (expected + weight) * np.exp(-DT / 3.0)
            np.testing.assert_allclose([process.s for process in processes], expected, rtol=1e-9)
            drives = made_since(driven, "NobleDrive")
            np.testing.assert_allclose([drive.g for drive in drives], shot[:, k], rtol=1e-6)


def test_reports_that_neuron_cannot_give_are_refused_at_their_line(tmp_path: Path) -> None:
    for record, key in (
        ({"conductance": {"cells": 1}}, "record.conductance"),
        ({"synapses": {"gaba": {"cells": 1}}}, "record.synapses.gaba"),
    ):
        with pytest.raises(ConfigError, match=rf"{key}.*take the surrogate backend"):
            simulate_neuron(network_from(recurrent(record=record)), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- synapses ---------------------------------------------------------------------------------------------


def state(kind: str, process: Any) -> float:
    """What a synapse does now: conductance in nS, or current in pA."""
    if kind == "ExpSyn":
        return float(1e3 * process.g)
    if kind == "Exp2Syn":
        return float(1e3 * (process.B - process.A))
    return float(process.s if kind == "NobleExpCurrent" else process.b - process.a)


@pytest.mark.parametrize(("kind", "weight"), [("ExpSyn", "2 nS"), ("Exp2Syn", "2 nS")])
def test_conductances_have_their_size_and_time(kind: str, weight: str) -> None:
    arrival_of_one_spike(kind, weight, 2.0)


@pytest.mark.parametrize("kind", ["NobleExpCurrent", "NobleExp2Current"])
def test_currents_have_their_size_and_time(kind: str) -> None:
    arrival_of_one_spike(kind, "-30 pA", -30.0)


def made_since(others: list[Any], kind: str) -> list[Any]:
    """Point processes of a kind in NEURON that are none of ``others``, which earlier tests may have left."""
    return [each for each in neuron().h.List(kind) if each not in others]


def arrival_of_one_spike(kind: str, weight: str, size: float) -> None:
    """The first spike acts 1.3 ms after the end of its confirming sample, with the course given."""
    others = list(neuron().h.List(kind))
    with NeuronLoop(build(pair(kind, weight)), FAMILIES) as loop:
        (process,) = made_since(others, kind)
        values, confirmed = [], []
        for k in range(400):
            confirmed += [k] * loop.advance(1)["pre"].event_cell.size
            values.append(state(kind, process))
    course = np.array(values) / size
    first = int(np.argmax(course > 0))
    time = DT * (np.arange(400) + 1)
    arrival = DT * (confirmed[0] + 1) + 1.3
    alone = slice(first, first + 20)
    assert np.abs(course[alone] - unit_course(kind, time[alone] - arrival)).max() < 1e-6
    assert first == np.argmax(time > arrival + 1e-9)


@pytest.mark.parametrize(("kind", "reversal"), [("Exp2Syn", {"reversal": "0 mV"}), ("NobleExp2Current", {})])
def test_alpha_functions_are_double_exponentials_of_nearly_equal_times(kind: str, reversal: Any) -> None:
    spec = SynapseSpec.model_validate({"model": "alpha", "decay": "2 ms", **reversal})
    h = neuron().h
    cell = ExactCell(FAMILIES[FAMILY].model)
    others = list(h.List(kind))
    points = PointProcesses(h, spec, [cell.soma(0.5)])
    (process,) = made_since(others, kind)
    h.dt = REFERENCE_DT
    h.finitialize(-70.0)
    points.arrive(np.array([2.0]))
    values = []
    for _ in range(200):
        for _ in range(4):
            h.fadvance()
        values.append(state(kind, process))
    elapsed = DT * np.arange(1, 201)
    np.testing.assert_allclose(values, 2.0 * elapsed / 2.0 * np.exp(1 - elapsed / 2.0), atol=4e-4)


def test_depressing_synapses_release_what_the_equations_say_with_spikes_under_way() -> None:
    before = left_behind()
    data = pair("NobleExpCurrent", "30 pA", "22 ms")
    plasticity = {"tsodyks_markram": {"U": 0.4, "tau_rec": "60 ms", "tau_facil": "25 ms"}}
    data["synapses"]["syn"] = {**SYNAPSES["NobleExpCurrent"], "decay": "0.5 ms", "plasticity": plasticity}
    data["stimuli"][0]["step"]["stop"] = "1 s"
    others = list(neuron().h.List("NobleExpCurrent"))
    with NeuronLoop(build(data), FAMILIES) as loop:
        (process,) = made_since(others, "NobleExpCurrent")
        values, confirmed = [0.0], []
        for k in range(900):
            confirmed += [k] * loop.advance(1)["pre"].event_cell.size
            values.append(process.s)
    del process
    # the state jumps by weight·u·x, and decays meanwhile by up to the sample in which the jump lies
    course = np.array(values)
    jumps = course[1:] - course[:-1] * np.exp(-DT / 0.5)
    arrivals = np.flatnonzero(jumps > 0.1)
    expected = 30.0 * np.array(integrated(DT * np.array(confirmed), 0.4, 60.0, 25.0))[: len(arrivals)]
    assert len(arrivals) >= 3 and np.diff(confirmed).min() * DT < 22.0
    assert expected[-1] < 0.7 * expected[0]
    share = jumps[arrivals] / expected
    assert np.all(share <= 1.005) and np.all(share >= np.exp(-2 * DT / 0.5))
    assert left_behind() == before


def unit_course(kind: str, elapsed: np.ndarray) -> np.ndarray:
    rise, decay, factor = time_course(0.4, 3.0)
    if "Exp2" in kind:
        return factor * (np.exp(-elapsed / decay) - np.exp(-elapsed / rise))
    return np.exp(-elapsed / decay)


def test_the_target_feels_what_a_network_made_by_hand_feels() -> None:
    network = build(pair("Exp2Syn", "4 nS", "0.7 ms"))
    with NeuronLoop(network, FAMILIES) as loop:
        voltage, _ = record(loop, "post", [400])
    h = neuron().h
    pre, post = exact_cell(network, "pre", 0), exact_cell(network, "post", 0)
    synapse = h.Exp2Syn(post.soma(0.5))
    synapse.tau1, synapse.tau2, synapse.e = 0.4, 3.0, 0.0
    connection = h.NetCon(None, synapse)
    connection.delay, connection.weight[0] = 0.0, 0.004
    current = np.zeros(400)
    current[50:200] = 0.6
    fired = confirming_samples(pre.run(current))
    assert len(fired) >= 1
    h.CVode().active(False)
    h.dt, h.secondorder = REFERENCE_DT, SECOND_ORDER
    times = h.Vector(SETTLE + DT * np.arange(401))
    recorded = h.Vector().record(post.soma(0.5)._ref_v, times)
    h.finitialize(post.model.v_init)
    for sample in fired:
        connection.event(SETTLE + DT * (sample + 1) + 0.7)
    while h.t < SETTLE + 40.0 + REFERENCE_DT:
        h.fadvance()
    np.testing.assert_allclose(voltage[0], np.array(recorded), atol=1e-4)
    assert np.ptp(voltage) > 2.0


def confirming_samples(voltage: Float32) -> list[int]:
    """Samples of a trace [samples + 1] at whose end a spike is confirmed."""
    _, sample, _ = detect_block(voltage[None, 1:], voltage[:1], new_detector(1))
    return [int(each) for each in sample]


# --- whole runs -------------------------------------------------------------------------------------------


def run(out: Path, data: dict[str, Any], **options: Any) -> Results:
    return simulate_neuron(network_from(data), out=out, report=False, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, list[tuple[float, float]]]:
    """A run with voltage and its report, and the progress it told."""
    told: list[tuple[float, float]] = []
    out = tmp_path_factory.mktemp("runs") / "tiny"
    data = recurrent(record={"voltage": {"cells": 2}, "current": {"cells": "pv"}, "rates": {"bin": "20 ms"}})
    results = simulate_neuron(
        network_from(data), out=out, progress=lambda done, total: told.append((done, total))
    )
    return results, told


def test_a_run_leaves_what_every_backend_leaves(
    finished: tuple[Results, list[tuple[float, float]]],
) -> None:
    results, told = finished
    summary = results.summary
    assert results.backend == "neuron" and summary["completed"]
    assert summary["neuron"] == {
        "dt_ms": REFERENCE_DT,
        "secondorder": SECOND_ORDER,
        "placement": "lumped",
        "segments_per_cell": {"pv": 121},
    }
    assert summary["timings_s"]["build"] > 0 and summary["timings_s"]["run"] > 0
    assert summary["spikes"] == len(results.spikes("pv")) >= 3
    assert results.voltage("pv").shape == (600, 2)
    spec = network_from(recurrent())
    noise = make_stimulus(spec.stimuli[0], spec).values(0, 600)  # type: ignore[union-attr]
    assert np.array_equal(results.recording("current", "pv").to_numpy().T, noise)
    assert results.binned_rates()["pv"].sum() == pytest.approx(summary["spikes"] / 3 / 0.02)
    assert (results.path / "report.html").is_file()
    provenance = json.loads((results.path / "provenance.json").read_text())
    assert provenance["backend"] == "neuron" and provenance["families"] == {FAMILY: FAMILIES[FAMILY].hash}
    assert told[-1] == (60.0, 60.0)


def test_a_second_run_gives_the_same_and_leaves_nothing_in_neuron(
    finished: tuple[Results, list[tuple[float, float]]], tmp_path: Path
) -> None:
    before = left_behind()
    again = run(tmp_path / "again", recurrent(record={"voltage": {"cells": 2}}), threads=2)
    assert left_behind() == before
    first = finished[0]
    np.testing.assert_array_equal(again.spike_arrays("pv"), first.spike_arrays("pv"))
    np.testing.assert_array_equal(again.voltage("pv"), first.voltage("pv"))


def test_the_warm_up_is_the_beginning_of_the_run(
    finished: tuple[Results, list[tuple[float, float]]], tmp_path: Path
) -> None:
    warmed = run(tmp_path / "warmed", recurrent(warmup="20 ms", duration="40 ms"))
    times, cells = finished[0].spike_arrays("pv")
    late = times >= 20.0
    assert 0 < late.sum() < len(late)
    np.testing.assert_allclose(warmed.spike_arrays("pv")[0], times[late] - 20.0, atol=1e-9)
    np.testing.assert_array_equal(warmed.spike_arrays("pv")[1], cells[late])


def test_cells_and_edges_are_those_of_any_core(
    finished: tuple[Results, list[tuple[float, float]]],
) -> None:
    spec = network_from(recurrent())
    other = build_network(spec, FAMILIES, {"pv-stream": CoreInfo("pv-stream", ("soma",), 5)})
    nodes = finished[0].nodes("pv")
    assert list(nodes["label"]) == list(other.populations[0].cells.labels)
    assert set(nodes["label"]) <= set(FAMILIES[FAMILY].ids("held_out"))
    mine = build(recurrent())
    for name in ("indptr", "target", "weight", "delay"):
        np.testing.assert_array_equal(getattr(mine.projections[0], name), getattr(other.projections[0], name))


def test_an_interrupted_run_can_be_read_and_leaves_nothing_in_neuron(tmp_path: Path) -> None:
    def interrupt(done: float, total: float) -> None:
        raise KeyboardInterrupt

    before = left_behind()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", recurrent(), progress=interrupt)
    assert left_behind() == before
    results = load_results(tmp_path / "cut")
    assert not results.summary["completed"]
    assert 0 < results.duration < 60.0


def test_delays_of_one_sample_and_smaller_steps_are_taken(tmp_path: Path) -> None:
    data = recurrent(duration="10 ms")
    data["projections"][0]["delay"] = "0.1 ms"
    results = run(tmp_path / "fine", data, dt=REFERENCE_DT / 5, duration="5 ms", seed=9)
    assert results.summary["neuron"]["dt_ms"] == REFERENCE_DT / 5
    assert results.summary["simulated_ms"] == 5.0 and results.seed == 9


# --- what is refused --------------------------------------------------------------------------------------


def with_integrate_and_fire() -> NetworkSpec:
    data = recurrent()
    data["populations"]["lif"] = {"size": 2, "core": "integrate-and-fire"}
    return network_from(data)


def test_closed_form_populations_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"populations lif run on core integrate-and-fire"):
        simulate_neuron(with_integrate_and_fire(), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_zones_are_refused_at_their_line(tmp_path: Path) -> None:
    data = recurrent()
    data["synapses"]["gaba"] = {**GABA, "zone": "dendrite"}
    with pytest.raises(ConfigError, match=r"synapses\.gaba\.zone = dendrite: core neuron .* valid: soma"):
        run(tmp_path / "run", data)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("dt", [0.03, 0.2, 0.0, -0.1])
def test_steps_must_divide_the_sample(tmp_path: Path, dt: float) -> None:
    with pytest.raises(BackendError, match="does not divide"):
        run(tmp_path / "run", recurrent(), dt=dt)


def test_a_folder_in_use_is_refused(finished: tuple[Results, list[tuple[float, float]]]) -> None:
    with pytest.raises(OutputError, match="holds an earlier run"):
        run(finished[0].path, recurrent())


def test_without_neuron_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mechanisms, "_loaded", {})
    monkeypatch.setitem(sys.modules, "neuron", None)
    with pytest.raises(MissingExtraError, match=r"noble-net\[reference\]"):
        run(tmp_path / "run", recurrent())
    assert not (tmp_path / "run").exists()


def test_a_cell_whose_voltage_is_not_finite_is_named() -> None:
    network = build(recurrent())
    broken = network.populations[0].cells.parameters["gbar_NaV.soma"].copy()
    broken[1] = np.nan
    with pytest.raises(SolverError, match=r"cell 1 of population pv \(allen-pv-peri-\d+\)"):
        NeuronLoop(with_parameter(network, "gbar_NaV.soma", broken), FAMILIES)


def with_parameter(network: Network, name: str, values: np.ndarray) -> Network:
    (population,) = network.populations
    cells: CellTable = replace(population.cells, parameters={**population.cells.parameters, name: values})
    return replace(network, populations=(replace(population, cells=cells),))


def test_populations_at_two_temperatures_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = recurrent()
    data["populations"]["cold"] = population(1)
    network, family = build(data), FAMILIES[FAMILY]
    temperatures = iter((34.0, 33.0))

    def model(_: Family) -> CellModel:
        return replace(CellModel.from_spec(CellSpec(**family.about["cell"])), celsius=next(temperatures))

    monkeypatch.setattr(Family, "model", property(model))
    with pytest.raises(BackendError, match=r"pv 34 °C, cold 33 °C"):
        NeuronLoop(network, FAMILIES)


def test_a_removed_network_does_not_run_on() -> None:
    loop = NeuronLoop(build(recurrent(populations={"pv": population(1)}, projections=[])), FAMILIES)
    loop.close()
    loop.close()
    with pytest.raises(ValueError, match="removed"):
        loop.advance()
