"""The files of a run: their names, the mark of a run under way, and what a killed one leaves behind."""

from __future__ import annotations

import os
from pathlib import Path

from noble_net.run_state import FILE as STATE
from noble_net.sonata.journal import JOURNAL, PART, recover

MARK = ".running"
"""Holds the number of the process that writes there."""

FILES = (
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
    "network.yaml",
    STATE,
    "summary.json",
    "provenance.json",
    "report.html",
)
"""What a run writes, and what a new run in the same folder removes first."""
REPORTS = ("current.h5", "conductance.h5", "synapse-*.h5", "rates.h5")
"""What it writes besides when asked to."""


def is_running(folder: Path) -> bool:
    """Whether the process that marked the folder is alive."""
    try:
        os.kill(int((folder / MARK).read_text()), 0)
    except (ValueError, ProcessLookupError, FileNotFoundError):
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
