"""What this machine can do at most: products a second, bytes a second. The floor under a core's cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import prange

from noble_net.compiled import compiled
from noble_net.surrogate.tiles import LANES, dense, fixed, paired
from noble_net.types import Float32, Precision

_ROWS, _COLUMNS = 64, 128
"""Of a product whose terms stay in the nearest cache."""
_SECONDS = 0.2
_BYTES = 2**28


@cache
def products(precision: Precision, threads: int) -> float:
    """Floating-point operations a second, two a multiply-add, of matrix products that stay in the caches."""
    weight = np.ones((_ROWS, _COLUMNS), np.float32)
    terms = np.ones((threads, _COLUMNS, LANES), np.float32)
    held: Any = weight
    within: Any = terms
    bias, out = np.zeros(_ROWS, np.float32), np.zeros((threads, _ROWS, LANES), np.float32)
    if precision == "bfloat16":
        held, within = paired(weight), np.zeros((threads, _COLUMNS // 2, LANES), np.int32)
    elif precision == "int16":
        held, steps = fixed(weight, np.ones(_COLUMNS, np.float32))
        within, bias = np.zeros((threads, _COLUMNS // 2, LANES), np.uint32), np.stack([bias, steps])
    each = 2.0 * _ROWS * _COLUMNS * LANES * threads
    rate = _calls_a_second(lambda times: _multiply(held, bias, within, out, times), threads)
    return each * rate


@cache
def bandwidth(threads: int) -> float:
    """Bytes read and written a second, of arrays far larger than the caches."""
    source = np.ones(_BYTES // 4, np.float32)
    target = np.zeros_like(source)
    return 2.0 * _BYTES * _calls_a_second(lambda times: _copy(source, target, times), threads)


def _calls_a_second(work: Callable[[int], None], threads: int) -> float:
    """How often a second ``work(1)`` can be done; the best of five stretches."""
    before = numba.get_num_threads()
    numba.set_num_threads(threads)
    try:
        work(1)
        times = 1
        while (spent := _seconds(work, times)) < _SECONDS / 5:
            times *= 2
        times = max(1, round(times * _SECONDS / spent))
        return times / min(_seconds(work, times) for _ in range(5))
    finally:
        numba.set_num_threads(before)


def _seconds(work: Callable[[int], None], times: int) -> float:
    begin = time.perf_counter()
    work(times)
    return time.perf_counter() - begin


@compiled(parallel=True)
def _multiply(weight: Any, bias: Float32, terms: Any, out: Float32, times: int) -> None:
    for thread in prange(len(terms)):
        for _ in range(times):
            dense(weight, bias, terms[thread], out[thread])


@compiled(parallel=True)
def _copy(source: Float32, target: Float32, times: int) -> None:
    for _ in range(times):
        for i in prange(len(source)):
            target[i] = source[i]
