"""`noble_net.network.random_kernels` in PyTorch: the same Philox counters, so the same random integers on any device.

Integers are equal to the CPU's bit for bit; normals and what is made of them to the rounding of log, sin and cos.
Arrays run [samples, cells] here, as everywhere in `noble_net.device`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MUL_0, _MUL_1 = 0xD2511F53, 0xCD9E8D57
_WEYL_0, _WEYL_1 = 0x9E3779B9, 0xBB67AE85
NORMALS, COUNTS = 1, 2
"""Fourth word of the counters of normals and of Poisson numbers."""


def philox(c0: Tensor, c1: Tensor, c2: Tensor, c3: int, key: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox4x32-10: four 32-bit words (held in int64) of counters that broadcast against each other.

    A product of two words wraps to a negative int64; masking brings its halves out unchanged.
    """
    a, b, c, d = c0, c1, c2, torch.full_like(c2, c3)
    k0, k1 = key & _MASK, key >> 32
    for _ in range(10):
        first, second = _MUL_0 * a, _MUL_1 * c
        a, b = ((second >> 32) & _MASK) ^ b ^ k0, second & _MASK
        c, d = ((first >> 32) & _MASK) ^ d ^ k1, first & _MASK
        k0, k1 = (k0 + _WEYL_0) & _MASK, (k1 + _WEYL_1) & _MASK
    return a, b, c, d


def words(key: int, cells: Tensor, start: int, samples: int, purpose: int) -> tuple[Tensor, ...]:
    """The four words, each int64 [samples / 4, cells], of the groups of four samples from ``start`` on, both multiples
    of 4; ``cells`` are ids, int64."""
    group = torch.arange(start >> 2, (start + samples) >> 2, device=cells.device)[:, None]
    return philox(group & _MASK, group >> 32, cells[None, :], purpose, key)


def chances(key: int, cells: Tensor, start: int, samples: int) -> Tensor:
    """The uniforms in (0, 1) of 32 bits that Poisson numbers come of, float64 [samples, cells]; see `words`."""
    lanes = words(key, cells, start, samples, COUNTS)
    return _interleaved([_open_unit(each) for each in lanes])


def normals(key: int, cells: Tensor, start: int, samples: int) -> Tensor:
    """Standard normals float64 [samples, cells] from absolute sample ``start`` on, of the cells of these ids."""
    before, after = start % 4, -(start + samples) % 4
    a, b, c, d = words(key, cells, start - before, before + samples + after, NORMALS)
    turn = 2.0 * math.pi * 2.0**-32
    r0, r1 = (torch.sqrt(-2.0 * torch.log(_open_unit(each))) for each in (a, c))
    x, y = turn * b.double(), turn * d.double()
    lanes = [r0 * torch.cos(x), r0 * torch.sin(x), r1 * torch.cos(y), r1 * torch.sin(y)]
    return _interleaved(lanes)[before : before + samples]


def _open_unit(word: Tensor) -> Tensor:
    return (word.double() + 0.5) * 2.0**-32


def _interleaved(lanes: list[Tensor]) -> Tensor:
    """Four times [groups, cells] → [4·groups, cells]: lane after lane of each group."""
    return torch.stack(lanes, dim=1).flatten(0, 1)
