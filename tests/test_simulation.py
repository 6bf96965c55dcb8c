"""Whole runs on the integrate-and-fire core: what may change nothing, what is written, what is refused."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import resource
import tracemalloc
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from helpers import built, network_data, network_spec, toy_family

from noble_net import recorded_run, registry
from noble_net.config import load_network, network_from
from noble_net.errors import ConfigError, OutputError
from noble_net.loop import Loop
from noble_net.provenance import hashes_of_files
from noble_net.results import Results, load_results
from noble_net.run_directory import RunDirectory, given_or_new
from noble_net.run_files import FILES, MARK, is_running, mark_running, unmark
from noble_net.run_state import FILE as STATE
from noble_net.simulation import describe, simulate
from noble_net.surrogate.core import Core
from noble_net.surrogate.integrate_and_fire import IntegrateAndFire
from noble_net.types import CellTable, Drive, Response, State

POPULATIONS = ("exc", "inh")
module = import_module("noble_net.simulation")


def run(tmp_path: Path, name: str = "run", data: dict[str, Any] | None = None, **options: Any) -> Results:
    spec = network_from(data or network_data())
    return simulate(spec, out=tmp_path / name, report=options.pop("report", False), **options)


def assert_same(one: Results, two: Results, populations: tuple[str, ...] = POPULATIONS) -> None:
    for name in populations:
        for first, second in zip(one.spike_arrays(name), two.spike_arrays(name), strict=True):
            assert np.array_equal(first, second)
        assert np.array_equal(one.voltage(name).to_numpy(), two.voltage(name).to_numpy())


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The network of `helpers` as it runs by default, with its report."""
    return run(tmp_path_factory.mktemp("reference"), report=True)


def test_both_populations_fire_and_hear_each_other(tmp_path: Path, reference: Results) -> None:
    alone = run(tmp_path, data=network_data(projections=[]))
    for name in POPULATIONS:
        times = reference.spike_arrays(name)[0]
        assert len(times) > 30
        assert not np.array_equal(times, alone.spike_arrays(name)[0])


@pytest.mark.parametrize(
    "options",
    [
        {"batch": 1},
        {"batch": 7},
        {"batch": 400},
        {"threads": 1},
        {"threads": 2},
        {"block_samples": 1},
        {"block_samples": 8},
        {"block_samples": 3, "batch": 7, "threads": 1},
    ],
    ids=str,
)
def test_batch_threads_and_block_change_nothing(
    tmp_path: Path, reference: Results, options: dict[str, int]
) -> None:
    before = numba.get_num_threads()
    assert_same(reference, run(tmp_path, **options))
    assert numba.get_num_threads() == before


def test_input_changes_no_spike_before_it(tmp_path: Path, reference: Results) -> None:
    data = network_data()
    for name in POPULATIONS:
        step = {"amplitude": "0.5 nA", "start": "100 ms", "stop": "200 ms"}
        data["stimuli"] = [*data["stimuli"], {"to": name, "step": step}]
    changed = run(tmp_path, data=data)
    for name in POPULATIONS:
        (t1, c1), (t2, c2) = reference.spike_arrays(name), changed.spike_arrays(name)
        assert np.array_equal(t1[t1 < 100], t2[t2 < 100]) and np.array_equal(c1[t1 < 100], c2[t2 < 100])
        assert len(t1) != len(t2)
        v1, v2 = reference.voltage(name), changed.voltage(name)
        assert v1[v1.index <= 100.0].equals(v2[v2.index <= 100.0])


def test_other_populations_and_their_order_change_nothing(tmp_path: Path, reference: Results) -> None:
    data = network_data()
    added = {"new": {"size": 11}, **dict(reversed(data["populations"].items()))}
    stimuli = [{"to": "new", "ornstein_uhlenbeck": {"mean": "0.3 nA", "sigma": "0.1 nA", "tau": "3 ms"}}]
    extra = {**data["projections"][1], "name": "i-n", "to": "new"}
    data |= {
        "populations": added,
        "stimuli": [*stimuli, *reversed(data["stimuli"])],
        "projections": [extra, *reversed(data["projections"])],
        "synapses": dict(reversed(data["synapses"].items())),
    }
    assert_same(reference, run(tmp_path, data=data))


