"""Making a family: a candidate drawn again is the shipped member, and what was interrupted goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from noble_net.registry import load_family
from noble_net.specs.families import CellSpec, DrawSpec, FamilyRecipe
from noble_net.specs.specification import validate_document
from noble_net.specs.yaml_source import load_document

pytest.importorskip("neuron")
RECIPE = Path(__file__).parent.parent / "surrogate/recipes/allen-pv-peri.family.yaml"


@pytest.mark.slow
@pytest.mark.parametrize("slot", [0, 1, 269])
def test_a_slot_drawn_again_is_the_shipped_member(slot):
    from noble_net.cells.build import draw_member

    recipe = validate_document(FamilyRecipe, load_document(RECIPE))
    family = load_family(recipe.name)
    row, shipped = draw_member(family.model, recipe.draw, (slot, {})), family.table.iloc[slot]
    for name, value in {**row["parameters"], **{k: row["features"][k] for k in family.feature_names}}.items():
        assert shipped[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_an_interrupted_build_goes_on_from_the_slots_on_disk(tmp_path):
    from noble_net.cells.build import build_family

    recipe = FamilyRecipe(
        name="kept",
        cell=CellSpec(fit="472912177", morphology="Pvalb_470522102"),
        draw=DrawSpec(members=5, sigma=0.25, bound=2.0, seed=1),
    )
    shipped = load_family("allen-pv-peri")
    rows = [
        {
            "slot": slot,
            "parameters": {name: float(shipped.table[name].iloc[slot]) for name in shipped.parameter_names},
            "features": {name: float(shipped.table[name].iloc[slot]) for name in shipped.feature_names},
            "rejected": {"block": 1} if slot == 2 else {},
        }
        for slot in range(5)
    ]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "kept.slots.jsonl").write_text(
        "\n".join([*lines, lines[0][:40]])
    )  # the last line was cut short
    csv = build_family(recipe, tmp_path, jobs=1)
    assert list(load_family(str(csv)).table["role"]) == ["train"] * 4 + ["held_out"]
    rejected = json.loads(csv.with_suffix(".json").read_text())["rejected"]
    assert rejected == {"nan": 0, "silent": 0, "block": 1, "plateau": 0}
    assert not (tmp_path / "kept.slots.jsonl").exists()
