"""Point neurons to measure surrogates against: their solutions, their fits, and the judging of all side by side."""

from __future__ import annotations

import json
import runpy

import h5py
import numpy as np
import pandas as pd
import pytest

from noble_net.errors import OutputError
from noble_net.rivals.fit import Budget, Fit, Task, fit, from_unit, loss, simulate, to_unit
from noble_net.rivals.fits import fit_all, fitted_cells, read_fits, write_fits
from noble_net.rivals.judge import POOLED, Player, judge, lines
from noble_net.rivals.models import ADEX, GLIF, MODELS, STEPS, Model, PointNeurons
from noble_net.rivals.recordings import Stretch, judged, test_stretches, total, training_stretches
from noble_net.rivals.start import mean_spike, passive, starting_point
from noble_net.spikes import spike_times
from noble_net.training.inputs import REGIMES, training_input
from noble_net.training.inputs import test_input as draw_test_input
from noble_net.training.metrics import coincidence
from noble_net.types import DT, CellTable, Drive

test_stretches.__test__ = False  # no test

CELL = {
    "capacitance": 40.0,
    "leak": 5.0,
    "v_rest": -80.0,
    "v_reset": -72.0,
    "refractory": 1.5,
    "spike_width": 0.6,
    "v_threshold": -55.0,
    "slope": 1.5,
    "coupling": 1.0,
    "tau_w": 40.0,
    "jump": 15.0,
    "fast_jump": -60.0,
    "fast_tau": 5.0,
    "slow_jump": -5.0,
    "slow_tau": 100.0,
    "threshold_jump": 2.0,
    "threshold_tau": 15.0,
    "threshold_coupling": 0.3,
    "coupling_tau": 6.0,
}
PLAIN = {"coupling": 0.0, "jump": 0.0, "slope": 0.02, "fast_jump": 0.0, "slow_jump": 0.0} | {
    "threshold_jump": 0.0,
    "threshold_coupling": 0.0,
}
"""What makes either model a leaky integrate-and-fire neuron."""

both = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def parameters(model: Model, **changes: float) -> np.ndarray:
    return np.array([[{**CELL, **changes}[name] for name in model.names]])


def constant(current: float, conductance: float, reversal_current: float, duration: float) -> Stretch:
    n = round(duration / DT)
    inputs = (np.full(n, value, np.float32) for value in (current, conductance, reversal_current))
    return Stretch(*inputs, np.zeros(n + 1, np.float32))


def answered(model: Model, drawn, **changes: float) -> Stretch:
    """An input with the voltage of a cell of known parameters."""
    blank = Stretch(*drawn, np.zeros(drawn.samples + 1, np.float32))
    return blank._replace(voltage=simulate(model, parameters(model, **changes), blank)[0])


@both
def test_a_passive_cell_relaxes_as_the_closed_form_says(model):
    stretch = constant(0.05, 3.0, -210.0, 60.0)
    voltage = simulate(model, parameters(model, **PLAIN), stretch)[0]
    g = CELL["leak"] + 3.0
    steady = (CELL["leak"] * CELL["v_rest"] + 50.0 - 210.0) / g
    expected = steady + (CELL["v_rest"] - steady) * np.exp(
        -DT * np.arange(len(voltage)) * g / CELL["capacitance"]
    )
    assert np.abs(voltage - expected).max() < 1e-4


@both
@pytest.mark.parametrize("current", [0.15, 0.3, 0.6])
def test_without_adaptation_both_fire_as_a_leaky_integrate_and_fire_neuron(model, current):
    """1/f = t_ref + τ·ln((V∞ − V_r)/(V∞ − θ)); AdEx with a steep exponential has its threshold near V_T."""
    stretch = constant(current, 0.0, 0.0, 2000.0)
    coarse, fine = (
        np.diff(spike_times(simulate(model, parameters(model, **PLAIN), stretch, steps))[0]).mean()
        for steps in (STEPS, 40)
    )
    steady, tau = CELL["v_rest"] + 1000.0 * current / CELL["leak"], CELL["capacitance"] / CELL["leak"]
    charging = tau * np.log((steady - CELL["v_reset"]) / (steady - CELL["v_threshold"]))
    assert fine == pytest.approx(CELL["refractory"] + charging, rel=0.02)
    assert coarse == pytest.approx(fine, abs=0.08)


