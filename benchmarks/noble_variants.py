"""What NOBLE's accuracy hangs on: the features it is told, and the number of members it is trained on.

    python benchmarks/noble_variants.py            every variant that is not in the results yet
    python benchmarks/noble_variants.py --print    the tables
    python benchmarks/noble_variants.py --jobs 2   so many variants at once, in processes of their own

Variants of the recipe noble-small on its dataset, equal but for what the table says and trained on a tenth of its
windows: all variants of a table train on as many traces, for as many iterations; where the number of members varies,
on as many as the fewest members have. A variant's features also tell its tables (`noble_net.surrogate.phase`) which
cell it is: told nothing, all members have one table. Beside them, as published, without tables, features in waves,
for as many iterations. Goes on where it was interrupted: within a variant from the state of its training, and results
that are there stay. Trains and evaluates on the GPU where there is one.
Tables: benchmarks/results/noble_variants.json, in the order of the paper (arXiv 2506.04536).
"""

from __future__ import annotations

import argparse
import json
import math
import traceback
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from noble_shared import errors, percent, read_recipe, show_progress, table
from scoreboard import RESULTS, Target, record

from noble_net.cache import cache_folder
from noble_net.cells.family import Family
from noble_net.cells.features import NOBLE_FEATURES
from noble_net.processes import cores, in_processes
from noble_net.registry import load_family, load_step_core
from noble_net.specs.noble import NobleRecipe
from noble_net.surrogate.noble import device_here
from noble_net.training.noble_borders import build_borders
from noble_net.training.noble_data import build_noble_dataset
from noble_net.training.noble_evaluate import evaluate_noble
from noble_net.training.noble_plan import members_of, plan_traces
from noble_net.training.noble_train import train_noble

COMMAND = "python benchmarks/noble_variants.py"
RESULT = RESULTS / "noble_variants.json"
POINTS, ITERATIONS, TRACES = 2_500, 700, 3_000
"""Of every variant: iterations on single samples, then on windows, to the nearest whole epoch, and, where only features
vary, traces: some ten minutes of one core."""
PUBLISHED_MODEL: dict[str, Any] = {
    "feature_octaves": 1,
    "phase_octaves": 0,
    "spike_decays": (),
    "lifting_ratio": 2,
    "modes": 256,
}
"""Of the paper: features in waves, and nothing of when a cell fires."""
PUBLISHED_TRAINING: dict[str, Any] = {"points": 0, "power": 4, "learning_rate": 0.002, "borders": 0}
"""Of the paper: whole windows alone, on relative L4."""
PUBLISHED = "both, as published"
MEMBERS = (20, 30, 40, 50)
PAPER_V: dict[str, float] = {
    "none": 12.1,
    "s_thr": 2.83,
    "I_thr": 2.73,
    "both": 1.92,
    "both + AHP_depth": 2.16,
}
"""The paper's ablation, relative L2 error of the voltage of members trained on, %."""
PAPER_MEMBERS: dict[str, float] = {"20": 10.6, "50": 11.7}
"""The paper's error of the voltage of members held out, by the number trained on, %."""
PAPER = {"embedding": (PAPER_V, "seen"), "members": (PAPER_MEMBERS, "held out")}
FIRST_COLUMN = {"embedding": "features", "members": "members"}


class Variant(NamedTuple):
    """What a process works on."""

    table: str
    label: str
    recipe: NobleRecipe
    threads: int | None
    """To compute on; PyTorch's own number unless given."""


