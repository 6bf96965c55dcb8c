"""`noble-net fit`: a cell's code from a recording, or from its features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noble_net.commands.shared import progress

if TYPE_CHECKING:
    from noble_net.fitting import CellFit


def fit(
    recording: Annotated[
        Path | None,
        typer.Argument(metavar="[RECORDING]", help="Voltage and current of a cell (.h5, .nwb, .csv)."),
    ] = None,
    core: Annotated[
        str, typer.Option(metavar="CORE", help="The core to fit: shipped, or its folder.")
    ] = "pv-stream",
    features: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Features instead of a recording (CSV: name, value)."),
    ] = None,
    sweeps: Annotated[str, typer.Option(metavar="NAMES", help="Read these sweeps alone: 3,5,8.")] = "",
    hold_out: Annotated[
        str, typer.Option(metavar="NAMES", help="Sweeps to check the fit on, not fitted.")
    ] = "",
    junction_potential: Annotated[
        str,
        typer.Option(metavar="MV", help="Added to the recorded voltage; Allen families: '-14 mV'."),
    ] = "0 mV",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write to (default: a new one in runs/).")
    ] = None,
    starts: Annotated[int, typer.Option(min=1, max=100, help="Starts of the optimiser.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Of starts and draws.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of PyTorch.")] = None,
    *,
    context: typer.Context,
) -> None:
    """Fit a cell's code to a recording, with its uncertainty.

    Writes fit.json, cells.h5 and network.yaml, which put the cell into networks, and report.html.
    """
    from noble_net.fitting.output import FILES, write_fit
    from noble_net.output import claim_folder
    from noble_net.run_directory import given_or_new

    stem = (features or recording or Path("cell")).stem
    if out is not None:
        claim_folder(out, FILES, "fit")
    if features is not None and recording is None:
        _refuse_of_recordings(context)
        found = _from_features(features, core, seed)
    elif recording is not None and features is None:
        from noble_net.fitting import fit_recording, read_recording

        read = read_recording(
            recording, sweeps=_names(sweeps) or None, junction_potential=_millivolts(junction_potential)
        )
        with progress(f"fitting {recording.name}") as update:
            found = fit_recording(
                read,
                core,
                hold_out=_names(hold_out),
                starts=starts,
                seed=seed,
                threads=threads,
                progress=update,
            )
    else:
        raise typer.BadParameter("give a recording, or --features TABLE", param_hint="RECORDING")
    with given_or_new(out, f"fit-{stem}") as folder:
        page = write_fit(found, folder)
    for line in closing_lines(found):
        typer.echo(line)
    typer.echo(f"report: {page}")


def closing_lines(found: CellFit) -> list[str]:
    """What a fit gives at its end: what was learned, the cell's F–I threshold and slope, how it runs free."""
    learned = sorted(zip(found.shrinkage, found.family.parameter_names, strict=True))
    names = ", ".join(f"{name} ({share:.0%})" for share, name in learned if share < 0.5) or "nothing"
    lines = [f"warning: {each}" for each in found.warnings]
    lines.append(f"known better than half of the family's uncertainty: {names}")
    units = {"I_thr": "nA", "s_thr": "Hz/nA"}
    for name, unit in units.items():
        each = found.features[name]
        lines.append(f"{name} {each.mean:.3g} {unit} (90 %: {each.low:.3g} to {each.high:.3g})")
    for name, check in found.checks.items():
        measures = check.measures
        lines.append(
            f"free-running, {name}: Γ {measures['gamma']:.3f}, clipped RMSE {measures['clipped_rmse_mV']:.2f} mV, "
            f"{measures['rate_hz']:.1f} Hz (recorded {measures['rate_hz_recorded']:.1f})"
        )
    return lines


def _refuse_of_recordings(context: typer.Context) -> None:
    """Options that only mean something with a recording are not dropped in silence."""
    for name in ("sweeps", "hold_out", "junction_potential", "starts", "threads"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise typer.BadParameter("is for a recording; features are taken as they are", param_hint=option)


def _from_features(table: Path, core: str, seed: int) -> CellFit:
    from noble_net.errors import NobleNetError
    from noble_net.fitting import fit_features
    from noble_net.fitting.fit import core_to_fit
    from noble_net.fitting.from_features import read_features
    from noble_net.registry import family_of

    if family_of(core) is None:
        raise NobleNetError(f"core {core} has no family: give one that has, such as pv-stream")
    return fit_features(read_features(table), core_to_fit(core)[1], seed=seed)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _millivolts(text: str) -> float:
    from noble_net.units import QuantityError, parse_quantity

    try:
        return parse_quantity(text, "mV")[0]
    except QuantityError as error:
        raise typer.BadParameter(
            f"{text!r} {error.problem}; {error.remedy}", param_hint="--junction-potential"
        ) from None
