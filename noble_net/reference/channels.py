"""The channels of the Allen cell models as strings of Brian2's language, for one compartment.

Each is written after the NMODL file of its name in bmtk's folder (`noble_net.cells.mechanisms.bmtk_folder`), which
names the measurements behind it; the order of terms is kept. Voltages in mV, times in ms, concentrations in mM, all
without units. Names within a channel (gates, rates) are its own: `Channel.code` puts the channel's name behind them.
From outside come ``v``, ``cai``, ``celsius`` and the times to advance by: ``step``, and ``held_step``, which is the
same, or 0 where nothing but gates is to move.

Gates go on as NEURON's `cnexp` does, exactly for a voltage that is held through the step; the sodium channel of twelve
states as its `sparse` does with `secondorder = 2`, by a Crank–Nicolson step, solved here pair by pair (`kinetic_step`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Channel:
    """One kind of channel. ``rates``: name → expression, in the order they are needed; ``gates``: name → names of its
    steady state and time constant; ``opened``: the open share, and ``steepness`` its slope over v where it has one at
    once; ``reversal``: ``ena``, ``ek``, ``eca`` or a number.

    ``states`` and ``scheme`` are of channels that are no product of gates: their states and the code of one step.
    """

    opened: str
    reversal: str
    gates: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    rates: Mapping[str, str] = field(default_factory=dict)
    states: tuple[str, ...] = ()
    scheme: tuple[str, ...] = ()
    steepness: str = ""

    @property
    def variables(self) -> tuple[str, ...]:
        """What the channel remembers: its gates, or its states."""
        return (*self.gates, *self.states)

    def code(self, name: str) -> list[str]:
        """Statements that advance the channel by ``step``, as that of this name."""
        lines = [f"{rate} = {expression}" for rate, expression in self.rates.items()]
        lines += [
            f"{gate} = {gate} + (1 - exp(-step/({tau})))*({steady} - {gate})"
            for gate, (steady, tau) in self.gates.items()
        ]
        return [self.own(line, name) for line in [*lines, *self.scheme]]

    def own(self, expression: str, name: str) -> str:
        """An expression with the channel's name behind everything of its own."""
        mine = {*self.variables, *self.rates, *_assigned(self.scheme)}
        return re.sub(r"\b[A-Za-z_]\w*\b", lambda m: f"{m[0]}_{name}" if m[0] in mine else m[0], expression)


def _assigned(lines: tuple[str, ...]) -> set[str]:
    return {line.partition(" = ")[0] for line in lines}


def q10(reference: float) -> str:
    """How much faster than at ``reference`` °C (Q₁₀ of 2.3, in all files)."""
    return f"2.3**((celsius - {reference!r})/10)"


def trap(x: str, y: float) -> str:
    """x/(e^(x/y) − 1), also where x is 0: `vtrap` of the NMODL files."""
    return f"{y!r}/exprel(({x})/{y!r})"


