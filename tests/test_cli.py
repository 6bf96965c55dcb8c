"""The command line: quick help, messages instead of tracebacks, exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from noble_net.cli import app
from noble_net.commands.running import closing_line
from noble_net.config import json_schema

GOOD = """\
name: tiny
duration: 10 ms
core: integrate-and-fire
populations:
  lif: {size: 4}
synapses:
  push: {model: exp, decay: 5 ms}
projections:
  - {name: all, from: lif, to: lif, rule: all_to_all, synapse: push, weight: 1 pA, delay: 1 ms}
"""

COMMANDS = (
    "run", "compare", "validate", "report", "respond", "study", "family", "make", "dataset", "train", "evaluate",
    "list", "schema",
)  # fmt: skip


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`noble-net` as a user starts it, warnings included."""
    return subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:noble_net", "-m", "noble_net", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1"},
        check=False,
    )


def test_help_is_quick_and_lists_every_command() -> None:
    walls = []
    for _ in range(3):
        started = time.perf_counter()
        done = command("--help")
        walls.append(time.perf_counter() - started)
    assert done.returncode == 0
    assert all(f"\n  {name}" in done.stdout for name in COMMANDS)
    assert "..." not in done.stdout.split("Commands:")[1]
    assert min(walls) < 0.7


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom noble_net.cli import app\n"
        "try: app(['--help'], prog_name='noble-net')\nexcept SystemExit: pass\n"
        "print(sorted({'numpy', 'torch', 'numba', 'pandas', 'neuron', 'pint'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.stdout


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "size: 4",
            "size: -4",
            "net.yaml:5: populations.lif.size = -4: should be greater than or equal to 1",
        ),
        ("size: 4", "sise: 4", "net.yaml:5: populations.lif.sise = 4: unknown key. did you mean `size`?"),
        ("10 ms", "10", "net.yaml:2: duration = 10: has no unit. write a time such as `2 ms`"),
        ("delay: 1 ms", "delay: 1 mV", "net.yaml:9: projections[0].delay = 1 mV: is a voltage"),
        (
            "populations:\n  lif: {size: 4}",
            "populations: {}",
            "net.yaml:4: populations: there is no population",
        ),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "net.yaml").write_text(GOOD.replace(old, new))
    done = command("run", "net.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["net.yaml"]


def test_overrides_are_checked(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(GOOD)
    for options in (["--duration", "3"], ["--duration", "-3 s"], ["--seed", "-1"]):
        result = CliRunner().invoke(app, ["run", str(tmp_path / "net.yaml"), *options])
        assert result.exit_code == 2
        assert options[0].strip("-") in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "Missing argument"),
        (["run", "absent.yaml"], "absent.yaml: there is no such file"),
        (["run", "no-such-network"], "there is no network 'no-such-network'"),
        (["run", "x.yaml", "--backend", "abacus"], "abacus"),
        (["run", "x.yaml", "--threads", "0"], "threads"),
        (["run", "x.yaml", "--sede", "1"], "--sede"),
        (["run", "x.yaml", "--precision", "float16"], "float16"),
        (["run", "x.yaml", "--backend", "brian2", "--device", "cuda"], "brian2 backend runs on CPUs"),
        (["run", "x.yaml", "--codegen", "numpy"], "is for the brian2 backend"),
        (["rum"], "No such command"),
        (["compare", "only-one"], "two runs or more"),
        (["family", "absent.yaml"], "there is no such file"),
        (["make", "absent.yaml"], "there is no such file"),
        (["dataset", "absent.yaml"], "there is no such file"),
        (["train", "absent.yaml"], "there is no such file"),
        (["evaluate", "absent.yaml"], "there is no such file"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_run_goes_on_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    started = CliRunner().invoke(app, ["run", "net.yaml", "--out", "here", "--seed", "5"])
    assert started.exit_code == 0
    Path("here/summary.json").unlink()  # as a killed run leaves it
    for arguments in (["here"], ["net.yaml", "--out", "here", "--seed", "5", "--checkpoint-every", "2 ms"]):
        again = CliRunner().invoke(app, ["run", *arguments, "--resume"])
        assert again.exit_code == 0, again.output
        nothing_left = arguments == ["here"]
        assert ("nothing to go on with in here: the run starts anew" in again.stderr) == nothing_left
        assert json.loads(Path("here/summary.json").read_text())["seed"] == 5
    assert "Add --resume to go on with it" in CliRunner().invoke(app, ["run", "here"]).stderr
    other = command("run", "net.yaml", "--out", "here", "--resume", cwd=tmp_path)
    assert other.returncode == 2 and "another network: seed differ" in other.stderr


def test_runs_started_at_once_take_a_folder_each(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(GOOD)
    arguments = [sys.executable, "-m", "noble_net", "run", "net.yaml", "--seed"]
    started = [subprocess.Popen([*arguments, str(seed)], cwd=tmp_path) for seed in (1, 2)]
    assert [each.wait(timeout=200) for each in started] == [0, 0]
    found = [json.loads(path.read_text())["seed"] for path in tmp_path.glob("runs/tiny*/summary.json")]
    assert sorted(found) == [1, 2]
    assert command("run", "net.yaml", "--dry-run", cwd=tmp_path).returncode == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume"], "give the folder of the run"),
        (["--resume", "--overwrite", "--out", "x"], "give one of the two"),
        (["--resume", "--backend", "neuron", "--out", "x"], "cannot go on"),
        (["--resume", "--backend", "brian2", "--out", "x"], "cannot go on"),
        (["--placement", "points"], "is for the neuron backend"),
        (["--processes", "2", "--backend", "brian2"], "is for the neuron backend"),
        (["--checkpoint-every", "3 ms", "--backend", "neuron"], "saves no state"),
        (["--threads", "1", "--backend", "brian2"], "runs on one"),
        (["--dry-run", "--backend", "neuron"], "there are no exact cells"),
        (["--dry-run", "--backend", "arbor"], "there are no exact cells"),
        (["--dry-run", "--backend", "brian2"], "there are no exact cells"),
        (["--checkpoint-every", "3"], "has no unit"),
        (["--checkpoint-every", "0.01 ms"], "shorter than a sample"),
    ],
)
def test_options_that_do_not_go_together_are_told(tmp_path: Path, options: list[str], message: str) -> None:
    (tmp_path / "net.yaml").write_text(GOOD)
    done = command("run", "net.yaml", *options, cwd=tmp_path)
    assert done.returncode == 2 and message in " ".join(done.stderr.replace("│", " ").split())


def test_options_of_recordings_are_not_dropped_beside_features(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("name,value\nI_thr,0.15\n")
    options = ["fit", "--features", str(tmp_path / "f.csv"), "--out", str(tmp_path / "fit")]
    done = CliRunner().invoke(app, [*options, "--junction-potential", "-14 mV"])
    assert done.exit_code == 2 and "--junction-potential" in done.output


def test_a_fit_claims_its_folder_first(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = command("fit", "nothing.csv", "--out", "file", cwd=tmp_path)
    assert done.returncode == 2 and "file: cannot be written" in done.stderr.replace("\n", " ")


def test_overrides_name_the_line_of_what_they_do_not_go_with(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(GOOD + "record: {voltage: {cells: all, start: 5 ms}}\n")
    done = command("run", "net.yaml", "--duration", "3 ms", cwd=tmp_path)
    told = " ".join(done.stderr.split())
    assert (
        done.returncode == 2
        and "net.yaml:10: record.voltage.start = 5 ms:" in told
        and "duration 3 ms" in told
    )


def test_wrong_recipe_names_line_and_key(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "name: mine\ncell: {fit: a, morphology: b}\ndraw:\n  members: 5\n  sigma: 0.2\n  bound: 2.0\n  seed: 1\n"
        "  kept: []\n"
    )
    result = CliRunner().invoke(app, ["family", str(recipe)])
    assert result.exit_code == 2
    assert "mine.yaml:8: draw.kept: unknown key" in result.stderr.replace("\n", "")
    recipe.write_text(
        "name: mine\ncell: {fit: a, morphology: b}\ndraw: {sigma: 0.2, bound: 2.0, seed: 1,\n  members: 0}\n"
    )
    result = CliRunner().invoke(app, ["family", str(recipe)])
    assert "mine.yaml:4: draw.members = 0: should be greater than 0" in result.stderr.replace("\n", "")


def test_ctrl_c_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("noble_net.registry.shipped", interrupted)
    result = CliRunner().invoke(app, ["list"])
    assert result.exit_code == 130
    assert result.stderr.strip() == "interrupted"


def test_schema_is_the_networks() -> None:
    result = CliRunner().invoke(app, ["schema"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json_schema()


def test_the_page_of_the_network_file_is_that_of_the_schema() -> None:
    """If not: noble-net schema --markdown > docs/network-file.md"""
    result = CliRunner().invoke(app, ["schema", "--markdown"])
    page = Path(__file__).parent.parent / "docs" / "network-file.md"
    assert result.stdout == page.read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([^`]+)` \|", result.stdout, re.MULTILINE)
    keys = [key for each in json_schema()["$defs"].values() for key in each.get("properties", {})]
    assert len(listed) > 150 and set(keys) | set(json_schema()["properties"]) <= set(listed)


def test_list_names_what_ships() -> None:
    result = CliRunner().invoke(app, ["list"])
    assert result.exit_code == 0
    assert "cores: integrate-and-fire" in result.stdout
    assert "families:" in result.stdout
    assert "networks:" in result.stdout


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("noble-net 0.")


def test_closing_line(tmp_path: Path) -> None:
    summary = {
        "name": "quickstart",
        "simulated_ms": 2000.0,
        "spikes": 41200,
        "populations": {"pv": {"rate_hz": 51.5}, "pyr": {"rate_hz": 0.0}},
        "timings_s": {"run": 8.04},
        "cells_in_real_time": 99.6,
    }
    line = closing_line(summary, tmp_path)
    assert line == (
        "quickstart: 41,200 spikes in 2 s (pv 51.5 Hz, pyr 0.0 Hz); ran in 8.0 s, 100 cells in real time; "
        f"results: {tmp_path}"
    )
    (tmp_path / "report.html").touch()
    assert closing_line(summary, tmp_path).endswith(f"report: {tmp_path / 'report.html'}")
