"""Inputs of cells with dendritic zones, and the dataset made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import h5py
import numpy as np
import pytest

from noble_net.cells.family import Family, read_family
from noble_net.cells.mechanisms import compiled_library
from noble_net.cells.zones import ZONES
from noble_net.commands.making import core_recipe
from noble_net.errors import CheckpointError, ConfigError
from noble_net.network.synapses import half_block
from noble_net.registry import load_family
from noble_net.specs.cores import CoreRecipe, DatasetSpec
from noble_net.specs.specification import validate_document
from noble_net.specs.synapses import SynapseSpec
from noble_net.specs.yaml_source import Document
from noble_net.training import dataset, inputs, zone_inputs, zone_regimes, zone_synapses
from noble_net.training.dataset import VOLTAGE_UNIT, build_dataset, dataset_path, plan_runs, recorded

RECIPES = Path(__file__).parent.parent / "surrogate" / "recipes"
DENDRITES = len(ZONES) - 1

RECIPE = {
    "name": "toy",
    "family": "toy",
    "dataset": {
        "seed": 1,
        "duration": "300 ms",
        "zones": list(ZONES),
        "nmda": True,
        "test": {"members": 1, "duration": "40 ms", "floor_members": 0},
    },
    "training": {"iterations": 6},
}


def recipe(**dataset: object) -> CoreRecipe:
    """The toy recipe, with other values of its dataset."""
    return validate_document(CoreRecipe, Document({**RECIPE, "dataset": {**RECIPE["dataset"], **dataset}}))


@pytest.fixture(scope="module")
def family(tmp_path_factory) -> Family:
    shipped = load_family("allen-pv-peri")
    csv = tmp_path_factory.mktemp("family") / "toy.csv"
    shipped.table.iloc[3:6].to_csv(csv)
    csv.with_suffix(".json").write_text(json.dumps(dict(shipped.about)))
    return read_family(csv)


def shapes(drive: zone_synapses.ZonedInput) -> list[tuple[int, ...]]:
    return [array.shape for array in drive]


@pytest.mark.parametrize("regime", zone_regimes.ZONE_REGIMES)
def test_test_inputs_are_reproducible_and_finite(regime):
    one, two = (
        zone_regimes.zoned_test_input(regime, np.random.default_rng(3), 1000.0, True) for _ in range(2)
    )
    assert shapes(one) == [(10_000,), (3, 10_000), (3, 10_000), (DENDRITES, 10_000), ()]
    assert (one.conductance >= 0).all() and (one.nmda_conductance >= 0).all()
    assert one.nmda_half in np.float32(zone_synapses.HALVES)
    for a, b in zip(one, two, strict=True):
        assert a.dtype == np.float32 and np.isfinite(a).all() and np.array_equal(a, b)


@pytest.mark.parametrize("regime", ["steps", "poisson_conductance"])
def test_regimes_of_the_soma_stay_what_they_are(regime):
    generators = [np.random.default_rng(3), np.random.default_rng(3)]
    generators[1].choice(2)  # the half of the magnesium block
    zoned = zone_regimes.zoned_test_input(regime, generators[0], 1500.0, True)
    alone = inputs.test_input(regime, generators[1], 1500.0)
    for name, array in alone._asdict().items():
        there = getattr(zoned, name)
        np.testing.assert_array_equal(there if name == "current" else there[0], array)
    assert not zoned.conductance[1:].any() and not zoned.nmda_conductance.any()


@pytest.mark.parametrize("name", ["mixed", "strong"])
@pytest.mark.parametrize("kind", zone_inputs.KINDS)
def test_every_kind_is_finite_and_of_the_receptors_there_are(kind, name):
    (ranges,) = zone_inputs.RANGES[name]
    for seed in range(12):
        g = np.random.default_rng(seed)
        without = zone_inputs.KINDS[kind](g, 3000, zone_synapses.Receptors(False, -20.0), ranges)
        assert all(np.isfinite(array).all() for array in without)
        assert (without.conductance >= 0).all() and not without.nmda_conductance.any()
        assert without.conductance.max() < 3.75 * ranges.strongest_volley
        reversal = without.reversal_current.sum() / max(float(without.conductance.sum()), 1e-9)
        assert -100.0 <= reversal <= 0.0


def test_a_recipe_can_name_every_kind_of_training_input():
    (names,) = get_args(DatasetSpec.model_fields["inputs"].annotation)[:1]
    assert set(get_args(names)) == set(zone_inputs.RANGES) == set(dataset._TRAINING)


def training_input(kind: str, seed: int = 0) -> zone_synapses.ZonedInput:
    generator = np.random.default_rng(seed)
    return zone_inputs.zoned_training_input(generator, 60_000.0, True, -0.05, zone_inputs.RANGES[kind])


@pytest.mark.parametrize("kind", zone_inputs.RANGES)
def test_training_input_drives_every_zone_and_leaves_some_quiet(kind):
    drive = training_input(kind)
    assert shapes(drive) == [(600_000,), (3, 600_000), (3, 600_000), (DENDRITES, 600_000), ()]
    for zone in (*drive.conductance, *drive.nmda_conductance):
        assert (zone > 0.01).mean() > 0.1 and (zone < 0.01).mean() > 0.1
    low, high = zone_synapses.HALF_RANGE
    assert low <= drive.nmda_half <= high
    assert np.array_equal(drive.dendrites()["distal"].nmda_conductance, drive.nmda_conductance[1])


def test_strong_input_holds_what_the_tests_of_the_distal_dendrite_do():
    """Stretches of 100 ms as strong as a test's mean, which are rare in mixed input."""

    def share(kind, array, least):
        distal = np.stack([getattr(training_input(kind, seed), array)[-1] for seed in (0, 1)])
        return (distal.reshape(-1, 1000).mean(axis=1) >= least).mean()

    volleys, poisson = (
        zone_regimes.zoned_test_input(regime, np.random.default_rng(1), 60_000.0, True)
        for regime in ("distal_volleys", "poisson_zones")
    )
    for array, test in (("conductance", volleys), ("nmda_conductance", poisson)):
        strong, mixed = (share(kind, array, getattr(test, array)[-1].mean()) for kind in ("strong", "mixed"))
        assert strong > max(0.1, 1.5 * mixed), (array, strong, mixed)


