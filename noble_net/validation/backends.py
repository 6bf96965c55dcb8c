"""The two sides of a validation: surrogate cores, and a reference. A reference is any class like those here.

Backends are picklable and without state: each run may be made in another process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from noble_net.cells.zones import ZoneInput
from noble_net.config import NetworkSpec
from noble_net.network.check import INJECTION_ZONE
from noble_net.recorded_run import Progress, load_families
from noble_net.results import Results
from noble_net.types import CellTable, Drive, Float32, Real

if TYPE_CHECKING:
    from noble_net.cells.family import Family

REFERENCE_VERSION = 2
"""To be raised whenever a reference's results change, other than by what `Backend.identity` tells: what was kept of
runs before is then not used any more."""


class Backend(Protocol):
    """What runs a network."""

    @property
    def name(self) -> str:
        """As it is called in reports."""

    @property
    def step(self) -> float | None:
        """Step of the solver, ms; None where there is none to refine."""

    @property
    def cost(self) -> float:
        """Seconds that a cell takes for a simulated second, roughly: for the time left."""

    @property
    def depends_on_cores(self) -> bool:
        """Whether the cores that a network file names have a part in the results."""

    def check(self, network: NetworkSpec) -> None:
        """Refuse a network that it cannot hold, by a NobleNetError, before anything runs."""

    def require(self) -> None:
        """Raise MissingExtraError where it is not installed. Asked only if a run is wanted."""

    def identity(self, network: NetworkSpec) -> Mapping[str, Any]:
        """All that determines its results besides the network and the step, as plain data."""

    def simulate(
        self, network: NetworkSpec, out: Path, step: float | None, progress: Progress | None
    ) -> Results:
        """Run the network into a folder, replacing what is there."""

    def answer(
        self,
        family: Family | None,
        cells: CellTable,
        index: int,
        drive: Drive,
        step: float,
    ) -> Float32 | None:
        """Voltage (mV, at 0, 0.1 … ms) of cell ``index`` alone under its drive, [zones, 1, samples], from its rest.
        None where single cells cannot be asked for that."""


@dataclass(frozen=True)
class Surrogate:
    """Trained cores, and those in closed form."""

    name: str = "surrogate"
    step: float | None = None
    cost: float = 0.01
    depends_on_cores: bool = True

    def check(self, network: NetworkSpec) -> None:
        """See `Backend`."""
        from noble_net.network.check import check_network
        from noble_net.simulation import load_parts

        cores, _ = load_parts(network)
        check_network(network, {name: core.info for name, core in cores.items()})

    def require(self) -> None:
        """It is always there."""

    def identity(self, network: NetworkSpec) -> Mapping[str, Any]:
        """See `Backend`. The code counts as well: these runs are cheap."""
        from noble_net.simulation import load_parts

        cores, families = load_parts(network)
        return {
            "backend": self.name,
            "cores": {name: core.hash for name, core in cores.items()},
            "families": {name: family.hash for name, family in families.items()},
            "code": _code_hash(),
        }

    def simulate(
        self, network: NetworkSpec, out: Path, step: float | None, progress: Progress | None
    ) -> Results:
        """See `Backend`."""
        from noble_net.simulation import simulate

        return simulate(network, out=out, threads=1, overwrite=True, report=False, progress=progress)

    def answer(
        self,
        family: Family | None,
        cells: CellTable,
        index: int,
        drive: Drive,
        step: float,
    ) -> None:
        """A core has no finer step."""
        return


@dataclass(frozen=True)
class Neuron:
    """Exact cells in NEURON."""

    name: str = "neuron"
    step: float | None = 0.025
    cost: float = 0.5
    depends_on_cores: bool = False

    def check(self, network: NetworkSpec) -> None:
        """See `Backend`."""
        from noble_net.reference.neuron_network import check

        check(network)

    def require(self) -> None:
        """NEURON and its mechanisms."""
        from noble_net.cells.mechanisms import load_mechanisms

        load_mechanisms()

    def identity(self, network: NetworkSpec) -> Mapping[str, Any]:
        """See `Backend`."""
        from noble_net.cells.solver import SECOND_ORDER, SETTLE

        return {
            "backend": self.name,
            "version": REFERENCE_VERSION,
            "families": {name: family.hash for name, family in load_families(network).items()},
            "secondorder": SECOND_ORDER,
            "settle_ms": SETTLE,
        }

    def simulate(
        self, network: NetworkSpec, out: Path, step: float | None, progress: Progress | None
    ) -> Results:
        """See `Backend`."""
        options: dict[str, Any] = {} if step is None else {"dt": step}
        return self._solver()(
            network, out=out, threads=1, overwrite=True, report=False, progress=progress, **options
        )

    def _solver(self) -> Callable[..., Results]:
        from noble_net.reference.neuron_network import simulate_neuron

        return simulate_neuron

    def answer(
        self,
        family: Family | None,
        cells: CellTable,
        index: int,
        drive: Drive,
        step: float,
    ) -> Float32 | None:
        """See `Backend`. Nothing where NMDA receptors lie at the soma: an exact cell alone has none there."""
        from noble_net.cells.solver import exact_cell

        if family is None:
            raise ValueError("a population without a family has passed the checks")
        soma, dendrites = _at_soma(drive), _on_dendrites(drive)
        if soma is None:
            return None
        cell = exact_cell(family.model, dt=step)
        cell.set_parameters({name: float(values[index]) for name, values in cells.parameters.items()})
        return np.asarray(cell.run(*soma, zones=dendrites), np.float32)


@dataclass(frozen=True)
class CoreNeuron(Neuron):
    """Exact cells in CoreNEURON: for networks that NEURON takes too long for. Cells alone are not asked for there."""

    name: str = "coreneuron"

    def check(self, network: NetworkSpec) -> None:
        """See `Backend`."""
        from noble_net.reference.coreneuron_network import check

        check(network)

    def require(self) -> None:
        """NEURON and its mechanisms, compiled for CoreNEURON."""
        from noble_net.reference.coreneuron_library import compiled

        compiled()

    def _solver(self) -> Callable[..., Results]:
        from noble_net.reference.coreneuron_network import simulate_coreneuron

        return simulate_coreneuron

    def answer(
        self,
        family: Family | None,
        cells: CellTable,
        index: int,
        drive: Drive,
        step: float,
    ) -> None:
        """Not there: a process holds NEURON's mechanisms or CoreNEURON's."""
        return


REFERENCES: Mapping[str, Backend] = {"neuron": Neuron(), "coreneuron": CoreNeuron()}
"""What a network can be validated against, by the name on the command line."""
CALLED = {"neuron": "NEURON", "coreneuron": "CoreNEURON"}
"""Their proper names."""


def _at_soma(drive: Drive) -> tuple[Real, Real, Real] | None:
    """Current, conductance and reversal current, [samples] each; None where there is NMDA input, too."""
    soma = drive.zones.index(INJECTION_ZONE)
    if drive.nmda is not None and drive.nmda.conductance[soma].any():
        return None
    return drive.current[soma, 0], drive.conductance[soma, 0], drive.reversal_current[soma, 0]


def _on_dendrites(drive: Drive) -> dict[str, ZoneInput]:
    """What drives each zone of the dendrite, of those that anything drives: a cell need not have the others."""
    found = {}
    for number, zone in enumerate(drive.zones):
        own = ZoneInput(drive.conductance[number, 0], drive.reversal_current[number, 0])
        if drive.nmda is not None:
            nmda = drive.nmda.conductance[number, 0], drive.nmda.reversal_current[number, 0]
            own = ZoneInput(*own[:2], *nmda, float(drive.nmda.half[0]))
        if zone != INJECTION_ZONE and any(part is not None and part.any() for part in own[:4]):
            found[zone] = own
    return found


@cache
def _code_hash() -> str:
    """A check sum of all code that makes a surrogate's results."""
    root = Path(__file__).parent.parent
    files = [
        *root.glob("*.py"),
        *(path for part in ("network", "surrogate", "cells", "specs") for path in (root / part).glob("*.py")),
    ]
    digest = hashlib.sha256(version("noble-net").encode())
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()
