"""The exact cell: its inputs in their units and samples, its rest, its errors."""

from __future__ import annotations

import numpy as np
import pytest

from noble_net.cells.mechanisms import bmtk_folder
from noble_net.cells.model import CellModel
from noble_net.cells.solver import REFERENCE_DT, SETTLE, ExactCell
from noble_net.errors import FamilyError, SolverError
from noble_net.registry import load_family
from noble_net.spikes import spike_times
from noble_net.types import Float32, Float64

BRIEF = 50.0
"""Rest before sample 0 where it needs not be complete, ms."""


@pytest.fixture(scope="module")
def model() -> CellModel:
    return load_family("allen-pv-peri").model


@pytest.fixture(scope="module")
def shared(model: CellModel) -> ExactCell:
    return ExactCell(model)


@pytest.fixture
def cell(shared: ExactCell) -> ExactCell:
    """The cell at its published parameters."""
    shared.set_parameters({})
    return shared


def pulse(amplitude: float, start: int, stop: int, samples: int = 300) -> Float64:
    current = np.zeros(samples)
    current[start:stop] = amplitude
    return current


def spikes(voltage: Float32) -> int:
    return len(spike_times(voltage[None])[0])


def test_rests_where_it_started(cell: ExactCell) -> None:
    voltage = cell.run(np.zeros(500))
    assert voltage.shape == (501,) and voltage.dtype == np.float32
    assert np.ptp(voltage) < 0.01
    assert -110 < voltage[0] < -60


@pytest.mark.parametrize("start", [0, 1, 57])
def test_input_begins_and_ends_with_its_sample(cell: ExactCell, start: int) -> None:
    silent = cell.run(np.zeros(100), settle=BRIEF)
    voltage = cell.run(pulse(0.2, start, start + 1, 100), settle=BRIEF)
    change = voltage - silent
    assert np.all(change[: start + 1] == 0.0)  # column k is the voltage before sample k
    assert change[start + 1] > 0.01
    assert np.argmax(change) == start + 1  # over when the sample is over


def test_current_is_that_of_an_iclamp(cell: ExactCell) -> None:
    clamp = cell.h.IClamp(cell.soma(0.5))
    clamp.delay, clamp.dur, clamp.amp = BRIEF + 5.0 - REFERENCE_DT / 4, 10.0, 0.6
    clamped = cell.run(np.zeros(300), settle=BRIEF)
    clamp.amp = 0.0
    driven = cell.run(pulse(0.6, 50, 150), settle=BRIEF)
    assert spikes(driven) >= 1
    np.testing.assert_allclose(driven, clamped, atol=1e-3)


def test_reversal_current_is_in_pa(cell: ExactCell) -> None:
    current = pulse(0.1, 20, 200)
    driven = cell.run(current, settle=BRIEF)
    other = cell.run(np.zeros(300), np.zeros(300), 1000.0 * current, settle=BRIEF)
    np.testing.assert_allclose(driven, other, atol=1e-4)


def test_conductance_pulls_towards_its_reversal(cell: ExactCell) -> None:
    rest = float(cell.run(np.zeros(1))[0])
    conductance = pulse(5.0, 0, 300)
    nothing = cell.run(np.zeros(300), conductance, conductance * rest)
    assert np.abs(nothing - rest).max() < 0.02
    # With far more conductance than the cell has (some 3 nS), it sits at the reversal potential.
    clamped = cell.run(np.zeros(300), 1000.0 * conductance, 1000.0 * conductance * (rest - 5.0))
    assert clamped[-1] == pytest.approx(rest - 5.0, abs=0.1)


def test_runs_do_not_depend_on_those_before(cell: ExactCell, model: CellModel) -> None:
    current = pulse(0.3, 10, 250)
    first = cell.run(current, settle=BRIEF)
    cell.set_parameters({"gbar_NaV.soma": 0.1})
    cell.run(0.5 * current, np.full(300, 2.0), settle=BRIEF)
    cell.set_parameters({})
    np.testing.assert_array_equal(cell.run(current, settle=BRIEF), first)
    neighbour = ExactCell(model)  # a second cell in the process changes nothing either
    np.testing.assert_array_equal(cell.run(current, settle=BRIEF), first)
    np.testing.assert_array_equal(neighbour.run(current, settle=BRIEF), first)


def test_a_smaller_step_agrees(cell: ExactCell, model: CellModel) -> None:
    current = pulse(0.3, 10, 250)
    fine = ExactCell(model, dt=REFERENCE_DT / 5).run(current, settle=BRIEF)
    voltage = cell.run(current, settle=BRIEF)
    assert spikes(fine) == spikes(voltage) >= 1
    difference = np.minimum(fine, -50.0) - np.minimum(voltage, -50.0)
    assert np.sqrt(np.mean(difference**2)) < 0.5  # mV


def test_members_fire_above_their_threshold_only(cell: ExactCell) -> None:
    family = load_family("allen-pv-peri")
    cells = family.cells(family.ids()[:1])
    cell.set_parameters({name: float(values[0]) for name, values in cells.parameters.items()})
    threshold = float(cells.features["I_thr"][0])
    assert spikes(cell.run(pulse(threshold - 0.005, 1000, 5000, 6000), settle=100.0)) == 0
    assert spikes(cell.run(pulse(threshold + 0.005, 1000, 5000, 6000), settle=100.0)) >= 1


def test_slow_variables_are_recorded_beside_the_voltage(cell: ExactCell) -> None:
    current = pulse(0.4, 500, 1500, 3000)
    voltage, (calcium, shut) = cell.run_recording(["cai", "h_Kd"], current, settle=100.0)
    np.testing.assert_array_equal(voltage, cell.run(current, settle=100.0))
    assert calcium.shape == voltage.shape and spikes(voltage) > 1
    assert calcium[0] == pytest.approx(1e-4, rel=0.05) and calcium.max() > 1.5e-4
    late = calcium[2000:]
    assert np.all(np.diff(late[calcium[2000:] > 1.01e-4]) < 0.0)
    assert shut[1500] < shut[0] - 0.01 and shut[-1] > shut[1600]
    with pytest.raises(FamilyError, match="no variable 'h_Nap'"):
        cell.run_recording(["h_Nap"], current)


def test_morphology_and_constants(cell: ExactCell, model: CellModel) -> None:
    assert cell.segments == 121
    assert cell.h.celsius == model.celsius == 34.0
    assert [section.L for section in cell.sections["axon"]] == [30.0, 30.0]
    assert SETTLE == 500.0


def test_unknown_parameter(cell: ExactCell) -> None:
    with pytest.raises(FamilyError, match=r"no parameter \['gbar_Nav.soma'\]; it has .*gbar_NaV.soma"):
        cell.set_parameters({"gbar_Nav.soma": 1.0})


def test_a_voltage_that_is_not_finite_is_an_error(cell: ExactCell) -> None:
    cell.set_parameters({"gbar_NaV.soma": float("nan")})
    with pytest.raises(SolverError, match="not finite"):
        cell.run(np.zeros(10), settle=1.0)
    cell.set_parameters({})
    assert np.isfinite(cell.run(np.zeros(10), settle=1.0)).all()


def test_missing_fit_is_named() -> None:
    with pytest.raises(FamilyError, match=r"1_fit\.json is missing: install bmtk"):
        CellModel.from_fit("1", "Pvalb_470522102")
    assert (bmtk_folder() / "mechanisms" / "modfiles").is_dir()
