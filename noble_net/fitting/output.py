"""What a fit leaves in its folder: ``fit.json``, ``cells.h5`` and ``network.yaml`` for networks, and a report.

``cells.h5`` is a SONATA nodes file. Its population `fitted` is the fitted cell alone, `posterior` cells drawn from the
code's distribution: a network file takes either by ``nodes: {file: cells.h5, population: fitted}``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from noble_net.fitting.fit import CellFit
from noble_net.output import claim_folder, write_json, write_text
from noble_net.registry import cores_of
from noble_net.sonata import NodePopulation, write_nodes
from noble_net.types import Float64

FILES = ("fit.json", "cells.h5", "network.yaml", "report.html")
DRAWS = 100
"""Cells of the population `posterior`."""


def write_fit(fit: CellFit, folder: Path) -> Path:
    """Write everything a fit leaves; returns the report. Raises OutputError when the folder holds something else."""
    from noble_net.report.fit_page import write_fit_report

    claim_folder(folder, FILES, "fit")
    write_json(folder / "fit.json", fit.to_json())
    core = str(fit.about.get("core") or next(iter(cores_of(fit.family.name)), "CORE"))
    draws = fit.posterior.sample(DRAWS, int(fit.about.get("seed", 1)))
    populations = [
        _population(fit, "fitted", fit.posterior.mean[None], core),
        _population(fit, "posterior", draws, core),
    ]
    write_nodes(folder / "cells.h5", populations)
    write_text(folder / "network.yaml", _network(fit, core))
    return write_fit_report(fit, folder)


def _population(fit: CellFit, name: str, codes: Float64, core: str) -> NodePopulation:
    bound = (
        codes if fit.family.bound is None else np.clip(codes, -1.5 * fit.family.bound, 1.5 * fit.family.bound)
    )
    values = fit.family.decode(bound.astype(np.float32))
    parameters = {each: values[:, j] for j, each in enumerate(fit.family.parameter_names)}
    return NodePopulation(name, len(codes), f"noble-net:{core}", parameters, [name] * len(codes))


def _network(fit: CellFit, core: str) -> str:
    """A network file of cells drawn from the posterior, to begin with."""
    nodes = "{file: cells.h5, population: posterior}"
    return f"""# {DRAWS} cells as the fitted one may be, under noise; population `fitted` of cells.h5 is the cell.
name: fitted
duration: 1 s
core: {core}
populations:
  cells: {{family: {fit.family.name}, size: {DRAWS}, nodes: {nodes}}}
stimuli:
  - {{to: cells, ornstein_uhlenbeck: {{mean: 0.2 nA, sigma: 0.1 nA, tau: 5 ms}}}}
record: {{spikes: all, voltage: {{cells: 5}}}}
"""
