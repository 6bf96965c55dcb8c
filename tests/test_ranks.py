"""One network on several processes: the results of one, to the last bit, also where one of them is killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import CORES, network_data
from test_resuming import content, data

from noble_net.commands.ranks import run_on_ranks
from noble_net.config import dump_network, network_from
from noble_net.errors import BackendError, ConfigError, OutputError
from noble_net.network.build import build_network
from noble_net.ranks.environment import Started, started
from noble_net.ranks.exchange import Exchange
from noble_net.ranks.group import RankGroup
from noble_net.ranks.lines import Bytes
from noble_net.ranks.simulation import _parts
from noble_net.ranks.state import _by_source, _places
from noble_net.results import load_results
from noble_net.run_state import FILE as STATE
from noble_net.simulation import simulate
from noble_net.types import Response

ROOT = Path(__file__).parents[1]
LONG = {"duration": "0.6 s"}


def network_file(folder: Path, **changes: Any) -> Path:
    path = folder / "network.yaml"
    path.write_text(dump_network(network_from(data(**changes))))
    return path


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def start(ranks: int, *arguments: object) -> list[subprocess.Popen[str]]:
    """`noble-net run` on so many processes, by rank, as a launcher other than torchrun may start them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-m", "noble_net", "run", *map(str, arguments)]
    return [
        subprocess.Popen(
            command,
            env=environment(**common, RANK=str(rank)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]


def ended(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each."""
    found = []
    for process in processes:
        out, err = process.communicate(timeout=200)
        found.append((process.returncode, out, err))
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on one process."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return simulate(network_from(data()), out=out, report=False).path


def test_torchrun_gives_the_results_of_one_process(tmp_path: Path, whole: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = ["-m", "noble_net", "run", str(network_file(tmp_path)), "--out", str(tmp_path / "run")]
    done = subprocess.run([*launcher, *arguments], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("spikes in") == 1
    assert content(tmp_path / "run") == content(whole)
    one, two = load_results(whole).summary, load_results(tmp_path / "run").summary
    for key in ("populations", "spikes", "synapses", "completed", "edges_written"):
        assert one[key] == two[key]


def test_three_processes_give_the_results_of_one(tmp_path: Path, whole: Path) -> None:
    found = ended(start(3, network_file(tmp_path), "--out", tmp_path / "run"))
    assert [code for code, *_ in found] == [0, 0, 0], found
    assert content(tmp_path / "run") == content(whole)


def test_a_killed_process_ends_the_run_which_goes_on_with_any_number(tmp_path: Path) -> None:
    file, out = network_file(tmp_path, **LONG), tmp_path / "run"
    processes = start(3, file, "--out", out, "--checkpoint-every", "20 ms")
    deadline = time.monotonic() + 200
    while not (out / STATE).exists():
        assert time.monotonic() < deadline and all(each.poll() is None for each in processes)
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    (first, _, told), (second, *_), (third, _, silent) = ended(processes)
    assert time.monotonic() - killed < 60
    assert (first, second) == (2, -signal.SIGKILL) and third == 2
    assert f"rank 1 (process {processes[1].pid} on" in told and "--resume goes on" in told
    assert "Traceback" not in told and not silent
    assert (out / STATE).exists() and not load_results(out).summary["completed"]

    shutil.copytree(out, tmp_path / "copy")
    found = ended(start(2, out, "--resume"))
    assert [code for code, *_ in found] == [0, 0], found
    alone = simulate(network_from(data(**LONG)), out=tmp_path / "copy", resume=True, report=False)
    unbroken = simulate(network_from(data(**LONG)), out=tmp_path / "whole", report=False)
    assert content(out) == content(unbroken.path) == content(alone.path)


def test_a_state_of_one_process_goes_on_on_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from test_resuming import Stop, stop_at

    file, out = network_file(tmp_path), tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(Stop):
        stop_at(patch, 50)
        simulate(file, out=out, checkpoint_every=10.0, report=False)
    assert (out / STATE).exists()
    found = ended(start(2, file, "--out", out, "--resume"))
    assert [code for code, *_ in found] == [0, 0], found
    assert content(out) == content(simulate(file, out=tmp_path / "whole", report=False).path)


def test_an_error_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("not a run")
    found = ended(start(2, network_file(tmp_path), "--out", tmp_path / "run"))
    assert [code for code, *_ in found] == [2, 2]
    assert "holds no run" in found[0][2] and not found[1][2]


# --- without processes ----------------------------------------------------------------------------------------


def test_what_several_processes_cannot_do_is_refused() -> None:
    options: dict[str, Any] = {"backend": "surrogate", "device": "cpu", "dry_run": False, "out": None}
    for change, word in [
        ({"backend": "neuron"}, "neuron"),
        ({"device": "cuda"}, "CPUs"),
        ({"dry_run": True}, "dry"),
    ]:
        with pytest.raises(BackendError, match=word):
            run_on_ranks(Started(0, 2, 2), lambda: (network_from(data()), None), **(options | change))
        with pytest.raises(SystemExit):
            run_on_ranks(Started(1, 2, 2), lambda: (network_from(data()), None), **(options | change))
    coupled = {"name": "g", "from": "inh", "to": "inh", "rule": {"pairwise_bernoulli": {"p": 0.2}}}
    with pytest.raises(ConfigError, match="gap junctions cannot be divided"):
        _parts(network_from(network_data(gap_junctions=[{**coupled, "conductance": "0.2 nS"}])))


def test_the_environment_tells_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert started() is None
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert started() is None
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(BackendError, match="RANK is not set"):
        started()
    monkeypatch.setenv("RANK", "3")
    assert started() == Started(3, 4, 4)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert started() == Started(3, 4, 2)
    for wrong in ("4", "-1", "two"):
        monkeypatch.setenv("RANK", wrong)
        with pytest.raises(BackendError, match="RANK"):
            started()


def test_synapses_of_processes_are_put_in_order_and_found_again() -> None:
    generator = np.random.default_rng(1)
    rows = [generator.integers(0, 4, 7) for _ in range(3)]
    order = _by_source(rows)
    owner = np.repeat(range(3), [each.sum() for each in rows])[order]
    source = np.concatenate([np.repeat(range(7), each) for each in rows])[order]
    assert np.all(np.diff(source) >= 0) and np.all(np.diff(owner)[np.diff(source) == 0] >= 0)
    for rank in range(3):
        assert np.array_equal(_places(rows, rank), np.flatnonzero(owner == rank))


class Alone(RankGroup):
    """A group of one, that needs no other process."""

    def __init__(self) -> None:
        self.rank, self.ranks, self.calls = 0, 1, 0

    def all_bytes(self, mine: Bytes) -> list[Bytes]:
        self.calls += 1
        return [mine.copy()]


@pytest.mark.parametrize("spikes", [0, 3, 500])
def test_messages_of_any_length_arrive(spikes: int) -> None:
    network = build_network(network_from(network_data()), {}, CORES)
    generator = np.random.default_rng(spikes)
    responses = {}
    for each in network.populations:
        found = np.unique(generator.integers(0, each.size * 50, spikes))
        sample, cell = np.divmod(found.astype(np.int32), np.int32(each.size))
        outside = (generator.random(each.size) < 0.1).astype(np.uint32) * np.uint32(3)
        times = generator.random(len(found))
        responses[each.name] = Response(np.empty((0, 50), np.float32), cell, sample, times, outside)
    group = Alone()
    exchange = Exchange(group, network.populations)
    for _ in range(2):
        blocks = exchange(responses)
        for name, response in responses.items():
            assert np.array_equal(blocks[name].cell, response.event_cell)
            assert np.array_equal(blocks[name].sample, response.event_sample)
            assert np.array_equal(blocks[name].time, response.event_time)
            assert np.array_equal(blocks[name].outside, response.outside)
    assert group.calls <= 3  # more room is made once


def test_a_failure_is_told_with_the_rank() -> None:
    network = build_network(network_from(network_data()), {}, CORES)

    with pytest.raises(OutputError, match="gone"):
        Exchange(Alone(), network.populations)({}, OutputError("gone"))

    class Other(Alone):
        def all_bytes(self, mine: Bytes) -> list[Bytes]:
            told = b"the voltage is not finite"
            failed = np.zeros(max(mine.size, 64), np.uint8)
            failed[16:24] = np.frombuffer(np.int64(len(told)).tobytes(), np.uint8)
            failed[24 : 24 + len(told)] = np.frombuffer(told, np.uint8)
            return [mine.copy(), failed[: mine.size]]

    empty = Response(*(np.empty(0, kind) for kind in (np.float32, np.int32, np.int32, float, np.uint32)))
    with pytest.raises(BackendError, match="rank 1: the voltage is not finite"):
        Exchange(Other(), network.populations)({each.name: empty for each in network.populations})


def test_who_finds_out_late_does_not_take_the_one_that_told_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    class Apart(RankGroup):
        """A process whose group has broken."""

        def __init__(self, rank: int, doors: list[socket.socket]) -> None:
            self.rank, self.ranks, self.failing, self._lines = rank, len(doors), False, None
            self._distributed, self._listener = torch.distributed, doors[rank]
            self._addresses = [("127.0.0.1", port, 100 + r) for r, port in enumerate(ports)]

    import torch

    monkeypatch.setattr("noble_net.ranks.group._PAUSES", (0.0,))
    doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
    ports = [door.getsockname()[1] for door in doors]
    first, third, fourth = (Apart(rank, doors) for rank in (0, 2, 3))
    doors[1].close()
    found = first.lost("no answer")
    assert found.told and found.dead == (1,) and "rank 1 (process 101 on" in str(found)
    first.close()
    for late in (third, fourth):
        found = late.lost("no answer")
        assert not found.told and found.dead == (1,)
        late.close()
