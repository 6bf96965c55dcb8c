"""Training a core on a dataset, on CPU or GPU, resumable at any moment; here the streaming core itself, too.

Streams of members run through their data chunk by chunk, the recurrent state carried over (truncated
back-propagation through time), so that slow currents are learned without long windows. What is fed back is the
true voltage of the last step, with noise, or, for a share of the streams, the core's own, kept close to the truth
(`noble_net.training.own_voltage`). Everything random depends on (seed, iteration) alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noble_net.cells.family import Family
from noble_net.specs.cores import CoreRecipe, TrainingSpec
from noble_net.specs.windowed import NetworkCoreRecipe
from noble_net.surrogate import scaling
from noble_net.surrogate.checkpoint import save_checkpoint
from noble_net.surrogate.streaming_torch import StreamingNet
from noble_net.training.dataset import dataset_path
from noble_net.training.optimising import (
    descend,
    made_optimiser,
    restore_training,
    save_training,
    set_learning_rate,
    state_file,
)
from noble_net.training.own_voltage import OwnVoltage
from noble_net.training.ranges import envelope_of
from noble_net.training.slow import slow_variables
from noble_net.training.starting import begin_from
from noble_net.training.streams import Chunk, TrainingData
from noble_net.types import DT

SAVE_EVERY = 200
SLOW_NOISE = 0.05
"""Relative standard deviation of a stream's slow variables where it is fed the true ones, over a chunk."""
NO_INFLUX, MOST_INFLUX = 1e-3, 10.0
"""In units of the decoder's answer: below the one nothing flows in, and it may answer anything below 0; more than the
other is no influx but a variable that the solver threw out of its range."""

Progress = Callable[[int, int, float], None]
"""(iteration, iterations, recent loss)."""


class Training(Protocol):
    """A training run of any kind of core: `step` does one iteration and returns its loss."""

    @property
    def recipe(self) -> NetworkCoreRecipe:
        """What is trained."""

    @property
    def data(self) -> TrainingData:
        """What on."""

    iteration: int
    iterations: int
    """Of the whole run."""
    seconds: float

    def step(self) -> float: ...
    def save(self) -> None: ...
    def restore(self) -> None: ...
    def described(self, family: Family) -> dict[str, Any]: ...
    def weights(self) -> dict[str, NDArray[np.float32]]: ...


def train_core(
    recipe: NetworkCoreRecipe,
    family: Family,
    folder: Path,
    progress: Progress | None = None,
    deadline: float | None = None,
) -> Path:
    """Train (or go on training) and write the checkpoint into ``folder``/<name>; returns that folder.

    State is kept beside the dataset every `SAVE_EVERY` iterations; calling again goes on from it. ``deadline``: seconds
    after which the state is saved and the checkpoint written as far as it is.
    """
    stop = math.inf if deadline is None else time.monotonic() + deadline
    slow = [each.variable for each in recipe.model.slow] if recipe.kind == "streaming" else []
    data = TrainingData.read(dataset_path(recipe, family), family, slow)
    trainer = _trainer(recipe, family, data)
    trainer.restore()
    started = time.monotonic()
    while trainer.iteration < trainer.iterations and time.monotonic() < stop:
        loss = trainer.step()
        ended = trainer.iteration == trainer.iterations or time.monotonic() >= stop
        if trainer.iteration % SAVE_EVERY == 0 or ended:
            trainer.seconds += time.monotonic() - started
            started = time.monotonic()
            trainer.save()
        if progress:
            progress(trainer.iteration, trainer.iterations, loss)
    return write_core(trainer, family, folder)


def write_core(trainer: Training, family: Family, folder: Path) -> Path:
    """Write the trainer's present weights as a checkpoint; returns its folder."""
    recipe = trainer.recipe
    described = trainer.described(family)
    step: int = described["step_samples"]
    about = {
        "name": recipe.name,
        "kind": recipe.kind,
        "family": family.name,
        "family_hash": family.hash,
        "code": list(family.parameter_names),
        "zones": list(recipe.dataset.zones),
        "nmda": recipe.dataset.nmda,
        "envelope": envelope_of(trainer.data, recipe.dataset.zones, step).to_json(),
        **described,
        "training": {
            "finished": trainer.iteration == trainer.iterations,
            "iterations": trainer.iteration,
            "hours": round(trainer.seconds / 3600, 3),
            "threads": torch.get_num_threads(),
            "recipe": recipe.model_dump(),
        },
    }
    target = folder / recipe.name
    save_checkpoint(target, about, trainer.weights())
    return target


