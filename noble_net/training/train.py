"""Training the streaming core on a dataset, on CPU or GPU, resumable at any moment.

Streams of members run through their data chunk by chunk, the recurrent state carried over (truncated
back-propagation through time), so that slow currents are learned without long windows. What is fed back is the
true voltage of the last step, with noise, never the core's own: a pointwise loss on a free run teaches the core
not to fire where it cannot know the time of a spike. Everything random depends on (seed, iteration) alone.
"""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from noble_net.cache import cache_folder
from noble_net.cells.family import Family
from noble_net.specs.cores import CoreRecipe
from noble_net.surrogate import scaling
from noble_net.surrogate.checkpoint import save_checkpoint
from noble_net.surrogate.streaming_torch import StreamingNet
from noble_net.training.dataset import dataset_path
from noble_net.training.ranges import envelope_of
from noble_net.training.streams import Chunk, TrainingData
from noble_net.types import DT

SAVE_EVERY = 200
GRADIENT_NORM = 1.0

Progress = Callable[[int, int, float], None]
"""(iteration, iterations, recent loss)."""


def train_core(
    recipe: CoreRecipe,
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
    data = TrainingData.read(dataset_path(recipe, family), family)
    trainer = Trainer(recipe, data)
    trainer.restore()
    started = time.monotonic()
    while trainer.iteration < recipe.training.iterations and time.monotonic() < stop:
        loss = trainer.step()
        ended = trainer.iteration == recipe.training.iterations or time.monotonic() >= stop
        if trainer.iteration % SAVE_EVERY == 0 or ended:
            trainer.seconds += time.monotonic() - started
            started = time.monotonic()
            trainer.save()
        if progress:
            progress(trainer.iteration, recipe.training.iterations, loss)
    return write_core(trainer, family, folder)


def write_core(trainer: Trainer, family: Family, folder: Path) -> Path:
    """Write the trainer's present weights as a checkpoint; returns its folder."""
    recipe = trainer.recipe
    about = {
        "name": recipe.name,
        "kind": "streaming",
        "family": family.name,
        "family_hash": family.hash,
        "code": list(family.parameter_names),
        "zones": list(recipe.dataset.zones),
        "nmda": recipe.dataset.nmda,
        "step_samples": recipe.model.step_samples,
        "envelope": envelope_of(trainer.data, recipe.dataset.zones, recipe.model.step_samples).to_json(),
        "hidden": recipe.model.hidden,
        "encoder_layers": recipe.model.encoder_layers,
        "parameters": sum(p.numel() for p in trainer.net.parameters()),
        "training": {
            "finished": trainer.iteration == recipe.training.iterations,
            "iterations": trainer.iteration,
            "hours": round(trainer.seconds / 3600, 3),
            "threads": torch.get_num_threads(),
            "recipe": recipe.model_dump(),
        },
    }
    target = folder / recipe.name
    save_checkpoint(target, about, {k: v.detach().cpu().numpy() for k, v in trainer.net.state_dict().items()})
    return target


class Trainer:
    """A training run: net, optimiser, carried state; `step` does one iteration."""

    def __init__(self, recipe: CoreRecipe, data: TrainingData) -> None:
        self.recipe, self.data, self.spec = recipe, data, recipe.training
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(self.spec.seed)
        model = recipe.model
        self.net = StreamingNet(
            data.code.shape[1],
            model.hidden,
            model.step_samples,
            zones=data.dendrites,
            nmda=data.nmda is not None,
            code_units=model.code_units,
            encoder_layers=model.encoder_layers,
            decoder_units=model.decoder_units,
        ).to(self.device)
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=self.spec.learning_rate, weight_decay=1e-4, foreach=True
        )
        self.state = torch.zeros(1, self.spec.batch, model.hidden, device=self.device)
        self.iteration = 0
        self.seconds = 0.0
        content = json.dumps([recipe.training.model_dump(), recipe.model.model_dump()])
        digest = zlib.crc32((content + data.family_hash).encode())
        self.path = cache_folder("training") / f"{recipe.name}-{digest:08x}.safetensors"

    def step(self) -> float:
        """One iteration; returns the loss."""
        spec, n = self.spec, self.recipe.model.step_samples
        steps = round(spec.chunk / (n * DT))
        rows, starts = self._streams(steps * n)
        chunk = self.data.chunk(rows, starts, steps, n).to(self.device)
        code = torch.from_numpy(self.data.code[rows]).to(self.device)
        first = self.iteration % spec.chunks == 0
        if first:
            self.state = torch.zeros_like(self.state)
        self._set_learning_rate()
        answer, state = self._answer(chunk, code)
        skip = round(spec.burn_in / (n * DT)) if first else 0
        error = scaling.VOLTAGE_SCALE * (answer - chunk.after)[:, skip:]
        loss = error.abs().mean() + error.square().mean()
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), GRADIENT_NORM)
        self.optimiser.step()
        self.state = state.detach()
        self.iteration += 1
        return float(loss.detach())

    def _answer(self, chunk: Chunk, code: Tensor) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.spec.seed * 1_000_003 + self.iteration)
        noisy = chunk.before + self._noise(chunk.before.shape, generator).to(self.device)
        answer: tuple[Tensor, Tensor] = self.net(chunk.drive, noisy, code, self.state, chunk.dendrites)
        return answer

    def _noise(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """Per step one offset N(0, σ)·U(0, 1), and 0.3 σ per sample; [B, T, n] mV."""
        b, t, n = shape
        offset = torch.randn(b, t, 1, generator=generator) * torch.rand(b, t, 1, generator=generator)
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

    def _set_learning_rate(self) -> None:
        """Linear warm-up, then half a cosine down to 1 %."""
        spec = self.spec
        done = min(1.0, self.iteration / spec.iterations)
        rate = spec.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * done)))
        for group in self.optimiser.param_groups:
            group["lr"] = rate * min(1.0, (self.iteration + 1) / spec.warmup)

    def save(self) -> None:
        """Write net, optimiser and carried state, replacing the last save at once."""
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()} | {"state": self.state}
        for name, parameter in self.net.named_parameters():
            for key, value in self.optimiser.state[parameter].items():
                tensors[f"optimiser.{name}.{key}"] = value
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".tmp")
        about = {"iteration": str(self.iteration), "seconds": str(self.seconds)}
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, partial, about)
        partial.rename(self.path)

    def restore(self) -> None:
        """Go on from the last save, if there is one."""
        if not self.path.exists():
            return
        tensors = load_file(self.path, device=str(self.device))
        with safe_open(self.path, "pt") as file:
            about = file.metadata()
        self.iteration, self.seconds = int(about["iteration"]), float(about["seconds"])
        self.net.load_state_dict(
            {k.removeprefix("net."): v for k, v in tensors.items() if k.startswith("net.")}
        )
        self.state = tensors["state"]
        for name, parameter in self.net.named_parameters():
            prefix = f"optimiser.{name}."
            self.optimiser.state[parameter] = {
                k.removeprefix(prefix): v.cpu() if k.endswith(".step") else v
                for k, v in tensors.items()
                if k.startswith(prefix)
            }
