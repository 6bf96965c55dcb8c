"""When a cell fires under a step of current: the times of its spikes, from its features.

A member's spike times are smooth functions of the current: from its other steps they follow to some microseconds. So
each member trained on has a table: the currents from which on it fires a first spike, a second one and so on, and
splines over the logarithm of the current above threshold, for the latency, the first intervals one by one, and those
that follow, which change slowly, as adaptation does. Between members the tables are interpolated by a kernel over the
features. They are fitted before the operator is trained (`noble_net.training.noble_phase`) and then kept; the operator
gets waves of the phase of firing (`noble_net.surrogate.embedding`).
Shape legend: B cells, F features, M members with a table, S `SPIKES`, C `COLUMNS`, K `KNOTS`, N samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from noble_net.cells.features import THRESHOLD_STEP
from noble_net.cells.latent_space import HIGHEST, LOWEST

SPIKES = 160
"""Spikes that are predicted of each step: 400 Hz for as long as NOBLE's lasts."""
FIRST = 5
"""Spikes whose times are free of each other, and may be the last."""
SLOWNESS = (40.0, 10.0, 3.0, 1.0)
"""The intervals that follow are exp(a + Σ b·exp(−number/slowness)) ms."""
COLUMNS = FIRST + 1 + len(SLOWNESS)
"""Of a table: logarithms of the latency and of the first intervals, a, and every b."""
KNOTS = 60
"""Of the splines, which are cubic."""
CURRENT, FAR = 0.003, 0.04
"""The tables run over log(1 + above/CURRENT) + above/FAR, nA: from where a threshold can lie, a step below I_thr, with
knots that are never more than 11 pA apart, since bursts come and go with the current."""
HIGHEST_STEP = 0.4
"""Above I_thr that tables reach, nA."""
NEVER = math.log(1e6)
"""Of the interval to a spike that does not come: logarithm, ms."""
SHORTEST = 0.0
"""Of any interval, where a table is bent down beyond a member's traces: logarithm, ms."""
LATENCY = "time_to_first_spike"
TOLD = {
    "mean_frequency": slice(1, FIRST + 1),
    "inv_first_ISI": slice(1, 2),
    LATENCY: slice(0, 1),
}
"""Columns of a table by the feature that tells of them: an interval in ms, or its inverse in Hz. Later ones count."""
LEAST = 1e-3
"""Of such a feature."""
_MIDDLE, _SPREAD = (LOWEST + HIGHEST) / 2.0, 0.8
"""Of scaled features (`noble_net.cells.latent_space`)."""
CONSTANT = 100.0
"""Of the kernel, whose Gaussian part is 1 where it is largest."""


class Phase(nn.Module):
    """(scaled features, current above I_thr) → times of the spikes.

    ``members``: how many tables there is room for.
    """

    def __init__(self, features: int, members: int) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.zeros(members, features))
        """Features of the members with a table, as `place_of` gives them."""
        self.scales = nn.Parameter(torch.ones(features))
        """How much each of the features tells."""
        self.linear = nn.Parameter(torch.ones(1))
        """Weight of the kernel's linear part."""
        self.weights = nn.Parameter(torch.zeros(members, COLUMNS, KNOTS))
        """From the kernel to the tables' splines."""
        self.limits = nn.Parameter(torch.zeros(members, FIRST))
        """From the kernel to the currents above which the first spikes come, in `CURRENT`, nA over I_thr."""
        later = torch.arange(SPIKES - FIRST, dtype=torch.float64)
        decays = [torch.exp(-later / each) for each in SLOWNESS]
        self.register_buffer("later", torch.stack([torch.ones_like(later), *decays]), persistent=False)

    def forward(self, scaled: Tensor, above: Tensor, usual: Tensor) -> Tensor:
        """``scaled`` [B, F] features, ``above`` [B] nA over I_thr and ``usual`` [B, C], what the columns of the tables
        are beside (`usual_columns`) → [B, S] ms after the onset, rising, float64; spikes that do not come are
        exp(`NEVER`) ms apart."""
        with torch.autocast(above.device.type, enabled=False):  # a spike's time wants more than 8 bits
            told = (each.double() for each in (self.places, self.scales, self.linear))
            near_BM = kernel(place_of(scaled.double()), *told)
            table_BCK = torch.einsum("bm,mck->bck", near_BM, self.weights.double()) + usual[:, :, None]
            return self.times(table_BCK, near_BM @ self.limits.double(), above)

    def times(self, table: Tensor, limits: Tensor, above: Tensor) -> Tensor:
        """Spikes of cells by their tables [B, C, K] and limits [B, `FIRST`]: see `forward`."""
        row_BC = torch.einsum("bck,bk->bc", table, splines(above))
        after_BS = row_BC[:, FIRST:] @ self.get_buffer("later")
        logarithm_BS = torch.cat([row_BC[:, :FIRST], after_BS], dim=1).clamp(SHORTEST, NEVER)
        comes_BS = (above[:, None] > CURRENT * limits).long().cumprod(dim=1).bool()
        comes_BS = torch.cat([comes_BS, comes_BS[:, -1:].expand(-1, SPIKES - FIRST)], dim=1)
        return torch.cumsum(torch.exp(torch.where(comes_BS, logarithm_BS, NEVER)), dim=1)


