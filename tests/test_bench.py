"""`noble-net bench`: costs that follow from what was timed, sizes that are what was asked for."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from helpers import network_data
from typer.testing import CliRunner

from noble_net.bench import cores, machine, networks
from noble_net.bench.page import figure, growth, network_table
from noble_net.cli import app
from noble_net.config import dump_network, network_from
from noble_net.network.build import expected_synapses
from noble_net.registry import load_core

GRID = "integrate-and-fire"


def test_a_core_is_timed_in_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_SECONDS", 0.01)
    wanted = cores.settings_of(
        ["pv-stream", GRID], precision=["float32", "bfloat16", "int16"], cells=[70], block=[1.3], threads=[1]
    )
    assert len(wanted) == 6
    found = cores.core_costs(wanted, 3)
    assert [cost.setting for cost in found] == wanted
    for cost in found:
        assert cost.microseconds > 0 and cost.spread >= 1
        assert cost.real_time == pytest.approx(1000 / cost.microseconds)
    trained = found[0]
    # 40 hidden units, five voltages, three slow variables, the last voltage, the detector and a code embedded in 16
    assert trained.state == 4 * (40 + 5 + 3 + 1 + 1 + 16)
    assert 0 < trained.floor < trained.microseconds
    assert math.isnan(found[3].floor)


def test_products_are_counted_from_the_shape() -> None:
    shape = load_core("pv-stream").shape
    h, n, embedded, decoder, slow = 40, 5, 16, 24, 3
    encoder, recurrent = h * (3 * n + slow + embedded), 6 * h * h
    decoding, direct = decoder * (2 * h + embedded) + (n + slow) * decoder, n * 3 * n
    assert shape.products == encoder + recurrent + decoding + direct


def test_the_machine_is_measured() -> None:
    assert machine.products("float32", 1) > 1e8
    assert machine.bandwidth(1) > 1e8


def settings(**changes: object) -> list[networks.Setting]:
    values = {
        "cells": [None], "indegree": [1.0], "precision": ["float32"], "threads": [1], "block": [None],
        "batch": [None], "duration": [20.0],
    }  # fmt: skip
    return networks.settings_of(**(values | changes))  # type: ignore[arg-type]


def test_a_network_grows_with_as_many_synapses_a_cell() -> None:
    spec = network_from(network_data())
    synapses = sum(expected_synapses(spec, index) for index in range(len(spec.projections)))
    done: list[tuple[int, int]] = []
    runs = networks.run_network(spec, settings(cells=[60, 120, 240]), 2, lambda *at: done.append(at))
    assert [run.cells for run in runs] == [60, 120, 240] and done[-1] == (3, 3)
    for run, share in zip(runs, (0.5, 1.0, 2.0), strict=True):
        assert run.synapses == pytest.approx(share * synapses, rel=0.05)
    assert set(growth(runs)) == {"cells"} and (svg := figure(runs)) is not None and "<svg" in svg
    assert "log–log slope over cells" in network_table(runs)


def test_in_degree_alone_can_be_varied() -> None:
    spec = network_from(network_data())
    runs = networks.run_network(spec, settings(indegree=[1.0, 3.0]), 1, lambda *_: None)
    assert runs[0].cells == runs[1].cells == 120
    assert runs[1].synapses == pytest.approx(3 * runs[0].synapses, rel=0.05)
    assert set(growth(runs)) == {"synapses"} and figure(runs) is None


def test_blocks_and_batches_change_no_rate() -> None:
    spec = network_from(network_data())
    runs = networks.run_network(spec, settings(block=[None, 0.2], batch=[None, 7]), 1, lambda *_: None)
    assert len({run.rate for run in runs}) == 1 and runs[0].rate > 0


def test_slope_of_a_line() -> None:
    assert networks.slope([10, 100, 1000], [2.0, 20.0, 200.0]) == pytest.approx(1.0)
    assert networks.slope([10, 100], [1.0, 100.0]) == pytest.approx(2.0)


def test_the_command_writes_what_it_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_SECONDS", 0.01)
    file = tmp_path / "net.yaml"
    file.write_text(dump_network(network_from(network_data())))
    done = CliRunner().invoke(
        app,
        ["bench", GRID, str(file), "--cells", "120,2.4e2", "--threads", "1", "--duration", "10 ms",
         "--repeats", "1", "--out", str(tmp_path / "bench")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "bench/bench.json").read_text())
    assert [row["cells"] for row in found["cores"]] == [120, 240]
    assert [row["cells"] for row in found["networks"]["balanced"]["runs"]] == [120, 240]
    assert found["machine"]["cores"] >= 1 and found["networks"]["balanced"]["slopes"]["cells"]
    assert (tmp_path / "bench/balanced.svg").is_file()
    assert "| 120 |" in done.stdout and "| 120 |" in (tmp_path / "bench/bench.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cells", "0"], "--cells"),
        (["--cells", "many"], "--cells"),
        (["--precision", "float16"], "none of float32, bfloat16, int16"),
        (["--block", "3"], "--block"),
        (["--block", "0.15 ms"], "not a multiple of a sample"),
        (["--threads", "4096"], "4096 threads on"),
        (["--indegree", "-1"], "--indegree"),
        (["--duration", "0.01 ms"], "shorter than a sample"),
    ],
)
def test_wrong_options_are_refused(options: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["bench", GRID, *options])
    assert done.exit_code == 2 and message in done.output
