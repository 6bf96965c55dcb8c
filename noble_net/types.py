"""The data that passes between floors: cells, drive, response, state. No behaviour beyond checks of shape.

Conventions, here and everywhere: one *sample* is DT = 0.1 ms. Input sample k is held constant on
[k·DT, (k+1)·DT); voltage sample k is the voltage at the end of that interval. Units are ms, mV, nA
(injected current), nS (conductance), pA (Σ g·E and synaptic currents), Hz.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

DT = 0.1
"""Length of one sample, ms."""

BLOCK_SLOPE = 0.062
"""Steepness of the magnesium block of NMDA receptors, 1/mV (Jahr & Stevens 1990, J. Neurosci. 10: 3178)."""

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Real = NDArray[np.float32 | np.float64]
"""Either, as a core asks for."""
DriveDtype = type[np.float32 | np.float64]
Precision = Literal["float32", "bfloat16", "int16"]
"""What a core with weights multiplies; sums are float32, of int16 exact in int32."""
UInt16 = NDArray[np.uint16]
UInt32 = NDArray[np.uint32]
UInt64 = NDArray[np.uint64]


class CoreInfo(NamedTuple):
    """What the network floor must know of a core: its name, input zones, native step in samples, whether it takes a
    voltage-dependent (NMDA) conductance, and between which voltages half of that was blocked in training, mV."""

    name: str
    zones: tuple[str, ...]
    step_samples: int
    nmda: bool = False
    half_block: tuple[float, float] | None = None


@dataclass(frozen=True)
class CellTable:
    """A set of cells as a core sees them; row i of every array is cell i.

    ``code`` float32 [cells, n_code]: the standardised latent code. ``parameters``: what an exact solver
    needs (conductances of a family, or the closed-form core's constants), float64 [cells] each.
    ``features``: e-features such as I_thr (nA) and s_thr (Hz/nA). ``labels``: where each cell comes from
    (a member's id, or the way it was sampled).
    """

    size: int
    code: Float32
    parameters: Mapping[str, Float64] = field(default_factory=dict)
    features: Mapping[str, Float64] = field(default_factory=dict)
    labels: tuple[str, ...] = ()

    def take(self, index: NDArray[np.intp] | slice) -> CellTable:
        """The cells at ``index``, in that order."""
        code = self.code[index]
        labels = tuple(np.asarray(self.labels, dtype=object)[index]) if self.labels else ()
        return CellTable(
            size=len(code),
            code=code,
            parameters={k: v[index] for k, v in self.parameters.items()},
            features={k: v[index] for k, v in self.features.items()},
            labels=labels,
        )


@dataclass(frozen=True)
class Nmda:
    """Voltage-dependent input of one block, [zones, cells, samples]: conductance G (nS) and J = Σ g·E (pA)
    before the magnesium block, so that the current into a zone at voltage V is B(V)·(J − G·V)/1000 nA.

    B(V) = 1/(1 + e^(−BLOCK_SLOPE·(V − V½))) (Jahr & Stevens 1990); ``half`` is V½ (mV) float32 [cells], −inf: no block.
    """

    conductance: Real
    reversal_current: Real
    half: Float32


@dataclass(frozen=True)
class Drive:
    """Input of one block, [zones, cells, samples], float32 or what the core asks for: injected current I (nA), total
    conductance G = Σg (nS) and J = Σ g·E + synaptic currents (pA), so that the current into a zone at voltage V is
    I + (J − G·V)/1000 nA for any mix of reversal potentials. ``nmda`` comes on top, for cores that offer it."""

    zones: tuple[str, ...]
    current: Real
    conductance: Real
    reversal_current: Real
    nmda: Nmda | None = field(default=None, kw_only=True)
    conducts: bool = field(default=True, kw_only=True)
    """False where it is known that ``conductance`` is zero throughout."""

    @staticmethod
    def zeros(
        zones: tuple[str, ...],
        cells: int,
        samples: int,
        half: Float32 | None = None,
        dtype: DriveDtype = np.float32,
        conducts: bool = True,
    ) -> Drive:
        """A silent drive of the given shape, with NMDA input where its voltages of half block are given."""
        shape = (len(zones), cells, samples)
        current, g, j = (np.zeros(shape, dtype) for _ in range(3))
        nmda = None if half is None else Nmda(np.zeros(shape, dtype), np.zeros(shape, dtype), half)
        return Drive(zones, current, g, j, nmda=nmda, conducts=conducts)

    @property
    def samples(self) -> int:
        """Samples in the block."""
        return int(self.current.shape[2])


@dataclass(frozen=True)
class Response:
    """What a core answers for one block.

    ``voltage`` float32 [cells, samples] (mV, at the ends of the samples). Spikes, sorted by (sample, cell):
    ``event_cell``, ``event_sample`` (the confirming sample within the block, int32 [n]) and ``event_time``
    (ms from the block's start, float64 [n]; slightly negative when the crossing lay in the block before).
    ``outside`` uint32 [cells]: samples in which input or voltage left the core's envelope and was clamped.
    """

    voltage: Float32
    event_cell: Int32
    event_sample: Int32
    event_time: Float64
    outside: UInt32


Spiked = Mapping[str, tuple[Int32, Int32]]
"""Spikes of one block: for every population the cells and the confirming samples within the block, sorted by (sample,
cell), int32 [n] each."""


@dataclass
class State:
    """State of a set of cells between blocks: named arrays whose first axis is the cell.

    Must hold ``voltage`` float32 [cells] (mV), the last sample. Saving and restoring a run means saving and
    restoring these arrays, nothing else.
    """

    arrays: dict[str, NDArray[Any]]

    @property
    def voltage(self) -> Float32:
        """The last voltage sample of every cell, mV."""
        return self.arrays["voltage"].astype(np.float32, copy=False)

    def copy(self) -> State:
        """An independent copy."""
        return State({name: array.copy() for name, array in self.arrays.items()})
