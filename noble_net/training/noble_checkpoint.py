"""What core.json says of a NOBLE core, and whether a recipe means the same network."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from noble_net.cells.family import Family
from noble_net.errors import CheckpointError
from noble_net.specs.noble import NobleModelSpec, NobleRecipe
from noble_net.surrogate.checkpoint import Checkpoint, save_checkpoint
from noble_net.surrogate.embedding import Ranges
from noble_net.surrogate.fno import parameter_count
from noble_net.surrogate.step_core import NOBLE_PROTOCOL
from noble_net.training.noble_plan import trained_amplitudes, trained_members

if TYPE_CHECKING:
    from noble_net.training.noble_train import Trainer


def check_same_network(
    base: Checkpoint, recipe: NobleRecipe, ranges: Ranges, may_change: tuple[str, ...] = ()
) -> None:
    """Raise CheckpointError where a core is another network than the recipe's, but for keys of ``model``."""
    now = json.loads(json.dumps(describe(recipe, ranges)))
    # A core may be older than some keys, whose defaults say what it is.
    try:
        model = NobleModelSpec.model_validate(base.about["model"])
    except ValueError as error:
        raise CheckpointError(f"core.json in {base.folder} is damaged: model: {error}") from error
    there = {**base.about, "model": model.model_dump(mode="json")}
    for each in may_change:
        there["model"][each] = now["model"][each]
    for key in ("features", "sampling", "model"):
        if there.get(key) != now[key]:
            raise CheckpointError(f"{base.folder} has other {key} than recipe {recipe.name}")


def describe(recipe: NobleRecipe, ranges: Ranges) -> dict[str, Any]:
    """The part of core.json that says what the network is."""
    return {
        "features": {name: list(limits) for name, limits in ranges.items()},
        "sampling": recipe.sampling,
        "samples": recipe.samples,
        "protocol": NOBLE_PROTOCOL._asdict(),
        "model": recipe.model.model_dump(mode="json"),
    }


def write_noble(trainer: Trainer, family: Family, target: Path) -> Path:
    """Write the trainer's best weights as a checkpoint into ``target``; returns it."""
    recipe = trainer.recipe
    about = {
        "name": recipe.name,
        "kind": "noble",
        "family": family.name,
        "family_hash": family.hash,
        **describe(recipe, trainer.ranges),
        "trained_on": {
            "amplitude": trained_amplitudes(recipe, family),
            "members": trained_members(recipe, family),
        },
        "parameters": parameter_count(trainer.net),
        "training": {
            "finished": trainer.iteration == trainer.iterations,
            "iterations": trainer.iteration,
            "epochs": trainer.iteration / trainer.per_epoch,
            "traces": len(trainer.data.train),
            ("validation_loss" if recipe.fine_tune else "validation_rel_l2"): None
            if math.isinf(trainer.best_error)
            else trainer.best_error,
            "hours": round(trainer.seconds / 3600, 3),
            "device": trainer.device.type,
            "threads": torch.get_num_threads(),
            "recipe": recipe.model_dump(mode="json"),
        },
    }
    save_checkpoint(target, about, trainer.best)
    return target
