"""Stimuli on a device. Ornstein-Uhlenbeck and white noise, steps and Poisson afferents are made there; all others on
the CPU, block by block, by `noble_net.network`, and copied.

Each wraps the stimulus of the network floor, which knows its parameters, keys and window. Poisson counts are equal to
the CPU's; noise to the rounding of log, sin and cos.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noble_net.device.fused import fused
from noble_net.device.random import chances, normals
from noble_net.device.synapses import DeviceBank
from noble_net.network.afferents import Afferents, Poisson
from noble_net.network.injection import CHUNK, Injection, chunks
from noble_net.network.noise import OrnsteinUhlenbeck, WhiteNoise
from noble_net.network.stimulus_kernels import MOST_EVENTS
from noble_net.network.waveforms import Step
from noble_net.run_state import Arrays, fill


class Source(ABC):
    """An injection as it reaches the cells of its population on a device."""

    def __init__(self, stimulus: Injection, device: torch.device) -> None:
        self.name, self.target, self.device = stimulus.name, stimulus.target, device
        self.reversal = stimulus.reversal
        self._window = stimulus.on, stimulus.off
        rows = stimulus.rows
        self._rows = rows if isinstance(rows, slice) else torch.tensor(rows, device=device)

    def inject(
        self, start: int, current: Tensor, conductance: Tensor | None, reversal_current: Tensor
    ) -> None:
        """`noble_net.network.injection.inject`, of [samples, cells]."""
        at = max(start, self._window[0])
        stop = min(start + current.shape[0], self._window[1])
        if stop <= at:
            return
        for piece in self._stretches(at, stop - at):
            part = slice(at - start, at - start + piece.shape[0])
            if self.reversal is None:
                current[part, self._rows] += piece
            else:
                reversal_current[part, self._rows] += piece * self.reversal
                if conductance is not None:
                    conductance[part, self._rows] += piece
            at += piece.shape[0]

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes, as arrays."""
        return {}

    def restore(self, arrays: Arrays) -> None:  # noqa: B027 - most have no state
        """Go on from such a state. OutputError when it does not fit."""

    @abstractmethod
    def _stretches(self, start: int, samples: int) -> Iterator[Tensor]:
        """Consecutive values float32 [samples, cells] inside the window."""


class FromHost(Source):
    """An injection made on the CPU."""

    def __init__(self, stimulus: Injection, device: torch.device) -> None:
        super().__init__(stimulus, device)
        self._stimulus = stimulus

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """See `Source`."""
        return self._stimulus.state

    def restore(self, arrays: Arrays) -> None:
        """See `Source`."""
        for name, array in self._stimulus.state.items():
            fill(array, arrays, name)

    def _stretches(self, start: int, samples: int) -> Iterator[Tensor]:
        for _, piece in self._stimulus.pieces(start, samples):
            yield torch.tensor(piece, device=self.device).T


class DeviceStep(Source):
    """`noble_net.network.waveforms.Step`."""

    def __init__(self, stimulus: Step, device: torch.device) -> None:
        super().__init__(stimulus, device)
        self._amplitude = torch.tensor(stimulus.amplitude, device=device)

    def _stretches(self, start: int, samples: int) -> Iterator[Tensor]:
        yield self._amplitude.expand(samples, -1)


