"""Make the tables by which a step core knows when its cells fire (`noble_net.surrogate.phase`), from spike times.

Shape legend: B traces, S spikes of a trace (as many as the busiest fires).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noble_net.cells.features import THRESHOLD_STEP
from noble_net.errors import FamilyError
from noble_net.specs.noble import NobleRecipe
from noble_net.surrogate.embedding import Embedding
from noble_net.surrogate.phase import CURRENT, FIRST, KNOTS, Phase, kernel, place_of, scaled_of, splines
from noble_net.surrogate.step_core import NOBLE_PROTOCOL
from noble_net.training.noble_batches import VOLTS, NobleData
from noble_net.training.noble_data import step_spikes
from noble_net.types import Float64

STIFFNESS, LATER_STIFFNESS, RIDGE = 1e-4, 1e-2, 1e-8
"""What squares of the splines' second differences cost beside those of logarithmic intervals, for the first intervals
and for the later ones, of which traces at high currents tell little; and what those of the splines themselves do."""
COMPARED = (0.01, 0.02, 0.04, 0.08, 0.16)
"""Currents above I_thr by whose intervals the kernel is chosen, nA."""
NUGGET = 1e-6
"""By how much a member is nearer to itself: what keeps the kernel's matrix from being singular."""
SEARCH, TIMIDITY = 200, 0.01
"""Iterations of L-BFGS for the kernel, and what the squares of its scales' logarithms cost."""
SHORTER, LARGEST = (1.0, 10.0, 100.0, 1000.0), 10.0
"""What the scales begin from, one after the other until the Gaussian process is no larger than so many times the
variance it tells. Where features tell little, tables that do not hang on them, all noise, are as likely as each
member's own, and the kernel would give a member the mean of all."""
FEWEST = 3
"""Members by which a kernel is chosen."""
USUAL = 50.0
"""Interval where no trace tells, ms."""
_TOGETHER = 256
"""Traces whose spikes are looked for at once."""


class Spikes(NamedTuple):
    """What the traces of a dataset fired during their steps."""

    times: Tensor
    """After the onset, float64 [B, S] ms; infinite behind a trace's last one."""
    number: Tensor
    """[B]."""


class Tables(NamedTuple):
    """What `Phase` is made from, by member."""

    features: Tensor
    """As embedded, [M, F]."""
    columns: Tensor
    """Logarithmic intervals, float64 [M, COLUMNS, KNOTS]."""
    limits: Tensor
    """float64 [M, FIRST], in `CURRENT`."""


def fit_phase(embedding: Embedding, recipe: NobleRecipe, data: NobleData) -> None:
    """Fit the embedding's phase to the spikes of the traces for tables, in place: some seconds; nothing is random.

    Raises FamilyError when there are more members than the recipe has room for.
    """
    if embedding.phase is None:
        return
    rows = torch.from_numpy(data.tables).to(data.features.device)
    spikes = spikes_of(recipe, data, data.tables)
    _keep(embedding, recipe, _tables_of(embedding, data.features[rows], data.amplitude[rows], spikes))


def carry_tables(embedding: Embedding, recipe: NobleRecipe, fitted: Embedding) -> None:
    """Fill the embedding's phase, in place, with the tables of one that was fitted. Errors as those of `fit_phase`."""
    _keep(embedding, recipe, _kept(fitted))


def _tables_of(embedding: Embedding, told: Tensor, amplitude: Tensor, spikes: Spikes) -> Tables:
    """Tables of the members whose features ``told`` [B, F] has, from steps by ``amplitude`` [B] nA."""
    phase = embedding.phase
    assert phase is not None
    # Told nothing, all members are one; `unique` wants a column.
    keys = told if told.shape[1] else told.new_zeros(len(told), 1)
    features, member = torch.unique(keys, dim=0, return_inverse=True)
    above = embedding.above(told, amplitude).double()
    begins = "I_thr" in embedding.features
    columns, borders = [], []
    for each in range(len(features)):
        mine = member == each
        columns.append(_table(phase, above[mine], spikes.times[mine]))
        borders.append(_limits(phase, columns[-1], above[mine], spikes.number[mine], begins))
    return Tables(features[:, : told.shape[1]], torch.stack(columns), torch.stack(borders))


