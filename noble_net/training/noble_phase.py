"""Fit the network of a step core that knows when its cells fire (`noble_net.surrogate.phase`) to spike times."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from noble_net.specs.noble import NobleRecipe
from noble_net.spikes import spike_times
from noble_net.surrogate.embedding import Embedding
from noble_net.training.noble_batches import VOLTS, NobleData
from noble_net.types import DT, Float64

ITERATIONS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 4000, 512, 5e-3, 0.1
"""AdamW on a cosine; half a minute of one core. With more decay members not trained on err less, the others more."""
IRREGULAR = 4
"""Spikes at the beginning of a step that are not regular yet."""
FEWEST = 5
"""Spikes of a trace that is fitted to."""
_TOGETHER = 256
"""Traces whose spikes are looked for at once."""
_SMALL = 0.05
"""Errors of the phase from here on count by their size, not its square, cycles."""


def fit_phase(embedding: Embedding, recipe: NobleRecipe, data: NobleData) -> None:
    """Fit the embedding's phase to the regular spikes of the training traces, in place.

    The error is that of the phase at a random time of the step. Depends on the recipe's seed alone.
    """
    phase = embedding.phase
    if phase is None:
        return
    device = data.features.device
    rows, clocks = regular_spikes(recipe, data)
    scaled, above = (
        embedding.scaled(data.features[rows]),
        embedding.above(data.features[rows], data.amplitude[rows]),
    )
    rate, offset = (torch.from_numpy(each).to(device) for each in clocks.T)
    phase.requires_grad_(True)
    optimiser = torch.optim.AdamW(phase.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, ITERATIONS)
    draw = torch.Generator().manual_seed(recipe.training.seed)
    duration = embedding.window.duration / 1000.0
    for _ in range(ITERATIONS if len(rows) else 0):
        chosen = torch.randint(len(rows), (BATCH,), generator=draw).to(device)
        time = duration * torch.rand(BATCH, generator=draw).double().to(device)
        answer = _cycles(time, *phase(scaled[chosen], above[chosen]))
        error = answer - _cycles(time, rate[chosen], offset[chosen])
        optimiser.zero_grad()
        nn.functional.smooth_l1_loss(error, torch.zeros_like(error), beta=_SMALL).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    phase.requires_grad_(False)


def _cycles(time: Tensor, rate: Tensor, offset: Tensor) -> Tensor:
    return rate * time - offset


def regular_spikes(recipe: NobleRecipe, data: NobleData) -> tuple[Tensor, Float64]:
    """Training traces that fire regularly, and rate (Hz) and phase (cycles) of each, float64 [traces, 2].

    Spikes from number `IRREGULAR` on, or the last four, on a line through their numbers.
    """
    spec = recipe.dataset
    rows, clocks = [], []
    for part in np.array_split(data.train, max(1, len(data.train) // _TOGETHER)):
        volts = 1000.0 * VOLTS * data.voltage[torch.from_numpy(part)].cpu().numpy().astype(np.float32)
        for row, found in zip(part, spike_times(volts), strict=True):
            times = found * (spec.sampling / DT) - spec.lead
            times = times[times > 0.0]
            if len(times) < FEWEST:
                continue
            numbers = np.arange(len(times))
            regular = numbers >= min(IRREGULAR, len(times) - IRREGULAR)
            interval, first = np.polyfit(numbers[regular], times[regular], 1)
            rows.append(int(row))
            clocks.append((1000.0 / interval, first / interval))
    return torch.tensor(rows, dtype=torch.int64), np.array(clocks, np.float64).reshape(-1, 2)
