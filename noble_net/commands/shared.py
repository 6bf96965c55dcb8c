"""What commands share: progress bars, messages, reading recipes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel

    AnyRecipe = TypeVar("AnyRecipe", bound=BaseModel)

Progress = Callable[..., None]
"""Called with (done, total) and, in training, the recent loss."""

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe (YAML).")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Processes (default: one per core).")]
Into = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder to write to.")]


def read_recipe(path: Path, model: type[AnyRecipe]) -> AnyRecipe:
    """The recipe in a file. Raises ConfigError."""
    from noble_net.specs.specification import validate_document
    from noble_net.specs.yaml_source import load_document

    return validate_document(model, load_document(path))


def folder_of(out: Path | None, recipe: Path, kind: str) -> Path:
    """Where a recipe's product goes: beside a folder `recipes` in a folder of its kind, else beside it."""
    from noble_net.output import saving

    home = recipe.resolve().parent
    folder = out or (home.parent / kind if home.name == "recipes" else home)
    with saving(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def console(*, stderr: bool) -> Any:
    """A terminal to print on."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def complain(message: str, kind: str = "error: ") -> None:
    """Print a message on stderr; never wrapped, so that paths stay whole."""
    from rich.text import Text

    console(stderr=True).print(Text(kind, style="bold red").append(message, style="default"), soft_wrap=True)


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """A progress bar with the time left, on stderr; nothing where stderr is no terminal."""
    from rich.progress import (
        BarColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    terminal = console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def update(done: float, total: float, loss: float | None = None) -> None:
            shown = title if loss is None else f"{title} (loss {loss:.4g})"
            bar.update(task, completed=done, total=total, description=shown)

        yield update
