"""The windowed core: neuraloperator's FNO on [history | window], in closed loop on its own voltage.

The direct reading of "a window of synaptic current": from what a cell received and answered in the last tens of
milliseconds, what it receives in the next window, and numbers that tell the cell, written as NOBLE writes them
(arXiv 2506.04536), to its voltage in the window (`noble_net.surrogate.windowed_torch`). Needs the extra [train]; dear
beside the streaming core, and the baseline it is held against.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from noble_net.cells.latent_space import HIGHEST, LOWEST
from noble_net.errors import CheckpointError, FamilyError, MissingExtraError
from noble_net.specs.windowed import WindowedModelSpec
from noble_net.spikes import detect_block, new_detector
from noble_net.surrogate import scaling as s
from noble_net.surrogate.checkpoint import Checkpoint, load_checkpoint
from noble_net.surrogate.core import Core
from noble_net.surrogate.envelope import Envelope
from noble_net.surrogate.noble import feature_matrix
from noble_net.types import BLOCK_SLOPE, DT, CellTable, Drive, Float32, Float64, Nmda, Response, State, UInt32

if TYPE_CHECKING:
    from torch import Tensor

    from noble_net.surrogate.windowed_torch import WindowedNet

START = -80.0
"""Voltage from which a cell settles to its rest, mV."""
SETTLE = 200.0
"""Zero input that brings a cell to its own rest, ms: some lengths of the history, which is all it remembers."""
ROWS = 8
"""Cells computed at once, always: fewer are filled up."""
BEYOND = 1.5
"""What is told of a cell is clamped so far outside the family's range, half of which it is."""

_SOMA = ("soma",)

Ranges = Mapping[str, tuple[float, float]]
"""What is told of a cell → its smallest and largest value over the family."""


