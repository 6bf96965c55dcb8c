"""`noble-net run`, `compare` and `report`: networks and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from noble_net.commands.shared import Into, complain, console, progress
from noble_net.device.choice import Device, choose
from noble_net.ranks.environment import started

if TYPE_CHECKING:
    from noble_net.config import NetworkSpec

INTERRUPTED = 130


class Backend(StrEnum):
    """What simulates: the trained core, the exact cells in NEURON, CoreNEURON or Arbor, or those reduced to a point in
    Brian2."""

    surrogate = "surrogate"
    neuron = "neuron"
    coreneuron = "coreneuron"
    arbor = "arbor"
    brian2 = "brian2"


class Precision(StrEnum):
    """What a core with weights multiplies."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    int16 = "int16"


class Placement(StrEnum):
    """How synapses of a dendritic zone lie on the exact cells."""

    lumped = "lumped"
    points = "points"


class Codegen(StrEnum):
    """What Brian2 makes of the equations."""

    cython = "cython"
    numpy = "numpy"


def run(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A network file, the name of a shipped one, or a SONATA simulation config (.json).",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the run (default: a new one in runs/).")
    ] = None,
    backend: Annotated[Backend, typer.Option(help="What simulates.")] = Backend.surrogate,
    device: Annotated[
        Device, typer.Option(help="Where the surrogate runs; auto: on a GPU if PyTorch finds one.")
    ] = Device.cpu,
    seed: Annotated[int | None, typer.Option(help="Instead of the file's.")] = None,
    noise_seed: Annotated[
        int | None, typer.Option(help="Of the noise alone: same cells and edges, other noise.")
    ] = None,
    duration: Annotated[
        str | None, typer.Option(metavar="TIME", help="Instead of the file's, such as '500 ms'.")
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="Of the core's products, instead of the file's.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads (default: all cores).")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier run in the output folder.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the run in the output folder, or in FILE, that was cut short."
        ),
    ] = False,
    checkpoint_every: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Save the state so often in simulated time (default: every 10 s)."),
    ] = None,
    cell_types: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="What the cells of a SONATA circuit are (.csv or .yaml, see docs/sonata.md).",
        ),
    ] = None,
    codegen: Annotated[
        Codegen | None,
        typer.Option(help="Brian2: compiled (cython, default), or without a compiler and slower."),
    ] = None,
    placement: Annotated[
        Placement | None,
        typer.Option(
            help="NEURON: synapses on dendrites spread over their zone (default), or each at a point."
        ),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="NEURON: share the cells out over so many processes.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, describe, and say what a run would need.")
    ] = False,
) -> None:
    """Simulate a network; write spikes, voltages and a report."""
    if resume:
        file, out = _to_resume(file, out, backend, overwrite)
    if backend is not Backend.surrogate and device is Device.cuda:
        raise typer.BadParameter(f"the {backend} backend runs on CPUs", param_hint="--device")
    given: dict[str, Any] = {"placement": placement and placement.value, "processes": processes}
    exact = {name: value for name, value in given.items() if value is not None}
    if exact and backend is not Backend.neuron:
        raise typer.BadParameter("is for the neuron backend", param_hint=f"--{next(iter(exact))}")
    if codegen is not None and backend is not Backend.brian2:
        raise typer.BadParameter("is for the brian2 backend", param_hint="--codegen")
    if checkpoint_every is not None and backend is not Backend.surrogate:
        raise typer.BadParameter(f"the {backend} backend saves no state", param_hint="--checkpoint-every")
    if threads is not None and backend in (Backend.neuron, Backend.brian2):
        more = "; give --processes" if backend is Backend.neuron else ""
        raise typer.BadParameter(f"the {backend} backend runs on one{more}", param_hint="--threads")
    every = _time(checkpoint_every, "--checkpoint-every")
    changes = {
        "seed": seed,
        "noise_seed": noise_seed,
        "duration": duration,
        "precision": precision and precision.value,
    }
    if (ranks := started()) is not None:
        from noble_net.commands.ranks import run_on_ranks

        if resume and ranks.rank == 0:
            _tell_if_nothing_is_left(out)
        try:
            shared = run_on_ranks(
                ranks,
                lambda: _network(file, changes, cell_types),
                backend=backend,
                device=device,
                dry_run=dry_run,
                out=out,
                threads=threads,
                overwrite=overwrite,
                resume=resume,
                checkpoint_every=every,
            )
        except KeyboardInterrupt:
            complain("interrupted: --resume goes on from the last state saved, if there is one", kind="")
            raise typer.Exit(INTERRUPTED) from None
        if shared is not None:
            typer.echo(closing_line(shared.summary, shared.path))
        return
    spec, wanted = _network(file, changes, cell_types)
    from noble_net.run_directory import given_or_new
    from noble_net.simulation import describe

    if dry_run:
        _check(spec, backend, processes or 1)
        typer.echo(describe(spec))
        if backend is Backend.surrogate:
            from noble_net.rehearsal import expect

            if choose(device).torch is not None:
                typer.echo("on CPUs, which alone are rehearsed:")
            typer.echo(expect(spec, threads=threads))
        return
    folder = out or wanted
    if resume:
        _tell_if_nothing_is_left(folder)
    try:
        with ExitStack() as stack, progress(f"{spec.name} on {backend}") as update:
            folder = stack.enter_context(given_or_new(folder, spec.name))
            if backend is Backend.neuron:
                from noble_net.reference.neuron_network import simulate_neuron

                results = simulate_neuron(spec, out=folder, overwrite=overwrite, progress=update, **exact)
            elif backend is Backend.coreneuron:
                from noble_net.reference.coreneuron_network import simulate_coreneuron

                results = simulate_coreneuron(
                    spec, out=folder, threads=threads, overwrite=overwrite, progress=update
                )
            elif backend is Backend.arbor:
                from noble_net.reference.arbor_network import simulate_arbor

                results = simulate_arbor(
                    spec, out=folder, threads=threads, overwrite=overwrite, progress=update
                )
            elif backend is Backend.brian2:
                from noble_net.reference.brian_network import simulate_brian

                results = simulate_brian(
                    spec,
                    out=folder,
                    codegen=(codegen or Codegen.cython).value,
                    overwrite=overwrite,
                    progress=update,
                )
            else:
                from noble_net.simulation import simulate

                results = simulate(
                    spec,
                    out=folder,
                    threads=threads,
                    device=device,
                    overwrite=overwrite,
                    resume=resume,
                    checkpoint_every=every,
                    progress=update,
                )
    except KeyboardInterrupt:
        goes_on = ", --resume goes on" if backend is Backend.surrogate else ""
        begun = folder is not None and folder.is_dir()
        left = f"partial results in {folder}{goes_on}" if begun else "nothing was written yet"
        complain(f"interrupted: {left}", kind="")
        raise typer.Exit(INTERRUPTED) from None
    typer.echo(closing_line(results.summary, results.path))


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

    console(stderr=False).print(compare_runs(runs, out).table(), soft_wrap=True, markup=False)
    if out is not None:
        typer.echo(f"written to {out}")


