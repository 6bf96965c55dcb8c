"""The example of docs/own-cell.md: what the page shows exists, and its files go from a morphology to a network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from noble_net.cache import cache_folder
from noble_net.cells.family import Family, read_family
from noble_net.cells.features import NOBLE_FEATURES
from noble_net.cells.model import SECTIONS, CellModel
from noble_net.cells.parameter_sets import read_parameter_sets
from noble_net.config import load_network
from noble_net.results import load_results
from noble_net.specs import cores
from noble_net.specs.cores import CoreRecipe
from noble_net.specs.families import CellSpec, DrawSpec, EvolveSpec, FamilyRecipe, TableSpec, TargetSpec
from noble_net.specs.noble import NobleDatasetSpec, NobleRecipe
from noble_net.specs.specification import Spec, validate_document
from noble_net.specs.yaml_source import Document, load_document

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "own-cell"
PAGE = (ROOT / "docs" / "own-cell.md").read_text(encoding="utf-8")
RECIPES: dict[str, type[Spec]] = {
    "own.family.yaml": FamilyRecipe,
    "own.table.family.yaml": FamilyRecipe,
    "own.final.family.yaml": FamilyRecipe,
    "own.core.yaml": CoreRecipe,
    "own.noble.yaml": NobleRecipe,
}
TOY: dict[str, dict[str, Any]] = {
    "own.family.yaml": {
        "evolve": {
            "seeds": [1, 2],
            "targets": 1,
            "generations": 1,
            "subthreshold_generations": 1,
            "offspring": 4,
            "max_z": 6.0,
            "members": 6,
            "hall_of_fame": 4,
            "hall_held_out": 1,
        }
    },
    "own.core.yaml": {
        "dataset": {
            "duration": "600 ms",
            "test": {"members": 1, "duration": "400 ms", "floor_members": 0},
        },
        "model": {"hidden": 16},
        "training": {"iterations": 6, "batch": 4, "chunk": "50 ms", "chunks": 3, "burn_in": "10 ms"},
    },
    "own.network.yaml": {"duration": "100 ms", "populations": {"exc": {"size": 6}}},
}


def merged(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings, ``changes`` laid over ``data``."""
    nested = {k: merged(data[k], v) for k, v in changes.items() if isinstance(v, dict) and k in data}
    return {**data, **changes, **nested}


# The page and the files


def test_every_recipe_of_the_example_is_tested() -> None:
    assert {path.name for path in EXAMPLE.glob("*.yaml")} == {*RECIPES, "own.network.yaml"}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_of_the_example_are_valid(name: str) -> None:
    recipe = validate_document(RECIPES[name], load_document(EXAMPLE / name))
    if isinstance(recipe, FamilyRecipe):
        model = CellModel.from_spec(recipe.cell)
        assert recipe.source and model.nmodl in (None, EXAMPLE / "mod")
        for name_of in (*(recipe.evolve.bounds if recipe.evolve else ()), *recipe.cell.values):
            assert name_of in model.parameters
    else:
        assert recipe.family == "own.csv"


def test_the_network_of_the_example_is_valid() -> None:
    spec = load_network(EXAMPLE / "own.network.yaml")
    assert spec.core == str(EXAMPLE / "own-stream")
    assert spec.populations["exc"].family == str(EXAMPLE / "own.csv")


@pytest.mark.parametrize(
    ("name", "members", "names"),
    [
        (
            "own.table.family.yaml",
            7,
            {"gbar_NaTs.soma", "gbar_K_T.soma", "gbar_Kv3_1.soma", "g_pas.soma"},
        ),
        ("own.final.family.yaml", 6, {"gbar_NaTs.soma", "gbar_SlowK.soma", "g_pas.dend", "g_pas.apic"}),
    ],
)
def test_ready_sets_are_read_under_the_names_of_the_cell(name: str, members: int, names: set[str]) -> None:
    recipe = validate_document(FamilyRecipe, load_document(EXAMPLE / name))
    assert recipe.table is not None
    sets = read_parameter_sets(recipe.table, CellModel.from_spec(recipe.cell))
    assert len(sets) == members and {frozenset(each) for each in sets} == {frozenset(names)}
    assert sets[0]["gbar_NaTs.soma"] == 0.609 and all(value > 0 for each in sets for value in each.values())


