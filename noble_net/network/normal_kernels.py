"""Keyed normal numbers by the hundred, compiled: Philox words, then Box and Muller's radius and angle.

Every step is a plain loop over an array without branches, so that compilers make vector instructions of it; logarithm,
sine and cosine are written out for the same reason, and are the same to the last bit on every machine. Their
polynomials are those of fdlibm (Sun Microsystems 1993; `e_log.c`, `k_sin.c`, `k_cos.c`), which err by less than one
unit in the last place.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from noble_net.compiled import compiled
from noble_net.network.random_kernels import philox
from noble_net.types import Float64, Int64, UInt64

_TILE = 256
"""Counters, of four numbers each, that are taken through all steps at once; what they need fits in the first cache."""
_UNIT = 2.0**-32
_ONE, _ROOT_HALF = 0x3FF0000000000000, 0x3FE6A09E667F3BCD
"""The bits of 1 and of √½."""
_EXPONENT, _FRACTION = 52, 0x000FFFFFFFFFFFFF
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_L1, _L2, _L3, _L4 = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
)
_L5, _L6, _L7 = 1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01
_S1, _S2, _S3 = -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04
_S4, _S5, _S6 = 2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10
_C1, _C2, _C3 = 4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05
_C4, _C5, _C6 = -2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11


@compiled(parallel=True)
def normal_block(key: np.uint64, cells: Int64, start: int, out: Float64) -> None:
    """Fill ``out`` [cells, samples] with the noise of the cells of these ids from absolute sample ``start`` on; it and
    the number of samples are multiples of 4, which share a counter."""
    groups = out.shape[1] // 4
    total, flat = cells.size * groups, out.reshape(-1)
    for tile in prange((total + _TILE - 1) // _TILE):
        first = tile * _TILE
        size = min(_TILE, total - first)
        words = np.empty((4, size), np.uint64)
        values = np.empty((5, size), np.float64)
        _words(key, cells, start >> 2, groups, first, words)
        for pair in range(2):
            radius, x, y = values[4], values[2 * pair], values[2 * pair + 1]
            _radius(words[2 * pair], radius, radius.view(np.int64), x)
            _turn(words[2 * pair + 1], radius, x, y)
        for i in range(size):
            for lane in range(4):
                flat[4 * (first + i) + lane] = values[lane, i]


@compiled()
def _words(key: np.uint64, cells: Int64, group: int, groups: int, first: int, words: UInt64) -> None:
    """The words, [4, counters], of counters ``first`` … of the cells' ``groups`` each, the first of them ``group``."""
    i, k = divmod(first, groups)
    for j in range(words.shape[1]):
        words[0, j] = (group + k) & 0xFFFFFFFF
        words[1, j] = (group + k) >> 32
        words[2, j] = cells[i]
        k += 1
        if k == groups:
            i, k = i + 1, 0
    for j in range(words.shape[1]):
        a, b, c, d = philox(words[0, j], words[1, j], words[2, j], 1, key)
        words[0, j], words[1, j], words[2, j], words[3, j] = a, b, c, d


@compiled(error_model="numpy")  # Python's looks for a division by zero, one number at a time
def _radius(words: UInt64, radius: Float64, bits: Int64, exponent: Float64) -> None:
    """√(−2 ln u) of words as u in (0, 1); ``bits`` are those of ``radius``, ``exponent`` is room to work in.

    u = 2^e·(1 + f) with 1 + f in [√½, √2); ln(1 + f) is a polynomial of s = f/(2 + f).
    """
    for j in range(words.size):
        radius[j] = (float(np.int64(words[j])) + 0.5) * _UNIT
    for j in range(words.size):
        scaled = bits[j] + (_ONE - _ROOT_HALF)
        exponent[j] = float((scaled >> _EXPONENT) - (_ONE >> _EXPONENT))
        bits[j] = (scaled & _FRACTION) + _ROOT_HALF
    for j in range(words.size):
        f, e = radius[j] - 1.0, exponent[j]
        s = f / (2.0 + f)
        z = s * s
        w = z * z
        rest = w * (_L2 + w * (_L4 + w * _L6)) + z * (_L1 + w * (_L3 + w * (_L5 + w * _L7)))
        half = 0.5 * f * f
        log = e * _LN2_HIGH - ((half - (s * (half + rest) + e * _LN2_LOW)) - f)
        radius[j] = math.sqrt(-2.0 * log)


@compiled()
def _turn(words: UInt64, radius: Float64, x: Float64, y: Float64) -> None:
    """radius·cos and radius·sin of words as shares of a turn, from the nearest quarter of it on."""
    for j in range(words.size):
        word = np.int64(words[j])
        quarter = (word + 0x20000000) >> 30
        angle = float(word - (quarter << 30)) * (2.0 * math.pi * _UNIT)
        z = angle * angle
        sine = angle + angle * z * (_S1 + z * (_S2 + z * (_S3 + z * (_S4 + z * (_S5 + z * _S6)))))
        cosine = 1.0 - (0.5 * z - z * z * (_C1 + z * (_C2 + z * (_C3 + z * (_C4 + z * (_C5 + z * _C6))))))
        swapped = (quarter & 1) == 1
        x[j] = (-radius[j] if (quarter + 1) & 2 else radius[j]) * (sine if swapped else cosine)
        y[j] = (-radius[j] if quarter & 2 else radius[j]) * (cosine if swapped else sine)