def test_glif_holds_its_after_spike_currents_and_threshold_by_the_closed_form():
    """One spike, then rest: I₁, I₂ and θ_s decay, V answers them."""
    p = parameters(GLIF, threshold_coupling=0.0)
    stretch = constant(0.0, 0.0, 0.0, 50.0)
    stretch.current[0] = 12.0
    state = np.zeros((1, GLIF.variables))
    state[:, 0] = CELL["v_rest"]
    voltage, outside = np.empty((1, 500), np.float32), np.zeros(1, np.uint32)
    GLIF.kernel(20, p, state, *(a[None] for a in stretch[:3]), voltage, outside)
    assert (voltage == 20.0).sum() == 6  # one spike
    since = 50.0 - 0.05  # the spike falls into the first sample
    for column, jump, tau in ((2, "fast_jump", "fast_tau"), (3, "slow_jump", "slow_tau")):
        assert state[0, column] == pytest.approx(CELL[jump] * np.exp(-since / CELL[tau]), rel=0.02)
    expected = CELL["threshold_jump"] * np.exp(-since / CELL["threshold_tau"])
    assert state[0, 4] == pytest.approx(expected, rel=0.02)
    assert (voltage[0, :6] == 20.0).all() and (voltage[0, 7:14] == CELL["v_reset"]).all()


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")  # brian2 2.9 and a newer pyparsing
@pytest.mark.parametrize("conductance", [0.0, 4.0])
def test_adex_is_that_of_brian2(conductance):
    brian2 = pytest.importorskip("brian2")
    drawn = draw_test_input("ou_current", np.random.default_rng(3), 100.0)
    stretch = Stretch(*drawn, np.zeros(drawn.samples + 1, np.float32))
    stretch.current[:] += 0.1
    stretch.conductance[:] = conductance
    stretch.reversal_current[:] = -70.0 * conductance
    ours = spike_times(simulate(ADEX, parameters(ADEX), stretch, 20))[0]
    coarse = spike_times(simulate(ADEX, parameters(ADEX), stretch))[0]
    brian2.prefs.codegen.target = "numpy"
    brian2.start_scope()
    names = {name: CELL[name] for name in ADEX.names} | {
        "I": brian2.TimedArray(1000.0 * stretch.current.astype(float), dt=DT * brian2.ms),
        "ms": brian2.ms,
        "G": conductance,
        "J": -70.0 * conductance,
    }
    group = brian2.NeuronGroup(
        1,
        """dv/dt = (leak*(v_rest - v) + leak*slope*exp(clip((v - v_threshold)/slope, -100, 20)) - w + I(t) + J - G*v)
                   / capacitance/ms : 1 (unless refractory)
           dw/dt = (coupling*(clip(v, -200, 0) - v_rest) - w)/(tau_w*ms) : 1""",
        threshold="v > 0",
        reset="v = v_reset; w += jump",
        refractory=CELL["refractory"] * brian2.ms,
        method="rk4",
        namespace=names,
        dt=0.01 * brian2.ms,
    )
    group.v = CELL["v_rest"]
    monitor = brian2.SpikeMonitor(group)
    brian2.Network(group, monitor).run(100.0 * brian2.ms, namespace={})
    theirs = np.asarray(monitor.t / brian2.ms)
    assert len(theirs) > 5 and len(ours) == len(coarse) == len(theirs)
    assert np.abs(ours - theirs).max() < 0.15  # a spike shows in samples of 0.1 ms
    # Lags of half a sub-step add up, and a spike that barely comes is late by more; fits take that in.
    assert np.median(np.abs(coarse - theirs)) < 0.5