def test_alternating_input_is_between_mixed_and_strong_in_one_run():
    distal = {kind: training_input(kind).conductance[-1].mean() for kind in zone_inputs.RANGES}
    assert 1.2 * distal["mixed"] < distal["alternating"] < distal["strong"] / 1.2, distal


def test_lasting_current_is_bounded_and_brief_is_not():
    lasting = zone_inputs._bounded(np.full(5000, -0.12, np.float32), -0.05)
    assert lasting[1000:] == pytest.approx(-0.05, abs=1e-4)
    brief = np.full(5000, 0.1, np.float32)
    brief[1000:1020] = -0.2
    np.testing.assert_array_equal(zone_inputs._bounded(brief, -0.05), brief)


def test_events_of_a_poisson_segment_carry_the_drive_asked_for():
    """Mean of G·50 mV plus the open share of NMDA's, over the zones; the range is that of seeds of 20 s."""
    receptors = zone_synapses.Receptors(True, -20.0)
    for seed in range(4):
        g = np.random.default_rng(seed)
        ampa, nmda = zone_synapses.poisson_excitation(g, 200_000, receptors, 0.3, zone_synapses.EXCITED)
        total = ampa.sum(axis=0).mean() + receptors.open * nmda.sum(axis=0).mean()
        assert total * -zone_synapses.NEAR_THRESHOLD / 1000.0 == pytest.approx(0.3, rel=0.35)


def test_halves_are_those_of_synapses():
    for shift, half in zip(("0 mV", "14 mV"), zone_synapses.HALVES, strict=True):
        synapse = SynapseSpec(model="nmda", rise=2.0, decay=60.0, reversal=0.0, shift=shift)
        assert half_block(synapse) == pytest.approx(half, abs=0.05)


def test_names_of_datasets_without_zones_and_slow_variables_are_what_they_were():
    recipe, family = core_recipe(RECIPES / "pv-stream.yaml")
    plain = recipe.dataset.model_copy(update={"record": ()})
    assert dataset_path(recipe.model_copy(update={"dataset": plain}), family).name == "pv-stream-9647c38a.h5"


@pytest.mark.parametrize(("name", "trained"), [("pv-zones", 482), ("nr5a1-zones", 242)])
def test_shipped_recipes_plan_every_member_once(name, trained):
    recipe, family = core_recipe(RECIPES / f"{name}.yaml")
    runs = plan_runs(recipe, family)
    assert sum(run.part == "train" for run in runs) == trained
    assert len({run.file_name for run in runs}) == len({(*run.seed, run.dt) for run in runs}) == len(runs)
    assert {run.part.split(":")[0] for run in runs} == {"train", *zone_regimes.ZONE_REGIMES}


@pytest.mark.parametrize("kind", ["strong", "alternating"])
def test_other_inputs_are_runs_beside_the_mixed_ones(kind):
    spec, family = core_recipe(RECIPES / "nr5a1-zones.yaml")
    both = spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"inputs": ("mixed", kind)})})
    mixed = spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"inputs": ("mixed",)})})
    runs, alone = plan_runs(both, family), plan_runs(mixed, family)
    others = [run for run in runs if run not in alone]
    assert [run for run in runs if run in alone] == alone
    assert {run.part for run in others} == {f"train:{kind}"}
    assert [run.member for run in others] == family.ids("train")
    assert len({run.file_name for run in runs}) == len({(*run.seed, run.dt) for run in runs}) == len(runs)


