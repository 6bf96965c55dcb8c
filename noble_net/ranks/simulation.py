"""Simulate a network on several processes, started by `torchrun` or another launcher."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from noble_net.config import NetworkSpec, config_error
from noble_net.errors import NobleNetError
from noble_net.loop import Loop, compile_loop
from noble_net.network.build import Network, build_checked, with_extents
from noble_net.network.check import check_network
from noble_net.network.connect import Extent
from noble_net.network.share import Share
from noble_net.provenance import run_provenance, told_apart
from noble_net.ranks.engine import RankLoop
from noble_net.ranks.environment import Started
from noble_net.ranks.group import RankGroup, RankLost
from noble_net.recorded_run import Clock, Progress, complete_report, record_run
from noble_net.results import Results, load_results
from noble_net.run_directory import RunDirectory, given_or_new
from noble_net.run_state import FILE as STATE
from noble_net.simulation import load_parts, used_threads
from noble_net.surrogate.core import Core
from noble_net.types import CoreInfo

if TYPE_CHECKING:
    from noble_net.cells.family import Family

Made = TypeVar("Made")
_INTERRUPTED, _FAILED, _TERMINATED = 130, 2, 143


def simulate_on_ranks(
    network: Callable[[], tuple[NetworkSpec, Path | None]],
    started: Started,
    *,
    out: Path | None = None,
    threads: int | None = None,
    block_samples: int | None = None,
    batch: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    checkpoint_every: float | None = None,
    report: bool = True,
    progress: Progress | None = None,
) -> Results | None:
    """Run a network with the other processes that `started` tells of, each of which must call this with the same.

    Options are those of `noble_net.simulation.simulate`, and the results those of one process, whatever the number.
    ``network`` is called in every process and gives the network and the folder it names itself, if any. ``threads``:
    of each process, its part of the machine's cores unless given. The process of rank 0 alone uses ``out`` (a new
    folder in runs/ unless given) and ``progress``; it returns the results and raises what is wrong anywhere, while the
    others return None or leave by SystemExit.

    RankLost, naming it, when a process dies; a state saved before then is there to go on from.
    """
    each = max(1, (os.cpu_count() or 1) // started.here) if threads is None else threads
    folder = out
    with RankGroup(started) as group:
        try:
            with _ended_from_outside(group), used_threads(each) as used, ExitStack() as stack:
                clock = Clock()
                with clock("load"):
                    spec, named = _together(group, network)
                    parts = _together(group, lambda: _parts(spec))
                folder = group.leaders(_together(group, lambda: _folder(group, stack, out or named, spec)))
                directory = _together(
                    group, lambda: _claimed(group, stack, folder, overwrite, spec if resume else None)
                )
                if group.leaders(directory is not None and directory.completed):
                    if directory is None:
                        return None
                    if report:
                        complete_report(directory)
                    return load_results(directory.path)
                with clock("build"):
                    engine = _engine(group, spec, parts, directory, block_samples, batch)
                if directory is None:
                    engine.follow()
                    return None
                settings = {"threads": used, "block_samples": engine.block_samples, "batch": batch}
                provenance = run_provenance(
                    spec,
                    backend="surrogate",
                    **told_apart(parts.cores, parts.families),
                    settings={**settings, "processes": group.ranks},
                )
                with _others_follow(engine):
                    record_run(
                        engine,
                        directory,
                        clock,
                        provenance,
                        progress=progress,
                        report=report,
                        checkpoint_every=checkpoint_every,
                    )
                return load_results(directory.path)
        except RankLost as lost:
            if not lost.told:
                raise SystemExit(_FAILED) from None
            raise RankLost(f"{lost}. {_remedy(folder)}") from lost
        except KeyboardInterrupt:
            if group.leads:
                raise
            raise SystemExit(_INTERRUPTED) from None


class _Parts(NamedTuple):
    """Cores and families of a network, by the names the file gives them."""

    cores: dict[str, Core]
    families: dict[str, Family]

    @property
    def infos(self) -> dict[str, CoreInfo]:
        """What the network floor needs of the cores."""
        return {name: core.info for name, core in self.cores.items()}


def _engine(
    group: RankGroup,
    spec: NetworkSpec,
    parts: _Parts,
    directory: RunDirectory | None,
    block_samples: int | None,
    batch: int | None,
) -> RankLoop:
    """This process's share, built and ready to run. ``directory``: of the run, in the leader."""
    share = Share(group.rank, group.ranks)
    mine = _together(group, lambda: build_checked(spec, parts.families, parts.infos, share))
    built = _whole(group, mine)
    _together(group, lambda: None if directory is None else directory.check_space(built))
    compile_loop(built, parts.cores)
    return RankLoop(group, Loop(built, parts.cores, block_samples, batch))


