"""The network file's schema, and files with typing errors or values of any type."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from network_text import GOOD, SNIPPETS, VALUES, write
from ruamel.yaml import YAML

from noble_net.config import dump_network, json_schema, load_network, network_from
from noble_net.errors import ConfigError


def test_mutated_files_load_or_are_refused_properly(tmp_path: Path) -> None:
    """Whatever a typing error makes of a file, it loads or gives a ConfigError, never another exception."""
    chance = random.Random(5)
    outcomes = []
    for _ in range(300):
        text = GOOD
        for _ in range(chance.randint(1, 3)):
            at, cut = chance.randrange(len(text)), chance.choice([0, 0, 1, 3, 12])
            text = text[:at] + chance.choice(["", *SNIPPETS]) + text[at + cut :]
        try:
            load_network(write(tmp_path, text))
            outcomes.append(True)
        except ConfigError as error:
            assert "net.yaml" in str(error)
            assert "Traceback" not in str(error)
            outcomes.append(False)
    assert 0 < sum(outcomes) < len(outcomes)


def _paths(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path] * bool(path) + [deeper for key, value in items for deeper in _paths(value, (*path, key))]


def test_every_value_may_be_wrong() -> None:
    """Each value of the file replaced by things of every type: accepted or a ConfigError that has a key."""
    text = json.dumps(YAML(typ="safe").load(GOOD))
    for path in _paths(json.loads(text)):
        for value in VALUES:
            data = json.loads(text)
            here = data
            for key in path[:-1]:
                here = here[key]
            here[path[-1]] = value
            try:
                network_from(data)
            except ConfigError as error:
                assert error.key


def test_schema_describes_the_letter(tmp_path: Path) -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    good = YAML(typ="safe").load(GOOD)
    jsonschema.validate(good, schema)
    for key, value in (("duration", 2000), ("sede", 1), ("populations", {}), ("name", "a/b")):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(good | {key: value}, schema)
    spec = load_network(write(tmp_path, GOOD))
    jsonschema.validate(YAML(typ="safe").load(dump_network(spec)), schema)


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object within a JSON schema."""
    if isinstance(schema, dict):
        yield schema
    for each in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from parts(each)


def test_defaults_in_the_schema_are_as_in_a_file() -> None:
    schema = json_schema()
    told = [part for part in parts(schema) if part.get("default") is not None]
    for part in told:
        # `jsonschema.validate` would look at the whole schema again, each time.
        jsonschema.Draft202012Validator({**part, "$defs": schema["$defs"]}).validate(part["default"])
    assert {"0.0 ms", "0.1 ms", "100.0 pF", "all"} <= {str(part["default"]) for part in told}


def test_every_key_of_the_schema_says_what_it_is() -> None:
    specs = [part for part in parts(json_schema()) if {"title", "properties"} <= part.keys()]
    assert len(specs) > 40
    for spec in specs:
        for key, value in spec["properties"].items():
            about = value.get("description", "")
            assert about or "$ref" in str(value), f"{spec['title']}: {key}"
            assert not re.match(r"an? [a-z ]+ such as `", about), f"{spec['title']}: {key} has but its unit"
