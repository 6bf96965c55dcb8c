"""Who is a member of a family: the reasons for which `measure` refuses a cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from noble_net.cells.features import (
    DELAY,
    FALLING,
    FALLING_STEP,
    REASONS,
    Rejected,
    falling_current,
    measure,
)
from noble_net.processes import in_processes
from noble_net.types import DT, Float32, Float64

REST, THRESHOLD, RESISTANCE = -70.0, 0.13, 80.0
"""mV, nA, MΩ of the cell below."""


def cell(
    *,
    threshold: float = THRESHOLD,
    quiet_after: float = np.inf,
    held_up_from: float = np.inf,
    returns_from: float = np.inf,
) -> Callable[[Float64], Float32]:
    """A cell that fires at 20 Hz and 250 Hz/nA above its threshold, until ``quiet_after`` ms of a step, and that stays
    at −35 mV for good once a current was between ``held_up_from`` and ``returns_from`` nA."""

    def respond(current: Float64) -> Float32:
        voltage = np.full(len(current) + 1, REST)
        voltage[1:] += RESISTANCE * np.clip(current, -1.0, 0.2)
        since, phase, up = 0.0, 0.0, False
        for k, amplitude in enumerate(current):
            since = since + DT if amplitude > 0 else 0.0
            up = (up or amplitude >= held_up_from) and amplitude < returns_from
            if amplitude >= threshold and since < quiet_after:
                phase += DT / 1000.0 * (20.0 + 250.0 * (amplitude - threshold))
            if phase >= 1.0:
                phase -= 1.0
                voltage[k : k + 10] = np.linspace(-50.0, 30.0, 10)[: len(voltage) - k]
                voltage[k + 10 : k + 20] = np.linspace(30.0, -75.0, 10)[: max(len(voltage) - k - 10, 0)]
            elif up:
                voltage[k + 1] = -35.0
        return voltage.astype(np.float32)

    return respond


def reason_of(respond: Callable[[Float64], Float32], *, recovers: bool = True) -> str:
    with pytest.raises(Rejected) as refused:
        measure(respond, recovers=recovers)
    return str(refused.value)


def test_a_cell_that_fires_and_comes_back_is_a_member() -> None:
    found = measure(cell())
    assert found.features["I_thr"] == pytest.approx(THRESHOLD, abs=0.0026)
    assert found.features["input_resistance"] == pytest.approx(RESISTANCE, rel=0.01)
    assert list(found.rates) == sorted(found.rates)


def test_others_are_refused_for_what_they_do() -> None:
    assert reason_of(cell(threshold=0.6)) == "silent"
    assert reason_of(cell(quiet_after=120.0)) == "block"
    assert reason_of(cell(held_up_from=0.205)) == "block"  # of a step of I_thr + 80 pA
    assert reason_of(cell(held_up_from=0.5)) == "plateau"
    assert {"silent", "block", "plateau"} < set(REASONS)


def test_a_cell_that_is_held_up_by_some_currents_only_is_found_out() -> None:
    """A step of 2 nA would end at rest."""
    assert reason_of(cell(held_up_from=0.85, returns_from=1.5)) == "plateau"


def test_such_a_cell_is_a_member_where_the_recipe_says_so() -> None:
    assert measure(cell(held_up_from=0.5), recovers=False).features["s_thr"] > 0.0


def test_the_falling_current_goes_down_to_nothing() -> None:
    current = falling_current()
    begin, end = round(DELAY / DT), round((DELAY + FALLING_STEP * len(FALLING)) / DT)
    assert not current[:begin].any() and not current[end:].any() and len(current) > end
    assert (np.diff(current[begin:end]) <= 0.0).all()
    assert current[begin] == FALLING[0] and current[end - 1] == FALLING[-1] > 0.0


def last_after_falling(cell: tuple[str, str]) -> float:
    from noble_net.cells.model import CellModel
    from noble_net.cells.solver import exact_cell
    from noble_net.specs.families import CellSpec

    morphology, fit = cell
    model = CellModel.from_spec(CellSpec(morphology=morphology, fit=fit), Path())
    return float(exact_cell(model, dt=0.1).run(falling_current().astype(np.float32))[-1])


@pytest.mark.parametrize(
    ("published", "stays"),
    [(("Rorb_325404214", "473863510"), True), (("Nr5a1_471087815", "473863035"), False)],
)
def test_of_the_published_excitatory_fits_that_of_nr5a1_comes_back(
    published: tuple[str, str], stays: bool
) -> None:
    pytest.importorskip("neuron")
    (last,) = in_processes(last_after_falling, [published], 1)
    assert (last > -60.0) == stays
