"""The scoreboard, and the rows and the page that benchmarks/network.py makes of a validation."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from noble_net import find_network, load_network
from noble_net.specs.validation import settings_from
from noble_net.validation.verdicts import Verdict

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def scoreboard(benchmarks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, with a scoreboard of its own."""
    module = pytest.importorskip("scoreboard")
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr(module, "TARGETS", tmp_path / "targets.json")
    return module


@pytest.fixture
def network(benchmarks: Path) -> Any:
    """The benchmark, not run."""
    return pytest.importorskip("network")


def names(scoreboard: Any) -> set[str]:
    return {row["name"] for row in scoreboard.load()}


def test_rows_replace_those_of_their_name_and_whole_benchmarks_the_rest_of_theirs(scoreboard: Any) -> None:
    def row(name: str, value: float, command: str) -> Any:
        return scoreboard.Target(6, name, "≤ 1", value, "", "", command)

    scoreboard.record([row("a", 2.0, "one"), row("b", 0.5, "one"), row("c", 0.5, "two")])
    scoreboard.record([row("a", 0.25, "one")])
    assert names(scoreboard) == {"a", "b", "c"}
    assert [each["holds"] for each in scoreboard.load()] == [True] * 3
    scoreboard.record((row(name, 0.5, "one") for name in "ad"), whole=True)
    assert names(scoreboard) == {"a", "c", "d"}
    with pytest.raises(ValueError, match="a: nan is no measurement"):
        scoreboard.record([row("e", 0.5, "two"), row("a", math.nan, "one")], whole=True)
    assert names(scoreboard) == {"a", "c", "d"}


def test_a_row_says_what_ships_otherwise_than_when_it_was_measured(
    scoreboard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = scoreboard.Target(6, "cortex-small against NEURON: mean rate", "≤ 3", 5.0, "%", "", "python one.py")
    scoreboard.record([row, row._replace(name="family"), row._replace(name="pv-stream: a cell-ms")])
    network, family, core = scoreboard.load()
    assert set(network["measured_on"]) == {"cortex-small", "nr5a1-zones", "pv-zones"}
    assert family["measured_on"] == {} and set(core["measured_on"]) == {"pv-stream"}
    assert not any(scoreboard.before(each) for each in scoreboard.load())
    network["measured_on"]["pv-zones"] = core["measured_on"]["gone"] = "0"
    assert "5 % | **no** (pv-zones as before) |" in scoreboard.table([network])
    assert scoreboard.missed([core]) == "- pv-stream: a cell-ms: 5 % (target ≤ 3) (gone as before)"


def found(*verdicts: Verdict, populations: tuple[str, ...] = ("pv",), fine: bool = True) -> Any:
    """What `judged` asks of a validation."""
    plan = SimpleNamespace(settings=settings_from({"seeds": [1, 2]}), of=lambda *_: [None] * fine)
    sides, reference = SimpleNamespace(populations=populations), SimpleNamespace(name="neuron")
    return SimpleNamespace(verdicts=verdicts, sides=sides, plan=plan, reference=reference)


def failed(measure: str, value: float, yardstick: str, limit: float = 2.0, **terms: float) -> Verdict:
    return Verdict("network", "pv", measure, value, limit, "Hz", False, yardstick, terms)


def test_rows_name_the_population_where_there_are_several(network: Any) -> None:
    verdict = failed("mean rate", 5.0, "tolerance")
    (alone,) = network.judged("net", found(verdict), "command")
    assert alone.name == "net against NEURON, network: mean rate" and alone.command == "command"
    other = Verdict(**{**vars(verdict), "population": "exc"})
    both = network.judged("net", found(verdict, other, populations=("exc", "pv")), "command")
    assert [row.name for row in both] == [
        f"net against NEURON, network, {population}: mean rate" for population in ("pv", "exc")
    ]


@pytest.mark.parametrize(
    ("verdict", "target", "value"),
    [
        (failed("spectral peak", 40.0, "a clear rhythm on the surrogate alone"), "≤ 2", 40.0),
        (failed("spectral peak", 5.0, "a clear rhythm on the surrogate alone", limit=9.0), "≤ 0", 5.0),
        (failed("slope", 1.0, "wrong sign"), "≤ 0", 1.0),
        (failed("EMD of cv", math.inf, "undefined on one side alone"), "= 0", 1.0),
    ],
)
def test_what_fails_is_a_missed_row(
    verdict: Verdict, target: str, value: float, network: Any, scoreboard: Any
) -> None:
    rows = network.judged("net", found(verdict), "command")
    scoreboard.record(rows)
    (row,) = scoreboard.load()
    assert (row["target"], row["value"], row["holds"]) == (target, value, False)


def test_conditions_say_what_a_limit_is_without(network: Any) -> None:
    verdict = failed("mean rate", 5.0, "tolerance", **{"reference Hz": 30.0, "bias of the step %": math.nan})
    assert network.conditions(verdict, found(verdict)) == "pv; limit: tolerance; reference Hz 30"
    told = network.conditions(verdict, found(verdict, fine=False))
    assert "noise seeds 1, 2, 5 s after 1 s; no finer step was run" in told


def test_rows_of_pv_small_keep_their_names(network: Any) -> None:
    content = json.loads((BENCHMARKS / "results/pv-small.json").read_text(encoding="utf-8"))
    verdicts = [
        Verdict(
            **{key: math.nan if value is None and key != "holds" else value for key, value in each.items()}
        )
        for each in content["verdicts"]
    ]
    verdicts = [Verdict(**{**vars(each), "terms": {}}) for each in verdicts]
    made = {row.name: row.holds for row in network.judged("pv-small", found(*verdicts), "command")}
    board = json.loads((BENCHMARKS / "results/targets.json").read_text(encoding="utf-8"))
    prefix = "pv-small against NEURON, "
    assert made == {row["name"]: row["holds"] for row in board if row["name"].startswith(prefix)}


@pytest.mark.parametrize(("name", "seeds"), [("pv-gamma", 5), ("pv-gamma-identical", 5), ("cortex-small", 5)])
def test_base_runs_that_are_kept_are_those_of_the_network(name: str, seeds: int, network: Any) -> None:
    reference, settings = network.base_settings(load_network(find_network(name)), network.REFERENCES / name)
    assert reference == ("coreneuron" if name == "cortex-small" else "neuron")
    assert len(settings.seeds) == seeds and settings.fine_seeds == 0
    assert settings.replay is None and settings.changes is None


def test_base_runs_of_another_network_are_refused(network: Any) -> None:
    other = load_network(find_network("pv-small"))
    with pytest.raises(SystemExit, match="no such run, was the network changed"):
        network.base_settings(other, network.REFERENCES / "pv-gamma")


@pytest.fixture
def page(benchmarks: Path) -> Any:
    """What makes the results of docs/validation.md."""
    return pytest.importorskip("network_page")


def test_a_table_tells_what_could_not_be_judged(page: Any) -> None:
    verdict = {"part": "network", "population": "pv", "measure": "spectral peak", "value": None, "limit": 2.0}
    verdict |= {"unit": "Hz", "holds": None, "yardstick": "no clear rhythm on either side", "relation": "≤"}
    verdict["terms"] = {"surrogate Hz": None, "reference Hz": 40.0}
    line = page.table({"reference": "neuron", "verdicts": [verdict]}).splitlines()[-1]
    assert (
        line == "| pv | spectral peak | – | 40 Hz | – | ≤ 2 Hz | not judged: no clear rhythm on either side |"
    )
