"""A small network, settings for its validation, and a reference that needs no other simulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from noble_net.cells.family import Family
from noble_net.config import NetworkSpec, network_from
from noble_net.errors import MissingExtraError
from noble_net.recorded_run import Progress
from noble_net.results import Results
from noble_net.simulation import simulate
from noble_net.specs.validation import ValidationSpec, settings_from
from noble_net.study.overrides import as_data
from noble_net.surrogate.integrate_and_fire import IntegrateAndFire
from noble_net.types import CellTable, Drive, Float32
from noble_net.validation.backends import Surrogate

SMALL = {
    "seeds": [1, 2, 3],
    "warmup": "100 ms",
    "duration": "800 ms",
    "durations": ["400 ms"],
    "replay": {"duration": "400 ms", "discard": "50 ms", "voltage_cells": 6, "floor_cells": 2},
    "changes": {"duration": "400 ms", "seeds": 1},
}


def network_data(**changes: Any) -> dict[str, Any]:
    """Integrate-and-fire cells that inhibit each other, those that excite them, and some that never fire."""
    data: dict[str, Any] = {
        "name": "mixed",
        "seed": 4,
        "duration": "1 s",
        "core": "integrate-and-fire",
        "populations": {"pv": {"size": 16}, "pyr": {"size": 8}, "quiet": {"size": 5}},
        "synapses": {
            "gaba": {"model": "exp2", "rise": "0.3 ms", "decay": "4 ms", "reversal": "-70 mV"},
            "ampa": {"model": "exp", "decay": "3 ms"},
        },
        "projections": [
            {
                "name": "pv-pv",
                "from": "pv",
                "to": "pv",
                "rule": {"pairwise_bernoulli": {"p": 0.4}},
                "synapse": "gaba",
                "weight": {"lognormal": {"mean": "2 nS", "std": "1 nS"}},
                "delay": {"uniform": {"low": "0.7 ms", "high": "2 ms"}},
            },
            {
                "name": "pyr-pv",
                "from": "pyr",
                "to": "pv",
                "rule": {"pairwise_bernoulli": {"p": 0.4}},
                "synapse": "ampa",
                "weight": "15 pA",
                "delay": "1.3 ms",
            },
        ],
        "stimuli": [
            {"to": "pv", "ornstein_uhlenbeck": {"mean": "0.27 nA", "sigma": "0.1 nA", "tau": "5 ms"}},
            {"to": "pyr", "ornstein_uhlenbeck": {"mean": "0.25 nA", "sigma": "0.1 nA", "tau": "5 ms"}},
        ],
    }
    return {**data, **changes}


def network(**changes: Any) -> NetworkSpec:
    return network_from(network_data(**changes))


def small(**changes: Any) -> ValidationSpec:
    return settings_from({**SMALL, **changes})


@dataclass(frozen=True)
class Fake:
    """A reference that is integrate-and-fire cells again, whose stimuli may be stronger; installed or not."""

    drive: float = 1.0
    installed: bool = True
    name: str = "fake"
    step: float | None = 0.05
    cost: float = 0.02
    depends_on_cores: bool = False

    def check(self, network: NetworkSpec) -> None:
        Surrogate().check(network)

    def require(self) -> None:
        if not self.installed:
            raise MissingExtraError("the fake", "fakes")

    def identity(self, network: NetworkSpec) -> Mapping[str, Any]:
        return {"drive": self.drive}

    def simulate(
        self, network: NetworkSpec, out: Path, step: float | None, progress: Progress | None
    ) -> Results:
        data = as_data(network)
        for stimulus in data["stimuli"]:
            value, unit = stimulus["ornstein_uhlenbeck"]["mean"].split()
            stimulus["ornstein_uhlenbeck"]["mean"] = f"{self.drive * float(value)} {unit}"
        return simulate(
            network_from(data), out=out, threads=1, overwrite=True, report=False, progress=progress
        )

    def answer(
        self,
        family: Family | None,
        cells: CellTable,
        index: int,
        drive: Drive,
        step: float,
    ) -> Float32:
        core = IntegrateAndFire()
        state = core.begin(cells.take(slice(index, index + 1)))
        rest = state.voltage.copy()
        response, _ = core.advance(state, drive)
        return np.concatenate([rest, response.voltage[0]])
