"""Edges of other programs' SONATA files, through libsonata."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from noble_net.errors import OutputError
from noble_net.types import Float32, Float64, Int64

_PER_FILE_UNIT = 1e3
"""nS in a µS, the unit of `syn_weight` of conductances; pA in a nA, that of currents."""


class GivenEdges(NamedTuple):
    """Synapses in file order: node ids int64, weight float32 (nS or pA) and delay float64 (ms) if there."""

    source: Int64
    target: Int64
    weight: Float32 | None
    delay: Float64 | None


def read_given_edges(path: Path | str, population: str, conductance: bool) -> GivenEdges:
    """All synapses of an edge population. OutputError when the file or the population cannot be read.

    Conductances are taken from `conductance` (nS), else from `syn_weight` (µS), as in the Allen Institute's
    models; weights of current synapses from `syn_weight` (nA).
    """
    import libsonata

    if not os.path.isfile(path):
        raise OutputError(f"{path}: there is no such file")
    try:
        with h5py.File(path, "r"):  # libsonata prints HDF5's complaints beside raising them
            pass
        storage = libsonata.EdgeStorage(str(path))
        if population not in storage.population_names:
            there = ", ".join(sorted(storage.population_names)[:12])
            raise OutputError(f"{path}: has no edge population {population!r}; it has {there or 'none'}")
        edges = storage.open_population(population)
        everything = edges.select_all()

        def column(name: str) -> Float64 | None:
            if name not in edges.attribute_names:
                return None
            return np.asarray(edges.get_attribute(name, everything), np.float64)

        weight = column("conductance") if conductance else None
        if weight is None and (raw := column("syn_weight")) is not None:
            weight = raw * _PER_FILE_UNIT
        return GivenEdges(
            np.asarray(edges.source_nodes(everything)).astype(np.int64),
            np.asarray(edges.target_nodes(everything)).astype(np.int64),
            None if weight is None else weight.astype(np.float32),
            column("delay"),
        )
    except (libsonata.SonataError, OSError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or ["damaged"])[0]
        raise OutputError(f"{path}: is no SONATA edges file: {reason[:120]}") from error
