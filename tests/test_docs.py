"""README, examples and what they promise; `test_pages.py` looks at what all pages have in common."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from noble_net.cli import app
from noble_net.config import RuleSpec, load_network
from noble_net.simulation import describe
from noble_net.training.inputs import UNTRAINED
from noble_net.types import DT

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_single_cell_example(capsys):
    runpy.run_path(str(ROOT / "examples/01_single_cell.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all("I_thr" in line for line in lines)


def test_network_example(capsys, tmp_path, monkeypatch):
    out = tmp_path / "run"
    monkeypatch.setattr(sys, "argv", ["02_network.py", str(out)])
    runpy.run_path(str(ROOT / "examples/02_network.py"), run_name="__main__")
    assert "spikes; report:" in capsys.readouterr().out and (out / "report.html").is_file()


def test_the_connections_in_docs_are_valid_and_all_there(tmp_path):
    page = (ROOT / "docs/connections.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "sheet.yaml"
    file.write_text(block, encoding="utf-8")
    described = describe(load_network(file))
    assert "far-exc: far → exc, fixed_total_number, 2,000 synapses" in described
    for rule in RuleSpec.model_fields:
        assert re.search(rf"^\| .*\b{rule}\b", page, re.MULTILINE), f"docs/connections.md lacks {rule}"


def test_every_command_is_in_readme():
    result = CliRunner().invoke(app, ["--help"])
    commands = re.findall(r"^  ([a-z]+) ", result.output, re.MULTILINE)
    assert len(commands) >= 8
    for command in commands:
        assert re.search(rf"\b{command}\b", README), f"README does not mention `noble-net {command}`"


def test_the_tree_in_readme_names_what_exists():
    tree = README.split("## The tree")[1]
    for name in re.findall(r"\b([a-z_]+\.py)\b", tree):
        assert (ROOT / "noble_net" / name).is_file(), name
    for module in (ROOT / "noble_net").glob("[a-z]*.py"):
        assert module.name in tree, f"README's tree lacks {module.name}"
    for package in (p.name for p in (ROOT / "noble_net").iterdir() if (p / "__init__.py").is_file()):
        assert f"{package}/" in tree


def test_readme_shows_the_scoreboard_and_limits_what_is_missed(benchmarks):
    scoreboard = pytest.importorskip("scoreboard")
    assert scoreboard.table(scoreboard.load()) in README
    assert f"\n{scoreboard.missed(scoreboard.load())}\n" in (ROOT / "docs/limits.md").read_text(
        encoding="utf-8"
    )


def test_validation_shows_what_was_found_last(benchmarks):
    """And its figures are of the same numbers."""
    page, image = pytest.importorskip("network_page"), pytest.importorskip("PIL.Image")
    assert f"\n{page.section()}\n" in page.PAGE.read_text(encoding="utf-8")
    assert page.validations()
    for found in page.validations():
        with image.open(page.figure_path(found)) as figure:
            assert figure.text[page.SOURCE] == page.check_sum(found), "run benchmarks/network_page.py"
        assert page.figure_path(found).stat().st_size < 150_000


def test_noble_s_page_shows_what_was_measured_last(benchmarks):
    page = pytest.importorskip("noble_page")
    assert f"\n{page.section()}\n" in page.PAGE.read_text(encoding="utf-8"), "run benchmarks/noble_page.py"


def test_rivals_shows_what_was_judged_last(benchmarks):
    rivals = pytest.importorskip("rivals")
    told = json.loads((rivals.RESULTS / "rivals.json").read_text(encoding="utf-8"))
    assert f"\n{rivals.page(told)}\n" in rivals.PAGE.read_text(encoding="utf-8")


def test_the_windowed_core_s_card_shows_both_cores_as_measured_last():
    checkpoints = ROOT / "surrogate/checkpoints"
    tables, about = (
        [json.loads((checkpoints / core / name).read_text()) for core in ("pv-window", "pv-stream")]
        for name in ("accuracy.json", "core.json")
    )

    def row(head: str, digits: int, factor: float, measure: str, *regimes: str) -> str:
        """Of either core: seen / unseen members."""
        found = [
            [
                min(factor * core["table"][r][members][measure] for r in regimes)
                for members in ("seen", "unseen")
            ]
            for core in tables
        ]
        return " | ".join(
            [f"| {head}", *(f"{seen:.{digits}f} / {unseen:.{digits}f}" for seen, unseen in found)]
        )

    card = (checkpoints / "pv-window/CARD.md").read_text(encoding="utf-8")
    for line in (
        row("Γ(±2 ms), fluctuating input", 3, 1, "gamma", "fluctuating, all"),
        row("Γ, worst of the kinds never trained", 3, 1, "gamma", *UNTRAINED),
        row("clipped RMSE, mV", 2, 1, "clipped_rmse", "fluctuating, all"),
        row("rate error of steps, %", 1, 100, "rate_error", "steps"),
        row("rest without input, mV", 2, 1, "max_voltage_error", "zero"),
        " | ".join(["| parameters", *(f"{each['parameters']:,}" for each in about)]),
        " | ".join(["| shortest delay, ms", *(f"{DT * each['step_samples']:.1f}" for each in about)]),
    ):
        assert f"{line} |\n" in card


def test_fitting_shows_what_was_fitted_last(benchmarks):
    fits = pytest.importorskip("fit")
    told = json.loads(fits.RESULT.read_text(encoding="utf-8"))
    assert f"\n{fits.page(told)}\n" in fits.PAGE.read_text(encoding="utf-8")


def test_scaling_shows_the_model_fitted_last(benchmarks):
    model = pytest.importorskip("performance_model")
    told = json.loads((model.RESULTS / "performance_model.json").read_text(encoding="utf-8"))
    assert f"\n{model.page(told)}\n" in (ROOT / "docs/scaling.md").read_text(encoding="utf-8")
