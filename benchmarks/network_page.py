"""The results in docs/validation.md: a table and a figure for every network, of what network.py left in results/.

    python benchmarks/network_page.py     network.py does the same at its end

Every figure carries the check sum of the numbers it was made from, by which a test knows that it is of these.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scoreboard import RESULTS, ROOT, write_between

from noble_net.report import plots
from noble_net.validation.backends import CALLED
from noble_net.validation.figures import INKS
from noble_net.validation.plan import BASE, REFERENCE, SURROGATE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = ROOT / "docs/validation.md"
SOURCE = "Source"
"""Key of a figure's check sum in its PNG file."""
MEASURES = {"rate": "rate (Hz)", "cv": "CV of intervals", "correlation": "correlation"}
Found = Mapping[str, Any]
"""A validation as network.py leaves it: `noble_net.validation.validate.Validation.to_json`."""


def write() -> None:
    """Draw the figures and put the section into the page."""
    for found in validations():
        draw(found)
    write_between(PAGE, section())


def validations() -> list[Found]:
    """All that was found, by name."""
    contents = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json")))
    return [each for each in contents if isinstance(each, dict) and "verdicts" in each]


def section() -> str:
    """The section as Markdown."""
    return "\n\n".join(block for found in validations() for block in blocks(found))


def blocks(found: Found) -> Iterator[str]:
    """Heading, conditions, table, figure."""
    settings, judged = found["settings"], [each for each in found["verdicts"] if each["holds"] is not None]
    good, step = sum(each["holds"] for each in judged), found["backends"][REFERENCE]["step_ms"]
    yield f"### {found['network']}: {good} of {len(judged)} hold"
    duration, warmup = seconds(settings["duration"]), seconds(settings["warmup"])
    name = CALLED[found["reference"]]
    told = f"{len(settings['seeds'])} noise seeds of {duration} after {warmup}, {name} at {step:g} ms."
    if not settings["fine_seeds"]:
        told += f" {name} was not run at a finer step, so no limit has a part of that."
    if not settings["replay"] and not settings["changes"]:
        told += " Neither replayed nor changed."
    yield told
    yield table(found)
    yield f"![{found['network']}: distances to {name} over simulated time]({figure_path(found).name})"


def table(found: Found) -> str:
    """All verdicts, also those that could not be judged."""
    reference = CALLED[found["reference"]]
    lines = [f"| population | measure | surrogate | {reference} | judged | limit | holds |", "|---" * 7 + "|"]
    for each in found["verdicts"]:
        unit = f" {each['unit']}" if each["unit"] else ""
        limit = "right sign" if each["yardstick"] == "wrong sign" else number(each["limit"], unit)
        relation = "" if limit in ("right sign", number(None)) else f"{each['relation']} "
        holds = {None: f"not judged: {each['yardstick']}", True: "yes", False: "**no**"}[each["holds"]]
        row = (
            each["population"],
            each["measure"],
            *sides(found, each),
            number(each["value"], unit),
            relation + limit,
            holds,
        )
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def sides(found: Found, verdict: Found) -> tuple[str, str]:
    """What a verdict compares, on the surrogate and in NEURON: means over seeds, or a replay and its floor."""
    terms, measure = verdict["terms"], verdict["measure"].removeprefix("EMD of ")
    if "surrogate Hz" in terms:
        return number(terms["surrogate Hz"], " Hz"), number(terms["reference Hz"], " Hz")
    if verdict["part"] == "replay":
        return number(verdict["value"]), number(terms["floor"])
    unit = " Hz" if measure == "rate" else ""
    one, two = (
        mean_over_seeds(found, side, verdict["population"], measure) for side in (SURROGATE, REFERENCE)
    )
    return number(one, unit), number(two, unit)


def mean_over_seeds(found: Found, side: str, population: str, measure: str) -> float | None:
    """The mean of a measure over the base runs of a side that have it."""
    runs = (run for run in found["runs"] if (run["side"], run["condition"]) == (side, BASE))
    values = [run["populations"][population][measure] for run in runs]
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def figure_path(found: Found) -> Path:
    """Where the figure of a network is."""
    return PAGE.parent / f"validation-{found['network']}.png"


