"""Recorded values on their way to the process that writes them: only those of cells that a report asks for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from noble_net.loop import Loop
from noble_net.network.node_sets import report_cells
from noble_net.network.share import Share
from noble_net.ranks.group import RankGroup
from noble_net.types import Float32, Int64, Response


class Frames:
    """What the reports of a network tell of its last block, gathered in the leader.

    ``values``: by (report, population), float32 [cells, samples] of the whole population, 0 where nothing is recorded.
    """

    def __init__(self, group: RankGroup, loop: Loop) -> None:
        self._group, self._loop = group, loop
        self.values: dict[tuple[str, str], Float32] = {}
        network = loop.network
        self._sizes = {each.name: each.size for each in network.populations}
        self._cells: list[tuple[str, str, list[Int64]]] = []
        """Per report and population, the cells of each process."""
        for report in network.spec.record.reports:
            for population, cells in report_cells(network, report).items():
                stretches = [
                    Share(rank, group.ranks).of(self._sizes[population]) for rank in range(group.ranks)
                ]
                split = [cells[(cells >= each.start) & (cells < each.stop)] for each in stretches]
                self._cells.append((report, population, split))

    def gather(self, responses: Mapping[str, Response], samples: int) -> None:
        """Bring the values of this block to the leader."""
        group, mine = self._group, [np.empty(0, np.float32)]
        for report, population, cells in self._cells:
            here = self._loop.network.population(population).here
            voltage = report == "voltage"
            values = responses[population].voltage if voltage else self._loop.inputs(report, population)
            mine.append(values[cells[group.rank] - here.start, :samples].astype(np.float32).ravel())
        own = np.concatenate(mine)
        if not group.leads:
            if own.size:
                group.send(own)
            return
        for rank in range(group.ranks):
            length = sum(len(cells[rank]) for *_, cells in self._cells) * samples
            values = own
            if rank and length:
                values = np.empty(length, np.float32)
                group.receive(rank, values)
            if length:
                self._take(rank, values, samples)

    def _take(self, rank: int, values: Float32, samples: int) -> None:
        begin = 0
        for report, population, cells in self._cells:
            whole = self.values.get((report, population))
            if whole is None or whole.shape[1] != samples:
                whole = np.zeros((self._sizes[population], samples), np.float32)
                self.values[report, population] = whole
            end = begin + len(cells[rank]) * samples
            whole[cells[rank]] = values[begin:end].reshape(-1, samples)
            begin = end
