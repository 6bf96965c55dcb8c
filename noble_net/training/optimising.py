"""What training runs of cores share: the schedule of the learning rate, and their state on disk, never a pickle."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from noble_net.cache import cache_folder

GRADIENT_NORM = 1.0
WEIGHT_DECAY = 1e-4
NO_MATRICES = ("code_", "decode_out")
"""Parameters by the beginnings of their names that are first or last layers, which Muon is not for."""


class Saved(NamedTuple):
    """What `restore_training` finds besides net and optimiser."""

    iteration: int
    seconds: float
    carried: dict[str, Tensor]


class Together:
    """Optimisers of different parameters of a net, as one."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Of all parts."""
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad()

    def step(self) -> None:
        """One step of each."""
        for part in self.parts:
            part.step()

    def state_of(self, parameter: nn.Parameter) -> dict[str, Any]:
        """What the optimiser of this parameter keeps of it; may be filled."""
        for part in self.parts:
            if any(each is parameter for group in part.param_groups for each in group["params"]):
                kept: dict[str, Any] = part.state[parameter]
                return kept
        raise KeyError("no optimiser has this parameter")


def made_optimiser(net: nn.Module, kind: Literal["adamw", "muon"], rate: float) -> Together:
    """``muon``: torch's Muon (Jordan et al. 2024) for ``net``'s matrices, with AdamW's size of a step, and AdamW for
    biases and what reads a cell's code or writes voltages; ``adamw``: that for all."""
    matrices = [
        parameter
        for name, parameter in net.named_parameters()
        if kind == "muon" and parameter.ndim == 2 and not name.startswith(NO_MATRICES)
    ]
    others = [each for each in net.parameters() if not any(each is matrix for matrix in matrices)]
    adamw = torch.optim.AdamW(others, lr=rate, weight_decay=WEIGHT_DECAY, foreach=True)
    if not matrices:
        return Together(adamw)
    muon = torch.optim.Muon(matrices, lr=rate, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw")
    return Together(muon, adamw)


def set_learning_rate(
    optimiser: Together | torch.optim.Optimizer,
    highest: float,
    iteration: int,
    iterations: int,
    warmup: int = 1,
) -> None:
    """Linear warm-up, then half a cosine down to 1 %."""
    done = min(1.0, iteration / iterations)
    rate = highest * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * done)))
    for group in optimiser.param_groups:
        group["lr"] = rate * min(1.0, (iteration + 1) / warmup)


def descend(net: nn.Module, optimiser: Together, *errors: Tensor) -> float:
    """One step down the means of |error| and error², the gradient's norm bounded; returns their sum."""
    loss = torch.stack([error.abs().mean() + error.square().mean() for error in errors]).sum()
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(net.parameters(), GRADIENT_NORM)
    optimiser.step()
    return float(loss.detach())


def state_file(name: str, asked: Sequence[Mapping[str, Any]], family_hash: str) -> Path:
    """Where the training of core ``name`` keeps its state: another for another of what was ``asked``, or family."""
    digest = zlib.crc32((json.dumps(asked) + family_hash).encode())
    return cache_folder("training") / f"{name}-{digest:08x}.safetensors"


def save_training(
    path: Path,
    net: nn.Module,
    optimiser: Together,
    iteration: int,
    seconds: float,
    carried: Mapping[str, Tensor],
) -> None:
    """Write a state, replacing the last one at once. ``carried``: tensors besides net and optimiser."""
    tensors = {f"net.{k}": v for k, v in net.named_parameters()} | dict(carried)
    for name, parameter in net.named_parameters():
        for key, value in optimiser.state_of(parameter).items():
            tensors[f"optimiser.{name}.{key}"] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".tmp")
    about = {"iteration": str(iteration), "seconds": str(seconds)}
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, partial, about)
    partial.rename(path)


def restore_training(path: Path, net: nn.Module, optimiser: Together, device: torch.device) -> Saved | None:
    """Fill net and optimiser from the last state, if there is one."""
    if not path.exists():
        return None
    tensors = load_file(path, device=str(device))
    with safe_open(path, "pt") as file:
        about = file.metadata()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(tensors.pop(f"net.{name}"))
            prefix = f"optimiser.{name}."
            mine = [key for key in tensors if key.startswith(prefix)]
            values = {key.removeprefix(prefix): tensors.pop(key) for key in mine}
            optimiser.state_of(parameter).update(
                {k: v.cpu() if k == "step" else v for k, v in values.items()}
            )
    return Saved(int(about["iteration"]), float(about["seconds"]), tensors)
