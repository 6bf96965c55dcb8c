"""States of NOBLE's training: one folder a state, each of its files no larger than the weights, never pickles.

A state is ``<cache>/training/<name>-<digest>.<iteration>/`` with ``state.json`` and the weights, Adam's two moments and
the best weights so far as one safetensors file each. It is written under another name and then renamed, so the last
one is always whole; it can be moved to another machine's cache folder and gone on with there.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import nn

from noble_net.cache import cache_folder
from noble_net.cells.family import Family
from noble_net.specs.noble import NobleRecipe
from noble_net.surrogate.fno import load_weights, real_view, weights_of

_MOMENTS = ("exp_avg", "exp_avg_sq")
_UNFINISHED = ".tmp"


def state_prefix(recipe: NobleRecipe, family: Family, base: str = "") -> Path:
    """Where the states of a recipe's training lie, less the iteration; another recipe has another place.

    What may change between pieces of one training (epochs, precision, notes) is left out of the digest. ``base``: hash
    of the weights that fine-tuning begins from, so that it begins anew where these have been trained anew.
    """
    content = recipe.model_dump(mode="json", exclude={"notes": True, "training": {"precision", "epochs"}})
    digest = zlib.crc32((json.dumps(content, sort_keys=True) + family.hash + base).encode())
    return cache_folder("training") / f"{recipe.name}-{digest:08x}"


def save_state(
    prefix: Path,
    iteration: int,
    about: Mapping[str, Any],
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    best: Mapping[str, NDArray[np.float32]],
) -> None:
    """Write a state, unless there is one of that iteration, and remove the earlier ones."""
    folder = prefix.with_name(f"{prefix.name}.{iteration}")
    if folder.exists():
        return
    unfinished = folder.with_name(folder.name + _UNFINISHED)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    save_file(weights_of(net), unfinished / "weights.safetensors")
    save_file(dict(best), unfinished / "best.safetensors")
    steps = _steps(net, optimiser)
    for moment in _MOMENTS if steps else ():
        tensors = {
            name: real_view(optimiser.state[p][moment]).cpu().contiguous().numpy()
            for name, p in _remembered(net, optimiser).items()
        }
        save_file(tensors, unfinished / f"{moment}.safetensors")
    (unfinished / "state.json").write_text(json.dumps({**about, "steps": steps}))
    unfinished.rename(folder)
    for _, earlier in _states(prefix):
        if earlier != folder:
            shutil.rmtree(earlier)


def restore_state(
    prefix: Path, net: nn.Module, optimiser: torch.optim.Optimizer
) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]] | None:
    """Fill net and optimiser from the last state; returns what `save_state` was told of it and the best weights."""
    states = _states(prefix)
    if not states:
        return None
    folder = states[-1][1]
    about: dict[str, Any] = json.loads((folder / "state.json").read_text())
    load_weights(net, load_file(folder / "weights.safetensors"))
    if about["steps"]:
        moments = {m: load_file(folder / f"{m}.safetensors") for m in _MOMENTS}
        parameters = dict(net.named_parameters())
        for name in moments[_MOMENTS[0]]:
            parameter = parameters[name]
            state: dict[str, Any] = {"step": torch.tensor(float(about["steps"]))}
            for moment, values in moments.items():
                state[moment] = torch.zeros_like(parameter, requires_grad=False)
                real_view(state[moment]).copy_(torch.from_numpy(values[name]))
            optimiser.state[parameter] = state
    return about, load_file(folder / "best.safetensors")


def forget_states(prefix: Path) -> None:
    """Remove the states of a training that is done."""
    for _, folder in _states(prefix):
        shutil.rmtree(folder)


def _steps(net: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Steps Adam has taken."""
    return max((int(optimiser.state[p]["step"]) for p in _remembered(net, optimiser).values()), default=0)


def _remembered(net: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, nn.Parameter]:
    """Parameters that Adam has changed, by name: not the tables of firing, which are fitted, nor what no answer hung on
    so far."""
    return {name: p for name, p in net.named_parameters() if _MOMENTS[0] in optimiser.state.get(p, {})}


def _states(prefix: Path) -> list[tuple[int, Path]]:
    """Whole states by iteration, the last one at the end."""
    found = prefix.parent.glob(f"{prefix.name}.*")
    whole = [p for p in found if p.is_dir() and p.suffix != _UNFINISHED]
    return sorted((int(p.suffix[1:]), p) for p in whole)
