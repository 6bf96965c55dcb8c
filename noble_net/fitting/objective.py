"""How a core's one-step predictions of a recorded voltage depend on the cell's code.

A recording is cut into stretches of `STRETCH` ms. In each, the core is told the recorded voltage at every step, with
the noise it was trained with, and predicts the next one; the first `BURN_IN` ms only fill its recurrent state. The loss
of a prediction error r is the pseudo-Huber ρ(r) = δ²·(√(1 + (r/δ)²) − 1): quadratic below δ, so that the few samples of
spikes do not outweigh all others. A recording is that of a somatic electrode: a core with dendritic zones is told that
nothing arrives there. One that keeps account of slow variables is told, in every stretch, the account that the family's
mean cell keeps over the whole recording, since what flows in long before a stretch still counts there.

Shape legend: S stretches, T steps of n samples, A slow variables, C code length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noble_net.surrogate import scaling
from noble_net.surrogate.checkpoint import Checkpoint
from noble_net.surrogate.streaming_shape import Shape
from noble_net.surrogate.streaming_torch import Dendrites, StreamingNet
from noble_net.types import DT, Float32, Float64

STRETCH, BURN_IN = 100.0, 50.0
"""Of a stretch: what counts, and what comes before it, ms."""
NOISE = 2.0
"""Voltage noise that the core is told, mV, as in training."""
DELTA = 1.5
"""δ of the loss, in spreads of the errors: beyond, errors count by their size, not its square (Huber 1964)."""
DIFFERENCE = 0.05
"""Step of the differences by which predictions are derived, standard deviations of the code."""
_AT_ONCE = 2048
"""Stretches × codes predicted at a time: what bounds the memory."""


Piece = tuple[Float32, Float32, Float32, Float32]
"""A voltage [samples + 1] mV, and current (nA), conductance (nS) and Σ g·E (pA) at the soma [samples], at `DT`."""


class Stretches(NamedTuple):
    """Pieces of recordings: input [S, T, 3, n] (nA, nS, pA), and the voltage before and after each step [S, T, n], mV;
    for a core that keeps account of slow variables those before each [S, T, A]. The first ``burn_in`` steps do not
    count.
    """

    drive: Tensor
    before: Tensor
    after: Tensor
    burn_in: int
    slow: Tensor | None = None

    @property
    def samples(self) -> int:
        """Predictions that count."""
        return int(self.after[:, self.burn_in :].numel())

    @property
    def size(self) -> int:
        """How many stretches."""
        return len(self.drive)

    def take(self, rows: NDArray[np.int64] | slice) -> Stretches:
        """Some of them."""
        slow = None if self.slow is None else self.slow[rows]
        return Stretches(self.drive[rows], self.before[rows], self.after[rows], self.burn_in, slow)

    def repeat(self, times: int) -> Stretches:
        """All of them so many times over."""
        drive, before, after = (each.repeat(times, 1, *[1] * (each.dim() - 2)) for each in self[:3])
        slow = None if self.slow is None else self.slow.repeat(times, 1, 1)
        return Stretches(drive, before, after, self.burn_in, slow)

    @staticmethod
    def of(
        sweeps: Sequence[Piece],
        net: SomaticNet,
        generator: np.random.Generator,
        most: int | None = None,
        accounts: Sequence[Float32] | None = None,
    ) -> Stretches:
        """Stretches of sweeps for a core's net; ``most`` of them, taken evenly. Whatever is left over at a sweep's end
        counts for nothing. ``accounts``: the net's accounts of the sweeps, where they are known. Raises ValueError when
        no sweep is as long as one stretch."""
        if accounts is None:
            accounts = net.accounts(sweeps)
        samples = net.samples
        steps, burn_in = (round(each / (samples * DT)) for each in (STRETCH + BURN_IN, BURN_IN))
        drives, volts, told = [], [], []
        length, hop = steps * samples, (steps - burn_in) * samples
        for number, (voltage, *inputs) in enumerate(sweeps):
            stacked = np.stack(inputs)
            starts = range(samples - 1, len(voltage) - length, hop)
            for start in starts:
                # what arrives during the step that ends in the voltages to be predicted
                drives.append(stacked[:, start : start + length])
                volts.append(voltage[start - samples + 1 : start + length + 1])
                if accounts:
                    told.append(accounts[number][start // samples :][:steps])
        if not drives:
            raise ValueError(f"no sweep lasts {STRETCH + BURN_IN:g} ms")
        count = len(drives) if most is None else min(most, len(drives))
        keep = np.linspace(0, len(drives) - 1, count).round().astype(np.int64)
        drive = np.stack(drives)[keep].reshape(-1, 3, steps, samples).swapaxes(1, 2)
        voltage = np.maximum(np.stack(volts)[keep], scaling.VOLTAGE_LOW).reshape(-1, steps + 1, samples)
        before = voltage[:, :-1] + _noise(generator, (len(voltage), steps, samples))
        slow = _tensor(np.stack(told)[keep]) if told else None
        return Stretches(_tensor(drive), _tensor(before), _tensor(voltage[:, 1:]), burn_in, slow)


def trained_net(checkpoint: Checkpoint) -> StreamingNet:
    """The differentiable network of a streaming core's checkpoint, its weights fixed. Raises CheckpointError."""
    about = checkpoint.about
    shape = Shape.of(checkpoint, len(about["zones"]) - 1)
    net = StreamingNet(
        shape.code,
        shape.hidden,
        int(about["step_samples"]),
        zones=len(about["zones"]) - 1,
        nmda=shape.dendritic_nmda,
        code_units=shape.code_units,
        encoder_layers=int(about.get("encoder_layers", 2)),
        decoder_units=shape.decoder,
        direct=shape.direct,
        code_hidden=shape.code_hidden,
        slow=shape.slow,
    )
    net.load_state_dict({name: torch.from_numpy(weight) for name, weight in checkpoint.weights.items()})
    return net.requires_grad_(False)


