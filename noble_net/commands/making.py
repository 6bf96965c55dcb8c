"""`noble-net family`, `dataset`, `train` and `evaluate`: from cells to cores; `make` is the last three in a row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noble_net.commands.shared import Into, Jobs, Progress, RecipeFile, folder_of, progress, read_recipe

if TYPE_CHECKING:
    from noble_net.cells.family import Family
    from noble_net.specs.cores import CoreRecipe
    from noble_net.specs.noble import NobleRecipe
    from noble_net.specs.windowed import WindowedRecipe


Minutes = Annotated[float | None, typer.Option(min=0, help="Stop training after so long, to go on later.")]


def family(recipe: RecipeFile, jobs: Jobs = None, out: Into = None) -> None:
    """Make a cell family.

    Draws, evolves or reads members, solves them in NEURON and measures their features. Goes on where it was
    interrupted. A card with figures goes beside the table.
    """
    from noble_net.specs.families import FamilyRecipe

    wanted = read_recipe(recipe, FamilyRecipe)
    from noble_net.cells.build import archive_path, build_family
    from noble_net.cells.evolve import history_path
    from noble_net.cells.family import read_family
    from noble_net.json_lines import read_rows
    from noble_net.report.family_page import write_family_card

    folder = folder_of(out, recipe, "families")
    with progress(f"family {wanted.name}") as update:
        table = build_family(wanted, folder, jobs, update)
    history = read_rows(history_path(archive_path(wanted))) if wanted.evolve else None
    typer.echo(table)
    typer.echo(write_family_card(read_family(table), folder, history, wanted.notes))


def dataset(
    recipe: RecipeFile,
    jobs: Jobs = None,
    tests: Annotated[
        bool, typer.Option("--tests", help="Only its tests, enough to evaluate a core that is trained.")
    ] = False,
) -> None:
    """Make the dataset of a core.

    Runs the members of its family in NEURON. Goes on where it was interrupted.
    """
    wanted, cells = core_recipe(recipe)
    with progress(f"dataset of {wanted.name}") as update:
        if wanted.kind == "noble":
            from noble_net.training.noble_borders import build_borders
            from noble_net.training.noble_data import TESTS, build_noble_dataset

            parts = TESTS if tests else None
            for part in build_noble_dataset(wanted, cells, jobs, update, parts=parts):
                typer.echo(part)
            if not tests:
                build_borders(wanted, cells, jobs, update)
        else:
            from noble_net.training.dataset import build_dataset

            typer.echo(build_dataset(wanted, cells, jobs, update, tests_only=tests))


def train(
    recipe: RecipeFile,
    out: Into = None,
    minutes: Minutes = None,
    tables: Annotated[
        bool,
        typer.Option(
            "--tables", help="Only make the tables of a trained NOBLE core anew, as its recipe says."
        ),
    ] = False,
) -> None:
    """Train a core on its dataset.

    Goes on where it was interrupted.
    """
    wanted, cells = core_recipe(recipe)
    folder = folder_of(out, recipe, "checkpoints")
    if tables:
        if wanted.kind != "noble":
            raise typer.BadParameter("is for NOBLE cores, not for network cores", param_hint="--tables")
        from noble_net.training.noble_tables import remake_tables

        typer.echo(remake_tables(wanted, cells, folder))
        return
    with progress(f"training {wanted.name}") as update:
        deadline = None if minutes is None else 60.0 * minutes
        if wanted.kind == "noble":
            from noble_net.training.noble_train import train_noble

            typer.echo(train_noble(wanted, cells, folder, update, deadline))
        else:
            from noble_net.training.train import train_core

            typer.echo(train_core(wanted, cells, folder, update, deadline))


def evaluate(recipe: RecipeFile, out: Into = None) -> None:
    """Measure a trained core against NEURON.

    The inputs are the dataset's held-out ones; the tables go beside the checkpoint, and so does fitting.json: how the
    core errs at known codes, for `noble-net fit`.
    """
    wanted, cells = core_recipe(recipe)
    from noble_net.registry import load_step_core

    folder = folder_of(out, recipe, "checkpoints") / wanted.name
    with progress(f"evaluating {wanted.name}") as update:
        if wanted.kind == "noble":
            from noble_net.surrogate.noble import device_here
            from noble_net.training.noble_evaluate import evaluate_noble, write_noble_accuracy

            core = load_step_core(str(folder), device_here())
            found = evaluate_noble(wanted, cells, core, update)
            typer.echo(write_noble_accuracy(found, folder, cells, wanted.notes))
        else:
            from noble_net.training.evaluate import evaluate_both, write_accuracy

            if wanted.kind == "streaming":
                typer.echo(_calibrated(wanted, cells, folder, update))
            measured = evaluate_both(wanted, cells, folder, update)
            typer.echo(write_accuracy(measured, folder, cells, wanted.notes))


def _calibrated(recipe: CoreRecipe, cells: Family, folder: Path, update: Progress) -> Path | str:
    """How the core errs at known codes, measured for `noble-net fit`: the file, or why there is no new one."""
    from noble_net.fitting.calibration import FILE, calibrate
    from noble_net.training.dataset import dataset_path

    whole = dataset_path(recipe, cells)
    if not whole.exists():
        return f"{folder / FILE} is left as it was: it needs the whole dataset, not its tests alone"
    few = (
        f"{folder / FILE} is left as it was: too few members have long stretches with input to the soma alone"
    )
    return calibrate(folder, cells, whole, update) or few


def make(recipe: RecipeFile, jobs: Jobs = None, out: Into = None, minutes: Minutes = None) -> None:
    """Make a core: dataset, training, card.

    What `dataset`, `train` and `evaluate` do, one after another, each going on where it was interrupted. With --minutes
    the card is that of a core as far as it is; the same command goes on.
    """
    dataset(recipe, jobs)
    train(recipe, out, minutes)
    evaluate(recipe, out)


def core_recipe(path: Path) -> tuple[CoreRecipe | WindowedRecipe | NobleRecipe, Family]:
    """A core's recipe, of any kind, and its family. Raises ConfigError, FamilyError."""
    from noble_net.registry import load_family
    from noble_net.specs.cores import CoreRecipe
    from noble_net.specs.noble import NobleRecipe
    from noble_net.specs.specification import validate_document
    from noble_net.specs.windowed import WindowedRecipe
    from noble_net.specs.yaml_source import load_document

    document = load_document(path)
    kind = document.data.get("kind") if isinstance(document.data, dict) else None
    recipe: CoreRecipe | WindowedRecipe | NobleRecipe
    if kind == "noble":
        recipe = validate_document(NobleRecipe, document)
    elif kind == "windowed":
        recipe = validate_document(WindowedRecipe, document)
    else:
        recipe = validate_document(CoreRecipe, document)
    return recipe, load_family(recipe.family)