def test_dataset(family, tmp_path, monkeypatch):
    pytest.importorskip("neuron")
    (tmp_path / "mechanisms").symlink_to(compiled_library().parents[2])  # compiling takes a minute
    monkeypatch.setenv("NOBLE_NET_CACHE", str(tmp_path))
    monkeypatch.setattr("noble_net.training.dataset.regimes", lambda spec: ("zero", "poisson_distal"))
    path = build_dataset(recipe(), family, jobs=2)
    members = len(family.ids("train"))
    with h5py.File(path) as file:
        train, distal = file["train"], file["test/poisson_distal"]
        assert train["voltage"].shape == (members, 3001) and train["current"].shape == (members, 3000)
        assert train["conductance"].shape == train["reversal_current"].shape == (members, 3, 3000)
        assert train["nmda_conductance"].shape == (members, DENDRITES, 3000)
        assert train["nmda_half"].shape == (members,)
        assert distal["conductance"][:, 2].any() and not distal["conductance"][:, 0].any()
        voltage = distal["voltage"][:] * VOLTAGE_UNIT
        assert (voltage[:, -1] > voltage[:, 0] + 2.0).all()  # what is driven out there arrives
        before = train["voltage"][:]
    monkeypatch.setattr(
        "noble_net.training.dataset.regimes", lambda spec: ("zero", "poisson_distal", "chirp")
    )
    with h5py.File(build_dataset(recipe(inputs=["strong", "mixed"]), family, jobs=2)) as file:
        train = file["train"]
        assert [str(i) for i in train["ids"].asstr()[:]] == 2 * family.ids("train")
        np.testing.assert_array_equal(train["voltage"][members:], before)
        assert train["nmda_conductance"].shape == (2 * members, DENDRITES, 3000)
        assert not np.array_equal(train["voltage"][:members], before)
    solved = []
    assert build_dataset(recipe(), family, jobs=2, progress=lambda *counts: solved.append(counts)) == path
    with_slow = build_dataset(recipe(record=["m_Kd", "cai"]), family, jobs=2)
    assert with_slow != path
    with h5py.File(with_slow) as file:
        assert file["train/slow"].shape == (members, 2, 3001) and "slow" not in file["test/zero"]
        opened, calcium = file["train/slow"][:].swapaxes(0, 1)
        assert 0.0 < opened.min() < opened.max() < 1.0 and 0.9e-4 < calcium.min() < calcium.max() < 0.01
        assert recorded(file) == ("m_Kd", "cai")
        np.testing.assert_array_equal(file["train/voltage"][:], before)
    pytest.importorskip("torch")
    from noble_net.training.streams import TrainingData

    assert TrainingData.read(with_slow, family).slow is None
    read = TrainingData.read(with_slow, family, ["cai", "m_Kd"]).slow
    np.testing.assert_array_equal(read, np.stack([calcium, opened], axis=1))
    with pytest.raises(CheckpointError, match="does not record h_Kd"):
        TrainingData.read(with_slow, family, ["h_Kd"])
    with h5py.File(path) as file:
        assert set(file["test"]) == {"zero", "poisson_distal", "chirp"}, "a new regime is not added"
        np.testing.assert_array_equal(file["train/voltage"][:], before)
        assert solved[-1][1] == len(file["test/chirp/ids"]) + recipe().dataset.test.floor_members


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        ({"zones": ["soma", "apical"]}, r"zones.*is \[soma, apical\].*give \[soma\], or \[soma, prox"),
        ({"zones": ["soma"]}, "nmda.*needs dendritic zones"),
        ({"inputs": ["mixed", "mixed"]}, r"inputs.*is \[mixed, mixed\].*name each once"),
        ({"inputs": ["loud"]}, "inputs.*mixed.*strong"),
        ({"zones": ["soma"], "nmda": False, "inputs": ["strong"]}, "inputs.*strong needs dendritic zones"),
        (
            {"zones": ["soma"], "nmda": False, "inputs": ["alternating"]},
            "inputs.*alternating needs dendritic",
        ),
        ({"lowest_current": -0.05}, "lowest_current.*has no unit.*nA"),
    ],
)
def test_faults_of_a_recipe_are_named(dataset, says):
    with pytest.raises(ConfigError, match=f"(?s){says}"):
        recipe(**dataset)


def test_zones_survive_a_round_trip():
    there = recipe(lowest_current="-0.05 nA").model_dump(mode="json", by_alias=True)
    assert there["dataset"]["lowest_current"] == "-0.05 nA" and there["dataset"]["nmda"] is True
    again = validate_document(CoreRecipe, Document(there))
    assert again == recipe(lowest_current="-0.05 nA")
