"""The training part of a streaming core's dataset in memory, and the stretches of it that an iteration takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noble_net.cells.family import Family
from noble_net.errors import CheckpointError
from noble_net.surrogate import scaling
from noble_net.surrogate.streaming_torch import Dendrites
from noble_net.training.dataset import VOLTAGE_UNIT, open_dataset, recorded


class Chunk(NamedTuple):
    """A stretch of B streams of T steps of n samples: input of the soma [B, T, 3, n] (nA, nS, pA) and of the dendrites,
    the voltages before and after each step [B, T, n], mV; the soma's slow variables before the first step and after
    each [B, T + 1, A], in NEURON's units."""

    drive: Tensor
    dendrites: Dendrites | None
    before: Tensor
    after: Tensor
    slow: Tensor | None = None

    def to(self, device: torch.device) -> Chunk:
        """The same on a device."""
        dendrites = self.dendrites and self.dendrites.to(device)
        slow = None if self.slow is None else self.slow.to(device)
        return Chunk(self.drive.to(device), dendrites, self.before.to(device), self.after.to(device), slow)


class TrainingData(NamedTuple):
    """The training part of a dataset in memory.

    float32 ``current`` [members, samples] nA, ``conductance`` nS and ``reversal_current`` pA [members, zones, samples]
    with the soma first, ``nmda`` nS [members, dendritic zones, samples] and ``half`` mV [members] or None; int16
    ``voltage`` [members, samples + 1]; float32 ``code`` [members, n]; float32 ``slow`` [members, variables,
    samples + 1], the variables of a core that keeps account of some, in its order, or None.
    """

    current: NDArray[np.float32]
    conductance: NDArray[np.float32]
    reversal_current: NDArray[np.float32]
    nmda: NDArray[np.float32] | None
    half: NDArray[np.float32] | None
    voltage: NDArray[np.int16]
    code: NDArray[np.float32]
    family_hash: str
    slow: NDArray[np.float32] | None = None

    @staticmethod
    def read(path: Path, family: Family, slow: Sequence[str] = ()) -> TrainingData:
        """Read /train of a dataset made from ``family``, of the variables recorded those named ``slow``.

        Raises CheckpointError when it was made from another family, or does not record one of them.
        """
        with open_dataset(path, family) as file:
            group = file["train"]
            ids = [str(i) for i in group["ids"].asstr()[:]]
            conductance, reversal_current = (group[name][:] for name in ("conductance", "reversal_current"))
            if conductance.ndim == 2:
                conductance, reversal_current = conductance[:, None], reversal_current[:, None]
            nmda, half = (group[n][:] if n in group else None for n in ("nmda_conductance", "nmda_half"))
            drive = group["current"][:], conductance, reversal_current, nmda, half
            voltage = group["voltage"][:]
            values = _slow(file, slow) if slow else None
        return TrainingData(*drive, voltage, family.codes(ids), family.hash, values)

    @property
    def dendrites(self) -> int:
        """Number of dendritic zones."""
        return int(self.conductance.shape[1]) - 1

    def chunk(self, rows: NDArray[np.int64], starts: NDArray[np.int64], steps: int, n: int) -> Chunk:
        """The stretches of members ``rows`` from input samples ``starts`` on, ``steps`` of ``n`` samples long."""
        samples = steps * n
        ends = starts[:, None] + n * np.arange(steps + 1)

        def taken(array: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.stack([array[r, ..., s : s + samples] for r, s in zip(rows, starts, strict=True)])

        conductance, reversal = taken(self.conductance), taken(self.reversal_current)
        soma = np.stack([taken(self.current), conductance[:, 0], reversal[:, 0]], axis=1)
        drive = soma.reshape(len(rows), 3, steps, n).transpose(0, 2, 1, 3)
        volts = np.stack(
            [self.voltage[r, s - n + 1 : s + samples + 1] for r, s in zip(rows, starts, strict=True)]
        ).astype(np.float32)
        volts = np.maximum(volts * VOLTAGE_UNIT, scaling.VOLTAGE_LOW).reshape(len(rows), steps + 1, n)
        return Chunk(
            _tensor(drive),
            self._dendrites(rows, conductance, reversal, taken, steps) if self.dendrites else None,
            _tensor(volts[:, :-1]),
            _tensor(volts[:, 1:]),
            None if self.slow is None else _tensor(self.slow[rows[:, None], :, ends]),
        )

    def _dendrites(
        self,
        rows: NDArray[np.int64],
        conductance: NDArray[np.float32],
        reversal: NDArray[np.float32],
        taken: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        steps: int,
    ) -> Dendrites:
        """Means over each step, [B, T, Z]."""

        def means(zones: NDArray[np.float32]) -> Tensor:
            return _tensor(zones.reshape(*zones.shape[:2], steps, -1).mean(-1).transpose(0, 2, 1))

        slow = None if self.nmda is None else means(taken(self.nmda))
        half = None if self.half is None else _tensor(self.half[rows])
        return Dendrites(means(conductance[:, 1:]), means(reversal[:, 1:]), slow, half)


def _slow(file: h5py.File, names: Sequence[str]) -> NDArray[np.float32]:
    """Variables by name, [members, variables, samples + 1]; what the solver made of them below 0 is 0."""
    there = recorded(file)
    for name in names:
        if name not in there:
            raise CheckpointError(f"the dataset does not record {name}: make it anew from this recipe")
    values = file["train/slow"]
    found = np.empty((len(values), len(names), values.shape[2]), np.float32)
    for column, name in enumerate(names):
        np.maximum(values[:, there.index(name)], 0.0, out=found[:, column])
    return found


def _tensor(array: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
