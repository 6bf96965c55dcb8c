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
from noble_net.surrogate.checkpoint import Checkpoint, load_checkpoint
from noble_net.surrogate.core import Core
from noble_net.types import DT, CellTable, Drive, Float32, Response, State

START = -80.0
"""Voltage from which a cell settles to its rest, mV."""
SETTLE = 300.0
"""Zero input that brings a cell to its own rest, ms."""


_NO_NMDA = np.empty(0, np.float32)


class StreamingCore(Core):
    """A trained streaming core on CPU. Bitwise the same for any batching, thread count and block length.

    The magnesium block of NMDA input is that of the last voltage before each native step (0.5 ms for five samples),
    held through it, as the step's other conductances act by the voltage at its start.
    """

    nmda = True

    def __init__(self, checkpoint: Checkpoint) -> None:
        about, w = checkpoint.about, checkpoint.weights
        self.name = str(about["name"])
        self.zones = tuple(about["zones"])
        if len(self.zones) != 1:
            raise checkpoint.damaged(f"the core has one input zone, and core.json names {len(self.zones)}")
        self.step_samples = int(about["step_samples"])
        self.family = str(about["family"])
        self.family_hash = str(about["family_hash"])
        self.hash = checkpoint.hash
        self.weights = checkpoint.weights
        inputs = 3 * self.step_samples
        self.hidden = _check_shapes(checkpoint, inputs, self.step_samples)
        encode_in = w["encode_in.weight"]
        self._code_weight = np.ascontiguousarray(encode_in[:, inputs:])
        self._code_bias = w["encode_in.bias"]
        self._weights = (
            _padded(encode_in[:, :inputs]),
            _padded(w["encode_out.weight"]),
            w["encode_out.bias"],
            _padded(w["gru.weight_ih_l0"]),
            w["gru.bias_ih_l0"],
            _padded(w["gru.weight_hh_l0"]),
            w["gru.bias_hh_l0"],
            _padded(w["decode_in.weight"]),
            w["decode_in.bias"],
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
        code = np.ascontiguousarray(cells.code, np.float32)
        n = self.step_samples
        state = State(
            {
                "bias": kernels.fold_code(self._code_weight, self._code_bias, code),
                "hidden": np.zeros((cells.size, self.hidden), np.float32),
                "history": np.full((cells.size, n), START, np.float32),
                "voltage": np.full(cells.size, START, np.float32),
                "detector": new_detector(cells.size),
            }
        )
        steps = round(SETTLE / (n * DT))
        _, state = self.advance(state, Drive.zeros(self.zones, cells.size, steps * n))
        state.arrays["detector"] = new_detector(cells.size)
        return state

    def check_code(self, cells: CellTable) -> None:
        """Raise CheckpointError for codes of another length than the core's."""
        if cells.code.shape != (cells.size, self._code_weight.shape[1]):
            raise CheckpointError(
                f"core {self.name} wants codes of {self._code_weight.shape[1]} numbers, got {cells.code.shape}"
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
        inputs = [drive.current[0], drive.conductance[0], drive.reversal_current[0]]
        half = _NO_NMDA
        if drive.nmda is not None:
            inputs += [drive.nmda.conductance[0], drive.nmda.reversal_current[0]]
            half = drive.nmda.half
        kernels.advance(
            np.stack(inputs), half, a["bias"], a["hidden"], a["history"], self._weights, voltage, outside
        )
        cell, sample, time = detect_block(voltage, state.voltage, a["detector"])
        a["voltage"] = voltage[:, -1].copy()
        return Response(voltage, cell, sample, time, outside), state


def _check_shapes(checkpoint: Checkpoint, inputs: int, samples: int) -> int:
    """The number of hidden units. Raises CheckpointError unless every weight is there in its shape: compiled code
    reads beyond the end of one that is too small."""
    weights = checkpoint.weights
    h = max((len(each) for name, each in weights.items() if name == "encode_in.bias"), default=0)
    if h == 0 or h % 8:
        raise checkpoint.damaged(f"encode_in.bias has {h} numbers, where a multiple of 8 is wanted")
    shapes: dict[str, tuple[int, ...]] = {
        "encode_in.weight": (h, inputs + len(checkpoint.about["code"])),
        "encode_in.bias": (h,),
        "encode_out.weight": (h, h),
        "encode_out.bias": (h,),
        "gru.weight_ih_l0": (3 * h, h),
        "gru.bias_ih_l0": (3 * h,),
        "gru.weight_hh_l0": (3 * h, h),
        "gru.bias_hh_l0": (3 * h,),
        "decode_in.weight": (h, 2 * h),
        "decode_in.bias": (h,),
        "decode_out.weight": (samples, h),
        "decode_out.bias": (samples,),
    }
    for name, shape in shapes.items():
        if name not in weights:
            raise checkpoint.damaged(f"there is no weight {name}")
        if weights[name].shape != shape:
            raise checkpoint.damaged(f"weight {name} has the shape {weights[name].shape}, not {shape}")
    return h


def _padded(weight: Float32) -> Float32:
    """Rows and columns to multiples of 4, with zeros."""
    rows, columns = weight.shape
    return np.pad(weight, ((0, -rows % 4), (0, -columns % 4))).astype(np.float32, order="C")


def _padded_bias(bias: Float32) -> Float32:
    return np.pad(bias, (0, -len(bias) % 4)).astype(np.float32)
