"""Cards of families: numbers in the tables are the table's, history is kept, families of every kind have one."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from noble_net.cells.family import Family, read_family
from noble_net.cells.features import FEATURES
from noble_net.errors import OutputError
from noble_net.registry import load_family, shipped
from noble_net.report import family_figures as figures
from noble_net.report import family_page
from noble_net.report.family_page import write_family_card
from noble_net.report.family_statistics import MAIN_FEATURES, NEARLY_EQUAL, UNITS, distances, known_features

Rows = dict[str, dict[str, str]]
HISTORY = [
    {"seed": s, "target": t, "stage": k, "generation": g, "best": 2.0 / (g + s), "median": 3.0, "solved": 0}
    for s in (1, 2)
    for t in (0, 1)
    for k, last in ((1, 2), (2, 3))
    for g in range(last)
]


def family(
    members: int = 6, held_out: int = 2, change: Callable[[pd.DataFrame], None] | None = None, **about: Any
) -> Family:
    """A family of two parameters, one of which may be negative, that is not on disk."""
    g = np.random.default_rng(7)
    table = pd.DataFrame(
        {"gbar_NaV.soma": g.lognormal(-3, 0.3, members), "e_pas.all": g.normal(-85, 2, members)},
        index=pd.Index([f"small-{i:03d}" for i in range(members)], name="member"),
    )
    for i, name in enumerate(FEATURES):
        table[name] = 10.0 ** (i % 4) * g.normal(3 if i % 2 else -3, 0.4, members)
    table["I_thr"] = g.choice([0.1, 0.105, 0.1125], members)
    table.insert(0, "role", ["train"] * (members - held_out) + ["held_out"] * held_out)
    if change is not None:
        change(table)
    parameters = {
        "gbar_NaV.soma": {"centre": 0.05, "sd": 0.3, "logarithmic": True},
        "e_pas.all": {"centre": -85.0, "sd": 2.0, "logarithmic": False},
    }
    basis = {
        "cell": {"morphology": "x.swc", "celsius": 34.0, "v_init": -85.0},
        "parameters": parameters,
        "bound": None,
        "rejected": {"nan": 1, "silent": 2, "block": 3},
    }
    return Family("small", table, {**basis, **about}, "hash")


def tables(page: str) -> dict[str, Rows]:
    """The Markdown tables of a page by the first cell of their head: first cell of a row → head → cell."""
    found: dict[str, Rows] = {}
    for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        head, _, *rows = [
            [c.strip() for c in line.strip().strip("|").split("|")] for line in block.splitlines()
        ]
        assert all(len(row) == len(head) for row in rows), block
        found[head[0]] = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    return found


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def agrees(text: str, value: float) -> bool:
    """Whether a printed number is ``value``, rounded."""
    shown = text.replace("−", "-")
    mantissa, _, exponent = shown.partition("e")
    decimals = len(mantissa.partition(".")[2])
    unit = 10.0 ** (int(exponent or 0) - decimals)
    if "." not in mantissa:  # 41200 may stand for 41,187
        unit *= 10.0 ** (len(mantissa) - len(mantissa.rstrip("0")))
    return abs(float(shown) - value) <= 0.5001 * unit


def is_spread(text: str, values: pd.Series) -> bool:
    known = values[np.isfinite(values)]
    if not len(known):
        return text == "—"
    if len(known) == 1:
        return float(f"{known.iloc[0]:.4g}") == pytest.approx(number(text))
    mean, sd = text.split(" ± ")
    return agrees(mean, known.mean()) and agrees(sd, known.std(ddof=0))


def card(family: Family, folder: Path, *args: Any) -> str:
    return write_family_card(family, folder, *args).read_text(encoding="utf-8")


@pytest.fixture
def unsaved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made, yet not drawn, which is what takes long."""
    monkeypatch.setattr(family_page, "_save", lambda figure, path: path.touch())


