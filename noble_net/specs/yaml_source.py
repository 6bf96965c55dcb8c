"""YAML files as plain data that knows where each key stood.

Network files come from strangers: no tags, no expanding aliases, no huge or deeply nested files. ruamel.yaml
parses (YAML 1.2); here its nodes become dicts, lists and scalars, and every key path gets its line number.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from noble_net.errors import ConfigError, shortened

KeyPath = tuple[str | int, ...]

MAX_BYTES = 1_000_000
MAX_NODES = 100_000
MAX_DEPTH = 40
MAX_DIGITS = 100
_TEXT = "tag:yaml.org,2002:str"
_SCALARS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null"))
_COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


class Location(NamedTuple):
    """Where a key stands: ``line`` is 1-based or None, ``key`` is written as in ``projections[0].weight``."""

    file: Path | None
    line: int | None
    key: str
    value: object


@dataclass(frozen=True)
class Document:
    """Plain data with the place of every key. ``lines`` maps key paths to 1-based lines."""

    data: Any
    file: Path | None = None
    lines: Mapping[KeyPath, int] = field(default_factory=dict)

    def locate(self, path: Sequence[str | int]) -> Location:
        """The place of ``path``, or of the deepest part of it that exists.

        A one-key mapping such as ``{normal: {mean: …}}`` is looked through, so that both
        ``weight.normal.mean`` and ``weight.mean`` find it.
        """
        here = value = self.data
        trail: KeyPath = ()
        found: KeyPath = ()
        for key in path:
            if isinstance(here, dict) and key not in here and len(here) == 1:
                wrapper = next(iter(here))
                if isinstance(here[wrapper], dict) and key in here[wrapper]:
                    here, trail = here[wrapper], (*trail, wrapper)
            trail = (*trail, key)
            here = _step(here, key)
            if here is not _MISSING:
                found, value = trail, here
        shown = value if found == trail and not isinstance(value, dict | list) else None
        return Location(self.file, self._line(trail), key_text(trail), shown)

    def _line(self, path: KeyPath) -> int | None:
        """Line of the deepest part of ``path`` that has one."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return None

    def error(self, path: Sequence[str | int], problem: str, remedy: str = "") -> ConfigError:
        """A ConfigError that names the place, key and value of ``path``."""
        place = self.locate(path)
        return ConfigError(
            problem, file=place.file, line=place.line, key=place.key or None, value=place.value, remedy=remedy
        )