def main() -> None:
    """Train and measure what is missing."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--print", action="store_true", dest="only_print")
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    failed: list[str] = []
    if not asked.only_print:
        base = read_recipe("noble-small")
        family = load_family(base.family)
        build_noble_dataset(base, family)
        build_borders(base, family)
        planned = plan(base, family)
        for variant, row in measured(missing(planned, asked.jobs), asked.jobs):
            if row is None:
                failed.append(f"{variant.table}: {variant.label}")
            else:
                keep(variant.table, variant.label, row, planned)
        record(targets())
    print(as_markdown())
    if failed:
        raise SystemExit(f"failed, as told above: {', '.join(failed)}")


def missing(planned: dict[str, dict[str, NobleRecipe]], jobs: int) -> list[Variant]:
    """The variants that are not in the results yet."""
    there = results()
    threads = max(1, cores() // jobs) if jobs > 1 else None
    return [
        Variant(table, label, recipe, threads)
        for table, variants in planned.items()
        for label, recipe in variants.items()
        if label not in there.get(table, {})
    ]


def measured(variants: list[Variant], jobs: int) -> Iterator[tuple[Variant, dict[str, Any] | None]]:
    """Each variant and its row, as it is done; None for one that failed."""
    yield from in_processes(attempt, variants, jobs) if jobs > 1 else map(attempt, variants)


def attempt(variant: Variant) -> tuple[Variant, dict[str, Any] | None]:
    """`measure`, without an end to the other variants where this one fails."""
    if variant.threads:
        import torch

        torch.set_num_threads(variant.threads)
    try:
        return variant, measure(variant.recipe, load_family(variant.recipe.family))
    except Exception:
        traceback.print_exc()
        return variant, None


def plan(base: NobleRecipe, family: Family) -> dict[str, dict[str, NobleRecipe]]:
    """Table → label → recipe. The tables and the rest are told by no more than what a variant embeds and trains on."""
    base = base.variant(base.name, model={"rest_within": 0.0, "told_intervals": False})
    small = training_on(base, TRACES)
    embedded: dict[str, tuple[str, ...]] = {
        "none": (),
        "s_thr": ("s_thr",),
        "I_thr": ("I_thr",),
        "both": ("I_thr", "s_thr"),
        "both + AHP_depth": ("I_thr", "s_thr", "AHP_depth"),
        "all": usable(base, family),
    }
    embedding = {
        label: base.variant(f"noble-embedding-{n}", model={"features": names}, training=small)
        for n, (label, names) in enumerate(embedded.items())
    }
    embedding[PUBLISHED] = base.variant(
        "noble-embedding-published",
        model={**PUBLISHED_MODEL, "features": embedded["both"]},
        training={**small, **PUBLISHED_TRAINING},
    )
    equal = training_on(base, fewest_traces(base, family))
    members = {str(n): base.variant(f"noble-members-{n}", training={**equal, "members": n}) for n in MEMBERS}
    return {"embedding": embedding, "members": members}


def training_on(base: NobleRecipe, traces: int) -> dict[str, Any]:
    """Keys of a training on so many traces, for ITERATIONS."""
    trained = traces - max(1, round(base.training.validation * traces))
    epochs = max(1, round(ITERATIONS / math.ceil(trained / base.training.batch)))
    return {"traces": traces, "points": POINTS, "epochs": epochs}


def fewest_traces(base: NobleRecipe, family: Family) -> int:
    """Traces of the dataset that are of the first members, as many as the smallest variant has: those of more members
    are then cut to as many. Else 20 members would have less than half of the traces, and of the steps, that 50 have."""
    member = plan_traces(base.dataset, family)["train"].member
    return int(np.count_nonzero(member < min(MEMBERS)))


def usable(base: NobleRecipe, family: Family) -> tuple[str, ...]:
    """I_thr, s_thr and every e-feature that all members have and that differs between them."""
    table = family.table.loc[members_of(base.dataset, family, "all")]
    names = [name for name in NOBLE_FEATURES if name in table]
    values = table[names].to_numpy(np.float64)
    told_apart = np.isfinite(values).all(axis=0) & (np.ptp(values, axis=0) > 0)
    return ("I_thr", "s_thr", *(name for name, good in zip(names, told_apart, strict=True) if good))


def measure(recipe: NobleRecipe, family: Family) -> dict[str, Any]:
    """Train a variant in the cache folder and evaluate it."""
    folder = cache_folder("noble-variants")
    print(f"training {recipe.name}", flush=True)
    train_noble(recipe, family, folder, progress=show_progress)
    found = evaluate_noble(recipe, family, load_step_core(str(folder / recipe.name), device_here()))
    about = json.loads((folder / recipe.name / "core.json").read_text())
    return {
        "features": list(recipe.model.features),
        "parameters": about["parameters"],
        "hours": about["training"]["hours"],
        "device": about["training"]["device"],
        "traces": about["training"]["traces"],
        "epochs": recipe.training.epochs,
        "iterations": about["training"]["iterations"],
        "rows": {row: {**errors(t), "missed": t["missed"]} for row, t in found["table"].items()},
        "fi": {
            row: {k: fi[k] for k in ("median", "largest", "deviating")} for row, fi in found["fi"].items()
        },
    }


def results() -> dict[str, Any]:
    """What is measured so far."""
    found: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    return found


def keep(table: str, label: str, row: dict[str, Any], planned: dict[str, dict[str, NobleRecipe]]) -> None:
    """Add one variant to the results, which stay in the order of the plan."""
    found = results()
    found.setdefault(table, {})[label] = row
    found = {
        t: {n: found[t][n] for n in labels if n in found[t]} for t, labels in planned.items() if t in found
    }
    RESULT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def targets() -> list[Target]:
    """Rows of the scoreboard: does embedding what the paper embeds pay, as it does there?"""
    found = results().get("embedding", {})
    if not {"none", "both"} <= set(found):
        return []
    ratio = found["both"]["rows"]["ID"]["V"] / found["none"]["rows"]["ID"]["V"]
    conditions = (
        f"voltage rel-L2 of members trained on, both features ÷ none, {found['both']['traces']} traces × "
        f"{found['both']['epochs']} epochs; the paper: {PAPER_V['both'] / PAPER_V['none']:.2f}"
    )
    return [
        Target(3, "noble, embedding ablation: error with both ÷ none", "≤ 1", ratio, "", conditions, COMMAND)
    ]


def as_markdown() -> str:
    """The tables that there are."""
    return "\n\n".join(f"### {name}\n\n{variants_table(name)}" for name in results())


def variants_table(name: str) -> str:
    """One of the tables, beside what the paper has."""
    paper, row = PAPER[name]
    rows = [
        [label, *of_variant(each), f"{paper[label]:g} %" if label in paper else percent(None)]
        for label, each in results()[name].items()
    ]
    return table([FIRST_COLUMN[name], *heads(), f"the paper, {row}"], rows)


def heads() -> list[str]:
    """Of the columns that `of_variant` fills."""
    return [
        f"{name}, {kind}" for kind in ("seen", "held out") for name in ("voltage", "spike count", "AP width")
    ]


def of_variant(each: dict[str, Any]) -> list[str]:
    """Errors of one variant."""
    rows = (each["rows"][kind] for kind in ("ID", "OOD"))
    return [percent(row.get(name)) for row in rows for name in ("V", "Spikecount", "AP1_width")]


if __name__ == "__main__":
    main()
