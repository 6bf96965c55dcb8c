"""From a simulation config to a network, and notes of what could not be taken as it stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noble_net.config import NetworkSpec, network_from, with_overrides
from noble_net.sonata_in.cells import Cells, read_cells
from noble_net.sonata_in.config_files import ConfigFile
from noble_net.sonata_in.connections import read_connections
from noble_net.sonata_in.inputs import read_spike_files, read_stimuli
from noble_net.sonata_in.mapping import CellTypes, read_cell_types
from noble_net.sonata_in.names import Names, plain_name
from noble_net.sonata_in.node_sets import NodeSets
from noble_net.sonata_in.reports import read_reports
from noble_net.types import DT

_MOST_SEED = 2**63 - 1


@dataclass(frozen=True)
class Translation:
    """A network, what to know of it beside, and where the config wants results (None: it does not say)."""

    network: NetworkSpec
    notes: tuple[str, ...]
    output: Path | None


def load_simulation(
    path: Path | str, cell_types: Path | str | None = None, overrides: dict[str, Any] | None = None
) -> Translation:
    """The simulation that a SONATA config describes, as a network.

    ``path``: a simulation config, or bmtk's config.json that names one. ``cell_types``: a table of what nodes become
    (see `noble_net.sonata_in.mapping`). ``overrides`` are those of `load_network`.

    The network names the circuit's files, and reads as a network file of its own (`dump_network`). Raises ConfigError,
    with file, key and remedy, for what it cannot hold.
    """
    config = ConfigFile(path)
    together = config
    if config.get("simulation") is not None and config.get("run") is None:
        together, config = config, ConfigFile(config.there("simulation"))
    circuit = _circuit(config, together)
    cells = read_cells(circuit, CellTypes() if cell_types is None else read_cell_types(cell_types))
    sets = NodeSets(cells, _node_set_files(circuit, config))
    tstop = _run(config)
    spikes = read_spike_files(config, cells, sets)
    names = Names()
    stimuli = read_stimuli(config, sets, tstop, names)
    connections = read_connections(circuit, cells, spikes, names)
    record = read_reports(config, sets, tstop, list(connections.synapses))
    data: dict[str, Any] = {
        "name": _name(config),
        **_seeds(config),
        "duration": f"{tstop!r} ms",
        "core": next(iter(cells.populations.values()))["core"],
        "populations": cells.populations,
        "node_sets": sets.named,
        "synapses": connections.synapses,
        "projections": connections.projections,
        "stimuli": [*stimuli, *connections.replays],
        "record": record,
    }
    spec = network_from(data, config.path)
    if overrides:
        spec = with_overrides(spec, overrides)
    notes = (*cells.notes, *connections.notes, *_notes(config, cells))
    output = config.file("output", "output_dir") if config.get("output", "output_dir") is not None else None
    return Translation(spec, tuple(dict.fromkeys(notes)), output)


def _circuit(config: ConfigFile, together: ConfigFile) -> ConfigFile:
    """The config that holds `networks`: the one `network` names, or the simulation's own."""
    for file in (config, together):
        if file.get("networks") is not None:
            return file
        if file.get("network") is not None:
            return ConfigFile(file.there("network"))
    raise config.error((), "names no circuit", 'add "network": "circuit_config.json"')


def _node_set_files(circuit: ConfigFile, config: ConfigFile) -> list[ConfigFile]:
    """Node sets of the circuit, then those of the simulation, which count where both have one."""
    files = [file for file in (circuit, config) if file.get("node_sets_file") is not None]
    return [ConfigFile(file.there("node_sets_file")) for file in files]


def _run(config: ConfigFile) -> float:
    """How long to simulate, ms. ConfigError for what would be another simulation."""
    if config.number("run", "tstart", default=0.0) != 0.0:
        raise config.error(("run", "tstart"), "a run starts at 0 ms", "give 0")
    for keys in (("connection_overrides",), ("conditions", "modifications")):
        if config.get(*keys):
            raise config.error(keys, "cannot be held", "remove it")
    tstop = config.number("run", "tstop")
    if tstop < DT:
        raise config.error(("run", "tstop"), "is too short", "give the end of the run in ms")
    return tstop


def _seeds(config: ConfigFile) -> dict[str, Any]:
    """Seeds and warm-up: a run of ours says all of them in its metadata."""
    found: dict[str, Any] = {"seed": 1}
    seed = config.get("run", "random_seed")
    if isinstance(seed, int):
        found["seed"] = seed
    if config.get("metadata", "simulator") != "noble-net":
        return found
    for key in ("seed", "noise_seed"):
        text = str(config.get("metadata", key, default=""))
        if text.isdigit() and int(text) <= _MOST_SEED:
            found[key] = int(text)
    if config.get("metadata", "warmup") is not None:
        found["warmup"] = f"{config.number('metadata', 'warmup')!r} ms"
    return found


def _name(config: ConfigFile) -> str:
    given = config.get("metadata", "network")
    return plain_name(str(given) if given else config.path.resolve().parent.name)


def _notes(config: ConfigFile, cells: Cells) -> list[str]:
    notes = []
    dt = config.number("run", "dt", default=DT)
    if dt != DT:
        notes.append(f"the step is {DT:g} ms, not {dt:g} ms: every core is made for it")
    conditions = [key for key in config.mapping("conditions") if key != "modifications"]
    if conditions:
        notes.append(f"conditions ({', '.join(conditions)}) are not read: every cell starts at its own rest")
    left = config.get("metadata", "left_out")
    if left:
        notes.append(
            f"the run that wrote this config had parts that SONATA cannot hold, left out here: {left}"
        )
    return notes
