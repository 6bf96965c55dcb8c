"""What is asked for in one line of text: which cells, and which amplitudes of a step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from noble_net.cells.latent import sample_cells
from noble_net.cells.plane import RADIUS, cells_over_features
from noble_net.errors import FamilyError, NobleNetError
from noble_net.network.random import generator
from noble_net.specs.specification import nearest
from noble_net.types import CellTable, Float64
from noble_net.units import QuantityError, parse_quantity

if TYPE_CHECKING:
    from noble_net.cells.family import Family
    from noble_net.cells.latent_space import Outside

MOST_AMPLITUDES = 100_000
ROLES = {"members": "all", "train": "train", "held_out": "held_out"}
SAMPLED = ("gaussian", "kde", "hull")
HOW_TO_CHOOSE = (
    "write `members` or `members:10`, `train`, `held_out`, `gaussian:100`, `kde:100`, `hull:50`, "
    "`circle:MEMBER:50`"
)
"""For help and errors."""
HOW_TO_STEP = "write `-0.1:0.4:0.05 nA` (first:last:step) or `0.1, 0.2, 0.3 nA`"
"""For help and errors."""


def choose_cells(
    family: Family,
    text: str,
    seed: int = 1,
    conditioned_on: Sequence[str] = (),
    *,
    trained_on: Sequence[str] = (),
    outside: Outside = "allow",
) -> CellTable:
    """The cells of ``family`` that ``text`` names.

    ``members``, ``train``, ``held_out``: all of that role in table order, or with a number so many of them drawn
    without repeating; ``gaussian:N``, ``kde:N``, ``hull:N``: sampled; ``circle:MEMBER:N``: in a small ball around a
    member. Sampled over the family's parameters (`noble_net.cells.latent.sample_cells`, which ``outside`` is for), or
    over the features ``conditioned_on`` for a core that knows a cell by these
    (`noble_net.cells.plane.cells_over_features`). ``trained_on``: the members of such a core, which then are ``train``.

    Raises NobleNetError naming what can be written, FamilyError for an unknown member and as ``outside`` asks.
    """
    kind, *rest = text.strip().split(":")
    valid = (*ROLES, *SAMPLED, "circle")
    if kind not in valid:
        raise NobleNetError(f"cells {text!r}: {nearest(kind, valid)}; {HOW_TO_CHOOSE}")
    if kind in ROLES and not rest:
        trained = kind == "train" and trained_on
        return family.cells(trained_on if trained else family.ids(ROLES[kind]))
    if len(rest) != 1 + (kind == "circle"):
        wanted = "a member and a number are" if kind == "circle" else "a number is"
        raise NobleNetError(f"cells {text!r}: {wanted} wanted; {HOW_TO_CHOOSE}")
    number, around = _number(text, rest[-1]), _member(family, rest[0]) if kind == "circle" else None
    draws = partial(generator, seed, "latent", "respond")
    if kind == "train" and trained_on:
        order = draws(-1).permutation(len(trained_on))
        return family.cells([trained_on[order[i % len(order)]] for i in range(number)])
    if kind in ROLES:
        return sample_cells(family, number, source="members", role=ROLES[kind], generator_of=draws)
    if conditioned_on:
        return cells_over_features(family, conditioned_on, kind, number, draws(0), around or "", trained_on)
    radius = RADIUS if kind == "circle" else None
    return sample_cells(
        family, number, source=kind, outside=outside, around=around, radius=radius, generator_of=draws
    )


def default_cells(text: str) -> CellTable:
    """The cells of a core without a family: so many alike, all with the core's default parameters.

    ``text`` ends in their number, or names none: one cell.
    """
    number = text.rpartition(":")[2]
    size = _number(text, number) if ":" in text else 1
    return CellTable(size, np.zeros((size, 0), np.float32), labels=("default",) * size)


def _member(family: Family, name: str) -> str:
    known = family.ids()
    if name in known:
        return name
    if f"{family.name}-{name}" in known:
        return f"{family.name}-{name}"
    raise FamilyError(f"family {family.name} has no member {name!r}: {nearest(name, known)}")


def _number(text: str, part: str) -> int:
    if not part.strip().isdecimal() or int(part) < 1:
        raise NobleNetError(f"cells {text!r}: {part!r} is not a number of cells; {HOW_TO_CHOOSE}")
    return int(part)


def parse_amplitudes(text: str) -> Float64:
    """Amplitudes, nA, float64 [amplitudes]: ``first:last:step`` with both ends, or a list; one unit at the end.

    Raises NobleNetError naming what can be written.
    """
    number, _, unit = text.strip().rpartition(" ")
    try:
        if number.count(":") == 2:
            first, last, step = (_nanoamperes(part, unit) for part in number.split(":"))
            return _range(text, first, last, step)
        return np.array([_nanoamperes(part, unit) for part in number.split(",")])
    except QuantityError as error:
        raise NobleNetError(f"amplitudes {text!r}: {error.problem}; {HOW_TO_STEP}") from None


def _nanoamperes(number: str, unit: str) -> float:
    value, _ = parse_quantity(f"{number} {unit}", "nA")
    return value


def _range(text: str, first: float, last: float, step: float) -> Float64:
    if step == 0 or (last - first) / step < 0:
        raise NobleNetError(f"amplitudes {text!r}: the step does not lead from first to last; {HOW_TO_STEP}")
    number = int((last - first) / step + 1e-6) + 1
    if number > MOST_AMPLITUDES:
        raise NobleNetError(f"amplitudes {text!r}: {number:,} steps; take a larger step")
    return np.round(first + step * np.arange(number), 9)
