"""The streaming core: a causal recurrent operator fed back its own voltage, conditioned on the cell's code.

One step maps n samples of input, the cell's last n voltages and its code to the next n voltages, through an
encoder, a gated recurrent unit and a decoder (`noble_net.surrogate.streaming_torch` is the trained definition).
Current and conductance enter as the effective current I + (J − G·V)/1000 at the last voltage, and as G.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from noble_net.errors import CheckpointError
from noble_net.spikes import detect_block, new_detector
from noble_net.surrogate import kernels
from noble_net.surrogate import scaling as s
from noble_net.surrogate.checkpoint import Checkpoint, load_checkpoint
from noble_net.surrogate.conditioning import by_lanes, fold_code, silu
from noble_net.surrogate.core import Core
from noble_net.surrogate.streaming_shape import Shape
from noble_net.types import DT, CellTable, Drive, Float32, Response, State

START = -80.0
"""Voltage from which a cell settles to its rest, mV."""
SETTLE = 300.0
"""Zero input that brings a cell to its own rest, ms."""


_SOMA = "soma"
_NONE = np.empty(0, np.float32)
BLOCK_LIMIT = 1.5
"""Largest scaled distance of the half of the magnesium block from its centre: what cores are trained on, about."""


class StreamingCore(Core):
    """A trained streaming core on CPU. Bitwise the same for any batching, thread count and block length.

    The magnesium block of NMDA input on the soma is that of the last voltage before each native step (0.5 ms for five
    samples), held through it, as the step's other conductances act by the voltage at its start. Input on the dendrites
    acts by its means over the step; how it reaches the soma, and its NMDA block there, is learned, for a reversal
    potential of 0 mV.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        about = checkpoint.about
        self.name = str(about["name"])
        self.zones = tuple(about["zones"])
        if self.zones[:1] != (_SOMA,):
            raise checkpoint.damaged(
                f"the first zone must be {_SOMA}, and core.json names {list(self.zones)}"
            )
        self.step_samples = int(about["step_samples"])
        self.family = str(about["family"])
        self.family_hash = str(about["family_hash"])
        self.hash = checkpoint.hash
        self.weights = checkpoint.weights
        self.shape = Shape.of(checkpoint, len(self.zones) - 1)
        self.hidden = self.shape.hidden
        self.nmda = len(self.zones) == 1 or self.shape.dendritic_nmda
        w, h, inputs = self.weights, self.hidden, self.shape.inputs
        second = w.get("encode_out.weight", np.empty((0, h), np.float32))
        self._weights = (
            _padded(w["encode_in.weight"][:, :inputs]),
            _padded(second),
            w.get("encode_out.bias", np.empty(0, np.float32)),
            _padded(w["gru.weight_ih_l0"][:, :h]),
            _padded(w["gru.weight_hh_l0"]),
            w["gru.bias_hh_l0"],
            _padded(w["decode_in.weight"][:, : 2 * h]),
            _padded(w["decode_out.weight"]),
            _padded_bias(w["decode_out.bias"]),
        )

    @staticmethod
    def load(folder: Path) -> StreamingCore:
        """Read a checkpoint folder. Raises CheckpointError."""
        return StreamingCore(load_checkpoint(folder))

    def begin(self, cells: CellTable) -> State:
        """Every cell at its own rest: settled under zero input."""
        self.check_code(cells)
        n = self.step_samples
        arrays = {
            "hidden": np.zeros((cells.size, self.hidden), np.float32),
            "history": np.full((cells.size, n), START, np.float32),
            "voltage": np.full(cells.size, START, np.float32),
            "detector": new_detector(cells.size),
        }
        biases = self.biases(np.ascontiguousarray(cells.code, np.float32))
        state = State(arrays, {"bias": by_lanes(np.concatenate(biases, axis=1))})
        steps = round(SETTLE / (n * DT))
        _, state = self.advance(state, Drive.zeros(self.zones, cells.size, steps * n))
        state.arrays["detector"] = new_detector(cells.size)
        return state

    def biases(self, code: Float32) -> tuple[Float32, Float32, Float32]:
        """Biases of the encoder [cells, H], the gates [cells, 3 H] and the decoder [cells, H], the code folded in."""
        w, h, inputs = self.weights, self.hidden, self.shape.inputs
        encoder, gates, decoder = w["encode_in.weight"], w["gru.weight_ih_l0"], w["decode_in.weight"]
        if self.shape.code_units:
            code = fold_code(w["code_in.weight"], w["code_in.bias"], code)
            silu(code)
            code = fold_code(w["code_out.weight"], w["code_out.bias"], code)
            late = code
        else:
            late = code[:, :0]
        return (
            fold_code(encoder[:, inputs:], w["encode_in.bias"], code),
            fold_code(gates[:, h:], w["gru.bias_ih_l0"], late),
            fold_code(decoder[:, 2 * h :], w["decode_in.bias"], late),
        )

    def check_code(self, cells: CellTable) -> None:
        """Raise CheckpointError for codes of another length than the core's."""
        if cells.code.shape != (cells.size, self.shape.code):
            raise CheckpointError(
                f"core {self.name} wants codes of {self.shape.code} numbers, got {cells.code.shape}"
            )

    def advance(self, state: State, drive: Drive) -> tuple[Response, State]:
        """One block; see `Core.advance`."""
        if drive.zones != self.zones or drive.samples % self.step_samples:
            raise ValueError(
                f"core {self.name} takes zones {self.zones} and a multiple of {self.step_samples} samples, "
                f"got {drive.zones} and {drive.samples}"
            )
        a = state.arrays
        cells = len(a["hidden"])
        voltage = np.empty((cells, drive.samples), np.float32)
        outside = np.zeros(cells, np.uint32)
        soma = [drive.current[0], drive.conductance[0], drive.reversal_current[0]]
        half = _NONE
        if drive.nmda is not None:
            soma += [drive.nmda.conductance[0], drive.nmda.reversal_current[0]]
            half = drive.nmda.half
        kernels.advance(
            np.stack(soma),
            half,
            *self._dendrites(drive),
            state.fixed["bias"],
            a["hidden"],
            a["history"],
            self._weights,
            voltage,
            outside,
        )
        cell, sample, time = detect_block(voltage, state.voltage, a["detector"])
        a["voltage"] = voltage[:, -1].copy()
        return Response(voltage, cell, sample, time, outside), state

    def _dendrites(self, drive: Drive) -> tuple[Float32, int, Float32]:
        """Input of the dendrites as the kernel wants it, their number, and the scaled half of the magnesium block."""
        zones = len(self.zones) - 1
        cells, samples = drive.current.shape[1:]
        if not zones:
            return np.empty((0, cells, samples), np.float32), 0, _NONE
        rows = [drive.reversal_current[1:] + 1000.0 * drive.current[1:], drive.conductance[1:]]
        block = _NONE
        if self.shape.dendritic_nmda:
            nmda = drive.nmda
            rows.append(np.zeros_like(rows[1]) if nmda is None else nmda.conductance[1:])
            half = np.full(cells, s.BLOCK_CENTRE, np.float32) if nmda is None else nmda.half
            block = np.asarray(s.BLOCK_SCALE * (half - s.BLOCK_CENTRE), np.float32).clip(
                -BLOCK_LIMIT, BLOCK_LIMIT
            )
        return np.concatenate(rows, dtype=np.float32), zones, block


def _padded(weight: Float32) -> Float32:
    """Rows and columns to multiples of 4, with zeros."""
    rows, columns = weight.shape
    return np.pad(weight, ((0, -rows % 4), (0, -columns % 4))).astype(np.float32, order="C")


def _padded_bias(bias: Float32) -> Float32:
    return np.pad(bias, (0, -len(bias) % 4)).astype(np.float32)
