"""The loop on several processes: one leads, and tells the others what all of them do next.

The leader is an engine like any other to what records a run (`noble_net.recorded_run`): it answers for the whole
network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noble_net.errors import NobleNetError, OutputError, SolverError
from noble_net.loop import Loop
from noble_net.network.build import Network
from noble_net.ranks.exchange import Exchange
from noble_net.ranks.frames import Frames
from noble_net.ranks.group import RankGroup
from noble_net.ranks.state import divide_state, gather_projections, gather_state, gather_weights
from noble_net.run_state import Arrays
from noble_net.types import Float32, Response

_STOP, _ADVANCE, _VOLTAGE, _WEIGHTS, _STATE, _RESTORE = range(6)


class RankLoop:
    """A share of a network in motion, ``loop``, and with the others' the whole.

    In the leader, ``network`` is the whole network, with the synapses that a run writes. Its methods are for the
    leader; the others `follow`.
    """

    def __init__(self, group: RankGroup, loop: Loop) -> None:
        self._group, self._loop = group, loop
        self._exchange, self._frames = Exchange(group, loop.network.populations), Frames(group, loop)
        self.network: Network = gather_projections(group, loop.network)
        self.block_samples = loop.block_samples
        self._alone = False
        """Whether the others do not listen any more."""
        self._do: dict[int, Callable[[int], Any]] = {
            _ADVANCE: self._advance,
            _VOLTAGE: lambda _: group.led(loop.voltage()),
            _WEIGHTS: lambda _: gather_weights(group, loop.network, loop.weights()),
            _STATE: lambda _: gather_state(group, loop),
            _RESTORE: lambda _: self._restore({}),
        }

    @property
    def position(self) -> int:
        """The next sample, counted from the start of the warm-up."""
        return self._loop.position

    def advance(self, samples: int | None = None) -> dict[str, Response]:
        """Run one block; see `Loop.advance`. The voltage is that of recorded cells alone, or empty."""
        found: dict[str, Response] = self._lead(_ADVANCE, samples or self.block_samples)
        return found

    def voltage(self) -> dict[str, Float32]:
        """The last voltage of every cell, mV [cells] per population."""
        parts = self._lead(_VOLTAGE)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def inputs(self, report: str, population: str) -> Float32:
        """What a report of inputs tells of the last block; see `Loop.inputs`. 0 of cells that are not recorded."""
        return self._frames.values[report, population]

    def weights(self) -> dict[str, Float32]:
        """The weights now of the projections whose weights a run writes."""
        found: dict[str, Float32] = self._lead(_WEIGHTS) if self.network.learned else {}
        return found

    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes as the network runs, as `Loop.state` tells it of a network on one process."""
        found: dict[str, NDArray[Any]] = self._lead(_STATE)
        return found

    def restore(self, arrays: Arrays) -> None:
        """Go on from such a state, of any number of processes. OutputError when it does not fit."""
        self._do[_RESTORE] = lambda _: self._restore(arrays)
        self._lead(_RESTORE)

    def stop(self, code: int = 0) -> None:
        """Let the others go, with this exit code; they have to be listening, else nothing happens."""
        if not self._alone and not self._group.failing:
            self._alone = True
            self._group.command((_STOP, code))

    def follow(self) -> None:
        """Do what the leader tells, until it tells to stop. SystemExit where the leader has an error to report."""
        while True:
            command, argument = self._group.command()
            if command == _STOP:
                if argument:
                    raise SystemExit(argument)
                return
            self._do[command](argument)

    def _lead(self, command: int, argument: int = 0) -> Any:
        if self._alone:
            raise OutputError("the other processes of the run are gone")
        self._alone = True  # should this be cut short, the others may be anywhere
        self._group.command((command, argument))
        found = self._do[command](argument)
        self._alone = False
        return found

    def _advance(self, samples: int) -> dict[str, Response]:
        responses: dict[str, Response] = {}
        error: NobleNetError | None = None
        try:
            responses = self._loop.respond(samples)
        except SolverError as found:
            error = found
        try:
            blocks = self._exchange(responses, error)
        except NobleNetError:
            if self._group.leads or self._group.failing:
                raise
            raise SystemExit(2) from None  # the leader tells it
        self._frames.gather(responses, samples)
        self._loop.deliver(samples, {name: (block.cell, block.sample) for name, block in blocks.items()})
        if not self._group.leads:
            return {}
        none = np.empty((0, samples), np.float32)
        return {
            name: Response(self._frames.values.get(("voltage", name), none), *block)
            for name, block in blocks.items()
        }

    def _restore(self, arrays: Arrays) -> None:
        whole, error = self._group.leaders(dict(arrays)), None
        try:
            self._loop.restore(divide_state(self._group, self._loop, whole))
        except OutputError as found:
            error = found
        self._group.agree(error)
