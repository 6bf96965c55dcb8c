"""The state of a network on several processes, brought together as one process would have it, and divided again.

So a run goes on with any number of processes. What belongs to cells lies in the order of their numbers, which is that
of the processes; weights lie by source first; events under way by the sample in which they arrive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noble_net.errors import OutputError
from noble_net.loop import Loop
from noble_net.network.build import Network
from noble_net.network.connect import ProjectionArrays
from noble_net.ranks.group import RankGroup
from noble_net.run_state import Arrays
from noble_net.types import Int64

_EVENTS = ("underway", "target", "amount")


class _Paths(NamedTuple):
    """The paths of a state by how their arrays are divided."""

    common: list[str]
    by_cell: list[str]
    by_synapse: dict[str, ProjectionArrays]
    events: dict[str, int]
    """Where events under way are, and the first target of this process."""


def _paths(loop: Loop) -> _Paths:
    network, common = loop.network, loop.common()
    firsts = {each.name: each.here.start for each in network.populations}
    weights = {f"projections/{each.name}/weight": each for each in network.projections}
    found = _Paths([], [], {}, {})
    for path in loop.state():
        branch, name = path.rsplit("/", 1) if "/" in path else ("", path)
        if path in common:
            found.common.append(path)
        elif path in weights:
            found.by_synapse[path] = weights[path]
        elif branch.startswith("synapses/") and name in _EVENTS:
            found.events[branch] = firsts[branch.split("/")[1]]
        else:
            found.by_cell.append(path)
    return found


def gather_state(group: RankGroup, loop: Loop) -> dict[str, NDArray[Any]] | None:
    """The state of the whole network, to the leader; None to the others."""
    paths, mine = _paths(loop), loop.state()
    for branch, first in paths.events.items():
        mine[f"{branch}/target"] = mine[f"{branch}/target"] + np.int32(first)
    counts = {path: np.diff(each.indptr) for path, each in paths.by_synapse.items()}
    parts = group.led((mine, counts))
    if parts is None:
        return None
    states, rows = [part[0] for part in parts], [part[1] for part in parts]
    found = {path: mine[path] for path in paths.common}
    for path in paths.by_cell:
        found[path] = np.concatenate([state[path] for state in states])
    for path in paths.by_synapse:
        order = _by_source([each[path] for each in rows])
        found[path] = np.concatenate([state[path] for state in states])[order]
    for branch in paths.events:
        underway, target, amount = ([state[f"{branch}/{name}"] for state in states] for name in _EVENTS)
        order = np.argsort(np.concatenate([_slots(each) for each in underway]), kind="stable")
        found[f"{branch}/underway"] = np.sum(underway, axis=0)
        found[f"{branch}/target"] = np.concatenate(target)[order]
        found[f"{branch}/amount"] = np.concatenate(amount)[order]
    return found


def divide_state(group: RankGroup, loop: Loop, whole: Arrays) -> dict[str, NDArray[Any]]:
    """What of the state of a whole network is this process's. OutputError, in all of them, when it does not fit."""
    paths, mine = _paths(loop), loop.state()
    lengths = {path: len(mine[path]) for path in paths.by_cell}
    counts = {path: np.diff(each.indptr) for path, each in paths.by_synapse.items()}
    everyone = group.everyones((lengths, counts))
    found = {path: whole[path] for path in paths.common if path in whole}
    for path in paths.by_cell:
        before, total = (sum(each[path] for each, _ in everyone[:n]) for n in (group.rank, group.ranks))
        found[path] = _fitting(whole, path, total)[before : before + lengths[path]]
    for path in paths.by_synapse:
        rows = [each[path] for _, each in everyone]
        found[path] = _fitting(whole, path, int(np.sum(rows)))[_places(rows, group.rank)]
    ranges = {each.name: each.here for each in loop.network.populations}
    for branch, first in paths.events.items():
        here = ranges[branch.split("/")[1]]
        counted = _fitting(whole, f"{branch}/underway", len(mine[f"{branch}/underway"]))
        target, amount = (
            _fitting(whole, f"{branch}/{name}", int(counted.sum())) for name in ("target", "amount")
        )
        own = (target >= here.start) & (target < here.stop)
        kept = np.bincount(_slots(counted)[own], minlength=len(counted)).astype(np.int64)
        found[f"{branch}/underway"] = kept
        found[f"{branch}/target"] = (target[own] - first).astype(np.int32)
        found[f"{branch}/amount"] = amount[own]
    return found


def gather_projections(group: RankGroup, network: Network) -> Network:
    """The network with all synapses of all processes, in the leader, if the run writes any; as it is elsewhere.

    A projection at a time, and those alone that are written: all, or those that learn.
    """
    wanted = {each.name for each in (network.projections if network.writes_edges else network.learned)}
    whole = []
    for each in network.projections:
        if each.name in wanted:
            mine = np.diff(each.indptr), each.target + np.int32(each.first), each.weight, each.delay
            parts = group.led(mine)
            if parts is not None:
                each = _merged(each, parts)
        whole.append(each)
    return replace(network, projections=tuple(whole)) if group.leads else network


def gather_weights(group: RankGroup, network: Network, weights: Arrays) -> dict[str, NDArray[Any]]:
    """The weights of the projections that learn, by source, in the leader; nothing elsewhere."""
    found: dict[str, NDArray[Any]] = {}
    for each in network.learned:
        parts = group.led((np.diff(each.indptr), weights.get(each.name, each.weight)))
        if parts is not None:
            order = _by_source([rows for rows, _ in parts])
            found[each.name] = np.concatenate([part for _, part in parts])[order]
    return found


def _merged(each: ProjectionArrays, parts: Sequence[Any]) -> ProjectionArrays:
    rows = [part[0] for part in parts]
    order = _by_source(rows)
    target, weight, delay = (np.concatenate([part[i] for part in parts])[order] for i in (1, 2, 3))
    indptr = np.concatenate([[0], np.cumsum(np.sum(rows, axis=0))]).astype(np.int64)
    return replace(each, indptr=indptr, target=target, weight=weight, delay=delay, first=0)


def _by_source(rows: Sequence[Int64]) -> Int64:
    """The order that brings processes' synapses, one process after the other, to that of one process alone. ``rows``:
    how many synapses each source has in each."""
    sources = np.concatenate([np.repeat(np.arange(len(each)), each) for each in rows])
    return np.argsort(sources, kind="stable").astype(np.int64)


def _places(rows: Sequence[Int64], rank: int) -> Int64:
    """Where the synapses of process ``rank`` lie in that order."""
    total, own = np.sum(rows, axis=0), rows[rank]
    begins = np.cumsum(total) - total + np.sum(rows[:rank], axis=0, dtype=np.int64)
    ahead = np.arange(int(own.sum())) - np.repeat(np.cumsum(own) - own, own)
    places: Int64 = np.repeat(begins, own) + ahead
    return places


def _slots(counts: Int64) -> Int64:
    return np.repeat(np.arange(len(counts)), counts)


def _fitting(whole: Mapping[str, NDArray[Any]], path: str, length: int) -> NDArray[Any]:
    found = whole.get(path)
    if found is None or len(found) != length:
        told = "missing" if found is None else f"of length {len(found)}"
        raise OutputError(
            f"the state of the run does not fit its network: {path} is {told}, not of length {length}. Start the run "
            "again with --overwrite."
        )
    return found