def _parts(spec: NetworkSpec) -> _Parts:
    parts = _Parts(*load_parts(spec))
    check_network(spec, parts.infos)
    if spec.gap_junctions:
        problem = "gap junctions cannot be divided among processes"
        raise config_error(spec, ("gap_junctions", 0), problem, "run the network on one process")
    return parts


def _folder(group: RankGroup, stack: ExitStack, given: Path | None, spec: NetworkSpec) -> Path | None:
    """The run's folder, in the leader."""
    return stack.enter_context(given_or_new(given, spec.name)) if group.leads else None


def _claimed(
    group: RankGroup, stack: ExitStack, folder: Path | None, overwrite: bool, resume: NetworkSpec | None
) -> RunDirectory | None:
    """The run's directory, in the leader."""
    if folder is None or not group.leads:
        return None
    return stack.enter_context(RunDirectory(folder, overwrite=overwrite, resume=resume))


def _together(group: RankGroup, work: Callable[[], Made]) -> Made:
    """Do the same everywhere; an error of any process ends all of them, and the leader tells it."""
    made: list[Made] = []
    error: NobleNetError | None = None
    try:
        made.append(work())
    except RankLost:
        raise
    except NobleNetError as found:
        error = found
    group.agree(error)
    return made[0]


def _whole(group: RankGroup, share: Network) -> Network:
    """The share of a network that knows what the others have."""
    told = group.everyones({each.name: each.extent() for each in share.projections})
    extents = {}
    for each in share.projections:
        parts = [extents_of[each.name] for extents_of in told]
        having = [part for part in parts if part.size]
        extents[each.name] = Extent(
            sum(part.size for part in parts),
            min((part.shortest for part in having), default=0),
            max((part.longest for part in having), default=0),
            sum(part.fingerprint for part in parts) % 2**64,
        )
    return with_extents(share, extents)


@contextmanager
def _others_follow(engine: RankLoop) -> Iterator[None]:
    """Let the other processes go at the end, and where the leader fails with what only it knows."""
    try:
        yield
    except KeyboardInterrupt:
        engine.stop(_INTERRUPTED)
        raise
    except RankLost:
        raise
    except BaseException:
        engine.stop(_FAILED)
        raise
    engine.stop()


class _Terminated(BaseException):
    """SIGTERM: a launcher sends it to the others when one process has died."""


@contextmanager
def _ended_from_outside(group: RankGroup) -> Iterator[None]:
    """On SIGTERM, close files as on Ctrl-C, and see whether another process is the reason."""

    def end(*_: object) -> None:
        if not group.failing:
            raise _Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except _Terminated:
        lost = group.lost("it was told to end (SIGTERM)")
        if lost.dead and lost.told:
            raise lost from None
        raise SystemExit(_TERMINATED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _remedy(folder: Path | None) -> str:
    if folder is None or not (folder / STATE).is_file():
        return "No state was saved yet: run it again."
    return f"--resume goes on from the last state saved in {folder}, with any number of processes."
