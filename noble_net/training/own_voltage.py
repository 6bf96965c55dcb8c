"""The core's own voltage in training: part of the streams run free, as in a network, and learn from what becomes of it.
Where the core keeps account of slow variables, those are its own there too.

Fed the true voltage, a core reads a cell's slow currents off its course and has no need to keep account of them itself;
alone, it then drifts within some tenths of a second. Free runs are fed their own voltage without end. Only where that
strays from the truth (a spike too many, or too few) does it take the truth's place, while the recurrent state goes on.
No gradient flows through what is fed back, as in the pushforward trick of Brandstetter et al. (2022).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from noble_net.specs.cores import CoreRecipe, OwnVoltageSpec
from noble_net.spikes import new_detector
from noble_net.surrogate.checkpoint import Checkpoint
from noble_net.surrogate.streaming import StreamingCore
from noble_net.surrogate.streaming_shape import Slow
from noble_net.surrogate.streaming_torch import StreamingNet
from noble_net.training.ranges import envelope_of
from noble_net.training.streams import Chunk, TrainingData
from noble_net.types import Drive, Float32, Nmda, State


class Fed(NamedTuple):
    """What streams are fed before each step: voltages [streams, T, n], mV, and slow variables [streams, T, A] in their
    units."""

    voltage: Tensor
    slow: Tensor


class OwnVoltage:
    """The first `streams` of a training's streams, run on the compiled core with the weights of the moment."""

    def __init__(
        self, recipe: CoreRecipe, spec: OwnVoltageSpec, data: TrainingData, slow: tuple[Slow, ...] = ()
    ) -> None:
        self.streams = round(spec.share * recipe.training.batch)
        self.voltage = torch.zeros(self.streams, recipe.model.step_samples)
        """Fed at the next step, [streams, n] mV."""
        self.slow = torch.zeros(self.streams, len(slow))
        """Fed at the next step, in their units [streams, A]."""
        self.brought_back = 0.0
        """Share of the steps of the last chunk after which the truth took the place of the own voltage."""
        self._within = spec.within
        self._zones = recipe.dataset.zones
        self._about = {
            "name": recipe.name,
            "family": recipe.family,
            "family_hash": data.family_hash,
            "code": [str(number) for number in range(data.code.shape[1])],
            "zones": list(recipe.dataset.zones),
            "nmda": recipe.dataset.nmda,
            "envelope": envelope_of(data, recipe.dataset.zones, recipe.model.step_samples).to_json(),
            "step_samples": recipe.model.step_samples,
            "encoder_layers": recipe.model.encoder_layers,
            "direct": recipe.model.direct,
            "slow": [each._asdict() for each in slow],
        }

    def begin(self, chunk: Chunk) -> None:
        """Start new streams, from the truth."""
        self.voltage = chunk.before[: self.streams, 0].cpu().clone()
        if chunk.slow is not None:
            self.slow = chunk.slow[: self.streams, 0].cpu().clone()

    def run(self, net: StreamingNet, chunk: Chunk, code: Tensor, state: Tensor) -> Fed:
        """Run the streams through a chunk; returns what they are fed, on the chunk's device.

        ``code`` [B, C] and ``state`` [1, B, H] are those of all streams; the chunk's slow variables are in their units.
        """
        weights = {name: values.detach().cpu().numpy() for name, values in net.state_dict().items()}
        core = StreamingCore(Checkpoint(self._about, weights, ""))
        running = self._state(core, code[: self.streams], state[0, : self.streams])
        truth = chunk.after[: self.streams].cpu().numpy()
        fed = np.empty_like(truth)
        held = np.empty((*truth.shape[:2], self.slow.shape[1]), np.float32)
        wanted = held if chunk.slow is None else chunk.slow[: self.streams, 1:].cpu().numpy()
        away = 0
        for step, drive in enumerate(_steps(chunk, self._zones, self.streams)):
            history = running.arrays["history"]
            fed[:, step], held[:, step] = history, running.arrays["slow"]
            _, running = core.advance(running, drive)
            history = running.arrays["history"]
            strayed = np.abs(history[:, -1] - truth[:, step, -1]) > self._within
            history[strayed] = truth[strayed, step]
            running.arrays["slow"][strayed] = wanted[strayed, step]
            away += int(strayed.sum())
        self.voltage = torch.from_numpy(running.arrays["history"].copy())
        self.slow = torch.from_numpy(running.arrays["slow"].copy())
        self.brought_back = away / (self.streams * truth.shape[1])
        device = chunk.before.device
        return Fed(torch.from_numpy(fed).to(device), torch.from_numpy(held).to(device))

    def _state(self, core: StreamingCore, code: Tensor, hidden: Tensor) -> State:
        voltage = self.voltage.numpy()
        return State(
            {
                "code": core.told(code.cpu().numpy()),
                "hidden": hidden.detach().cpu().numpy().copy(),
                "history": voltage.copy(),
                "slow": self.slow.numpy().copy(),
                "voltage": voltage[:, -1].copy(),
                "detector": new_detector(len(voltage)),
            }
        )


def _steps(chunk: Chunk, zones: tuple[str, ...], streams: int) -> list[Drive]:
    """The inputs of the first ``streams``, step by step."""
    steps, n = chunk.before.shape[1:]
    current, conductance, reversal = chunk.drive[:streams].cpu().numpy().transpose(2, 1, 0, 3)
    injected = np.zeros((steps, len(zones), streams, n), np.float32)
    injected[:, 0] = current
    g, j, slow = (np.zeros_like(injected) for _ in range(3))
    g[:, 0], j[:, 0] = conductance, reversal
    half: Float32 | None = None
    if chunk.dendrites is not None:
        g[:, 1:] = _held(chunk.dendrites.conductance, streams)
        j[:, 1:] = _held(chunk.dendrites.reversal_current, streams)
        if chunk.dendrites.nmda is not None and chunk.dendrites.half is not None:
            slow[:, 1:] = _held(chunk.dendrites.nmda, streams)
            half = np.ascontiguousarray(chunk.dendrites.half[:streams].cpu().numpy())
    nothing = np.zeros_like(injected[0])
    return [
        Drive(
            zones,
            injected[step],
            g[step],
            j[step],
            nmda=None if half is None else Nmda(slow[step], nothing, half),
        )
        for step in range(steps)
    ]


def _held(means: Tensor, streams: int) -> Float32:
    """Means over each step [B, T, Z] as samples, [T, Z, streams, 1]."""
    return np.asarray(means[:streams].cpu().numpy().transpose(1, 2, 0)[..., None], np.float32)