def _kept(embedding: Embedding) -> Tables:
    """The tables that an embedding's phase gives the members it was fitted to."""
    phase = embedding.phase
    assert phase is not None
    has = phase.weights.flatten(1).abs().amax(dim=1) > 0.0
    places = phase.places[has].double()
    near = _nearness(places, phase.scales.double(), phase.linear.double())
    features = embedding.unscaled(scaled_of(places)).float()
    columns = torch.einsum("bm,mck->bck", near, phase.weights[has].double())
    columns = columns + embedding.usual(features)[:, :, None]
    return Tables(features, columns, near @ phase.limits[has].double())


def _keep(embedding: Embedding, recipe: NobleRecipe, found: Tables) -> None:
    """Write tables into the embedding's phase, with the likeliest kernel. Raises FamilyError when they are too many."""
    phase = embedding.phase
    assert phase is not None
    if len(found.features) > len(phase.places):
        raise FamilyError(
            f"recipe {recipe.name} makes tables of {len(found.features)} members, but its model.phase_members is "
            f"{len(phase.places)}: raise it"
        )
    places = place_of(embedding.scaled(found.features).double())
    columns = found.columns - embedding.usual(found.features)[:, :, None]
    scales, linear = _kernel_of(places, columns)
    with torch.no_grad():
        near = _nearness(places, scales, linear)
        for target, values in ((phase.weights, columns), (phase.limits, found.limits)):
            solved = torch.linalg.solve(near, values.flatten(1)).view_as(values)
            target.zero_()[: len(values)] = solved.to(target)
        phase.places.zero_()[: len(places)] = places.to(phase.places)
        phase.scales.copy_(scales)
        phase.linear.copy_(linear)