class SomaticNet(NamedTuple):
    """A core's network under input to the soma alone, its weights fixed: ``zones`` dendritic ones get none, and
    ``nmda`` says whether the network asks for that as well."""

    net: StreamingNet
    samples: int
    zones: int
    nmda: bool
    code: int
    """Numbers of a code; the family's mean cell has zeros."""

    @staticmethod
    def of(checkpoint: Checkpoint) -> SomaticNet:
        """Of a streaming core's checkpoint. Raises CheckpointError."""
        zones = len(checkpoint.about["zones"]) - 1
        net = trained_net(checkpoint)
        shape = Shape.of(checkpoint, zones)
        return SomaticNet(net, net.samples, zones, shape.dendritic_nmda, shape.code)

    def predict(self, drive: Tensor, before: Tensor, code: Tensor, slow: Tensor | None = None) -> Tensor:
        """The voltage after each step [B, T, n], mV; arguments as in `StreamingNet.forward`."""
        answer: Tensor = self.net(drive, before, code, None, self._silence(*drive.shape[:2]), slow)[0]
        return answer[..., : self.samples]

    @torch.no_grad()
    def accounts(self, sweeps: Sequence[Piece], slow: Float32 | None = None) -> list[Float32]:
        """Slow variables before each step of each sweep, in their units [steps, A], by the family's mean cell, all
        sweeps at once; ``slow`` [sweeps, A]: at the start of each, in NEURON's units (None: as at rest).
        Nothing for a core that keeps account of none."""
        if not self.net.slow:
            return []
        n = self.samples
        counts = [max(0, (len(voltage) - n) // n) for voltage, *_ in sweeps]
        steps = max([1, *counts])
        drive, before = torch.zeros(len(sweeps), steps, 3, n), torch.zeros(len(sweeps), steps, n)
        for row, ((voltage, *inputs), count) in enumerate(zip(sweeps, counts, strict=True)):
            samples = count * n
            arriving = np.stack(inputs)[:, n - 1 :][:, :samples].reshape(3, count, n)
            drive[row, :count] = _tensor(arriving.swapaxes(0, 1))
            fed = np.maximum(voltage[:samples], scaling.VOLTAGE_LOW)
            before[row, :count] = _tensor(fed.reshape(count, n))
        state = self.net.start(len(sweeps)).clone()
        if slow is not None:
            state[0, :, self.net.hidden :] = _tensor(slow / np.array([each.unit for each in self.net.slow]))
        code = torch.zeros(len(sweeps), self.code)
        told = self.net.account(drive, before, code, state, self._silence(len(sweeps), steps)).numpy()
        return [account[:count] for account, count in zip(told, counts, strict=True)]

    def _silence(self, cells: int, steps: int) -> Dendrites | None:
        if not self.zones:
            return None
        none = torch.zeros(cells, steps, self.zones)
        # the half of a block of nothing: what a running core takes where no NMDA input says otherwise
        half = torch.full((cells,), scaling.BLOCK_CENTRE) if self.nmda else None
        return Dendrites(none, none, none if self.nmda else None, half)


class Slopes(NamedTuple):
    """The mean loss of predictions and how it depends on the code.

    ``scores`` [S, C]: −∂ρ/∂code of each stretch, a share of the mean over all, which they sum to; ``curvature`` [C, C]:
    the Gauss–Newton Hessian of the mean; ``spread``: of the prediction errors, 1.4826 times their median size, mV.
    """

    loss: float
    scores: Float64
    curvature: Float64
    spread: float


def graded(net: SomaticNet, data: Stretches, code: Float64, delta: float) -> tuple[float, Float64]:
    """`Slopes.loss` and `Slopes.scores`: one pass there and back."""
    rows = torch.as_tensor(np.broadcast_to(code, (data.size, len(code))).astype(np.float32))
    found, total = [], 0.0
    for part in _parts(data.size):
        some, leaf = data.take(part), rows[part].clone().requires_grad_()
        scaled = _errors(net, some, leaf) / delta
        loss = delta**2 * ((1.0 + scaled.square()).sqrt() - 1.0).sum() / data.samples
        (gradient,) = torch.autograd.grad(loss, leaf)
        found.append(-gradient.numpy().astype(np.float64))
        total += float(loss.detach())
    return total, np.concatenate(found)


def slopes(net: SomaticNet, data: Stretches, code: Float64, delta: float) -> Slopes:
    """Loss, scores and curvature at one code [C]."""
    count = len(code)
    curvature, sizes = np.zeros((count, count)), []
    moved = np.concatenate([code[None], code + DIFFERENCE * np.eye(count)]).astype(np.float32)
    with torch.no_grad():
        for part in _parts(data.size, count + 1):
            some = data.take(part)
            rows = torch.from_numpy(moved).repeat_interleave(some.size, dim=0)
            errors = _errors(net, some.repeat(count + 1), rows).reshape(count + 1, -1).double()
            derived = (errors[1:] - errors[0]) / DIFFERENCE
            root = (1.0 + (errors[0] / delta).square()).sqrt()
            curvature += ((derived / root**3) @ derived.T).numpy() / data.samples
            sizes.append(errors[0].abs().numpy())
    spread = 1.4826 * float(np.median(np.concatenate(sizes)))
    return Slopes(*graded(net, data, code, delta), curvature, spread)


def losses(net: SomaticNet, data: Stretches, codes: Float64, delta: float) -> Float64:
    """The mean loss of each of some codes [codes, C] → [codes]."""
    found = []
    with torch.no_grad():
        for code in torch.from_numpy(codes.astype(np.float32)):
            scaled = _errors(net, data, code.expand(data.size, -1)) / delta
            found.append(float(delta**2 * ((1.0 + scaled.square()).sqrt() - 1.0).mean()))
    return np.array(found)


def _errors(net: SomaticNet, data: Stretches, code: Tensor) -> Tensor:
    """Predicted minus recorded voltage [S, counted T, n], mV."""
    return (net.predict(data.drive, data.before, code, data.slow) - data.after)[:, data.burn_in :]


def _parts(size: int, codes: int = 1) -> list[slice]:
    step = max(1, _AT_ONCE // codes)
    return [slice(first, first + step) for first in range(0, size, step)]


def _noise(generator: np.random.Generator, shape: tuple[int, int, int]) -> Float32:
    """As in training: per step one offset N(0, σ)·U(0, 1), and 0.3 σ per sample."""
    stretches, steps, _ = shape
    offset = generator.standard_normal((stretches, steps, 1)) * generator.random((stretches, steps, 1))
    return (NOISE * (offset + 0.3 * generator.standard_normal(shape))).astype(np.float32)


def _tensor(array: Float32) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))
