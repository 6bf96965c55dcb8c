"""Exact cells in Arbor, held against the same cells in NEURON with the same (implicit Euler) steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_neuron_network import FAMILIES, FAMILY, GAP, SYNAPSES, build, pair, population, recurrent
from test_neuron_zones import AMPA, network, onto_dendrites

from noble_net.config import network_from
from noble_net.errors import BackendError, ConfigError
from noble_net.network.build import Network
from noble_net.reference import arbor_network, neuron_pool
from noble_net.reference.arbor_network import simulate_arbor
from noble_net.reference.arbor_pool import ArborPool
from noble_net.reference.exact_loop import ExactLoop
from noble_net.reference.exact_pool import Inputs, Layout, Members, members_of
from noble_net.reference.neuron_cells import load_models
from noble_net.reference.neuron_loop import NeuronLoop
from noble_net.reference.neuron_pool import CellPool
from noble_net.registry import load_family
from noble_net.spikes import spike_times
from noble_net.types import Float32

pytest.importorskip("arbor")

STEP = 0.025


@pytest.fixture(autouse=True)
def implicit_euler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """NEURON's default, which is Arbor's only."""
    monkeypatch.setattr(neuron_pool, "SECOND_ORDER", 0)
    yield


def in_arbor(built: Network, families: Any, threads: int = 1) -> ExactLoop:
    return ExactLoop(
        built, ArborPool(members_of(built, load_models(built, families)), STEP, threads), "points", "Arbor"
    )


def voltages(loop: ExactLoop, samples: int = 400) -> dict[str, Float32]:
    with loop:
        return {name: each.voltage for name, each in loop.advance(samples).items()}


# --- cells ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("allen-pv", 0.1), ("allen-pv-peri", 0.4), ("allen-nr5a1", 0.3), ("allen-rorb", 0.3), ("vip-like", 0.3)],
)
def test_members_rest_and_fire_as_in_neuron(name: str, tolerance: float) -> None:
    """Spikes of a step within ``tolerance`` (ms) after 100 ms; the soma's end, where Arbor hangs dendrites, is felt."""
    family = load_family(name)
    cells = family.cells(family.ids("held_out")[:2])
    members = [Members("cells", family.model, 2, cells.parameters)]
    soma = np.zeros((3, 2, 1000), np.float32)
    soma[0, :, 50:] = 1.5 * cells.features["I_thr"][:, None]
    found = []
    for make in (lambda: CellPool(members, STEP), lambda: ArborPool(members, STEP, 1)):
        with closing(make()) as pool:
            rest = pool.settle(Layout([], [], []))
            parts = [pool.advance(Inputs(soma[:, :, k : k + 40], [], [])) for k in range(0, 1000, 40)]
            found.append((rest, np.concatenate(parts, axis=1)))
    (rest, exact), (other_rest, other) = found
    assert np.abs(rest - other_rest).max() < 1e-3
    for mine, theirs in zip(spike_times(exact), spike_times(other), strict=True):
        assert len(mine) == len(theirs) >= 2
        assert np.abs(mine - theirs).max() < tolerance


def test_held_inputs_are_those_of_neuron() -> None:
    """Current, conductance and reversal current that change with every sample, and blocks of any length."""
    family = FAMILIES[FAMILY]
    members = [Members("pv", family.model, 1, family.cells(family.ids()[:1]).parameters)]
    rng = np.random.default_rng(3)
    soma = rng.normal(0.0, [[[0.02]], [[0.5]], [[20.0]]], (3, 1, 300)).astype(np.float32)
    soma[1:] += np.array([[[2.0]], [[-150.0]]], np.float32)
    found = []
    for make in (lambda: CellPool(members, STEP), lambda: ArborPool(members, STEP, 1)):
        with closing(make()) as pool:
            pool.settle(Layout([], [], []))
            blocks = np.split(soma, [1, 2, 7, 50, 51, 180], axis=2)
            found.append(np.concatenate([pool.advance(Inputs(each, [], [])) for each in blocks], axis=1))
    exact, other = found
    assert np.ptp(exact) > 1.0
    np.testing.assert_allclose(other, exact, atol=0.01)


