"""The command line: thin commands over the Python API, each importing what it needs when it runs.

Results go to stdout; progress and errors go to stderr. Exit codes: 0 done, 2 wrong input or usage (a message,
no traceback), 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from noble_net.errors import NobleNetError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from noble_net.cells.family import Family
    from noble_net.config import NetworkSpec
    from noble_net.recipes import CoreRecipe
    from noble_net.results import Results

    AnyRecipe = TypeVar("AnyRecipe", bound=BaseModel)

Progress = Callable[..., None]
"""Called with (done, total) and, in training, the recent loss."""

WRONG_INPUT = 2
INTERRUPTED = 130


class _Reporting(TyperGroup):
    """A group of commands whose foreseen errors become one message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except NobleNetError as error:
            _complain(str(error))
            raise typer.Exit(WRONG_INPUT) from error
        except MemoryError as error:
            _complain("not enough memory: make the network smaller, or record fewer cells")
            raise typer.Exit(WRONG_INPUT) from error
        except KeyboardInterrupt as error:
            _complain("interrupted", kind="")
            raise typer.Exit(INTERRUPTED) from error


app = typer.Typer(
    name="noble-net",
    cls=_Reporting,
    help="Simulate networks of real, heterogeneous neurons on a trained surrogate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Backend(StrEnum):
    """What simulates: the trained core, or the exact cells in NEURON."""

    surrogate = "surrogate"
    neuron = "neuron"


RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe (YAML).")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Processes (default: one per core).")]
Into = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder to write to.")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"noble-net {version('noble-net')}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Simulate networks of real, heterogeneous neurons on a trained surrogate."""


@app.command()
def run(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A network file, or the name of a shipped one.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the run (default: a new one in runs/).")
    ] = None,
    backend: Annotated[Backend, typer.Option(help="What simulates.")] = Backend.surrogate,
    seed: Annotated[int | None, typer.Option(help="Instead of the file's.")] = None,
    noise_seed: Annotated[
        int | None, typer.Option(help="Of the noise alone: same cells and edges, other noise.")
    ] = None,
    duration: Annotated[
        str | None, typer.Option(metavar="TIME", help="Instead of the file's, such as '500 ms'.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads (default: all cores).")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier run in the output folder.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and describe, simulate nothing.")] = False,
) -> None:
    """Simulate a network; write spikes, voltages and a report."""
    spec = _network(file, {"seed": seed, "noise_seed": noise_seed, "duration": duration})
    from noble_net.simulation import default_run_directory, describe

    if dry_run:
        typer.echo(describe(spec))
        return
    folder = out or default_run_directory(spec)
    try:
        with _progress(f"{spec.name} on {backend}") as progress:
            results = _simulate(spec, backend, folder, threads, overwrite, progress)
    except KeyboardInterrupt:
        left = f"partial results in {folder}" if folder.is_dir() else "nothing was written yet"
        _complain(f"interrupted: {left}", kind="")
        raise typer.Exit(INTERRUPTED) from None
    typer.echo(closing_line(results.summary, results.path))


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN_A RUN_B...", help="Folders of two or more runs.")
    ],
    out: Into = None,
) -> None:
    """Say how far apart runs of a network are.

    Compares rates, regularity and correlations, each with its earth mover's distance.
    """
    if len(runs) < 2:
        raise typer.BadParameter("give two runs or more", param_hint="RUN_A RUN_B...")
    from noble_net.report.compare import compare_runs

    _console(stderr=False).print(compare_runs(runs, out).table(), soft_wrap=True, markup=False)
    if out is not None:
        typer.echo(f"written to {out}")


@app.command()
def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]) -> None:
    """Write a run's report.html anew."""
    from noble_net.report.html import write_report

    typer.echo(write_report(run))


@app.command()
def family(recipe: RecipeFile, jobs: Jobs = None, out: Into = None) -> None:
    """Make a cell family.

    Draws members, solves them in NEURON and measures their features.
    """
    from noble_net.recipes import FamilyRecipe

    wanted = _recipe(recipe, FamilyRecipe)
    from noble_net.cells.build import build_family

    folder = _folder(out, recipe, "families")
    with _progress(f"family {wanted.name}") as progress:
        typer.echo(build_family(wanted, folder, jobs, progress))


@app.command()
def dataset(recipe: RecipeFile, jobs: Jobs = None) -> None:
    """Make the dataset of a core.

    Runs the members of its family in NEURON. Goes on where it was interrupted.
    """
    wanted, cells = _core_recipe(recipe)
    from noble_net.training.dataset import build_dataset

    with _progress(f"dataset of {wanted.name}") as progress:
        typer.echo(build_dataset(wanted, cells, jobs, progress))


