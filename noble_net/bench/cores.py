"""What a core costs: µs of wall time for a millisecond of a cell, over cells, block, threads and precision."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from noble_net.bench.machine import bandwidth, products
from noble_net.registry import load_core, load_family
from noble_net.simulation import used_threads
from noble_net.surrogate.core import Core
from noble_net.surrogate.streaming import StreamingCore
from noble_net.types import DT, CellTable, Drive, Nmda, Precision, State

_BEGUN = 1000
"""So many cells settle; more of them begin as copies."""
_SECONDS = 0.3
"""Of a timed stretch."""

Progress = Callable[[int, int], None]


class Setting(NamedTuple):
    """One way to run a core: cells, block (ms), threads."""

    core: str
    precision: Precision
    cells: int
    block: float
    threads: int


class Cost(NamedTuple):
    """Median of wall time, µs per cell-ms; the machine's floor for it; bytes of state a cell."""

    setting: Setting
    microseconds: float
    spread: float
    """Largest over smallest of the repeats."""
    floor: float
    """What the products alone (at the machine's measured rate) or the bytes alone (at its bandwidth) cost, the larger;
    NaN of a core without matrices."""
    state: float

    @property
    def real_time(self) -> float:
        """Cells in real time."""
        return 1000.0 / self.microseconds

    def to_json(self) -> dict[str, Any]:
        """A row of bench.json."""
        floor = None if np.isnan(self.floor) else self.floor
        return {
            **self.setting._asdict(),
            "us_per_cell_ms": self.microseconds,
            "spread": self.spread,
            "cells_in_real_time": self.real_time,
            "floor_us_per_cell_ms": floor,
            "state_bytes_per_cell": self.state,
        }


class _Timed:
    """A core under a steady drive, ready to be advanced block by block."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.core = load_core(setting.core, setting.precision)
        step = self.core.step_samples
        self.samples = max(step, round(setting.block / DT) // step * step)
        cells = _cells(self.core, min(setting.cells, _BEGUN))
        state = self.core.begin(cells)
        self.state = State({name: _repeated(a, setting.cells) for name, a in state.arrays.items()})
        self.bytes = sum(array.nbytes for array in self.state.arrays.values()) / setting.cells
        self.drive = _drive(self.core, setting.cells, self.samples)
        self.blocks = 1
        with used_threads(setting.threads):
            self.run()
            self.blocks = max(1, round(_SECONDS / max(self.run(), 1e-6)))

    def run(self) -> float:
        """Seconds that the blocks of a stretch took."""
        begin = time.perf_counter()
        for _ in range(self.blocks):
            _, self.state = self.core.advance(self.state, self.drive)
        return time.perf_counter() - begin

    def cost(self, seconds: Sequence[float]) -> Cost:
        """What so many repeats say."""
        done = self.setting.cells * self.samples * DT * self.blocks
        told = statistics.median(seconds) / done * 1e6
        return Cost(self.setting, told, max(seconds) / min(seconds), self._floor(), self.bytes)

    def _floor(self) -> float:
        if not isinstance(self.core, StreamingCore):
            return float("nan")
        setting = self.setting
        operations = 2.0 * self.core.shape.products / (self.core.step_samples * DT)
        block = self.samples * DT
        drive = self.drive.current, self.drive.conductance, self.drive.reversal_current
        moved = 2.0 * self.bytes + sum(array.nbytes for array in drive) / setting.cells + 4.0 * self.samples
        computed = operations / products(setting.precision, setting.threads)
        return 1e6 * max(computed, moved / block / bandwidth(setting.threads))


def core_costs(settings: Iterable[Setting], repeats: int, progress: Progress | None = None) -> list[Cost]:
    """Time every setting ``repeats`` times, the settings taking turns. Raises CheckpointError, FamilyError."""
    timed = [_Timed(setting) for setting in settings]
    seconds: list[list[float]] = [[] for _ in timed]
    for repeat in range(repeats):
        for index, each in enumerate(timed):
            with used_threads(each.setting.threads):
                seconds[index].append(each.run())
            if progress:
                progress(repeat * len(timed) + index + 1, repeats * len(timed))
    return [each.cost(found) for each, found in zip(timed, seconds, strict=True)]


def settings_of(cores: Sequence[str], **values: Sequence[Any]) -> list[Setting]:
    """Every combination."""
    named: Mapping[str, Sequence[Any]] = {"core": cores, **values}
    return [
        Setting(**dict(zip(named, each, strict=True))) for each in product(*(named[name] for name in named))
    ]


def _cells(core: Core, size: int) -> CellTable:
    """Members of the core's family, one after another; of a core without one, cells with its defaults."""
    if core.family is None:
        return CellTable(size, np.zeros((size, 0), np.float32))
    family = load_family(core.family)
    ids = family.ids()
    return family.cells([ids[i % len(ids)] for i in range(size)])


def _repeated(array: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(array[np.arange(size) % len(array)])


def _drive(core: Core, cells: int, samples: int) -> Drive:
    """Noise around what cells fire at, current and conductance, in every zone; NMDA where there are dendrites."""
    generator, shape = np.random.default_rng(1), (len(core.zones), cells, samples)
    real: Any = core.drive_dtype
    current = np.zeros(shape, real)
    current[0] = generator.normal(0.2, 0.1, shape[1:])
    conductance = generator.gamma(2.0, 1.0, shape).astype(real)
    reversal = (conductance * -60.0).astype(real)
    nmda = None
    if core.nmda and len(core.zones) > 1:
        slow = generator.gamma(2.0, 0.5, shape).astype(real)
        slow[0] = 0.0
        nmda = Nmda(slow, np.zeros(shape, real), np.full(cells, -20.5, np.float32))
    return Drive(core.zones, current, conductance, reversal, nmda=nmda)
