"""Runs that are cut short and go on: the same results to the last bit, wherever they were cut, and clear refusals."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from helpers import built, network_data
from hypothesis import given, settings
from hypothesis import strategies as st

from noble_net import recording, run_directory
from noble_net.config import network_from
from noble_net.errors import OutputError
from noble_net.loop import Loop
from noble_net.output import write_text
from noble_net.results import Results, load_results
from noble_net.resuming import WALL_CLOCK_INTERVAL, Schedule
from noble_net.run_directory import RunDirectory
from noble_net.run_files import MARK, recover_folder
from noble_net.run_state import FILE as STATE
from noble_net.run_state import read_state
from noble_net.simulation import simulate
from noble_net.surrogate.integrate_and_fire import IntegrateAndFire

CORE = {"integrate-and-fire": IntegrateAndFire()}
DEPRESSING = {"tsodyks_markram": {"U": 0.5, "tau_rec": "80 ms", "tau_facil": "20 ms"}}
LEARNING = {
    "stdp": {"tau_plus": "20 ms", "tau_minus": "20 ms", "a_plus": 0.02, "a_minus": 0.02, "w_max": "6 nS"}
}


def data(**changes: Any) -> dict[str, Any]:
    """A network with everything that has a state: plastic synapses, noise of all kinds, reports, rates."""
    data = network_data()
    ampa = data["synapses"]["ampa"]
    data["synapses"] |= {
        "depressing": {**ampa, "plasticity": DEPRESSING},
        "learning": {**ampa, "plasticity": LEARNING},
        "slow": {"model": "alpha", "decay": "8 ms", "reversal": "-75 mV"},
    }
    data["projections"][0]["synapse"] = "depressing"
    wired = {"rule": {"fixed_indegree": {"indegree": 5}}, "weight": "2 nS"}
    data["projections"] += [
        {"name": "e-e", "from": "exc", "to": "exc", "synapse": "learning", "delay": "1 ms", **wired},
        {"name": "i-i", "from": "inh", "to": "inh", "synapse": "slow", "delay": "2 ms", **wired},
    ]
    shots = {
        "rate": "400 Hz",
        "amp_mean": "1 nS",
        "amp_std": "0.5 nS",
        "rise": "0.4 ms",
        "decay": "4 ms",
        "reversal": "0 mV",
    }
    common = {"mean": "0 nA", "sigma": "0.05 nA", "tau": "9 ms", "shared": True}
    data["stimuli"] += [
        {"to": "exc", "name": "common", "ornstein_uhlenbeck": common},
        {"to": "inh", "name": "shots", "shot_noise": shots},
    ]
    data["record"] = {
        "voltage": {"cells": 3},
        "conductance": {"cells": 4, "start": "7 ms", "dt": "0.3 ms"},
        "synapses": {"slow": {"cells": 2}},
        "rates": {"bin": "3 ms"},
    }
    data["node_sets"] = {"half": {"population": "exc", "fraction": 0.5}}
    return {**data, "warmup": "4 ms", "duration": "60 ms", **changes}


def run(path: Path, changes: dict[str, Any] | None = None, **options: Any) -> Results:
    return simulate(network_from(data(**(changes or {}))), out=path, report=False, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return run(tmp_path_factory.mktemp("whole") / "run")


def content(folder: Path) -> dict[str, bytes]:
    """Every array of every HDF5 file of a run."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path, "r") as file:

            def note(name: str, item: object, path: Path = path) -> None:
                if isinstance(item, h5py.Dataset):
                    value = np.asarray(item[()])
                    found[f"{path.name}/{name}"] = (
                        value.tolist() if value.dtype == object else value.tobytes()
                    )

            file.visititems(note)
    return found


def assert_same(one: Results, other: Results) -> None:
    assert content(one.path) == content(other.path)
    told = [
        {key: each.summary[key] for key in ("populations", "spikes", "synapses", "completed", "simulated_ms")}
        for each in (one, other)
    ]
    assert told[0] == told[1]
    assert not (other.path / STATE).exists() and not list(other.path.glob("*.part"))


def resumptions(results: Results) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((results.path / "provenance.json").read_text()).get(
        "resumed", []
    )
    return found


class Stop(Exception):
    """What cuts runs of these tests short."""