@pytest.fixture(scope="module", params=shipped()["families"])
def written(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Family, str, Path]:
    """A shipped family, its card written anew, and the folder of both."""
    source, folder = load_family(request.param).folder, tmp_path_factory.mktemp(request.param)
    for ending in (".csv", ".json", ".fi.csv", ".history.json"):
        if (source / f"{request.param}{ending}").exists():
            shutil.copy(source / f"{request.param}{ending}", folder)
    copy = read_family(folder / f"{request.param}.csv")
    return copy, card(copy, folder), folder


# Shipped families


def test_a_card_shows_the_figures_it_has(written: tuple[Family, str, Path]) -> None:
    family, page, folder = written
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page)
    assert sorted(shown) == sorted(path.name for path in folder.glob("*.png"))
    wanted = {"features", "parameters", "degeneracy"}
    wanted |= {"fi"} if (folder / f"{family.name}.fi.csv").exists() else set()
    wanted |= {"evolution"} if (folder / f"{family.name}.history.json").exists() else set()
    assert set(shown) == {f"{family.name}-{name}.png" for name in wanted}
    for name in shown:
        with Image.open(folder / name) as image:
            assert image.width > 1000 and (image.mode == "P" or (folder / name).stat().st_size <= 190_000)
            colours = image.convert("RGB").getcolors(image.width * image.height)
            assert colours is not None and len(colours) > 50


def test_a_card_counts_members(written: tuple[Family, str, Path]) -> None:
    family, page, _ = written
    roles = family.table["role"].value_counts()
    counts = f"{len(family.table)} members, {roles['train']} to train on and {roles['held_out']} held out"
    assert counts in page and f"{len(family.parameter_names)} parameters differ between members" in page
    hall = family.table[family.table["hall_of_fame"] == 1] if "hall_of_fame" in family.table else []
    told = re.search(r"hall of fame of (\d+), (\d+) of them held out", page)
    assert (told is None) == (len(hall) == 0)
    if told:
        assert [int(n) for n in told.groups()] == [len(hall), (hall["role"] == "held_out").sum()]
    rejected = family.about["rejected"]
    assert f"{rejected['nan']} went to NaN in the solver, {rejected['silent']} never fired" in page
    assert family.about["source"] in page


def test_features_in_the_card_are_those_of_the_table(written: tuple[Family, str, Path]) -> None:
    family, page, _ = written
    rows = (
        tables(page)["feature"]
        if "targets" not in family.about
        else tables(page.split("## Targets")[0])["feature"]
    )
    assert list(rows) == [*MAIN_FEATURES, *(n for n in family.feature_names if n not in MAIN_FEATURES)]
    for name, row in rows.items():
        values = family.table[name]
        assert row["unit"] == UNITS.get(name, "")
        assert is_spread(row["all"], values), (name, row)
        assert is_spread(row["held out"], values[family.table["role"] == "held_out"]), (name, row)
        if "hall_of_fame" in family.table:
            assert is_spread(row["hall of fame"], values[family.table["hall_of_fame"] == 1]), (name, row)


def test_parameters_in_the_card_are_those_of_the_table(written: tuple[Family, str, Path]) -> None:
    family, page, _ = written
    rows = tables(page)["parameter"]
    assert tuple(rows) == family.parameter_names
    for name, row in rows.items():
        coding = family.about["parameters"][name]
        assert agrees(row["centre"], coding["centre"])
        low, high, *factors = re.findall(r"[−-]?\d[\d.]*(?:e[+-]\d+)?", row["5 to 95 % of the members"])
        within = np.percentile(family.table[name], (5, 95))
        assert agrees(low, within[0]) and agrees(high, within[1]), (name, row)
        assert bool(factors) == coding["logarithmic"]
        assert all(agrees(f, w / coding["centre"]) for f, w in zip(factors, within, strict=False))


