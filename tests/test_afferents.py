"""Spikes through synapses: modulated Poisson trains and replayed spikes, statistics and splits; node sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from helpers import built, network_data, network_spec
from hypothesis import given, settings
from hypothesis import strategies as st

from noble_net.config import network_from
from noble_net.errors import ConfigError
from noble_net.loop import Loop
from noble_net.network.afferents import Afferents
from noble_net.network.injection import Target
from noble_net.network.node_sets import select_cells
from noble_net.network.stimuli import make_stimulus
from noble_net.simulation import simulate
from noble_net.sonata import SpikeWriter
from noble_net.surrogate.integrate_and_fire import IntegrateAndFire
from noble_net.types import DT

POISSON = {"rate": "800 Hz", "synapse": "ampa", "weight": "2 nS"}


def stimulus(kind: str, parameters: dict[str, Any], cells: list[int] | None = None, **changes: Any) -> Any:
    spec = network_spec(stimuli=[{"to": "inh", "name": "it", kind: parameters}], **changes)
    return make_stimulus(spec.stimuli[0], spec, None if cells is None else Target("inh", 30, np.array(cells)))


def test_a_modulated_rate_follows_its_sine() -> None:
    parameters = POISSON | {"modulation": 0.8, "frequency": "10 Hz", "phase": "90 deg"}
    counts = stimulus("poisson", parameters, warmup="30 ms").counts(300, 100_000)
    folded = counts.reshape(30, 100, 20, 50).sum(axis=(0, 1, 3)) / (30 * 100 * 50)
    middle = (np.arange(20) + 0.5) / 20
    # the mean of the sine over a bin of a twentieth period is sinc(1/20) of its value in the middle
    wanted = 0.08 * (1 + 0.8 * np.sinc(1 / 20) * np.cos(2 * np.pi * middle))
    np.testing.assert_allclose(folded, wanted, atol=4 * np.sqrt(0.15 / 150_000))


def test_a_tabulated_rate_holds_until_the_next_time(tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text("time,rate\n10,2000\n20.0,0\n30,6000\n")
    parameters = {"rate_table": str(tmp_path / "rates.csv"), "synapse": "ampa", "weight": "2 nS"}
    counts = stimulus("poisson", parameters, warmup="5 ms").counts(0, 550)
    found = counts.mean(axis=0)[50:].reshape(5, 100).mean(axis=1)
    np.testing.assert_allclose(found, [0, 0.2, 0, 0.6, 0.6], atol=0.04)
    assert not counts[:, :150].any() and not counts[:, 250:350].any()


def test_rates_and_windows_belong_to_cells() -> None:
    spread = POISSON | {
        "rate": {"uniform": {"low": "0 Hz", "high": "5000 Hz"}},
        "delay": "1 ms",
        "duration": "90 ms",
    }
    counts = stimulus("poisson", spread).counts(0, 2000)
    assert not counts[:, :10].any() and not counts[:, 910:].any()
    assert np.ptp(counts.sum(axis=1)) > 100
    some = stimulus("poisson", spread, cells=[4, 9])
    assert np.array_equal(some.counts(0, 2000)[[4, 9]], counts[[4, 9]])
    assert some.counts(0, 2000)[[3, 5, 29]].sum() == 0 and np.count_nonzero(some.weight) == 2


@pytest.fixture
def spikes(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A spike file with 2000 spikes of 40 cells in 200 ms."""
    rng = np.random.default_rng(3)
    times, cells = np.sort(rng.uniform(0, 200, 2000)), rng.integers(0, 40, 2000)
    with SpikeWriter(tmp_path / "spikes.h5", ["pre", "other"]) as writer:
        writer.append("pre", times, cells)
    return tmp_path / "spikes.h5", times, cells


