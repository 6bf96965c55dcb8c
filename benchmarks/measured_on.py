"""What a row of the scoreboard was measured on: hashes of the weights and of the network files that it names.

So that a row says by itself when the core or the network that ships is no longer the one it tells of.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from noble_net import find_network, load_network
from noble_net.registry import shipped
from noble_net.specs.yaml_source import load_document

CHECKPOINTS = Path(__file__).parent.parent / "surrogate/checkpoints"


def parts_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Name → hash, of every trained core and every network in a row's name and command, and the networks' cores."""
    words = set(re.findall(r"[\w-]+", f"{row['name']} {row['command']}"))
    networks = words & set(shipped()["networks"])
    named = {core for network in networks for core in _cores_in(network)}
    hashes = {name: _hash_of_network(name) for name in networks}
    hashes |= {name: each for name, each in _trained().items() if name in words | named}
    return dict(sorted(hashes.items()))


def changed(row: Mapping[str, Any]) -> list[str]:
    """What a row was measured on and ships otherwise now, or no more."""
    now = parts_of(row)
    return [name for name, before in row.get("measured_on", {}).items() if now.get(name) != before]


@cache
def _trained() -> dict[str, str]:
    """Of the weights of the cores that have any."""
    told = {file.parent.name: json.loads(file.read_text("utf-8")) for file in CHECKPOINTS.glob("*/core.json")}
    return {name: str(about["weights_sha256"])[:8] for name, about in told.items()}


@cache
def _cores_in(network: str) -> frozenset[str]:
    spec = load_network(find_network(network))
    return frozenset(spec.core_of(name) for name in spec.populations)


@cache
def _hash_of_network(name: str) -> str:
    """Of what a file says: comments do not count."""
    return hash_of(load_document(find_network(name)).data)


def hash_of(content: Any) -> str:
    """Eight digits."""
    return f"{zlib.crc32(json.dumps(content, sort_keys=True, default=str).encode()):08x}"
