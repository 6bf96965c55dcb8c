"""Comparisons: what is measured, the yardstick, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from scipy.stats import wasserstein_distance
from synthetic import rhythmic_spikes, write_run

from noble_net.errors import OutputError
from noble_net.report.compare import Comparison, compare_runs
from noble_net.results import load_results

CELLS, DURATION = 40, 1000.0


def run(out: Path, backend: str, seed: int, rate: float = 30.0, **options: float) -> Path:
    spikes = rhythmic_spikes(CELLS, DURATION, rate=rate, seed=seed + 100 * len(backend))
    return write_run(
        out / f"{backend}-{seed}",
        {"pv": spikes},
        {"pv": CELLS},
        duration=DURATION,
        seed=seed,
        backend=backend,
        voltage_cells=0,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    out = tmp_path_factory.mktemp("runs")
    reference = [run(out, "neuron", seed) for seed in (1, 2, 3)]
    good = [run(out, "surrogate", seed) for seed in (1, 2, 3)]
    return reference + good + [run(out, "brian2", seed, rate=45.0) for seed in (1, 2)]


@pytest.fixture(scope="module")
def comparison(runs: list[Path]) -> Comparison:
    return compare_runs(runs)


def test_pairs_are_earth_movers_distances(comparison: Comparison, runs: list[Path]) -> None:
    assert len(comparison.pairs) == 8 * 7 // 2
    pair = next(p for p in comparison.pairs if (p.first, p.second) == ("neuron-1", "surrogate-2"))
    a, b = load_results(runs[0]).rates("pv"), load_results(runs[4]).rates("pv")
    assert pair.rate == pytest.approx(wasserstein_distance(a, b))
    assert pair.rate_correlation == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert pair.rate_correlation > 0.7
    assert 0 < pair.cv < 0.2 and 0 < pair.correlation < 0.05


def test_the_yardstick_takes_pairs_of_different_seeds(comparison: Comparison, runs: list[Path]) -> None:
    rates = [load_results(path).rates("pv") for path in runs]
    found = {(y.backend, y.measure): y for y in comparison.yardsticks}
    assert set(found) == {(b, m) for b in ("surrogate", "brian2") for m in ("rate", "cv", "correlation")}
    good = found["surrogate", "rate"]
    between = [wasserstein_distance(rates[3 + i], rates[j]) for i in range(3) for j in range(3) if i != j]
    within = [wasserstein_distance(rates[i], rates[j]) for i in range(3) for j in range(i)]
    assert good.between == pytest.approx(median(between))
    assert good.within == pytest.approx(median(within))
    assert good.ratio == pytest.approx(good.between / good.within)
    assert (good.pairs, found["brian2", "rate"].pairs) == (6, 4)
    assert good.ratio < 1.6 < 3 < found["brian2", "rate"].ratio
    assert comparison.mean_rate_correlation["surrogate"]["pv"] > 0.9


def test_seeds_of_noise_count_where_given(tmp_path: Path) -> None:
    paths = []
    for backend, noise in (("neuron", 1), ("neuron", 2), ("surrogate", 1)):
        spikes = {"pv": rhythmic_spikes(CELLS, DURATION, seed=noise + 10 * len(backend))}
        out, summary = tmp_path / f"{backend}{noise}", {"noise_seed": noise}
        paths.append(
            write_run(out, spikes, {"pv": CELLS}, duration=DURATION, seed=5, backend=backend, summary=summary)
        )
    found = compare_runs(paths)
    assert [run.seed for run in found.runs] == [1, 2, 1]
    assert {y.pairs for y in found.yardsticks} == {1}
    assert found.yardsticks[0].between == pytest.approx(found.pairs[2].rate)


def test_a_run_equals_itself(runs: list[Path]) -> None:
    same = compare_runs([runs[0], runs[0]])
    (pair,) = same.pairs
    assert (pair.rate, pair.cv, pair.correlation) == (0.0, 0.0, 0.0)
    assert pair.rate_correlation == pytest.approx(1.0)
    assert same.yardsticks == ()
    assert len({one.label for one in same.runs}) == 2


def test_the_table_holds_every_number(comparison: Comparison) -> None:
    table = comparison.table()
    for label in ("neuron-1", "surrogate-3", "neuron-1 – surrogate-2", "seed to seed", "rate Hz"):
        assert label in table
    assert "nan" not in table
    assert f"{comparison.yardsticks[0].ratio:.2f}" in table
    assert max(len(line) for line in table.splitlines()) < 100


def test_json_and_page(runs: list[Path], tmp_path: Path) -> None:
    found = compare_runs(runs, tmp_path / "deep" / "out")
    content = json.loads((tmp_path / "deep" / "out" / "compare.json").read_text())
    assert content == json.loads(found.to_json())
    assert content["runs"][0]["populations"]["pv"]["rate"] == pytest.approx(
        found.runs[0].statistics["pv"].rates.mean()
    )
    page = (tmp_path / "deep" / "out" / "compare.html").read_text()
    assert page.count("<svg") == 3
    assert "http" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    ).replace("https://matplotlib.org", "")
    assert 'class="bad"' in page


def test_silent_runs_compare(tmp_path: Path) -> None:
    paths = [
        write_run(
            tmp_path / f"{backend}{seed}", {}, {"pv": 3, "x": 1}, duration=100.0, seed=seed, backend=backend
        )
        for backend in ("neuron", "surrogate")
        for seed in (1, 2)
    ]
    found = compare_runs(paths, tmp_path / "out")
    assert found.pairs[0].rate == 0.0
    assert np.isnan(found.pairs[0].cv) and np.isnan(found.pairs[0].rate_correlation)
    assert "NaN" not in found.to_json() and "nan" not in found.table()
    assert all(np.isnan(y.ratio) for y in found.yardsticks)


def test_differences_that_limit_a_comparison_are_noted(tmp_path: Path, runs: list[Path]) -> None:
    spikes = rhythmic_spikes(CELLS, 500.0)
    other = write_run(
        tmp_path / "b",
        {"pv": spikes},
        {"pv": CELLS},
        duration=500.0,
        features=False,
        summary={"completed": False},
    )
    notes = "\n".join(compare_runs([runs[0], other]).notes)
    assert "differ in length (0.5 s, 1 s)" in notes
    assert "cells of pv differ" in notes
    assert "was interrupted" in notes
    assert "Note: " in compare_runs([runs[0], other]).table()


def test_what_cannot_be_compared_is_refused(tmp_path: Path, runs: list[Path]) -> None:
    with pytest.raises(OutputError, match="two runs or more"):
        compare_runs(runs[:1])
    size = write_run(tmp_path / "size", {}, {"pv": CELLS + 1}, duration=100.0)
    with pytest.raises(OutputError, match=r"'pv' has 40 cells in .*neuron-1 and 41 in .*size"):
        compare_runs([runs[0], size])
    other = write_run(tmp_path / "other", {}, {"pv": CELLS, "sst": 2}, duration=100.0)
    with pytest.raises(OutputError, match=r"'sst' is only in .*other"):
        compare_runs([runs[0], other])
    with pytest.raises(OutputError, match="holds no run"):
        compare_runs([runs[0], tmp_path])
