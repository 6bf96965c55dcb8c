"""`noble-net run` as one of several processes: `torchrun --nproc-per-node 4 -m noble_net run FILE`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noble_net.commands.shared import progress
from noble_net.errors import BackendError

if TYPE_CHECKING:
    from noble_net.config import NetworkSpec
    from noble_net.ranks.environment import Started
    from noble_net.results import Results


def run_on_ranks(
    started: Started,
    network: Callable[[], tuple[NetworkSpec, Path | None]],
    *,
    backend: str,
    device: str,
    dry_run: bool,
    out: Path | None,
    **options: Any,
) -> Results | None:
    """The results, in the process that leads; None in the others. ``network``: gives it, and the folder it names."""
    refused = None
    if dry_run:
        refused = "--dry-run is for one process: leave torchrun away"
    elif backend != "surrogate":
        refused = f"the {backend} backend runs on one process: leave torchrun away"
    elif device == "cuda":
        refused = "several processes run on CPUs: leave --device away, or torchrun"
    if refused is not None:
        if started.rank:
            raise SystemExit(2)
        raise BackendError(refused)
    from noble_net.ranks.simulation import simulate_on_ranks

    with ExitStack() as stack:
        if started.rank == 0:
            options["progress"] = stack.enter_context(progress(f"on {started.ranks} processes"))
        return simulate_on_ranks(network, started, out=out, **options)
