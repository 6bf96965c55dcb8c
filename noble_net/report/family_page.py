"""A family's card: a page of Markdown with figures, beside its table.

`write_family_card` leaves ``<name>.md`` and ``<name>-*.png``, and keeps the errors by generation of an evolution as
``<name>.history.json``, so that everything can be drawn again from the family's own files.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from noble_net.cells.family import Family
from noble_net.cells.features import MEASURED_AT
from noble_net.markdown import write_markdown
from noble_net.output import reading, saving, write_text
from noble_net.report import family_figures as figures
from noble_net.report.family_statistics import MAIN_FEATURES, NEARLY_EQUAL, UNITS, distances, known_features
from noble_net.report.plots import style
from noble_net.specs.specification import read_quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PIXELS_PER_INCH = 140
_LARGEST = 190_000
"""Bytes of a figure above which it is brought down to 256 colours."""

_PASSIVE_STEP = -0.05
_PASSIVE = ("voltage_base", "sag_amplitude", "decay_time_constant_after_stim", "steady_state_voltage_stimend")

History = Sequence[Mapping[str, Any]]
"""Rows with seed, target, stage, generation, best, median and solved (`noble_net.cells.evolve.history_path`)."""


class Spread(NamedTuple):
    """Mean and standard deviation of a number over some members."""

    mean: float
    sd: float


def write_family_card(
    family: Family, folder: Path, history: list[dict[str, Any]] | None = None, notes: str = ""
) -> Path:
    """Write ``<name>.md`` and its figures into ``folder``, where the family's table lies; returns the page's path.

    ``history``: errors by generation of the evolution, kept in ``<name>.history.json``; None: those kept there, if any.
    F–I curves are drawn where ``<name>.fi.csv`` is there. ``notes``: Markdown of the recipe. Raises OutputError.
    """
    kept = folder / f"{family.name}.history.json"
    if history:
        write_text(kept, json.dumps(history, separators=(",", ":")) + "\n")
    elif kept.exists():
        with reading(kept, "errors by generation"):
            history = json.loads(kept.read_text(encoding="utf-8"))
    drawn = []
    with style():
        for name, figure in _figures(family, folder, history or []):
            _save(figure, folder / f"{family.name}-{name}.png")
            drawn.append(name)
    values = {
        "family": family,
        "about": family.about,
        "cell": family.about["cell"],
        "counts": _counts(family),
        "features": _features(family),
        "parameters": _parameters(family),
        "targets": _targets(family),
        "steps": tuple(family.about.get("targets", {})),
        "degenerate": _degenerate(family),
        "nearly_equal": NEARLY_EQUAL,
        "evolved": _evolved(history or []),
        "figures": drawn,
        "notes": notes.strip(),
    }
    return write_markdown(
        folder / f"{family.name}.md",
        __package__,
        "family.md.j2",
        values,
        {"number": _number, "spread": _spread},
    )


def _figures(family: Family, folder: Path, history: History) -> Iterator[tuple[str, Figure]]:
    """Name and figure of what can be drawn."""
    yield "features", figures.feature_spread(family)
    if family.parameter_names and len(family.table) > 1:
        yield "parameters", figures.parameters(family)
        if len(family.table) > 2 and known_features(family):
            yield "degeneracy", figures.degeneracy(family)
    curves = folder / f"{family.name}.fi.csv"
    if curves.exists():
        with reading(curves, "F–I curves"):
            table = pd.read_csv(curves, dtype={"member": str})
        yield "fi", figures.fi_curves(family, table)
    if history:
        yield "evolution", figures.evolution(history)


def _save(figure: Figure, path: Path) -> None:
    """A PNG; one that would be large gets a palette, which lines and tints survive."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=_PIXELS_PER_INCH, format="png", metadata={"Software": None})
    with saving(path):
        if buffer.tell() <= _LARGEST:
            path.write_bytes(buffer.getvalue())
            return
        with Image.open(buffer) as image:
            image.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
                path, optimize=True
            )


def _counts(family: Family) -> dict[str, int]:
    """Members by role, of the hall of fame, and rejected candidates by reason."""
    table = family.table
    hall = table["hall_of_fame"] == 1 if "hall_of_fame" in table else pd.Series(False, table.index)
    return {
        "members": len(table),
        "train": len(family.ids("train")),
        "held_out": len(family.ids("held_out")),
        "hall": int(hall.sum()),
        "hall_held_out": int((hall & (table["role"] == "held_out")).sum()),
    }


