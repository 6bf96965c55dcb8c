"""Keyed randomness: every draw is a function of (seed, purpose, name, local id), never of call order.

Streams are counter-based (Philox), so adding, removing or reordering populations and projections changes no
draw of any other, and any draw can be made by any process at any time. Build-time draws of a few values per
cell use numpy generators; draws per synapse and per sample use kernels.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from scipy.special import gammainc, gammaincc, gammainccinv, gammaincinv, ndtr, ndtri

from noble_net.network import normal_kernels, random_kernels
from noble_net.specs.distribution import Distribution
from noble_net.types import Float64, Int64


def stream_key(seed: int, purpose: str, name: str) -> np.uint64:
    """The 64-bit key of a stream: what is drawn (``purpose``, such as 'noise') and for whom (``name``)."""
    digest = blake2b(f"{seed}\0{purpose}\0{name}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def generator(seed: int, purpose: str, name: str, local_id: int) -> np.random.Generator:
    """A numpy generator of its own for one cell of one stream: for draws that are few per cell.

    Making one costs some ten microseconds; the kernels draw millions of values a second instead.
    """
    key = np.array([stream_key(seed, purpose, name), local_id % 2**64], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def cell_uniforms(seed: int, purpose: str, name: str, cells: int) -> Float64:
    """One uniform in (0, 1) per cell, float64 [cells]."""
    rows: Int64 = np.arange(cells + 1, dtype=np.int64)
    return random_kernels.row_uniforms(stream_key(seed, purpose, name), rows)


def normals(key: np.uint64, cells: int | Int64, start: int, samples: int) -> Float64:
    """Standard normal values float64 [cells, samples] of a noise stream from absolute sample ``start`` on.

    ``cells``: how many (0, 1, …), or their ids. Random access: the value of a cell at a sample does not depend on
    which block, or which other cells, are asked for.
    """
    rows: Int64 = np.arange(cells, dtype=np.int64) if isinstance(cells, int) else cells
    before, after = start % 4, -(start + samples) % 4
    out = np.empty((len(rows), before + samples + after), np.float64)
    normal_kernels.normal_block(key, rows, start - before, out)
    return out[:, before : before + samples]


def quantile(distribution: Distribution, uniform: Float64) -> Float64:
    """Values of ``distribution`` at probabilities ``uniform`` (same shape), truncation included.

    A truncated distribution is inverted on its remaining probability mass, which is exact and needs one
    draw per value. ``mean`` and ``std`` of a log-normal or gamma variable are those of the variable
    itself, before truncation.
    """
    a, b = distribution.a, distribution.b
    if distribution.kind == "constant" or (distribution.kind != "uniform" and b == 0.0):
        return np.full(uniform.shape, a)
    if distribution.kind == "uniform":
        return a + (b - a) * uniform
    low = -np.inf if distribution.low is None else distribution.low
    high = np.inf if distribution.high is None else distribution.high
    if distribution.kind == "normal":
        values = a + b * _truncated_normal((low - a) / b, (high - a) / b, uniform)
    elif distribution.kind == "gamma":
        values = b**2 / a * _truncated_gamma((a / b) ** 2, low * a / b**2, high * a / b**2, uniform)
    else:
        spread = np.log1p((b / a) ** 2)
        centre, scale = np.log(a) - spread / 2, np.sqrt(spread)
        z_low = (np.log(low) - centre) / scale if low > 0 else -np.inf
        z_high = (np.log(high) - centre) / scale if high > 0 else -np.inf
        values = np.exp(centre + scale * _truncated_normal(z_low, z_high, uniform))
    return np.clip(values, low, high)


def _truncated_normal(low: float, high: float, uniform: Float64) -> Float64:
    """Standard normal values between two bounds; the upper tail is mirrored, where Φ keeps its digits."""
    if low > 0:
        return -_truncated_normal(-high, -low, uniform)
    mass_low, mass_high = ndtr(low), ndtr(high)
    values: Float64 = ndtri(mass_low + (mass_high - mass_low) * uniform)
    return values


def _truncated_gamma(shape: float, low: float, high: float, uniform: Float64) -> Float64:
    """Gamma values of unit scale between two bounds; far out, the upper tail keeps its digits."""
    low = max(low, 0.0)
    if gammainc(shape, low) > 0.5:
        tail_low, tail_high = gammaincc(shape, low), gammaincc(shape, high)
        return np.asarray(gammainccinv(shape, tail_low - (tail_low - tail_high) * uniform), np.float64)
    mass_low, mass_high = gammainc(shape, low), gammainc(shape, high)
    return np.asarray(gammaincinv(shape, mass_low + (mass_high - mass_low) * uniform), np.float64)
