"""Quantities as text: conversion, exact round trip, and errors that say which unit is wanted."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noble_net.units import INTERNAL, QuantityError, format_quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("2 s", "ms", 2000.0),
        ("0.3s", "ms", 300.0),
        ("-70 mV", "mV", -70.0),
        ("300 pA", "nA", 0.3),
        ("0.8 nA", "pA", 800.0),
        ("1.2e-3 uS", "nS", 1.2),
        ("0.1 kHz", "Hz", 100.0),
        ("800 1/s", "Hz", 800.0),
        ("800 /s", "Hz", 800.0),
        ("100 Mohm", "MΩ", 100.0),
        ("0.1 GΩ", "MΩ", 100.0),
        ("0.1 nF", "pF", 100.0),
        ("300 um", "µm", 300.0),
    ],
)
def test_conversion_is_exact(text: str, unit: str, value: float) -> None:
    assert parse_quantity(text, unit) == (value, unit)


def test_first_fitting_unit_is_taken() -> None:
    assert parse_quantity("5 pA", "nS", "pA") == (5.0, "pA")
    assert parse_quantity("5 nS", "nS", "pA") == (5.0, "nS")


@given(st.sampled_from(list(INTERNAL)), st.floats(allow_nan=False, allow_infinity=False))
def test_format_reads_back_equal(unit: str, value: float) -> None:
    assert parse_quantity(format_quantity(value, unit), unit) == (value, unit)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", "has no unit"),
        ("3 ms", "is a time"),
        ("3 ns", "is a time"),  # case matters: nS is wanted
        ("3 NS", "did you mean nS?"),
        ("3 parsec", "does not belong here"),
        ("3 bananas", "'bananas' is not a unit"),
        ("nan nS", "not a finite number"),
        ("-inf nS", "not a finite number"),
        ("1e400 nS", "not a finite number"),
        ("9**9**9 nS", "not a number with one unit"),
        ("1 nS nS", "not a number with one unit"),
        ("__import__('os')", "not a number with one unit"),
        ("", "not a number with one unit"),
        ("1" * 1000 + " nS", "not a number with one unit"),
    ],
)
def test_errors_name_the_unit_wanted(text: str, expected: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse_quantity(text, "nS")
    assert expected in str(caught.value)
    assert "a conductance such as `1.2 nS`" in str(caught.value)


@pytest.mark.parametrize("text", ["8 cycles/s", "60 rpm", "50 rad/s", "3 percent"])
def test_rates_that_count_in_other_than_events_are_refused(text: str) -> None:
    with pytest.raises(QuantityError, match=r"does not belong here\. write a rate such as `800 Hz`"):
        parse_quantity(text, "Hz")
    assert parse_quantity("480 /min", "Hz") == (8.0, "Hz")


def test_angles_are_in_angles() -> None:
    assert parse_quantity("180 deg", "rad")[0] == pytest.approx(math.pi)
    assert parse_quantity("0.5 turn", "rad")[0] == pytest.approx(math.pi)
    for text in ("90 percent", "3 dB", "1 Hz"):
        with pytest.raises(QuantityError, match="an angle such as"):
            parse_quantity(text, "rad")


@given(st.text(max_size=80))
def test_any_text_is_a_finite_quantity_or_an_error(text: str) -> None:
    try:
        value, _ = parse_quantity(text, "ms", "nS")
    except QuantityError:
        return
    assert math.isfinite(value)


def test_importing_does_not_build_the_registry() -> None:
    code = "import sys, noble_net.config; sys.exit('pint' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
