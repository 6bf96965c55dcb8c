"""A network with its input, its inhibition or its mix of cells changed by a share: what both sides must answer alike.

Changes are made in the network file (see `noble_net.study.overrides`), so both sides get the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from noble_net.config import NetworkSpec, ProjectionSpec, network_from
from noble_net.errors import ConfigError
from noble_net.specs.validation import ChangesSpec
from noble_net.study.overrides import as_data

INHIBITS_BELOW = -55.0
"""Conductances that reverse below this inhibit, mV: the Allen fits, in their frame, spike near −60 mV."""

_SCALED = {
    "ornstein_uhlenbeck": ("mean",),
    "noise": ("mean",),
    "shot_noise": ("rate",),
    "step": ("amplitude",),
    "linear": ("amp_start", "amp_end"),
    "pulse": ("amp",),
    "sinusoidal": ("amp",),
    "current_table": ("scale",),
    "poisson": ("rate",),
}
"""What makes a stimulus stronger, by its kind. A replay of spikes has nothing that does."""


class Changed(NamedTuple):
    """A network changed by −``share`` and by +``share``; ``about`` says what of it."""

    kind: str
    about: str
    share: float
    down: NetworkSpec
    up: NetworkSpec


def changed_networks(network: NetworkSpec, changes: ChangesSpec) -> tuple[list[Changed], list[str]]:
    """The changed networks, and a sentence for every change that this network has no room for."""
    found: list[Changed] = []
    left_out: list[str] = []
    makers: Mapping[str, Callable[[NetworkSpec, float], tuple[dict[str, Any], str] | None]] = {
        "input": _input,
        "inhibition": _inhibition,
        "mix": _mix,
    }
    for kind, make in makers.items():
        share = float(getattr(changes, kind))
        if not share:
            continue
        made = [make(network, 1.0 + sign * share) for sign in (-1, 1)]
        if made[0] is None or made[1] is None:
            left_out.append(f"The response to {kind} is not tested: {_WITHOUT[kind]}.")
            continue
        try:
            down, up = (network_from(data) for data, _ in (made[0], made[1]))
        except ConfigError as error:
            left_out.append(f"The response to {kind} is not tested: {error.key}: {error.problem}.")
            continue
        found.append(Changed(kind, made[0][1], share, down, up))
    return found, left_out


_WITHOUT = {
    "input": "no stimulus has an amplitude, mean or rate to change",
    "inhibition": "no projection inhibits with a weight of the file",
    "mix": "it takes two populations, and one of at least five cells that come from no node file",
}


def _input(network: NetworkSpec, factor: float) -> tuple[dict[str, Any], str] | None:
    data, touched = as_data(network), []
    for stimulus in data["stimuli"]:
        kind = next(key for key in stimulus if key not in ("name", "to"))
        parameters = stimulus[kind]
        if kind == "current_table":
            parameters.setdefault("scale", "1.0 nA")
        for key in _SCALED.get(kind, ()):
            if key in parameters and parameters[key] != (scaled := _times(parameters[key], factor)):
                parameters[key] = scaled
                touched.append(f"{stimulus['name']}.{key}")
    return (data, ", ".join(touched)) if touched else None


def _inhibition(network: NetworkSpec, factor: float) -> tuple[dict[str, Any], str] | None:
    data, touched = as_data(network), []
    for spec, projection in zip(network.projections, data["projections"], strict=True):
        if _inhibits(network, spec):
            projection["weight"] = _times(projection["weight"], factor)
            touched.append(spec.name)
    return (data, ", ".join(touched)) if touched else None


def _inhibits(network: NetworkSpec, projection: ProjectionSpec) -> bool:
    synapse, weight = network.synapses[projection.synapse], projection.weight
    if weight is None:
        return False
    if synapse.reversal is not None:
        return synapse.reversal < INHIBITS_BELOW
    return weight.highest <= 0.0


def _mix(network: NetworkSpec, factor: float) -> tuple[dict[str, Any], str] | None:
    free = {
        name: each.size for name, each in network.populations.items() if each.nodes is None and each.size >= 5
    }
    if len(network.populations) < 2 or not free:
        return None
    name = min(free, key=lambda each: free[each])
    data = as_data(network)
    data["populations"][name]["size"] = round(free[name] * factor)
    return data, f"size of {name}"


def _times(value: Any, factor: float) -> Any:
    """A quantity, or every quantity of a distribution, as a network file writes them, times ``factor``."""
    if isinstance(value, Mapping):
        return {key: _times(item, factor) for key, item in value.items()}
    number, unit = str(value).split(" ", 1)
    return f"{float(number) * factor!r} {unit}"
