"""Simulate a network on surrogate cores: from a network file to a folder of results.

>>> from noble_net import simulate  # doctest: +SKIP
>>> results = simulate("networks/quickstart.yaml", out="runs/quickstart")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba

from noble_net.config import NetworkSpec, config_error
from noble_net.device.choice import Chosen, Device, choose
from noble_net.errors import BackendError, CheckpointError
from noble_net.loop import Loop, compile_loop
from noble_net.network.build import Network, build_checked, expected_junctions, expected_synapses
from noble_net.network.check import check_network, warn_of_idle
from noble_net.provenance import run_provenance, told_apart
from noble_net.recorded_run import (
    Clock,
    Progress,
    complete_report,
    load_families,
    record_run,
    resolve_network,
)
from noble_net.registry import load_core
from noble_net.results import Results, load_results
from noble_net.run_directory import RunDirectory
from noble_net.surrogate.core import Core

if TYPE_CHECKING:
    from noble_net.cells.family import Family
    from noble_net.device.loop import DeviceLoop


def simulate(
    network: NetworkSpec | Path | str,
    *,
    out: Path | str,
    seed: int | None = None,
    duration: float | str | None = None,
    threads: int | None = None,
    block_samples: int | None = None,
    batch: int | None = None,
    device: Device | str = "cpu",
    overwrite: bool = False,
    resume: bool = False,
    checkpoint_every: float | None = None,
    report: bool = True,
    progress: Progress | None = None,
) -> Results:
    """Run a network and return its results, which lie in the folder ``out``.

    ``seed`` and ``duration`` (ms, or text with a unit) replace the file's. ``threads`` (all, unless given),
    ``block_samples`` (a multiple of the cores' step, no longer than the shortest delay) and ``batch`` (cells
    per call of a core) change the speed and never a result. ``device``: `cpu`; `cuda`, a GPU through PyTorch, whose
    spikes are equal in statistics to those on CPUs (see `noble_net.device.loop`); or `auto`, a GPU if there is one.
    ``overwrite`` allows a folder with an earlier
    run. ``resume`` goes on with this network's run in ``out`` that was cut short, to the results it would have had; it
    starts one that left no state, and returns one that is complete. State is saved every ``checkpoint_every`` ms of
    simulated time, or every 10 s.

    Raises ConfigError for a wrong network, CheckpointError or FamilyError for a core or family that cannot be
    trusted, BackendError (MissingExtraError without PyTorch) for a device that is not there or does not hold something
    of the network, OutputError when ``out`` is in use or the disk is full. Ctrl-C (KeyboardInterrupt, passed on) and
    a full disk leave files that can be read, with ``completed`` false in summary.json.
    """
    clock, chosen = Clock(), choose(device)
    with clock("load"):
        spec = resolve_network(network, seed, duration)
        cores, families = load_parts(spec)
        check_network(spec, {name: core.info for name, core in cores.items()})
        warn_of_idle(spec)
        if chosen.torch is not None:
            from noble_net.device.holds import check_holds

            check_holds(spec, cores)
    again = spec if resume else None
    with RunDirectory(out, overwrite=overwrite, resume=again) as directory, used_threads(threads) as used:
        if directory.completed:
            if report:
                complete_report(directory)
            return load_results(directory.path)
        with clock("build"):
            built = build_checked(spec, families, {name: core.info for name, core in cores.items()})
            directory.check_space(built)
            loop = _engine(built, cores, chosen, block_samples, batch)
        settings: dict[str, Any] = {"threads": used, "block_samples": loop.block_samples, "batch": batch}
        if chosen.card is not None:
            settings["card"] = chosen.card
        provenance = run_provenance(
            spec,
            backend="surrogate",
            **told_apart(cores, families),
            settings=settings,
            device=chosen.device,
        )
        record_run(
            loop,
            directory,
            clock,
            provenance,
            progress=progress,
            report=report,
            checkpoint_every=checkpoint_every,
        )
    return load_results(directory.path)


def _engine(
    network: Network, cores: dict[str, Core], chosen: Chosen, block_samples: int | None, batch: int | None
) -> Loop | DeviceLoop:
    """The loop on the chosen device. BackendError where its memory is too small."""
    if chosen.torch is None:
        compile_loop(network, cores)
        return Loop(network, cores, block_samples, batch)
    from torch import OutOfMemoryError

    from noble_net.device.loop import DeviceLoop

    try:
        return DeviceLoop(network, cores, chosen.torch, block_samples, batch, everything=False)
    except OutOfMemoryError as error:
        raise BackendError(
            f"{chosen.card} has too little memory for {network.n_cells:,} cells with {network.n_synapses:,} synapses; "
            "take --device cpu, or a smaller network"
        ) from error


def load_parts(spec: NetworkSpec) -> tuple[dict[str, Core], dict[str, Family]]:
    """The cores and families of a network, by the names the file gives them.

    Raises ConfigError at the line of a name that is unknown, or of a family the core was not trained on.
    """
    families = load_families(spec)
    cores: dict[str, Core] = {}
    for name, population in spec.populations.items():
        key = spec.core_of(name)
        try:
            core = cores.setdefault(key, load_core(key, spec.precision))
        except CheckpointError as error:
            core_path = ("core",) if population.core is None else ("populations", name, "core")
            raise config_error(spec, core_path, str(error)) from error
        if population.family is None:
            continue
        if core.family_hash not in (None, families[population.family].hash):
            problem = f"core {core.name} was trained on another family (or another version of it)"
            remedy = "use the family named on the core's card"
            raise config_error(spec, ("populations", name, "family"), problem, remedy)
    return cores, families


def describe(spec: NetworkSpec) -> str:
    """Check a network against its cores and families, and say what would run, without building it."""
    cores, _ = load_parts(spec)
    infos = {name: core.info for name, core in cores.items()}
    check_network(spec, infos)
    warn_of_idle(spec)
    lines = [f"{spec.name}: {spec.duration:g} ms after {spec.warmup:g} ms of warm-up, seed {spec.seed}"]
    for name, population in spec.populations.items():
        family = "" if population.family is None else f", family {population.family}"
        lines.append(f"  {name}: {population.size} cells, core {spec.core_of(name)}{family}")
    for index, projection in enumerate(spec.projections):
        lines.append(
            f"  {projection.name}: {projection.source} → {projection.target}, {projection.rule.kind}, "
            f"{expected_synapses(spec, index):,} synapses"
        )
    for index, junction in enumerate(spec.gap_junctions):
        lines.append(
            f"  {junction.name}: {junction.source} – {junction.target}, {junction.rule.kind}, "
            f"{expected_junctions(spec, index):,} gap junctions"
        )
    return "\n".join(lines)


@contextmanager
def used_threads(wanted: int | None) -> Iterator[int]:
    """Use so many threads, or as many as there are if that is fewer; restored at the end."""
    before = numba.get_num_threads()
    if wanted is not None and wanted < 1:
        raise ValueError(f"{wanted} threads")
    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    used = before if wanted is None else min(wanted, most)
    numba.set_num_threads(used)
    try:
        yield used
    finally:
        numba.set_num_threads(before)
