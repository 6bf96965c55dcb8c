"""The files of a run: their names, the mark of a run under way, and what a killed one leaves behind."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import BinaryIO

from noble_net.run_state import FILE as STATE
from noble_net.sonata.journal import JOURNAL, PART, recover

MARK = ".running"
"""Locked (flock) by the process that writes there, whose number it holds. The system drops the lock when that process
ends, however it ends; a number alone means another process, or none, in another container or on another machine."""

PROVENANCE = "provenance.json"
"""The first file that a run writes, and the one by which its folder is known to hold a run."""
FILES = (
    "summary.json",
    STATE,
    "spikes.h5",
    "voltage.h5",
    "nodes.h5",
    "edges.h5",
    "gap_junctions.h5",
    "weights.h5",
    "circuit_config.json",
    "simulation_config.json",
    "node_sets.json",
    "node_types.csv",
    "edge_types.csv",
    "report.html",
    "network.yaml",
    PROVENANCE,
)
"""What a run writes, and what a new run in the same folder removes first, in this order: what tells that a run is
complete, or can go on, never outlives what it tells of."""
REPORTS = ("current.h5", "conductance.h5", "synapse-*.h5", "rates.h5")
"""What it writes besides when asked to."""


def mark_running(folder: Path) -> BinaryIO | None:
    """Mark the folder as this process's own, until `unmark`; None while another run has it. Raises OSError."""
    mark = open(folder / MARK, "a+b", buffering=0)  # noqa: SIM115 - closed by unmark()
    if _is_locked(mark, fcntl.LOCK_EX):
        mark.close()
        return None
    if not _is_there(folder, mark):  # its run ended, and removed it, before it was locked here
        mark.close()
        return mark_running(folder)
    mark.truncate(0)
    mark.write(str(os.getpid()).encode())
    return mark


def unmark(folder: Path, mark: BinaryIO) -> None:
    """Remove a mark; while it is still locked, so that it cannot be another run's. Raises OSError."""
    with mark:
        (folder / MARK).unlink(missing_ok=True)


def is_running(folder: Path) -> bool:
    """Whether the process that marked the folder is alive."""
    try:
        with open(folder / MARK, "rb", buffering=0) as mark:
            return _is_locked(mark, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True


def _is_there(folder: Path, mark: BinaryIO) -> bool:
    """Whether the mark that was opened is still the folder's."""
    try:
        return os.path.samestat(os.fstat(mark.fileno()), os.stat(folder / MARK))
    except FileNotFoundError:
        return False


def _is_locked(mark: BinaryIO, kind: int) -> bool:
    """Whether another process has locked the mark; if not, it is locked here until it is closed."""
    try:
        fcntl.flock(mark, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # the file system has no locks: the number has to do
        return _is_alive(mark)
    return False


def _is_alive(mark: BinaryIO) -> bool:
    """Whether there is a process of the number that a mark holds."""
    mark.seek(0)
    try:
        os.kill(int(mark.read()), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def recover_files(folder: Path) -> None:
    """Bring the files of a run that was killed to their last commit. Raises OSError."""
    (folder / f"{STATE}{PART}").unlink(missing_ok=True)
    for name in (*FILES, *REPORTS):
        if name.endswith(".h5"):
            for left in (*folder.glob(f"{name}{PART}"), *folder.glob(f"{name}{JOURNAL}*")):
                recover(folder / f"{left.name.split('.h5')[0]}.h5")


def recover_folder(folder: Path) -> None:
    """`recover_files`, but nothing while the run goes on."""
    if not is_running(folder):
        recover_files(folder)
