"""Train NOBLE on single samples first: the network without its frequencies, in which every sample stands alone.

A window of thousands of samples makes one step of the optimiser slow. Where a network knows when its cells fire
(`noble_net.surrogate.phase`), most of a voltage hangs on that and on the cell alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from noble_net.specs.noble import NobleRecipe
from noble_net.surrogate.fno import forget_frequencies
from noble_net.surrogate.noble_torch import NobleNet
from noble_net.training.noble_batches import VOLTS, NobleData

BATCH, LEARNING_RATE = 2048, 3e-3
"""Samples of an iteration, and Adam's rate at the beginning of a cosine."""
SPIKE, SHARE, WEIGHT = -0.055, 0.5, 0.3
"""So many of the samples are from where the voltage is above this, V, and weigh less: spikes are a fortieth of all."""
_SMALL = 0.3
"""Errors from here on count by their size, not its square, in the network's own unit."""
PROGRESS_EVERY = 20
"""Iterations between calls of a `Progress`: on a GPU each one waits for the loss."""

Progress = Callable[[int, int, float], None]
"""(iteration, iterations, loss: of an epoch its mean so far)."""


def train_points(
    net: NobleNet,
    recipe: NobleRecipe,
    data: NobleData,
    latest: int,
    progress: Progress | None = None,
) -> None:
    """Train ``net`` in place for as many iterations as the recipe wants; its frequencies are zero afterwards.

    ``latest``: the stored sample at which a window may begin at last. Depends on the recipe's seed alone.
    """
    total = recipe.training.points
    if not total:
        return
    forget_frequencies(net.fno)
    device, train = data.voltage.device, torch.from_numpy(data.train)
    spikes = (data.voltage[train.to(device)] > SPIKE / VOLTS).nonzero().cpu()
    draw = torch.Generator().manual_seed(recipe.training.seed)
    weight = torch.ones(BATCH, device=device)
    if len(spikes):
        weight[: round(SHARE * BATCH)] = WEIGHT
    optimiser = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total)
    for done in range(1, total + 1):
        row, offset, index = (x.to(device) for x in _draw(draw, recipe, train, spikes, latest))
        truth = data.voltage[row, offset + recipe.model.decimate * index].float() * VOLTS
        onset = recipe.dataset.lead - offset.double() * recipe.dataset.sampling
        answer = net.alone(data.features[row], data.amplitude[row], onset, index)
        error = (answer - truth) / net.scale
        size = nn.functional.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=_SMALL)
        loss = (weight * size).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if progress and done % PROGRESS_EVERY == 0:
            progress(done, total, float(loss.detach()))


def _draw(
    draw: torch.Generator, recipe: NobleRecipe, train: Tensor, spikes: Tensor, latest: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Traces, first stored samples of their windows, and samples of these, [BATCH] each; those of spikes come first."""
    stride = recipe.model.decimate
    row = train[torch.randint(len(train), (BATCH,), generator=draw)]
    offset = torch.randint(latest + 1, (BATCH,), generator=draw)
    index = torch.randint(recipe.samples, (BATCH,), generator=draw)
    if len(spikes):
        some = slice(0, round(SHARE * BATCH))
        chosen = spikes[torch.randint(len(spikes), (BATCH,), generator=draw)[some]]
        begin = offset[some] + (chosen[:, 1] - offset[some]) % stride  # on the grid that meets the sample
        begin = torch.where(begin > latest, begin - stride, begin)
        place = (chosen[:, 1] - begin) // stride
        inside = (begin >= 0) & (place >= 0) & (place < recipe.samples)
        row[some] = train[chosen[:, 0]]
        offset[some] = torch.where(inside, begin, offset[some])
        index[some] = torch.where(inside, place, index[some])
    return row, offset, index