@both
def test_cores_of_point_neurons_are_the_same_in_any_block_and_company(model):
    table = np.concatenate([parameters(model), parameters(model, v_threshold=-60.0)])
    columns = {name: table[:, i].copy() for i, name in enumerate(model.names)}
    cells = CellTable(2, np.zeros((2, 0), np.float32), columns)
    drawn = [draw_test_input("poisson_conductance", np.random.default_rng(i), 300.0) for i in range(2)]
    drive = Drive(("soma",), *(np.stack(a)[None] for a in zip(*drawn, strict=True)))
    core = PointNeurons(model)

    def run(cells: CellTable, rows: slice, blocks: list[int]):
        state, start, volts, times = core.begin(cells), 0, [], []
        for stop in blocks:
            cut = (a[:, rows, start:stop] for a in (drive.current, drive.conductance, drive.reversal_current))
            response, state = core.advance(state, Drive(drive.zones, *cut))
            volts.append(response.voltage)
            times += list(response.event_time[response.event_cell == 0] + start * DT)
            start = stop
        return np.concatenate(volts, axis=1), times

    whole, times = run(cells, slice(0, 2), [3000])
    pieces, again = run(cells, slice(0, 2), [7, 1000, 1001, 3000])
    alone, _ = run(cells.take(slice(1, 2)), slice(1, 2), [3000])
    assert (whole == pieces).all() and times == pytest.approx(again) and len(times) > 2
    assert (whole[1:] == alone).all()


def test_cells_that_lack_parameters_are_refused():
    with pytest.raises(ValueError, match="glif cells lack capacitance, leak"):
        PointNeurons(GLIF).begin(CellTable(1, np.zeros((1, 0), np.float32)))


@both
def test_extreme_input_stays_finite_and_is_counted(model):
    stretch = constant(50.0, 0.0, 0.0, 50.0)
    assert np.isfinite(simulate(model, parameters(model), stretch)).all()
    stretch.current[:] = -50.0
    table = {name: parameters(model)[:, i] for i, name in enumerate(model.names)}
    core = PointNeurons(model)
    state = core.begin(CellTable(1, np.zeros((1, 0), np.float32), table))
    response, _ = core.advance(state, Drive(("soma",), *(a[None, None] for a in stretch[:3])))
    assert response.voltage.min() == -150.0 and response.outside[0] > 500


@both
def test_what_can_be_read_off_a_recording_is(model):
    plain = {**PLAIN, "v_rest": -90.0}
    stretch = answered(model, training_input(np.random.default_rng(5), 8000.0), **plain)
    found = {**passive([stretch]), **mean_spike([stretch])}
    assert found["capacitance"] == pytest.approx(CELL["capacitance"], rel=0.1)
    assert found["leak"] == pytest.approx(CELL["leak"], rel=0.1)
    assert found["v_rest"] == pytest.approx(-90.0, abs=2.0)
    assert found["spike_width"] == pytest.approx(CELL["spike_width"], abs=0.11)
    assert found["v_reset"] == pytest.approx(CELL["v_reset"], abs=4.0)
    start = starting_point(model, [stretch])
    free = np.ones(len(start), bool)
    assert from_unit(model, to_unit(model, start, free)[None], free)[0] == pytest.approx(start)


@both
def test_a_fit_recovers_the_spikes_of_a_known_cell(model):
    """Judged on an input that was not fitted; the same task gives the same fit."""
    known = {"threshold_coupling": 0.1, "coupling": 0.2}
    drawn = [
        draw_test_input(regime, np.random.default_rng(6), 1500.0)
        for regime in ("ou_current_fast", "ou_conductance")
    ]
    stretches = [answered(model, each, **known) for each in drawn]
    task = Task(model.name, "known", stretches, Budget(candidates=24, generations=60, searches=1))
    found = fit(task)
    assert found.loss < 0.6 * found.start_loss
    test = answered(model, draw_test_input("poisson_current", np.random.default_rng(7), 4000.0), **known)
    both = np.stack([starting_point(model, stretches), found.parameters])
    truth = spike_times(test.voltage[None])
    before, after = (coincidence(truth, [t], 4000.0).gamma for t in spike_times(simulate(model, both, test)))
    assert after > 0.75 and after > before  # 3 s and 1,440 candidates for up to 14 parameters
    short = task._replace(budget=Budget(candidates=4, generations=2))
    assert (fit(short).parameters == fit(short).parameters).all()
    assert loss(model, parameters(model, **known), stretches)[0] == pytest.approx(0.0, abs=1e-6)


