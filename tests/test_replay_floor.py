"""What exact cells alone are asked under for the floor of a replay: what drove them in NEURON's network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_neuron_zones import advanced, network, onto_dendrites

from noble_net.reference.neuron_loop import NeuronLoop
from noble_net.types import CellTable, Drive
from noble_net.validation.backends import Neuron
from noble_net.validation.listener import cell_drive
from noble_net.validation.records import Replayable
from noble_net.validation.replay import _drives

pytest.importorskip("neuron")


def test_cells_alone_get_what_their_dendrites_had_in_the_network(tmp_path: Path) -> None:
    """Zone by zone, and behind the magnesium block."""
    built, families = network(tmp_path, onto_dendrites(warmup="0 ms"))
    with NeuronLoop(built, families) as loop:
        voltage, spikes = advanced(loop)
    sent = {
        name: Replayable(cell.astype(np.int32), sample.astype(np.int64), voltage[name])
        for name, (sample, cell) in spikes.items()
    }
    cells, drive = _drives(built.spec, families, sent, 2)["post"]
    assert drive.zones == ("soma", "proximal", "distal") and drive.current.shape == (3, 2, 600)
    alone = Neuron().answer(families["toy"], cells, 1, cell_drive(drive, 1), 0.025)
    assert alone is not None and np.ptp(alone) > 3.0
    np.testing.assert_allclose(alone[1:], voltage["post"][1], atol=1e-4)
    finer = Neuron().answer(families["toy"], cells, 1, cell_drive(drive, 1), 0.005)
    assert finer is not None and 0.0 < np.abs(finer - alone).max() < 0.1


def test_no_cell_is_asked_for_nmda_receptors_at_its_soma(tmp_path: Path) -> None:
    _, families = network(tmp_path, onto_dendrites())
    drive = Drive.zeros(("soma",), 1, 5, half=np.zeros(1, np.float32))
    assert drive.nmda is not None
    drive.nmda.conductance[:] = 1.0
    cells = CellTable(1, np.zeros((1, 1), np.float32))
    assert Neuron().answer(families["toy"], cells, 0, drive, 0.025) is None
