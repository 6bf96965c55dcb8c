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
from noble_net.surrogate.conditioning import linear, silu
from noble_net.surrogate.core import Core
from noble_net.surrogate.envelope import Envelope
from noble_net.surrogate.streaming_shape import Shape, slow_numbers, slow_start
from noble_net.surrogate.tiles import LARGEST, ROWS, fixed, paired
from noble_net.types import DT, CellTable, Drive, Float32, Nmda, Precision, Response, State

START = -80.0
"""Voltage from which a cell settles to its rest, mV."""
SETTLE = 300.0
"""Zero input that brings a cell to its own rest, ms."""
HELD = 100.0
"""Start of that in which the voltage is held where the family says that the cell rests, ms."""


_SOMA = "soma"
_NONE = np.empty(0, np.float32)
BLOCK_LIMIT = 1.5
"""Largest scaled distance of the half of the magnesium block from its centre: what cores are trained on, about."""


class StreamingCore(Core):
    """A trained streaming core on CPU. Bitwise the same for any batching, thread count and block length.

    The magnesium block of NMDA input on the soma is that of the last voltage before each native step (0.5 ms for five
    samples), held through it, as the step's other conductances act by the voltage at its start. Input on the dendrites
    acts by its means over the step, at a local voltage (`noble_net.surrogate.streaming_torch.StreamingNet`); how it
    reaches the soma is learned, and NMDA there for a reversal potential of 0 mV.
    """

    def __init__(self, checkpoint: Checkpoint, precision: Precision = "float32") -> None:
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
        self.precision = precision
        self.weights = checkpoint.weights
        self.shape = Shape.of(checkpoint, len(self.zones) - 1)
        self.hidden = self.shape.hidden
        self.nmda = len(self.zones) == 1 or self.shape.dendritic_nmda
        self._weights = self._arranged().arrays
        self.coupling: Float32 = np.exp(self.weights.get("coupling", _NONE))
        """Of each dendritic zone to the soma, nS."""
        self.envelope = Envelope.of(checkpoint, self.zones)
        self._limits = self.envelope.limits()
        self.half_block = self.envelope.half_block
        self.slow_numbers: Float32 = slow_numbers(self.shape.slow, self.step_samples)
        """Of slow variables, `Slow.numbers` of each."""
        self.slow_start: Float32 = slow_start(self.shape.slow)
        """Slow variables of a cell at rest, in their units."""

    @staticmethod
    def load(folder: Path, precision: Precision = "float32") -> StreamingCore:
        """Read a checkpoint folder. Raises CheckpointError."""
        return StreamingCore(load_checkpoint(folder), precision)

    def _arranged(self) -> kernels.Layers:
        """The weights as the kernels read them: columns of code, encoded input, state; one matrix for the two gates."""
        w, h = self.weights, self.hidden
        of_input, of_state, told = w["gru.weight_ih_l0"], w["gru.weight_hh_l0"], w["decode_in.weight"]
        at_input, at_state = w["gru.bias_ih_l0"], w["gru.bias_hh_l0"]
        gates = slice(0, 2 * h)
        encoded, own = np.full(h, LARGEST, np.float32), np.ones(h, np.float32)
        known = np.full(self.shape.code_units, LARGEST, np.float32)
        precise = self.precision

        def layer(weight: Float32, bias: Float32, *terms: Float32) -> kernels.Layer:
            return _layer(weight, bias, precise, np.concatenate(terms))

        return kernels.Layers(
            encode=_layer(w["encode_in.weight"], w["encode_in.bias"]),
            encode_again=layer(
                w.get("encode_out.weight", np.empty((0, h), np.float32)),
                w.get("encode_out.bias", np.empty(0, np.float32)),
                encoded,
            ),
            gates=layer(
                np.concatenate([of_input[gates], of_state[gates]], axis=1),
                at_input[gates] + at_state[gates],
                encoded,
                own,
            ),
            new=layer(of_input[2 * h :], at_input[2 * h :], encoded),
            new_from_state=layer(of_state[2 * h :], at_state[2 * h :], own),
            decode=layer(
                np.concatenate([told[:, 2 * h :], told[:, : 2 * h]], axis=1),
                w["decode_in.bias"],
                known,
                encoded,
                own,
            ),
            increments=_layer(self._answering(), w["decode_out.bias"]),
        )

    def _answering(self) -> Float32:
        """The last layer [answers, terms]: reads the decoder's units and, before them, a step's input where it does."""
        w, shape = self.weights, self.shape
        if not shape.direct:
            return w["decode_out.weight"]
        direct = np.zeros((len(w["decode_out.weight"]), w["encode_in.weight"].shape[1]), np.float32)
        direct[: self.step_samples, : shape.inputs - len(shape.slow)] = w["direct.weight"]
        return np.concatenate([direct, w["decode_out.weight"]], axis=1)

    def begin(self, cells: CellTable) -> State:
        """Every cell at its own rest: settled under zero input, from its family's word for it where there is one.

        From afar, or free with a state that has seen nothing, some cells of some cores fire at once and settle on a
        plateau that is no rest. So the voltage is held there at first, as that of a stream is in training. Slow
        variables begin where NEURON's do.
        """
        self.check_code(cells)
        n = self.step_samples
        rest, held, free = self.settling(cells)
        arrays = {
            "code": self.told(np.ascontiguousarray(cells.code, np.float32)),
            "hidden": np.zeros((cells.size, self.hidden), np.float32),
            "history": np.repeat(rest[:, None], n, axis=1),
            "slow": np.repeat(self.slow_start[None], cells.size, axis=0),
            "voltage": rest.copy(),
            "detector": new_detector(cells.size),
        }
        state, step = State(arrays), Drive.zeros(self.zones, cells.size, n)
        for _ in range(held):
            self.advance(state, step)
            arrays["history"][:], arrays["slow"][:] = rest[:, None], self.slow_start
        arrays["voltage"][:] = rest
        self.advance(state, Drive.zeros(self.zones, cells.size, free * n))
        arrays["slow"][:] = self.slow_start
        arrays["detector"] = new_detector(cells.size)
        return state

    def settling(self, cells: CellTable) -> tuple[Float32, int, int]:
        """How cells come to rest: the voltages they begin at [cells], mV, the steps that hold them there, and the free
        ones after these."""
        told = cells.features.get("voltage_base")
        held, steps = (round(each / (self.step_samples * DT)) for each in (HELD, SETTLE))
        if told is None:
            return np.full(cells.size, START, np.float32), 0, steps
        return np.array(told, np.float32), held, steps - held

    def told(self, code: Float32) -> Float32:
        """What the layers are told of cells' codes [cells, C]: the embedding [cells, K], or the code itself."""
        if not self.shape.code_units:
            return code
        w = self.weights
        return linear(
            w["code_out.weight"],
            w["code_out.bias"],
            silu(linear(w["code_in.weight"], w["code_in.bias"], code)),
        )

    def check_code(self, cells: CellTable) -> None:
        """Raise CheckpointError for codes of another length than the core's."""
        if cells.code.shape != (cells.size, self.shape.code):
            raise CheckpointError(
                f"core {self.name} wants codes of {self.shape.code} numbers, got {cells.code.shape}"
            )

    def advance(self, state: State, drive: Drive) -> tuple[Response, State]:
        """One block; see `Core.advance`."""
        self.check_drive(drive)
        a = state.arrays
        cells = len(a["hidden"])
        voltage = np.empty((cells, drive.samples), np.float32)
        outside = np.zeros(cells, np.uint32)
        nmda = drive.nmda
        kernels.advance(
            (
                drive.current,
                drive.conductance,
                drive.reversal_current,
                drive.conductance if nmda is None else nmda.conductance,
                drive.conductance if nmda is None else nmda.reversal_current,
            ),
            _NONE if nmda is None else nmda.half,
            self._block(nmda, cells),
            a["code"],
            a["hidden"],
            a["history"],
            a["slow"],
            self._weights,
            self.coupling,
            self._limits,
            self.slow_numbers,
            voltage,
            outside,
        )
        cell, sample, time = detect_block(voltage, state.voltage, a["detector"])
        a["voltage"] = voltage[:, -1].copy()
        return Response(voltage, cell, sample, time, outside), state

    def _block(self, nmda: Nmda | None, cells: int) -> Float32:
        """The scaled half of the magnesium block on the dendrites [cells], for a core that wants it."""
        if not self.shape.dendritic_nmda:
            return _NONE
        half = np.full(cells, s.BLOCK_CENTRE, np.float32) if nmda is None else nmda.half
        block: Float32 = s.BLOCK_SCALE * (half - s.BLOCK_CENTRE)
        return block.clip(-BLOCK_LIMIT, BLOCK_LIMIT).astype(np.float32)


def _layer(
    weight: Float32, bias: Float32, precision: Precision = "float32", largest: Float32 = _NONE
) -> kernels.Layer:
    """A layer with rows to a multiple of `ROWS`, with zeros. ``largest`` [columns]: what its terms stay within."""
    more = -len(weight) % ROWS
    padded = np.pad(weight, ((0, more), (0, 0))).astype(np.float32, order="C")
    biases = np.pad(bias, (0, more)).astype(np.float32)
    if precision == "int16":
        words, steps = fixed(padded, largest)
        return kernels.Layer(words, np.stack([biases, steps]))
    return kernels.Layer(paired(padded) if precision == "bfloat16" else padded, biases)
