"""What the inputs of a simulation config become: stimuli of a network file, and files of spikes of virtual nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py

from noble_net.sonata.inputs import FROM_WARMUP
from noble_net.sonata_in.cells import Cells
from noble_net.sonata_in.config_files import ConfigFile
from noble_net.sonata_in.names import Names
from noble_net.sonata_in.node_sets import NodeSets
from noble_net.specs.specification import nearest

_SPIKES = {"spikes": ("sonata", "h5", "replay", "synapse_replay")}


class _Input(NamedTuple):
    """One input: where its numbers stand, and when the run ends, ms."""

    config: ConfigFile
    name: str
    tstop: float

    def number(self, key: str, unit: str, default: float | None = None) -> str:
        """A quantity of a network file."""
        return f"{self.config.number('inputs', self.name, key, default=default)!r} {unit}"

    def when(self) -> dict[str, str]:
        """`delay` and, if given, `duration`; no delay where it acts through the warm-up."""
        warming = self.config.get("inputs", self.name, FROM_WARMUP, default=False)
        found = {} if warming else {"delay": self.number("delay", "ms", 0.0)}
        if self.config.get("inputs", self.name, "duration") is not None:
            found["duration"] = self.number("duration", "ms")
        return found

    def bounded(self) -> dict[str, str]:
        """`delay` and `duration`, to the end of the run unless given."""
        delay = self.config.number("inputs", self.name, "delay", default=0.0)
        return {"duration": f"{self.tstop - delay!r} ms", **self.when()}

    def root(self, key: str) -> str:
        """The standard deviation, nA or nS, of a variance."""
        value = self.config.number("inputs", self.name, key)
        if value < 0:
            raise self.config.error(("inputs", self.name, key), "is below 0", "give a variance")
        return f"{math.sqrt(value)!r} {self.unit}"

    @property
    def unit(self) -> str:
        """nA of a current, nS of a conductance."""
        return "nS" if self.config.get("inputs", self.name, "input_type") == "conductance" else "nA"

    def reversal(self) -> dict[str, str]:
        """`reversal` of a conductance."""
        return {"reversal": self.number("reversal", "mV", 0.0)} if self.unit == "nS" else {}


def _steps(given: _Input) -> list[dict[str, Any]]:
    """bmtk's IClamp: one step, or lists of them."""
    path = ("inputs", given.name)
    columns = []
    for key in ("amp", "delay", "duration"):
        value = given.config.get(*path, key)
        if isinstance(value, list):
            columns.append([given.config.number(*path, key, index) for index in range(len(value))])
        else:
            columns.append([given.config.number(*path, key)])
    if len({len(column) for column in columns}) > 1:
        raise given.config.error(
            (*path, "amp"), "amp, delay and duration differ in length", "make them equal"
        )
    return [
        {"amplitude": f"{amp!r} nA", "start": f"{delay!r} ms", "stop": f"{round(delay + duration, 9)!r} ms"}
        for amp, delay, duration in zip(*columns, strict=True)
        if duration > 0
    ]


def _linear(given: _Input) -> list[dict[str, Any]]:
    start = given.config.number("inputs", given.name, "amp_start")
    ends = {"amp_start": f"{start!r} nA", "amp_end": given.number("amp_end", "nA", start)}
    return [{**ends, **given.bounded()}]


def _pulse(given: _Input) -> list[dict[str, Any]]:
    pulse = {"amp": given.number("amp_start", "nA"), "width": given.number("width", "ms")}
    return [{**pulse, "frequency": given.number("frequency", "Hz"), **given.when()}]


def _sinusoidal(given: _Input) -> list[dict[str, Any]]:
    wave = {"amp": given.number("amp_start", "nA"), "frequency": given.number("frequency", "Hz")}
    if given.config.get("inputs", given.name, "dt") is not None:
        wave["dt"] = given.number("dt", "ms")
    return [{**wave, **given.when()}]


def _noise(given: _Input) -> list[dict[str, Any]]:
    noise = {"mean": given.number("mean", "nA"), "sigma": given.root("variance")}
    if given.config.get("inputs", given.name, "dt") is not None:
        noise["dt"] = given.number("dt", "ms")
    return [{**noise, **given.when()}]