def _trainer(recipe: NetworkCoreRecipe, family: Family, data: TrainingData) -> Training:
    if recipe.kind == "streaming":
        return Trainer(recipe, data)
    from noble_net.training.windowed_train import WindowedTrainer

    return WindowedTrainer(recipe, family, data)


class Trainer:
    """A training run: net, optimiser, carried state; `step` does one iteration."""

    def __init__(self, recipe: CoreRecipe, data: TrainingData) -> None:
        self.recipe, self.data, self.spec = recipe, data, recipe.training
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(self.spec.seed)
        model = recipe.model
        self.slow = slow_variables(model, data)
        self.learn(
            StreamingNet(
                data.code.shape[1],
                model.hidden,
                model.step_samples,
                zones=data.dendrites,
                nmda=data.nmda is not None,
                code_units=model.code_units,
                encoder_layers=model.encoder_layers,
                decoder_units=model.decoder_units,
                slow=self.slow,
                direct=model.direct,
                code_hidden=model.code_hidden,
            )
        )
        if self.spec.start is not None:
            begin_from(self.net, self.spec.start, recipe.family)
        self.state = torch.zeros(1, self.spec.batch, model.hidden, device=self.device)
        own = self.spec.own_voltage
        self.own = OwnVoltage(recipe, own, data, self.slow) if own else None
        self.iteration = 0
        self.iterations = self.spec.iterations + (self.spec.again.iterations if self.spec.again else 0)
        self.seconds = 0.0
        self.path = self._state_file(self.spec)

    def _state_file(self, spec: TrainingSpec) -> Path:
        """Where a run of ``spec`` keeps its state."""
        asked = [each.model_dump(exclude_none=True) for each in (spec, self.recipe.model)]
        return state_file(self.recipe.name, asked, self.data.family_hash)

    def learn(self, net: StreamingNet) -> None:
        """Train this net, from its beginning."""
        self.net = net.to(self.device)
        self.optimiser = made_optimiser(self.net, self.spec.optimiser, self.spec.learning_rate)

    def step(self) -> float:
        """One iteration; returns the loss."""
        spec, n = self.spec, self.recipe.model.step_samples
        steps = round(spec.chunk / (n * DT))
        rows, starts = self._streams(steps * n)
        chunk = self._in_unit(self.data.chunk(rows, starts, steps, n)).to(self.device)
        code = torch.from_numpy(self.data.code[rows]).to(self.device)
        first = self.iteration % spec.chunks == 0
        if first:
            self.state = torch.zeros_like(self.state)
            if self.own:
                self.own.begin(chunk)
        self._set_learning_rate()
        answer, state = self._answer(chunk, code)
        skip = round(spec.burn_in / (n * DT)) if first else 0
        errors = [scaling.VOLTAGE_SCALE * (answer[..., :n] - chunk.after)]
        if self.slow:
            errors.append(self._influx_error(answer[..., n:], chunk))
        loss = descend(self.net, self.optimiser, *(error[:, skip:] for error in errors))
        self.state = state.detach()
        self.iteration += 1
        return loss

    def _set_learning_rate(self) -> None:
        spec, again, done = self.spec, self.spec.again, self.iteration
        if again and done >= spec.iterations:
            done -= spec.iterations
            set_learning_rate(self.optimiser, again.learning_rate, done, again.iterations, spec.warmup)
        else:
            set_learning_rate(self.optimiser, spec.learning_rate, done, spec.iterations, spec.warmup)

    def _in_unit(self, chunk: Chunk) -> Chunk:
        """The chunk with its slow variables in their units."""
        if chunk.slow is None:
            return chunk
        return chunk._replace(slow=chunk.slow / torch.tensor([each.unit for each in self.slow]))

    def _answer(self, chunk: Chunk, code: Tensor) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.spec.seed * 1_000_003 + self.iteration)
        fed = chunk.before + self._noise(chunk.before.shape, generator).to(self.device)
        slow = None
        if chunk.slow is not None:
            off = SLOW_NOISE * torch.randn(len(fed), 1, len(self.slow), generator=generator)
            slow = chunk.slow[:, :-1] * (1.0 + off.to(self.device))
        if self.own:
            own = self.own.run(self.net, chunk, code, self.state)
            fed[: self.own.streams] = own.voltage
            if slow is not None:
                slow[: self.own.streams] = own.slow
        answer: tuple[Tensor, Tensor] = self.net(chunk.drive, fed, code, self.state, chunk.dendrites, slow)
        return answer

    def _influx_error(self, answer: Tensor, chunk: Chunk) -> Tensor:
        """Of what the decoder lets in [B, T, A]."""
        assert chunk.slow is not None
        flown = (chunk.slow[:, 1:] - self.net.left(chunk.slow[:, :-1])) / self.net.numbers[:, 2]
        error = answer - flown.clamp(min=0.0)
        unasked = ((answer < 0.0) & (flown < NO_INFLUX)) | (flown.abs() > MOST_INFLUX)
        return torch.where(unasked, torch.zeros_like(error), error)

    def _noise(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """Per step one offset N(0, σ)·U(0, 1), and 0.3 σ per sample; [B, T, n] mV. With a correlation time the offsets
        are an Ornstein–Uhlenbeck process and the factor U is one for the chunk."""
        b, t, n = shape
        offset = torch.randn(b, t, 1, generator=generator)
        if self.spec.noise_time:
            kept = math.exp(-n * DT / self.spec.noise_time)
            for step in range(1, t):
                offset[:, step] = kept * offset[:, step - 1] + math.sqrt(1.0 - kept**2) * offset[:, step]
            offset = offset * torch.rand(b, 1, 1, generator=generator)
        else:
            offset = offset * torch.rand(b, t, 1, generator=generator)
        return self.spec.voltage_noise * (offset + 0.3 * torch.randn(b, t, n, generator=generator))

    def _streams(self, samples: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Members and first input samples of the present chunk of every stream."""
        spec, n = self.spec, self.recipe.model.step_samples
        generator = np.random.default_rng([spec.seed, self.iteration // spec.chunks])
        members, length = self.data.current.shape
        rows = np.concatenate(
            [generator.permutation(members) for _ in range(math.ceil(spec.batch / members))]
        )[: spec.batch]
        starts = generator.integers(n, length - spec.chunks * samples + 1, spec.batch)
        return rows, starts + (self.iteration % spec.chunks) * samples

    def save(self) -> None:
        """Write net, optimiser and carried state, replacing the last save at once."""
        carried = {"state": self.state} | ({"voltage": self.own.voltage} if self.own else {})
        if self.own and self.slow:
            carried["slow"] = self.own.slow
        save_training(self.path, self.net, self.optimiser, self.iteration, self.seconds, carried)

    def restore(self) -> None:
        """Go on from the last save, if there is one, or from the end of a run that was not to go on."""
        found = restore_training(self.path, self.net, self.optimiser, self.device)
        if found is None and self.spec.again:
            ended = self._state_file(self.spec.model_copy(update={"again": None}))
            found = restore_training(ended, self.net, self.optimiser, self.device)
        if found is not None:
            self.iteration, self.seconds, self.state = found.iteration, found.seconds, found.carried["state"]
            if self.own:
                self.own.voltage = found.carried["voltage"].cpu()
                self.own.slow = found.carried.get("slow", self.own.slow).cpu()

    def described(self, family: Family) -> dict[str, Any]:
        """What core.json says of the core, besides what every core's says."""
        model = self.recipe.model
        return {
            "step_samples": model.step_samples,
            "hidden": model.hidden,
            "encoder_layers": model.encoder_layers,
            **({"direct": True} if model.direct else {}),
            **({"slow": [each._asdict() for each in self.slow]} if self.slow else {}),
            "parameters": sum(p.numel() for p in self.net.parameters()),
        }

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The net's weights as they are now."""
        return {name: values.detach().cpu().numpy() for name, values in self.net.state_dict().items()}
