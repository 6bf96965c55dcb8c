"""What the benchmarks of NOBLE measure with: shares of traces within a family, and what variants train on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("neuralop")

from noble_net.registry import load_family
from noble_net.training.noble_data import Traces
from noble_net.training.noble_evaluate import PAPER, paper_rows
from noble_net.training.noble_plan import plan_traces, select_members

pytestmark = pytest.mark.usefixtures("benchmarks")


def test_a_silent_trace_is_not_within_a_family_that_fires() -> None:
    import noble_interpolation as benchmark

    silent = np.nan
    # [members, steps, features]: a rest that rises with the step, and a spike's width from the second step on.
    truth = np.array(
        [[[-70.0, silent], [-60.0, 0.5], [-50.0, 0.6]], [[-71.0, silent], [-61.0, silent], [-51.0, 0.7]]]
    )
    cells = np.array(
        [
            [[-70.5, silent], [-60.5, silent], [-50.5, 0.65]],  # as a member could be
            [[-70.5, silent], [-60.5, 0.5], [-50.5, silent]],  # silent where all fire
            [[-70.5, 0.5], [-60.5, 0.6], [-50.5, 0.9]],  # fires where none does, late, too wide
        ]
    )
    same, near, everywhere = (benchmark.within(truth, cells, reach) for reach in benchmark.REACHES.values())
    assert same.tolist() == [[True, True, True], [True, True, False], [False, False, False]]
    assert near.tolist() == [[True, True, True], [True, True, False], [True, True, False]]
    assert np.array_equal(near, everywhere)
    rest = np.array([[[-50.5, silent], [-60.5, 0.5], [-70.5, 0.65]]])  # of other steps
    assert [benchmark.shares(truth, rest)[key] for key in benchmark.REACHES] == pytest.approx(
        [1 / 3, 1 / 3, 1]
    )


def test_the_scoreboard_holds_the_least_ensemble_beside_neuron() -> None:
    import noble_interpolation as benchmark

    def row(same: float, near: float) -> dict[str, float]:
        return {"same step": same, "neighbours": near, "all steps": 1.0}

    table = {
        benchmark.HELD_OUT: row(0.8, 0.97),
        benchmark.LEFT_OUT: row(0.88, 0.98),
        "NOBLE, 50 cells in the hull": row(0.77, 0.96),
        "NOBLE, 200 cells in the hull": row(0.9, 0.94),
        "50 cells between two members' conductances, NEURON": row(0.5, 0.6),
    }
    near, ratio = benchmark.targets("core", table)
    assert (near.value, near.holds) == (94.0, False) and ratio.value == pytest.approx(0.77 / 0.88)
    for told in ("NEURON: 97.0 %", "left out, NEURON: 98.0 %", "conductances, NEURON: 60.0 %"):
        assert told in near.conditions


@pytest.mark.parametrize("name", ["noble-small", "noble-paper"])
def test_hyperpolarising_traces_are_left_to_measure_the_sag(name: str) -> None:
    import noble_sag
    from noble_shared import read_recipe

    recipe = read_recipe(name)
    member = plan_traces(recipe.dataset, load_family(recipe.family))["hyperpolarising"].member
    traces = Traces(member, np.arange(float(len(member))), np.zeros((len(member), 1), np.int16))
    trained, unseen = noble_sag.parted(traces, list(range(50)))
    assert trained == 0.8 * recipe.dataset.hyperpolarising
    assert unseen.amplitude.tolist() == list(range(trained, len(member)))
    few, of_few = noble_sag.parted(traces, [3, 5])
    assert (
        few > 0 and set(of_few.member) == {3, 5} and few + len(of_few.member) == np.isin(member, [3, 5]).sum()
    )


def test_variants_differ_in_what_the_table_says_alone() -> None:
    import noble_variants
    from noble_shared import read_recipe

    base = read_recipe("noble-small")
    family = load_family(base.family)
    ids = np.array(select_members(base.dataset, family, None))
    member = ids[plan_traces(base.dataset, family)["train"].member]
    for name, table in noble_variants.plan(base, family).items():
        sizes = set()
        for recipe in table.values():
            wanted = select_members(recipe.dataset, family, recipe.training.members)
            assert np.isin(member, wanted).sum() >= (recipe.training.traces or 0)
            sizes.add((recipe.training.traces, recipe.training.epochs, recipe.training.batch))
        ((traces, epochs, batch),) = sizes
        assert traces is not None
        assert epochs * traces / batch == pytest.approx(noble_variants.ITERATIONS, rel=0.25)
        measured = noble_variants.results()[name].values()
        ((trained, iterations),) = {(row["traces"], row["iterations"]) for row in measured}
        per_epoch = -(-trained // batch)
        assert iterations == epochs * per_epoch, "the results are of another plan"
        assert abs(iterations - noble_variants.ITERATIONS) <= per_epoch / 2 and trained < traces


def test_the_vip_like_family_stands_beside_the_paper_s_vip_cell() -> None:
    import noble

    assert paper_rows("vip-like")["ID"] == PAPER["VIP"] and not any(paper_rows("vip-like")["OOD"].values())
    assert paper_rows("allen-pv") == {row: PAPER[row] for row in ("ID", "OOD")}
    features = {name: {"error": 0.05} for name in PAPER["VIP"] if name != "V"}
    row = {"voltage_rel_l2": 0.03, "traces": 800, "features": features}
    fi = {"deviating": 2, "largest": 0.3, "members": {"a": 0.3, "b": 0.2}}
    found: dict[str, Any] = {
        "table": {"ID": row, "OOD": row},
        "fi": {"ID": fi, "OOD": fi},
        "members": {"ID": 50, "OOD": 10},
    }
    rows = {
        target.name.rpartition(": ")[2]: target for target in noble.targets("noble-vip", "vip-like", found)
    }
    assert set(rows) == {"voltage", *features}
    assert rows["voltage"].target == "≤ 2.5" and not rows["voltage"].holds and rows["Spikecount"].holds
    assert "the paper, on its own cell: 0.99 %" in rows["steady_state_voltage"].conditions
    assert len(noble.targets("noble-small", "allen-pv", found)) == 9
    assert noble.targets("own", "own-family", found) == []
