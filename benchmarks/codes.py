"""What a streaming core should be told of its cell: parameters, e-features, or features and a learned residual.

    python benchmarks/codes.py                 every code that is not in the results yet
    python benchmarks/codes.py --iterations 200 --try CODE     one, to try it out; writes nothing

Trained and judged as in `architectures.py`, whose first row is the code of all 13 conductances as it was then; here it
passes 16 units and 64 before it is embedded. Features: I_thr and s_thr first, then six more that steps show, then all
16, through 16 units; standardised over the training members. Residual: 8 numbers of every training member, learned with
the weights; those of a member that was not trained on are fitted by gradient, weights fixed, to a second of its
fluctuating recording of the tests. `mean of others`: the same core without that fit. A code takes eight minutes of one
core. Results: benchmarks/results/codes.json.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from scoreboard import RESULTS
from torch import Tensor, nn
from trials import Answer, Made, compare, driven

from noble_net.cells.family import Family
from noble_net.specs.cores import CoreRecipe
from noble_net.surrogate import scaling
from noble_net.surrogate.streaming_torch import StreamingNet
from noble_net.training.dataset import build_dataset, open_dataset
from noble_net.training.evaluate import volts
from noble_net.training.streams import TrainingData
from noble_net.training.train import Trainer
from noble_net.types import DT, Float32

RESULT = RESULTS / "codes.json"
FEATURES = (
    *("I_thr", "s_thr", "input_resistance", "AP1_width"),
    *("steady_state_voltage", "decay_time_constant_after_stim", "AHP_depth", "mean_AP_amplitude"),
    *("voltage_base", "sag_amplitude", "AP1_peak", "AHP_time_from_peak"),
    *("time_to_first_spike", "adaptation_index2", "inv_first_ISI", "mean_frequency"),
)
RESIDUAL = 8
FITTED = 1000.0
"""ms of a recording that a residual is fitted to."""
STEPS = 150


def features(family: Family, ids: list[str], count: int) -> Float32:
    """The first so many features of members, standardised over the training members; 0 where there is none."""
    columns = list(FEATURES[:count])
    trained = family.table[family.table["role"] == "train"][columns]
    found = (family.table.loc[ids, columns] - trained.mean()) / trained.std()
    return found.fillna(0.0).to_numpy(np.float32)


def told(code: Callable[[Family, list[str]], Float32], between: int | None = None) -> Made:
    """A core that is told such a code of members, through so many units, or as many as it is embedded in."""

    def made(recipe: CoreRecipe, data: TrainingData, family: Family) -> tuple[Trainer, dict[str, Answer]]:
        model = recipe.model.model_copy(update={"code_hidden": between})
        known = data._replace(code=code(family, trained_on(recipe, family)))
        trainer = Trainer(recipe.model_copy(update={"model": model}), known)

        def answer(drive: Tensor, before: Tensor, ids: list[str]) -> Tensor:
            return trainer.net.roll_out(drive, before, torch.from_numpy(code(family, ids)))[0]

        return trainer, {"": answer}

    return made


class Residual(StreamingNet):
    """A net whose code is two features and the number of a training member, of which it learns the rest."""

    def __init__(self, members: int, recipe: CoreRecipe) -> None:
        model = recipe.model
        super().__init__(
            2 + RESIDUAL, model.hidden, model.step_samples, code_units=model.code_units, encoder_layers=1
        )
        self.residuals = nn.Embedding(members, RESIDUAL)
        with torch.no_grad():
            self.residuals.weight.mul_(0.1)

    def _embed(self, code: Tensor) -> Tensor:
        if code.shape[1] == 3:
            code = torch.cat([code[:, :2], self.residuals(code[:, 2].long())], 1)
        return super()._embed(code)


def of_residual(recipe: CoreRecipe, data: TrainingData, family: Family) -> tuple[Trainer, dict[str, Answer]]:
    """A core that is told two features and learns a residual."""
    members = trained_on(recipe, family)
    numbers = np.arange(len(members), dtype=np.float32)[:, None]
    code = np.concatenate([features(family, members, 2), numbers], axis=1)
    trainer, net = Trainer(recipe, data._replace(code=code)), Residual(len(members), recipe)
    trainer.learn(net)
    found: dict[str, Tensor] = {}

    def answer(drive: Tensor, before: Tensor, ids: list[str], fitted: bool) -> Tensor:
        learned = net.residuals.weight.detach()
        known = dict(zip(members, learned, strict=True))
        if fitted and not found:
            found.update(fit(net, recipe, family, learned.mean(0)))
        known |= found if fitted else {}
        residual = torch.stack([known.get(each, learned.mean(0)) for each in ids])
        told = torch.from_numpy(features(family, ids, 2))
        return net.roll_out(drive, before, torch.cat([told, residual], 1))[0]

    return trainer, {"": partial(answer, fitted=True), ", mean of others": partial(answer, fitted=False)}


@torch.enable_grad()
def fit(net: Residual, recipe: CoreRecipe, family: Family, mean: Tensor) -> dict[str, Tensor]:
    """Residuals of the unseen members of the tests, from the beginning of their fluctuating recordings."""
    n = recipe.model.step_samples
    steps = round(FITTED / (n * DT))
    with open_dataset(build_dataset(recipe, family), family) as file:
        group = file["test"]["ou_current"]
        ids = [str(each) for each in group["ids"].asstr()[:]]
        truth = volts(group, "voltage")
        drive, before = driven(group, truth, n)
    half = len(ids) // 2
    told = torch.from_numpy(features(family, ids[half:], 2))
    answer = torch.from_numpy(truth[half:, 1 : steps * n + 1]).reshape(len(ids) - half, steps, n)
    voltage = torch.cat([before[half:, None], answer[:, :-1]], 1)
    residual = nn.Parameter(mean.repeat(len(told), 1))
    optimiser = torch.optim.Adam([residual], lr=0.03)
    for _ in range(STEPS):
        found, _ = net(drive[half:, :steps], voltage, torch.cat([told, residual], 1))
        error = scaling.VOLTAGE_SCALE * (found - answer)
        optimiser.zero_grad()
        (error.abs().mean() + error.square().mean()).backward()
        optimiser.step()
    return dict(zip(ids[half:], residual.detach(), strict=True))


def trained_on(recipe: CoreRecipe, family: Family) -> list[str]:
    """The training members, in the dataset's order."""
    with open_dataset(build_dataset(recipe, family), family) as file:
        return [str(each) for each in file["train"]["ids"].asstr()[:]]


if __name__ == "__main__":
    codes = {f"{count} features": told(partial(features, count=count)) for count in (2, 4, 8, 16)}
    codes |= {"2 features, residual": of_residual}
    codes |= {f"13 conductances, {units} units": told(Family.codes, units) for units in (16, 64)}
    compare(RESULT, __doc__, codes)
