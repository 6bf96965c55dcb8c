"""Short trainings of streaming cores that are to be compared: alike in everything but what is asked.

On the dataset of surrogate/recipes/pv-stream.yaml (extra [train]; made here if missing), 48 units, one core; judged by
free runs on the dataset's tests.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noble_net.cells.family import Family
from noble_net.output import write_json
from noble_net.registry import load_family
from noble_net.specs.cores import CoreRecipe, ModelSpec, TrainingSpec
from noble_net.specs.specification import validate_document
from noble_net.specs.yaml_source import load_document
from noble_net.training.dataset import ARRAYS, build_dataset, open_dataset, regimes
from noble_net.training.evaluate import measure, volts
from noble_net.training.inputs import FLUCTUATING
from noble_net.training.streams import TrainingData
from noble_net.training.train import Trainer
from noble_net.types import Float32

RECIPE = Path(__file__).parent.parent / "surrogate/recipes/pv-stream.yaml"
ITERATIONS = 4000
MODEL = ModelSpec(hidden=48, decoder_units=None)

Answer = Callable[[Tensor, Tensor, list[str]], Tensor]
"""(drive [B, T, 3, n], voltage [B, n] before, members) → voltage [B, T, n], free-running."""
Made = Callable[[CoreRecipe, TrainingData, Family], tuple[Trainer, Mapping[str, Answer]]]
"""What is trained, and its answers by what is told beside the variant's name ("" first)."""


def recipe_of(iterations: int) -> CoreRecipe:
    """What all of them are trained by: the data of `pv-stream`, and nothing that a recipe has to ask for."""
    base = validate_document(CoreRecipe, load_document(RECIPE))
    return base.model_copy(update={"model": MODEL, "training": TrainingSpec(iterations=iterations)})


def compare(
    result: Path,
    description: str | None,
    variants: Mapping[str, Made],
) -> None:
    """Train and judge what is not in ``result`` yet, or the one that is tried out; print the table."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--iterations", type=int, default=ITERATIONS)
    parser.add_argument("--try", dest="only", choices=variants, help="one, to try it out; writes nothing")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    recipe = recipe_of(asked.iterations)
    family = load_family(recipe.family)
    path = build_dataset(recipe, family)
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
    data: TrainingData | None = None
    for name, made in variants.items():
        if (asked.only and name != asked.only) or (not asked.only and name in found):
            continue
        data = data or TrainingData.read(path, family)
        trainer, answers = made(recipe, data, family)
        cost = trained(trainer)
        found |= {name + told: cost | judged(answer, recipe, family) for told, answer in answers.items()}
        print(name, json.dumps(found[name]), flush=True)
        if not asked.only:
            write_json(result, found)
    print(as_markdown(found))


def trained(trainer: Trainer) -> dict[str, Any]:
    """Train; parameters and seconds of processor time."""
    began = time.process_time()
    for done in range(trainer.spec.iterations):
        loss = trainer.step()
        if (done + 1) % 500 == 0:
            print(f"  {done + 1} iterations, loss {loss:.4f}", flush=True)
    trainer.net.cpu()
    parameters = sum(each.numel() for each in trainer.net.parameters())
    return {"parameters": parameters, "cpu_seconds": time.process_time() - began}


@torch.no_grad()
def judged(answer: Answer, recipe: CoreRecipe, family: Family) -> dict[str, Any]:
    """Free runs on the dataset's tests: measures by regime, of seen and unseen members."""
    pooled: dict[str, list[tuple[Float32, Float32]]] = {}
    rows: dict[str, Any] = {}
    with open_dataset(build_dataset(recipe, family), family) as file:
        for regime in regimes(recipe.dataset):
            group = file["test"][regime]
            ids = [str(i) for i in group["ids"].asstr()[:]]
            truth = volts(group, "voltage")
            drive, before = driven(group, truth, recipe.model.step_samples)
            free = np.concatenate(
                [truth[:, :1], answer(drive, before, ids).reshape(len(ids), -1).numpy()], axis=1
            )
            half = len(ids) // 2
            for kind, part in (("seen", slice(half)), ("unseen", slice(half, None))):
                pair = truth[part], free[part]
                if regime in FLUCTUATING:
                    pooled.setdefault(kind, []).append(pair)
                rows.setdefault(regime, {})[kind] = kept(measure(regime, *pair))
    rows["fluctuating, all"] = {
        kind: kept(measure("all", *(np.concatenate(each) for each in zip(*pairs, strict=True))))
        for kind, pairs in pooled.items()
    }
    return {"rows": rows}


def driven(group: Any, truth: Float32, n: int) -> tuple[Tensor, Tensor]:
    """The input of a test regime in steps of ``n`` samples, [cells, T, 3, n], and the voltage before, [cells, n]."""
    drive = torch.from_numpy(np.stack([group[name][:] for name in ARRAYS], axis=1))
    steps = drive.shape[2] // n
    drive = drive[..., : steps * n].reshape(len(truth), 3, steps, n).transpose(1, 2)
    return drive, torch.from_numpy(truth[:, :1]).expand(-1, n)


def kept(measures: dict[str, float]) -> dict[str, float | None]:
    """What the table shows."""
    names = ("gamma", "rate_error", "clipped_rmse", "clipped_ev")
    return {name: None if math.isnan(measures[name]) else round(measures[name], 4) for name in names}


def as_markdown(found: dict[str, Any]) -> str:
    """The table."""
    lines = [
        "| | parameters | Γ fluctuating, seen / unseen | RMSE, mV | Γ ramp | rate error steps, % | CPU minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in found.items():

        def both(regime: str, measure: str, scale: float, rows: Any = row["rows"]) -> str:
            return " / ".join(f"{scale * rows[regime][kind][measure]:.3g}" for kind in ("seen", "unseen"))

        cells = (
            both("fluctuating, all", "gamma", 1.0),
            both("fluctuating, all", "clipped_rmse", 1.0),
            both("ramp", "gamma", 1.0),
            both("steps", "rate_error", 100.0),
        )
        lines.append(
            f"| {name} | {row['parameters']:,} | {' | '.join(cells)} | {row['cpu_seconds'] / 60:.0f} |"
        )
    return "\n".join(lines)
