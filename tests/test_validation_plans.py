"""What a validation is going to do: keys of runs, records of them, changes of a network, settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from validations import Fake, network, network_data, small

from noble_net.config import network_from
from noble_net.errors import BackendError, ConfigError, OutputError
from noble_net.specs.specification import validate_document
from noble_net.specs.validation import ValidationSpec, load_settings
from noble_net.specs.yaml_source import load_document
from noble_net.study.overrides import replace
from noble_net.types import Float64
from noble_net.validation.backends import Neuron, Surrogate
from noble_net.validation.changes import changed_networks
from noble_net.validation.plan import BASE, REFERENCE, SURROGATE, make_plan
from noble_net.validation.records import Record, Store, kept_times, read_record, write_record
from noble_net.validation.validate import validate

pytestmark = pytest.mark.usefixtures("own_cache")


def test_a_key_holds_what_determines_a_run_and_nothing_else(tmp_path: Path) -> None:
    def key(side: str = REFERENCE, reference: Fake | Neuron | None = None, **changes: Any) -> str:
        spec = network_from(network_data(**changes), tmp_path / "network.yaml")
        plan = make_plan(spec, reference or Fake(), Surrogate(), small(replay=None, changes=None))
        return plan.of(side, BASE)[0].key

    assert key() == key(name="other") == key(duration="9 s") == key(record={"voltage": {"cells": 3}})
    assert key() == key(core="integrate-and-fire-grid")
    assert key(SURROGATE) != key(SURROGATE, core="integrate-and-fire-grid")
    different = {
        key(),
        key(seed=5),
        key(synapses={**network_data()["synapses"], "ampa": {"model": "exp", "decay": "4 ms"}}),
    }
    assert len(different | {key(reference=Fake(drive=2.0)), key(reference=Fake(step=0.1))}) == 5
    table = tmp_path / "current.csv"
    stimuli = [{"to": "pv", "current_table": {"file": str(table), "dt": "10 ms"}}]
    keys = []
    for content in ("a\n0.1\n", "a\n0.2\n", "a\n0.1\n"):
        table.write_text(content)
        keys.append(key(stimuli=stimuli))
    assert keys[0] == keys[2] != keys[1]


trains = st.lists(
    st.lists(st.floats(0, 5000, allow_nan=False), max_size=20).map(lambda each: np.sort(np.array(each))),
    min_size=1,
    max_size=4,
)


@settings(max_examples=30)
@given(pv=trains, pyr=trains)
def test_records_come_back(
    tmp_path_factory: pytest.TempPathFactory, pv: Sequence[Float64], pyr: Sequence[Float64]
) -> None:
    path = tmp_path_factory.mktemp("records") / "one.npz"
    write_record(path, Record({"seed": 3}, {"pv": pv, "pyr": pyr}))
    back = read_record(path)
    assert back.about == {"seed": 3} and list(back.trains) == ["pv", "pyr"]
    for name, given_trains in (("pv", pv), ("pyr", pyr)):
        assert len(back.trains[name]) == len(given_trains)
        for one, two in zip(back.trains[name], given_trains, strict=True):
            np.testing.assert_allclose(one, kept_times(two), atol=1e-9)


def test_a_damaged_record_is_refused_by_name(tmp_path: Path) -> None:
    write_record(tmp_path / "good.npz", Record({}, {"pv": [np.array([1.0, 2.0])]}))
    content = (tmp_path / "good.npz").read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"PK\x03\x04 no archive"):
        (tmp_path / "key.npz").write_bytes(damaged)
        with pytest.raises(OutputError, match=r"key\.npz: cannot be read as the record of a run"):
            Store([tmp_path], []).find("key")
    assert Store([tmp_path], []).find("missing") is None


# --- changed networks -------------------------------------------------------------------------------------


def test_changes_scale_what_they_say() -> None:
    settings = small().changes
    assert settings is not None
    found, left_out = changed_networks(network(), settings)
    by_kind = {each.kind: each for each in found}
    assert not left_out and [each.kind for each in found] == ["input", "inhibition", "mix"]
    up, down = by_kind["input"].up, by_kind["input"].down
    assert [
        each.ornstein_uhlenbeck.mean.a for each in up.stimuli if each.ornstein_uhlenbeck
    ] == pytest.approx([0.324, 0.3])
    assert down.projections == network().projections
    weights = {each.name: each.weight for each in by_kind["inhibition"].down.projections}
    assert weights["pv-pv"] is not None and weights["pv-pv"].a == pytest.approx(1.4)
    assert weights["pv-pv"].b == pytest.approx(0.7)
    assert weights["pyr-pv"] == network().projections[1].weight
    sizes = {name: each.size for name, each in by_kind["mix"].up.populations.items()}
    assert sizes == {"pv": 16, "pyr": 8, "quiet": 6}


def test_changes_that_a_network_has_no_room_for_are_told() -> None:
    settings = small().changes
    assert settings is not None
    alone = network(populations={"pv": {"size": 16}}, projections=[], stimuli=[])
    found, left_out = changed_networks(alone, settings)
    assert not found and len(left_out) == 3
    assert "no stimulus" in left_out[0] and "two populations" in left_out[2]
    sets = {"last": {"population": "quiet", "cells": [4]}}
    found, left_out = changed_networks(network(node_sets=sets), settings)
    assert [each.kind for each in found] == ["input", "inhibition"] and "node_sets.last" in left_out[0]


# --- refused before anything runs -------------------------------------------------------------------------


def test_networks_that_a_side_cannot_hold_are_refused_before_work(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="there are no exact cells"):
        validate(network(), Neuron(), out=tmp_path / "out", settings=small())
    far = replace(network_data(), "projections.pyr-pv.synapse", "nobody")
    with pytest.raises(ConfigError):
        network_from(far)
    assert not (tmp_path / "out").exists()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/notes.txt").write_text("")
    with pytest.raises(OutputError, match=r"something else \(notes.txt\)"):
        validate(network(), Fake(), out=tmp_path / "taken", settings=small(), jobs=1, report=False)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seeds: [1, 1]", r"settings.yaml:1: seeds\[1\] = 1: is listed twice"),
        ("seeds: [1]", "settings.yaml:1: seeds"),
        ("duration: 5", "settings.yaml:1: duration = 5: has no unit"),
        ("fine_seeds: 9", "there are 5 seeds"),
        ("changes: {imput: 0.2}", "did you mean `input`"),
        ("replay: {duration: 100 ms}", "nothing of the replay is left to measure"),
        ("tolerances: {peak: 2}", "tolerances.peak = 2: has no unit"),
    ],
)
def test_settings_are_refused_at_their_line(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(line + "\n")
    with pytest.raises(ConfigError, match=message):
        load_settings(tmp_path / "settings.yaml")


def test_settings_can_leave_parts_out(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("replay: null\nseeds: [3, 4]\nduration: 2 s\n")
    found = validate_document(ValidationSpec, load_document(tmp_path / "settings.yaml"))
    assert found.replay is None and found.changes is not None and found.times == (1000.0, 2000.0)


def test_the_settings_in_docs_are_the_defaults(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs/validation.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "settings.yaml").write_text(block, encoding="utf-8")
    assert load_settings(tmp_path / "settings.yaml") == ValidationSpec()


# --- the command ------------------------------------------------------------------------------------------