def test_fits_are_kept_and_not_done_again(tmp_path, monkeypatch):
    stretch = answered(ADEX, training_input(np.random.default_rng(6), 1000.0))
    task = Task("adex", "a", [stretch], Budget(candidates=4, generations=1))
    first = fit_all([task, task._replace(model="glif")], tmp_path, jobs=1)
    assert (tmp_path / "glif.csv").exists()
    told = []
    monkeypatch.setattr("noble_net.rivals.fits.in_processes", lambda f, todo, jobs: map(f, todo))
    other = task._replace(member="b")
    again = fit_all(
        [task, other], tmp_path, progress=lambda each, done, total: told.append((each.member, done))
    )
    assert told == [("b", 2)]
    assert (again["adex"]["a"].parameters == first["adex"]["a"].parameters).all()
    harder = task._replace(budget=Budget(candidates=4, generations=2))
    assert harder.key != task.key
    told.clear()
    fit_all([harder], tmp_path, progress=lambda each, done, total: told.append((each.member, done)))
    assert told == [("a", 1)] and sorted(read_fits(tmp_path / "adex.csv", ADEX)) == ["a", "b"]
    with pytest.raises(KeyError):
        fitted_cells(ADEX, again["adex"], ["a", "z"])
    pd.DataFrame({"member": ["a"]}).to_csv(tmp_path / "adex.csv")
    with pytest.raises(OutputError, match="fits of adex"):
        fit_all([task], tmp_path)


# ----------------------------------------------------------------------------------------------------------
# judging

SECONDS = 4.0
MEMBERS = {"seen": ["s"], "unseen": ["u"]}


@pytest.fixture
def dataset(tmp_path):
    """A dataset as `noble_net.training.dataset` writes it, of two members that are AdEx cells."""

    def write(group: h5py.Group, ids: list[str], inputs: list) -> None:
        runs = [answered(ADEX, drawn, v_threshold=-55.0 - i) for i, drawn in enumerate(inputs)]
        group["ids"] = ids
        for name in ("current", "conductance", "reversal_current"):
            group[name] = np.stack([getattr(run, name) for run in runs])
        group["voltage"] = np.round(np.stack([run.voltage for run in runs]) / 0.01).astype(np.int16)

    path = tmp_path / "toy.h5"
    with h5py.File(path, "w") as file:
        write(file.create_group("train"), ["s"], [training_input(np.random.default_rng(0), 3000.0)])
        for r, regime in enumerate(REGIMES):
            inputs = [
                draw_test_input(regime, np.random.default_rng([r, i]), 1000.0 * SECONDS) for i in range(2)
            ]
            group = file.create_group(f"test/{regime}")
            write(group, ["s", "u"], inputs)
            group["floor"] = group["voltage"][:1]
    return path


def player(**changes: float) -> Player:
    def cells(members):
        rows = [parameters(ADEX, v_threshold=-55.0 - (member == "u"), **changes)[0] for member in members]
        table = {m: Fit("adex", m, row, 0.0, 0.0, "", 0.0) for m, row in zip(members, rows, strict=True)}
        return fitted_cells(ADEX, table, members)

    return Player(PointNeurons(ADEX), cells)