def stop_at(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Break off before this block of the next run."""
    advance, count = Loop.advance, iter(range(10**9))

    def counted(self: Loop, samples: int | None = None) -> Any:
        if self.network.n_cells > 2 and next(count) == block:  # the smaller one compiles kernels
            raise Stop
        return advance(self, samples)

    monkeypatch.setattr(Loop, "advance", counted)


# --- state --------------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(st.integers(0, 30), st.sampled_from([None, 7, 50]), st.sampled_from([1, 3, 8]))
def test_a_loop_goes_on_from_its_state(blocks: int, batch: int | None, length: int) -> None:
    network = built(data())
    loop = Loop(network, CORE)
    for _ in range(blocks):
        loop.advance()
    state = {name: array.copy() for name, array in loop.state().items()}
    again = Loop(network, CORE, length, batch)
    again.restore(state)
    assert again.position == loop.position == blocks * network.block_samples
    longer = [loop.advance() for _ in range(length)]
    shorter = [again.advance() for _ in range(network.block_samples)]
    for name in loop.voltage():
        ran = [np.concatenate([each[name].voltage for each in part], axis=1) for part in (longer, shorter)]
        assert np.array_equal(*ran)
    for name, array in loop.state().items():
        assert array.tobytes() == again.state()[name].tobytes(), name


def test_a_state_of_another_network_is_refused() -> None:
    state = Loop(built(data()), CORE).state()
    smaller = data()
    smaller["populations"]["inh"]["size"] = 29
    with pytest.raises(OutputError, match=r"does not fit its network: inh/voltage .*--overwrite"):
        Loop(built(smaller), CORE).restore(state)


# --- runs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [0, 1, 40, 79])
def test_a_run_goes_on_to_the_same_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Results, block: int
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_at(patch, block)
        with pytest.raises(Stop):
            run(folder, checkpoint_every=5.0)
    assert not load_results(folder).summary["completed"]
    state = read_state(folder)
    position = 0 if state is None else int(state.arrays["engine/position"])
    assert block * 8 - 50 - 8 <= position <= block * 8
    again = run(folder, resume=True, batch=7, block_samples=4, threads=1)
    assert_same(whole, again)
    resumed = resumptions(again)
    assert [each["at_ms"] for each in resumed] == ([] if state is None else [round(position * 0.1, 1)])


def test_a_run_may_be_cut_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Results
) -> None:
    monkeypatch.setattr(recording, "FLUSH_INTERVAL", 0.0)
    folder = tmp_path / "run"
    for block in (20, 3, 30, 9):
        with monkeypatch.context() as patch:
            stop_at(patch, block)
            with pytest.raises(Stop):
                run(folder, resume=True, checkpoint_every=2.0)
    again = run(folder, resume=True)
    assert_same(whole, again)
    assert len(resumptions(again)) == 4
    assert again.summary["timings_s"]["run"] > 0


def test_a_complete_run_is_returned_as_it_is(whole: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loop, "advance", None)
    before = (whole.path / "summary.json").stat().st_mtime_ns
    again = run(whole.path, resume=True)
    assert again.summary == whole.summary
    assert (whole.path / "summary.json").stat().st_mtime_ns == before


def test_a_complete_run_killed_before_its_report_gets_one(tmp_path: Path, whole: Results) -> None:
    shutil.copytree(whole.path, tmp_path / "run")
    again = simulate(network_from(data()), out=tmp_path / "run", resume=True)
    assert (again.path / "report.html").is_file()
    assert again.summary["timings_s"]["report"] > 0
    assert_same(whole, again)


def test_resume_starts_what_there_is_not(tmp_path: Path, whole: Results) -> None:
    assert_same(whole, run(tmp_path / "run", resume=True))


def test_a_run_on_the_trained_core_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inhibition = network_data()["projections"][1] | {"from": "pv", "to": "pv"}
    changes = {
        "core": "pv-stream",
        "populations": {"pv": {"family": trained_family(), "size": 12}},
        "projections": [inhibition | {"rule": "all_to_all"}],
        "stimuli": [{"to": "pv", "ornstein_uhlenbeck": {"mean": "0.3 nA", "sigma": "0.1 nA", "tau": "5 ms"}}],
        "node_sets": {},
        "record": {"voltage": {"cells": 2}},
    }
    first = run(tmp_path / "whole", changes)
    with monkeypatch.context() as patch:
        stop_at(patch, 50)
        with pytest.raises(Stop):
            run(tmp_path / "run", changes, checkpoint_every=10.0)
    assert first.summary["spikes"] > 0
    assert_same(first, run(tmp_path / "run", changes, resume=True, batch=5))


def trained_family() -> str:
    from noble_net.config import load_network
    from noble_net.registry import find_network

    spec = load_network(find_network("quickstart"))
    return next(each.family for each in spec.populations.values() if each.family is not None)


def test_gap_junctions_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    junctions = [
        {"name": "gap", "from": "inh", "to": "inh", "rule": {"pairwise_bernoulli": {"p": 0.3}}, "conductance": "0.5 nS"}
    ]  # fmt: skip
    changes = {"gap_junctions": junctions, "duration": "20 ms"}
    first = run(tmp_path / "whole", changes)
    with monkeypatch.context() as patch:
        stop_at(patch, 133)
        with pytest.raises(Stop):
            run(tmp_path / "run", changes, checkpoint_every=1.0)
    assert_same(first, run(tmp_path / "run", changes, resume=True))


# --- cut short as it began ----------------------------------------------------------------------------------


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_run_interrupted_while_edges_are_written_starts_anew_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Results
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run_directory, "write_circuit", interrupt)
        run(folder)
    again = simulate(folder / "network.yaml", out=folder, resume=True, report=False)
    assert_same(whole, again)


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}], ids=str)
def test_a_run_killed_in_its_first_write_leaves_a_folder_that_can_be_used(
    tmp_path: Path, whole: Results, options: dict[str, bool]
) -> None:
    for name in (MARK, "provenance.json.part"):
        (tmp_path / name).write_text("")
    assert_same(whole, run(tmp_path, **options))


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "summary.json", "{}")
    assert not list(tmp_path.iterdir())


def test_a_run_killed_while_it_removes_an_earlier_one_can_be_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Results
) -> None:
    spec, unlink = network_from(data()), Path.unlink
    for count in range(1, len(list(whole.path.iterdir())) - 1):
        folder, left = tmp_path / str(count), iter(range(count))
        shutil.copytree(whole.path, folder)

        def remove(path: Path, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            unlink(path)

        with RunDirectory(folder, overwrite=True) as directory, monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", remove)
            with pytest.raises(KeyboardInterrupt):
                directory.make_way(spec)
        RunDirectory(folder, overwrite=True).release()
        with RunDirectory(folder, resume=spec) as directory:
            assert not directory.completed and directory.state is None


def test_a_run_that_replaces_the_one_whose_network_file_it_is_never_loses_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Results
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole.path, folder)
    source, before = folder / "network.yaml", (folder / "network.yaml").read_text()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RunDirectory, "write_provenance", interrupt)
        simulate(source, out=folder, overwrite=True, report=False)
    assert source.read_text() == before and not (folder / "spikes.h5").exists()
    assert_same(whole, simulate(source, out=folder, overwrite=True, report=False))


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.fixture
def cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run cut short."""
    with monkeypatch.context() as patch:
        stop_at(patch, 40)
        with pytest.raises(Stop):
            run(tmp_path / "run", checkpoint_every=5.0)
    return tmp_path / "run"


def test_another_network_is_refused_and_nothing_is_lost(cut: Path, whole: Results) -> None:
    with pytest.raises(
        OutputError, match=r"another network: duration, seed differ|another network: seed, duration"
    ):
        run(cut, {"seed": 9, "duration": "70 ms"}, resume=True)
    assert_same(whole, run(cut, resume=True))


def test_a_run_of_another_backend_is_refused_and_left(cut: Path) -> None:
    about = json.loads((cut / "provenance.json").read_text())
    (cut / "provenance.json").write_text(json.dumps(about | {"backend": "neuron"}))
    before = {path.name for path in cut.iterdir()}
    with pytest.raises(OutputError, match=r"of the neuron backend.*--backend neuron --overwrite"):
        run(cut, resume=True)
    assert {path.name for path in cut.iterdir()} == before


def test_other_parts_are_refused_by_name(cut: Path, monkeypatch: pytest.MonkeyPatch, whole: Results) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(IntegrateAndFire, "hash", "another")
        with pytest.raises(OutputError, match=r"its cores are not what they were.*--overwrite"):
            run(cut, resume=True)
    assert_same(whole, run(cut, resume=True))


def test_a_damaged_state_is_told_and_left(cut: Path) -> None:
    state = bytearray((cut / STATE).read_bytes())
    state[-1] ^= 1
    (cut / STATE).write_bytes(state)
    with pytest.raises(OutputError, match=r"state\.safetensors: is damaged.*--overwrite"):
        run(cut, resume=True)
    assert (cut / "spikes.h5").exists()


@pytest.mark.parametrize("name", ["spikes.h5", "voltage.h5", "rates.h5"])
def test_files_that_lost_what_the_state_counts_on_are_told(cut: Path, name: str) -> None:
    with h5py.File(cut / name, "r+") as file:
        empty(file)
    with pytest.raises(OutputError, match=rf"{name}: .*rows where"):
        run(cut, resume=True)
    os.truncate(cut / name, 1000)
    with pytest.raises(OutputError, match=rf"{name}: cannot be read"):
        run(cut, resume=True)
    (cut / name).unlink()
    with pytest.raises(OutputError, match=rf"{name}: "):
        run(cut, resume=True)


def empty(group: h5py.Group) -> None:
    """Drop the rows of every dataset that grows."""
    for item in group.values():
        if isinstance(item, h5py.Group):
            empty(item)
        elif item.maxshape[0] is None:
            item.resize(0, axis=0)


def test_a_state_the_disk_refuses_ends_the_run_and_the_old_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Results
) -> None:
    folder, write = tmp_path / "run", run_directory.write_state
    states = iter(range(100))

    def refuse(*args: Any) -> None:
        if next(states) == 3:
            raise OutputError("state.safetensors: cannot be written: No space left on device.")
        write(*args)

    with monkeypatch.context() as patch:
        patch.setattr(run_directory, "write_state", refuse)
        with pytest.raises(OutputError, match="No space left"):
            run(folder, checkpoint_every=5.0)
    assert not load_results(folder).summary["completed"]
    assert_same(whole, run(folder, resume=True))


