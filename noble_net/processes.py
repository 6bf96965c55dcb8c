"""Independent work on all cores: results as they come, and nothing more started once one failed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def cores() -> int:
    """Processes that keep this machine busy."""
    return os.cpu_count() or 1


def in_processes(
    function: Callable[[Task], Result], tasks: Iterable[Task], jobs: int | None = None
) -> Iterator[Result]:
    """Yield ``function(task)`` of every task as it is done, on ``jobs`` fresh processes (default: one per core).

    An error, or Ctrl-C, cancels what has not started; what runs is waited for. NEURON holds global state, hence
    processes, and spawned ones, so that none inherits a half-built cell.
    """
    with ProcessPoolExecutor(jobs or cores(), mp_context=get_context("spawn")) as pool:
        try:
            for future in as_completed([pool.submit(function, task) for task in tasks]):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
