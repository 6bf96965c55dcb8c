"""A trained NOBLE core as its recipe says what its weights do not hang on: its tables anew, its operator as it is."""

from __future__ import annotations

from pathlib import Path

from noble_net.cells.family import Family
from noble_net.errors import CheckpointError
from noble_net.specs.noble import NobleRecipe
from noble_net.surrogate.checkpoint import load_checkpoint, save_checkpoint
from noble_net.surrogate.embedding import Window
from noble_net.surrogate.fno import load_weights, parameter_count, weights_of
from noble_net.surrogate.noble import Noble
from noble_net.surrogate.noble_torch import NobleNet
from noble_net.training.noble_batches import feature_ranges
from noble_net.training.noble_checkpoint import check_same_network, describe
from noble_net.training.noble_phase import carry_tables

_PHASE = "embedding.phase."
"""What the names of weights begin with that are of the tables."""
_MAY_CHANGE = ("phase_members", "rest_within", "told_intervals")
"""Keys of a recipe's ``model`` that no weight of the operator hangs on."""


def remake_tables(recipe: NobleRecipe, family: Family, folder: Path) -> Path:
    """Make the tables of the trained core ``folder``/<name> anew from themselves, as the recipe's ``told_intervals``
    and ``phase_members`` want them, and take its ``rest_within``. Returns the core's folder.

    Raises CheckpointError where the core is another network than the recipe's otherwise, or has no tables; FamilyError
    where ``phase_members`` leaves no room for them.
    """
    base = load_checkpoint(folder / recipe.name)
    fitted = Noble(base).net.embedding
    ranges = feature_ranges(recipe, family)
    check_same_network(base, recipe, ranges, _MAY_CHANGE)
    if fitted.phase is None:
        raise CheckpointError(f"{base.folder} has no tables of spikes: its model.phase_octaves are 0")
    window = Window(recipe.samples, recipe.model.padded, recipe.sampling)
    net = NobleNet(ranges, window, recipe.model)
    operator = {name: values for name, values in base.weights.items() if not name.startswith(_PHASE)}
    load_weights(net, {**weights_of(net), **operator})
    carry_tables(net.embedding, recipe, fitted)
    training = {**base.about["training"], "recipe": recipe.model_dump(mode="json")}
    about = {
        **base.about,
        **describe(recipe, ranges),
        "parameters": parameter_count(net),
        "training": training,
    }
    save_checkpoint(base.folder, about, weights_of(net))
    return base.folder
