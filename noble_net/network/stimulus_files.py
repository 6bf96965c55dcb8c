"""Files that stimuli are read from: currents and rates. They are checked as a whole before a run."""

from __future__ import annotations

import numpy as np

from noble_net.config import NetworkSpec, config_error
from noble_net.errors import ConfigError
from noble_net.network.current_tables import FileFault, TableReader, opening
from noble_net.sonata.spikes import SpikeStream
from noble_net.specs.specification import nearest
from noble_net.specs.stimuli import CurrentTableSpec
from noble_net.types import Float64


def read_rate_table(path: str) -> tuple[Float64, Float64]:
    """Times (ms) and rates (Hz) of a CSV file. Raises FileFault when it is none."""
    import pandas as pd

    with opening(path, "rate_table"):
        try:
            table = pd.read_csv(path)
            columns = [table[name].to_numpy(np.float64) for name in ("time", "rate")]
        except (KeyError, ValueError):
            problem = f"{path}: has no columns of numbers called time and rate"
            raise FileFault(problem, "name them in its first line", "rate_table") from None
    times, rates = columns
    if not len(times) or not np.isfinite(columns).all() or (np.diff(times) <= 0).any() or (rates < 0).any():
        problem = f"{path}: times do not ascend, or a rate is negative or missing"
        raise FileFault(problem, "give times in ms, ascending, and rates in Hz", "rate_table")
    return times, rates


def check_files(spec: NetworkSpec) -> None:
    """Refuse stimuli whose files are missing or wrong: ConfigError at the line of the key that names them."""
    for index, stimulus in enumerate(spec.stimuli):
        try:
            if stimulus.current_table is not None:
                open_table(stimulus.current_table).check()
            elif stimulus.synapse_replay is not None:
                with opening(stimulus.synapse_replay.file):
                    _check_spikes(stimulus.synapse_replay.file, stimulus.synapse_replay.population)
            elif stimulus.poisson is not None and stimulus.poisson.rate_table is not None:
                read_rate_table(stimulus.poisson.rate_table)
        except FileFault as fault:
            raise _refused(spec, index, fault) from None


def check_columns(spec: NetworkSpec, index: int, cells: int) -> None:
    """Refuse a table of currents that fits neither all ``cells`` of stimulus ``index`` together nor each."""
    table = spec.stimuli[index].current_table
    if table is None:
        return
    columns = open_table(table).columns
    if columns not in (1, cells):
        problem = f"{table.file} has {columns} columns, {spec.stimuli[index].to} has {cells} cells"
        raise _refused(spec, index, FileFault(problem, "give one column, or one for every cell"))


def open_table(spec: CurrentTableSpec) -> TableReader:
    """The table of a stimulus. Raises FileFault when there is none."""
    return TableReader(spec.file, spec.dataset, spec.dt)


def _refused(spec: NetworkSpec, index: int, fault: FileFault) -> ConfigError:
    stimulus = spec.stimuli[index]
    return config_error(spec, ("stimuli", index, stimulus.kind, fault.key), fault.problem, fault.remedy)


def _check_spikes(path: str, population: str) -> None:
    stream = SpikeStream(path, population)
    if population not in stream.populations:
        problem = f"{path} has no spikes of such a population"
        raise FileFault(problem, nearest(population, stream.populations), "population")
    if not stream.is_sorted():
        problem = f"{path}: spikes of {population} are not sorted by time, as the file says they are"
        raise FileFault(problem, "sort them, or remove the attribute `sorting`")