def test_targets_in_the_card_are_those_of_the_recipe(written: tuple[Family, str, Path]) -> None:
    family, page, _ = written
    targets = family.about.get("targets")
    assert ("## Targets" in page) == (targets is not None)
    if targets is None:
        return
    rows = tables(page.split("## Targets")[1])["feature"]
    assert {name: {s for s, text in row.items() if "±" in text} for name, row in rows.items()} == {
        name: {step for step, wanted in targets.items() if name in wanted} for name in rows
    }
    for step, wanted in targets.items():
        for name, (mean, sd) in wanted.items():
            shown = rows[name][step].split(" ± ")
            assert agrees(shown[0], mean) and agrees(shown[1], sd)


def test_degeneracy_in_the_card_is_that_of_the_members(written: tuple[Family, str, Path]) -> None:
    family, page, _ = written
    told = re.search(r"Of ([\d,]+) pairs of members, ([\d,]+) have nearly equal features", page)
    assert told is not None
    pairs, similar = (int(n.replace(",", "")) for n in told.groups())
    apart = distances(family)
    assert pairs == len(family.table) * (len(family.table) - 1) // 2 == len(apart.features)
    features = family.table[known_features(family)].to_numpy()
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    near = sum(
        int((np.sqrt(((features[i + 1 :] - row) ** 2).mean(axis=1)) < NEARLY_EQUAL).sum())
        for i, row in enumerate(features)
    )
    assert similar == near


def test_an_evolution_in_the_card_is_that_of_the_history(written: tuple[Family, str, Path]) -> None:
    family, page, folder = written
    kept = folder / f"{family.name}.history.json"
    assert ("## Error by generation" in page) == kept.exists()
    if not kept.exists():
        return
    history = pd.DataFrame(json.loads(kept.read_text()))
    second = history[history["stage"] == 2]
    told = re.search(
        r": (\d+) seeds, (\d+) drawn targets, (\d+) passive and\s+(\d+) full generations",
        page.replace("\n", " "),
    )
    assert told is not None
    assert [int(n) for n in told.groups()] == [
        history["seed"].nunique(),
        len(history.groupby(["seed", "target"])),
        (history["stage"] == 1).sum(),
        len(second),
    ]
    best = second.groupby(["seed", "target"])["best"].min()
    ends = re.search(r"target is met to ([\d.]+) \(median over targets; the worst ([\d.]+)\)", page)
    assert ends is not None and agrees(ends[1], best.median()) and agrees(ends[2], best.max())


# Kinds of families


def evolved(table: pd.DataFrame) -> None:
    table["hall_of_fame"], table["z_score"] = [1, 1, 1, 0, 0, 1], np.linspace(0.2, 1.8, 6)
    table["seed"], table["target"] = [1, 1, 2, 2, 1, 2], [0, 1, 0, 1, 0, 1]


@pytest.mark.usefixtures("unsaved")
def test_history_is_kept_and_read_again(tmp_path: Path) -> None:
    made = family(change=evolved, targets={"-0.05 nA": {"voltage_base": [-85.0, 2.0]}})
    page = card(made, tmp_path, HISTORY)
    assert json.loads((tmp_path / "small.history.json").read_text()) == HISTORY
    assert "2 seeds, 4 drawn targets, 8 passive and\n12 full generations" in page
    assert "met to 0.583 (median over targets; the worst 0.667)" in page  # 2/3 of seed 1, 2/4 of seed 2
    (tmp_path / "small-evolution.png").unlink()
    assert card(made, tmp_path, None) == page == card(made, tmp_path, [])
    assert (tmp_path / "small-evolution.png").is_file()
    shorter = card(made, tmp_path, [row for row in HISTORY if row["seed"] == 1])
    assert "1 seeds, 2 drawn targets, 4 passive and\n6 full generations" in shorter
    assert card(made, tmp_path) == shorter


def test_a_family_without_history_has_no_error_by_generation(tmp_path: Path) -> None:
    page = card(family(), tmp_path)
    assert "Error by generation" not in page and not list(tmp_path.glob("*evolution*"))
    assert not list(tmp_path.glob("*.history.json")) and "F–I curves" not in page


@pytest.mark.parametrize(("file", "content"), [("small.history.json", "[{"), ("small.fi.csv", "")])
def test_a_damaged_file_beside_the_table_is_named(tmp_path: Path, file: str, content: str) -> None:
    (tmp_path / file).write_text(content)
    with pytest.raises(OutputError, match=re.escape(file)):
        write_family_card(family(), tmp_path)