def kinetic_step(pairs: int) -> tuple[str, ...]:
    """One Crank–Nicolson step of a ladder: chains ``C`` and ``I`` of so many states, with rungs between them.

    An implicit Euler step of half the time, from which the other half is extrapolated; with ``held_step`` 0 it is left
    at the implicit one, which takes long steps to equilibrium.

    Rates: ``up0``… ``down0``… along C, ``iup0``… ``idown0``… along I, ``shut0``… C → I and ``open0``… I → C. The
    system is block tridiagonal with blocks of 2 × 2, so elimination without pivots (Thomas) solves it; the sums
    of its columns keep it stable, and the sum of all states.
    """
    lines, entries = ["part = step/2", "beyond = 1 + held_step/step"], "abcd"
    for j in range(pairs):
        leave_c, leave_i = [f"shut{j}"], [f"open{j}"]
        if j + 1 < pairs:
            leave_c, leave_i = [*leave_c, f"up{j}"], [*leave_i, f"iup{j}"]
        if j:
            leave_c, leave_i = [*leave_c, f"down{j - 1}"], [*leave_i, f"idown{j - 1}"]
        block = [f"1 + part*({' + '.join(leave_c)})", f"-part*open{j}", f"-part*shut{j}"]
        block.append(f"1 + part*({' + '.join(leave_i)})")
        right = [f"C{j}", f"I{j}"]
        if j:
            p = j - 1
            lines += [f"du{p} = part*up{p}", f"di{p} = part*iup{p}"]
            ups, downs = (f"du{p}", f"di{p}"), (f"part*down{p}", f"part*idown{p}")
            for entry, (row, column) in zip("abcd", ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
                block[entries.index(entry)] += f" - {ups[row]}*n{entry}{p}*{downs[column]}"
            right[0] += f" + du{p}*(na{p}*rc{p} + nb{p}*ri{p})"
            right[1] += f" + di{p}*(nc{p}*rc{p} + nd{p}*ri{p})"
        lines += [f"{entry}{j} = {value}" for entry, value in zip(entries, block, strict=True)]
        lines += [
            f"det{j} = a{j}*d{j} - b{j}*c{j}",
            f"na{j} = d{j}/det{j}",
            f"nb{j} = -b{j}/det{j}",
            f"nc{j} = -c{j}/det{j}",
            f"nd{j} = a{j}/det{j}",
        ]
        lines += [f"rc{j} = {right[0]}", f"ri{j} = {right[1]}"]
    for j in reversed(range(pairs)):
        if j + 1 < pairs:
            lines += [
                f"bc{j} = rc{j} + part*down{j}*sc{j + 1}",
                f"bi{j} = ri{j} + part*idown{j}*si{j + 1}",
            ]
        else:
            lines += [f"bc{j} = rc{j}", f"bi{j} = ri{j}"]
        lines += [f"sc{j} = na{j}*bc{j} + nb{j}*bi{j}", f"si{j} = nc{j}*bc{j} + nd{j}*bi{j}"]
        lines += [f"C{j} = C{j} + beyond*(sc{j} - C{j})", f"I{j} = I{j} + beyond*(si{j} - I{j})"]
    return tuple(lines)


def _sodium_rates() -> dict[str, str]:
    """Of NaV (Carter et al. 2012): four steps of activation, one of opening, each with inactivation beside it."""
    rates = {"qt": q10(37.0), "rise": "qt*400*exp(v/24)", "fall": "qt*12*exp(-v/24)"}
    for j in range(4):
        rates[f"up{j}"] = f"{4 - j}*rise"
        rates[f"down{j}"] = f"{j + 1}*fall"
        rates[f"iup{j}"] = f"{4 - j}*rise*2.51"
        rates[f"idown{j}"] = f"{j + 1}*fall/5.32"
    rates |= {"up4": "qt*250", "down4": "qt*60", "iup4": "qt*250", "idown4": "qt*60"}
    for j in range(5):
        rates[f"shut{j}"] = f"qt*0.01*{2.51**j!r}"
        rates[f"open{j}"] = f"qt*40/{5.32**j!r}"
    return rates | {"shut5": "qt*8", "open5": "qt*0.05"}


def _transient_sodium(m_half: float, h_half: float) -> Channel:
    """NaTs and NaTa (Colbert & Pan 2002)."""
    rates = {
        "ma": "0.182*" + trap(f"-(v - {m_half!r})", 6.0),
        "mb": "0.124*" + trap(f"v - {m_half!r}", 6.0),
        "ha": "0.015*" + trap(f"v - {h_half!r}", 6.0),
        "hb": "0.015*" + trap(f"-(v - {h_half!r})", 6.0),
    }
    qt = q10(23.0)
    gates = {"m": ("ma/(ma + mb)", f"1/(ma + mb)/{qt}"), "h": ("ha/(ha + hb)", f"1/(ha + hb)/{qt}")}
    return Channel("m*m*m*h", "ena", gates, rates)


_PERSISTENT = "1/(1 + exp((v + 52.6)/-4.6))"

CHANNELS: Mapping[str, Channel] = {
    "NaV": Channel(
        "C5",
        "ena",
        rates=_sodium_rates(),
        states=tuple(f"{chain}{j}" for chain in "CI" for j in range(6)),
        scheme=kinetic_step(6),
    ),
    "NaTs": _transient_sodium(-40.0, -66.0),
    "NaTa": _transient_sodium(-48.0, -69.0),
    "Nap": Channel(
        f"h*({_PERSISTENT})",
        "ena",
        {"h": ("1/(1 + exp((v + 48.8)/10))", f"1/(ha + hb)/{q10(21.0)}")},
        {"ha": "2.88e-6*" + trap("v + 17", 4.63), "hb": "6.94e-6*" + trap("-(v + 64.4)", 2.63)},
        steepness=f"h*({_PERSISTENT})*(1 - {_PERSISTENT})/4.6",
    ),
    "Kv3_1": Channel(
        "m",
        "ek",
        {
            "m": (
                "1/(1 + exp((v - 18.7)/-9.7))",
                "0.2*20/(1 + exp((v + 46.56)/-44.14))",
            )
        },
    ),
    "Kd": Channel(
        "m*h",
        "ek",
        {"m": ("1 - 1/(1 + exp((v + 43)/8))", "1.0"), "h": ("1/(1 + exp((v + 67)/7.3))", "1500.0")},
    ),
    "K_T": Channel(
        "m*m*m*m*h",
        "ek",
        {
            "m": (
                "1/(1 + exp(-(v + 47)/29))",
                f"(0.34 + 0.92*exp(-((v + 71)/59)**2))/{q10(21.0)}",
            ),
            "h": (
                "1/(1 + exp(-(v + 66)/-10))",
                f"(8 + 49*exp(-((v + 73)/23)**2))/{q10(21.0)}",
            ),
        },
    ),
    "K_P": Channel(
        "m*m*h",
        "ek",
        {
            "m": ("1/(1 + exp(-(v + 14.3)/14.6))", f"slow/{q10(21.0)}"),
            "h": (
                "1/(1 + exp(-(v + 54)/-11))",
                f"(360 + (1010 + 24*(v + 55))*exp(-((v + 75)/48)**2))/{q10(21.0)}",
            ),
        },
        {
            "low": "int(v < -50)",
            "slow": "1.25 + low*175.03*exp(v*0.026) + (1 - low)*13*exp(-v*0.026)",
        },
    ),
    "Kv2like": Channel(
        "m*m*(0.5*h1 + 0.5*h2)",
        "ek",
        {
            "m": ("ma/(ma + mb)", f"2.5/({q10(21.0)}*(ma + mb))"),
            "h1": ("hinf", f"(360 + (1010 + 23.7*(v + 54))*exp(-((v + 75)/48)**2))/{q10(21.0)}"),
            "h2": ("hinf", f"(2350 + 1380*exp(-0.011*v) - 210*exp(-0.03*v))/{q10(21.0)}"),
        },
        {
            "ma": "0.12*" + trap("-(v - 43)", 11.0),
            "mb": "0.02*exp(-(v + 1.27)/120)",
            "hinf": "1/(1 + exp((v + 58)/11))",
        },
    ),
    "Im": Channel(
        "m",
        "ek",
        {"m": ("ma/(ma + mb)", f"1/(ma + mb)/{q10(21.0)}")},
        {"ma": "3.3e-3*exp(2.5*0.04*(v + 35))", "mb": "3.3e-3*exp(-2.5*0.04*(v + 35))"},
    ),
    "Im_v2": Channel(
        "m",
        "ek",
        {"m": ("ma/(ma + mb)", f"(15 + 1/(ma + mb))/{q10(30.0)}")},
        {
            "ma": "0.007*exp(6*0.4*(v + 48)/26.12)",
            "mb": "0.007*exp(-6*(1 - 0.4)*(v + 48)/26.12)",
        },
    ),
    "SK": Channel(
        "z",
        "ek",
        {"z": ("1/(1 + (0.00043/(cai + 1e-7*int(cai < 1e-7)))**4.8)", "1.0")},
    ),
    "Ca_HVA": Channel(
        "m*m*h",
        "eca",
        {"m": ("ma/(ma + mb)", "1/(ma + mb)"), "h": ("ha/(ha + hb)", "1/(ha + hb)")},
        {
            "ma": "0.055*" + trap("-27 - v", 3.8),
            "mb": "0.94*exp((-75 - v)/17)",
            "ha": "0.000457*exp((-13 - v)/50)",
            "hb": "0.0065/(exp((-v - 15)/28) + 1)",
        },
    ),
    "Ca_LVA": Channel(
        "m*m*h",
        "eca",
        {
            "m": ("1/(1 + exp((v + 40)/-6))", f"(5 + 20/(1 + exp((v + 35)/5)))/{q10(21.0)}"),
            "h": ("1/(1 + exp((v + 90)/6.4))", f"(20 + 50/(1 + exp((v + 50)/7)))/{q10(21.0)}"),
        },
    ),
    "Ih": Channel(
        "m",
        "-45.0",
        {"m": ("ma/(ma + mb)", "1/(ma + mb)")},
        {"ma": "0.001*6.43*" + trap("v + 154.9", 11.9), "mb": "0.001*193*exp(v/33.1)"},
    ),
}
"""By the name of the mechanism."""

CALCIUM = "CaDynamics"
"""The mechanism that follows the concentration of calcium under the membrane (after Destexhe et al. 1994)."""

CALCIUM_PARAMETERS: Mapping[str, float] = {"gamma": 0.05, "decay": 80.0, "depth": 0.1, "minCai": 1e-4}
"""Its share that stays free, time constant of removal (ms), depth of the shell (µm) and resting concentration (mM)."""

FARADAY = 96485.33212
GAS = 8.31446261815324
CALCIUM_OUTSIDE = 2.0
"""NEURON's concentration outside, mM."""


def calcium_step() -> str:
    """Advance ``cai`` by ``held_step`` under the calcium current ``ica`` (mA/cm²), held through it."""
    c = f"_{CALCIUM}"
    inflow = f"10000*ica*gamma{c}/(2*{FARADAY!r}*depth{c})"
    return f"cai = cai + (1 - exp(-held_step/decay{c}))*(minCai{c} - decay{c}*{inflow} - cai)"


NERNST = f"1000*{GAS!r}*(celsius + 273.15)/(2*{FARADAY!r})*log({CALCIUM_OUTSIDE!r}/cai)"
"""Reversal potential of calcium, mV."""
