"""Finding what ships, and the public names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import noble_net
from noble_net.errors import CheckpointError, FamilyError, NobleNetError
from noble_net.network.check import check_network
from noble_net.registry import cores_of, find_network, load_core, load_family, shipped
from noble_net.simulation import load_parts
from noble_net.surrogate.checkpoint import load_checkpoint, save_checkpoint

ROOT = Path(__file__).parent.parent


def test_everything_shipped_loads():
    found = shipped()
    assert {"pv-stream", "integrate-and-fire"} <= set(found["cores"])
    for name in found["cores"]:
        zones = ("soma", "proximal", "distal") if name.endswith("-zones") else ("soma",)
        assert load_core(name).zones == zones
    for name in found["families"]:
        assert len(load_family(name).table) >= 200


@pytest.mark.parametrize("name", shipped()["networks"])
def test_shipped_networks_are_checked_without_a_warning(name):
    spec = noble_net.load_network(find_network(name))
    cores, _ = load_parts(spec)
    check_network(spec, {name: core.info for name, core in cores.items()})


def test_unknown_names_get_the_nearest_known_one():
    with pytest.raises(CheckpointError, match="did you mean 'pv-stream'"):
        load_core("pv-steam")
    with pytest.raises(FamilyError, match="did you mean 'allen-pv-peri'"):
        load_family("allen-pv-perri")
    with pytest.raises(NobleNetError, match="did you mean 'quickstart'"):
        find_network("quickstar")


def test_the_shipped_core_belongs_to_the_shipped_family():
    core = load_core("pv-stream")
    assert core.family_hash == load_family(core.family).hash


def test_a_family_s_own_core_is_no_baseline():
    assert cores_of("allen-pv-peri") == ["pv-stream"] and "pv-window" in shipped()["cores"]
    assert cores_of("allen-nr5a1") == ["nr5a1-zones"] and cores_of("none") == []


def test_a_damaged_checkpoint_is_refused(tmp_path):
    source = load_checkpoint(ROOT / "surrogate/checkpoints/pv-stream")
    about = {k: v for k, v in source.about.items() if k not in ("version", "weights_sha256")}
    save_checkpoint(tmp_path, about, source.weights)
    load_checkpoint(tmp_path)
    weights = tmp_path / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="is not the file"):
        load_checkpoint(tmp_path)
    weights.write_bytes(content[:100])
    with pytest.raises(CheckpointError, match="weights"):
        load_checkpoint(tmp_path)
    (tmp_path / "core.json").write_text("{}")
    with pytest.raises(CheckpointError, match="lacks"):
        load_checkpoint(tmp_path)


def test_public_names_exist_and_are_documented():
    for name in noble_net.__all__:
        assert getattr(noble_net, name).__doc__
    with pytest.raises(AttributeError):
        noble_net.nothing  # noqa: B018


def test_import_brings_in_nothing_heavy():
    heavy = "torch neuron matplotlib numba pandas libsonata elephant brian2 scipy"
    code = f"import sys, noble_net; print([m for m in {heavy.split()!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_running_networks_needs_neither_torch_nor_neuron():
    code = (
        "import sys; from noble_net import load_core, load_family; from noble_net import simulate;"
        "load_core('pv-stream').begin(load_family('allen-pv-peri').cells(['allen-pv-peri-000']));"
        "print([m for m in ('torch', 'neuron', 'bmtk', 'efel', 'brian2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
