"""Physical quantities as text ("1.2 nS") in, floats in internal units out; pint does the units.

Internal units: ms, mV, nA (injected current), nS (conductance), pA (synaptic current), Hz, MΩ, pF, µm, mM, rad. Only
this module knows a conversion factor. The registry takes a third of a second to build, so it is made on
first use.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pint


class Unit(NamedTuple):
    """What an internal unit measures, for messages: ``quantity`` with its article, and an ``example``."""

    quantity: str
    example: str


INTERNAL: dict[str, Unit] = {
    "ms": Unit("a time", "2 ms"),
    "mV": Unit("a voltage", "-70 mV"),
    "nA": Unit("a current", "0.25 nA"),
    "pA": Unit("a synaptic current", "5 pA"),
    "nS": Unit("a conductance", "1.2 nS"),
    "Hz": Unit("a rate", "800 Hz"),
    "MΩ": Unit("a resistance", "100 Mohm"),
    "pF": Unit("a capacitance", "100 pF"),
    "µm": Unit("a length", "150 um"),
    "µm/ms": Unit("a velocity", "0.3 mm/ms"),
    "mM": Unit("a concentration", "1 mM"),
    "rad": Unit("an angle", "90 deg"),
}
"""The units in which values are stored, by symbol."""

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
UNIT = r"(?:1?\s*/\s*)?[A-Za-zµμΩΩ]+(?:\s*/\s*[A-Za-zµμΩΩ]+)?"
"""One unit with its prefix, its inverse (`1/s`), or one over another (`mm/ms`)."""

# pint evaluates arithmetic in its input, "9**9**9 s" too: only a number and one unit may reach it.
_QUANTITY = re.compile(rf"\s*({NUMBER})\s*({UNIT})?\s*", re.ASCII)
_LONGEST = 60
_NON_FINITE = re.compile(r"\s*[+-]?\.?(nan|inf|infinity)\b", re.IGNORECASE)


class QuantityError(ValueError):
    """A text is not a quantity of the kind wanted: ``problem`` and ``remedy`` as shown to the user."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem, self.remedy = problem, remedy
        super().__init__(f"{problem}. {remedy}")


def parse_quantity(text: str, *wanted: str) -> tuple[float, str]:
    """The value of ``text`` in the first of the ``wanted`` internal units that fits, and that unit.

    Raises QuantityError when the number, the unit or its kind is wrong, or the value is not finite.
    """
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        problem = "is not a finite number" if _NON_FINITE.match(text) else "is not a number with one unit"
        raise QuantityError(problem, f"write {how_to_write(*wanted)}")
    number, unit = match.groups()
    if unit is None:
        raise QuantityError("has no unit", f"write {how_to_write(*wanted)}")
    target, factor = _conversion(unit, wanted)
    value = float(number) * factor
    if not math.isfinite(value):
        raise QuantityError("is not a finite number", f"write {how_to_write(*wanted)}")
    # 15 digits: 2 s is 2000 ms exactly, whatever the factor's last bit; 1.0 must stay exact for round trips.
    return (value if factor == 1.0 else float(f"{value:.15g}")), target


def format_quantity(value: float, unit: str) -> str:
    """``value`` in an internal ``unit`` as text which ``parse_quantity`` reads back exactly."""
    return f"{value!r} {unit}"


def how_to_write(*wanted: str) -> str:
    """The kinds of quantity wanted, with an example each: "a conductance such as `1.2 nS`"."""
    return " or ".join(f"{INTERNAL[unit].quantity} such as `{INTERNAL[unit].example}`" for unit in wanted)


@lru_cache(maxsize=1)
def registry() -> pint.UnitRegistry[Any]:
    """The one unit registry, made on first use (0.3 s)."""
    import pint

    return pint.UnitRegistry()


@lru_cache(maxsize=1024)
def _conversion(unit: str, wanted: tuple[str, ...]) -> tuple[str, float]:
    """The first of ``wanted`` with the dimension of ``unit``, and the factor between them."""
    import pint

    try:
        parsed = registry().parse_units(f"1{unit}" if unit.startswith("/") else unit)
        for target in wanted:
            wanted_unit = registry().parse_units(target)
            if _root(parsed) == _root(wanted_unit):
                return target, float(registry().convert(1.0, parsed, wanted_unit))
    except (pint.PintError, AttributeError, ValueError, TypeError, OverflowError) as error:
        raise QuantityError(f"{unit!r} is not a unit", _spelling(unit, wanted)) from error
    raise QuantityError(f"is {_kind_of(parsed)}", f"write {how_to_write(*wanted)}")


def _root(unit: pint.Unit) -> pint.Unit:
    """What a unit is made of; tells Hz, cycles/s and rad/s apart, which have one dimension and differ by 2π."""
    root: pint.Unit = registry().get_root_units(unit)[1]
    return root


def _kind_of(parsed: pint.Unit) -> str:
    """What a parsed unit measures, in words."""
    for symbol, unit in INTERNAL.items():
        if _root(registry().parse_units(symbol)) == _root(parsed):
            return f"{unit.quantity}, which does not belong here"
    return f"in {parsed}, which does not belong here"


def _spelling(unit: str, wanted: tuple[str, ...]) -> str:
    """Advice for an unknown unit: the right case if only that is wrong, else what is wanted."""
    known = {
        symbol.lower(): symbol for symbol in (*wanted, "s", "V", "uV", "uA", "Mohm", "S", "uS", "kHz", "um")
    }
    nearest = known.get(unit.lower())
    advice = f"write {how_to_write(*wanted)}"
    return f"did you mean {nearest}? {advice}" if nearest and nearest != unit else advice
