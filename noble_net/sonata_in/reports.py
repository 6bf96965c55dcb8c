"""What the reports of a simulation config become: reports of a network file."""

from __future__ import annotations

from typing import Any

from noble_net.sonata_in.config_files import ConfigFile
from noble_net.sonata_in.node_sets import NodeSets
from noble_net.specs.specification import nearest
from noble_net.types import DT

_OURS = {"i": "current", "g": "conductance"}
"""Variables of reports that noble-net alone writes."""


def read_reports(config: ConfigFile, sets: NodeSets, tstop: float, synapses: list[str]) -> dict[str, Any]:
    """The block `record`. Raises ConfigError for reports of anything but the soma, or two of one variable."""
    record: dict[str, Any] = {}
    ours = config.get("metadata", "simulator") == "noble-net"
    for name in config.mapping("reports"):
        keys = ("reports", name)
        if config.get(*keys, "enabled") is False:
            continue
        module = config.get(*keys, "module", default=config.get(*keys, "type", default="membrane_report"))
        if module not in ("membrane_report", "compartment"):
            key = "module" if config.get(*keys, "module") is not None else "type"
            raise config.error((*keys, key), "cannot be recorded here", "record v at the soma, or remove it")
        if config.get(*keys, "sections", default="soma") not in ("soma", ["soma"]):
            problem = "cells have one compartment here, the soma"
            raise config.error((*keys, "sections"), problem, 'write "soma", or remove the report')
        variable = config.get(*keys, "variable_name", default="v")
        report = _report(config, keys, sets, tstop)
        if variable in ("v", ["v"]):
            _put(record, "voltage", report, config, keys)
        elif ours and variable in _OURS:
            _put(record, _OURS[variable], report, config, keys)
        elif ours and str(variable)[:2] in ("g_", "i_") and str(variable)[2:] in synapses:
            record.setdefault("synapses", {})[str(variable)[2:]] = report
        else:
            raise config.error((*keys, "variable_name"), "cannot be recorded here", nearest(variable, ["v"]))
    return record


def _put(
    record: dict[str, Any], kind: str, report: dict[str, Any], config: ConfigFile, keys: tuple[str, ...]
) -> None:
    if kind in record:
        raise config.error(keys, f"is a second report of {kind}", "put all cells into one, or disable one")
    record[kind] = report


def _report(config: ConfigFile, keys: tuple[str, ...], sets: NodeSets, tstop: float) -> dict[str, Any]:
    key = "cells" if config.get(*keys, "cells") is not None else "node_set"
    found: dict[str, Any] = {"cells": sets.targets(config, *keys, key)}
    dt = config.number(*keys, "dt", default=DT)
    start = config.number(*keys, "start_time", default=0.0)
    stop = config.number(*keys, "end_time", default=tstop)
    found |= {"dt": f"{max(dt, DT)!r} ms", "start": f"{start!r} ms"}
    return found if stop >= tstop else {**found, "stop": f"{stop!r} ms"}
