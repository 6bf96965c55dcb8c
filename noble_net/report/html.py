"""The report of a run: one page that needs nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from noble_net.errors import OutputError
from noble_net.output import write_text
from noble_net.provenance import OUTSIDE_WARNING
from noble_net.report import plots
from noble_net.report.statistics import (
    CORRELATED_CELLS,
    CORRELATION_BIN,
    PopulationStatistics,
    mean,
    statistics,
)
from noble_net.results import Results, load_results

RASTER_SPAN, TRACE_SPAN = 2000.0, 500.0
"""Longest time shown in the raster and in the voltage traces, ms."""
_UNKNOWN = "–"


@dataclass(frozen=True)
class Figure:
    """A figure of the page with its heading and what to see in it."""

    title: str
    caption: str
    svg: str
    wide: bool = False


def write_report(run_dir: Path | str) -> Path:
    """Write ``report.html`` into a run's directory and return its path.

    Works for silent populations, single cells, runs without voltage or features, and interrupted runs.
    OutputError when the directory holds no run, or the disk refuses.
    """
    results = load_results(run_dir)
    path = results.path / "report.html"
    write_text(path, render("report.html.j2", _content(results)))
    return path


def render(template: str, content: Mapping[str, Any]) -> str:
    """Fill one of this package's templates; texts are escaped, figures are put in as they are."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures = [{**vars(figure), "svg": Markup(figure.svg)} for figure in content.get("figures", ())]
    return environment.get_template(template).render({**content, "figures": figures})


def _content(results: Results) -> dict[str, Any]:
    if results.has_spikes:
        populations = list(statistics(results).values())
    else:
        populations = [_without_spikes(results, name) for name in results.populations]
    with plots.style():
        figures = list(_figures(results, populations))
    return {
        "name": results.name,
        "facts": _facts(results),
        "warnings": _warnings(results, populations),
        "tiles": _tiles(results, populations),
        "populations": [_row(results, index, population) for index, population in enumerate(populations)],
        "correlation_bin": f"{CORRELATION_BIN:g}",
        "sampled": CORRELATED_CELLS if any(p.size > CORRELATED_CELLS for p in populations) else 0,
        "figures": figures,
        "phases": _phases(results.summary.get("timings_s", {})),
        "provenance": _provenance(results.path / "provenance.json"),
    }


def _without_spikes(results: Results, name: str) -> PopulationStatistics:
    return PopulationStatistics(name, [np.empty(0)] * results.size(name), results.duration)


def _figures(results: Results, populations: Sequence[PopulationStatistics]) -> Iterator[Figure]:
    end = max(results.duration, 1.0)
    window = max(0.0, end - RASTER_SPAN), end
    if results.has_spikes:
        shown = "" if window[0] == 0 else f", the last {_seconds(RASTER_SPAN)} of {_seconds(end)}"
        caption = f"Every row a cell, every mark a spike; below, the rate of a population's cells{shown}."
        yield Figure("Spikes", caption, plots.raster(populations, window), wide=True)
    traces = window[0], min(window[0] + TRACE_SPAN, end)
    if results.has_voltage:
        caption = "Somatic voltage of recorded cells, from the slowest to the fastest firing."
        yield Figure("Voltage", caption, plots.voltage(results, populations, traces), wide=True)
    if not results.has_spikes:
        return
    caption = "Dashed: mean of the population."
    yield Figure("Firing rates", caption, plots.rate_histogram(populations))
    caption = "Intervals between a cell's spikes, and each cell's CV: 0 a clock, 1 chance."
    yield Figure("Regularity", caption, plots.interval_histogram(populations))
    having = plots.with_rheobase(results, populations)
    beside = len(having) == 1
    width = plots.HALF if beside else plots.WIDE
    yield Figure("Rhythm", _rhythm_caption(populations), plots.spectrum(populations, width), wide=not beside)
    if having:
        caption = "Every dot a cell: how its own excitability shapes its rate in the network."
        svg = plots.latent_spread(results, populations, having, width)
        yield Figure("Heterogeneity", caption, svg, wide=not beside)


def _rhythm_caption(populations: Sequence[PopulationStatistics]) -> str:
    clear = [f"{p.name} at {p.spectrum.peak:.0f} Hz" for p in populations if p.spectrum.is_clear]
    found = f"Clear peak: {', '.join(clear)}" if clear else "No peak stands clear of chance"
    return f"Power spectrum of the population rate. {found}."


