"""`noble-net respond`: voltages, F–I curves and e-features of many cells under square steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from noble_net.commands.running import INTERRUPTED
from noble_net.commands.shared import Jobs, complain, progress

if TYPE_CHECKING:
    from noble_net.surrogate.step_core import StepCore
    from noble_net.types import CellTable

FEW = 64
"""Up to so many responses, starting processes takes longer than they save."""


def respond(
    core: Annotated[
        str,
        typer.Argument(
            metavar="CORE", help="A core: shipped, or its folder. With --backend neuron, a family."
        ),
    ],
    cells: Annotated[
        str,
        typer.Option(
            metavar="CELLS",
            help="members, train or held_out, all or so many (members:10); gaussian:100, kde:100, hull:50; "
            "circle:MEMBER:50 (a small circle around a member).",
        ),
    ] = "members:10",
    amplitudes: Annotated[
        str,
        typer.Option(metavar="STEPS", help="first:last:step or a list, such as '0.1, 0.2 nA'."),
    ] = "-0.1:0.4:0.05 nA",
    family: Annotated[
        str | None, typer.Option(metavar="FAMILY", help="Draw the cells from it instead of the core's own.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder to write to (default: a new one in runs/). Given one that was interrupted, goes on.",
        ),
    ] = None,
    backend: Annotated[
        Literal["surrogate", "neuron"],
        typer.Option(help="What answers: the core, or the exact cells in NEURON."),
    ] = "surrogate",
    voltage: Annotated[
        str,
        typer.Option(metavar="WHICH", help="Cells whose voltage is kept: none, all, or the first so many."),
    ] = "none",
    seed: Annotated[int, typer.Option(min=0, help="Of the draw of cells.")] = 1,
    jobs: Jobs = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Responses at a time (default: the core's own).")
    ] = None,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where a NOBLE core computes.")] = "cpu",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace other responses in the output folder.")
    ] = False,
) -> None:
    """Answer current steps: F–I curves, e-features.

    Writes responses.h5, features.csv and report.html. Goes on where it was interrupted.
    """
    from noble_net.processes import cores
    from noble_net.report.responses_page import write_responses_report
    from noble_net.responses.requests import parse_amplitudes
    from noble_net.responses.respond import WITHOUT_EFEL, Request, describe_request, save_responses
    from noble_net.run_directory import free_folder

    steps = parse_amplitudes(amplitudes)
    load, table = _what_answers(core, family, cells, seed, backend, device)
    request = Request(table, steps, kept_cells(voltage, table.size))
    if jobs is None:
        jobs = 1 if request.size <= FEW or device == "cuda" else cores()
    answerer = load()
    note = "" if request.names else f"Only spikes and rates are measured: {WITHOUT_EFEL}"
    folder = out or free_folder(Path("runs"), f"respond-{answerer.name}")
    try:
        with progress(describe_request(request, answerer)) as update:
            saved = save_responses(
                load, request, folder, batch=batch, jobs=jobs, overwrite=overwrite, progress=update
            )
            page = write_responses_report(saved, answerer, table, note)
    except KeyboardInterrupt:
        complain(f"interrupted: the same request with --out {folder} goes on from there", kind="")
        raise typer.Exit(INTERRUPTED) from None
    if note:
        typer.echo(note, err=True)
    typer.echo(f"{describe_request(request, answerer)}; report: {page}")


def _what_answers(
    core: str, family: str | None, cells: str, seed: int, backend: str, device: str
) -> tuple[Callable[[], StepCore], CellTable]:
    """What makes the thing that answers, in this or another process, and the cells asked for."""
    from noble_net.errors import NobleNetError
    from noble_net.registry import load_family, load_step_core
    from noble_net.responses.requests import choose_cells, default_cells

    if backend == "neuron":
        from noble_net.reference.exact_steps import load_exact_steps

        name = family or family_of(core)
        return partial(load_exact_steps, name), choose_cells(load_family(name), cells, seed)
    answerer = load_step_core(core, device)
    name = family or answerer.family
    load = partial(load_step_core, core, device)
    if not name:
        return load, default_cells(cells)
    try:
        drawn_from = load_family(name)
    except NobleNetError as error:
        hint = "" if family else ". Name the family of this core by --family (its CSV table)"
        raise NobleNetError(f"{error}{hint}") from error
    if drawn_from.hash != answerer.family_hash:
        raise NobleNetError(
            f"core {core} was trained on another family than {name} (or another version of it): leave --family out"
        )
    return load, choose_cells(drawn_from, cells, seed, tuple(getattr(answerer, "features", ())))


def family_of(core: str) -> str:
    """The family of a core, or the name itself where it is a family's."""
    from noble_net.registry import load_step_core, shipped

    if core in shipped()["families"] or core.endswith(".csv"):
        return core
    return load_step_core(core).family


def kept_cells(text: str, cells: int) -> tuple[int, ...]:
    """The cells whose voltage is kept: none, all, or the first so many."""
    if text == "none":
        return ()
    if text == "all":
        return tuple(range(cells))
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is none of none, all, a number", param_hint="--voltage")
    return tuple(range(min(int(text), cells)))