def replay(path: Path, **changes: Any) -> dict[str, Any]:
    return {"file": str(path), "population": "pre", "synapse": "ampa", "weight": "2 nS", **changes}


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, 400), min_size=1, max_size=12))
def test_replayed_spikes_arrive_after_their_delay(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("replay") / "spikes.h5"
    rng = np.random.default_rng(3)
    times, cells = np.sort(rng.uniform(0, 200, 2000)), rng.integers(0, 40, 2000)
    with SpikeWriter(path, ["pre"]) as writer:
        writer.append("pre", times, cells)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("noble_net.sonata.spikes._SPIKES_HELD", 37)
        made = stimulus("synapse_replay", replay(path, delay="1.5 ms"), warmup="3 ms")
        wanted = np.zeros((30, 6000), np.int32)
        for time, cell in zip(times, cells, strict=True):
            if cell < 30:
                wanted[cell, int(np.floor(time / DT + 45 + 1e-6))] += 1
        start = 0
        for length in cuts:
            piece = made.counts(start, length)
            assert np.array_equal(piece, wanted[:, start : start + length])
            start += length
        assert np.array_equal(made.counts(100, 50), wanted[:, 100:150])


def test_every_source_may_drive_every_target(spikes: tuple[Path, np.ndarray, np.ndarray]) -> None:
    path, times, _cells = spikes
    every = stimulus("synapse_replay", replay(path, map="all")).counts(0, 2000)
    assert np.array_equal(every, np.tile(np.bincount((times / DT).astype(int), minlength=2000), (30, 1)))
    some = stimulus("synapse_replay", replay(path, map="all", probability=0.25)).counts(0, 2000)
    assert some.sum() == pytest.approx(0.25 * 2000 * 30, rel=0.1)
    again = stimulus("synapse_replay", replay(path, map="all", probability=0.25), cells=[2, 8]).counts(
        0, 2000
    )
    assert np.array_equal(again[[2, 8]], some[[2, 8]])


def test_a_run_can_be_replayed_into_its_target(tmp_path: Path) -> None:
    """The spikes of a population, replayed through the same synapse, act as its projection did, one sample earlier."""
    data = network_data(duration="100 ms", projections=[network_data()["projections"][0]])
    data["projections"][0] |= {"rule": "all_to_all", "weight": "0.4 nS", "delay": "1 ms"}
    first = simulate(network_from(data), out=tmp_path / "first", report=False)
    spikes = replay(tmp_path / "first" / "spikes.h5", map="all", weight="0.4 nS", delay="1.1 ms")
    stimuli = [data["stimuli"][1], {"to": "inh", "synapse_replay": spikes | {"population": "exc"}}]
    alone = data | {"projections": [], "stimuli": stimuli}
    second = simulate(network_from(alone), out=tmp_path / "second", report=False)
    assert len(first.spike_arrays("inh")[0]) > 30
    rates = first.rates("inh").mean(), second.rates("inh").mean()
    assert rates[1] == pytest.approx(rates[0], rel=0.1)


STIMULI_TO_SOME = [
    {"to": "some", "noise": {"mean": "0.4 nA", "sigma": "0.2 nA"}},
    {"to": "some", "shot_noise": {"rise": "1 ms", "decay": "3 ms", "rate": "300 Hz", "amp_mean": "2 nS",
                                  "amp_std": "1 nS", "reversal": "0 mV"}},
    {"to": "inh", "sinusoidal": {"amp": "0.3 nA", "frequency": "20 Hz"}},
    {"to": "low", "poisson": POISSON | {"modulation": 0.5, "frequency": "8 Hz"}},
]  # fmt: skip
NODE_SETS = {
    "some": {"population": "inh", "cells": [11, 3, 29]},
    "part": {"population": "inh", "fraction": 0.2},
    "low": {
        "population": "exc",
        "where": {"v_threshold": ["-51 mV", "-50 mV"], "resistance": ["0 Mohm", "1 Gohm"]},
    },
}


def test_node_sets_hold_the_cells_they_describe() -> None:
    network = built(network_data(node_sets=NODE_SETS))
    assert list(select_cells(network, "some").cells) == [3, 11, 29]
    part = select_cells(network, "part").cells
    assert len(part) == 6 and len(np.unique(part)) == 6 and part.max() < 30 and list(part) != list(range(6))
    thresholds = network.population("exc").cells.parameters["v_threshold"]
    low = select_cells(network, "low")
    assert low.population == "exc" and 0 < len(low.cells) < 90
    assert np.array_equal(low.cells, np.flatnonzero((thresholds >= -51) & (thresholds <= -50)))
    renamed = built(network_data(node_sets={"other": NODE_SETS["part"]}))
    assert not np.array_equal(select_cells(renamed, "other").cells, part)


def test_blocks_and_batches_change_nothing_for_node_sets() -> None:
    network = built(network_data(node_sets=NODE_SETS, stimuli=STIMULI_TO_SOME))
    voltages = []
    for block, batch in ((None, None), (1, None), (3, 7)):
        loop = Loop(network, {"integrate-and-fire": IntegrateAndFire()}, block, batch)
        parts = []
        while loop.position < 240:
            responses = loop.advance(min(loop.block_samples, 240 - loop.position))
            parts.append(np.concatenate([responses[name].voltage for name in ("exc", "inh")]))
        voltages.append(np.concatenate(parts, axis=1))
    assert np.array_equal(voltages[0], voltages[1]) and np.array_equal(voltages[0], voltages[2])
    inh = voltages[0][90:]
    ordinary = np.delete(inh, [3, 11, 29], axis=0)
    assert np.ptp(ordinary[:, 5]) < 1e-3 < np.ptp(inh[:, 5])


def refused(data: dict[str, Any]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        built(data)
    return caught.value


TABLE = {"file": "nowhere.h5", "dataset": "a", "dt": "1 ms"}


@pytest.mark.parametrize(
    ("changes", "key", "message"),
    [
        ({"stimuli": [{"to": "soma", "noise": {"sigma": "1 nA"}}]}, "stimuli[0].to = soma", "did you mean `some`?"),
        ({"node_sets": {"inh": NODE_SETS["some"]}}, "node_sets.inh", "a population has that name"),
        ({"node_sets": {"a": {"population": "inn", "cells": [1]}}}, "population = inn", "did you mean `inh`?"),
        ({"node_sets": {"a": {"population": "inh", "cells": [3, 30]}}}, "node_sets.a.cells", "0 to 29"),
        ({"node_sets": {"a": {"population": "inh", "cells": [3, 3]}}}, "a.cells[1] = 3", "named twice"),
        ({"node_sets": {"a": {"population": "inh", "cells": []}}}, "node_sets.a.cells", "holds no cell"),
        ({"node_sets": {"a": {"population": "inh"}}}, "node_sets.a", "exactly one of cells, fraction, where"),
        ({"node_sets": {"a": {"population": "inh", "fraction": 2.0}}}, "a.fraction = 2.0", "less than or equal"),
        ({"node_sets": {"a": {"population": "inh", "where": {"v_rest": ["1 mV", "0 mV"]}}}}, "v_rest", "swap them"),
        ({"node_sets": {"a": {"population": "inh", "where": {"v_rest": [1, 2]}}}}, "v_rest[0] = 1", "has no unit"),
        ({"node_sets": {"a": {"population": "inh", "where": {"gbar": ["1 nS", 2]}}}}, "gbar[0]", "plain number"),
        ({"node_sets": {"a": {"population": "inh", "where": {"input_resistence": ["1 Mohm", "2 Mohm"]}}}},
         "input_resistence[0]", "did you mean `input_resistance`?"),
        ({"stimuli": [{"to": "inh", "pulse": {"amp": "1 nA", "width": "0.04 ms", "frequency": "50 Hz"}}]},
         "pulse.width", "at least 0.1 ms"),
        ({"node_sets": {"a": {"population": "inh", "where": {"gbar": [1, 2]}}}}, "a.where.gbar", "valid: cap"),
        ({"node_sets": {"a": {"population": "inh", "where": {"v_rest": ["0 mV", "1 mV"]}}}}, "node_sets.a", "no cell"),
        ({"stimuli": [{"to": "inh", "current_table": TABLE}]}, "current_table.file", "there is no file"),
        ({"stimuli": [{"to": "inh", "current_table": TABLE | {"dt": "0.25 ms"}}]}, "current_table.dt", "multiple"),
        ({"stimuli": [{"to": "inh", "synapse_replay": replay(Path("no.h5"))}]}, "synapse_replay.file", "no file"),
        ({"stimuli": [{"to": "inh", "synapse_replay": replay(Path("no.h5"), synapse="amp")}]}, "synapse", "`ampa`"),
        ({"stimuli": [{"to": "inh", "poisson": {"synapse": "ampa", "weight": "1 nS"}}]}, "poisson", "has no rate"),
        ({"stimuli": [{"to": "inh", "poisson": POISSON | {"modulation": 0.5}}]}, "modulation", "`frequency: 40 Hz`"),
        ({"stimuli": [{"to": "inh", "pulse": {"amp": "1 nA", "width": "20 ms", "frequency": "50 Hz"}}]}, "pulse.width",
         "not shorter"),
        ({"stimuli": [{"to": "inh", "sinusoidal": {"amp": "1 nA", "frequency": "5 Hz", "phase": "1 ms"}}]},
         "sinusoidal.phase = 1 ms", "an angle such as `90 deg`"),
        ({"stimuli": [{"to": "inh", "shot_noise": {"rise": "5 ms", "decay": "5 ms", "rate": "1 Hz", "amp_mean": "1 nA",
                                                   "amp_std": "0 nA"}}]}, "shot_noise.rise", "not shorter"),
    ],
)  # fmt: skip
def test_faults_name_key_and_remedy(changes: dict[str, Any], key: str, message: str) -> None:
    error = refused(network_data(node_sets=NODE_SETS) | changes)
    assert key in str(error) and message in str(error) and error.remedy


def test_files_that_do_not_fit_are_refused(
    tmp_path: Path, spikes: tuple[Path, np.ndarray, np.ndarray]
) -> None:
    def fault(kind: str, parameters: dict[str, Any]) -> str:
        return str(refused(network_data(stimuli=[{"to": "inh", kind: parameters}])))

    csv = tmp_path / "a.csv"
    for text, message in (
        ("a,b\n1,2\n", "has 2 columns, inh has 30 cells. give one column"),
        ("a\n1\n\nx\n", "row 1 (from 0, below the names) holds something that is no number"),
        ("a\n1\n1,2\n", "row 1 (from 0, below the names) has not 1 values"),
        ("a\n1\nnan\n", "row 1 holds a value that is not finite"),
    ):
        csv.write_text(text)
        assert message in fault("current_table", {"file": str(csv), "dt": "1 ms"})
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file["i"] = np.zeros((5, 0))
    empty = {"file": str(tmp_path / "none.h5"), "dataset": "i", "dt": "1 ms"}
    assert "has shape (5, 0)" in fault("current_table", empty)
    table = {"file": str(spikes[0]), "dt": "1 ms"}
    assert "add the array's path" in fault("current_table", table)
    assert "spikes/pre/timestamps" in fault("current_table", table | {"dataset": "spikes/pre/timestamp"})
    assert "'ms', are no current" in fault("current_table", table | {"dataset": "spikes/pre/timestamps"})
    assert "did you mean `pre`" in fault("synapse_replay", replay(spikes[0], population="prae"))
    assert "cannot be read" in fault("synapse_replay", replay(csv))
    for text in ("time;rate\n1;2\n", "time,rate\n2,1\n1,1\n", "time,rate\n", "time,rate\n1,-1\n"):
        csv.write_text(text)
        assert "rate_table" in fault("poisson", {"rate_table": str(csv), "synapse": "ampa", "weight": "1 nS"})


@pytest.mark.parametrize(
    ("times", "ids", "units", "message"),
    [
        ([1.0, 2.0, 3.0], [0, 1], "ms", "it has 3 timestamps and 2 node_ids"),
        ([1.0], [0, 1], "ms", "it has 1 timestamps and 2 node_ids"),
        ([[1.0, 2.0]], [0], "ms", "timestamps is no row of numbers"),
        ([b"1", b"2"], [0, 1], "ms", "timestamps is no row of numbers"),
        ([2.0, np.nan, 1.0], [0, 1, 1], "ms", "a timestamp is not finite"),
        ([1.0, 2.0], [0, 1], "min", "its timestamps are in 'min', not in ms"),
        (None, None, None, "its spikes are no group"),
    ],
)
def test_damaged_spikes_are_refused(
    tmp_path: Path, times: Any, ids: Any, units: str | None, message: str
) -> None:
    path = tmp_path / "spikes.h5"
    with h5py.File(path, "w") as file:
        if times is None:
            file["spikes/pre"] = 1
        else:
            file["spikes/pre/timestamps"], file["spikes/pre/node_ids"] = times, ids
            file["spikes/pre/timestamps"].attrs["units"] = units
    error = refused(network_data(stimuli=[{"to": "inh", "synapse_replay": replay(path)}]))
    assert message in str(error) and "synapse_replay.file" in str(error) and error.remedy


def test_spikes_timed_in_seconds_are_replayed_at_their_time(
    tmp_path: Path, spikes: tuple[Path, np.ndarray, np.ndarray]
) -> None:
    path, times, cells = spikes
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["spikes/pre/timestamps"], file["spikes/pre/node_ids"] = np.rint(times) / 1000, cells
        file["spikes/pre/timestamps"].attrs["units"] = "s"
    with h5py.File(path, "a") as file:
        file["spikes/pre/timestamps"][:] = np.rint(times)
    one, other = (
        stimulus("synapse_replay", replay(each)).counts(0, 2001) for each in (path, tmp_path / "s.h5")
    )
    assert one.any() and np.array_equal(one, other)


def test_every_spiking_stimulus_is_an_afferent() -> None:
    assert isinstance(stimulus("poisson", POISSON), Afferents)
