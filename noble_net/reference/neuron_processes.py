"""Exact cells shared out over processes, each with a NEURON of its own.

The process that asks holds the network: it puts the input of a block together, hands every other its cells' part of it
and gets their voltages back. A cell's numbers depend on nothing but its own input, so those of a network are the same
for any number of processes, this one alone included. Cells are dealt out in turn, which spreads every population.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from noble_net.cells.solver import SETTLE
from noble_net.errors import SolverError
from noble_net.reference.exact_pool import Inputs, Layout, Members
from noble_net.reference.neuron_pool import CellPool
from noble_net.types import Float32, Float64


class SharedPool:
    """A pool of cells in ``processes`` other processes (at most as many as cells); see
    `noble_net.reference.exact_pool.Pool`, and `CellPool` for the rest.

    Raises SolverError for what goes wrong in one of them. It holds no gap junctions.
    """

    def __init__(self, members: list[Members], dt: float, processes: int, settle: float = SETTLE) -> None:
        self.segments: dict[str, int] = {}
        self.areas: dict[str, Mapping[str, Float64]] = {}
        self._cells = sum(each.size for each in members)
        self._workers: list[tuple[Any, Connection]] = []
        context = get_context("spawn")
        try:
            for rank in range(processes):
                here, there = context.Pipe()
                own = list(_dealt(members, rank, processes))
                worker = context.Process(target=_serve, args=(there, own, dt, settle), daemon=True)
                worker.start()
                there.close()
                self._workers.append((worker, here))
            answers = list(self._answers())
            first = 0
            for each in members:
                # What its first cell has, as in one process, even if the members of a family should differ.
                segments, areas = answers[first % processes]
                self.segments[each.population] = segments[each.population]
                self.areas[each.population] = areas[each.population]
                first += each.size
        except BaseException:
            self.close()
            raise

    def settle(self, layout: Layout) -> Float32:
        """See `Pool`."""
        if layout.junctions:
            raise ValueError("gap junctions couple cells of one process only")
        number = len(self._workers)
        self._points = [[each.cell % number == rank for each in layout.points] for rank in range(number)]
        self._driven = [[each.cell % number == rank for each in layout.driven] for rank in range(number)]
        for rank in range(number):
            points = [
                each._replace(cell=each.cell[own] // number, segment=each.segment[own])
                for each, own in zip(layout.points, self._points[rank], strict=True)
            ]
            driven = [
                each._replace(cell=each.cell[own] // number)
                for each, own in zip(layout.driven, self._driven[rank], strict=True)
            ]
            self._ask(rank, "settle", Layout(points, driven, []))
        voltage = np.empty(self._cells, np.float32)
        for rank, answer in enumerate(self._answers()):
            voltage[rank::number] = answer
        return voltage

    def advance(self, inputs: Inputs) -> Float32:
        """See `Pool`."""
        number = len(self._workers)
        for rank in range(number):
            zones = [zone[:, own] for zone, own in zip(inputs.zones, self._driven[rank], strict=True)]
            arrivals = [each[:, own] for each, own in zip(inputs.arrivals, self._points[rank], strict=True)]
            self._ask(rank, "advance", Inputs(inputs.soma[:, rank::number], zones, arrivals))
        voltage = np.empty((self._cells, inputs.soma.shape[2]), np.float32)
        for rank, answer in enumerate(self._answers()):
            voltage[rank::number] = answer
        return voltage

    def close(self) -> None:
        """See `Pool`."""
        for worker, pipe in self._workers:
            pipe.close()
            worker.join(timeout=1.0)  # one that is at work does not hear that its pipe is closed
            if worker.is_alive():
                worker.kill()
                worker.join()
        self._workers.clear()

    def _ask(self, rank: int, what: str, argument: Layout | Inputs) -> None:
        with suppress(BrokenPipeError):  # what ended it is told by the answer, or by its absence
            self._workers[rank][1].send((what, argument))

    def _answers(self) -> Iterator[Any]:
        """What every process answers, in their order. Raises SolverError when one failed or ended."""
        for rank, (_, pipe) in enumerate(self._workers):
            try:
                failure, answer = pipe.recv()
            except (EOFError, ConnectionError) as error:
                raise SolverError(f"process {rank} of NEURON has ended: out of memory?") from error
            if failure is not None:
                raise SolverError(f"process {rank} of NEURON: {failure}")
            yield answer


def _dealt(members: list[Members], rank: int, processes: int) -> Iterator[Members]:
    """Every ``processes``-th cell of all, from cell ``rank`` on."""
    first = 0
    for each in members:
        own = slice((rank - first) % processes, None, processes)
        parameters = {name: values[own] for name, values in each.parameters.items()}
        yield each._replace(size=len(range(each.size)[own]), parameters=parameters)
        first += each.size


def _serve(pipe: Connection, members: list[Members], dt: float, settle: float) -> None:
    """Hold these cells and do what is asked until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    with suppress(EOFError, ConnectionError):
        try:
            pool = CellPool(members, dt, settle)
            pipe.send((None, (pool.segments, pool.areas)))
            while True:
                what, argument = pipe.recv()
                pipe.send((None, getattr(pool, what)(argument)))
        except (EOFError, ConnectionError):
            raise
        except Exception as error:
            pipe.send((f"{type(error).__name__}: {error}", None))
