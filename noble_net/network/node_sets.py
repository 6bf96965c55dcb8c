"""Which cells a name means, all of a population or those of a node set, and which cells a report holds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from noble_net.config import NetworkSpec, NodeSetSpec, config_error
from noble_net.network.geometry import within
from noble_net.network.injection import Target
from noble_net.network.random import cell_uniforms
from noble_net.network.stimulus_files import check_columns
from noble_net.specs.specification import nearest
from noble_net.types import Int64

if TYPE_CHECKING:
    from noble_net.network.build import Network, PopulationArrays


def select_cells(network: Network, name: str) -> Target:
    """The cells of a population or node set. A fraction is of the cells with the smallest of one uniform number each,
    keyed by the node set's name."""
    spec = network.spec.node_sets.get(name)
    if spec is None:
        return Target.whole(name, network.population(name).size)
    population = network.population(spec.population)
    cells = _chosen(network.spec, name, spec, population)
    return Target(population.name, population.size, cells[cells < population.size])


def node_sets(network: Network) -> dict[str, Target]:
    """All node sets of a network."""
    return {name: select_cells(network, name) for name in network.spec.node_sets}


def report_cells(network: Network, report: str) -> dict[str, Int64]:
    """The cells of each population that a report asks for by `record` holds, ascending; a synapse's report holds cells
    of populations that have such synapses."""
    spec = network.spec.record.reports[report]
    if isinstance(spec.cells, tuple):
        named = [select_cells(network, name) for name in spec.cells]
        found = {
            each.population: np.unique(
                np.concatenate([other.cells for other in named if other.population == each.population])
            )
            for each in named
        }
    else:
        most = sys.maxsize if spec.cells == "all" else spec.cells
        found = {each.name: np.arange(min(each.size, most), dtype=np.int64) for each in network.populations}
    if report.startswith("synapse-"):
        having = _having(network.spec, report.removeprefix("synapse-"))
        return {name: cells for name, cells in found.items() if name in having}
    return found


def _having(spec: NetworkSpec, synapse: str) -> set[str]:
    """The populations that have synapses of a type."""
    driven = {
        spec.population_of(each.to)
        for each in spec.stimuli
        if each.afferents is not None and each.afferents.synapse == synapse
    }
    return driven | {each.target for each in spec.projections if each.synapse == synapse}


def check_targets(network: Network) -> None:
    """Refuse node sets without cells, or by features that cells have not, reports without cells, and tables of currents
    for other cells than those they go to. Raises ConfigError at the line."""
    for name, target in node_sets(network).items():
        if not len(target.cells):
            problem = f"no cell of {target.population} is chosen"
            raise config_error(network.spec, ("node_sets", name), problem, "widen it")
    for report in network.spec.record.reports:
        if not report_cells(network, report):
            place = ("record", *network.spec.record.place(report))
            problem = "none of the cells has such synapses"
            raise config_error(
                network.spec, place, problem, "record cells that a projection or stimulus drives with it"
            )
    for index, stimulus in enumerate(network.spec.stimuli):
        check_columns(network.spec, index, len(select_cells(network, stimulus.to).cells))


def _chosen(spec: NetworkSpec, name: str, node_set: NodeSetSpec, population: PopulationArrays) -> Int64:
    if node_set.cells is not None:
        return np.array(node_set.cells, np.int64)
    if node_set.fraction is not None:
        uniforms = cell_uniforms(spec.seed, "node_set", name, population.size)
        number = max(1, round(node_set.fraction * population.size))
        return np.sort(np.argsort(uniforms, kind="stable")[:number]).astype(np.int64)
    if node_set.region is not None:
        if population.position is None:
            raise TypeError("a node set of a region without positions passed validation")
        return np.flatnonzero(within(node_set.region, population.position)).astype(np.int64)
    inside = np.ones(population.size, bool)
    known = {**population.cells.parameters, **population.cells.features}
    for feature, (low, high) in (node_set.where or {}).items():
        if feature not in known:
            place = ("node_sets", name, "where", feature)
            raise config_error(
                spec, place, f"cells of {population.name} have no such feature", nearest(feature, known)
            )
        inside &= (known[feature] >= low) & (known[feature] <= high)
    return np.flatnonzero(inside).astype(np.int64)