SNIPPETS = re.findall(r"```yaml fragment\n(.*?)```", PAGE, re.DOTALL)


def is_part(part: Any, whole: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(k in whole and is_part(v, whole[k]) for k, v in part.items())
    return bool(part == whole)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=[text.split(":")[0] for text in SNIPPETS])
def test_yaml_in_the_page_is_part_of_the_example_and_valid(snippet: str, tmp_path: Path) -> None:
    file = tmp_path / "snippet.yaml"
    file.write_text(snippet, encoding="utf-8")
    (key, part), *others = load_document(file).data.items()
    assert not others
    sources = [load_document(EXAMPLE / name).data for name in RECIPES if "family" in name]
    assert key == "draw" or any(is_part(part, data.get(key)) for data in sources)
    rest = {"draw": "draw", "table": "table"}.get(key)
    recipe = {k: v for k, v in sources[0].items() if not rest or k not in ("evolve", "targets")}
    validate_document(FamilyRecipe, Document({**recipe, key: part}))


def test_the_page_shows_every_way_to_make_a_family() -> None:
    assert {text.split(":")[0] for text in SNIPPETS} == {"cell", "targets", "evolve", "table", "draw"}
    for name in RECIPES:
        assert f"`{name}`" in PAGE or f" {name} " in PAGE


def test_commands_in_the_page_take_files_of_the_example() -> None:
    shown = re.findall(r"^noble-net (.*)$|`noble-net ([^`]+)`", PAGE, re.MULTILINE)
    commands = [one or two for one, two in shown]
    assert {command.split()[0] for command in commands} >= {
        "family",
        "dataset",
        "train",
        "evaluate",
        "respond",
        "run",
        "compare",
    }
    for command in commands:
        for argument in command.split("#")[0].split():
            assert not argument.endswith(".yaml") or (EXAMPLE / argument).is_file(), command


def test_names_in_the_page_exist() -> None:
    specs = (FamilyRecipe, CellSpec, DrawSpec, EvolveSpec, TargetSpec, TableSpec, CoreRecipe, NobleRecipe)
    parts = (cores.DatasetSpec, cores.TestSpec, cores.TrainingSpec, NobleDatasetSpec)
    keys = {name for spec in (*specs, *parts) for name in spec.model_fields}
    commands = {"evaluate", "respond", "train", "dataset"}
    variables, reasons = {"pas", "g_pas", "ena", "ek"}, {"block", "nan"}
    values = {*SECTIONS, "all", "stub", "drawn", *variables, *reasons}
    for word in re.findall(r"`([a-z_]+)`", PAGE):
        assert word in keys | commands | values | set(NOBLE_FEATURES), word
    listed = PAGE.split("The features are the 16 of NOBLE:")[1].split(". A spike")[0]
    assert {name.strip() for name in listed.replace("\n", " ").split(",")} == set(NOBLE_FEATURES)


# The walk, at toy size


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The example's files, its recipes at toy size; archives, datasets and training states in a folder of their own."""
    for module in ("neuron", "bluepyopt", "torch"):
        pytest.importorskip(module)
    copy = tmp_path_factory.mktemp("own") / "own-cell"
    shutil.copytree(EXAMPLE, copy)
    for name, changes in TOY.items():
        toy = merged(load_document(EXAMPLE / name).data, changes)
        (copy / name).write_text(json.dumps(toy))  # JSON is YAML
    compiled, cache = cache_folder("mechanisms"), tmp_path_factory.mktemp("cache")
    compiled.mkdir(parents=True, exist_ok=True)
    (cache / "mechanisms").symlink_to(compiled, target_is_directory=True)  # half a minute to compile
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOBLE_NET_CACHE", str(cache))
        yield copy