def test_another_seed_changes_everything(tmp_path: Path, reference: Results) -> None:
    other = run(tmp_path, seed=8)
    assert other.seed == 8
    assert len(np.intersect1d(other.spike_arrays("inh")[0], reference.spike_arrays("inh")[0])) == 0


def test_the_warm_up_is_run_and_dropped(tmp_path: Path) -> None:
    whole = run(tmp_path, "whole", network_data(duration="130 ms"))
    warmed = run(tmp_path, "warmed", network_data(duration="100 ms", warmup="30 ms"))
    for name in POPULATIONS:
        times, cells = whole.spike_arrays(name)
        kept = times >= 30.0
        assert np.allclose(warmed.spike_arrays(name)[0], times[kept] - 30.0, atol=1e-9)
        assert np.array_equal(warmed.spike_arrays(name)[1], cells[kept])
        assert np.array_equal(warmed.voltage(name).to_numpy(), whole.voltage(name).to_numpy()[300:])
        assert len(warmed.voltage(name)) == 1000
    assert warmed.summary["warmup_ms"] == 30.0 and warmed.summary["simulated_ms"] == 100.0


def test_a_spike_arrives_after_its_delay_to_the_sample(tmp_path: Path) -> None:
    data = network_data(
        duration="40 ms",
        populations={"exc": {"size": 1}, "inh": {"size": 1}},
        projections=[
            {
                "name": "one",
                "from": "exc",
                "to": "inh",
                "rule": "all_to_all",
                "synapse": "ampa",
                "weight": "2 nS",
                "delay": "1.3 ms",
            }
        ],
        stimuli=[{"to": "exc", "step": {"amplitude": "1 nA", "start": "2 ms", "stop": "4.5 ms"}}],
    )
    results = run(tmp_path, data=data)
    (spike,) = results.spike_arrays("exc")[0]
    sample = int(spike / 0.1)
    trace = results.voltage("inh")[0].to_numpy()
    assert np.flatnonzero(trace != trace[0])[0] == sample + 1 + 13 + 1


def test_a_cell_in_a_network_is_the_cell_by_hand(tmp_path: Path) -> None:
    data = network_data(
        populations={"exc": {"size": 1}},
        projections=[],
        stimuli=[{"to": "exc", "step": {"amplitude": "0.4 nA", "start": "10 ms", "stop": "90 ms"}}],
    )
    results = run(tmp_path, data=data)
    core = IntegrateAndFire()
    drive = Drive.zeros(core.zones, 1, 2000)
    drive.current[:, :, 100:900] = 0.4
    response, _ = core.advance(core.begin(built(data).population("exc").cells), drive)
    assert np.allclose(results.spike_arrays("exc")[0], response.event_time, atol=1e-12)
    assert np.array_equal(results.voltage("exc")[0].to_numpy()[1:], response.voltage[0, :-1])


def test_all_files_are_written_and_tell_what_ran(reference: Results) -> None:
    names = {path.name for path in reference.path.iterdir()}
    assert names == set(FILES) - {STATE, "gap_junctions.h5", "weights.h5"}  # it has neither
    summary = reference.summary
    assert summary["completed"] and summary["simulated_ms"] == 200.0 and summary["backend"] == "surrogate"
    assert summary["synapses"] == built(network_data()).n_synapses
    for name in POPULATIONS:
        told = summary["populations"][name]
        assert told["spikes"] == len(reference.spike_arrays(name)[0])
        assert told["rate_hz"] == pytest.approx(reference.rates(name).mean())
        assert told["silent_cells"] == (reference.rates(name) == 0).sum()
        assert told["outside_share"] == 0.0
    assert set(summary["timings_s"]) == {"load", "build", "run", "write", "report"}
    assert all(seconds > 0 for seconds in summary["timings_s"].values())
    speed = summary["cells_in_real_time"] * summary["timings_s"]["run"]
    assert speed == pytest.approx(120 * 0.2)
    assert load_network(reference.path / "network.yaml") == network_spec()
    provenance = json.loads((reference.path / "provenance.json").read_text())
    assert provenance["seed"] == 3 and provenance["versions"]["numpy"] == np.__version__
    assert provenance["cores"]["integrate-and-fire"]["name"] == "integrate-and-fire"


