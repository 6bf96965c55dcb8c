"""What processes tell each other once per block: the spikes of their cells, and where input left a core's envelope.

A message is a header (spikes, cells outside, failed) and what it counts, packed. All messages have the same length,
which grows when one does not fit, so that one exchange is enough for almost every block.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from noble_net.errors import BackendError, NobleNetError
from noble_net.network.build import PopulationArrays
from noble_net.ranks.group import RankGroup
from noble_net.ranks.lines import Bytes
from noble_net.types import Float64, Int32, Int64, Response, UInt32

_SPIKE = np.dtype([("population", "<i4"), ("cell", "<i4"), ("sample", "<i4"), ("time", "<f8")])
_OUTSIDE = np.dtype([("population", "<i4"), ("cell", "<i4"), ("samples", "<u4")])
_HEADER = 3 * 8
_ROOM = 256


class Block(NamedTuple):
    """The spikes of one block of a whole population, sorted by (sample, cell), and its samples outside the envelope,
    uint32 [cells]; see `Response`."""

    cell: Int32
    sample: Int32
    time: Float64
    outside: UInt32


class Exchange:
    """Brings the answers of all processes' cells together. ``populations`` in the same order everywhere."""

    def __init__(self, group: RankGroup, populations: tuple[PopulationArrays, ...]) -> None:
        self._group, self._populations, self._room = group, populations, _ROOM

    def __call__(
        self, responses: Mapping[str, Response], error: NobleNetError | None = None
    ) -> dict[str, Block]:
        """The block of every population. ``responses``: those of this process's cells.

        An ``error`` is raised in its own process, and as BackendError naming that in the others.
        """
        mine = self._packed(responses) if error is None else _failure(str(error))
        while True:
            padded = np.zeros(self._room, np.uint8)
            padded[: min(mine.size, self._room)] = mine[: self._room]
            found = self._group.all_bytes(padded)
            needed = max(_needed(each) for each in found)
            if needed <= self._room:
                break
            self._room = 2 * needed
        if error is not None:
            raise error
        for rank, each in enumerate(found):
            if each[:_HEADER].view("<i8")[2]:
                length = int(each[:_HEADER].view("<i8")[2])
                text = bytes(each[_HEADER : _HEADER + length]).decode(errors="replace")
                raise BackendError(f"rank {rank}: {text}")
        return self._blocks(found)

    def _packed(self, responses: Mapping[str, Response]) -> Bytes:
        spikes, outside = [], []
        for number, population in enumerate(self._populations):
            response, first = responses[population.name], population.here.start
            events = np.empty(response.event_cell.size, _SPIKE)
            events["population"], events["cell"] = number, response.event_cell + first
            events["sample"], events["time"] = response.event_sample, response.event_time
            spikes.append(events)
            cells = np.flatnonzero(response.outside)
            left = np.empty(cells.size, _OUTSIDE)
            left["population"], left["cell"], left["samples"] = number, cells + first, response.outside[cells]
            outside.append(left)
        return _message(np.concatenate(spikes), np.concatenate(outside))

    def _blocks(self, messages: list[Bytes]) -> dict[str, Block]:
        opened = [_opened(each) for each in messages]
        spikes, outside = (np.concatenate(each) for each in zip(*opened, strict=True))
        population, cell, sample, time = (np.ascontiguousarray(spikes[key]) for key in _SPIKE.names or ())
        order = _order(population, sample)
        begins = np.searchsorted(population[order], np.arange(len(self._populations) + 1))
        blocks = {}
        for number, each in enumerate(self._populations):
            own = order[begins[number] : begins[number + 1]]
            left = outside[outside["population"] == number]
            samples = np.zeros(each.size, np.uint32)
            samples[left["cell"]] = left["samples"]
            blocks[each.name] = Block(cell[own], sample[own], time[own], samples)
        return blocks


def _order(population: Int32, sample: Int32) -> Int64:
    """What sorts spikes by population, sample and cell.

    Every process sends its own sorted by cell, and its cells come after those of the process before: a stable sort by
    population and sample is enough, and small integers are sorted by their digits.
    """
    key = population.astype(np.int64) * (int(sample.max(initial=0)) + 1) + sample
    return np.argsort(key.astype(np.min_scalar_type(int(key.max(initial=0)))), kind="stable")


def _message(spikes: NDArray[np.void], outside: NDArray[np.void]) -> Bytes:
    header = np.array([spikes.size, outside.size, 0], "<i8")
    return np.frombuffer(header.tobytes() + spikes.tobytes() + outside.tobytes(), np.uint8)


def _failure(text: str) -> Bytes:
    told = text.encode()
    return np.frombuffer(np.array([0, 0, len(told)], "<i8").tobytes() + told, np.uint8)


def _needed(message: Bytes) -> int:
    spikes, outside, failed = message[:_HEADER].view("<i8").tolist()
    return int(_HEADER + spikes * _SPIKE.itemsize + outside * _OUTSIDE.itemsize + failed)


def _opened(message: Bytes) -> tuple[NDArray[np.void], NDArray[np.void]]:
    spikes, outside, _ = message[:_HEADER].view("<i8").tolist()
    middle = _HEADER + spikes * _SPIKE.itemsize
    end = middle + outside * _OUTSIDE.itemsize
    return message[_HEADER:middle].view(_SPIKE), message[middle:end].view(_OUTSIDE)
