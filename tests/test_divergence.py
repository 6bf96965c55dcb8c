"""A voltage that is no number ends a run with an error that names the cell; what was recorded before it is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import CORES, network_data

from noble_net import simulation
from noble_net.cell_groups import CellGroup
from noble_net.config import network_from
from noble_net.errors import SolverError
from noble_net.loop import Loop
from noble_net.network.build import build_network
from noble_net.results import load_results
from noble_net.surrogate.core import Core
from noble_net.surrogate.integrate_and_fire import IntegrateAndFire
from noble_net.types import CellTable, Drive, Response, State

BAD = [np.nan, np.inf, -np.inf]


class Fragile(Core):
    """An integrate-and-fire core that breaks for one cell of a population, at one sample of the run."""

    name = "fragile"
    zones = ("soma",)
    step_samples = 1

    def __init__(self, size: int, cell: int, sample: int, value: float) -> None:
        self.size, self.cell, self.sample, self.value = size, cell, sample, value

    def begin(self, cells: CellTable) -> State:
        state = IntegrateAndFire().begin(cells)
        state.arrays["done"] = np.zeros(cells.size, np.int64)
        return state

    def advance(self, state: State, drive: Drive) -> tuple[Response, State]:
        response, state = IntegrateAndFire().advance(state, drive)
        at = self.sample - int(state.arrays["done"][0])
        if len(response.voltage) == self.size and at < drive.samples:
            response.voltage[self.cell, max(at, 0) :] = self.value
            state.arrays["voltage"] = response.voltage[:, -1].copy()
        state.arrays["done"] += drive.samples
        return response, state


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Data of a network whose population `exc` runs on a fragile core."""

    def install(cell: int, sample: int, value: float = np.nan, **changes: Any) -> dict[str, Any]:
        real, core = simulation.load_core, Fragile(90, cell, sample, value)
        monkeypatch.setattr(
            simulation, "load_core", lambda name, *of: core if name == "fragile" else real(name, *of)
        )
        data = network_data(**changes)
        data["populations"]["exc"] = {"size": 90, "core": "fragile", "family": "allen-pv-peri"}
        return data

    return install


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("sample", [0, 503, 1999])
def test_a_run_ends_naming_the_cell_and_keeps_what_it_has(
    tmp_path: Path, broken: Callable[..., dict[str, Any]], value: float, sample: int
) -> None:
    data = broken(17, sample, value, record={"spikes": "all", "voltage": {"cells": "all"}})
    with pytest.raises(SolverError) as caught:
        simulation.simulate(network_from(data), out=tmp_path / "run")
    text = str(caught.value)
    assert "voltage of cell 17 (allen-pv-peri-" in text and "of population exc is not finite" in text
    assert f"at {(sample + 1) / 10:g} ms of the run" in text and "core fragile; cells affected: 1" in text
    assert "Its input was finite: draw the cell from where the core was trained" in text
    results = load_results(tmp_path / "run")
    assert not results.summary["completed"]
    simulated = results.summary["simulated_ms"]
    assert sample / 10 - 0.8 < simulated <= sample / 10
    assert not (results.spike_arrays("inh")[0] > simulated).any()
    if simulated:
        frames = results.voltage("exc")
        assert len(frames) == 1 + round(simulated / 0.1) and np.isfinite(frames.to_numpy()).all()


def test_input_that_is_no_number_is_told_from_a_core_that_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network(network_from(network_data(projections=[], stimuli=[])), {}, CORES)
    loop = Loop(network, {"integrate-and-fire": IntegrateAndFire()})
    gather = CellGroup.gather

    def spoilt(group: CellGroup, start: int, samples: int) -> None:
        gather(group, start, samples)
        if start:
            group.drive.current[0, 95, 3] = np.nan

    monkeypatch.setattr(CellGroup, "gather", spoilt)
    loop.advance(10)
    with pytest.raises(
        SolverError, match=r"cell 5 .* of population inh .* at 1\.4 ms .* Its input was not finite"
    ):
        loop.advance(10)
    assert loop.position == 10
