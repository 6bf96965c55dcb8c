"""Work on several processes: what is left of it when the first one is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from noble_net.processes import in_processes

SLEEPS = (
    "import time; from noble_net.processes import in_processes; list(in_processes(time.sleep, [60] * 4, 2))"
)


def test_results_come_as_they_are_done_and_errors_end_the_work() -> None:
    assert sorted(in_processes(abs, [-1, 2, -3], 2)) == [1, 2, 3]
    with pytest.raises(TypeError):
        list(in_processes(abs, ["a", "b"], 1))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are looked up in /proc")
def test_workers_end_with_a_killed_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", SLEEPS])
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    until(lambda: len(workers(children)) == 2)
    found = workers(children)
    time.sleep(1.0)  # until they wait for work
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until(lambda: not any(Path(f"/proc/{pid}").is_dir() for pid in found))


def workers(children: Path) -> list[str]:
    """Process numbers of a parent's spawned workers."""
    pids = children.read_text().split()
    return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def until(holds) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
