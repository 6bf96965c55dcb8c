"""Input spread over a zone of the dendrite, against a closed form and against NEURON's plain mechanisms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq

from noble_net.cells.model import CellModel
from noble_net.cells.solver import REFERENCE_DT, ExactCell
from noble_net.cells.zones import ZoneInput, cell_zones
from noble_net.errors import SolverError
from noble_net.types import BLOCK_SLOPE

pytest.importorskip("neuron")

REST, LEAK, RESISTIVITY = -70.0, 5e-5, 150.0
"""mV, S/cm² and Ω cm of the passive cells."""
N = 1500

Build = Callable[..., ExactCell]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """A passive cell with a soma of 10 µm and one dendrite of 2 µm diameter that reaches ``reach`` µm of path."""

    def cell(reach: float, segment_length: float = 1.0) -> ExactCell:
        points = [f"{k + 1} 3 {x} 0 0 1 {k}" for k, x in enumerate(np.linspace(5.0, reach, 8), start=1)]
        swc = tmp_path / f"cable-{reach:g}.swc"
        swc.write_text("\n".join(["1 1 0 0 0 5 -1", *points]) + "\n")
        values = {"Ra.all": RESISTIVITY, "cm.all": 1.0, "g_pas.all": LEAK, "e_pas.all": REST}
        return ExactCell(CellModel(swc, values, {}, 34.0, REST, axon="drawn", segment_length=segment_length))

    return cell


def held(value: float) -> np.ndarray:
    return np.full(N, value)


def fluctuating(mean: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2.0, mean / 2.0, N)


def area(cell: ExactCell, zone: str) -> float:
    """µm²."""
    return cell_zones(cell.sections)[zone].area


def test_zones_divide_the_cell_by_path_distance(build: Build) -> None:
    cell = build(250.0)
    zones = cell_zones(cell.sections)
    everything = [segment for group in cell.sections.values() for section in group for segment in section]
    assert sum(len(zone.segments) for zone in zones.values()) == len(everything)
    assert sum(zone.area for zone in zones.values()) == pytest.approx(sum(s.area() for s in everything))
    assert {s.sec.name().split(".")[-1][:4] for s in zones["soma"].segments} == {"soma"}
    # The reader begins a dendrite in the middle of its soma: 100 µm of path, to the nearest segment; π·d·length.
    assert zones["proximal"].area == pytest.approx(2.0 * np.pi * 100.0, rel=0.02)
    assert cell_zones(cell.sections, 1000.0)["distal"].segments == ()


def test_steady_state_is_that_of_the_cable_equation(build: Build) -> None:
    """λ²·V'' = V − E with g = g_pas + G/A and E = (g_pas·E_pas + J/A)/g, sealed at its end, on a leaky soma."""
    cell = build(99.0)
    conductance, reversal = 3.0, 0.0
    drive = ZoneInput(held(conductance), held(conductance * reversal))
    voltage = cell.run(np.zeros(N), zones={"proximal": drive})
    (dendrite,) = cell.sections["dend"]
    length, diameter = dendrite.L * 1e-4, dendrite.diam * 1e-4  # cm
    added = conductance * 1e-9 / (np.pi * diameter * length)
    g = LEAK + added
    e = (LEAK * REST + added * reversal) / g
    space = np.sqrt(diameter / (4.0 * RESISTIVITY * g))
    into_soma = np.pi * diameter**2 / 4.0 / RESISTIVITY / space * np.tanh(length / space)
    leak = LEAK * area(cell, "soma") * 1e-8
    expected = (leak * REST + into_soma * e) / (leak + into_soma)
    assert expected - REST > 15.0
    assert voltage[-1] == pytest.approx(expected, abs=0.05)


def test_local_voltage_acts_on_the_magnesium_block(build: Build) -> None:
    """A cell short enough to have one voltage: g·A·(V − E) + B(V)·(G·V − J) = 0."""
    cell = build(12.0)
    conductance, j, half = 0.5, 2.0, -30.0
    drive = ZoneInput(None, None, held(conductance), held(j), half)
    voltage = cell.run(np.zeros(N), zones={"proximal": drive})
    leak = LEAK * sum(zone.area for zone in cell_zones(cell.sections).values()) * 10.0  # nS

    def balance(v: float) -> float:
        block = 1.0 / (1.0 + np.exp(-BLOCK_SLOPE * (v - half)))
        return leak * (v - REST) + block * (conductance * v - j)

    assert voltage[-1] == pytest.approx(brentq(balance, -90.0, 20.0), abs=0.05)
    assert voltage[-1] > REST + 2.0


def test_like_a_leak_that_is_larger_from_the_start(build: Build) -> None:
    """A constant input of the distal dendrite and its plain counterpart take the same course, step by step."""
    cell, plain = build(250.0, 10.0), build(250.0, 10.0)
    conductance, reversal = 2.0, -20.0
    driven = cell.run(np.zeros(N), zones={"distal": ZoneInput(held(2.0), held(2.0 * reversal))}, settle=0.0)
    for segment in cell_zones(plain.sections)["distal"].segments:
        added = conductance * 0.1 / area(plain, "distal")
        segment.pas.g = LEAK + added
        segment.pas.e = (LEAK * REST + added * reversal) / (LEAK + added)
    voltage = plain.run(np.zeros(N), settle=0.0)
    assert voltage[-1] > REST + 3.0
    np.testing.assert_allclose(driven[1:], voltage[1:], atol=1e-4)


def test_like_a_point_process_in_every_segment(build: Build) -> None:
    """Inputs that change with every sample, in two zones and the soma at once."""
    cell, plain = build(180.0, 20.0), build(180.0, 20.0)
    inputs = {
        "proximal": (fluctuating(1.0, 1), -80.0 * fluctuating(0.5, 2)),
        "distal": (fluctuating(2.0, 3), 30.0 * fluctuating(0.5, 4)),
    }
    current, somatic = 0.02 * fluctuating(1.0, 5), fluctuating(0.5, 6)
    zones = {name: ZoneInput(g, j) for name, (g, j) in inputs.items()}
    voltage = cell.run(current, somatic, REST * somatic, zones=zones, settle=20.0)
    points = []
    for name, (g, j) in inputs.items():
        for segment in cell_zones(plain.sections)[name].segments:
            share = segment.area() / area(plain, name)
            point = plain.h.NobleDrive(segment)
            played = []
            for pointer, values in ((point._ref_g, g), (point._ref_j, j)):
                vectors = plain.h.Vector(share * values), plain.h.Vector(20.0 + 0.1 * np.arange(N))
                vectors[0].play(pointer, vectors[1], False)
                played.append(vectors)
            points.append((point, played))
    expected = plain.run(current, somatic, REST * somatic, settle=20.0)
    assert np.ptp(expected[500:]) > 1.0
    np.testing.assert_allclose(voltage, expected, atol=1e-4)


def test_error_falls_with_the_square_of_the_step(build: Build) -> None:
    cell = build(180.0, 10.0)
    strong = ZoneInput(20.0 * fluctuating(1.0, 1), None, 40.0 * fluctuating(1.0, 2), None, -30.0)
    voltages = {}
    for parts in (1, 2, 4, 32):
        cell.dt = 0.1 / parts
        voltages[parts] = cell.run(np.zeros(N), zones={"distal": strong}, settle=5.0)[50:]
    errors = [np.abs(voltages[parts] - voltages[32]).max() for parts in (1, 2, 4)]
    cell.dt = REFERENCE_DT
    assert errors[2] < 0.02
    assert errors[0] / errors[1] > 3.3 and errors[1] / errors[2] > 3.3


def test_cells_do_not_share_their_zones(build: Build) -> None:
    one = build(150.0, 20.0)
    drive = {"distal": ZoneInput(held(1.0))}
    alone = one.run(np.zeros(N), zones=drive, settle=20.0)
    other = build(150.0, 20.0)
    assert np.ptp(other.run(np.zeros(N), settle=20.0)) < 1e-3
    np.testing.assert_array_equal(other.run(np.zeros(N), zones=drive, settle=20.0), alone)
    np.testing.assert_array_equal(one.run(np.zeros(N), zones=drive, settle=20.0), alone)


def test_an_undriven_zone_changes_nothing(build: Build) -> None:
    cell = build(150.0, 20.0)
    current = 0.05 * fluctuating(1.0, 1)
    before = cell.run(current, settle=20.0)
    assert not cell.h.ismembrane("NobleZone", sec=cell.sections["dend"][0])  # and costs nothing
    cell.run(current, zones={"proximal": ZoneInput(held(3.0), None, held(1.0))}, settle=20.0)
    np.testing.assert_array_equal(cell.run(current, settle=20.0), before)


def test_a_zone_the_cell_lacks_is_refused(build: Build) -> None:
    cell = build(90.0)
    with pytest.raises(SolverError, match=r"no dendritic zone 'distal': it has proximal"):
        cell.run(np.zeros(N), zones={"distal": ZoneInput(held(1.0))})
    with pytest.raises(SolverError, match="the soma takes `conductance`"):
        cell.run(np.zeros(N), zones={"soma": ZoneInput(held(1.0))})
