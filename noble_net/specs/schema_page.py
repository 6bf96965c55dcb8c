"""The page of every key of the network file, docs/network-file.md, made of the file's JSON schema."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from noble_net.specs.basics import NAME
from noble_net.specs.distribution import LETTERS

Schema = Mapping[str, Any]


class _Page(NamedTuple):
    """The schema of the ``file``, and under which heading each of its definitions stands."""

    file: Schema
    places: Mapping[str, str]


_MANY = 3
"""Units that are not told one by one."""

_HEAD = """\
# The network file

Every key there is, made of the file's schema: `noble-net schema --markdown` prints this page. Keys that are not here
are refused, with the nearest that is. `noble-net schema` prints the JSON schema, with which editors complete and check
network files; many take a first line `# yaml-language-server: $schema=network.schema.json`.

```yaml
name: two-populations
duration: 500 ms
populations:
  pv: {family: allen-pv-peri, size: 20}                            # on the network's core, pv-stream
  exc: {core: integrate-and-fire, size: 80, parameters: {capacitance: 150 pF}}
synapses:
  ampa: {model: exp, decay: 2 ms, reversal: -14 mV}                # 0 mV, in the frame of the Allen fits
  gaba: {model: exp2, rise: 0.3 ms, decay: 5 ms, reversal: -80 mV}
projections:
  - {name: exc-pv, from: exc, to: pv, rule: {fixed_indegree: {indegree: 20}}, synapse: ampa,
     weight: 0.5 nS, delay: 1 ms}
  - {name: pv-exc, from: pv, to: exc, rule: {pairwise_bernoulli: {p: 0.3}}, synapse: gaba,
     weight: {lognormal: {mean: 1 nS, std: 0.5 nS}}, delay: 1 ms}
stimuli:
  - {to: exc, ornstein_uhlenbeck: {mean: 0.22 nA, sigma: 0.08 nA, tau: 5 ms}}
  - {to: pv, ornstein_uhlenbeck: {mean: 0.2 nA, sigma: 0.1 nA, tau: 5 ms}}
record: {spikes: all, voltage: {cells: [pv], dt: 0.5 ms}}
```

- **Quantities** have a unit, any that fits: `1 s` and `1000 ms` are one time. Under *written* stands an example.
- **A distribution** is `{normal: {mean: …, std: …}}`, `lognormal` or `gamma` likewise, with `min` and `max` if wanted,
  which truncate, or `{uniform: {low: …, high: …}}`. Every cell or synapse then has a value of its own.
- **Names** are letters, digits, `_`, `.` and `-`. Those of populations, projections, gap junctions and stimuli key
  their random numbers: renaming one draws it anew, and nothing else.
- **Paths** of files are relative to the network file.
- A default of – means that nothing is there unless it is given, or that the text says what is.
"""


def schema_page(schema: Schema) -> str:
    """The page, Markdown, of a network file's JSON ``schema`` (`noble_net.config.json_schema`)."""
    page = _Page(schema, dict(_places(schema)))
    sections = [_section("The file", schema, page)]
    sections += [_section(place, schema["$defs"][name], page) for name, place in page.places.items()]
    return "\n".join([_HEAD, *sections]).rstrip()


