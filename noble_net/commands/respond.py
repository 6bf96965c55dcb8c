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
    from noble_net.cells.family import Family
    from noble_net.cells.latent_space import Outside
    from noble_net.responses.domain import Domain
    from noble_net.surrogate.step_core import StepCore
    from noble_net.types import CellTable

STEPS = "-0.1:0.4:0.05 nA"
"""Asked for unless others are, as far as the core was trained on them."""
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
        str | None,
        typer.Option(
            metavar="CELLS",
            help="members, train or held_out, all or so many (members:10); gaussian:100, kde:100, hull:50; "
            "circle:MEMBER:50 (a small circle around a member). Default: members:10, of a NOBLE core train:10.",
        ),
    ] = None,
    amplitudes: Annotated[
        str | None,
        typer.Option(
            metavar="STEPS",
            help="first:last:step or a list, such as '0.1, 0.2 nA'. Default: what the core was trained on of "
            f"{STEPS}.",
        ),
    ] = None,
    outside: Annotated[
        Literal["warn", "fail", "allow"] | None,
        typer.Option(
            help="What to do about cells outside the hull of the members the core was trained on, and about steps "
            "beyond those. Default: warn; about cells drawn for a network's core, allow.",
        ),
    ] = None,
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
    from noble_net.run_directory import given_or_new

    steps = parse_amplitudes(STEPS if amplitudes is None else amplitudes)
    load, drawn_from, domain = _what_answers(core, family, backend, device)
    steps = domain.within(steps) if amplitudes is None else steps
    table = _cells(drawn_from, domain, cells, seed, outside)
    request = Request(table, steps, kept_cells(voltage, table.size))
    if jobs is None:
        jobs = 1 if request.size <= FEW or device == "cuda" else cores()
    beyond = domain.check(drawn_from, table, steps, outside or "warn")
    answerer = load()
    note = "" if request.names else f"Only spikes and rates are measured: {WITHOUT_EFEL}"
    with given_or_new(out, f"respond-{answerer.name}") as folder:
        try:
            with progress(describe_request(request, answerer)) as update:
                saved = save_responses(
                    load, request, folder, batch=batch, jobs=jobs, overwrite=overwrite, progress=update
                )
                page = write_responses_report(
                    saved, answerer, table, ". ".join(filter(None, [*beyond, note]))
                )
        except KeyboardInterrupt:
            complain(f"interrupted: the same request with --out {folder} goes on from there", kind="")
            raise typer.Exit(INTERRUPTED) from None
    if note:
        typer.echo(note, err=True)
    typer.echo(f"{describe_request(request, answerer)}; report: {page}")


def _what_answers(
    core: str, family: str | None, backend: str, device: str
) -> tuple[Callable[[], StepCore], Family | None, Domain]:
    """What makes the thing that answers, in this or another process, the family of its cells, and its domain."""
    from noble_net.errors import NobleNetError
    from noble_net.registry import checkpoint_folder, load_family, load_step_core
    from noble_net.responses.domain import Domain

    if backend == "neuron":
        from noble_net.reference.exact_steps import load_exact_steps

        name = family or family_of(core)
        return partial(load_exact_steps, name), load_family(name), Domain(backend)
    answerer = load_step_core(core, device)
    name = family or answerer.family
    load = partial(load_step_core, core, device)
    if not name:
        return load, None, Domain.of(answerer)
    try:
        drawn_from = load_family(name)
    except NobleNetError as error:
        hint = "" if family else ". Name the family of this core by --family (its CSV table)"
        raise NobleNetError(f"{error}{hint}") from error
    if drawn_from.hash != answerer.family_hash:
        raise NobleNetError(
            f"core {core} was trained on another family than {name} (or another version of it): leave --family out"
        )
    return load, drawn_from, Domain.of(answerer, checkpoint_folder(core), drawn_from)


def _cells(
    family: Family | None, domain: Domain, cells: str | None, seed: int, outside: Outside | None
) -> CellTable:
    """The cells asked for; by default some that the core was trained on, where it says which."""
    from noble_net.responses.requests import choose_cells, default_cells

    if cells is None:
        cells = "train:10" if domain.members else "members:10"
    if family is None:
        return default_cells(cells)
    return choose_cells(
        family, cells, seed, domain.features, trained_on=domain.members, outside=outside or "allow"
    )


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