@pytest.mark.usefixtures("unsaved")
@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({"bound": 2.0}, "Drawn around the cell's own values"),
        ({"table": "sets.csv"}, "Read from a table of ready parameter sets (sets.csv)"),
        (
            {"targets": {"0.2 nA": {"AP1_width": [0.5, 0.1]}}},
            "The targets (means and standard deviations) are those",
        ),
        (
            {"targets": {}, "targets_of": {"fit": "123", "morphology": "m.swc"}},
            "are the responses of Allen fit 123 on m.swc",
        ),
        ({"source": "Mine, CC BY 4.0."}, "Mine, CC BY 4.0."),
        ({}, "## Licence and attribution\n\nnot stated"),
        (
            {"cell": {"fit": "123", "morphology": "M", "mechanisms": {"dend": ["Ih"]}}},
            "| added in dend | Ih |",
        ),
        ({"cell": {"morphology": "x.swc", "nmodl": "mod", "axon": "drawn"}}, "| axon | as reconstructed |"),
    ],
)
def test_a_card_says_what_a_family_is_made_of(tmp_path: Path, about: Mapping[str, Any], told: str) -> None:
    page = card(family(**about), tmp_path, None, "  Some *notes*.\n")
    assert told in page and "## Notes\n\nSome *notes*.\n" in page
    assert ("junction potential" in page) == ("fit" in about.get("cell", {}))
    assert "1 went to NaN in the solver, 2 never fired up to\n0.5 nA, 3 went into" in page


@pytest.mark.usefixtures("unsaved")
def test_a_family_without_hall_of_fame_has_no_column_for_it(tmp_path: Path) -> None:
    assert "hall of fame" not in card(family(), tmp_path).lower()

    def none_of_them(table: pd.DataFrame) -> None:
        evolved(table)
        table["hall_of_fame"] = 0

    made = family(change=none_of_them)
    assert "hall of fame" not in card(made, tmp_path).lower()
    rows = tables(card(family(change=evolved), tmp_path))["feature"]
    assert set(rows["AP1_width"]) == {"feature", "unit", "all", "hall of fame", "held out"}


@pytest.mark.usefixtures("unsaved")
def test_relatives_are_told_from_pairs_of_different_seeds(tmp_path: Path) -> None:
    def alike(table: pd.DataFrame) -> None:
        evolved(table)
        for name in FEATURES:  # two groups of three alike, each of both seeds
            table[name] = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]) + 1e-3 * np.arange(6)

    page = card(family(change=alike), tmp_path)
    assert "Of 15 pairs of members, 6 have nearly equal features" in page
    assert "4 of the pairs are from different seeds" in page  # seeds 1 1 2 | 2 1 2


def test_two_members_have_a_card(tmp_path: Path) -> None:
    page = card(family(2, 0), tmp_path)
    assert "2 members, 2 to train on and 0 held out." in page and "Degeneracy" not in page
    assert {path.name for path in tmp_path.glob("*.png")} == {"small-features.png", "small-parameters.png"}
    rows = tables(page)["feature"]
    assert all(row["held out"] == "—" and "±" in row["all"] for row in rows.values())


def test_one_parameter_is_enough(tmp_path: Path) -> None:
    made = family()
    only = {"gbar_NaV.soma": made.about["parameters"]["gbar_NaV.soma"]}
    page = card(
        Family("small", made.table.drop(columns="e_pas.all"), {**made.about, "parameters": only}, ""),
        tmp_path,
    )
    assert "1 parameters differ" in page and list(tables(page)["parameter"]) == ["gbar_NaV.soma"]


