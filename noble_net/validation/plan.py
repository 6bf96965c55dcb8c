"""Which runs a validation takes: seeds of noise on both sides, a finer step, a replay, changed networks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from noble_net.config import NetworkSpec, network_from, with_overrides
from noble_net.network.check import INJECTION_ZONE
from noble_net.provenance import hashes_of_files
from noble_net.specs.validation import ReplaySpec, ValidationSpec
from noble_net.study.overrides import as_data
from noble_net.validation.backends import Backend
from noble_net.validation.changes import Changed, changed_networks
from noble_net.validation.replay import replayable

BASE, FINE, REPLAY = "base", "fine", "replay"
"""Conditions besides those of changes, which are called such as `input-down` and `input-up`."""
REFERENCE, SURROGATE = "reference", "surrogate"
_KEY = 32


@dataclass(frozen=True)
class Run:
    """One run of a plan. ``network`` has its noise seed, duration, warm-up and recordings; ``replay``: settings of what
    is kept for a replay, ``refinement`` of its floor."""

    side: str
    condition: str
    seed: int
    backend: Backend
    network: NetworkSpec
    step: float | None
    replay: ReplaySpec | None = None
    refinement: int = 1

    @property
    def name(self) -> str:
        """As it is called in progress, errors and indices."""
        return f"{self.network.name}, {self.backend.name}, {self.condition}, noise seed {self.seed}"

    @property
    def cost(self) -> float:
        """Seconds it takes, roughly."""
        cells = sum(each.size for each in self.network.populations.values())
        finer = 1.0 if not self.step or not self.backend.step else self.backend.step / self.step
        seconds = cells * (self.network.duration + self.network.warmup) / 1000.0
        cost = self.backend.cost * seconds * finer
        if self.replay is None:
            return cost
        asked = min(cells, self.replay.floor_cells * len(self.network.populations))
        return cost * (1.0 + asked / cells * (1 + self.refinement))

    @cached_property
    def key(self) -> str:
        """A check sum of all that determines the record."""
        content = {
            "network": _letter(self.network, self.backend.depends_on_cores),
            "backend": self.backend.identity(self.network),
            "step_ms": self.step,
            "replay": None if self.replay is None else self._replayed(self.replay),
        }
        text = json.dumps(content, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:_KEY]

    def _replayed(self, replay: ReplaySpec) -> list[Any]:
        synapses = self.network.synapses.values()
        elsewhere = any(each.zone != INJECTION_ZONE or each.model == "nmda" for each in synapses)
        floor = ["zones"] if elsewhere else []  # such networks once had none, and their records are kept
        return [replay.model_dump(mode="json"), self.refinement, *floor]


@dataclass(frozen=True)
class Plan:
    """All runs of a validation. ``notes``: what it does without, and why."""

    settings: ValidationSpec
    network: NetworkSpec
    runs: tuple[Run, ...]
    changed: tuple[Changed, ...]
    notes: tuple[str, ...]

    def of(self, side: str, condition: str) -> list[Run]:
        """The runs of one side and condition, by seed."""
        return [run for run in self.runs if (run.side, run.condition) == (side, condition)]


def make_plan(network: NetworkSpec, reference: Backend, surrogate: Backend, settings: ValidationSpec) -> Plan:
    """The runs, each network checked on the side that runs it; nothing runs.

    Raises what the backends raise for networks they cannot hold.
    """
    times = {"warmup": settings.warmup, "duration": settings.duration}
    base = _with(network, **times)
    sides = ((REFERENCE, reference, reference.step), (SURROGATE, surrogate, surrogate.step))
    runs = [
        Run(side, BASE, seed, backend, _with(base, noise_seed=seed), step)
        for side, backend, step in sides
        for seed in settings.seeds
    ]
    notes = []
    if reference.step is not None:
        finer = reference.step / settings.refinement
        runs += [
            Run(REFERENCE, FINE, seed, reference, _with(base, noise_seed=seed), finer)
            for seed in settings.seeds[: settings.fine_seeds]
        ]
    if settings.replay is not None:
        why = replayable(network)
        if why is None:
            runs.append(_replayed(base, reference, settings, settings.replay))
        else:
            notes.append(f"There is no decoupled replay: {why}.")
    changed: list[Changed] = []
    if settings.changes is not None:
        shorter = _with(base, duration=settings.changed_duration)
        changed, left_out = changed_networks(shorter, settings.changes)
        notes += left_out
    for change in changed:
        for condition, spec in ((f"{change.kind}-down", change.down), (f"{change.kind}-up", change.up)):
            runs += [
                Run(side, condition, seed, backend, _with(spec, noise_seed=seed), step)
                for side, backend, step in sides
                for seed in settings.seeds[: settings.changes.seeds if settings.changes else 0]
            ]
    _check(network, runs)
    return Plan(settings, base, tuple(runs), tuple(changed), tuple(notes))


def _check(network: NetworkSpec, runs: list[Run]) -> None:
    """Ask each side about each of its networks once; first about the network as it stands in its file."""
    for backend in {run.side: run.backend for run in runs}.values():
        backend.check(network.model_copy(update={"record": _recorded(network)}))
    for run in {(run.side, run.condition): run for run in runs}.values():
        run.backend.check(run.network)


def _replayed(base: NetworkSpec, reference: Backend, settings: ValidationSpec, replay: ReplaySpec) -> Run:
    """The run whose input is replayed: from rest, with the voltage of all cells."""
    seed = settings.seeds[0]
    data = as_data(_with(base, warmup=0.0, duration=replay.duration, noise_seed=seed))
    data["record"] = {"spikes": "all", "voltage": {"cells": "all"}, "edges": False}
    network = network_from(data, base.source)
    return Run(REFERENCE, REPLAY, seed, reference, network, reference.step, replay, settings.refinement)


def _with(network: NetworkSpec, **changes: Any) -> NetworkSpec:
    """The network with other top-level values, recording spikes alone."""
    return with_overrides(network, {"record": _recorded(network), **changes})


def _recorded(network: NetworkSpec) -> Any:
    return type(network.record)(spikes=True, edges=False, weights=False)


def _letter(network: NetworkSpec, with_cores: bool) -> Any:
    """What of a network file determines a run: without its name and what it records, files by their content. Defaults
    are left out, so that a key that is new in the file does not count."""
    data = network.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    for key in ("name", "record", *(() if with_cores else ("core",))):
        data.pop(key, None)
    if not with_cores:
        for population in data["populations"].values():
            population.pop("core", None)
    return _by_content(data, hashes_of_files(network))


def _by_content(value: Any, hashes: Mapping[str, str | None]) -> Any:
    if isinstance(value, Mapping):
        return {key: _by_content(item, hashes) for key, item in value.items()}
    if isinstance(value, list):
        return [_by_content(item, hashes) for item in value]
    return hashes.get(str(Path(value)), value) if isinstance(value, str) else value