def _facts(results: Results) -> list[tuple[str, str]]:
    summary = results.summary
    facts = [("backend", results.backend)]
    cores = dict.fromkeys(str(core) for name in results.populations if (core := _of(results, name, "core")))
    if cores:
        facts.append(("core", ", ".join(cores)))
    facts.append(("seed", _UNKNOWN if results.seed is None else str(results.seed)))
    if results.noise_seed != results.seed:
        facts.append(("noise seed", str(results.noise_seed)))
    facts += [("recorded", _seconds(results.duration))]
    if summary.get("warmup_ms"):
        facts.append(("after a warm-up of", _seconds(float(summary["warmup_ms"]))))
    return facts


def _of(results: Results, population: str, key: str) -> Any:
    return results.summary.get("populations", {}).get(population, {}).get(key)


def _warnings(results: Results, populations: Sequence[PopulationStatistics]) -> list[str]:
    summary = results.summary
    found = [str(warning) for warning in summary.get("warnings", ())]
    if not summary.get("completed", True):
        asked = float(summary.get("duration_ms", 0.0))
        found.append(f"Interrupted after {_seconds(results.duration)} of {_seconds(asked)}.")
    if not results.has_spikes:
        return [*found, "Spikes were not recorded."]
    for population in populations:
        silent = int((population.counts == 0).sum())
        if silent == population.size:
            found.append(f"Population {population.name} never fired.")
        elif silent > population.size / 2:
            found.append(f"{silent} of the {population.size} cells of {population.name} never fired.")
        outside = _of(results, population.name, "outside_share")
        if outside is not None and outside > OUTSIDE_WARNING:
            found.append(
                f"{population.name} spent {outside:.1%} of its cell-time outside the envelope of its core: "
                "there its answers are extrapolated. Weaken its input, or use a core trained for it."
            )
    return found


def _tiles(results: Results, populations: Sequence[PopulationStatistics]) -> list[dict[str, str]]:
    summary = results.summary
    spikes = sum(int(population.counts.sum()) for population in populations)
    tiles = [
        ("cells", f"{sum(population.size for population in populations):,}"),
        ("synapses", _grouped(summary.get("synapses"))),
        ("spikes", f"{spikes:,}" if results.has_spikes else _UNKNOWN),
        ("wall time of the run", _seconds_of_work(summary.get("timings_s", {}).get("run"))),
        ("cells in real time", _significant(summary.get("cells_in_real_time"))),
        ("peak memory", _megabytes(summary.get("peak_memory_mb"))),
    ]
    return [{"label": label, "value": value} for label, value in tiles]


def _row(results: Results, index: int, population: PopulationStatistics) -> dict[str, Any]:
    outside = _of(results, population.name, "outside_share")
    found = population.spectrum
    return {
        "name": population.name,
        "colour": plots.colour(index),
        "size": f"{population.size:,}",
        "core": _of(results, population.name, "core") or _UNKNOWN,
        "rate": f"{population.rates.mean():.1f} ± {population.rates.std():.1f}"
        if results.has_spikes
        else _UNKNOWN,
        "silent": f"{int((population.counts == 0).sum()):,}" if results.has_spikes else _UNKNOWN,
        "cv": _number(mean(population.cv), 2),
        "correlation": _number(mean(population.correlations), 3),
        "rhythm": f"{found.peak:.0f} Hz" if found.is_clear else _UNKNOWN,
        "outside": _UNKNOWN if outside is None else f"{outside:.3%}",
        "outside_width": f"{100 * min((outside or 0.0) / OUTSIDE_WARNING, 1.0):.1f}",
    }


def _phases(timings: Mapping[str, float | None]) -> list[dict[str, Any]]:
    known = {name: float(seconds) for name, seconds in timings.items() if seconds}
    total = sum(known.values())
    return [
        {
            "name": name,
            "seconds": _significant(s),
            "share": f"{100 * s / total:.2f}",
            "colour": plots.colour(i),
        }
        for i, (name, s) in enumerate(known.items())
    ]


def _provenance(path: Path) -> str:
    try:
        return json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=2, ensure_ascii=False)
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be read: {error}. Run the network again.") from error


def _number(value: float, digits: int) -> str:
    return _UNKNOWN if np.isnan(value) else f"{value:.{digits}f}"


def _grouped(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:,}"


def _significant(value: float | None) -> str:
    if value is None:
        return _UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _seconds(milliseconds: float) -> str:
    return f"{milliseconds / 1000:g} s" if milliseconds >= 1000 else f"{milliseconds:g} ms"


def _seconds_of_work(seconds: float | None) -> str:
    if seconds is None:
        return _UNKNOWN
    return f"{seconds / 60:.1f} min" if seconds >= 120 else f"{seconds:.{3 if seconds >= 1 else 2}g} s"


def _megabytes(value: float | None) -> str:
    if value is None:
        return _UNKNOWN
    return f"{value / 1024:.1f} GB" if value >= 1024 else f"{value:.0f} MB"