def test_features_that_some_or_all_members_lack(tmp_path: Path) -> None:
    def silent(table: pd.DataFrame) -> None:
        table.loc[table.index[:2], "AHP_depth"] = np.nan  # some lack it
        table["sag_amplitude"] = np.nan  # all
        table.loc[table.index[1:], "AP1_width"] = np.nan  # all but one
        table["depol_block"] = 1.0  # all the same
        table.loc[table["role"] == "held_out", "inv_first_ISI"] = np.nan

    made = family(change=silent)
    rows = tables(card(made, tmp_path))["feature"]
    assert rows["sag_amplitude"]["all"] == rows["sag_amplitude"]["held out"] == "—"
    assert rows["AP1_width"]["held out"] == "—" and "±" not in rows["AP1_width"]["all"]
    assert rows["inv_first_ISI"]["held out"] == "—"
    assert rows["depol_block"]["all"] == "1.00 ± 0.00"
    for name, row in rows.items():
        assert is_spread(row["all"], made.table[name]), (name, row)
    missing = {"AHP_depth", "sag_amplitude", "AP1_width", "inv_first_ISI"}
    assert known_features(made) == [name for name in MAIN_FEATURES if name not in missing]
    said = {
        axes.get_xlabel().split(" (")[0]: [text.get_text() for text in axes.texts]
        for axes in figures.feature_spread(made).axes
    }
    assert said["sag_amplitude"] == ["no member has it"] and said["AP1_width"][0].endswith("throughout")
    assert said["AHP_depth"] == [] and set(said) == set(MAIN_FEATURES)


@pytest.mark.usefixtures("unsaved")
def test_a_family_alike_in_every_main_feature_has_no_degeneracy(tmp_path: Path) -> None:
    def same(table: pd.DataFrame) -> None:
        for name in MAIN_FEATURES:
            table[name] = 0.1

    page = card(family(change=same), tmp_path)
    assert "Degeneracy" not in page and not (tmp_path / "small-degeneracy.png").exists()
    assert tables(page)["feature"]["I_thr"]["all"] == "0.100 ± 0.000"


def test_members_that_differ_in_spike_shape_alone_have_a_card(tmp_path: Path) -> None:
    def same(table: pd.DataFrame) -> None:
        for name in ("I_thr", "s_thr", "input_resistance"):
            table[name] = 0.1

    made = family(change=same)
    assert "Degeneracy" in card(made, tmp_path)
    only = {"gbar_NaV.soma": made.about["parameters"]["gbar_NaV.soma"]}
    one = Family("small", made.table.drop(columns="e_pas.all"), {**made.about, "parameters": only}, "")
    assert "Degeneracy" in card(one, tmp_path)


@pytest.mark.usefixtures("unsaved")
def test_the_target_beside_a_feature_is_that_of_the_nearest_step(tmp_path: Path) -> None:
    targets = {
        "-0.1 nA": {"voltage_base": [-80.0, 1.0], "sag_amplitude": [3.0, 1.0]},
        "-40 pA": {"voltage_base": [-81.0, 1.0]},
        "0.15 nA": {"AP1_width": [0.5, 0.1], "AHP_depth": [10.0, 1.0]},
        "0.2 nA": {"AP1_width": [0.6, 0.1]},
        "0.4 nA": {"AP1_width": [0.7, 0.1]},
    }

    def at(threshold: float) -> Callable[[pd.DataFrame], None]:
        return lambda table: table.insert(1, "I_thr", threshold + 0.001 * np.arange(6.0))

    def shown(threshold: float) -> Rows:
        made = family(change=lambda table: (table.pop("I_thr"), at(threshold)(table))[1], targets=targets)
        return tables(card(made, tmp_path).split("## Targets")[0])["feature"]

    near, far = shown(0.1), shown(0.4)
    column = "target, nearest step"
    assert near["voltage_base"][column] == far["voltage_base"][column] == "−81.0 ± 1.0 (-40 pA)"
    assert near["sag_amplitude"][column].endswith("(-0.1 nA)")
    assert near["AP1_width"][column] == "0.60 ± 0.10 (0.2 nA)"  # spiking features: of I_thr + 0.08 nA
    assert far["AP1_width"][column] == "0.70 ± 0.10 (0.4 nA)"
    assert far["AHP_depth"][column].endswith("(0.15 nA)") and near["I_thr"][column] == "—"


