"""A network file with some keys replaced, by dotted paths: ``populations.pv.size``, ``stimuli.common.step.stop``.

Paths go through the network as `dump_network` writes it: all defaults written out, all stimuli named. Items of a list
are called by their name. So every path is known to be right or wrong before anything runs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from noble_net.config import NetworkSpec, network_from
from noble_net.errors import ConfigError
from noble_net.specs.specification import nearest
from noble_net.specs.studies import StudySpec

Path = tuple[str | int, ...]


class PathError(ValueError):
    """A dotted path leads nowhere: ``problem`` and ``remedy`` as shown to the user."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem, self.remedy = problem, remedy
        super().__init__(f"{problem}. {remedy}")


def as_data(network: NetworkSpec) -> dict[str, Any]:
    """The network as plain data, written like a file: what `noble_net.network_from` takes."""
    data: dict[str, Any] = network.model_dump(mode="json", by_alias=True, exclude_none=True)
    return data


def replace(data: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of a network's data with the value at a dotted path replaced, or added below something that exists.

    Raises PathError naming the nearest key where the path leaves the network. Whether the last key exists is left to
    the network's own check, which knows keys that are not written out.
    """
    changed = copy.deepcopy(dict(data))
    here: Any = changed
    *way, last = _steps(changed, path)
    for key in way:
        here = _under(here, key)
    here[last] = copy.deepcopy(value)
    return changed


def overridden(
    study: StudySpec, where: Path, network: NetworkSpec, overrides: Mapping[str, Any]
) -> NetworkSpec:
    """``network`` with ``overrides``, checked like a file. ``where``: the place of the overrides in the study file.

    Raises ConfigError at the line of the override at fault.
    """
    data = as_data(network)
    for path, value in overrides.items():
        try:
            data = replace(data, path, value)
        except PathError as error:
            raise study.error((*where, path), error.problem, error.remedy) from None
    try:
        return network_from(data)
    except ConfigError as error:
        at = _culprit(data, overrides, error.key or "")
        place = where if at is None else (*where, at)
        problem = f"the network would be wrong: {error.key}: {error.problem}" if error.key else error.problem
        raise study.error(place, problem, error.remedy) from None


def _culprit(data: Mapping[str, Any], overrides: Mapping[str, Any], key: str) -> str | None:
    """The override that a fault at ``key`` (such as ``stimuli[0].step.stop``) belongs to."""
    from noble_net.specs.yaml_source import key_text

    for path in overrides:
        own = key_text(_steps(data, path))
        if key.startswith(own) or own.startswith(key):
            return path
    return None


def _steps(data: Any, path: str) -> Path:
    """A dotted path as keys and indices. Names may hold dots, so the longest that exists is taken."""
    steps: list[str | int] = []
    step: str | int
    here, parts = data, path.split(".")
    while parts:
        known = _keys(here)
        for length in range(len(parts), 0, -1):
            name = ".".join(parts[:length])
            if name in known:
                step = known[name]
                here = _under(here, step)
                break
        else:
            step, length = parts[0], 1
            if len(parts) > 1 or not isinstance(here, Mapping):
                problem = f"{path!r} leads nowhere at {parts[0]!r}"
                raise PathError(problem, nearest(parts[0], known) if known else "stop before it")
        steps.append(step)
        parts = parts[length:]
    return tuple(steps)


def _under(here: Any, step: str | int) -> Any:
    return here[step]


def _keys(here: Any) -> dict[str, str | int]:
    """What a step can be called, and the key or index it stands for."""
    if isinstance(here, Mapping):
        return {str(key): str(key) for key in here}
    if isinstance(here, list):
        named = {
            str(item["name"]): i
            for i, item in enumerate(here)
            if isinstance(item, Mapping) and "name" in item
        }
        return {**{str(i): i for i in range(len(here))}, **named}
    return {}