# --- synapses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SYNAPSES)
def test_synapses_at_the_soma_are_those_of_neuron(kind: str) -> None:
    weight = "3 nS" if "Syn" in kind else "60 pA"
    built = build(pair(kind, weight))
    exact, other = voltages(NeuronLoop(built, FAMILIES))["post"], voltages(in_arbor(built, FAMILIES))["post"]
    assert np.ptp(exact) > 0.5
    np.testing.assert_allclose(other, exact, atol=0.02 * np.ptp(exact))


def test_synapses_on_dendrites_are_where_neuron_has_them(tmp_path: Path) -> None:
    fast = {**AMPA, "zone": "proximal"}
    built, families = network(
        tmp_path, onto_dendrites(synapses={"ampa": fast, "nmda": {**fast, "zone": "distal", "decay": "9 ms"}})
    )
    exact = voltages(NeuronLoop(built, families, placement="points"))["post"]
    other = voltages(in_arbor(built, families))["post"]
    assert np.ptp(exact) > 0.5
    np.testing.assert_allclose(other, exact, atol=0.02 * np.ptp(exact))


# --- runs -------------------------------------------------------------------------------------------------


def test_threads_and_recorded_blocks_change_nothing() -> None:
    built = build(recurrent())
    with in_arbor(built, FAMILIES) as one, in_arbor(built, FAMILIES, 2) as two:
        exact = one._exact
        first = np.concatenate([one.advance(n * exact)["pv"].voltage for n in (1, 5, 2)], axis=1)
        np.testing.assert_array_equal(two.advance(8 * exact)["pv"].voltage, first)


def test_a_run_leaves_what_other_backends_leave(tmp_path: Path) -> None:
    results = simulate_arbor(network_from(recurrent()), out=tmp_path / "run", threads=1)
    assert results.summary["backend"] == "arbor" and (results.path / "report.html").is_file()
    with NeuronLoop(build(recurrent()), FAMILIES) as loop:
        events = loop.advance(600)["pv"]
    spikes = results.spikes("pv")
    assert len(spikes) == events.event_cell.size > 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gap_junctions": [GAP]}, "gap"),
        ({"populations": {"pv": {"core": "integrate-and-fire", "size": 3}}}, "no exact cells"),
    ],
)
def test_what_arbor_does_not_hold_is_refused_by_name(tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        simulate_arbor(network_from(recurrent(**changes)), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_nmda_and_reports_are_refused_at_their_line(tmp_path: Path) -> None:
    nmda = {"model": "nmda", "rise": "2 ms", "decay": "30 ms", "reversal": "0 mV"}
    data = recurrent(synapses={"gaba": nmda, "ampa": SYNAPSES["NobleExpCurrent"]})
    with pytest.raises(ConfigError, match="nmda"):
        simulate_arbor(network_from(data), out=tmp_path / "run")
    with pytest.raises(ConfigError, match="conductance"):
        simulate_arbor(
            network_from(recurrent(record={"conductance": {"cells": "all"}})), out=tmp_path / "run"
        )


def test_stimuli_through_dendritic_synapses_are_refused(tmp_path: Path) -> None:
    data = recurrent()
    data["synapses"] = {**data["synapses"], "ampa": {**SYNAPSES["ExpSyn"], "zone": "distal"}}
    data["stimuli"] = [{"to": "pv", "poisson": {"rate": "100 Hz", "synapse": "ampa", "weight": "1 nS"}}]
    with pytest.raises(BackendError, match=r"stimulus to pv .* ampa in zone distal"):
        simulate_arbor(network_from(data), out=tmp_path / "run")


def test_mechanisms_that_arbor_lacks_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    catalogue = arbor_network.arbor().allen_catalogue()
    kept = {name: catalogue[name] for name in catalogue if name not in ("NaV", "Kd")}
    monkeypatch.setattr(arbor_network.arbor(), "allen_catalogue", lambda: kept)
    with pytest.raises(BackendError, match=r"family allen-pv-peri: .* no mechanism Kd, NaV"):
        simulate_arbor(network_from(recurrent(populations={"pv": population(3)})), out=tmp_path / "run")