class WindowedCore(Core):
    """A trained windowed core on CPU, with input at the soma.

    Within a window its answer depends on the whole window's input, as a streaming core's does on a step's: it is causal
    from window to window, and no delay may be shorter. Conductance acts as the effective current
    I + (J − G·V)/1000, in the window at the last voltage before it, later, as history, at the voltage of each sample;
    so does NMDA conductance, whose magnesium block is that of the last voltage before the window.

    Cells are computed `ROWS` at a time, on one thread of PyTorch each time, so that every product has the same shape
    whatever the batch, the threads and the block: a cell's answer then is the same to the last bit as long as PyTorch
    computes each row of a product alike, which it promises nowhere and the tests hold.
    """

    zones = _SOMA
    nmda = True

    def __init__(self, checkpoint: Checkpoint) -> None:
        about = checkpoint.about
        self.name, self.hash = str(about["name"]), checkpoint.hash
        self.family, self.family_hash = str(about["family"]), str(about["family_hash"])
        if tuple(about["zones"]) != _SOMA:
            raise checkpoint.damaged(f"core.json names the zones {about['zones']}, where [soma] is wanted")
        self.code = tuple(about["code"])
        self.ranges, model = _described(checkpoint)
        self.step_samples, self.history_samples = model.window_samples, model.history_samples
        self.envelope = Envelope.of(checkpoint, self.zones)
        self._limits = self.envelope.limits()
        self.net = _network(checkpoint, len(self.ranges), model)

    @staticmethod
    def load(folder: Path) -> WindowedCore:
        """Read a checkpoint folder. Raises CheckpointError, or MissingExtraError without neuraloperator."""
        return WindowedCore(load_checkpoint(folder))

    def begin(self, cells: CellTable) -> State:
        """Every cell at its own rest: settled under zero input. Raises CheckpointError for a code of another length,
        FamilyError for cells without a feature the core embeds."""
        n, h = cells.size, self.history_samples
        if cells.code.shape != (n, len(self.code)):
            raise CheckpointError(
                f"core {self.name} wants codes of {len(self.code)} numbers, got {cells.code.shape}"
            )
        try:
            told = told_of(cells, self.ranges, self.code)
        except FamilyError as error:
            raise FamilyError(f"core {self.name}: {error}") from error
        arrays = {
            "told": told,
            "past_voltage": np.full((n, h), START, np.float32),
            "past_current": np.zeros((n, h), np.float32),
            "past_conductance": np.zeros((n, h), np.float32),
            "voltage": np.full(n, START, np.float32),
            "detector": new_detector(n),
        }
        windows = -(-round(SETTLE / DT) // self.step_samples)
        _, state = self.advance(State(arrays), Drive.zeros(self.zones, n, windows * self.step_samples))
        state.arrays["detector"] = new_detector(n)
        return state

    def advance(self, state: State, drive: Drive) -> tuple[Response, State]:
        """One block; see `Core.advance`."""
        self.check_drive(drive)
        a = state.arrays
        cells = len(a["told"])
        voltage = np.empty((cells, drive.samples), np.float32)
        outside = np.zeros(cells, np.uint32)
        starts = range(0, cells, ROWS)

        def answer(start: int) -> None:
            self._answer(a, drive, slice(start, min(start + ROWS, cells)), voltage, outside)

        with _one_thread_each():
            workers = min(numba.get_num_threads(), len(starts))
            if workers > 1:
                with ThreadPoolExecutor(workers) as pool:
                    list(pool.map(answer, starts))
            else:
                for start in starts:
                    answer(start)
        cell, sample, time = detect_block(voltage, state.voltage, a["detector"])
        a["voltage"] = voltage[:, -1].copy()
        return Response(voltage, cell, sample, time, outside), state

    def _answer(
        self, arrays: dict[str, Any], drive: Drive, rows: slice, voltage: Float32, outside: UInt32
    ) -> None:
        """Answer a block for ``rows``, window by window; their history is updated in place."""
        import torch

        from noble_net.surrogate.windowed_torch import effective_current

        filled = _Filled(rows, drive.nmda)
        past_v, past_i, past_g, told = (
            filled(arrays[name]) for name in ("past_voltage", "past_current", "past_conductance", "told")
        )
        inputs = [filled(each[0]) for each in (drive.current, drive.conductance, drive.reversal_current)]
        h, w, n = self.history_samples, self.step_samples, rows.stop - rows.start
        (low, high, *_), (least, most, conducted, _) = self._limits.tolist()
        count = torch.zeros(ROWS, dtype=torch.int64)
        with torch.inference_mode():
            embedded = self.net.embed(told)
            for start in range(0, drive.samples, w):
                window = slice(start, start + w)
                last = past_v[:, -1:]
                i, g, j = (each[:, window] for each in inputs)
                g, j = filled.blocked(g, j, window, last)
                effective = effective_current(i, g, j, last)
                answer = self.net(
                    past_v, torch.cat([past_i, effective], 1), torch.cat([past_g, g], 1), embedded
                )
                scaled, conducting = s.CURRENT_SCALE * effective, s.CONDUCTANCE_SCALE * g
                beyond = (scaled < least) | (scaled > most) | (conducting > conducted) | (conducting < 0.0)
                count += (beyond | (answer < low) | (answer > high)).sum(1)
                answer = answer.clamp(s.VOLTAGE_LOW, s.VOLTAGE_HIGH)
                flowed = effective_current(i, g, j, torch.cat([last, answer[:, :-1]], 1))
                past_v, past_i, past_g = (
                    torch.cat([past, new], 1)[:, -h:]
                    for past, new in ((past_v, answer), (past_i, _bounded(flowed)), (past_g, g))
                )
                voltage[rows, window] = answer[:n].numpy()
        outside[rows] = count[:n].numpy()
        for name, past in (("past_voltage", past_v), ("past_current", past_i), ("past_conductance", past_g)):
            arrays[name][rows] = past[:n].numpy()


class _Filled:
    """Rows of arrays as tensors of `ROWS` rows, the last ones zeros; of the NMDA input for a start."""

    def __init__(self, rows: slice, nmda: Nmda | None) -> None:
        self.rows = rows
        self.nmda: tuple[Tensor, Tensor, Tensor] | None = None
        if nmda is not None:
            self.nmda = self(nmda.conductance[0]), self(nmda.reversal_current[0]), self(nmda.half[:, None])

    def __call__(self, array: Any) -> Tensor:
        """The rows of an array [cells, n], float32 [`ROWS`, n]."""
        import torch

        out = np.zeros((ROWS, array.shape[1]), np.float32)
        out[: self.rows.stop - self.rows.start] = array[self.rows]
        return torch.from_numpy(out)

    def blocked(self, g: Tensor, j: Tensor, window: slice, last: Tensor) -> tuple[Tensor, Tensor]:
        """Conductance and Σ g·E of a window, with what magnesium lets through of the NMDA input at ``last`` mV."""
        if self.nmda is None:
            return g, j
        conductance, reversal, half = self.nmda
        share = (BLOCK_SLOPE * (last - half)).sigmoid()
        return g + share * conductance[:, window], j + share * reversal[:, window]


def told_of(cells: CellTable, ranges: Ranges, code: Sequence[str]) -> Float32:
    """What a core is told of cells, scaled, [cells, len(ranges)]: numbers of the code and features by name, the
    smallest and the largest of the family at 0.5 and 3.5.

    Raises FamilyError for a feature the cells do not have, or have no finite value of.
    """
    raw = raw_values(cells, tuple(ranges), code)
    low, high = np.array(list(ranges.values()), np.float64).reshape(-1, 2).T
    scaled = LOWEST + (HIGHEST - LOWEST) * (raw - low) / (high - low)
    return scaled.clip(LOWEST - BEYOND, HIGHEST + BEYOND).astype(np.float32)


def raw_values(cells: CellTable, names: Sequence[str], code: Sequence[str]) -> Float64:
    """The same in their own units, float64 [cells, names]."""
    columns = [
        cells.code[:, list(code).index(name)] if name in code else feature_matrix(cells, (name,))[:, 0]
        for name in names
    ]
    return np.column_stack(columns).astype(np.float64)


def _bounded(current: Tensor) -> Tensor:
    limit = s.CURRENT_LIMIT / s.CURRENT_SCALE
    return current.clamp(-limit, limit)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """PyTorch on one thread within a product: how it shares work among threads can change the last bit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _described(checkpoint: Checkpoint) -> tuple[dict[str, tuple[float, float]], WindowedModelSpec]:
    """What the core is told, in the order it reads it, and its shape. Raises CheckpointError."""
    about = checkpoint.about
    try:
        model = WindowedModelSpec.model_validate(about["model"])
        ranges = {str(name): (float(low), float(high)) for name, (low, high) in about["told"].items()}
        wanted = told_names(model, about["code"])
        if tuple(sorted(ranges)) != wanted:
            raise ValueError(f"it gives ranges of {sorted(ranges)}, where {list(wanted)} are told")
        for name, (low, high) in ranges.items():
            if not (np.isfinite([low, high]).all() and low < high):
                raise ValueError(f"{name} ranges over [{low}, {high}]")
        if model.window_samples != about["step_samples"]:
            raise ValueError(
                f"a step of {about['step_samples']} samples is not its window of {model.window} ms"
            )
    except (KeyError, TypeError, ValueError) as error:
        raise checkpoint.damaged(f"core.json is no description of a windowed core: {error}") from error
    return {name: ranges[name] for name in wanted}, model


def told_names(model: WindowedModelSpec, code: Sequence[str]) -> tuple[str, ...]:
    """Names of what a core is told of a cell, alphabetical."""
    return tuple(sorted({*model.features, *(code if model.code else ())}))


def _network(checkpoint: Checkpoint, told: int, model: WindowedModelSpec) -> WindowedNet:
    """The network with its weights. Raises CheckpointError, or MissingExtraError without neuraloperator."""
    try:
        from noble_net.surrogate.fno import load_weights
        from noble_net.surrogate.windowed_torch import WindowedNet
    except ImportError as error:
        raise MissingExtraError("a windowed core (PyTorch, neuraloperator)", "train") from error
    net = WindowedNet(told, model)
    try:
        load_weights(net, checkpoint.weights)
    except CheckpointError as error:
        raise checkpoint.damaged(str(error)) from error
    return net.eval().requires_grad_(False)
