"""Independent work on all cores: results as they come, and nothing more started once one failed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def cores() -> int:
    """Processes that keep this machine busy."""
    return os.cpu_count() or 1


def worker_pool(jobs: int | None = None) -> ProcessPoolExecutor:
    """``jobs`` fresh processes (default: one per core), which end where this one is killed, after the run they are in.

    NEURON holds global state, hence processes, and spawned ones, so that none inherits a half-built cell.
    """
    return ProcessPoolExecutor(jobs or cores(), mp_context=get_context("spawn"), initializer=_end_with_parent)


def in_processes(
    function: Callable[[Task], Result], tasks: Iterable[Task], jobs: int | None = None
) -> Iterator[Result]:
    """Yield ``function(task)`` of every task as it is done, on ``jobs`` fresh processes (default: one per core).

    An error, or Ctrl-C, cancels what has not started; what runs is waited for.
    """
    with worker_pool(jobs) as pool:
        try:
            for future in as_completed([pool.submit(function, task) for task in tasks]):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """Without this, tasks that wait in the queue would be worked off for nobody."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