def test_curves_are_drawn_for_the_members_they_belong_to(tmp_path: Path) -> None:
    made = family()
    curves = pd.DataFrame(
        [
            {"member": member, "current": current, "rate": max(current - 0.1, 0.0) * 300}
            for member in [*made.table.index, "another-000"]
            for current in (0.3, 0.1, 0.2)
        ]
    )
    curves.to_csv(tmp_path / "small.fi.csv", index=False)
    assert "(small-fi.png)" in card(made, tmp_path)
    left, right = figures.fi_curves(made, curves).axes
    assert len(left.lines) == len(right.lines) == len(made.table)
    assert all(list(line.get_xdata()) == [0.1, 0.2, 0.3] for line in left.lines)
    assert all(line.get_xdata()[0] >= -1e-5 for line in right.lines)


# Numbers


values = st.floats(-1e4, 1e4, allow_nan=False).map(lambda x: float(f"{x:.6g}"))


@given(st.lists(values, min_size=2, max_size=60).filter(lambda v: max(v) > min(v)))
def test_every_member_is_in_one_bin(column: list[float]) -> None:
    data = np.array(column)
    edges = figures._bins(data)
    assert (np.diff(edges) > 0).all() and len(edges) <= 26
    assert np.histogram(data, edges)[0].sum() == len(data)


@given(
    arrays(
        np.float64, st.tuples(st.integers(2, 12), st.integers(2, 4)), elements=st.floats(-50, 50, width=32)
    ),
    st.integers(0, 2**32 - 1),
)
def test_distances_are_those_of_every_pair(columns: np.ndarray, seed: int) -> None:
    size, wide = columns.shape
    made = family(size, 0)
    table = made.table.copy()
    names = list(MAIN_FEATURES[:wide])
    for i, name in enumerate(MAIN_FEATURES):
        table[name] = columns[:, i] if i < wide else 1.0
    table["gbar_NaV.soma"] = np.random.default_rng(seed).lognormal(0, 0.5, size)
    spreads = columns.std(axis=0)
    assume(((spreads > 1e-3) | (np.ptp(columns, axis=0) == 0)).all())
    made = Family("small", table, made.about, "")
    differing = [name for name, column in zip(names, columns.T, strict=True) if np.ptp(column) > 0]
    assert known_features(made) == differing
    apart = distances(made)
    pairs = list(combinations(range(size), 2))
    assert list(zip(apart.first, apart.second, strict=True)) == pairs
    codes = made.codes(made.ids()).astype(np.float64)
    for found, rows in ((apart.features, table[differing].to_numpy()), (apart.parameters, codes)):
        scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
        wanted = [np.sqrt(((scaled[i] - scaled[j]) ** 2).mean()) if rows.shape[1] else 0.0 for i, j in pairs]
        np.testing.assert_allclose(found, wanted, atol=2e-6)
    near = apart.features < NEARLY_EQUAL
    assert np.array_equal(apart.similar, near)
    assert np.array_equal(apart.degenerate, near & (apart.parameters > np.median(apart.parameters)))


def test_similar_members_with_other_parameters_are_degenerate() -> None:
    def change(table: pd.DataFrame) -> None:
        for name in MAIN_FEATURES:
            table[name] = [0.0, 0.001, 1.0, 2.0, 3.0, 3.001]
        table["gbar_NaV.soma"], table["e_pas.all"] = (
            [1.0, 9.0, 2.0, 2.5, 3.0, 3.1],
            [-80, -90, -84, -85, -86, -86.1],
        )

    apart = distances(family(change=change))
    pairs = {
        (int(i), int(j)) for i, j in zip(apart.first[apart.similar], apart.second[apart.similar], strict=True)
    }
    assert pairs == {(0, 1), (4, 5)}
    far = zip(apart.first[apart.degenerate], apart.second[apart.degenerate], strict=True)
    assert [(int(i), int(j)) for i, j in far] == [(0, 1)]
