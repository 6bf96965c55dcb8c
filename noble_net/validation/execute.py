"""Making the records of a plan: those at hand are read, what is missing is run, on all cores; a kill loses what is
under way."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

from noble_net.config import network_from
from noble_net.output import saving, write_text
from noble_net.processes import in_processes
from noble_net.results import Results
from noble_net.specs.validation import ReplaySpec
from noble_net.study.overrides import as_data
from noble_net.validation.backends import Backend
from noble_net.validation.plan import Plan, Run
from noble_net.validation.records import Record, Store, read_record, write_record
from noble_net.validation.replay import record_of_replay

Progress = Callable[[float, float], None]
"""Called with (done, total) in seconds of expected work."""

_SHARE = "share"
_LOOK = 1.0
"""How often the parts done by other processes are looked at, s."""
_WHOLE_RUN = 0.98
"""What a run counts for once it is through, until its record is there."""


class Task(NamedTuple):
    """A run as another process takes it: its network as plain data, where it works and where its record goes."""

    name: str
    backend: Backend
    network: dict[str, Any]
    step: float | None
    about: dict[str, Any]
    replay: ReplaySpec | None
    refinement: int
    work: Path
    record: Path


def complete(
    plan: Plan,
    stores: dict[str, Store],
    work: Path,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Record]:
    """The record of every run of the plan, by the run's key; ``stores`` by side. What is missing is run on ``jobs``
    processes (None: one per core) in folders below ``work``.

    Raises MissingExtraError before anything runs if a backend that is wanted is not installed, and what runs raise.
    """
    records = {run.key: stores[run.side].find(run.key) for run in plan.runs}
    missing = {run.key: run for run in plan.runs if records[run.key] is None}
    todo = sorted(missing.values(), key=lambda run: -run.cost)
    for backend in {run.backend.name: run.backend for run in todo}.values():
        backend.require()
    if todo:
        with saving(work):
            work.mkdir(parents=True, exist_ok=True)
        sides = {str(work / f"{run.key}.npz"): run for run in todo}
        with _told(todo, work, progress) as finished:
            tasks = [_task(run, work) for run in todo]
            for path in in_processes(make, tasks, jobs) if jobs != 1 else map(make, tasks):
                run = sides[str(path)]
                record = records[run.key] = read_record(path)
                stores[run.side].add(run.key, record)
                finished(run)
        shutil.rmtree(work, ignore_errors=True)
    return {key: record for key, record in records.items() if record is not None}


def make(task: Task) -> Path:
    """Run one task and write its record; returns the record's path. One that a kill left behind is taken as it is."""
    if task.record.is_file():
        return task.record
    with saving(task.work):
        task.work.parent.mkdir(parents=True, exist_ok=True)
    network = network_from(task.network)
    share = task.work.with_suffix(f".{_SHARE}")

    def tell(done: float, total: float) -> None:
        write_text(share, f"{done / total:.4f}")

    results = task.backend.simulate(network, task.work, task.step, tell)
    replay = (
        {}
        if task.replay is None
        else record_of_replay(results, network, task.replay, task.backend, task.refinement)
    )
    trains = {name: results.trains(name) for name in results.populations}
    write_record(task.record, Record({**task.about, **_how_it_went(results)}, trains, replay))
    shutil.rmtree(task.work, ignore_errors=True)
    share.unlink(missing_ok=True)
    return task.record


def _task(run: Run, work: Path) -> Task:
    about = {
        "name": run.name,
        "side": run.side,
        "condition": run.condition,
        "backend": run.backend.name,
        "noise_seed": run.seed,
        "step_ms": run.step,
    }
    data = as_data(run.network)
    places = work / run.key, work / f"{run.key}.npz"
    return Task(run.name, run.backend, data, run.step, about, run.replay, run.refinement, *places)


def _how_it_went(results: Results) -> dict[str, Any]:
    """What of summary.json stays with the record."""
    summary = results.summary
    told = {key: summary[key] for key in ("duration_ms", "warmup_ms", "synapses", "s_per_cell_second")}
    rates = {name: each["rate_hz"] for name, each in summary["populations"].items()}
    outside = {name: each["outside_share"] for name, each in summary["populations"].items()}
    return {**told, "rate_hz": rates, "outside_share": outside}


@contextmanager
def _told(todo: Sequence[Run], work: Path, progress: Progress | None) -> Iterator[Callable[[Run], None]]:
    """Tell the progress of runs while they are made, also by other processes, until the end of the block."""
    total = sum(run.cost for run in todo)
    done: set[str] = set()
    over = Event()

    def look() -> None:
        if progress is None:
            return
        shares = (1.0 if run.key in done else _WHOLE_RUN * _share(work, run) for run in todo)
        progress(sum(run.cost * share for run, share in zip(todo, shares, strict=True)), total)

    def watch() -> None:
        while not over.wait(_LOOK):
            look()

    def finished(run: Run) -> None:
        done.add(run.key)
        look()

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        look()
        yield finished
    finally:
        over.set()
        watcher.join()


def _share(work: Path, run: Run) -> float:
    try:
        return float((work / f"{run.key}.{_SHARE}").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0.0