class DeviceWhiteNoise(Source):
    """`noble_net.network.noise.WhiteNoise`."""

    def __init__(self, stimulus: WhiteNoise, device: torch.device) -> None:
        super().__init__(stimulus, device)
        self._key, self._every = int(stimulus.key), stimulus.every
        self._cells = torch.tensor(stimulus.cells, device=device)
        self._mean, self._sigma = (
            torch.tensor(each[:, 0], device=device) for each in (stimulus.mean, stimulus.sigma)
        )

    def _stretches(self, start: int, samples: int) -> Iterator[Tensor]:
        first, offset = divmod(start - self._window[0], self._every)
        noise = normals(self._key, self._cells, first, -(-(offset + samples) // self._every))
        values = (self._mean + self._sigma * noise).float()
        yield values.repeat_interleave(self._every, dim=0)[offset : offset + samples]


class DeviceOrnsteinUhlenbeck(Source):
    """`noble_net.network.noise.OrnsteinUhlenbeck`, in the same chunks."""

    def __init__(self, stimulus: OrnsteinUhlenbeck, device: torch.device) -> None:
        super().__init__(stimulus, device)
        self._key, self._first, self._shared = int(stimulus.key), stimulus.first, stimulus.shared
        self._drawn = torch.tensor(stimulus.drawn, device=device)
        named = {"mean": stimulus.mean, "sigma": stimulus.sigma, "keep": stimulus.decay}
        self._mean, self._sigma, self._keep = (torch.tensor(each, device=device) for each in named.values())
        self._kick = self._sigma * torch.sqrt(1.0 - self._keep * self._keep)
        self._index = self._first - 1
        self._deviation = torch.zeros(len(stimulus.drawn), dtype=torch.float64, device=device)
        self._chunk = torch.zeros((CHUNK, len(stimulus.cells)), device=device)
        self._fused = fused(device) and not self._shared
        if self._fused:
            own = self._mean, self._sigma, self._keep, self._kick
            self._parameters = torch.stack([each.expand(len(stimulus.cells)) for each in own])
            key = np.array([stimulus.key], np.uint64).view(np.int64)
            self._key_there = torch.tensor(key, device=device)

    def _stretches(self, start: int, samples: int) -> Iterator[Tensor]:
        for wanted, part in chunks(start, samples):
            if wanted < self._index:
                self._index = self._first - 1
            while self._index < wanted:
                self._index += 1
                self._chunk = self._next_chunk()
            yield self._chunk[part]

    def _next_chunk(self) -> Tensor:
        if self._fused:
            return self._next_chunk_fused()
        noise = normals(self._key, self._drawn, self._index * CHUNK, CHUNK)
        kicks, y, course = self._kick * noise, self._deviation, []
        for k in range(CHUNK):
            first = k == 0 and self._index == self._first
            y = self._sigma * noise[0] if first else self._keep * y + kicks[k]
            course.append(y)
        self._deviation = y
        deviation = torch.stack(course)
        if self._shared:  # around 0, in float32, and only then around each cell's mean
            deviation = deviation.float().double()
        chunk = (self._mean + deviation).float()
        return chunk if self.reversal is None else chunk.clamp(min=0.0)

    def _next_chunk_fused(self) -> Tensor:
        from noble_net.device import kernels

        kernels.ornstein_uhlenbeck(
            self._key_there,
            self._drawn,
            self._index * CHUNK,
            self._index == self._first,
            self._parameters,
            self._deviation,
            self._chunk,
            positive=self.reversal is not None,
        )
        return self._chunk

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """See `Source`."""
        found = {"deviation": self._deviation, "chunk": self._chunk}
        arrays = {name: each.cpu().numpy() for name, each in found.items()}
        return {"index": np.array([self._index], np.int64), **arrays}

    def restore(self, arrays: Arrays) -> None:
        """See `Source`."""
        found = {name: array.copy() for name, array in self.state.items()}
        for name, array in found.items():
            fill(array, arrays, name)
        self._index = int(found["index"][0])
        self._deviation, self._chunk = (
            torch.tensor(found[name], device=self.device) for name in ("deviation", "chunk")
        )


def device_source(stimulus: Injection, device: torch.device) -> Source:
    """An injection as it is made, or brought, on a device."""
    if isinstance(stimulus, OrnsteinUhlenbeck):
        return DeviceOrnsteinUhlenbeck(stimulus, device)
    if isinstance(stimulus, WhiteNoise):
        return DeviceWhiteNoise(stimulus, device)
    if isinstance(stimulus, Step):
        return DeviceStep(stimulus, device)
    return FromHost(stimulus, device)


class Spikes:
    """Afferents on a device."""

    def __init__(self, stimulus: Afferents, device: torch.device) -> None:
        self.target, self.synapse = stimulus.target, stimulus.synapse
        self._stimulus = stimulus
        self._drawn = DevicePoisson(stimulus, device) if isinstance(stimulus, Poisson) else None

    def deliver(self, start: int, samples: int, bank: DeviceBank) -> None:
        """Let the events of ``samples`` from absolute sample ``start`` on arrive."""
        if self._drawn is None:
            self._stimulus.deliver(start, samples, bank)
            return
        for index, part in chunks(start, samples):
            amounts = self._drawn.amounts(index)[part]
            bank.add(start, amounts, self._drawn.rows)
            start += amounts.shape[0]


class DevicePoisson:
    """What `noble_net.network.afferents.Poisson` lets arrive. ``rows`` are its cells, None for all."""

    def __init__(self, stimulus: Poisson, device: torch.device) -> None:
        self._stimulus, self._key = stimulus, int(stimulus.key)
        self._cells = torch.tensor(stimulus.cells, device=device)
        self._expected = torch.tensor(stimulus.expected, device=device)
        self._largest = float(stimulus.expected.max(initial=0.0))
        self._weight = torch.tensor(stimulus.fixed_weight[stimulus.cells], device=device)
        self.rows = None if len(stimulus.cells) == len(stimulus.weight) else self._cells
        self._index, self._amounts = -1, torch.empty(0)

    def amounts(self, index: int) -> Tensor:
        """Fixed-point amounts int64 [CHUNK, cells] of a chunk."""
        if index != self._index:
            self._index, self._amounts = index, self.counts(index) * self._weight
        return self._amounts

    def counts(self, index: int) -> Tensor:
        """Numbers of events int64 [CHUNK, cells] of a chunk: by inversion of uniforms, in as many steps as the
        largest number can take."""
        factor = self._stimulus.factor(index * CHUNK)
        chance = chances(self._key, self._cells, index * CHUNK, CHUNK)
        mean = torch.tensor(factor, device=chance.device)[:, None] * self._expected
        mean = mean.clamp(max=MOST_EVENTS)
        mass = total = torch.exp(-mean)
        count = torch.zeros(mean.shape, dtype=torch.int64, device=chance.device)
        for number in range(1, _most(min(self._largest * factor.max(), MOST_EVENTS)) + 1):
            more = (chance > total) & (mass > 1e-14 * total)
            count += more
            mass = torch.where(more, mass * (mean / number), mass)
            total = torch.where(more, total + mass, total)
        return count


def _most(mean: float) -> int:
    """The largest Poisson number of this mean, or a smaller one, that 32 bits can draw."""
    mass = total = float(np.exp(-mean))
    number = 0
    while total < 1.0 - 2.0**-33 and mass > 1e-14 * total:
        number += 1
        mass *= mean / number
        total += mass
    return number + 1
