"""The command line: thin commands over the Python API, each importing what it needs when it runs.

Results go to stdout; progress and errors go to stderr. Exit codes: 0 done, 1 a validation that
does not hold, 2 wrong input or usage (a message, no traceback), 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from noble_net.commands.bench import bench
from noble_net.commands.fit import fit
from noble_net.commands.making import dataset, evaluate, family, make, train
from noble_net.commands.respond import respond
from noble_net.commands.running import INTERRUPTED, compare, report, run
from noble_net.commands.shared import complain
from noble_net.commands.study import study
from noble_net.commands.validate import validate
from noble_net.errors import NobleNetError, NobleNetWarning

WRONG_INPUT = 2


class _Reporting(TyperGroup):
    """A group of commands whose foreseen errors become one message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _tell(warnings.showwarning)
                return super().invoke(ctx)
        except NobleNetError as error:
            complain(str(error))
            raise typer.Exit(WRONG_INPUT) from error
        except MemoryError as error:
            complain("not enough memory: make the network smaller, or record fewer cells")
            raise typer.Exit(WRONG_INPUT) from error
        except KeyboardInterrupt as error:
            complain("interrupted", kind="")
            raise typer.Exit(INTERRUPTED) from error


def _tell(otherwise: Callable[..., None]) -> Callable[..., None]:
    """Show our own warnings as messages, others as before."""

    def show(message: Warning | str, *where: Any, **more: Any) -> None:
        if isinstance(message, NobleNetWarning):
            complain(str(message), kind="warning: ")
        else:
            otherwise(message, *where, **more)

    return show


app = typer.Typer(
    name="noble-net",
    cls=_Reporting,
    help="Simulate networks of real, heterogeneous neurons on a trained surrogate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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


COMMANDS = (
    run, compare, validate, report, respond, fit, study, bench, family, make, dataset, train, evaluate,
)  # fmt: skip
for command in COMMANDS:
    app.command()(command)


@app.command("list")
def list_shipped() -> None:
    """List the cores, families and networks shipped."""
    from noble_net.registry import shipped

    for kind, names in shipped().items():
        typer.echo(f"{kind}: {', '.join(names) or 'none'}")


@app.command()
def schema(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="As a page for people: docs/network-file.md.")
    ] = False,
) -> None:
    """Print the JSON schema of the network file, for editors."""
    import json

    from noble_net.config import json_schema
    from noble_net.specs.schema_page import schema_page

    typer.echo(schema_page(json_schema()) if markdown else json.dumps(json_schema(), indent=2))


def main() -> None:
    """Entry point of the `noble-net` command."""
    app(prog_name="noble-net")