def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]) -> None:
    """Write a run's report.html anew."""
    from noble_net.report.html import write_report

    typer.echo(write_report(run))


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


def _network(
    file: str, options: Mapping[str, Any], cell_types: Path | None
) -> tuple[NetworkSpec, Path | None]:
    """The network of a file, and the folder that the file wants its results in."""
    from noble_net.config import load_network
    from noble_net.registry import find_network

    given = {name: value for name, value in options.items() if value is not None}
    if file.endswith(".json"):
        from noble_net.sonata_in import load_simulation

        translation = load_simulation(file, cell_types, given)
        for note in translation.notes:
            complain(note, kind="note: ")
        return translation.network, translation.output
    if (Path(file) / "network.yaml").is_file():
        raise typer.BadParameter(
            f"{file} is the folder of a run. Add --resume to go on with it", param_hint="FILE"
        )
    if cell_types is not None:
        raise typer.BadParameter("is for SONATA simulation configs (.json)", param_hint="--cell-types")
    return load_network(find_network(file), given), None


def _check(spec: NetworkSpec, backend: Backend, processes: int) -> None:
    """Refuse a network that a reference does not hold."""
    if backend is Backend.neuron:
        from noble_net.reference import neuron_network

        neuron_network.check(spec, processes)
    elif backend is Backend.coreneuron:
        from noble_net.reference import coreneuron_network

        coreneuron_network.check(spec)
    elif backend is Backend.arbor:
        from noble_net.reference import arbor_network

        arbor_network.check(spec)
    elif backend is Backend.brian2:
        from noble_net.reference import brian_network

        brian_network.check(spec)


def _to_resume(file: str, out: Path | None, backend: Backend, overwrite: bool) -> tuple[str, Path | None]:
    """The network file and folder of a run to go on with: FILE may be the folder itself."""
    if overwrite:
        raise typer.BadParameter(
            "goes on with a run that --overwrite would remove; give one of the two", param_hint="--resume"
        )
    if backend is not Backend.surrogate:
        raise typer.BadParameter(
            f"the {backend} backend cannot go on with a run; run it anew", param_hint="--resume"
        )
    folder = Path(file)
    if folder.is_dir():
        if out is not None and out.resolve() != folder.resolve():
            raise typer.BadParameter(
                f"FILE is the run in {folder}, so --out cannot be {out}", param_hint="--out"
            )
        return str(folder / "network.yaml"), folder
    if out is None and not file.endswith(".json"):  # a SONATA config names a folder itself
        raise typer.BadParameter("give the folder of the run, as --out DIR or as FILE", param_hint="--resume")
    return file, out


def _tell_if_nothing_is_left(folder: Path | None) -> None:
    """Say that --resume starts a run anew, as it does where a folder's name is misspelt."""
    from noble_net.resuming import is_anything_left

    if folder is not None and not is_anything_left(folder):
        complain(f"there is nothing to go on with in {folder}: the run starts anew", kind="note: ")


def _time(text: str | None, option: str) -> float | None:
    """A time given as an option, ms."""
    if text is None:
        return None
    from noble_net.types import DT
    from noble_net.units import QuantityError, parse_quantity

    try:
        value, _ = parse_quantity(text, "ms")
    except QuantityError as error:
        raise typer.BadParameter(f"{text!r} {error.problem}; {error.remedy}", param_hint=option) from None
    if value < DT:
        raise typer.BadParameter(
            f"{text!r} is shorter than a sample; give {DT} ms or more", param_hint=option
        )
    return value
