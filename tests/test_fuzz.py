"""Thousands of damaged network files, and damaged files that networks name: read, or refused with one clear error.

Nothing but a ConfigError may come out, its text names the network file, and nothing takes long. What is tried
follows from the seed; the slow test takes further seeds. The example under way lies in the test's folder.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from network_text import GOOD, SNIPPETS, VALUES
from rich_network import RICH, write_rich
from ruamel.yaml import YAML

from noble_net.config import load_network
from noble_net.errors import ConfigError
from noble_net.simulation import describe

ROOT = Path(__file__).parent.parent
SHIPPED = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "networks").glob("*.yaml"))]
LONGEST = 10.0
"""Seconds one file may take on a busy machine."""
HOSTILE: list[Any] = [
    *VALUES,
    -(10**40),
    2**63,
    float("inf"),
    -0.0,
    "9" * 90,
    "1e999 ms",
    "-1e-999 nA",
    "1e308 nS",
    "nan mV",
    "../../../../../../etc/passwd",
    "/dev/zero",
    "~nobody-here/x",
    "a\0b",
    "\u202e\x1b[2J",
    "x" * 5000,
    "table.csv",
    "edges.h5",
    "all",
    [[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]],
    {"normal": {"mean": "1 nS", "std": "1 nS"}},
    {"uniform": {"low": "1 ms", "high": "-1 ms"}},
    [None] * 300,
]


def judge(path: Path) -> bool:
    """Whether the file is a network that could be run. Anything but a ConfigError that names it is a failure."""
    begin = time.monotonic()
    try:
        describe(load_network(path))
        accepted = True
    except ConfigError as error:
        text = str(error)
        assert path.name in text and "Traceback" not in text, text
        assert len(text) < 3000 and text.isprintable(), text
        accepted = False
    assert time.monotonic() - begin < LONGEST
    return accepted


# --- bytes ------------------------------------------------------------------------------------------------


def damage(chance: random.Random, raw: bytes) -> bytes:
    """A few bytes changed, put in, cut out, doubled or moved."""
    for _ in range(chance.choice([1, 1, 1, 2, 3, 8])):
        at, length = chance.randrange(len(raw) + 1), chance.choice([1, 1, 2, 5, 20, 100])
        end = min(at + length, len(raw))
        kind = chance.randrange(6)
        if kind == 0:
            low, high = chance.choice([(32, 127), (32, 127), (0, 256)])
            new = bytes(chance.randrange(low, high) for _ in range(end - at))
        elif kind == 1:
            new = chance.choice(SNIPPETS).encode() + raw[at:end]
        elif kind == 2:
            new = b""
        elif kind == 3:
            new = raw[at:end] * chance.choice([2, 3, 50])
        elif kind == 4:
            other = chance.randrange(len(raw) + 1)
            new = raw[other : other + length]
        else:
            new = bytes(b ^ (1 << chance.randrange(7)) for b in raw[at:end])
        raw = raw[:at] + new + raw[end:]
        if not raw:
            return raw
    return raw[: chance.randrange(len(raw))] if chance.random() < 0.05 else raw


def bytes_of(chance: random.Random) -> bytes:
    """A network file with damaged bytes; long ones are rare, since reading takes a while."""
    text = chance.choice([*SHIPPED, *SHIPPED, *SHIPPED, *SHIPPED, GOOD, GOOD, RICH])
    return damage(chance, text.encode())


# --- structure --------------------------------------------------------------------------------------------


def places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Every container below ``data`` with each of its keys."""
    for key in list(data) if isinstance(data, dict) else range(len(data)):
        yield data, key
        if isinstance(data[key], dict | list):
            yield from places(data[key])


def rearrange(chance: random.Random, data: dict[str, Any]) -> None:
    """One value replaced, removed, moved, nested or given under another name."""
    every = list(places(data))
    (here, key), (there, other) = chance.choice(every), chance.choice(every)
    kind = chance.randrange(7)
    if kind == 0:
        here[key] = chance.choice(HOSTILE)
    elif kind == 1:
        here[key] = json.loads(json.dumps(there[other]))
    elif kind == 2:
        del here[key]
    elif kind == 3 and isinstance(here, dict):
        here[chance.choice([*(str(k) for _, k in every), "", "é", "a b", "x" * 300, "1"])] = here.pop(key)
    elif kind == 4 and isinstance(here, list):
        here.insert(key, json.loads(json.dumps(chance.choice(here))))
    elif kind == 5:
        here[key] = chance.choice(
            [[here[key]], {"mean": here[key]}, {"normal": {"mean": here[key]}}, [here[key]] * 50]
        )
    elif isinstance(here[key], str):
        here[key] = re.sub(
            r"\d+", lambda _: str(chance.choice([0, -1, 1e-9, 1e9, 1e308, 10**12])), here[key], count=1
        )
    elif isinstance(here[key], int | float):
        here[key] = chance.choice(
            [-here[key], here[key] * 1e6, here[key] / 1e9, here[key] + 1, str(here[key])]
        )


def structure_of(chance: random.Random) -> bytes:
    """A network with some of the rich one's parts, rearranged; JSON, which is YAML and quick to write."""
    data = json.loads(PARTS)
    for key in ("projections", "stimuli", "gap_junctions"):
        data[key] = chance.sample(data[key], min(chance.choice([0, 0, 1, 2]), len(data[key])))
    if chance.random() < 0.5:
        del data["record"]
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        if data:
            rearrange(chance, data)
    # JSON writes infinity and NaN in letters of its own.
    text = json.dumps(data, ensure_ascii=True).replace("Infinity", ".inf").replace("NaN", ".nan")
    return text.encode()


PARTS = json.dumps(YAML(typ="safe", pure=True).load(RICH))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rich network's folder."""
    made = tmp_path_factory.mktemp("fuzz")
    assert judge(write_rich(made))
    return made


def attack(folder: Path, make: Callable[[random.Random], bytes], seed: int, number: int) -> list[bool]:
    """The verdicts on so many files, each from a seed of its own."""
    path = folder / "mutated.yaml"
    verdicts = []
    for each in range(number):
        raw = make(random.Random(f"{make.__name__} {seed} {each}"))
        path.write_bytes(raw)
        try:
            verdicts.append(judge(path))
        except BaseException as error:
            error.add_note(f"seed {seed}, example {each}: {raw[:4000]!r}")
            raise
    return verdicts


@pytest.mark.parametrize(("make", "number"), [(bytes_of, 200), (structure_of, 220)])
def test_damaged_networks(folder: Path, make: Callable[[random.Random], bytes], number: int) -> None:
    verdicts = attack(folder, make, 1, number)
    assert 0.02 * number < sum(verdicts) < 0.9 * number


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("make", [bytes_of, structure_of])
@pytest.mark.parametrize("seed", range(2, 12))
def test_more_damaged_networks(folder: Path, make: Callable[[random.Random], bytes], seed: int) -> None:
    attack(folder, make, seed, 3000)
