"""The report of any run is one page that needs nothing from outside."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import rhythmic_spikes, write_run

from noble_net.errors import OutputError
from noble_net.output import write_json
from noble_net.report.html import write_report

NOTHING = (np.empty(0), np.empty(0, np.int64))
ONE_CELL = (np.array([5.0, 100.0, 130.0]), np.zeros(3, np.int64))
RHYTHM = rhythmic_spikes(60, 1000.0, frequency=42.0)


class Page(HTMLParser):
    """Headings, texts and whatever would be fetched; fails on tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "br", "link", "img"}:
            self.open.append(tag)
        for key, value in attributes:
            if key in {"src", "href", "xlink:href"} and not (value or "").startswith(("data:", "#")):
                self.fetched.append(f"{tag} {key}={value}")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def report(folder: Path, *arguments: Any, **options: Any) -> tuple[str, Page]:
    text = write_report(write_run(folder, *arguments, **options)).read_text()
    return text, Page(text)


def test_a_full_report(tmp_path: Path) -> None:
    write_json(tmp_path / "provenance.json", {"noble_net": "0.1.0", "note": "<b>&"})
    text, page = report(tmp_path, {"pv": RHYTHM}, {"pv": 60}, duration=1000.0, seed=77)
    assert page.headings == [
        *("Populations", "Spikes", "Voltage", "Firing rates", "Regularity", "Rhythm", "Heterogeneity"),
        "Where the time went",
    ]
    assert page.fetched == []
    assert re.findall(r"url\((?!#|&quot;#|\"#)[^)]*\)", text) == []
    assert "@import" not in text
    plain = re.sub(r"<[^>]+>", " ", text)
    for shown in (
        "synthetic",
        "surrogate",
        "pv-stream",
        "77",
        "98.8",
        "8.1 s",
        "0.012%",
        "pv at 42 Hz",
        "0.1.0",
    ):
        assert shown in plain, shown
    assert "<b>&" not in text.split("Provenance")[1]
    assert len(text) < 3_000_000
    assert not list(tmp_path.glob("*.part"))


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    one, _ = report(tmp_path / "one", {"pv": RHYTHM}, {"pv": 60}, duration=1000.0)
    two, _ = report(tmp_path / "two", {"pv": RHYTHM}, {"pv": 60}, duration=1000.0)
    assert one == two


@pytest.mark.parametrize(
    ("spikes", "sizes", "options"),
    [
        ({}, {"pv": 5}, {}),
        ({}, {"pv": 1}, {"voltage_cells": 0, "features": False}),
        ({"pv": ONE_CELL}, {"pv": 1}, {"duration": 200.0, "features": False}),
        ({"pv": ONE_CELL}, {"pv": 3, "a": 1, "b": 2, "c": 1, "d": 1, "e": 1, "f": 1}, {"duration": 150.0}),
        ({"pv": RHYTHM}, {"pv": 60, "pyr": 4}, {"voltage_cells": 0}),
        ({"pv": (np.array([0.05]), np.array([0]))}, {"pv": 1}, {"duration": 0.1}),
        ({"pv": (np.full(30, 3.0), np.arange(30))}, {"pv": 30}, {"duration": 10.0}),
        (
            {"pv": RHYTHM},
            {"pv": 60},
            {"summary": {"timings_s": {}, "cells_in_real_time": None, "synapses": None}},
        ),
    ],
)
def test_unusual_runs(tmp_path: Path, spikes: Any, sizes: Mapping[str, int], options: dict[str, Any]) -> None:
    text, page = report(tmp_path, spikes, sizes, **{"duration": 1000.0, **options})
    assert "Populations" in page.headings
    assert ("Voltage" in page.headings) == (options.get("voltage_cells") != 0)
    assert ("Heterogeneity" in page.headings) == options.get("features", True)
    assert ("never fired" in text) == any(name not in spikes for name in sizes)


def test_warnings(tmp_path: Path) -> None:
    populations = {"pv": {"size": 60, "core": "pv-stream", "outside_share": 0.031}}
    summary = {
        "completed": False,
        "simulated_ms": 1000.0,
        "duration_ms": 4000.0,
        "populations": populations,
        "warnings": ["<mind> the gap"],
    }
    text, _ = report(tmp_path, {"pv": RHYTHM}, {"pv": 60}, duration=1000.0, summary=summary)
    assert "Interrupted after 1 s of 4 s" in text
    assert "pv spent 3.1% of its cell-time outside the envelope" in text
    assert "&lt;mind&gt; the gap" in text


def test_a_run_without_spikes_or_summary(tmp_path: Path) -> None:
    write_run(tmp_path, {"pv": RHYTHM}, {"pv": 60}, duration=1000.0)
    (tmp_path / "spikes.h5").unlink()
    page = Page(write_report(tmp_path).read_text())
    assert page.headings == ["Populations", "Voltage", "Where the time went"]
    (tmp_path / "summary.json").unlink()
    assert "Spikes were not recorded" in write_report(tmp_path).read_text()


def test_a_long_run_shows_its_end(tmp_path: Path) -> None:
    spikes = rhythmic_spikes(20, 5000.0)
    text, _ = report(tmp_path, {"pv": spikes}, {"pv": 20}, duration=5000.0, voltage_cells=1)
    assert "the last 2 s of 5 s" in text


def test_no_run_and_broken_provenance_are_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds no run"):
        write_report(tmp_path)
    write_run(tmp_path, {}, {"pv": 2}, duration=100.0)
    (tmp_path / "provenance.json").write_text("{")
    with pytest.raises(OutputError, match=r"provenance\.json"):
        write_report(tmp_path)


def test_a_report_is_quick_and_light(tmp_path: Path) -> None:
    run = write_run(tmp_path, {"pv": rhythmic_spikes(400, 2000.0)}, {"pv": 400}, voltage_cells=20)
    code = f"""
import sys, time
started = time.process_time()
sum(i * i for i in range(5_000_000))
yardstick = time.process_time() - started
started = time.process_time()
from noble_net.report.html import write_report
write_report({str(run)!r})
print((time.process_time() - started) / yardstick)
assert not {{"elephant", "matplotlib.pyplot", "torch"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 30.0  # 10 to 16 were measured; in loops of Python, since machines differ
    assert (run / "report.html").stat().st_size < 3_000_000
