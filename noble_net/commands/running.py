"""`noble-net run`, `compare` and `report`: networks and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from noble_net.commands.shared import Into, Progress, complain, console, progress

if TYPE_CHECKING:
    from noble_net.config import NetworkSpec
    from noble_net.results import Results

INTERRUPTED = 130


class Backend(StrEnum):
    """What simulates: the trained core, or the exact cells in NEURON."""

    surrogate = "surrogate"
    neuron = "neuron"


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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, describe, and say what a run would need.")
    ] = False,
) -> None:
    """Simulate a network; write spikes, voltages and a report."""
    spec = _network(file, {"seed": seed, "noise_seed": noise_seed, "duration": duration})
    from noble_net.simulation import default_run_directory, describe

    if dry_run:
        typer.echo(describe(spec))
        if backend is Backend.surrogate:
            from noble_net.rehearsal import expect

            typer.echo(expect(spec, threads=threads))
        return
    folder = out or default_run_directory(spec)
    try:
        with progress(f"{spec.name} on {backend}") as update:
            results = _simulate(spec, backend, folder, threads, overwrite, update)
    except KeyboardInterrupt:
        left = f"partial results in {folder}" if folder.is_dir() else "nothing was written yet"
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
