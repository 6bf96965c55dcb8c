"""Damaged files: checkpoints, families, and what a network file names. Each is refused, by name and with a remedy.

Elsewhere: files of a run that was killed or met a full disk (test_journal, test_sonata, test_simulation), a run's state
(test_run_state), results (test_results), a voltage that is no number (test_divergence), the network file itself
(test_config, test_fuzz).
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from rich_network import FILES, write_rich
from test_fuzz import damage

from noble_net.cells.family import read_family
from noble_net.config import NetworkSpec, load_network
from noble_net.errors import CheckpointError, ConfigError, FamilyError
from noble_net.registry import load_core
from noble_net.simulation import describe
from noble_net.surrogate.checkpoint import load_checkpoint, save_checkpoint
from noble_net.surrogate.streaming import StreamingCore

SURROGATE = Path(__file__).parent.parent / "surrogate"
CHECKPOINT = SURROGATE / "checkpoints/pv-stream"
FAMILY = SURROGATE / "families/allen-pv-peri"
WRONG: list[Any] = [None, True, 0, -1, 1e99, float("nan"), "x", [], [1], {}]


# --- checkpoints ------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CHECKPOINT, tmp_path / "core"))


def refused_core(folder: Path, message: str = ".") -> None:
    """Loading names a file of the folder and what to do."""
    with pytest.raises(CheckpointError, match=message) as caught:
        StreamingCore.load(folder)
    assert str(folder) in str(caught.value)
    assert "fetch weights.safetensors and core.json again" in str(caught.value)


@pytest.mark.parametrize("key", ["kind", "code", "zones", "step_samples", "name", "weights_sha256"])
def test_a_description_with_a_wrong_value_is_refused(checkpoint: Path, key: str) -> None:
    path = checkpoint / "core.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in about.items() if k != key}))
    refused_core(checkpoint, "lacks")
    for value in WRONG:
        if key == "name" and value == "x":
            continue
        path.write_text(json.dumps(about | {key: value}))
        refused_core(checkpoint)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00", "[" * 100_000, '{"a": ' + "9" * 9_000 + "}", "é"])
def test_a_description_that_is_none_is_refused(checkpoint: Path, text: str) -> None:
    (checkpoint / "core.json").write_text(text, encoding="latin-1")
    refused_core(checkpoint, r"core\.json")


@pytest.mark.parametrize("length", [0, 4, 100, 5000, -1])
def test_cut_weights_are_refused(checkpoint: Path, length: int) -> None:
    path = checkpoint / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    refused_core(checkpoint, "is not the file")
    path.unlink()
    refused_core(checkpoint, "cannot be read")


def test_weights_that_do_not_fit_the_description_are_refused(tmp_path: Path) -> None:
    """Compiled code would read beyond the end of an array that is too small."""
    whole = load_checkpoint(CHECKPOINT)
    for name, values in whole.weights.items():
        save_checkpoint(tmp_path, whole.about, {k: v for k, v in whole.weights.items() if k != name})
        refused_core(tmp_path, "there is no weight|encode_in.bias has 0 numbers|has the shape")
        for other in (values[:-1], values[..., None], values[:0]):
            save_checkpoint(tmp_path, whole.about, {**whole.weights, name: other})
            refused_core(tmp_path, "the shape|a multiple of 8 is wanted|an even number is wanted")
        for bad in (np.nan, np.inf):
            spoilt = values.copy()
            spoilt.flat[-1] = bad
            save_checkpoint(tmp_path, whole.about, {**whole.weights, name: spoilt})
            refused_core(tmp_path, "something else than finite float32")


def test_a_network_names_the_line_of_a_damaged_core(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "weights.safetensors").write_bytes(b"")
    file = tmp_path / "net.yaml"
    file.write_text(
        "name: a\nduration: 1 ms\ncore: ./core\npopulations: {a: {size: 1, family: allen-pv-peri}}\n"
    )
    load_core.cache_clear()
    with pytest.raises(ConfigError, match=r"net\.yaml:3: core = \./core: .*safetensors is not the file"):
        describe(load_network(file))


# --- families ---------------------------------------------------------------------------------------------


@pytest.fixture
def family(tmp_path: Path) -> Path:
    for kind in (".csv", ".json"):
        shutil.copy(FAMILY.with_suffix(kind), tmp_path / f"fam{kind}")
    return tmp_path / "fam.csv"


def refused_family(csv: Path, message: str = ".") -> None:
    with pytest.raises(FamilyError, match=message) as caught:
        read_family(csv)
    assert str(csv.with_suffix("")) in str(caught.value) and "Fetch the table" in str(caught.value)


@pytest.mark.parametrize("key", ["cell", "parameters", "bound"])
def test_a_family_s_description_with_a_wrong_value_is_refused(family: Path, key: str) -> None:
    path = family.with_suffix(".json")
    about = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in about.items() if k != key}))
    refused_family(family, key)
    for value in WRONG:
        fits = {
            "cell": isinstance(value, dict),
            "parameters": value == {},
            "bound": value in (None, True, 1e99),
        }
        if not fits[key]:
            path.write_text(json.dumps(about | {key: value}))
            refused_family(family, key)


@pytest.mark.parametrize("key", ["centre", "sd", "logarithmic"])
def test_a_code_that_is_none_is_refused(family: Path, key: str) -> None:
    path = family.with_suffix(".json")
    about = json.loads(path.read_text())
    name, coding = next(iter(about["parameters"].items()))
    for value in WRONG[:1] + WRONG[2:4] + WRONG[5:]:
        about["parameters"][name] = coding | {key: value}
        path.write_text(json.dumps(about))
        refused_family(family, name)
    about["parameters"][name] = 3
    path.write_text(json.dumps(about))
    refused_family(family, name)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_a_family_s_description_that_is_none_is_refused(family: Path, text: str) -> None:
    family.with_suffix(".json").write_text(text)
    refused_family(family)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("gbar_Ih.soma", "x", "column gbar_Ih.soma holds something that is no number"),
        ("gbar_Ih.soma", "", "gbar_Ih.soma of member allen-pv-peri-002 is nan"),
        ("gbar_Ih.soma", "inf", "gbar_Ih.soma of member allen-pv-peri-002 is inf"),
        ("gbar_Ih.soma", "-1", "gbar_Ih.soma of member allen-pv-peri-002 is -1"),
        ("I_thr", "x", "column I_thr holds something that is no number"),
        ("AP1_peak", "1e400", "column AP1_peak holds an infinite number"),
        ("role", "test", "the role of member allen-pv-peri-002 is none of"),
        ("member", "", "two or one without a name"),
        ("member", "allen-pv-peri-003", "two or one without a name"),
    ],
)
def test_a_wrong_value_in_a_family_s_table_is_refused(
    family: Path, column: str, value: str, message: str
) -> None:
    rows = [line.split(",") for line in family.read_text().splitlines()]
    rows[3][rows[0].index(column)] = value
    family.write_text("\n".join(map(",".join, rows)) + "\n")
    refused_family(family, message)


def test_a_cut_table_is_refused(family: Path) -> None:
    raw = family.read_bytes()
    header = raw.index(b"\n") + 1
    for content in (b"", raw[: header // 2], raw[:header], raw[: len(raw) // 2], b"\xff" + raw):
        family.write_bytes(content)
        refused_family(family, r"fam\.csv")


# --- what a network names ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> NetworkSpec:
    """A network that names a file of every kind."""
    return load_network(write_rich(tmp_path_factory.mktemp("rich")))


PASSWORDS = b"root:x:0:0:root:/root:/bin/bash\nbin:x:1:1:bin:/bin:/usr/sbin/nologin\n"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_damaged_files_are_refused_by_name(rich: NetworkSpec, name: str) -> None:
    """Cut, damaged or of another kind: one error with the line of the network file and the file at fault, which says
    nothing of what a foreign file holds."""
    assert rich.source is not None
    path = rich.source.parent / name
    raw = path.read_bytes()
    half = raw[: len(raw) // 2]
    if name.endswith("csv"):  # one that ends with a whole number is a whole, shorter table
        half = half[: half.rindex(b",") + 1]

    def verdict(content: bytes) -> str:
        path.write_bytes(content)
        try:
            describe(rich)
        except ConfigError as error:
            text = str(error)
            assert f"{rich.source}:" in text and name in text
            assert len(text) < 1000 and text.isprintable()
            return text
        return ""

    try:
        for content in (
            b"",
            PASSWORDS,
            bytes(range(256)),
            half,
            *([raw[:-1]] * name.endswith("h5")),
        ):
            told = verdict(content)
            assert told and "root:" not in told and "bin:" not in told
        refused = [verdict(damage(random.Random(f"{name} {each}"), raw)) != "" for each in range(40)]
        assert any(refused)
    finally:
        path.write_bytes(raw)
    describe(rich)


def linked(kind: str) -> Callable[[Path, str, Path], None]:
    """Makes a dataset of a file one that lies in another."""

    def link(path: Path, name: str, elsewhere: Path) -> None:
        with h5py.File(path, "r+") as file:
            shape, dtype = file[name].shape, file[name].dtype
            del file[name]
            if kind == "link":
                file[name] = h5py.ExternalLink(elsewhere, name)
            elif kind == "raw":
                file.create_dataset(name, shape, dtype, external=[(str(elsewhere), 0, h5py.h5f.UNLIMITED)])
            else:
                layout = h5py.VirtualLayout(shape, dtype)
                layout[:] = h5py.VirtualSource(elsewhere, name, shape)
                file.create_virtual_dataset(name, layout)

    return link


@pytest.mark.parametrize("kind", ["link", "raw", "virtual"])
@pytest.mark.parametrize(
    ("name", "dataset"),
    [("table.h5", "source"), ("currents.h5", "group/currents"), ("spikes.h5", "spikes/pre/timestamps")],
)
def test_only_files_that_are_named_are_read(tmp_path: Path, name: str, dataset: str, kind: str) -> None:
    spec = load_network(write_rich(tmp_path))
    shutil.copy(tmp_path / name, tmp_path / "elsewhere.h5")
    linked(kind)(tmp_path / name, dataset, tmp_path / "elsewhere.h5")
    with pytest.raises(ConfigError, match=r"lies? in another file"):
        describe(spec)


def test_a_row_longer_than_its_header_is_refused(rich: NetworkSpec, tmp_path: Path) -> None:
    spec = load_network(write_rich(tmp_path))
    (tmp_path / "table.csv").write_text("source,target,weight,delay\n1,1,1,1.5,7\n")
    with pytest.raises(ConfigError, match=r"table\.csv cannot be read"):
        describe(spec)


def test_entities_of_a_graph_s_xml_do_not_grow(rich: NetworkSpec, tmp_path: Path) -> None:
    spec = load_network(write_rich(tmp_path))
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "x"}">' for i in range(12))
    (tmp_path / "graph.graphml").write_text(f"<!DOCTYPE g [{entities}]><graphml>&e11;</graphml>")
    with pytest.raises(ConfigError, match=r"graph\.graphml cannot be read"):
        describe(spec)
    outside = '<!DOCTYPE g [<!ENTITY e SYSTEM "/etc/passwd">]><graphml>&e;</graphml>'
    (tmp_path / "graph.graphml").write_text(outside)
    with pytest.raises(ConfigError, match=r"graph\.graphml cannot be read") as caught:
        describe(spec)
    assert "root:" not in str(caught.value)
