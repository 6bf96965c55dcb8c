"""Point cells and their synapses as the code of one step, in Brian2's language.

The step is NEURON's `secondorder = 2`: Crank–Nicolson for the voltage, with gates, concentrations and synapses half a
step beside it, so that a point cell here is the same cell of one compartment in NEURON to rounding. In nS, pA, pF, mV
and ms, without units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from noble_net.config import SynapseSpec
from noble_net.network.synapses import half_block, time_course
from noble_net.reference.channels import CALCIUM, CHANNELS, NERNST, calcium_step
from noble_net.reference.point_cells import PointCells
from noble_net.spikes import CONFIRM, REARM
from noble_net.types import BLOCK_SLOPE

THRESHOLD = f"sending*armed > 0 and v >= {CONFIRM!r}"
RESET = "armed = 0"


class SynapseCode(NamedTuple):
    """A kind of synapse in a group: its states, what an event of weight ``w`` adds to each, their time constants (ms),
    and its conductance (nS) or current (pA)."""

    states: tuple[str, ...]
    gains: tuple[float, ...]
    times: tuple[float, ...]
    course: str
    spec: SynapseSpec

    @property
    def on_event(self) -> str:
        """What an event does."""
        return "\n".join(
            f"{state}_post += {gain!r}*w" for state, gain in zip(self.states, self.gains, strict=True)
        )


def synapse_code(name: str, spec: SynapseSpec) -> SynapseCode:
    """A synapse as the states ``name`` and ``name_rising``.

    ``alpha`` is a double exponential of nearly equal times, as in NEURON: within 1e-4 of the peak.
    """
    if spec.model == "exp":
        return SynapseCode((name,), (1.0,), (spec.decay,), name, spec)
    rise, decay, factor = time_course(spec.rise or spec.decay, spec.decay)
    other = f"{name}_rising"
    return SynapseCode((name, other), (factor, factor), (decay, rise), f"({name} - {other})", spec)


def equations(cells: PointCells, synapses: Mapping[str, SynapseCode]) -> str:
    """The variables of a group of point cells."""
    states = ["v", "armed", "g_in", "j_in", "i_in", *(["cai"] if cells.calcium else [])]
    states += [f"{each}_{name}" for name in cells.conductance for each in CHANNELS[name].variables]
    states += [state for code in synapses.values() for state in code.states]
    constants = ["capacitance", "leak", "rest", "area", *(f"g_{name}" for name in cells.conductance)]
    constants += list(cells.constants)
    lines = [f"{each} : 1" for each in states] + [f"{each} : 1 (constant)" for each in constants]
    return "\n".join([*lines, "step : 1 (shared)", "held_step : 1 (shared)", "sending : 1 (shared)"])


def step_code(cells: PointCells, synapses: Mapping[str, SynapseCode]) -> str:
    """One step: voltage, then what goes by it, then the synapses, then whether the cell may spike again.

    ``step`` is the time by which gates go on, ``held_step`` that of all else: with 0, gates come to the steady state
    of a voltage that stays. ``sending`` is 0 while cells come to rest.
    """
    lines, outward, slope = _currents(cells), ["leak*(v - rest)", "g_in*v - j_in - i_in"], ["leak", "g_in"]
    if cells.calcium:
        lines.insert(0, f"eca_now = {NERNST}")
    for name in cells.conductance:
        channel, away = CHANNELS[name], f"(v - {_reversal(name, cells)})"
        outward.append(f"open_{name}*{away}")
        slope.append(f"open_{name}")
        if channel.steepness:
            slope.append(f"g_{name}*({channel.own(channel.steepness, name)})*{away}")
    for name, code in synapses.items():
        current, conductance, before = _synapse(name, code)
        lines += before
        outward.append(current)
        slope += [conductance] if conductance else []
    lines += [
        f"current = {' + '.join(outward)}",
        f"half = -current*held_step/(2*capacitance + held_step*({' + '.join(slope)}))",
    ]
    calcium = [name for name in cells.conductance if CHANNELS[name].reversal == "eca"]
    if cells.calcium:
        flow = " + ".join(f"open_{name}*(v + half - eca_now)" for name in calcium) or "0"
        lines.append(f"ica = 0.1*({flow})/area")
    lines.append("v = v + 2*half")
    if cells.calcium:
        lines.append(calcium_step())
    for name in cells.conductance:
        lines += CHANNELS[name].code(name)
    for code in synapses.values():
        lines += [
            f"{state} = {state}*exp(-held_step/{time!r})"
            for state, time in zip(code.states, code.times, strict=True)
        ]
    return "\n".join([*lines, f"armed = int(armed + int(v < {REARM!r}) > 0)"])


def _currents(cells: PointCells) -> list[str]:
    return [
        f"open_{name} = g_{name}*({CHANNELS[name].own(CHANNELS[name].opened, name)})"
        for name in cells.conductance
    ]


def _reversal(name: str, cells: PointCells) -> str:
    channel = CHANNELS[name]
    if channel.reversal == "eca" and cells.calcium:
        return "eca_now"
    return channel.own(channel.reversal, name)


def _synapse(name: str, code: SynapseCode) -> tuple[str, str, list[str]]:
    """Outward current, its slope over the voltage (or none), and statements that both need."""
    spec = code.spec
    if spec.kind == "current":
        return f"-{code.course}", "", []
    away = f"(v - {spec.reversal!r})"
    if spec.model != "nmda":
        return f"{code.course}*{away}", code.course, []
    half = half_block(spec)
    if math.isinf(half):
        return f"{code.course}*{away}", code.course, []
    # The unblocked share rises with voltage, and its slope belongs into a step that is implicit in the voltage.
    share = f"{name}_free = 1/(1 + exp(-{BLOCK_SLOPE!r}*(v - {half!r})))"
    slope = f"{code.course}*{name}_free*(1 + {BLOCK_SLOPE!r}*(1 - {name}_free)*{away})"
    return f"{code.course}*{name}_free*{away}", slope, [share]


CALCIUM_STATE = f"minCai_{CALCIUM}"
"""The constant ``cai`` begins with."""
