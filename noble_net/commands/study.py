"""`noble-net study`: heterogeneity of single cells and of networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from noble_net.commands.running import INTERRUPTED
from noble_net.commands.shared import Jobs, complain, progress


def study(
    file: Annotated[str, typer.Argument(metavar="STUDY", help="A study file, or the name of a shipped one.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the study (default: runs/, by its name). Goes on in it."),
    ] = None,
    jobs: Jobs = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results of another study in the folder.")
    ] = False,
) -> None:
    """Run a study of heterogeneity; write study.csv and report.html.

    Maps of e-features over a family's latent space, or a network from identical cells to the family's own spread. Goes
    on where it was interrupted.
    """
    from noble_net.registry import find_study
    from noble_net.specs.studies import load_study
    from noble_net.study.run import run_study

    spec = load_study(find_study(file))
    folder = out or Path("runs") / spec.name
    try:
        with progress(f"study {spec.name}") as update:
            page = run_study(spec, folder, jobs=jobs, overwrite=overwrite, progress=update)
    except KeyboardInterrupt:
        complain(f"interrupted: the same study with --out {folder} goes on from there", kind="")
        raise typer.Exit(INTERRUPTED) from None
    typer.echo(f"study {spec.name}: report: {page}")