def check_sum(found: Found) -> str:
    """Of all numbers a figure can show."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def draw(found: Found) -> None:
    """Distances over simulated time, a row a population; below, where there are any, replayed cells and changes."""
    populations = list(dict.fromkeys(each["population"] for each in found["distances"]))
    lower = bool(found["replay"])
    with plots.style():
        figure = plots.new_figure(plots.WIDE, 2.1 * (len(populations) * (1 + lower)))
        grid = figure.subplots(len(populations) * (1 + lower), len(MEASURES), squeeze=False)
        for row, name in enumerate(populations):
            for axes, measure in zip(grid[row], MEASURES, strict=True):
                draw_distances(axes, found, name, measure)
            if len(populations) > 1:
                grid[row, 0].set_ylabel(name)
            if lower:
                draw_cells(grid[len(populations) + row, :2], found["replay"].get(name))
                draw_changes(grid[len(populations) + row, 2], found, name)
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
        figure.savefig(figure_path(found), dpi=100, metadata={"Software": None, SOURCE: check_sum(found)})


def draw_distances(axes: Axes, found: Found, population: str, measure: str) -> None:
    """EMD of one measure against the simulated time, with the terms of its limit."""
    ratio = found["settings"]["tolerances"]["emd_ratio"]
    mine = [
        each for each in found["distances"] if (each["population"], each["measure"]) == (population, measure)
    ]
    for key, factor, label, ink, mark in (
        ("across", 1.0, "surrogate to NEURON", INKS[SURROGATE], "o-"),
        ("within", ratio, f"{ratio:g} × NEURON, seed to seed", INKS[REFERENCE], "s--"),
        ("fine", 1.0, "NEURON to its finer step", "#9aa5b1", "^:"),
    ):
        known = [each for each in mine if each[key] is not None]
        if known:
            times = [each["duration"] / 1000.0 for each in known]
            axes.plot(
                times, [factor * each[key] for each in known], mark, color=ink, lw=1.2, ms=4, label=label
            )
    axes.set(xlabel="simulated time (s)", title=f"EMD of {MEASURES[measure]}")
    axes.set(xlim=(0.0, axes.get_xlim()[1]), ylim=(0.0, 1.05 * axes.get_ylim()[1]))


def draw_cells(pair: Any, replay: Found | None) -> None:
    """Γ and clipped explained variance of replayed cells, and the median floor."""
    for axes, key, label in zip(
        pair, ("gamma", "explained_variance"), ("Γ(±2 ms)", "clipped explained variance"), strict=True
    ):
        axes.set(title=f"replayed cells: {label}")
        known = [value for value in (replay or {}).get(key, ()) if value is not None]
        if not known:
            plots.say(axes, "no cell to judge")
            continue
        edges = np.linspace(min(0.9, *known), 1.0, 31).tolist()
        axes.hist(known, edges, color=INKS[SURROGATE], alpha=0.5)
        axes.axvline(statistics.median(known), color=INKS[SURROGATE], lw=1.2)
        own = [value for value in ((replay or {}).get("floor") or {}).get(key, ()) if value is not None]
        if own:
            axes.axvline(statistics.median(own), color=INKS[REFERENCE], lw=1.2, ls="--")
        axes.set_ylabel("cells")


def draw_changes(axes: Axes, found: Found, population: str) -> None:
    """The population's rate in networks changed by a share, on both sides."""
    axes.set(title="rate under changes (Hz)", xlabel="change (%)")
    for each, ink in zip(
        (each for each in found["changes"] if each["population"] == population), plots.COLOURS, strict=False
    ):
        at = [-100 * each["share"], 0.0, 100 * each["share"]]
        axes.plot(at, each["rates"][SURROGATE], "o-", color=ink, lw=1.2, ms=4, label=each["kind"])
        axes.plot(at, each["rates"][REFERENCE], "s--", color=INKS[REFERENCE], lw=1.2, ms=4, mfc="none")
    if axes.lines:
        axes.legend()


def number(value: float | None, unit: str = "") -> str:
    """Three digits, or a dash."""
    return "–" if value is None or math.isnan(value) else f"{value:.3g}{unit}"


def seconds(duration: str) -> str:
    """A duration of the settings, '5000.0 ms', in seconds."""
    return f"{float(duration.removesuffix(' ms')) / 1000:g} s"


if __name__ == "__main__":
    write()
