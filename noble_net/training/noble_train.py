"""Training NOBLE on a dataset of step responses, on CPU or GPU, resumable at any moment.

A recipe with ``fine_tune`` goes on from a trained core, on hyperpolarising steps and with the sag in its loss.
Everything random depends on (seed, epoch) alone, so a run cut into pieces ends in the same weights as one in one go.
Shape legend: B traces of a batch, N samples of the window.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noble_net.cells.family import Family
from noble_net.specs.noble import FineTuneSpec, NobleRecipe
from noble_net.surrogate.checkpoint import Checkpoint, load_checkpoint
from noble_net.surrogate.embedding import Window
from noble_net.surrogate.fno import load_weights, weights_of
from noble_net.surrogate.noble import device_here
from noble_net.surrogate.noble_torch import NobleNet
from noble_net.training.noble_batches import VOLTS, NobleData, feature_ranges
from noble_net.training.noble_checkpoint import check_same_network, write_noble
from noble_net.training.noble_losses import relative_error, sag_amplitude, sag_error
from noble_net.training.noble_phase import fit_phase
from noble_net.training.noble_points import PointTrainer
from noble_net.training.noble_state import forget_states, restore_state, save_state, state_prefix
from noble_net.training.optimising import set_learning_rate

SAVE_EVERY = 60.0
"""Seconds between saves within an epoch."""
PROGRESS_EVERY = 20
"""Iterations between calls of a `Progress`: on a GPU each one waits for the loss."""
Progress = Callable[[int, int, float], None]
"""(iteration, iterations, loss: of an epoch its mean so far)."""
LOG = "log.jsonl"


def train_noble(
    recipe: NobleRecipe,
    family: Family,
    folder: Path,
    progress: Progress | None = None,
    deadline: float | None = None,
) -> Path:
    """Train (or go on training) and write the checkpoint into ``folder``/<name>; returns that folder.

    ``deadline``: seconds after which the state is saved and the checkpoint written as far as it is; calling again goes
    on from there, on any machine that has the state's files. The checkpoint holds the weights of the epoch that did
    best on the validation traces; its core.json says whether training is finished. Beside it, ``log.jsonl``
    has a line per epoch. Raises CheckpointError when the core to fine-tune is missing or another network.
    """
    stop = math.inf if deadline is None else time.monotonic() + deadline
    base = load_checkpoint(folder / recipe.fine_tune.base) if recipe.fine_tune else None
    trainer = Trainer(recipe, family, NobleData.read(recipe, family, device_here()), base)
    target = folder / recipe.name
    if not trainer.restore():
        (target / LOG).unlink(missing_ok=True)  # of a training that is not gone on with
        if base:
            trainer.start_from(base)
        elif not trainer.begin(stop, progress):
            return write_noble(trainer, family, target)
    saved = time.monotonic()
    while trainer.iteration < trainer.iterations and time.monotonic() < stop:
        ended = trainer.step()
        if ended:
            _log(target, ended)
        if ended or time.monotonic() - saved > SAVE_EVERY:
            trainer.save()
            saved = time.monotonic()
        if progress and (ended or trainer.iteration % PROGRESS_EVERY == 0):
            progress(trainer.iteration, trainer.iterations, trainer.recent_loss)
    trainer.save()
    return write_noble(trainer, family, target)


class Trainer:
    """A training run: network, optimiser, learning-rate schedule; `step` does one iteration.

    ``base``: the core that is fine-tuned, if one is.
    """

    def __init__(
        self, recipe: NobleRecipe, family: Family, data: NobleData, base: Checkpoint | None = None
    ) -> None:
        self.recipe, self.spec, self.data = recipe, recipe.training, data
        self.device = data.voltage.device
        self.ranges = feature_ranges(recipe, family)
        torch.manual_seed(self.spec.seed)
        window = Window(recipe.samples, recipe.model.padded, recipe.sampling)
        self.net = NobleNet(self.ranges, window, recipe.model).to(self.device)
        trained = [each for each in self.net.parameters() if each.requires_grad]
        self.optimiser = torch.optim.Adam(trained, lr=self.spec.learning_rate)
        self.schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimiser, factor=self.spec.factor, patience=self.spec.patience
        )
        self.best = weights_of(self.net)
        self.best_error = math.inf
        self.iteration, self.seconds = 0, 0.0
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self.per_epoch = math.ceil(len(data.train) / self.spec.batch)
        self.iterations = self.spec.epochs * self.per_epoch
        self.prefix = state_prefix(recipe, family, base.hash if base else "")
        self._counted_from = time.monotonic()
        self._rows = self._offsets = np.empty(0, np.int64)
        self._drawn_for = -1

    @property
    def recent_loss(self) -> float:
        """Mean loss over the present epoch, or the one just ended."""
        done = self.iteration % self.per_epoch or self.per_epoch
        return float(self.loss_sum) / done if self.iteration else math.nan

    def step(self) -> dict[str, float] | None:
        """One iteration; at the end of an epoch also validation and schedule. Returns the epoch's log entry then."""
        epoch, position = divmod(self.iteration, self.per_epoch)
        if position == 0:
            self.loss_sum.zero_()
        rows, offsets = self._batch(epoch, position)
        answer, truth, onset = self._answer(rows, offsets)
        loss = relative_error(answer, truth, self.spec.power).mean()
        tune = self.recipe.fine_tune
        if tune:
            loss = loss + tune.weight * sag_error(*self._sags(tune, onset, answer, truth))
        if self.spec.schedule == "cosine":
            set_learning_rate(self.optimiser, self.spec.learning_rate, self.iteration, self.iterations)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.loss_sum += loss.detach()
        self.iteration += 1
        return self._end_epoch() if position == self.per_epoch - 1 else None

    def _batch(self, epoch: int, position: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of a batch, and the stored sample at which each one's window starts."""
        if self._drawn_for != epoch:
            generator = np.random.default_rng([self.spec.seed, epoch])
            count = len(self.data.train)
            self._rows = self.data.train[generator.permutation(count)]
            self._offsets = generator.integers(0, self.last_offset + 1, count)
            self._drawn_for = epoch
        part = slice(position * self.spec.batch, (position + 1) * self.spec.batch)
        return self._rows[part], self._offsets[part]

    @property
    def last_offset(self) -> int:
        """Latest start of a window: as long as the lead, or what the stored samples leave room for."""
        span = (self.recipe.samples - 1) * self.recipe.model.decimate
        spec = self.recipe.dataset
        return min(round(spec.lead / spec.sampling), self.data.voltage.shape[1] - 1 - span)

    def _answer(self, rows: NDArray[np.int64], offsets: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        """Answer and truth, volts [B, N], and onsets [B] ms of windows starting at ``offsets`` of traces ``rows``."""
        spec, stride = self.recipe.dataset, self.recipe.model.decimate
        row, offset = torch.from_numpy(rows).to(self.device), torch.from_numpy(offsets).to(self.device)
        columns = offset[:, None] + stride * torch.arange(self.recipe.samples, device=self.device)
        truth = self.data.voltage[row[:, None], columns].float() * VOLTS
        onset = spec.lead - offset.double() * spec.sampling
        half = self.spec.precision == "bfloat16" and self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            answer = self.net(self.data.features[row], self.data.amplitude[row], onset)
        return answer.float(), truth, onset

    def _sags(self, tune: FineTuneSpec, onset: Tensor, *volts: Tensor) -> Tensor:
        """Sag amplitudes, mV [T, B], of T times traces [B, N]."""
        window = self.net.embedding.window
        sags = [sag_amplitude(v, onset, window.sampling, window.duration, tune.temperature) for v in volts]
        return torch.stack(sags)

    def _end_epoch(self) -> dict[str, float]:
        """Validation and schedule. By the error that is trained, so that of the epochs of fine-tuning on the sag those
        are not the best that left it alone."""
        errors = self.validate()
        error, tune = errors["validation_rel_l2"], self.recipe.fine_tune
        if tune:
            error += tune.weight * errors["validation_sag"]
        if self.spec.schedule == "plateau":
            self.schedule.step(error)
        if error < self.best_error:
            self.best_error, self.best = error, weights_of(self.net)
        return {
            "iteration": self.iteration,
            "epoch": self.iteration // self.per_epoch,
            "learning_rate": float(self.optimiser.param_groups[0]["lr"]),
            ("loss" if self.recipe.fine_tune else f"train_rel_l{self.spec.power}"): self.recent_loss,
            **errors,
            "seconds": round(self.count_seconds(), 1),
        }

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean relative L2 error of the validation traces in the evaluation window; in fine-tuning also their sags'."""
        offset = self.recipe.dataset.evaluation_offset
        total, sags, tune = 0.0, [], self.recipe.fine_tune
        for rows in _slices(self.data.validation, self.spec.batch):
            answer, truth, onset = self._answer(rows, np.full(len(rows), offset, np.int64))
            total += float(relative_error(answer, truth, 2).double().sum())
            if tune:
                sags.append(self._sags(tune, onset, answer, truth))
        errors = {"validation_rel_l2": total / len(self.data.validation)}
        if sags:
            errors["validation_sag"] = float(sag_error(*torch.cat(sags, dim=1)))
        return errors

    def count_seconds(self) -> float:
        """Wall-clock time trained so far, over all pieces."""
        now = time.monotonic()
        self.seconds += now - self._counted_from
        self._counted_from = now
        return self.seconds

    def begin(self, stop: float, progress: Progress | None) -> bool:
        """Fit what knows when cells fire, and train on single samples, from where an earlier call was stopped; whether
        that came to its end before ``stop``."""
        fit_phase(self.net.embedding, self.recipe, self.data)
        prefix = self.prefix.with_name(f"{self.prefix.name}-points")
        done = not self.spec.points or self._on_points(prefix, stop, progress)
        self.best = weights_of(self.net)
        if done:
            self.save()
            forget_states(prefix)
        return done

    def _on_points(self, prefix: Path, stop: float, progress: Progress | None) -> bool:
        points = PointTrainer(self.net, self.recipe, self.data, self.last_offset)
        found = restore_state(prefix, self.net, points.optimiser)
        if found:
            points.iteration, self.seconds = int(found[0]["iteration"]), float(found[0]["seconds"])
        saved = time.monotonic()
        while points.iteration < points.iterations:
            loss = points.step()
            ends = time.monotonic() >= stop
            if ends or time.monotonic() - saved > SAVE_EVERY:
                about = {"iteration": points.iteration, "seconds": self.count_seconds()}
                save_state(prefix, points.iteration, about, self.net, points.optimiser, {})
                saved = time.monotonic()
            if progress and points.iteration % PROGRESS_EVERY == 0:
                progress(points.iteration, points.iterations, float(loss))
            if ends:
                return False
        return True

    def start_from(self, base: Checkpoint) -> None:
        """Take the weights of a trained core. Raises CheckpointError when it is another network."""
        check_same_network(base, self.recipe, self.ranges)
        load_weights(self.net, base.weights)
        self.best = weights_of(self.net)

    def save(self) -> None:
        """Write the state, replacing the last one at once."""
        self.count_seconds()
        about = {
            "iteration": self.iteration,
            "seconds": self.seconds,
            "loss_sum": float(self.loss_sum),
            "best_error": self.best_error,
            "schedule": {k: v for k, v in self.schedule.state_dict().items() if k in _SCHEDULE},
            "learning_rate": self.optimiser.param_groups[0]["lr"],
        }
        save_state(self.prefix, self.iteration, about, self.net, self.optimiser, self.best)

    def restore(self) -> bool:
        """Go on from the last save, if there is one; whether there was."""
        found = restore_state(self.prefix, self.net, self.optimiser)
        if found is None:
            return False
        about, self.best = found
        self.iteration, self.seconds = int(about["iteration"]), float(about["seconds"])
        self.best_error = float(about["best_error"])
        self.loss_sum.fill_(about["loss_sum"])
        self.schedule.load_state_dict(about["schedule"])
        self.optimiser.param_groups[0]["lr"] = about["learning_rate"]
        return True


_SCHEDULE = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch", "_last_lr")


def _log(folder: Path, entry: dict[str, float]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def _slices(rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