def load_document(path: str | Path) -> Document:
    """Read a YAML file whose top is a mapping. Raises ConfigError for anything else, at its line."""
    file = Path(path)
    text = _read(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a reused anchor is legal and harmless here
            loader = YAML(typ="safe", pure=True)
            root = loader.compose(text)
            reader = _Reader(file, loader.constructor)
            data = reader.read(root, ()) if root is not None else None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        problem = " ".join(str(error.problem or error.context or "cannot be parsed").split())
        problem = shortened(problem, _LONGEST_REASON)
        raise ConfigError(f"not valid YAML: {problem}", file=file, line=line, remedy=_SYNTAX) from error
    except (YAMLError, ValueError) as error:
        raise ConfigError(f"not valid YAML: {_first_line(error)}", file=file, remedy=_SYNTAX) from error
    except RecursionError as error:
        raise ConfigError(f"nested deeper than {MAX_DEPTH} levels", file=file, remedy="flatten it") from error
    if not isinstance(data, dict):
        what = "is empty" if data is None else f"holds a {type(data).__name__}, not keys with values"
        raise ConfigError(what, file=file, line=1, remedy="start it with a line such as `name: my-network`")
    return Document(data, file, reader.lines)


def key_text(path: Sequence[str | int]) -> str:
    """A key path as people write it: ``populations.pv.size``, ``projections[0].weight``."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else (f".{key}" if text else str(key))
    return text


_MISSING = object()
_LONGEST_REASON = 120
_SYNTAX = "check indentation, brackets and the space after each colon"


def _step(here: Any, key: str | int) -> Any:
    if isinstance(here, dict):
        return here.get(key, _MISSING)
    if isinstance(here, list) and isinstance(key, int) and 0 <= key < len(here):
        return here[key]
    return _MISSING


def _first_line(error: BaseException) -> str:
    return shortened((str(error).strip().splitlines() or [type(error).__name__])[0], _LONGEST_REASON)


def _read(file: Path) -> str:
    """The text of a regular UTF-8 file of at most MAX_BYTES."""
    try:
        if not file.exists():
            raise ConfigError("there is no such file", file=file, remedy="check the path")
        if not file.is_file():
            kind = "a directory" if file.is_dir() else "not a regular file"
            raise ConfigError(f"this is {kind}", file=file, remedy="give the path of a YAML file")
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"cannot be read: {reason}", file=file, remedy="check the path and its permissions"
        ) from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(
            f"is larger than {MAX_BYTES // 1_000_000} MB", file=file, remedy="is it a YAML file at all?"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(
            "is not UTF-8 text", file=file, line=line, remedy="save the file as UTF-8"
        ) from error


class _Reader:
    """Turns composed nodes into plain data, noting lines and refusing what a network file never needs."""

    def __init__(self, file: Path, constructor: SafeConstructor) -> None:
        self.file, self.constructor = file, constructor
        self.lines: dict[KeyPath, int] = {}
        self.nodes = 0

    def read(self, node: Node, path: KeyPath) -> Any:
        """The data below ``node``; an aliased node is read once per use, and counts each time."""
        self.nodes += 1
        self.lines.setdefault(path, node.start_mark.line + 1)
        if self.nodes > MAX_NODES:
            raise self._refuse(
                node, path, f"holds more than {MAX_NODES} values", "use fewer aliases (`*name`)"
            )
        if len(path) > MAX_DEPTH:
            raise self._refuse(node, path, f"nested deeper than {MAX_DEPTH} levels", "flatten it")
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if isinstance(node, SequenceNode) and node.tag in _COLLECTIONS:
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, MappingNode) and node.tag in _COLLECTIONS:
            return self._mapping(node, path)
        raise self._refuse(node, path, f"the tag {_tag_text(node)} is not allowed", "remove the tag")

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.read(key_node, path) if isinstance(key_node, ScalarNode) else None
            if not isinstance(key, str):
                text = getattr(key_node, "value", "") if isinstance(key_node, ScalarNode) else "this key"
                text = shortened(repr(text), _LONGEST_REASON)
                raise self._refuse(key_node, path, f"{text} cannot be a key", "keys are plain names")
            if key in data:
                raise self._refuse(key_node, (*path, key), "the key is given twice", "remove one of them")
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            data[key] = self.read(value_node, (*path, key))
        return data

    def _scalar(self, node: ScalarNode, path: KeyPath) -> Any:
        if node.tag not in _SCALARS:
            what = "merging (`<<`)" if str(node.tag).endswith(":merge") else f"the tag {_tag_text(node)}"
            raise self._refuse(node, path, f"{what} is not allowed", "write the value out")
        if node.tag != _TEXT and len(node.value) > MAX_DIGITS:
            raise self._refuse(
                node, path, f"is a number of {len(node.value)} characters", "write a shorter one"
            )
        try:
            value = self.constructor.construct_object(node, deep=True)
            if isinstance(value, str):
                value.encode()
        except UnicodeEncodeError as error:
            raise self._refuse(node, path, "holds half of a character", "remove the `\\u`") from error
        except (ValueError, OverflowError) as error:
            raise self._refuse(node, path, f"cannot be read: {_first_line(error)}", "check it") from error
        return value

    def _refuse(self, node: Node, path: KeyPath, problem: str, remedy: str) -> ConfigError:
        line = node.start_mark.line + 1
        return ConfigError(problem, file=self.file, line=line, key=key_text(path) or None, remedy=remedy)


def _tag_text(node: Node) -> str:
    return shortened(str(node.tag).replace("tag:yaml.org,2002:", "!!"), _LONGEST_REASON)
