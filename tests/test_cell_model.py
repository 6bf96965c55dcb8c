"""What a cell is made of: Allen fits, recipes, parameters, sections, and what is refused. Nothing is solved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from noble_net.cells.mechanisms import bmtk_folder
from noble_net.cells.model import SECTIONS, CellModel, find_morphology, sections_of, split_parameter
from noble_net.errors import ConfigError, FamilyError
from noble_net.registry import load_family, shipped
from noble_net.specs.families import CellSpec, EvolveSpec, FamilyRecipe, TargetSpec
from noble_net.specs.specification import validate_document
from noble_net.specs.yaml_source import Document, load_document

ROOT = Path(__file__).parent.parent
MORPHOLOGY = "Pvalb_470522102"
PERISOMATIC, ALL_ACTIVE = "472912177", "318331342"
FITS = sorted(path.name for path in (bmtk_folder() / "biophysical_neuron_models").glob("*_fit.json"))
RECIPES = sorted(ROOT.glob("surrogate/recipes/*.family.yaml")) + sorted(
    ROOT.glob("examples/own-cell/*.family.yaml")
)
KINDS = dict(enumerate(SECTIONS, start=1))


def swc(path: Path, *kinds: int) -> Path:
    """An SWC file: a chain of samples of these types."""
    rows = [
        f"{i} {kind} {10.0 * i} 0.0 0.0 1.0 {i - 1 if i > 1 else -1}" for i, kind in enumerate(kinds, start=1)
    ]
    path.write_text("# n T x y z R P\n\n" + "\n".join(rows) + "\n")
    return path


def bare(morphology: str, **changes: object) -> CellSpec:
    """A cell without a fit."""
    return CellSpec.model_validate({"morphology": morphology, "celsius": 30.0, "v_init": -70.0, **changes})


@pytest.fixture
def tree(tmp_path: Path) -> str:
    """A morphology with a soma and dendrites alone."""
    return str(swc(tmp_path / "tree.swc", 1, 3, 3))


# Allen fits


@pytest.mark.parametrize("file", FITS)
def test_a_fit_is_read_whole(file: str) -> None:
    data = json.loads((bmtk_folder() / "biophysical_neuron_models" / file).read_text())
    model = CellModel.from_fit(file.removesuffix("_fit.json"), MORPHOLOGY)
    for gene in data["genome"]:
        assert model.parameters[f"{gene['name']}.{gene['section']}"] == float(gene["value"])
        if gene["mechanism"]:
            placed = model.mechanisms.get(gene["section"], ())
            assert (gene["mechanism"] in placed) == (gene["mechanism"] != "pas")
    assert all(len(set(names)) == len(names) and names for names in model.mechanisms.values())
    conditions = data["conditions"][0]
    assert (model.celsius, model.v_init) == (conditions["celsius"], conditions["v_init"])
    for entry in conditions["erev"]:
        assert model.parameters[f"ek.{entry['section']}"] == entry["ek"]
    assert all(split_parameter(name) for name in model.parameters)
    assert model.morphology.is_file() and (model.axon, model.segment_length, model.nmodl) == (
        "stub",
        40.0,
        None,
    )


def test_sections_a_perisomatic_fit_does_not_name_have_the_dendrites_capacitance() -> None:
    given_there = json.loads(
        (bmtk_folder() / "biophysical_neuron_models" / f"{PERISOMATIC}_fit.json").read_text()
    )["passive"][0]["cm"]
    told = {entry["section"]: entry["cm"] for entry in given_there}
    model = CellModel.from_fit(PERISOMATIC, MORPHOLOGY)
    assert {s: model.parameters[f"cm.{s}"] for s in SECTIONS} == {
        s: told.get(s, told["dend"]) for s in SECTIONS
    }
    assert set(told) < set(SECTIONS)


def test_what_holds_everywhere_is_set_before_what_holds_in_one_section() -> None:
    names = list(CellModel.from_fit(ALL_ACTIVE, MORPHOLOGY).parameters)
    everywhere = [i for i, name in enumerate(names) if name.endswith(".all")]
    clash = {names[i].removesuffix(".all") for i in everywhere}
    sections = [
        i for i, name in enumerate(names) if split_parameter(name)[0] in clash and i not in everywhere
    ]
    assert everywhere and (not sections or max(everywhere) < min(sections))


# Recipes


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_the_cell_of_a_recipe_survives_the_family_json(path: Path) -> None:
    recipe = validate_document(FamilyRecipe, load_document(path))
    kept = json.loads(json.dumps(recipe.about_cell()))
    assert CellModel.from_spec(CellSpec.model_validate(kept)) == CellModel.from_spec(recipe.cell)


@pytest.mark.parametrize("name", shipped()["families"])
def test_members_differ_in_parameters_of_their_cell(name: str) -> None:
    family = load_family(name)
    assert set(family.parameter_names) <= set(family.model.parameters)
    for parameter in family.model.parameters:
        variable, section = split_parameter(parameter)
        mechanism = variable.partition("_")[2]
        if variable.startswith("gbar_"):
            assert mechanism in family.model.mechanisms[section], parameter


def test_a_cell_without_a_fit_is_what_the_recipe_says(tree: str) -> None:
    values = {"g_pas.all": 1e-4, "gbar_Ih.dend": 1e-5}
    spec = bare(tree, mechanisms={"dend": ["Ih"]}, values=values, axon="drawn", segment_length=15)
    assert CellModel.from_spec(spec) == CellModel(
        Path(tree), values, {"dend": ("Ih",)}, 30.0, -70.0, None, "drawn", 15.0
    )


def test_a_fit_is_the_ground_the_rest_is_laid_on() -> None:
    fit = CellModel.from_fit(PERISOMATIC, MORPHOLOGY)
    spec = CellSpec(
        morphology=MORPHOLOGY,
        fit=PERISOMATIC,
        mechanisms={"dend": ("Ih",), "soma": ("NaTs", "Kd")},
        values={"gbar_Ih.dend": 1e-5, "e_pas.all": -88.0},
        v_init=-88.0,
    )
    model = CellModel.from_spec(spec)
    assert model.mechanisms == {"soma": (*fit.mechanisms["soma"], "NaTs"), "dend": ("Ih",)}
    assert model.parameters == {**fit.parameters, "e_pas.all": -88.0, "gbar_Ih.dend": 1e-5}
    assert list(model.parameters) == [
        *fit.parameters,
        "gbar_Ih.dend",
    ]  # replaced in its place, added at the end
    assert (model.celsius, model.v_init) == (fit.celsius, -88.0)


def test_files_are_relative_to_the_folder(tmp_path: Path) -> None:
    swc(tmp_path / "here.swc", 1, 3)
    (tmp_path / "mod").mkdir()
    model = CellModel.from_spec(bare("here.swc", nmodl="mod"), tmp_path)
    assert model.morphology == tmp_path / "here.swc" and model.nmodl == tmp_path / "mod"
    absolute = CellModel.from_spec(bare(str(tmp_path / "here.swc"), nmodl=str(tmp_path / "mod")), Path("/no"))
    assert absolute == model
    with pytest.raises(FamilyError, match=r"morphology here\.swc is missing: give the path of an SWC file"):
        CellModel.from_spec(bare("here.swc"))


def test_a_missing_folder_of_mechanisms_is_named(tree: str, tmp_path: Path) -> None:
    for odd in (tmp_path / "none", Path(tree)):
        with pytest.raises(FamilyError, match=f"nmodl: {odd} is missing"):
            CellModel.from_spec(bare(tree, nmodl=str(odd)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"mechanisms": {"apic": ["Ih"]}},
            r"cell\.mechanisms\.apic: .* has no apic; it has axon, dend, soma",
        ),
        ({"values": {"cm.apic": 1.0}}, r"cell\.values\.cm\.apic: .* has no apic"),
        ({"values": {"cm.axon": 1.0}, "axon": "drawn"}, r"cell\.values\.cm\.axon: .* it has dend, soma"),
    ],
)
def test_nothing_is_put_where_the_morphology_has_no_section(
    tree: str, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(FamilyError, match=message):
        CellModel.from_spec(bare(tree, **changes))


def test_a_stub_is_an_axon_and_all_is_every_section(tree: str) -> None:
    spec = bare(tree, mechanisms={"axon": ["NaTs"], "all": ["Ih"]}, values={"cm.axon": 1.0, "cm.all": 2.0})
    model = CellModel.from_spec(spec)
    assert model.mechanisms == {"axon": ("NaTs", "Ih"), "soma": ("Ih",), "dend": ("Ih",), "apic": ("Ih",)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mechanisms": {"basal": ["Ih"]}}, r"cell\.mechanisms\.basal: is no section.*axon, dend, apic, all"),
        ({"mechanisms": {"dendrite": ["Ih"]}}, r"did you mean `dend`"),
        ({"values": {"gbar_Ih": 1e-5}}, r"cell\.values\.gbar_Ih = 1e-05: is not a variable and a section"),
        ({"values": {"gbar_Ih.somatic": 1e-5}}, r"gbar_Ih\.somatic.*did you mean `soma`"),
        ({"values": {".soma": 1.0}}, "is not a variable and a section"),
        ({"v_init": None}, "needs `celsius` and `v_init`"),
        ({"celsius": None}, "needs `celsius` and `v_init`"),
        ({"segment_length": 0}, r"cell\.segment_length = 0: should be greater than 0"),
        ({"axon": "none"}, r"cell\.axon = none: should be 'stub' or 'drawn'"),
        ({"nmodel": "mod"}, r"cell\.nmodel = mod: unknown key\. did you mean `nmodl`"),
    ],
)
def test_a_wrong_recipe_is_refused_with_a_remedy(changes: dict[str, object], message: str) -> None:
    cell = {"morphology": "x.swc", "celsius": 30, "v_init": -70, **changes}
    given_keys = {key: value for key, value in cell.items() if value is not None}
    draw = {"members": 2, "sigma": 0.2, "bound": 2, "seed": 1}
    with pytest.raises(ConfigError, match=message):
        validate_document(FamilyRecipe, Document({"name": "x", "cell": given_keys, "draw": draw}))


# Changing a cell


def test_changed_cells_leave_the_first_alone() -> None:
    first = CellModel(Path("x.swc"), {"cm.all": 1.0, "cm.dend": 2.0}, {"soma": ("NaTs",)}, 34.0, -80.0)
    second = first.with_values({"cm.all": 3.0, "Ra.all": 100.0}).with_mechanisms({"dend": ["Ih"]})
    assert dict(first.parameters) == {"cm.all": 1.0, "cm.dend": 2.0} and dict(first.mechanisms) == {
        "soma": ("NaTs",)
    }
    assert list(second.parameters.items()) == [("cm.all", 3.0), ("cm.dend", 2.0), ("Ra.all", 100.0)]
    assert second.mechanisms == {"soma": ("NaTs",), "dend": ("Ih",)}
    assert first.with_values({}) == first.with_mechanisms({}) == first


NAMES = st.lists(st.sampled_from(["NaTs", "Ih", "SK", "Im"]), max_size=4)
PLACED = st.dictionaries(st.sampled_from([*SECTIONS, "all"]), NAMES)


@given(PLACED, PLACED)
def test_mechanisms_are_added_once_and_none_is_lost(
    one: dict[str, list[str]], two: dict[str, list[str]]
) -> None:
    first = CellModel(Path("x.swc"), {}, {}, 34.0, -80.0).with_mechanisms(one)
    both = first.with_mechanisms(two)
    assert both.with_mechanisms(one).with_mechanisms(two) == both
    for section in SECTIONS:
        wanted = {name for put in (one, two) for key in (section, "all") for name in put.get(key, [])}
        here = both.mechanisms.get(section, ())
        assert set(here) == wanted and len(here) == len(wanted)
        assert here[: len(first.mechanisms.get(section, ()))] == first.mechanisms.get(section, ())


# Names


@given(st.text(min_size=1), st.sampled_from([*SECTIONS, "all"]))
def test_a_parameter_is_a_variable_and_a_section(variable: str, section: str) -> None:
    assert split_parameter(f"{variable}.{section}") == (variable, section)


@pytest.mark.parametrize("name", ["", "cm", "soma", ".soma", "cm.", "cm.Soma", "cm.basal", "soma.cm"])
def test_what_is_no_parameter_is_refused(name: str) -> None:
    with pytest.raises(
        FamilyError, match=r"must be a variable and a section, like gbar_NaV\.soma; sections: soma"
    ):
        split_parameter(name)


# Morphologies


def test_a_shipped_morphology_is_found_by_name_and_an_unknown_one_answered_with_the_list() -> None:
    path = find_morphology(MORPHOLOGY)
    assert path.name == f"{MORPHOLOGY}_m.swc" and sections_of(path) == {"soma", "axon", "dend"}
    assert find_morphology(MORPHOLOGY, Path("/elsewhere")) == path
    with pytest.raises(FamilyError, match=rf"no morphology 'Pvalb'.*Nr5a1_471087815, .*{MORPHOLOGY}.*\.swc"):
        find_morphology("Pvalb")


def test_upper_case_file_names_are_files(tmp_path: Path) -> None:
    assert find_morphology(swc(tmp_path / "CELL.SWC", 1).name, tmp_path) == tmp_path / "CELL.SWC"


@given(kinds=st.lists(st.sampled_from(list(KINDS)), max_size=12))
def test_the_sections_of_a_file_are_the_types_of_its_samples(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[int]
) -> None:
    path = swc(tmp_path_factory.getbasetemp() / "drawn.swc", 1, *kinds)
    assert sections_of(path) == {"soma"} | {KINDS[kind] for kind in kinds}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 3 0 0 0 1 -1\n", "has no soma: no sample is of type 1"),
        ("# nothing\n\n", "has no soma"),
        ("n type x y z r parent\n", "is not an SWC file: .*'type'"),
        ("1\n", "is not an SWC file"),
        ("(CellBody (0 0 0 1))", "is not an SWC file"),
    ],
)
def test_another_kind_of_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "odd.swc"
    path.write_text(content)
    with pytest.raises(FamilyError, match=message):
        sections_of(path)
    with pytest.raises(FamilyError, match=r"odd\.swc"):
        CellModel.from_spec(bare(str(path)))


@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_a_conductance_is_a_number_not_below_zero(value: float) -> None:
    with pytest.raises(ValidationError, match=r"below 0|finite"):
        CellSpec(morphology="Pvalb_470522102", fit="472912177", values={"gbar_NaTs.dend": value})
    CellSpec(morphology="Pvalb_470522102", fit="472912177", values={"e_pas.all": -90.0})


def test_an_swc_with_other_types_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.swc"
    path.write_text("1 1 0 0 0 5 -1\n2 5 10 0 0 1 1\n")
    with pytest.raises(FamilyError, match="type 5"):
        sections_of(path)


@pytest.mark.parametrize(
    ("bounds", "vary", "problem"),
    [
        ({"cm.dend": (2.0, 1.0)}, (), "encloses nothing"),
        ({"gbar_Ih.soma": (-1.0, 1.0)}, (), "below 0"),
        ({"cm.dend": (1.0, 2.0)}, ("g_pas.soma",), "not in `vary`"),
    ],
)
def test_bounds_without_effect_are_refused(bounds: dict, vary: tuple, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        EvolveSpec(bounds=bounds, vary=vary)


def test_targets_from_a_table_take_no_steps() -> None:
    with pytest.raises(ValidationError, match="no effect"):
        TargetSpec(table={"0.1 nA": {"Spikecount": (3, 1)}}, steps=(0.1,))