def noble_net(folder: Path, *arguments: str) -> list[str]:
    """Lines that `noble-net` says in ``folder``: in a process of its own, as NEURON keeps what was loaded once."""
    done = subprocess.run(
        [sys.executable, "-m", "noble_net", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def family(folder: Path) -> Family:
    table, page = noble_net(folder, "family", "own.family.yaml", "--jobs", "2")
    assert Path(table) == folder / "own.csv" and Path(page) == folder / "own.md"
    return read_family(folder / "own.csv")


@pytest.fixture(scope="module")
def core(folder: Path, family: Family) -> Path:
    noble_net(folder, "dataset", "own.core.yaml", "--jobs", "2")
    noble_net(folder, "train", "own.core.yaml")
    return folder / "own-stream"


@pytest.mark.slow
def test_the_evolved_family_is_measured(folder: Path, family: Family) -> None:
    table, recipe = family.table, load_document(folder / "own.family.yaml").data
    assert len(table) == 6 and set(table["role"]) == {"train", "held_out"}
    assert table["I_thr"].between(0.0, 0.5, inclusive="right").all()
    assert np.isfinite(table[["s_thr", "input_resistance", "voltage_base", "AP1_width"]]).all(axis=None)
    assert (
        table["input_resistance"].between(100, 1000).all() and table["voltage_base"].between(-95, -75).all()
    )
    assert (table["z_score"] <= 6.0).all()
    hall = table[table["hall_of_fame"] == 1]
    assert list(hall["seed"].value_counts()) == [2, 2] and (hall["role"] == "held_out").sum() == 1
    for name in family.parameter_names:
        own = recipe["cell"]["values"][name]
        low, high = recipe["evolve"]["bounds"].get(name, (own / 3, own * 3))
        assert (
            table[name].between(low * (1 - 1e-6 * np.sign(low)), high * (1 + 1e-6 * np.sign(high))).all()
        ), name
    assert {"gbar_SlowK.soma", "gbar_SlowK.apic", "e_pas.all", "cm.dend"} <= set(family.parameter_names)
    assert family.about["cell"]["morphology"] == "nr5a1.swc" and family.about["cell"]["nmodl"] == "mod"
    curves = pd.read_csv(folder / "own.fi.csv")
    assert set(curves["member"]) == set(table.index) and (curves["rate"] >= 0).all()
    page = (folder / "own.md").read_text()
    assert "SlowK" in page and "Error by generation" in page and recipe["source"] in page


@pytest.mark.slow
def test_the_same_recipe_solves_nothing_again_and_gives_the_same_family(folder: Path, family: Family) -> None:
    (archive,) = cache_folder("families").glob("own-*.archive.jsonl")
    solved = archive.read_bytes()
    noble_net(folder, "family", "own.family.yaml", "--jobs", "2")
    assert archive.read_bytes() == solved and read_family(folder / "own.csv").hash == family.hash


@pytest.mark.slow
def test_the_own_mechanism_acts_in_the_cell(family: Family) -> None:
    from noble_net.cells.build import measure_member
    from noble_net.processes import in_processes

    member = family.ids()[0]
    cells = family.cells([member])
    own = {name: float(values[0]) for name, values in cells.parameters.items()}
    tasks = [
        (slot, {**own, "gbar_SlowK.soma": factor * own["gbar_SlowK.soma"]})
        for slot, factor in enumerate((0.6, 1.0, 2.0))
    ]
    rows = {row["slot"]: row for row in in_processes(partial(measure_member, family.model), tasks, 2)}
    less, same, more = (rows[slot]["features"] for slot in range(3))
    for name in family.feature_names:
        measured = family.table.loc[member, name]
        assert same[name] == pytest.approx(measured, rel=1e-3, abs=1e-4, nan_ok=True), name
    assert less["I_thr"] < same["I_thr"] < more["I_thr"]  # a potassium current that holds the cell back
    at = {slot: dict(map(tuple, rows[slot]["rates"]))[0.3] for slot in rows}
    assert at[0] > at[1] > at[2]


@pytest.mark.slow
def test_the_core_is_trained_and_measured(folder: Path, family: Family, core: Path) -> None:
    about = json.loads((core / "core.json").read_text())
    assert about["family_hash"] == family.hash and tuple(about["code"]) == family.parameter_names
    noble_net(folder, "evaluate", "own.core.yaml")
    table = json.loads((core / "accuracy.json").read_text())["table"]
    assert {"ou_current", "steps", "zero", "chirp", "fluctuating, all"} <= set(table)
    for regime, rows in table.items():
        assert set(rows) == {"seen", "unseen"}
        for row in rows.values():
            numbers = [row[name] for name in ("clipped_rmse", "rate_hz", "cells", "silent")]
            assert np.isfinite(numbers).all() and row["clipped_rmse"] > 0 and row["cells"] >= 1, regime
    for row in table["fluctuating, all"].values():
        assert np.isfinite([row[name] for name in ("clipped_ev", "rate_error", "gamma")]).all()
        assert row["rate_hz"] > 0  # NEURON's cells fire, whatever six iterations learned
    card = (core / "CARD.md").read_text()
    assert "`own`" in card and "nr5a1.swc" in card and "| ou_current | seen |" in card


@pytest.mark.slow
def test_core_and_exact_cells_answer_steps(folder: Path, family: Family, core: Path) -> None:
    steps = ("--cells", "members:2", "--amplitudes", "-0.05, 0.4 nA")
    noble_net(folder, "respond", core.name, "--family", "own.csv", *steps, "--out", "by-core")
    noble_net(folder, "respond", "own.csv", "--backend", "neuron", *steps, "--out", "by-neuron")
    for name in ("by-core", "by-neuron"):
        assert (folder / name / "report.html").is_file()
    answers = pd.read_csv(folder / "by-neuron" / "features.csv")
    rest = family.table["voltage_base"]
    assert answers["voltage_base"].between(rest.min() - 0.5, rest.max() + 0.5).all()
    assert (answers.loc[answers["amplitude_nA"] == 0.4, "spikes"] > 3).all()
    assert (answers.loc[answers["amplitude_nA"] < 0, "spikes"] == 0).all()


@pytest.mark.slow
def test_a_network_of_the_family_runs_on_core_and_neuron(folder: Path, family: Family, core: Path) -> None:
    noble_net(folder, "run", "own.network.yaml", "--out", "own-run")
    noble_net(folder, "run", "own.network.yaml", "--backend", "neuron", "--out", "own-neuron")
    runs = [load_results(folder / name) for name in ("own-run", "own-neuron")]
    for run in runs:
        assert run.summary["completed"] and run.populations == ("exc",) and run.size("exc") == 6
        assert set(run.nodes("exc")["label"]) <= set(family.ids())
        assert np.isfinite(run.voltage("exc").to_numpy()).all()
    ours, exact = runs
    assert list(ours.nodes("exc")["label"]) == list(exact.nodes("exc")["label"])
    assert len(exact.spikes("exc")) > 0 and exact.spikes("exc")["time"].between(0, 100).all()
    assert any(line.startswith("exc") for line in noble_net(folder, "compare", "own-neuron", "own-run"))


@pytest.mark.slow
def test_a_table_of_ready_sets_becomes_a_family(folder: Path) -> None:
    sets = pd.read_csv(folder / "sets.csv")
    inexcitable = {**sets.iloc[0], "model": "no sodium", "gNa": 1e-4}
    pd.concat([sets, pd.DataFrame([inexcitable])]).to_csv(folder / "sets.csv", index=False)
    noble_net(folder, "family", "own.table.family.yaml", "--jobs", "2")
    family = read_family(folder / "own-table.csv")
    assert sum(family.about["rejected"].values()) == 1 and family.about["table"] == "sets.csv"
    assert set(family.parameter_names) == {"gbar_NaTs.soma", "gbar_K_T.soma", "gbar_Kv3_1.soma", "g_pas.soma"}
    ours = sets.rename(columns={"gNa": "gbar_NaTs.soma"})
    for name in family.parameter_names:
        assert list(family.table[name]) == list(ours[name])
    assert list(family.table["role"]) == ["train"] * 4 + ["held_out"] + ["train"] * 2
    # g_pas makes most of the leak at the soma of this perisomatic cell
    assert np.corrcoef(family.table["g_pas.soma"], 1 / family.table["input_resistance"])[0, 1] > 0.9
    assert "sets.csv" in (folder / "own-table.md").read_text()


@pytest.mark.slow
def test_a_final_json_becomes_a_family(folder: Path) -> None:
    noble_net(folder, "family", "own.final.family.yaml", "--jobs", "2")
    family = read_family(folder / "own-final.csv")
    given = json.loads((folder / "final.json").read_text())
    assert list(family.table["gbar_SlowK.soma"]) == [
        each["params"]["gbar_SlowK.somatic"] for each in given.values()
    ]
    assert list(family.table["g_pas.apic"]) == [each["params"]["g_pas.apical"] for each in given.values()]
    assert family.model.parameters["gbar_SlowK.soma"] == 0.0 and "SlowK" in family.model.mechanisms["soma"]
    assert (family.table["I_thr"] > 0).all() and sum(family.about["rejected"].values()) == 0