def spikes_of(recipe: NobleRecipe, data: NobleData, rows: NDArray[np.int64]) -> Spikes:
    """The spikes of some traces."""
    found: list[Float64] = []
    for part in np.array_split(rows, max(1, len(rows) // _TOGETHER)):
        volts = 1000.0 * VOLTS * data.voltage[torch.from_numpy(part)].cpu().numpy().astype(np.float32)
        found += step_spikes(recipe.dataset, volts)
    number = np.array([len(each) for each in found], np.int64)
    times = np.full((len(rows), max(FIRST + 1, number.max(initial=0))), np.inf)
    for row, each in zip(times, found, strict=True):
        row[: len(each)] = each
    device = data.voltage.device
    return Spikes(torch.from_numpy(times).to(device), torch.from_numpy(number).to(device))


def _table(phase: Phase, above: Tensor, times: Tensor) -> Tensor:
    """Smooth columns [COLUMNS, KNOTS] through the logarithms of the intervals in a member's traces."""
    basis = splines(above)
    intervals = torch.cat([torch.zeros_like(times[:, :1]), times], dim=1).diff(dim=1)
    has = torch.isfinite(intervals)
    wanted = torch.where(has, intervals, 1.0).log()
    first = [_smooth(basis[has[:, c]][:, None], wanted[has[:, c], c], STIFFNESS) for c in range(FIRST)]
    trace, spike = has[:, FIRST:].nonzero(as_tuple=True)
    rows = phase.get_buffer("later").T[spike][:, :, None] * basis[trace][:, None]
    return torch.cat([*first, _smooth(rows, wanted[:, FIRST:][trace, spike], LATER_STIFFNESS)])


def _smooth(rows: Tensor, wanted: Tensor, stiffness: float) -> Tensor:
    """Columns of splines [C, KNOTS] by whose ``rows`` [R, C, KNOTS] the values ``wanted`` [R] are met."""
    columns = rows.shape[1]
    usual = wanted.mean() if len(wanted) else wanted.new_tensor(math.log(USUAL))
    flat, rough = rows.flatten(1), torch.eye(KNOTS).to(rows).diff(n=2, dim=0)
    cost = stiffness * torch.kron(torch.eye(columns).to(rows), rough.T @ rough)
    cost = cost + RIDGE * torch.eye(len(cost)).to(rows)
    found: Tensor = torch.linalg.solve(flat.T @ flat + cost, flat.T @ (wanted - usual)).view(columns, KNOTS)
    found[0] += usual
    return found


def _limits(phase: Phase, table: Tensor, above: Tensor, number: Tensor, begins: bool) -> Tensor:
    """Half-way between the highest current that lacks each of the first spikes, though there was time for it, and the
    lowest that has it, [FIRST] in `CURRENT`; where none lacks it, that of the spike before. ``begins``: currents are
    those above I_thr, the lowest step tried that had a first one."""
    free = torch.full((len(above), FIRST), -math.inf).to(above)
    times = phase.times(table.expand(len(above), -1, -1), free, above)
    limits = [-THRESHOLD_STEP / CURRENT]
    for spike in range(FIRST):
        has = above[number > spike]
        lacks = above[(number == spike) & (times[:, spike] < NOBLE_PROTOCOL.duration)]
        at_once = begins and spike == 0
        lowest = min(has.tolist() + [0.0] * at_once, default=math.inf)
        highest = max(lacks.tolist() + [-THRESHOLD_STEP] * at_once, default=-math.inf)
        known = math.isfinite(lowest) and math.isfinite(highest)
        limits.append((lowest + highest) / 2.0 / CURRENT if known else limits[-1])
    return above.new_tensor(limits[1:])


def _kernel_of(places: Tensor, tables: Tensor) -> tuple[Tensor, Tensor]:
    """Scales [F] and linear part [1] of the kernel by which the members' logarithmic intervals at `COMPARED` are
    likeliest as a Gaussian process of common size, which they then give each member as they are."""
    if len(places) < FEWEST:
        return torch.ones_like(places[0]), torch.ones(1).to(places)
    wanted = (tables[:, : FIRST + 1] @ splines(torch.tensor(COMPARED).to(tables)).T).flatten(1)
    wanted = (wanted - wanted.mean(dim=0)) / wanted.std(dim=0).clamp(min=1e-6)
    for shorter in SHORTER:
        scales, linear, size = _likeliest(
            places, wanted, math.log(0.5 * shorter / math.sqrt(places.shape[1]))
        )
        if size <= LARGEST:
            break
    return scales, linear


def _likeliest(places: Tensor, wanted: Tensor, begin: float) -> tuple[Tensor, Tensor, float]:
    """Scales, linear part and size of the likeliest Gaussian process for ``wanted`` [M, W], where the logarithms of its
    scales begin at ``begin``."""
    logarithms = torch.full((places.shape[1] + 1,), begin).to(places)
    logarithms[-1] = 0.0
    logarithms.requires_grad_(True)
    search = torch.optim.LBFGS([logarithms], max_iter=SEARCH, line_search_fn="strong_wolfe")

    def parts() -> tuple[Tensor, Tensor]:
        factor = torch.linalg.cholesky(_nearness(places, logarithms[:-1].exp(), logarithms[-1:].exp()))
        return (torch.cholesky_solve(wanted, factor) * wanted).mean(), factor

    def closure() -> Tensor:
        search.zero_grad()
        size, factor = parts()
        unlikely = 0.5 * len(places) * size.log() + factor.diagonal().log().sum()
        loss: Tensor = unlikely + TIMIDITY * (logarithms[:-1] - begin).square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    search.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        size = float(parts()[0])
    found = logarithms.detach().exp()
    return found[:-1], found[-1:], size


def _nearness(places: Tensor, scales: Tensor, linear: Tensor) -> Tensor:
    return kernel(places, places, scales, linear) + NUGGET * torch.eye(len(places)).to(places)