@app.command()
def train(recipe: RecipeFile, out: Into = None) -> None:
    """Train a core on its dataset.

    Goes on where it was interrupted.
    """
    wanted, cells = _core_recipe(recipe)
    from noble_net.training.train import train_core

    folder = _folder(out, recipe, "checkpoints")
    with _progress(f"training {wanted.name}") as progress:
        typer.echo(train_core(wanted, cells, folder, progress))


@app.command()
def evaluate(recipe: RecipeFile, out: Into = None) -> None:
    """Measure a trained core against NEURON.

    The inputs are the dataset's held-out ones; the tables go beside the checkpoint.
    """
    wanted, cells = _core_recipe(recipe)
    from noble_net.registry import load_core
    from noble_net.training.evaluate import evaluate_core, write_accuracy

    folder = _folder(out, recipe, "checkpoints") / wanted.name
    core = load_core(str(folder))
    with _progress(f"evaluating {wanted.name}") as progress:
        typer.echo(write_accuracy(evaluate_core(wanted, cells, core, progress), folder, cells, wanted.notes))


@app.command("list")
def list_shipped() -> None:
    """List the cores, families and networks shipped."""
    from noble_net.registry import shipped

    for kind, names in shipped().items():
        typer.echo(f"{kind}: {', '.join(names) or 'none'}")


@app.command()
def schema() -> None:
    """Print the JSON schema of the network file, for editors."""
    import json

    from noble_net.config import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


def main() -> None:
    """Entry point of the `noble-net` command."""
    app(prog_name="noble-net")


def closing_line(summary: Mapping[str, Any], folder: Path) -> str:
    """What a run gives at its end: spikes, rates, wall time, cells in real time, where to look."""
    rates = ", ".join(f"{name} {each['rate_hz']:.1f} Hz" for name, each in summary["populations"].items())
    seconds, wall = summary["simulated_ms"] / 1000.0, summary["timings_s"]["run"]
    page = folder / "report.html"
    return (
        f"{summary['name']}: {summary['spikes']:,} spikes in {seconds:g} s ({rates}); "
        f"ran in {wall:.1f} s, {summary['cells_in_real_time']:,.0f} cells in real time; "
        f"{'report: ' if page.exists() else 'results: '}{page if page.exists() else folder}"
    )


def _network(file: str, options: Mapping[str, Any]) -> NetworkSpec:
    from noble_net.config import load_network
    from noble_net.registry import find_network

    given = {name: value for name, value in options.items() if value is not None}
    return load_network(find_network(file), given)


def _simulate(
    spec: NetworkSpec,
    backend: Backend,
    folder: Path,
    threads: int | None,
    overwrite: bool,
    progress: Progress,
) -> Results:
    if backend is Backend.neuron:
        from noble_net.reference.neuron_network import simulate_neuron

        return simulate_neuron(spec, out=folder, overwrite=overwrite, progress=progress)
    from noble_net.simulation import simulate

    return simulate(spec, out=folder, threads=threads, overwrite=overwrite, progress=progress)


def _recipe(path: Path, model: type[AnyRecipe]) -> AnyRecipe:
    from noble_net.specification import validate_document
    from noble_net.yaml_source import load_document

    return validate_document(model, load_document(path))


def _core_recipe(path: Path) -> tuple[CoreRecipe, Family]:
    from noble_net.recipes import CoreRecipe
    from noble_net.registry import load_family

    recipe = _recipe(path, CoreRecipe)
    return recipe, load_family(recipe.family)


def _folder(out: Path | None, recipe: Path, kind: str) -> Path:
    """Where a recipe's product goes: beside a folder `recipes` in a folder of its kind, else beside it."""
    from noble_net.output import saving

    home = recipe.resolve().parent
    folder = out or (home.parent / kind if home.name == "recipes" else home)
    with saving(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _console(*, stderr: bool) -> Any:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def _complain(message: str, kind: str = "error: ") -> None:
    """Print a message on stderr; never wrapped, so that paths stay whole."""
    from rich.text import Text

    _console(stderr=True).print(Text(kind, style="bold red").append(message, style="default"), soft_wrap=True)


@contextmanager
def _progress(title: str) -> Iterator[Progress]:
    """A progress bar with the time left, on stderr; nothing where stderr is no terminal."""
    from rich.progress import (
        BarColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    console = _console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def update(done: float, total: float, loss: float | None = None) -> None:
            shown = title if loss is None else f"{title} (loss {loss:.4g})"
            bar.update(task, completed=done, total=total, description=shown)

        yield update
