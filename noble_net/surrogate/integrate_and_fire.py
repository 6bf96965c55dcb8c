"""Leaky integrate-and-fire cores solved exactly: the trivial implementation of the core interface.

Use them to test a network, or to see what a network does without the biophysics of its cells. Per sample the
input is constant, so C dV/dt = g_L (v_rest − V) + I + J − G·V has the solution V∞ + (V₀ − V∞)·e^(−t/τ) with τ
= C/(g_L + G). Of the two cores,

- `integrate-and-fire` has threshold crossings and ends of the refractory time between samples, in closed form;
- `integrate-and-fire-grid` has them at samples' ends, as grid-based simulators do, and takes its drive in float64.
  Between spikes it is linear in current, so a synaptic current of any time course is exact as well: it comes as the
  constant current that leaves the same voltage at the sample's end (`Core.memory`). That is the joint solution of
  membrane and synapses which Rotter & Diesmann (1999, Biol. Cybern. 81: 381) give as a matrix exponential, as Brian2's
  `exact` and NEST's ``iaf_psc_exp`` take it. Conductances stay means over the sample (second order).
"""

from __future__ import annotations

import numpy as np

from noble_net.specs.basics import INTEGRATE_AND_FIRE, ON_GRID
from noble_net.specs.populations import integrate_and_fire_parameters
from noble_net.surrogate.core import Core
from noble_net.surrogate.kernels_if import integrate_and_fire
from noble_net.types import DT, CellTable, Drive, Float32, Float64, Real, Response, State


class IntegrateAndFire(Core):
    """Leaky integrate-and-fire cells with current and conductance input, exact for input held per sample.

    The magnesium block of NMDA input is that of the voltage at the sample's start, held through it. To first order
    the mean block over a sample is off by the fraction 0.031·(1 − B)·ΔV, with ΔV (mV) the sample's change of voltage:
    at most 0.3 % per 0.1 mV.

    A spike writes +20 mV into its sample, then v_reset through the refractory time. Cells whose table lacks a
    parameter have the default of ``specs.IntegrateAndFireSpec``. Beyond its envelope, and counted in
    ``Response.outside``: negative conductances, taken as zero; voltages below −150 mV, clamped; more than one
    spike a sample.

    ``on_grid``: a cell spikes at the end of the sample in which it reaches the threshold, and its refractory time,
    rounded to whole samples, begins there.
    """

    zones = ("soma",)
    step_samples = 1
    nmda = True

    def __init__(self, on_grid: bool = False) -> None:
        self.name = ON_GRID if on_grid else INTEGRATE_AND_FIRE
        self.drive_dtype = np.float64 if on_grid else np.float32
        self.on_grid = on_grid

    def memory(self, cells: CellTable) -> Float64 | None:
        """The membrane's time constant without synaptic conductance, on the grid."""
        p = _parameters(cells)
        return p["capacitance"] * p["resistance"] / 1000.0 if self.on_grid else None

    def begin(self, cells: CellTable) -> State:
        """Cells at v_rest, or at v_reset where v_rest is no lower than the threshold.

        Raises ValueError for parameters that no cell can have.
        """
        p = _parameters(cells)
        _check(p)
        leak = 1000.0 / p["resistance"]
        refractory = np.rint(p["refractory"] / DT) * DT if self.on_grid else p["refractory"]
        undisturbed = np.exp(-DT / (p["capacitance"] / leak))
        columns = (
            p["capacitance"],
            leak,
            p["v_rest"],
            p["v_reset"],
            p["v_threshold"],
            refractory,
            undisturbed,
        )
        start = np.where(p["v_rest"] < p["v_threshold"], p["v_rest"], p["v_reset"]).astype(np.float64)
        return State(
            {
                "voltage": start.astype(np.float32),
                "membrane": start,
                "refractory": np.zeros(cells.size),
                "constants": np.stack(columns, axis=1).astype(np.float64).reshape(cells.size, len(columns)),
            }
        )

    def advance(self, state: State, drive: Drive) -> tuple[Response, State]:
        """One block, of any number of samples."""
        cells, samples = drive.current.shape[1:]
        voltage = np.empty((cells, samples), np.float32)
        event_cell, event_sample = np.empty((2, cells * samples), np.int32)
        event_time = np.empty(cells * samples, np.float64)
        outside = np.zeros(cells, np.uint32)
        n = integrate_and_fire(
            self.on_grid,
            np.asarray(state.arrays["constants"], np.float64),
            np.asarray(state.arrays["membrane"], np.float64),
            np.asarray(state.arrays["refractory"], np.float64),
            drive.current[0],
            drive.conductance[0] if drive.conducts else None,
            drive.reversal_current[0],
            *_nmda(drive),
            voltage,
            event_cell,
            event_sample,
            event_time,
            outside,
        )
        state.arrays["voltage"] = voltage[:, -1].copy()
        order = np.argsort(event_sample[:n], kind="stable")
        events = event_cell[order], event_sample[order], event_time[order]
        return Response(voltage, *events, outside), state


def _parameters(cells: CellTable) -> dict[str, Float64]:
    return {
        key: cells.parameters.get(key, np.full(cells.size, default.a))
        for key, default in integrate_and_fire_parameters({}).items()
    }


def _nmda(drive: Drive) -> tuple[Real | None, Real | None, Float32 | None]:
    """NMDA conductance, reversal current [cells, samples] and voltage of half block [cells]; None without."""
    if drive.nmda is None:
        return None, None, None
    return drive.nmda.conductance[0], drive.nmda.reversal_current[0], drive.nmda.half


def _check(parameters: dict[str, Float64]) -> None:
    for name in ("capacitance", "resistance"):
        if not np.all(parameters[name] > 0):
            raise ValueError(f"{name} must be above zero")
    if not np.all(parameters["refractory"] >= 0):
        raise ValueError("refractory must not be negative")
    if not np.all(parameters["v_reset"] < parameters["v_threshold"]):
        raise ValueError("v_reset must lie below v_threshold")
