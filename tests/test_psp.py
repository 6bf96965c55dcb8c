"""Postsynaptic potentials of a passive cell: their measures, and what spreading synapses over a zone changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from noble_net.cells.model import CellModel
from noble_net.cells.psp import Synapse, lumped, placed, potential
from noble_net.cells.solver import ExactCell
from noble_net.cells.zones import cell_zones
from noble_net.errors import SolverError

pytest.importorskip("neuron")

AMPA = Synapse(0.2, 2.0, 1.0, 0.0)


@pytest.fixture
def cell(tmp_path: Path) -> ExactCell:
    """A soma of 12 µm and one dendrite of 80 µm × 2 µm in four segments."""
    swc = tmp_path / "ball.swc"
    swc.write_text("1 1 0 0 0 6 -1\n2 3 6 0 0 1 1\n3 3 80 0 0 1 2\n")
    values = {"Ra.all": 100.0, "cm.all": 1.0, "g_pas.all": 1e-4, "e_pas.all": -70.0}
    return ExactCell(CellModel(swc, values, {}, 34.0, -70.0, axon="drawn", segment_length=40.0))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_amplitude_and_half_width_of_a_triangle(sign: float) -> None:
    triangle = np.interp(np.arange(1000), [100, 200, 500], [0.0, 8.0, 0.0])
    found = potential(-70.0 + sign * triangle)
    assert found.amplitude == pytest.approx(sign * 8.0)
    assert found.half_width == pytest.approx(20.0, abs=0.01)
    assert np.isnan(potential(np.full(100, -70.0)).half_width)
    assert np.isnan(potential(-70.0 + triangle[:300]).half_width)  # not over yet


def test_course_of_a_synapse() -> None:
    course = AMPA.course(1000)
    assert 0.98 < course.max() < 1.0
    peak = 0.2 * 2.0 / 1.8 * np.log(10.0)
    area = 1.8 / (np.exp(-peak / 2.0) - np.exp(-peak / 0.2))
    assert course.sum() * 0.1 == pytest.approx(area, rel=1e-6)


def test_where_there_is_one_place_both_ways_agree(cell: ExactCell) -> None:
    (soma,) = cell_zones(cell.sections)["soma"].segments
    assert soma.sec is cell.soma or soma.sec == cell.soma
    for count in (1, 8):
        spread, single = lumped(cell, "soma", AMPA, count), placed(cell, "soma", AMPA, count)
        assert spread.amplitude > 2.0
        assert single.amplitude == pytest.approx(spread.amplitude, rel=0.01)
        assert single.half_width == pytest.approx(spread.half_width, rel=0.01)


def test_synapses_leave_no_trace_and_sum_less_than_linearly(cell: ExactCell) -> None:
    first = placed(cell, "proximal", AMPA, 1, seed=3)
    many = placed(cell, "proximal", AMPA, 16, seed=3)
    assert first.amplitude < many.amplitude < 16 * first.amplitude
    assert placed(cell, "proximal", AMPA, 1, seed=3) == first
    inhibitory = lumped(cell, "proximal", Synapse(0.3, 5.0, 1.0, -80.0))
    assert inhibitory.amplitude < -0.2
    with pytest.raises(SolverError, match="no segments in zone 'distal'"):
        placed(cell, "distal", AMPA)