def _shot_noise(given: _Input) -> list[dict[str, Any]]:
    times = {"rise": given.number("rise_time", "ms"), "decay": given.number("decay_time", "ms")}
    sizes = {"amp_mean": given.number("amp_mean", given.unit), "amp_std": given.root("amp_var")}
    return [{**times, **sizes, "rate": given.number("rate", "Hz"), **given.reversal(), **given.when()}]


def _ornstein_uhlenbeck(given: _Input) -> list[dict[str, Any]]:
    process = {"mean": given.number("mean", given.unit), "sigma": given.number("sigma", given.unit)}
    return [{**process, "tau": given.number("tau", "ms"), **given.reversal(), **given.when()}]


_CURRENTS: Mapping[str, tuple[str, Callable[[_Input], list[dict[str, Any]]]]] = {
    "IClamp": ("step", _steps),
    "linear": ("linear", _linear),
    "pulse": ("pulse", _pulse),
    "sinusoidal": ("sinusoidal", _sinusoidal),
    "noise": ("noise", _noise),
    "shot_noise": ("shot_noise", _shot_noise),
    "ornstein_uhlenbeck": ("ornstein_uhlenbeck", _ornstein_uhlenbeck),
}
"""SONATA's name of a module, that of a stimulus, and what makes one of the other."""


def read_stimuli(config: ConfigFile, sets: NodeSets, tstop: float, names: Names) -> list[dict[str, Any]]:
    """The stimuli of a simulation that inject, in the file's order. Raises ConfigError for others it cannot hold."""
    found = []
    for name in config.mapping("inputs"):
        module = _module(config, name)
        if module is None or module in _SPIKES["spikes"]:
            continue
        stimulus, read = _CURRENTS[module]
        targets, made = sets.targets(config, "inputs", name, "node_set"), read(_Input(config, name, tstop))
        for target in targets:
            apart = (target,) if len(targets) > 1 else ()
            found += [{"name": names.new(name, *apart), "to": target, stimulus: each} for each in made]
    return found


def read_spike_files(config: ConfigFile, cells: Cells, sets: NodeSets) -> dict[str, list[Path]]:
    """The files of spikes of every virtual population, as far as a simulation names some."""
    found: dict[str, list[Path]] = {}
    for name in config.mapping("inputs"):
        module = _module(config, name)
        if module not in _SPIKES["spikes"]:
            continue
        keys = ("inputs", name)
        key = next(
            (key for key in ("input_file", "spike_file") if config.get(*keys, key) is not None), "input_file"
        )
        file = config.there(*keys, key)
        if config.number(*keys, "delay", default=0.0) != 0.0:
            remedy = "move the spikes themselves, and give 0"
            raise config.error((*keys, "delay"), "replayed spikes are not moved in time", remedy)
        try:
            with h5py.File(file, "r") as opened:
                inside = set(opened["spikes"])
        except (OSError, KeyError) as error:
            problem = f"{file} is no SONATA file of spikes"
            raise config.error(
                (*keys, key), problem, "give one, such as bmtk's to_sonata() writes"
            ) from error
        wanted = inside & cells.virtual
        if key == "input_file" and config.get(*keys, "node_set") is not None:
            wanted &= sets.populations(config, *keys, "node_set")
        if not wanted:
            has = f"{file} has spikes of {', '.join(sorted(inside)) or 'nobody'}"
            virtual = ", ".join(sorted(cells.virtual)) or "none"
            raise config.error((*keys, key), has, f"virtual populations that can have some: {virtual}")
        for population in sorted(wanted):
            found.setdefault(population, []).append(file)
    return found


def _module(config: ConfigFile, name: str) -> str | None:
    """The module of an input that is in use. Raises ConfigError for one that is unknown."""
    keys = ("inputs", name)
    if config.get(*keys, "enabled") is False:
        return None
    module = config.get(*keys, "module")
    known = (*_CURRENTS, *_SPIKES["spikes"])
    if module not in known:
        what = "is missing" if module is None else "cannot be simulated here"
        raise config.error((*keys, "module"), what, nearest(module, known))
    if module in _CURRENTS and config.get(*keys, "input_type") not in ("current_clamp", "conductance", None):
        problem = f"module {module} injects a current"
        raise config.error((*keys, "input_type"), problem, "write current_clamp, or conductance")
    if config.get(*keys, "node_set") is None and config.get(*keys, "compartment_set") is not None:
        raise config.error((*keys, "compartment_set"), "cells have one compartment here", "give a node_set")
    return str(module)
