"""SONATA's JSON configs: values with the line they stand on, paths with their variables filled in."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from noble_net.errors import ConfigError
from noble_net.specs.yaml_source import Document, KeyPath, load_document

_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
_DEPTH = 10


class ConfigFile:
    """One config. Keys are given as paths, such as ``("run", "tstop")``; every fault is a ConfigError at its line."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.document = _load(self.path)
        self._variables = {"configdir": str(self.path.parent.resolve()), "workingdir": str(Path.cwd())}
        manifest = self.mapping("manifest")
        for key, value in manifest.items():
            if not isinstance(value, str):
                raise self.error(("manifest", key), "is no text", "give a path")
            self._variables[key.lstrip("$").strip("{}")] = value

    def error(self, keys: KeyPath, problem: str, remedy: str = "") -> ConfigError:
        """A ConfigError at the place of ``keys``."""
        return self.document.error(keys, problem, remedy)

    def get(self, *keys: str | int, default: Any = None) -> Any:
        """What stands there, or the default where nothing does."""
        here = self.document.data
        for key in keys:
            try:
                here = here[key]
            except (KeyError, IndexError, TypeError):
                return default
        return default if here is None else here

    def mapping(self, *keys: str | int) -> dict[str, Any]:
        """Keys with values, none where nothing stands."""
        found = self.get(*keys, default={})
        if not isinstance(found, dict):
            raise self.error(keys, "is not what is wanted here", "write keys with values in braces")
        return found

    def items(self, *keys: str | int) -> list[Any]:
        """A list, empty where nothing stands."""
        found = self.get(*keys, default=[])
        if not isinstance(found, list):
            raise self.error(keys, "is not what is wanted here", "write a list in brackets")
        return found

    def number(self, *keys: str | int, default: float | None = None) -> float:
        """A finite number."""
        found = self.get(*keys, default=default)
        if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
            what = "is missing" if found is None else "is no number"
            raise self.error(keys, what, f'write a number, such as "{keys[-1]}": 1.0')
        return float(found)

    def file(self, *keys: str | int) -> Path:
        """A path, whole: relative ones start in the config's folder."""
        found = self.get(*keys)
        if not isinstance(found, str) or not found:
            raise self.error(keys, "is missing" if found is None else "is no text", "give a path")
        return (self.path.parent / self._filled(keys, found)).resolve()

    def there(self, *keys: str | int) -> Path:
        """The path of a file that exists."""
        path = self.file(*keys)
        if not path.is_file():
            raise self.error(
                keys, f"there is no file {path}", "correct the path, or the manifest's variables"
            )
        return path

    def _filled(self, keys: KeyPath, text: str) -> str:
        for _ in range(_DEPTH):
            names = _VARIABLE.findall(text)
            if not names:
                return text
            for name in names:
                if name not in self._variables:
                    known = ", ".join(f"${each}" for each in self._variables)
                    raise self.error(keys, f"the manifest has no variable ${name}", f"known: {known}")
            text = _VARIABLE.sub(lambda found: self._variables[found[1]], text)
        raise self.error(keys, "variables of the manifest lead in a circle", "write one of them out")


def _load(path: Path) -> Document:
    """JSON, with lines where it is small enough and YAML's reader takes it as well."""
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError("there is no such file", file=path, remedy="check the path") from None
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"not valid JSON: {error.msg}", file=path, line=error.lineno, remedy="check commas and brackets"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"cannot be read as JSON: {error}", file=path, remedy="check the file") from error
    if not isinstance(data, dict):
        raise ConfigError("holds no keys with values", file=path, line=1, remedy="give a SONATA config")
    lines: Mapping[KeyPath, int] = {}
    with suppress(ConfigError):
        lines = load_document(path).lines
    return Document(data, path, lines)
