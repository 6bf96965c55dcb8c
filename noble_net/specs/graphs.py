"""Generators of networkx by name: only its own functions can be reached, and only with plain arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from noble_net.specs.specification import check_keys, fault, nearest

_OURS = ("seed", "create_using", "backend", "backend_kwargs")
"""Arguments that are not the file's: the seed is the projection's; the others take code, not values."""


def generators() -> dict[str, Callable[..., Any]]:
    """All public functions of networkx.generators, by name."""
    import networkx

    return {
        name: found
        for name, found in vars(networkx.generators).items()
        if not name.startswith("_")
        and callable(found)
        and str(getattr(found, "__module__", "")).startswith("networkx.generators.")
    }


def parameters_of(generator: str) -> dict[str, inspect.Parameter]:
    """A generator's parameters by name."""
    return dict(inspect.signature(generators()[generator]).parameters)


def check_generator(name: str) -> None:
    """Raise a validator's error unless networkx has a generator of that name."""
    known = generators()
    if name not in known:
        graphs = [each for each in known if each.endswith("_graph")]
        raise fault("is not a generator of networkx", nearest(name, graphs))


def check_arguments(generator: str, arguments: Mapping[str, object]) -> None:
    """Raise a validator's error for arguments that are unknown, missing or no plain values."""
    parameters = parameters_of(generator)
    check_keys(arguments, [name for name in parameters if name not in _OURS], ("arguments",))
    for name, value in arguments.items():
        if not _plain(value):
            raise fault("is no number, text or list of them", "give plain values", ("arguments", name))
    for name, parameter in parameters.items():
        needed = parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
        if needed and name not in (*arguments, "n", *_OURS):
            raise fault(f"{generator} needs `{name}`", f"add `{name}: …`", ("arguments",))


def _plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_plain(item) for item in value)
    return isinstance(value, str | int | float | bool)