def _features(family: Family) -> list[dict[str, Any]]:
    """One row a feature: spread over all members, the hall of fame and the held-out ones, and the nearest target."""
    held_out, hall = family.ids("held_out"), []
    if "hall_of_fame" in family.table:
        hall = family.ids(hall_of_fame=True)
    rows = []
    for name in dict.fromkeys((*MAIN_FEATURES, *family.feature_names)):
        if name in family.table:
            values = family.table[name]
            target, step = _nearest_target(family, name)
            rows.append(
                {
                    "name": name,
                    "unit": UNITS.get(name, ""),
                    "all": _over(values),
                    "hall": _over(values.loc[hall]),
                    "held_out": _over(values.loc[held_out]),
                    "target": target,
                    "step": step,
                }
            )
    return rows


def _nearest_target(family: Family, name: str) -> tuple[Spread | None, str]:
    """The target of a feature at the step nearest to the one members are measured at."""
    at = _PASSIVE_STEP if name in _PASSIVE else float(family.table["I_thr"].median()) + MEASURED_AT
    known = {step: wanted[name] for step, wanted in family.about.get("targets", {}).items() if name in wanted}
    if not known:
        return None, ""
    step = min(known, key=lambda step: abs(read_quantity(step, ("nA",), True)[0] - at))
    return Spread(*known[step]), step


def _parameters(family: Family) -> list[dict[str, Any]]:
    """One row a parameter: centre, the middle 90 % of the members, correlation with threshold and slope."""
    rows = []
    for name, coding in family.about["parameters"].items():
        values = family.table[name].to_numpy(np.float64)
        low, high = np.percentile(values, (5, 95))
        rows.append(
            {
                "name": name,
                "centre": coding["centre"],
                "low": float(low),
                "high": float(high),
                "logarithmic": coding["logarithmic"],
            }
        )
    return rows


def _targets(family: Family) -> list[tuple[str, list[Spread | None]]]:
    """Feature → its targets at every step."""
    at = family.about.get("targets", {})
    names = dict.fromkeys(name for wanted in at.values() for name in wanted)
    return [
        (name, [Spread(*wanted[name]) if name in wanted else None for wanted in at.values()])
        for name in names
    ]


def _degenerate(family: Family) -> dict[str, Any] | None:
    """How many members have a partner with nearly equal features and parameters far from their own."""
    if len(family.table) < 3 or not known_features(family) or not family.parameter_names:
        return None
    apart = distances(family)
    pairs = apart.degenerate
    # Members of one seed descend from each other; those of two seeds have nothing but the targets in common.
    seeds = family.table["seed"].to_numpy() if "seed" in family.table else None
    unrelated = None if seeds is None else apart.similar & (seeds[apart.first] != seeds[apart.second])
    return {
        "unrelated": None if unrelated is None else int(unrelated.sum()),
        "unrelated_apart": None
        if unrelated is None or not unrelated.any()
        else float(np.median(apart.parameters[unrelated])),
        "features": known_features(family),
        "pairs": int(pairs.sum()),
        "members": len(np.unique(np.concatenate([apart.first[pairs], apart.second[pairs]]))),
        "similar": int(apart.similar.sum()),
        "similar_apart": float(np.median(apart.parameters[apart.similar])) if apart.similar.any() else None,
        "any_apart": float(np.median(apart.parameters)),
        "all": len(pairs),
    }


def _evolved(history: History) -> dict[str, Any] | None:
    """Seeds, targets, generations and the last errors of an evolution."""
    last = [row for row in history if row["stage"] == 2]
    if not last:
        return None
    ends = pd.DataFrame(last).groupby(["seed", "target"])["best"].min()
    return {
        "seeds": ends.index.get_level_values("seed").nunique(),
        "targets": len(ends),
        "generations": len(last),
        "passive_generations": len(history) - len(last),
        "best": Spread(float(ends.median()), float(ends.max())),
    }


def _over(values: pd.Series[float]) -> Spread | None:
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    if len(known) == 1:
        return Spread(float(known.iloc[0]), float("nan"))
    # Equal values have no spread, whatever rounding makes of their mean.
    return Spread(float(known.mean()), float(known.std(ddof=0)) if np.ptp(known) > 0 else 0.0)


def _number(value: float | None, digits: int = 3) -> str:
    """Significant digits; an em dash where there is none."""
    if value is None or not np.isfinite(value):
        return "—"
    shown = f"{value:.{digits}g}"
    plain = f"{float(shown):g}" if 1e-3 <= abs(value) < 1e4 else shown
    return plain.replace("-", "−", 1) if value < 0 else plain


def _spread(value: Spread | None) -> str:
    """Mean ± standard deviation, as many decimals as the deviation is worth."""
    if value is None:
        return "—"
    if np.isnan(value.sd):
        return _number(value.mean, 4)
    # Two digits of the standard deviation; of the mean, where there is no spread, three.
    scale = value.sd if value.sd > 0 else abs(value.mean) / 10
    decimals = 0 if scale == 0 else int(np.clip(1 - np.floor(np.log10(scale)), 0, 6))
    return f"{value.mean:.{decimals}f} ± {value.sd:.{decimals}f}".replace("-", "−")