def _places(schema: Schema) -> Iterator[tuple[str, str]]:
    """Every definition that the file leads to, and the keys that lead to it first, in the file's order."""
    seen: set[str] = set()

    def below(node: Schema, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        for key, value in _properties(node).items():
            for name in _references(value):
                if name not in seen:
                    seen.add(name)
                    yield name, ": ".join((*path, key))
                    yield from below(schema["$defs"][name], (*path, key))

    return below(schema, ())


def _section(heading: str, node: Schema, page: _Page) -> str:
    """One object of the file: what it is, and a table of its keys."""
    lines = [f"{'###' if ': ' in heading else '##'} {heading}", ""]
    if node is not page.file:
        lines += [_about(node), ""]
    lines += ["| key | written | default | |", "|---|---|---|---|"]
    lines += [_row(key, value, key in node.get("required", ()), page) for key, value in _keys(node)]
    return "\n".join([*lines, ""])


def _about(node: Schema) -> str:
    return str(next((each["description"] for each in _variants(node) if "description" in each), ""))


def _keys(node: Schema) -> Iterator[tuple[str, Schema]]:
    """The keys of an object, and those of objects that it holds in place (`parameters`)."""
    for key, value in _properties(node).items():
        yield key, value
        if "$ref" not in value and value.get("type") == "object":
            yield from ((f"{key}: {inner}", each) for inner, each in _properties(value).items())


def _row(key: str, value: Schema, required: bool, page: _Page) -> str:
    cells = (
        f"`{key}`",
        _written(value, page),
        "**needed**" if required else _default(value.get("default")),
        " ".join((value.get("description") or _of_reference(value, page)).split()),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _of_reference(value: Schema, page: _Page) -> str:
    """What the one definition behind a key is, in its first sentence."""
    about = [_about(page.file["$defs"][name]) for name in _references(value)]
    return re.split(r"(?<=\.)\s", about[0])[0] if len(about) == 1 else ""


def _default(default: Any) -> str:
    if default is None or isinstance(default, dict) or default == []:
        return "–"
    shown = [_plain(each) for each in (default if isinstance(default, list) else [default])]
    return f"`[{', '.join(shown)}]`" if isinstance(default, list) else f"`{shown[0]}`"


def _plain(value: Any) -> str:
    """A value as it is written in YAML, without a fraction of zero."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return re.sub(r"^(-?\d+)\.0(?=\s|$)", r"\1", text)


def _written(value: Schema, page: _Page) -> str:
    """What a key's value looks like."""
    if "$ref" in value:
        place = page.places[_name(value)]
        return f"[{place}](#{_anchor(place)})"
    if "anyOf" in value:
        parts = [_written(each, page) for each in value["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))
    if "enum" in value:
        return ", ".join(f"`{_plain(each)}`" for each in value["enum"])
    if "examples" in value and value.get("type") == "string":
        return "quantity" if len(value["examples"]) > _MANY else _either(value["examples"])
    if value.get("type") == "array":
        return _array(value, page)
    if value.get("type") == "object":
        return _mapping(value, page)
    return _scalar(value)


def _array(value: Schema, page: _Page) -> str:
    length = value.get("minItems", 0) if value.get("minItems") == value.get("maxItems") else 0
    items = value.get("prefixItems", length * [value.get("items")])
    if items:
        return f"[{', '.join(_written(each, page) for each in items)}]"
    return f"list of {_written(value['items'], page)}"


def _mapping(value: Schema, page: _Page) -> str:
    inner = _properties(value)
    if inner.keys() & LETTERS.keys():
        return "a distribution"
    if "distance" in inner:
        return "`{distance: {" + ", ".join(f"{key}: …" for key in _properties(inner["distance"])) + "}}`"
    named = [*value.get("patternProperties", {}).values(), value.get("additionalProperties")]
    held = next((each for each in named if isinstance(each, Mapping) and each), None)
    return "keys" if held is None else f"names, each with {_written(held, page)}"


def _scalar(value: Schema) -> str:
    if value.get("type") == "string":
        return "name" if value.get("pattern") == NAME else "text"
    kinds = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`"}
    low, high = value.get("minimum", value.get("exclusiveMinimum")), value.get("maximum", math.inf)
    bounds = "" if low is None else f" from {low:g}" + (f" to {high:g}" if high <= 1e6 else "")
    return kinds.get(str(value.get("type")), "anything") + bounds


def _either(examples: Sequence[str]) -> str:
    return " or ".join(f"`{each}`" for each in examples)


def _anchor(heading: str) -> str:
    """What GitHub calls a heading in links."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _variants(node: Schema) -> Iterator[Schema]:
    """The node itself, and what it may be instead."""
    yield node
    yield from node.get("anyOf", ())


def _properties(node: Schema) -> Mapping[str, Schema]:
    return next((each["properties"] for each in _variants(node) if "properties" in each), {})


def _references(value: Any) -> Iterator[str]:
    """Names of the definitions that a value of the schema leads to without passing another."""
    if isinstance(value, Mapping):
        if "$ref" in value:
            yield _name(value)
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


def _name(reference: Schema) -> str:
    return str(reference["$ref"]).rsplit("/", 1)[-1]