def test_all_are_judged_on_what_nobody_was_fitted_to(dataset):
    with h5py.File(dataset) as file:
        found = judge(file, {"same": player(), "idle": player(leak=40.0)}, MEMBERS, list(REGIMES))
    for regime in (*REGIMES, POOLED):
        if regime == "zero":
            continue
        for row in MEMBERS:
            same, idle = (found[regime][name][row] for name in ("same", "idle"))
            assert same["gamma"] > 0.99 and same["rate_error"] == 0.0 and same["clipped_rmse"] < 0.02, regime
            assert idle["rate_error"] > 0.3 and idle["clipped_rmse"] > 1.0, regime
        assert found[regime]["floor"]["seen"]["gamma"] > 0.99 and "unseen" not in found[regime]["floor"]
    assert found["zero"]["same"]["seen"]["max_voltage_error"] < 0.02
    table = lines(found)
    assert len(table) == 2 + 5 * (len(REGIMES) + 1)
    assert "| ou_current | seen | same | 1.000 | 0.0 % | +0.0 % | 0.00 | 100.0 % |" in table


def test_what_is_fitted_and_what_is_judged_do_not_meet(dataset):
    with h5py.File(dataset) as file:
        found = test_stretches(file, "u", 1500.0)
        (training,) = training_stretches(file, "s", 2000.0)
        steps = file["test/steps"]
        assert len(training.current) == 20_000 and len(training.voltage) == 20_001
        assert total(found) == pytest.approx(6 * 1500.0 + 1000.0 * SECONDS / 2)
        assert [each.timed for each in found] == [True] * 5 + [False] * 2
        halves = found[-2]
        index = judged("steps", round(1000.0 * SECONDS / DT))
        left = np.setdiff1d(np.arange(steps["current"].shape[1]), index)
        assert (halves.current == steps["current"][1][left]).all()
        assert halves.voltage[1:] == pytest.approx(0.01 * steps["voltage"][1][left + 1], abs=1e-3)
        assert (judged("ramp", 100) == np.arange(50, 100)).all()
        with pytest.raises(KeyError):
            training_stretches(file, "u", 2000.0)


def test_the_benchmark_at_toy_size(dataset, benchmarks, monkeypatch, tmp_path, capsys):
    script = runpy.run_path(str(benchmarks / "rivals.py"))
    fits = {}
    with h5py.File(dataset) as file:
        rows = script["judged_members"](file, 1)
        assert rows == MEMBERS
        work = script["tasks"](file, rows)
        assert [(task.model, task.member) for task in work] == [
            (model, member) for model in ("adex", "glif") for member in "su"
        ]
        for task in work:
            start = starting_point(MODELS[task.model], task.stretches)
            fits.setdefault(task.model, {})[task.member] = Fit(
                task.model, task.member, start, 1.0, 2.0, "", 3.0
            )
        players = {
            name: Player(
                PointNeurons(MODELS[name]), lambda ids, n=name: fitted_cells(MODELS[n], fits[n], ids)
            )
            for name in fits
        }
        found = judge(file, players, rows, ["ou_conductance", "zero"])
    spent = script["spent"](players, rows)
    costs = {
        name: value for name, value in spent.items() if name not in ("threads", "cells", "turns", "machine")
    }
    assert set(costs) == {"adex", "glif"} and all(0.0 < value < 100.0 for value in costs.values())
    page = tmp_path / "rivals.md"
    page.write_text("Above.\n\n<!-- scoreboard -->\n<!-- /scoreboard -->\n\nBelow.\n")
    script["write"].__globals__.update(RESULTS=tmp_path, PAGE=page)
    script["write"](found, spent, rows, fits)
    content = json.loads((tmp_path / "rivals.json").read_text(), parse_constant=pytest.fail)
    assert content["fit"]["seconds"] == 12.0 and content["table"]["zero"]["adex"]["seen"]["gamma"] is None
    lines = page.read_text().splitlines()
    row = content["table"]["ou_conductance"]["adex"]
    gammas = f"{row['seen']['gamma']:.3f} / {row['unseen']['gamma']:.3f}"
    assert lines[0] == "Above." and lines[-1] == "Below."
    assert any(line.startswith(f"| ou conductance | — | {gammas} | ") for line in lines)
    write_fits(tmp_path / "adex.csv", ADEX, fits["adex"])
    assert (read_fits(tmp_path / "adex.csv", ADEX)["u"].parameters == fits["adex"]["u"].parameters).all()