def test_files_are_hashed_without_being_held_in_memory(tmp_path: Path) -> None:
    data = plain_data()
    spikes = {"file": str(tmp_path / "spikes.h5"), "population": "a", "synapse": "push", "weight": "1 pA"}
    data["stimuli"] = [{"to": "a", "synapse_replay": spikes}]
    (tmp_path / "spikes.h5").write_bytes(bytes(20_000_000))
    spec = network_from(data)
    tracemalloc.start()
    try:
        told = hashes_of_files(spec)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert told == {str(tmp_path / "spikes.h5"): hashlib.sha256(bytes(20_000_000)).hexdigest()}


def test_overrides_are_what_the_results_say(tmp_path: Path) -> None:
    results = run(tmp_path, seed=5, duration="50 ms")
    assert results.summary["duration_ms"] == 50.0 and results.summary["seed"] == 5
    resolved = load_network(tmp_path / "run" / "network.yaml")
    assert resolved.seed == 5 and resolved.duration == 50.0
    with pytest.raises(ConfigError, match="duration"):
        run(tmp_path, "other", duration="-1 ms")
    assert not (tmp_path / "other").exists()


def test_nothing_recorded_is_still_counted(tmp_path: Path, reference: Results) -> None:
    results = run(tmp_path, data=network_data(record={"spikes": "none"}))
    assert not results.has_spikes and not results.has_voltage
    assert results.summary["spikes"] == reference.summary["spikes"]


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    told: list[tuple[float, float]] = []
    run(tmp_path, data=network_data(warmup="10 ms"), progress=lambda *at: told.append(at))
    assert told[-1] == (210.0, 210.0) and told == sorted(told)


# --- several cores ----------------------------------------------------------------------------------------


