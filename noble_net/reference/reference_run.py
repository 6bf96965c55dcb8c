"""What a run is on every backend of exact or point cells: its network checked, built and recorded in a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from noble_net.config import NetworkSpec
from noble_net.network.build import Network, build_checked
from noble_net.provenance import run_provenance
from noble_net.recorded_run import Clock, Engine, Progress, load_families, record_run, resolve_network
from noble_net.reference.neuron_cells import steps_per_sample
from noble_net.results import Results, load_results
from noble_net.run_directory import RunDirectory, given_or_new
from noble_net.types import CoreInfo

if TYPE_CHECKING:
    from noble_net.cells.family import Family

Check = Callable[[NetworkSpec], dict[str, CoreInfo]]
"""Refuses, by a NobleNetError, a network that the backend does not hold; returns what stands for its cores."""


class Asked(NamedTuple):
    """What the caller of a backend asks for; see `noble_net.simulate`."""

    network: NetworkSpec | Path | str
    out: Path | str | None
    seed: int | None
    duration: float | str | None
    dt: float
    overwrite: bool
    report: bool
    progress: Progress | None


class Backend(NamedTuple):
    """One that runs networks: its name, the simulator's in summary.json, the packages that are it."""

    name: str
    simulator: str
    packages: tuple[str, ...]


class Made(NamedTuple):
    """A network in motion; how it is solved, for summary.json; what else provenance.json says of how it was run."""

    engine: Engine
    solver: Mapping[str, Any]
    settings: Mapping[str, Any]


Make = Callable[[Network, "dict[str, Family]"], Made]
"""The backend's engine for a network. One that is a context manager is left when the run is over."""


def run_reference(
    asked: Asked, backend: Backend, check: Check, make: Make, load: Callable[[], Any]
) -> Results:
    """Run a network and return its results, which lie in the folder ``asked.out``, or a new one in runs/.

    ``load`` gets what the backend needs, before any work starts. Raises what these raise, OutputError when the folder
    is in use or the disk is full.
    """
    clock = Clock()
    with clock("load"):
        spec = resolve_network(asked.network, asked.seed, asked.duration)
        steps_per_sample(asked.dt)
        cores = check(spec)
        families = load_families(spec)
        load()
    with ExitStack() as stack:
        folder = stack.enter_context(given_or_new(asked.out, spec.name))
        directory = stack.enter_context(RunDirectory(folder, overwrite=asked.overwrite))
        with clock("build"):
            built = build_checked(spec, families, cores)
            directory.check_space(built)
            made = make(built, families)
        if isinstance(made.engine, AbstractContextManager):
            stack.enter_context(made.engine)
        provenance = run_provenance(
            spec,
            backend=backend.name,
            cores={},
            families={name: family.hash for name, family in families.items()},
            settings={
                **made.settings,
                **made.solver,
                **{package: version(package) for package in backend.packages},
            },
        )
        record_run(
            made.engine,
            directory,
            clock,
            provenance,
            details={backend.simulator: dict(made.solver)},
            progress=asked.progress,
            report=asked.report,
        )
    return load_results(directory.path)