# --- when -----------------------------------------------------------------------------------------------------


def test_states_are_saved_by_simulated_time_when_asked() -> None:
    schedule = Schedule(5.0)
    schedule.start(0)
    saved = []
    for position in range(0, 300, 8):
        if schedule.due(position):
            schedule.saved(position, 0.0)
            saved.append(position)
    assert saved == [56, 104, 152, 200, 256]


def test_else_by_the_wall_clock_at_little_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    from noble_net import resuming

    now = [0.0]
    monkeypatch.setattr(resuming.time, "monotonic", lambda: now[0])
    schedule = Schedule(None)
    schedule.start(0)
    now[0] = WALL_CLOCK_INTERVAL
    assert not schedule.due(1)
    now[0] += 0.1
    assert schedule.due(1)
    schedule.saved(1, 2.0)
    now[0] += 90.0
    assert not schedule.due(2)
    now[0] += 20.0
    assert schedule.due(2)


# --- kill -9 --------------------------------------------------------------------------------------------------


def _child(folder: Path, ready: Connection) -> None:
    recording.FLUSH_INTERVAL = 0.02
    ready.send(True)
    run(folder, resume=True, checkpoint_every=2.0)
    ready.send(False)


def killed(folder: Path, moment: float, start: Callable[..., Any]) -> bool:
    """Run, and kill −9 after so many seconds; whether the kill came before the end."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = start(target=_child, args=(folder, theirs))
    process.start()
    theirs.close()
    assert ours.recv()
    done = ours.poll(moment)
    if not done:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == (0 if done else -signal.SIGKILL)
    return not done


@pytest.mark.timeout(900)
@pytest.mark.parametrize("times", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_goes_on_to_the_same_spikes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Results, times: int
) -> None:
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(sys.path)
    )  # the server that forks imports this file but once
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["test_resuming"])
    assert killed(tmp_path / "imports", 0.0, context.Process)
    begin = time.monotonic()
    assert not killed(tmp_path / "first", 300.0, context.Process)
    longest = time.monotonic() - begin
    draw, kills, resumed = random.Random(5), 0, 0
    while kills < times:
        folder = tmp_path / "run"
        while killed(folder, draw.uniform(0.0, longest), context.Process):
            kills += 1
            open_all(folder)
        again = load_results(folder)
        resumed += len(resumptions(again))
        assert_same(whole, again)
        shutil.rmtree(folder)
    assert resumed >= times // 5


def open_all(folder: Path) -> None:
    """What a killed run left can be opened, once its journals are played back."""
    recover_folder(folder)
    for path in folder.glob("*.h5"):
        with h5py.File(path, "r") as file:
            assert list(file)


def test_the_state_tells_what_the_run_was_made_of(cut: Path) -> None:
    state = read_state(cut)
    assert state is not None
    assert set(state.about["made_of"]) == {"backend", "device", "cores", "families", "files", "arrays"}
    json.dumps(state.about)
