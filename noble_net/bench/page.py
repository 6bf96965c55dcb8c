"""What a bench leaves: bench.json, a Markdown table on the terminal, and figures of what was varied."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from noble_net.bench.cores import Cost
from noble_net.bench.networks import Run, slope
from noble_net.output import saving, write_json
from noble_net.provenance import machine, now, versions
from noble_net.report import plots


def cores_table(costs: Sequence[Cost]) -> str:
    """Markdown: what each core costs, beside the machine's floor for it."""
    lines = [
        "| core | products | cells | block, ms | threads | µs per cell-ms | cells in real time | of the floor "
        "| state, B |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for cost in costs:
        core, precision, cells, block, threads = cost.setting
        share = "" if math.isnan(cost.floor) else f"{cost.microseconds / cost.floor:.2f}×"
        lines.append(
            f"| {core} | {precision} | {cells:,} | {block:g} | {threads} | {cost.microseconds:.3f} "
            f"| {cost.real_time:,.0f} | {share} | {cost.state:.0f} |"
        )
    return "\n".join(lines)


def network_table(runs: Sequence[Run]) -> str:
    """Markdown: what a network costs in each setting; with several sizes, how the cost grows."""
    lines = [
        "| cells | synapses | products | threads | block, ms | batch | build, s | s per biological s | µs per cell-ms "
        "| rate, Hz | million events/s | MB |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        setting = run.setting
        block = "longest" if setting.block is None else f"{setting.block:g}"
        lines.append(
            f"| {run.cells:,} | {run.synapses:,} | {setting.precision} | {setting.threads} | {block} "
            f"| {setting.batch or 'all'} | {run.build:.2f} | {run.seconds:.3f} | {1e3 * run.seconds / run.cells:.3f} "
            f"| {run.rate:.1f} | {run.events / 1e6:.1f} | {run.bytes / 1e6:.1f} |"
        )
    for told, found in growth(runs).items():
        lines.append(f"\nlog–log slope over {told}: {found:.3f}")
    return "\n".join(lines)


def growth(runs: Sequence[Run]) -> dict[str, float]:
    """Log–log slopes of the wall time: over cells, and over synapses at one number of cells. Of what was varied."""
    found = {}
    by_cells = {run.cells: run.seconds for run in runs if _same(run, runs[0], "cells")}
    if len(by_cells) > 1:
        found["cells"] = slope(list(by_cells), list(by_cells.values()))
    by_synapses = {run.synapses: run.seconds for run in runs if _same(run, runs[0], "indegree")}
    if len(by_synapses) > 1:
        found["synapses"] = slope(list(by_synapses), list(by_synapses.values()))
    return found


def _same(one: Run, other: Run, but: str) -> bool:
    mine, its = (each.setting._asdict() for each in (one, other))
    return all(mine[key] == its[key] for key in mine if key != but)


def figure(runs: Sequence[Run]) -> str | None:
    """SVG: wall time over cells on two logarithmic axes, with the line of slope 1; None where cells were not varied."""
    by_cells = sorted({run.cells: run.seconds for run in runs if _same(run, runs[0], "cells")}.items())
    if len(by_cells) < 2:
        return None
    cells, seconds = zip(*by_cells, strict=True)
    with plots.style():
        drawn = plots.new_figure(5.0, 3.4)
        axes = drawn.subplots()
        axes.loglog(cells, seconds, "o-", color=plots.colour(0), label="measured")
        proportional = [seconds[0] * each / cells[0] for each in cells]
        axes.loglog(cells, proportional, "--", color="grey", label="slope 1")
        axes.axhline(1.0, color="grey", linewidth=0.5)
        axes.set_xlabel("cells")
        axes.set_ylabel("wall time of a biological second, s")
        axes.legend(frameon=False)
        return plots.as_svg(drawn)


def write_bench(out: Path, costs: Sequence[Cost], runs: Mapping[str, Sequence[Run]]) -> None:
    """Write bench.json, bench.md and a figure per network into ``out``. Raises OutputError."""
    with saving(out):
        out.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "machine": machine(),
        "versions": versions(),
        "finished": now(),
        "cores": [cost.to_json() for cost in costs],
        "networks": {
            name: {"runs": [run.to_json() for run in found], "slopes": growth(found)}
            for name, found in runs.items()
        },
    }
    write_json(out / "bench.json", content)
    parts = [cores_table(costs)] if costs else []
    parts += [f"## {name}\n\n{network_table(found)}" for name, found in runs.items()]
    with saving(out):
        (out / "bench.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        for name, found in runs.items():
            if (svg := figure(found)) is not None:
                (out / f"{name}.svg").write_text(svg, encoding="utf-8")
