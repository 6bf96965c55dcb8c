"""Train NOBLE on single samples first: the network without its frequencies, in which every sample stands alone.

A window of thousands of samples makes one step of the optimiser slow. Where a network knows when its cells fire
(`noble_net.surrogate.phase`), most of a voltage hangs on that and on the cell alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noble_net.specs.noble import NobleRecipe
from noble_net.surrogate.fno import forget_frequencies
from noble_net.surrogate.noble_torch import NobleNet
from noble_net.training.noble_batches import VOLTS, NobleData
from noble_net.training.optimising import set_learning_rate

BATCH, LEARNING_RATE = 2048, 3e-3
"""Samples of an iteration, and Adam's rate at the beginning of a cosine."""
SPIKE, SHARE, WEIGHT = -0.055, 0.5, 0.3
"""So many of the samples are from where the voltage is above this, V, and weigh less: spikes are a fortieth of all."""
_SMALL = 0.3
"""Errors from here on count by their size, not its square, in the network's own unit."""


class PointTrainer:
    """A training of ``net`` in place, for as many iterations as the recipe wants: `step` does one. Its frequencies are
    zero from the beginning on.

    ``latest``: the stored sample at which a window may begin at last. What is drawn depends on (seed, iteration) alone.
    """

    def __init__(self, net: NobleNet, recipe: NobleRecipe, data: NobleData, latest: int) -> None:
        self.net, self.recipe, self.data, self.latest = net, recipe, data, latest
        self.iteration, self.iterations = 0, recipe.training.points
        self.optimiser = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=LEARNING_RATE)
        self._train = torch.from_numpy(data.train)
        self._spikes = (data.voltage[self._train.to(data.voltage.device)] > SPIKE / VOLTS).nonzero().cpu()
        self._told = self._spikes_told()
        self._weight = torch.ones(BATCH, device=data.voltage.device)
        if len(self._spikes):
            self._weight[: round(SHARE * BATCH)] = WEIGHT
        forget_frequencies(net.fno)

    @torch.no_grad()
    def _spikes_told(self) -> Tensor | None:
        """What the tables tell of every trace's spikes, which no iteration changes; None without tables."""
        if self.net.embedding.phase is None:
            return None
        parts = zip(
            torch.split(self.data.features, BATCH), torch.split(self.data.amplitude, BATCH), strict=True
        )
        return torch.cat([self.net.embedding.spikes(*part) for part in parts])

    def step(self) -> Tensor:
        """One iteration; its loss."""
        spec, data = self.recipe.dataset, self.data
        draw = torch.Generator().manual_seed((self.recipe.training.seed << 32) + self.iteration)
        drawn = _draw(draw, self.recipe, self._train, self._spikes, self.latest)
        row, offset, index = (each.to(data.voltage.device) for each in drawn)
        truth = data.voltage[row, offset + self.recipe.model.decimate * index].float() * VOLTS
        onset = spec.lead - offset.double() * spec.sampling
        told = None if self._told is None else self._told[row]
        answer = self.net.alone(data.features[row], data.amplitude[row], onset, index, told)
        error = (answer - truth) / self.net.scale
        size = nn.functional.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=_SMALL)
        loss = (self._weight * size).mean()
        set_learning_rate(self.optimiser, LEARNING_RATE, self.iteration, self.iterations)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.iteration += 1
        return loss.detach()


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
