"""`noble-net validate`: a network on surrogate cores held against a reference."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from noble_net.commands.running import INTERRUPTED
from noble_net.commands.shared import Jobs, complain, progress

if TYPE_CHECKING:
    from noble_net.specs.validation import ValidationSpec
    from noble_net.validation.validate import Validation

DOES_NOT_HOLD = 1


class Reference(StrEnum):
    """What a network can be held against."""

    neuron = "neuron"
    coreneuron = "coreneuron"


def validate(
    network: Annotated[
        str, typer.Argument(metavar="NETWORK", help="A network file, or the name of a shipped one.")
    ],
    reference: Annotated[Reference, typer.Option(help="What to hold it against.")] = Reference.neuron,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of the validation (default: runs/validate-…). Goes on in it."
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=2, help="Noise seeds 1 to N (default: 5).")] = None,
    fine_seeds: Annotated[
        int | None, typer.Option(min=0, help="So many of them at a fifth of the step, too (default: 1).")
    ] = None,
    duration: Annotated[
        str | None, typer.Option(metavar="TIME", help="Counted of each run (default: 5 s).")
    ] = None,
    warmup: Annotated[
        str | None, typer.Option(metavar="TIME", help="Simulated before and dropped (default: 1 s).")
    ] = None,
    replay: Annotated[bool, typer.Option(help="Replay the reference's input into single cells.")] = True,
    changes: Annotated[bool, typer.Option(help="Change input, inhibition and mix of cells.")] = True,
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="All settings (YAML, see docs/validation.md).")
    ] = None,
    reference_data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of reference runs: read first, and added to."),
    ] = None,
    jobs: Jobs = None,
) -> None:
    """Hold a network against the same one in NEURON; report.

    Both sides are run, measured and judged, and validation.json and report.html are written: rates, regularity,
    correlations and rhythm, single cells under the reference's input, responses to changes. Goes on where it was
    interrupted. Ends with exit code 1 if the network does not hold.
    """
    from noble_net.config import load_network
    from noble_net.registry import find_network
    from noble_net.validation.validate import PAGE
    from noble_net.validation.validate import validate as run

    options: dict[str, Any] = {
        "seeds": None if seeds is None else list(range(1, seeds + 1)),
        "fine_seeds": fine_seeds,
        "duration": duration,
        "warmup": warmup,
        "replay": None if replay else False,
        "changes": None if changes else False,
    }
    wanted = _settings(settings, {name: value for name, value in options.items() if value is not None})
    spec = load_network(find_network(network))
    folder = out or Path("runs") / f"validate-{spec.name}"
    try:
        with progress(f"{spec.name} against {reference}") as update:
            found = run(
                spec,
                reference.value,
                out=folder,
                settings=wanted,
                reference_data=reference_data,
                jobs=jobs,
                progress=update,
            )
    except KeyboardInterrupt:
        complain(f"interrupted: the same validation with --out {folder} goes on from there", kind="")
        raise typer.Exit(INTERRUPTED) from None
    for line in closing_lines(found):
        typer.echo(line)
    typer.echo(f"report: {folder / PAGE}")
    if not found.holds:
        raise typer.Exit(DOES_NOT_HOLD)


def closing_lines(found: Validation) -> list[str]:
    """What a validation gives at its end: whether it holds, and each verdict that fails."""
    judged = [each for each in found.verdicts if each.holds is not None]
    good = sum(bool(each.holds) for each in judged)
    word = "holds" if found.holds else "does not hold"
    name, reference = found.plan.network.name, found.reference.name
    failing = [
        f"  {each.population}, {each.measure}: {each.value:.4g}, limit {each.limit:.4g} {each.unit}".rstrip()
        + f" ({each.yardstick})"
        for each in judged
        if not each.holds
    ]
    return [f"{name} against {reference}: {word}, {good} of {len(judged)} verdicts", *failing]


def _settings(file: Path | None, options: dict[str, Any]) -> ValidationSpec:
    """The settings of a file, or the defaults, with what options say in their place."""
    from noble_net.specs.validation import load_settings, settings_from

    base = None if file is None else load_settings(file)
    if not options:
        return base or settings_from({})
    for part in ("replay", "changes"):
        if part in options:
            options[part] = None
    data: dict[str, Any] = {} if base is None else base.model_dump(mode="json", by_alias=True)
    return settings_from({**data, **options})
