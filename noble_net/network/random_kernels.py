"""Keyed random numbers, compiled: Philox counters, and uniforms of any row and entry.

Nothing depends on the order of calls. Kernels of the network floor are compiled on first use and cached on disk.
"""

from __future__ import annotations

import numpy as np

from noble_net.compiled import compiled
from noble_net.types import Float64, Int64

_MASK = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_MUL_0, _MUL_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_Words = tuple[np.uint64, np.uint64, np.uint64, np.uint64]


@compiled(inline="always")
def philox(c0: int, c1: int, c2: int, c3: int, key: np.uint64) -> _Words:
    """Philox4x32-10: four 32-bit words (held in uint64) from a 128-bit counter and a 64-bit key."""
    a, b, c, d = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3)
    k0, k1 = key & _MASK, key >> _SHIFT
    for _ in range(10):
        first, second = _MUL_0 * a, _MUL_1 * c
        a, b = (second >> _SHIFT) ^ b ^ k0, second & _MASK
        c, d = (first >> _SHIFT) ^ d ^ k1, first & _MASK
        k0, k1 = (k0 + _WEYL_0) & _MASK, (k1 + _WEYL_1) & _MASK
    return a, b, c, d


@compiled()
def philox_words(counter: Int64, key: np.uint64) -> Int64:
    """Philox4x32-10 of one counter given as four words, int64 [4]."""
    out = np.empty(4, np.int64)
    words = philox(counter[0], counter[1], counter[2], counter[3], key)
    for i in range(4):
        out[i] = words[i]
    return out


@compiled(inline="always")
def uniform(key: np.uint64, row: int, index: int) -> float:
    """Draw number ``index`` of a row, in the open interval (0, 1), with 52 random bits."""
    a, b, _, _ = philox(index & 0xFFFFFFFF, index >> 32, row, 0, key)
    return (float(((a << _SHIFT) | b) >> np.uint64(12)) + 0.5) * 2.0**-52


@compiled(nogil=True)
def row_uniforms(key: np.uint64, indptr: Int64, first: int = 0) -> Float64:
    """Uniforms in (0, 1) for the entries of sparse rows: entry j of row r is draw j of row r.

    The rows given are those from number ``first`` on: any stretch of rows can be drawn by itself.
    """
    out = np.empty(indptr[-1] - indptr[0], np.float64)
    for row in range(indptr.size - 1):
        for entry in range(indptr[row], indptr[row + 1]):
            out[entry - indptr[0]] = uniform(key, first + row, entry - indptr[row])
    return out
