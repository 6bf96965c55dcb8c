"""`noble-net bench`: how fast cores and networks run here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import typer

from noble_net.commands.shared import Into, progress

Value = TypeVar("Value")


def bench(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="WHAT...", help="Cores and networks: shipped, checkpoint folders, network files."
        ),
    ],
    cells: Annotated[
        str | None,
        typer.Option(metavar="N,…", help="Cells (default: 1000 of a core, as in the file of a network)."),
    ] = None,
    threads: Annotated[str | None, typer.Option(metavar="N,…", help="Threads (default: all cores).")] = None,
    precision: Annotated[
        str, typer.Option(metavar="P,…", help="Of products: float32, bfloat16, int16.")
    ] = "float32",
    block: Annotated[
        str | None,
        typer.Option(metavar="TIME,…", help="Blocks (default: 1 ms of a core, the longest of a network)."),
    ] = None,
    indegree: Annotated[
        str, typer.Option(metavar="X,…", help="Networks: times the file's synapses on every cell.")
    ] = "1",
    batch: Annotated[
        str | None, typer.Option(metavar="N,…", help="Networks: cells a call of a core (default: all).")
    ] = None,
    duration: Annotated[
        str, typer.Option(metavar="TIME,…", help="Networks: simulated time of a timed stretch.")
    ] = "200 ms",
    repeats: Annotated[int, typer.Option(min=1, help="Timed stretches, of which the median counts.")] = 5,
    out: Into = None,
) -> None:
    """Time cores and networks.

    Every combination of what is given with commas, in turns. A core's cost stands beside the floor that this machine's
    own rate of products and bytes sets. Networks grow and shrink with as many synapses on every cell; from several
    sizes follows how the cost grows.
    """
    from noble_net.bench import cores, networks
    from noble_net.bench.page import cores_table, network_table, write_bench
    from noble_net.config import load_network
    from noble_net.output import saving
    from noble_net.registry import find_network, shipped

    if out is not None:
        with saving(out):
            out.mkdir(parents=True, exist_ok=True)
    several: dict[str, Any] = {
        "threads": _all(threads, "--threads", _threads) if threads else [_cores()],
        "precision": _all(precision, "--precision", _precision),
    }
    blocks = _all(block, "--block", _time) if block else None
    sizes = _all(cells, "--cells", _count) if cells else None
    times = _all(duration, "--duration", _time)
    degrees, batches = (
        _all(indegree, "--indegree", _factor),
        _all(batch, "--batch", _count) if batch else None,
    )
    known = shipped()["cores"]
    asked = [each for each in what if each in known or (Path(each) / "core.json").is_file()]
    specs = {name: load_network(find_network(name)) for name in what if name not in asked}
    costs = []
    if asked:
        wanted = cores.settings_of(asked, cells=sizes or [1000], block=blocks or [1.0], **several)
        with progress("cores") as update:
            costs = cores.core_costs(wanted, repeats, update)
        typer.echo(cores_table(costs))
    runs = {}
    for spec in specs.values():
        settings = networks.settings_of(
            cells=sizes or [None],
            indegree=degrees,
            block=blocks or [None],
            batch=batches or [None],
            duration=times,
            **several,
        )
        with progress(spec.name) as update:
            runs[spec.name] = networks.run_network(spec, settings, repeats, update)
        typer.echo(f"{spec.name}\n{network_table(runs[spec.name])}")
    if out is not None:
        write_bench(out, costs, runs)
        typer.echo(f"written to {out}")


def _all(text: str, option: str, of: Callable[[str], Value]) -> list[Value]:
    """The values of a list with commas."""
    try:
        found = [of(part.strip()) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: {error}", param_hint=option) from None
    return list(dict.fromkeys(found))


def _count(text: str) -> int:
    value = float(text.replace("_", ""))
    if not value.is_integer() or value < 1:
        raise ValueError(f"{text} is not a whole number of 1 or more")
    return int(value)


def _threads(text: str) -> int:
    value = _count(text)
    if value > _cores():
        raise ValueError(f"{text} threads on {_cores()} cores")
    return value


def _factor(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < 1e6:
        raise ValueError(f"{text} is not a factor of 0 or more")
    return value


def _precision(text: str) -> str:
    from noble_net.types import Precision

    if text not in get_args(Precision):
        raise ValueError(f"{text} is none of {', '.join(get_args(Precision))}")
    return text


def _time(text: str) -> float:
    from noble_net.types import DT
    from noble_net.units import QuantityError, parse_quantity

    try:
        value, _ = parse_quantity(text, "ms")
    except QuantityError as error:
        raise ValueError(f"{text} {error.problem}; {error.remedy}") from None
    if value < DT:
        raise ValueError(f"{text} is shorter than a sample, {DT} ms")
    if abs(value / DT - round(value / DT)) > 1e-6:
        raise ValueError(f"{text} is not a multiple of a sample, {DT} ms")
    return value


def _cores() -> int:
    import numba

    return numba.get_num_threads()
