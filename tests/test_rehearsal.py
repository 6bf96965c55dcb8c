"""What a dry run expects of memory and wall time, held against what a run needs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import CORES, network_data
from typer.testing import CliRunner

import noble_net.rehearsal as rehearsal
from noble_net import simulate
from noble_net.cli import app
from noble_net.config import dump_network, network_from
from noble_net.loop import Loop
from noble_net.network.build import assemble, build_network, expected_synapses
from noble_net.network.scaled import scaled
from noble_net.rehearsal import expect, held_bytes
from noble_net.types import Response

LATTICE = {"lattice": {"spacing": "10 um", "shape": [30, 20, 1]}}
OVERHEAD, PER_CELL = 3e-3, 2e-5


class Clockwork(Loop):
    """A loop whose every millisecond takes so long for itself and for each cell, by a clock of its own."""

    now = 0.0

    def advance(self, samples: int | None = None) -> dict[str, Response]:
        Clockwork.now += 0.1 * (samples or self.block_samples) * (OVERHEAD + PER_CELL * self.network.n_cells)
        return super().advance(samples)


@pytest.mark.parametrize("most", [10**6, 600])
def test_wall_time_is_that_of_the_whole_run_whether_rehearsed_whole_or_in_part(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(rehearsal, "Loop", Clockwork)
    monkeypatch.setattr(rehearsal, "MOST_SYNAPSES", most)
    monkeypatch.setattr(time, "perf_counter", lambda: Clockwork.now)
    spec = network_from(network_data(duration="3 s", warmup="500 ms"))
    found = expect(spec, seconds=0.4)
    assert found.seconds["run"] == pytest.approx(3500 * (OVERHEAD + PER_CELL * 120), rel=1e-6)
    assert (found.share == 1) == (most == 10**6) and 0 < found.simulated < 200


def test_a_reduced_network_keeps_in_degrees_delays_and_rates(tmp_path: Path) -> None:
    data = network_data(
        populations={"exc": {"size": 600, "position": LATTICE}, "inh": {"size": 200}},
        gap_junctions=[
            {"name": "g", "from": "inh", "to": "inh", "rule": "all_to_all", "conductance": "1 pS"}
        ],
        duration="400 ms",
    )
    spec = network_from(data)
    small = assemble(scaled(spec, 0.25), {}, CORES)
    whole = build_network(spec, {}, CORES)
    assert [each.size for each in small.populations] == [150, 50]
    assert small.n_synapses == pytest.approx(whole.n_synapses / 4, rel=0.03)
    assert small.n_gap_junctions == pytest.approx(whole.n_gap_junctions / 4, rel=0.1)
    assert small.block_samples == whole.block_samples
    spread = np.ptp(whole.populations[0].position, axis=0)
    np.testing.assert_allclose(np.ptp(small.populations[0].position, axis=0), spread, atol=25)
    run = simulate(spec, out=tmp_path / "run", report=False).summary
    rate = run["spikes"] / 800 / 0.4
    found = expect(spec, seconds=60.0)
    assert found.rate == pytest.approx(rate, rel=1e-6) and found.share == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rehearsal, "MOST_CELLS", 200)
        assert expect(spec, seconds=60.0).rate == pytest.approx(rate, rel=0.3)


def test_what_a_file_gives_is_kept_in_a_reduced_network(tmp_path: Path) -> None:
    rows = "\n".join(f"{i % 90},{i % 30},{1 + i % 3},{0.5 + i % 4}" for i in range(900))
    (tmp_path / "edges.csv").write_text("source,target,weight,delay\n" + rows)
    data = network_data()
    given = {**data["projections"][0], "rule": {"table": {"file": str(tmp_path / "edges.csv")}}}
    del given["weight"], given["delay"]
    spec = network_from({**data, "projections": [given]})
    assert expected_synapses(spec, 0) == 900
    (small,) = assemble(scaled(spec, 0.5), {}, CORES).projections
    assert small.size == 450
    assert small.weight.min() >= 1 and small.weight.max() <= 3 and np.ptp(small.weight) > 1
    assert small.delay.min() >= 5 and small.delay.max() <= 35


def test_held_arrays_are_counted_once() -> None:
    big = np.zeros(1000)
    assert held_bytes({"a": big, "b": [big[10:], (big, np.zeros(5, np.float32))]}) == 8020


MEASURE = """
    import json, sys
    import noble_net.rehearsal as rehearsal
    from noble_net import simulate
    from noble_net.config import load_network
    spec = load_network("net.yaml")
    if sys.argv[1] == "dry":
        rehearsal.MOST_SYNAPSES = 800_000
        print(json.dumps(rehearsal.expect(spec, threads=1, seconds=0.2).memory))
    else:
        summary = simulate(spec, out="run", threads=1, report=False).summary
        print(json.dumps(summary["peak_memory_mb"]))
"""


def test_memory_is_what_a_run_takes(tmp_path: Path) -> None:
    delay = {"uniform": {"low": "0.8 ms", "high": "15 ms"}}
    data: dict[str, Any] = network_data(
        duration="20 ms",
        populations={"exc": {"size": 15_000}, "inh": {"size": 5_000}},
        record={"edges": False},
    )
    first, second = data["projections"]
    many = {**first, "rule": {"fixed_indegree": {"indegree": 1000}}, "weight": "1 pS", "delay": delay}
    data["projections"] = [many, {**second, "rule": {"fixed_indegree": {"indegree": 400}}}]
    (tmp_path / "net.yaml").write_text(dump_network(network_from(data)))
    code = "\n".join(line[4:] for line in MEASURE.splitlines())
    dry, real = (
        json.loads(
            subprocess.run(
                [sys.executable, "-c", code, how], cwd=tmp_path, capture_output=True, text=True, check=True
            ).stdout
        )
        for how in ("dry", "real")
    )
    assert real > 300  # of which the synapses take more than 100 MB
    assert dry == pytest.approx(real, rel=0.15)


def test_a_dry_run_tells_memory_and_wall_time_and_leaves_nothing(tmp_path: Path) -> None:
    spec = network_from(network_data(record={"edges": False}))
    (tmp_path / "net.yaml").write_text(dump_network(spec))
    result = CliRunner().invoke(app, ["run", str(tmp_path / "net.yaml"), "--dry-run"])
    assert result.exit_code == 0
    assert "memory: about" in result.stdout and "wall time: about" in result.stdout
    assert "Hz a cell" in result.stdout and "synapses are not written" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["net.yaml"]
