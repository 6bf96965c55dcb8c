"""Point cells in Brian2: against the same compartment in NEURON and the members they stand for; what is refused."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import pair_network
from test_neuron_network import FAMILIES, FAMILY, GABA, OU, build, population, recurrent

from noble_net.cells.mechanisms import load_mechanisms, neuron
from noble_net.cells.solver import REFERENCE_DT, SECOND_ORDER, ExactCell
from noble_net.config import network_from
from noble_net.errors import BackendError, ConfigError
from noble_net.network.afferents import Poisson
from noble_net.network.build import Network, build_network
from noble_net.network.noise import OrnsteinUhlenbeck
from noble_net.network.stimuli import make_stimulus
from noble_net.network.synapses import time_course
from noble_net.reference import brian_loop
from noble_net.reference.brian_cells import RESET, THRESHOLD, equations, step_code
from noble_net.reference.brian_loop import BrianLoop
from noble_net.reference.brian_network import BRIAN2, simulate_brian
from noble_net.reference.channels import CALCIUM, CALCIUM_PARAMETERS, CHANNELS
from noble_net.reference.point_cells import PointCells, reduce_cells, refuse_unknown
from noble_net.spikes import spike_times
from noble_net.types import DT, Float64

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import brian2 as b2

DENSITY = {
    "NaV": 0.02,
    "NaTs": 0.1,
    "NaTa": 0.05,
    "Nap": 2e-4,
    "Kv3_1": 0.1,
    "Kd": 3e-4,
    "K_T": 5e-3,
    "K_P": 5e-3,
    "Kv2like": 0.02,
    "Im": 2e-4,
    "Im_v2": 1e-3,
    "SK": 2e-3,
    "Ca_HVA": 5e-4,
    "Ca_LVA": 2e-3,
    "Ih": 1e-4,
}
"""Every channel there is, S/cm²."""
AREA = 1000.0


def every_channel(cells: int) -> PointCells:
    whole = np.ones(cells)
    constants = {"ena": 53.0, "ek": -107.0, "eca": 100.0}
    constants |= {f"{key}_{CALCIUM}": value for key, value in CALCIUM_PARAMETERS.items()}
    return PointCells(
        capacitance=0.02 * AREA * whole,
        leak=1e-4 * AREA * 10.0 * whole,
        rest=-75.0 * whole,
        area=AREA * whole,
        conductance={name: DENSITY[name] * AREA * 10.0 * whole for name in CHANNELS},
        constants={name: value * whole for name, value in constants.items()},
        celsius=34.0,
        v_init=-75.0,
    )


LADDER = {f"{chain}{j}": f"{chain}{j + 1}" for chain in "CI" for j in range(6)} | {"C5": "O"}
"""States of the sodium channel and their names in NEURON."""


def driven(cells: PointCells, current: Float64, sodium: dict[str, Float64]) -> Float64:
    """The same compartments in NEURON from ``v_init`` on, mV [cells, samples]; ``current`` nA [cells, samples].

    ``sodium``: the states NaV begins with, since the LINEAR block of its NMODL file, where a rate of one state stands
    for that of another, leaves it off its equilibrium.
    """
    load_mechanisms()
    h = neuron().h
    h.load_file("stdrun.hoc")
    answers = []
    for i, wave in enumerate(current):
        section = h.Section(name="point")
        area = cells.area[i]
        section.L = section.diam = np.sqrt(area / np.pi)
        section.insert("pas")
        section.cm = cells.capacitance[i] / area / 0.01
        section.g_pas, section.e_pas = cells.leak[i] / area / 10.0, cells.rest[i]
        names = [*cells.conductance, *([CALCIUM] if cells.calcium else [])]
        for name in names:
            section.insert(name)
        for name, values in cells.conductance.items():
            setattr(section, f"gbar_{name}", values[i] / area / 10.0)
        reversals = {CHANNELS[name].reversal for name in cells.conductance}
        for name, values in cells.constants.items():
            if name in reversals - {"eca"} or name.endswith(CALCIUM):
                setattr(section, name, values[i])
        drive = h.NobleDrive(section(0.5))
        h.CVode().active(False)
        h.celsius, h.dt, h.secondorder = cells.celsius, REFERENCE_DT, SECOND_ORDER
        h.finitialize(cells.v_init)
        for name, values in sodium.items():
            setattr(section, f"{LADDER[name]}_NaV", values[i])
        trace = []
        for sample in wave:
            drive.i0 = sample
            for _ in range(round(DT / REFERENCE_DT)):
                h.fadvance()
            trace.append(section(0.5).v)
        answers.append(trace)
    return np.array(answers)


def in_brian(
    cells: PointCells, current: Float64, target: str = "numpy"
) -> tuple[Float64, dict[str, Float64]]:
    """The voltage in Brian2, and the states of NaV that it began with."""
    trace = np.empty(current.shape)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        b2.prefs.codegen.target = target
        clock = b2.Clock(dt=REFERENCE_DT * b2.ms)
        group = b2.NeuronGroup(
            len(current),
            equations(cells, {}),
            threshold=THRESHOLD,
            reset=RESET,
            clock=clock,
            namespace={"celsius": cells.celsius},
        )
        group.run_regularly(step_code(cells, {}), clock=clock, when="groups")
        for name in ("capacitance", "leak", "rest", "area"):
            setattr(group, name, getattr(cells, name))
        for name, values in {
            **cells.constants,
            **{f"g_{k}": g for k, g in cells.conductance.items()},
        }.items():
            setattr(group, name, values)
        group.v, group.C0_NaV = cells.v_init, 1.0
        if cells.calcium:
            group.cai = cells.constants[f"minCai_{CALCIUM}"]
        group.step, group.held_step = 1e4, 0.0
        network = b2.Network(group)
        network.run(8 * REFERENCE_DT * b2.ms)
        sodium = {name: np.array(getattr(group, f"{name}_NaV")) for name in LADDER}
        group.step, group.held_step = REFERENCE_DT, REFERENCE_DT
        sample = [0]

        def between() -> None:
            k, sample[0] = sample[0], sample[0] + 1
            if k:
                trace[:, k - 1] = group.v[:]
            group.i_in = 1000.0 * current[:, k]

        network.add(b2.NetworkOperation(between, dt=DT * b2.ms, when="start"))
        network.run(current.shape[1] * DT * b2.ms)
        trace[:, -1] = group.v[:]
    return trace, sodium


def inputs(samples: int) -> Float64:
    """A step and a fluctuating current, nA [2, samples]."""
    noise = np.random.default_rng(2).standard_normal(samples)
    wave = np.zeros(samples)
    keep = np.exp(-DT / 5.0)
    for k in range(1, samples):
        wave[k] = wave[k - 1] * keep + np.sqrt(1 - keep**2) * noise[k]
    step = np.where(np.arange(samples) >= 20, 0.15, 0.0)
    return np.stack([step, 0.1 + 0.1 * wave])


def test_every_channel_goes_as_in_neuron() -> None:
    cells, current = every_channel(2), inputs(120)
    voltage, sodium = in_brian(cells, current)
    expected = driven(cells, current, sodium)
    assert np.ptp(expected, axis=1).min() > 40.0
    np.testing.assert_allclose(voltage, expected, atol=1e-3)


def test_a_point_cell_has_the_members_passive_membrane_and_channels() -> None:
    """The same rest and input resistance, from the member in NEURON and from the point; its time constant nearly."""
    network = built(recurrent(projections=[], stimuli=[], synapses={}))
    cells = reduce_cells(network.populations[0], FAMILIES[FAMILY].model)
    (share,) = np.unique(cells.area)
    exact = ExactCell(FAMILIES[FAMILY].model, dt=0.1)
    parameters = network.populations[0].cells.parameters
    density = parameters["gbar_NaV.soma"]
    np.testing.assert_allclose(cells.conductance["NaV"], 10.0 * share * density)
    exact.set_parameters({name: float(values[0]) for name, values in parameters.items()})
    low, high = (exact.run(np.full(3000, amplitude)).astype(float) for amplitude in (-0.002, 0.002))
    whole = (high - low)[-1] / 0.004
    points = replace(
        cells, **{name: getattr(cells, name)[:1] for name in ("capacitance", "leak", "rest", "area")}
    )
    points = replace(
        points,
        conductance={name: values[:1].repeat(2) for name, values in cells.conductance.items()},
        constants={name: values[:1].repeat(2) for name, values in cells.constants.items()},
        **{name: getattr(points, name).repeat(2) for name in ("capacitance", "leak", "rest", "area")},
    )
    settle = 6000
    current = np.array([-0.002, 0.002])[:, None] * np.ones(settle)
    point = driven(points, current, {})
    assert (point[1, -1] - point[0, -1]) / 0.004 == pytest.approx(whole, rel=0.01)
    assert point[:, -1].mean() == pytest.approx((low + high)[-1] / 2, abs=0.05)


# --- the network ------------------------------------------------------------------------------------------


def built(data: dict[str, Any]) -> Network:
    spec = network_from(data)
    return build_network(spec, FAMILIES, {spec.core_of(name): BRIAN2 for name in spec.populations})


def loop(data: dict[str, Any], monkeypatch: pytest.MonkeyPatch, settle: float = 1.0) -> BrianLoop:
    """With a short rest, and without compilation."""
    monkeypatch.setattr(brian_loop, "SETTLE", settle)
    return BrianLoop(built(data), FAMILIES, codegen="numpy")


def test_edges_and_noise_are_those_of_neuron(monkeypatch: pytest.MonkeyPatch) -> None:
    data = recurrent()
    mine, other = built(data), build(data)
    for name in ("indptr", "target", "weight", "delay"):
        np.testing.assert_array_equal(getattr(mine.projections[0], name), getattr(other.projections[0], name))
    assert mine.populations[0].cells.labels == other.populations[0].cells.labels
    brian = loop(data, monkeypatch)
    (synapses,) = (each for each in brian._brian.objects if isinstance(each, b2.Synapses))
    np.testing.assert_array_equal(synapses.i, mine.projections[0].source_ids)
    np.testing.assert_array_equal(synapses.j, mine.projections[0].target)
    np.testing.assert_allclose(synapses.w, mine.projections[0].weight)
    np.testing.assert_allclose(np.array(synapses.delay / b2.ms), mine.projections[0].delay * DT)
    noise, poisson = (make_stimulus(spec, mine.spec) for spec in mine.spec.stimuli)
    assert isinstance(noise, OrnsteinUhlenbeck) and isinstance(poisson, Poisson)
    code = brian._codes["pv", "ampa"]
    expected = np.zeros(3)
    brian.advance(4)
    brian.advance(5)
    np.testing.assert_array_equal(brian.inputs("current", "pv"), noise.values(4, 5))
    np.testing.assert_allclose(brian._states["pv", "i_in"], 1000.0 * noise.values(8, 1)[:, 0], rtol=1e-6)
    for k in range(9):
        expected = (expected + 20.0 * poisson.counts(0, 9)[:, k]) * np.exp(-DT / 3.0)
    np.testing.assert_allclose(brian._states["pv", code.states[0]], expected, rtol=1e-9)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = recurrent()
    whole = loop(data, monkeypatch).advance(12)["pv"].voltage
    brian = loop(data, monkeypatch)
    parts = [brian.advance(samples)["pv"].voltage for samples in (1, 7, 4)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


@pytest.mark.parametrize("model", ["exp", "nmda"])
def test_a_spike_arrives_after_its_delay_with_its_course(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    synapse = {"model": model, "decay": "3 ms", "reversal": "0 mV"}
    synapse |= {"rise": "0.4 ms"} if model == "nmda" else {}
    step = {"amplitude": "0 nA", "start": "0 ms", "stop": "1 ms"}
    data = pair_network(population(1), population(1), synapse, step, weight="2 nS", delay="0.7 ms")
    brian = loop({**data, "duration": "10 ms"}, monkeypatch)
    code = brian._codes["post", "syn"]
    brian.advance(2)
    brian._groups["pre"].v = 20.0  # as if it had spiked in the sample that comes
    monitor = b2.StateMonitor(brian._groups["post"], code.states, record=True, dt=DT * b2.ms, when="start")
    brian._brian.add(monitor)
    brian.advance(41)
    states = [np.array(getattr(monitor, state))[0, 1:] for state in code.states]
    course = states[0] - (states[1] if len(states) > 1 else 0.0)
    # at the end of the first of Brian2's steps the spike leaves; 0.7 ms later it arrives, at the end of a step
    elapsed = DT * np.arange(1, 41) - REFERENCE_DT - 0.7
    rise, decay, factor = time_course(0.4, 3.0)
    double = factor * (np.exp(-elapsed / decay) - np.exp(-elapsed / rise))
    unit = np.exp(-elapsed / 3.0) if model == "exp" else double
    np.testing.assert_allclose(course, np.where(elapsed > -1e-9, 2.0 * unit, 0.0), atol=1e-6)


# --- what is refused --------------------------------------------------------------------------------------


def refused(data: dict[str, Any], out: Path) -> None:
    try:
        simulate_brian(network_from(data), out=out)
    finally:
        assert not out.exists()


def test_what_it_does_not_hold_is_refused_by_name(tmp_path: Path) -> None:
    out = tmp_path / "run"
    gap = {"name": "pv-gap", "from": "pv", "to": "pv", "rule": "all_to_all", "conductance": "1 nS"}
    with pytest.raises(BackendError, match=r"gap junctions \(pv-gap\) do not go into Brian2"):
        refused(recurrent(gap_junctions=[gap]), out)
    release = {"tsodyks_markram": {"U": 0.4, "tau_rec": "60 ms"}}
    stdp = {"tau_plus": "20 ms", "tau_minus": "20 ms", "a_plus": 0.1, "a_minus": 0.1, "w_max": "9 nS"}
    for plasticity, words in ((release, "tsodyks_markram"), ({"stdp": stdp}, "stdp")):
        data = recurrent()
        data["synapses"]["gaba"] = {**GABA, "plasticity": plasticity}
        with pytest.raises(BackendError, match=rf"synapses gaba have {words}.*Remove their `plasticity`"):
            refused(data, out)
    with pytest.raises(ConfigError, match=r"record.conductance.*the Brian2 backend records"):
        refused(recurrent(record={"conductance": {"cells": 1}}), out)
    closed = recurrent()
    closed["populations"]["lif"] = {"size": 2, "core": "integrate-and-fire"}
    with pytest.raises(BackendError, match="populations lif run on core integrate-and-fire"):
        refused(closed, out)
    with pytest.raises(BackendError, match="does not divide"):
        simulate_brian(network_from(recurrent()), out=out, dt=0.03)


def test_mechanisms_without_equations_are_refused_by_name() -> None:
    family = FAMILIES[FAMILY]
    cell = {**family.about["cell"], "mechanisms": {"soma": ["MyChannel"]}}
    with pytest.raises(BackendError, match=r"has mechanisms MyChannel, which .* Take the neuron backend"):
        refuse_unknown(replace(family, about={**family.about, "cell": cell}))
    cell = {**family.about["cell"], "values": {"decay_CaDynamics.dend": 30.0}}
    with pytest.raises(BackendError, match=r"sets decay_CaDynamics.dend, which has no counterpart"):
        refuse_unknown(replace(family, about={**family.about, "cell": cell}))


# --- whole runs -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_leaves_what_every_backend_leaves(tmp_path: Path) -> None:
    """Compiled, with the equations of the family as they are: minutes where nothing of it has been compiled."""
    record = {"voltage": {"cells": 2}, "current": {"cells": "pv"}}
    strong = {**OU, "mean": "0.5 nA"}
    data = recurrent(record=record, duration="300 ms", stimuli=[{"to": "pv", "ornstein_uhlenbeck": strong}])
    results = simulate_brian(network_from(data), out=tmp_path / "run")
    assert results.backend == "brian2" and results.summary["completed"]
    assert results.summary["brian2"]["segments_per_cell"] == {"pv": 1}
    assert results.summary["spikes"] == len(results.spikes("pv")) >= 3
    assert results.voltage("pv").shape == (3000, 2)
    assert (results.path / "report.html").is_file()
    spec = network_from(data)
    noise = make_stimulus(spec.stimuli[0], spec).values(0, 3000)  # type: ignore[union-attr]
    assert np.array_equal(results.recording("current", "pv").to_numpy().T, noise)
    for cell, expected in enumerate(spike_times(results.voltage("pv").to_numpy().T)):
        _, cells = results.spike_arrays("pv")
        assert len(expected) == pytest.approx(np.sum(cells == cell), abs=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_spikes_of_a_second_are_those_of_the_same_compartment_in_neuron() -> None:
    network = built(recurrent(projections=[], stimuli=[], synapses={}))
    whole = reduce_cells(network.populations[0], FAMILIES[FAMILY].model)
    arrays = ("capacitance", "leak", "rest", "area")
    cells = replace(
        whole,
        conductance={name: values[:2] for name, values in whole.conductance.items()},
        constants={name: values[:2] for name, values in whole.constants.items()},
        **{name: getattr(whole, name)[:2] for name in arrays},
    )
    current = np.tile(0.2 + 1.5 * (inputs(10_000)[1] - 0.1), (2, 1))
    voltage, sodium = in_brian(cells, current)
    expected = driven(cells, current, sodium)
    for mine, theirs in zip(spike_times(voltage), spike_times(expected), strict=True):
        assert len(theirs) >= 3
        np.testing.assert_allclose(mine, theirs, atol=0.01)
    assert np.median(np.abs(voltage - expected)) < 1e-4