def usual_columns(features: Mapping[str, Tensor]) -> Tensor:
    """What the columns of cells' tables would be if their intervals were those that features, [B] each, tell of one
    step: float64 [B, C]. Zero where no feature tells."""
    one = next(iter(features.values()))
    usual_BC = torch.zeros(len(one), COLUMNS, dtype=torch.float64, device=one.device)
    for name, columns in TOLD.items():
        if name in features:
            told = features[name].double().clamp(min=LEAST)
            logarithm = told.log() if name == LATENCY else math.log(1000.0) - told.log()
            usual_BC[:, columns] = logarithm[:, None]
    return usual_BC


def place_of(scaled: Tensor) -> Tensor:
    """Scaled features as the kernel takes them: about −2 to 2 over the family."""
    return (scaled - _MIDDLE) / _SPREAD


def scaled_of(places: Tensor) -> Tensor:
    """The inverse of `place_of`."""
    return _MIDDLE + _SPREAD * places


def kernel(places: Tensor, others: Tensor, scales: Tensor, linear: Tensor) -> Tensor:
    """Nearness of cells [B, F] to others [M, F]: [B, M]."""
    x_BF, y_MF = places * scales, others * scales
    distance_BM = (x_BF[:, None] - y_MF).square().sum(dim=2)
    return CONSTANT + linear * x_BF @ y_MF.T + torch.exp(-0.5 * distance_BM)


def splines(above: Tensor) -> Tensor:
    """Cubic B-splines [B, K] at ``above`` [B] nA over I_thr; beyond the first and last knot as there."""
    x = _along(above.double().clamp(-THRESHOLD_STEP, HIGHEST_STEP))
    # The outermost splines begin a knot outside, so that three are never missing.
    place = 1.0 + (x - _LOW) / (_HIGH - _LOW) * (KNOTS - 3)
    far = (place[:, None] - torch.arange(KNOTS, device=above.device)).abs()
    inner = (4.0 - 6.0 * far.square() + 3.0 * far**3) / 6.0
    return torch.where(far < 1.0, inner, (2.0 - far).clamp(min=0.0) ** 3 / 6.0)


def _along(above: Tensor) -> Tensor:
    return torch.log1p(above / CURRENT) + above / FAR


_LOW, _HIGH = _along(torch.tensor([-THRESHOLD_STEP, HIGHEST_STEP], dtype=torch.float64)).tolist()


def phase_of(times: Tensor, since: Tensor) -> tuple[Tensor, Tensor]:
    """Spikes at ``times`` [B, S], ``since`` [B, N], ms after the onset → cycles of firing, which grow evenly from −1 at
    the onset to k at spike k, and the present cycle's length in ms, [B, N] both."""
    starts = torch.cat([torch.zeros_like(times[:, :1]), times], dim=1)
    lengths = starts.diff(dim=1)
    lengths = torch.cat([lengths, lengths[:, -1:]], dim=1)
    cycle = torch.searchsorted(times.contiguous(), since.contiguous(), right=True)
    start, length = starts.gather(1, cycle), lengths.gather(1, cycle)
    return cycle - 1 + (since - start) / length, length