class Coarse(Core):
    """An integrate-and-fire core that can only take blocks of four samples, and wants a family."""

    name = "coarse"
    zones = ("soma",)
    step_samples = 4
    family_hash = "right"

    def begin(self, cells: CellTable) -> State:
        return IntegrateAndFire().begin(cells)

    def advance(self, state: State, drive: Drive) -> tuple[Response, State]:
        if drive.samples % 4:
            raise ValueError("a block must be a multiple of the step")
        return IntegrateAndFire().advance(state, drive)


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the core 'coarse' and the family 'toy' known; called with a hash, a family of that hash."""

    def install(digest: str = "right") -> None:
        real_core, real_family = registry.load_core, registry.load_family
        monkeypatch.setattr(
            module, "load_core", lambda n, *of: Coarse() if n == "coarse" else real_core(n, *of)
        )
        monkeypatch.setattr(
            recorded_run, "load_family", lambda n: toy_family(digest) if n == "toy" else real_family(n)
        )

    install()
    return install


def mixed_data(**changes: Any) -> dict[str, Any]:
    data = network_data(**changes)
    data["populations"]["inh"] = {"size": 30, "core": "coarse", "family": "toy", **data.pop("inh", {})}
    return data


def test_populations_on_different_cores_run_together(
    tmp_path: Path, reference: Results, coarse: Callable[[str], None]
) -> None:
    mixed = run(tmp_path, data=mixed_data())
    assert_same(reference, mixed)
    assert mixed.nodes("inh")["label"].str.startswith("m").all() and "gNa" in mixed.nodes("inh")


def test_a_duration_off_the_step_is_cut_to_the_sample(
    tmp_path: Path, reference: Results, coarse: Callable[[str], None]
) -> None:
    short = run(tmp_path, data=mixed_data(duration="100.3 ms"))
    assert len(short.voltage("exc")) == 1003 and short.summary["simulated_ms"] == 100.3
    for name in POPULATIONS:
        times, _ = reference.spike_arrays(name)
        assert np.array_equal(short.spike_arrays(name)[0], times[: len(short.spike_arrays(name)[0])])
        assert len(short.spike_arrays(name)[0]) == (times < 100.3).sum()


def test_blocks_that_are_not_exact_are_refused() -> None:
    network, cores = built(network_data()), {"integrate-and-fire": IntegrateAndFire()}
    assert Loop(network, cores, 3).block_samples == 3
    for size in (0, 9, -1):
        with pytest.raises(ValueError, match=f"a block of {size} samples"):
            Loop(network, cores, size)
    with pytest.raises(ValueError, match="a batch of 0 cells"):
        Loop(network, cores, batch=0)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"inh": {"core": "coarce"}}, r"populations\.inh\.core = coarce: there is no core 'coarce'"),
        ({"inh": {"family": "toi"}}, r"populations\.inh\.family = toi: there is no family 'toi'"),
        ({"core": "nothing"}, r"core = nothing|populations\.exc"),
    ],
)
def test_unknown_cores_and_families_are_refused_before_anything_is_made(
    tmp_path: Path, coarse: Callable[[str], None], change: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        run(tmp_path, data=mixed_data(**change))
    assert not (tmp_path / "run").exists()


def test_a_core_refuses_a_family_it_was_not_trained_on(tmp_path: Path, coarse: Callable[[str], None]) -> None:
    coarse("wrong")
    with pytest.raises(
        ConfigError, match=r"populations\.inh\.family = toy: core coarse was trained on another"
    ):
        run(tmp_path, data=mixed_data())


def test_a_delay_below_the_step_of_any_core_is_refused(tmp_path: Path, coarse: Callable[[str], None]) -> None:
    data = mixed_data()
    data["projections"][0]["delay"] = "0.3 ms"
    with pytest.raises(
        ConfigError, match=r"e-i can be 0\.3 ms, shorter than the step of core coarse, 0\.4 ms"
    ):
        run(tmp_path, data=data)


def test_describe_checks_and_counts(coarse: Callable[[str], None]) -> None:
    text = describe(network_from(mixed_data()))
    for part in ("exc: 90 cells", "core coarse, family toy", "i-e: inh → exc, fixed_indegree, 720 synapses"):
        assert part in text


# --- the folder -------------------------------------------------------------------------------------------


def test_an_earlier_run_is_replaced_only_when_asked(tmp_path: Path, reference: Results) -> None:
    run(tmp_path, seed=9, duration=20.0)
    with pytest.raises(OutputError, match=r"earlier run.*--overwrite.*--resume"):
        run(tmp_path)
    assert load_results(tmp_path / "run").seed == 9
    again = run(tmp_path, overwrite=True)
    assert_same(reference, again)


def test_an_earlier_run_stays_until_its_successor_is_built(tmp_path: Path) -> None:
    data = plain_data()
    simulate(network_from(data), out=tmp_path / "run", report=False)
    before = contents(tmp_path / "run")
    data["node_sets"] = {"none": {"population": "a", "where": {"v_rest": ["0 mV", "1 mV"]}}}
    with pytest.raises(ConfigError, match="no cell of a is chosen"):
        simulate(network_from(data), out=tmp_path / "run", overwrite=True)
    assert contents(tmp_path / "run") == before


def test_a_run_that_the_network_reads_is_not_overwritten(tmp_path: Path) -> None:
    data = plain_data()
    simulate(network_from(data), out=tmp_path / "run", report=False)
    before = contents(tmp_path / "run")
    spikes = {"file": str(tmp_path / "run/spikes.h5"), "population": "a", "synapse": "push", "weight": "1 pA"}
    data["stimuli"] = [{"to": "a", "synapse_replay": spikes}]
    with pytest.raises(OutputError, match=r"spikes\.h5: the network reads it"):
        simulate(network_from(data), out=tmp_path / "run", overwrite=True)
    assert contents(tmp_path / "run") == before


def plain_data() -> dict[str, Any]:
    """Four integrate-and-fire cells that fire."""
    return {
        "name": "plain",
        "duration": "20 ms",
        "core": "integrate-and-fire",
        "populations": {"a": {"size": 4}},
        "synapses": {"push": {"model": "exp", "decay": "5 ms"}},
        "stimuli": [{"to": "a", "step": {"amplitude": "0.4 nA", "stop": "20 ms"}}],
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_circuit_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "nodes.h5").write_text("somebody's circuit")
    with pytest.raises(OutputError, match="holds no run"):
        run(tmp_path, overwrite=True)


def test_folders_that_hold_something_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("do not lose me")
    with pytest.raises(OutputError, match="holds no run"):
        run(tmp_path, overwrite=True)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        run(tmp_path, "file")


def test_a_folder_in_use_is_refused_and_a_killed_run_is_not_in_use(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with RunDirectory(folder):
        (folder / MARK).write_text("999999999")  # as of a process in another container
        assert is_running(folder)
        with pytest.raises(OutputError, match="another run is writing there"):
            run(tmp_path, overwrite=True)
        assert is_running(folder)
    folder.mkdir()
    (folder / MARK).write_text(str(os.getpid()))  # its process was killed, and the number is another's now
    assert not is_running(folder)
    run(tmp_path, duration=10.0)
    assert not (folder / MARK).exists()


def test_a_mark_that_goes_away_as_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, flock = tmp_path / "run", fcntl.flock
    first = RunDirectory(folder)
    (folder / "nodes.h5").touch()  # it keeps the folder

    def late(*arguments: Any) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        first.release()
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", late)
    mark = mark_running(folder)
    assert mark is not None and is_running(folder)
    unmark(folder, mark)


def test_where_files_cannot_be_locked_the_number_of_the_process_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with RunDirectory(tmp_path / "run") as directory:
        with pytest.raises(OutputError, match="another run is writing there"):
            RunDirectory(directory.path)
        (directory.path / MARK).write_text("999999999")
        assert not is_running(directory.path)
    run(tmp_path, duration=10.0)


def test_no_room_on_the_disk_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    with pytest.raises(OutputError, match=r"needs about .* MB, the disk has 1 MB left"):
        run(tmp_path)
    assert not (tmp_path / "run").exists()


def test_ctrl_c_leaves_files_that_can_be_read(tmp_path: Path, reference: Results) -> None:
    def interrupt(done: float, total: float) -> None:
        raise KeyboardInterrupt

    spec = network_spec(record={"voltage": {"cells": 3}}, duration="20 s")
    with pytest.raises(KeyboardInterrupt):
        simulate(spec, out=tmp_path / "run", progress=after(0.5, interrupt))
    partial = load_results(tmp_path / "run")
    done = partial.summary["simulated_ms"]
    assert not partial.summary["completed"] and 0 < done < 20_000
    frames = partial.voltage("exc")
    assert len(frames) == pytest.approx(done / 0.1 + 1, abs=1)
    both = min(done, 200.0) - 3.0
    times, again = partial.spike_arrays("inh")[0], reference.spike_arrays("inh")[0]
    assert np.array_equal(times[times < both], again[again < both])
    assert not (tmp_path / "run" / MARK).exists()


def after(seconds: float, action: Callable[[float, float], None]) -> Callable[[float, float], None]:
    import time

    begin = time.monotonic()
    return lambda *at: action(*at) if time.monotonic() - begin > seconds else None


def test_a_disk_that_fills_up_stops_the_run_with_a_readable_rest(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(done: float, total: float) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limits[1]))

    spec = network_spec(record={"voltage": {"cells": "all"}}, duration="2 s")
    try:
        with pytest.raises(OutputError, match=r"voltage\.h5: cannot be written"):
            simulate(spec, out=tmp_path / "run", progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    partial = load_results(tmp_path / "run")
    assert not partial.summary["completed"]
    assert len(partial.spike_arrays("inh")[0]) > 0


def test_default_folders_are_new_each_and_those_left_empty_go_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with given_or_new(None, "net") as first, given_or_new(None, "net") as second:  # started at once
        assert (first, second) == (Path("runs/net"), Path("runs/net-2"))
        with RunDirectory(first):
            pass
        simulate(network_from(plain_data()), out=second, report=False)
    assert list(Path("runs").iterdir()) == [second]
    with given_or_new("here", "net") as given:
        assert given == Path("here") and not given.exists()


def test_threads_below_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 threads"):
        run(tmp_path, threads=0)


def test_a_run_killed_while_it_began_leaves_a_folder_that_can_be_used(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "nodes.h5.part").write_bytes(b"half of it")
    run(tmp_path)
    assert not list(folder.glob("*.part"))
