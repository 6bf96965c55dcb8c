"""Training the windowed core: windows of members at random times, the true history with noise before them.

Everything random depends on (seed, iteration) alone. As for the streaming core, nothing is trained on its own voltage:
see `noble_net.training.train`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noble_net.cells.family import Family
from noble_net.errors import FamilyError
from noble_net.specs.windowed import WindowedModelSpec, WindowedRecipe
from noble_net.surrogate import scaling
from noble_net.surrogate.fno import parameter_count, weights_of
from noble_net.surrogate.windowed import Ranges, raw_values, told_names, told_of
from noble_net.surrogate.windowed_torch import WindowedNet, effective_current
from noble_net.training.dataset import VOLTAGE_UNIT
from noble_net.training.optimising import (
    descend,
    made_optimiser,
    restore_training,
    save_training,
    set_learning_rate,
    state_file,
)
from noble_net.training.streams import TrainingData


class Windows(NamedTuple):
    """B windows with their history: input [B, 3, N] (nA, nS, pA), true voltages at the ends of samples, mV: before and
    through the history [B, H + 1], in the window [B, W]."""

    drive: Tensor
    before: Tensor
    after: Tensor

    @staticmethod
    def of(
        data: TrainingData, model: WindowedModelSpec, rows: NDArray[np.int64], starts: NDArray[np.int64]
    ) -> Windows:
        """The windows of members ``rows`` that begin with input samples ``starts``."""
        h, w = model.history_samples, model.window_samples
        pairs = list(zip(rows.tolist(), starts.tolist(), strict=True))
        soma = data.current, data.conductance[:, 0], data.reversal_current[:, 0]
        drive = np.stack([[each[r, s - h : s + w] for each in soma] for r, s in pairs])
        # voltage k is that before input sample k
        volts = np.stack([data.voltage[r, s - h : s + w + 1] for r, s in pairs]).astype(np.float32)
        volts = np.maximum(volts * VOLTAGE_UNIT, scaling.VOLTAGE_LOW).astype(np.float32)
        before, after = np.split(volts, [h + 1], axis=1)
        return Windows(torch.from_numpy(drive), torch.from_numpy(before), torch.from_numpy(after))

    def to(self, device: torch.device) -> Windows:
        """The same on a device."""
        return Windows(*(each.to(device) for each in self))


def answered(net: WindowedNet, windows: Windows, told: Tensor) -> Tensor:
    """What ``net`` answers, [B, W] mV within bounds, for cells that are told [B, F]."""
    current, g, j = windows.drive.unbind(1)
    volts, ahead = windows.before, windows.after.shape[1]
    # in the history the voltage before each sample is known, in the window the last one
    held = torch.cat([volts, volts[:, -1:].expand(-1, ahead - 1)], 1)
    effective = effective_current(current, g, j, held)
    answer: Tensor = net(volts[:, 1:], effective, g, net.embed(told))
    return answer.clamp(scaling.VOLTAGE_LOW, scaling.VOLTAGE_HIGH)


class WindowedTrainer:
    """A training run: net and optimiser; `step` does one iteration."""

    def __init__(self, recipe: WindowedRecipe, family: Family, data: TrainingData) -> None:
        self.recipe, self.data, self.spec = recipe, data, recipe.training
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.ranges = told_ranges(recipe.model, family)
        cells = family.cells(family.ids("train"))
        self.told = told_of(cells, self.ranges, family.parameter_names)
        torch.manual_seed(self.spec.seed)
        self.net = WindowedNet(len(self.ranges), recipe.model).to(self.device)
        self.optimiser = made_optimiser(self.net, "adamw", self.spec.learning_rate)
        self.iteration, self.iterations, self.seconds = 0, self.spec.iterations, 0.0
        asked = [recipe.training.model_dump(), recipe.model.model_dump()]
        self.path = state_file(recipe.name, asked, data.family_hash)

    def step(self) -> float:
        """One iteration; returns the loss."""
        spec, model = self.spec, self.recipe.model
        generator = np.random.default_rng([spec.seed, self.iteration])
        members, length = self.data.current.shape
        rows = generator.integers(0, members, spec.batch)
        last = length - model.window_samples
        starts = generator.integers(model.history_samples, last + 1, spec.batch)
        windows = Windows.of(self.data, model, rows, starts)
        noise = torch.from_numpy(self._noise(generator, windows.before.shape))
        noisy = windows._replace(before=windows.before + noise).to(self.device)
        told = torch.from_numpy(self.told[rows]).to(self.device)
        set_learning_rate(self.optimiser, spec.learning_rate, self.iteration, spec.iterations, spec.warmup)
        error = scaling.VOLTAGE_SCALE * (answered(self.net, noisy, told) - noisy.after)
        loss = descend(self.net, self.optimiser, error)
        self.iteration += 1
        return loss

    def _noise(self, generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Through each history one offset N(0, σ)·U(0, 1), and 0.3 σ per sample; mV."""
        offset = generator.standard_normal((shape[0], 1)) * generator.random((shape[0], 1))
        noise = self.spec.voltage_noise * (offset + 0.3 * generator.standard_normal(shape))
        return noise.astype(np.float32)

    def save(self) -> None:
        """Write net and optimiser, replacing the last save at once."""
        save_training(self.path, self.net, self.optimiser, self.iteration, self.seconds, {})

    def restore(self) -> None:
        """Go on from the last save, if there is one."""
        found = restore_training(self.path, self.net, self.optimiser, self.device)
        if found is not None:
            self.iteration, self.seconds = found.iteration, found.seconds

    def described(self, family: Family) -> dict[str, Any]:
        """What core.json says of the core, besides what every core's says."""
        model = self.recipe.model
        return {
            "step_samples": model.window_samples,
            "told": {name: list(limits) for name, limits in self.ranges.items()},
            "model": model.model_dump(mode="json"),
            "parameters": parameter_count(self.net),
        }

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The net's weights as they are now."""
        return weights_of(self.net)


def told_ranges(model: WindowedModelSpec, family: Family) -> Ranges:
    """Smallest and largest value, over the family, of what the core is told of a cell.

    Raises FamilyError for a feature the family lacks, or in which its members do not differ.
    """
    names = told_names(model, family.parameter_names)
    raw = raw_values(family.cells(family.ids()), names, family.parameter_names)
    ranges = {
        name: (float(low), float(high)) for name, low, high in zip(names, raw.min(0), raw.max(0), strict=True)
    }
    for name, (low, high) in ranges.items():
        if not low < high:
            raise FamilyError(f"{name} is {low} in all of family {family.name}: it cannot tell cells apart")
    return ranges
