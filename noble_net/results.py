"""A finished (or interrupted) run, read back from its directory as arrays and pandas tables."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noble_net.errors import OutputError
from noble_net.output import read_json, reading
from noble_net.run_files import recover_folder
from noble_net.sonata import (
    read_edges,
    read_nodes,
    read_rates,
    read_report,
    read_spikes,
    reported_populations,
)
from noble_net.types import Float64, Int64

if TYPE_CHECKING:
    import pandas as pd


def load_results(run_dir: Path | str) -> Results:
    """Open the directory a run wrote.

    Only summary.json and the cells are read at once; spikes and voltage when first asked for. A run that was
    killed before it could write summary.json opens too, with ``summary['completed']`` False. OutputError,
    naming the path, when the directory is no run or a file in it is missing or damaged.

    >>> results = load_results("runs/quickstart")                          # doctest: +SKIP
    >>> results.rates("pv").mean()                                         # doctest: +SKIP
    41.2
    >>> results.spikes("pv").query("time < 100").groupby("cell").size()    # doctest: +SKIP
    """
    return Results(Path(run_dir))


class Results:
    """What a run left: ``path``, ``summary`` (the content of summary.json), cells, spikes, reports.

    Times are ms from the end of the warm-up, cells are numbered from 0 within their population.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path, "run"):
            recover_folder(path)
        if not (path / "nodes.h5").is_file():
            raise OutputError(
                f"{path}: holds no run (no nodes.h5). Give a directory that `noble-net run` wrote."
            )
        self._nodes = read_nodes(path / "nodes.h5")
        self.summary: dict[str, Any] = (
            read_json(path / "summary.json", "summary")
            if (path / "summary.json").is_file()
            else self._summary_of_a_killed_run()
        )

    def _summary_of_a_killed_run(self) -> dict[str, Any]:
        config = read_json(self.path / "simulation_config.json", "simulation config")
        run = config.get("run", {})
        last = [times[-1] for times, _ in self._spikes.values() if len(times)] if self.has_spikes else []
        return {
            "name": self.path.name,
            "seed": run.get("random_seed"),
            "duration_ms": float(run.get("tstop", 0.0)),
            "simulated_ms": float(max(last, default=0.0)),
            "completed": False,
        }

    @property
    def name(self) -> str:
        """The network's name."""
        return str(self.summary.get("name", self.path.name))

    @property
    def backend(self) -> str:
        """What simulated it: 'surrogate', 'neuron', 'brian2'; 'unknown' where the summary does not tell."""
        return str(self.summary.get("backend", "unknown"))

    @property
    def seed(self) -> int | None:
        """The seed of the run's random numbers."""
        return self.summary.get("seed")

    @property
    def noise_seed(self) -> int | None:
        """The seed of the stimuli's noise; `seed` unless the run gave another."""
        noise_seed: int | None = self.summary.get("noise_seed")
        return self.seed if noise_seed is None else noise_seed

    @property
    def duration(self) -> float:
        """Recorded time in ms, without the warm-up: as asked for, or less if interrupted."""
        duration = float(self.summary.get("duration_ms", 0.0))
        return (
            duration
            if self.summary.get("completed", True)
            else float(self.summary.get("simulated_ms", duration))
        )

    @property
    def populations(self) -> tuple[str, ...]:
        """Names of the populations, in the network file's order where the summary tells it."""
        told = [name for name in self.summary.get("populations", {}) if name in self._nodes]
        return tuple(told) if len(told) == len(self._nodes) else tuple(self._nodes)

    @property
    def has_spikes(self) -> bool:
        """Whether the run recorded spikes."""
        return (self.path / "spikes.h5").is_file()

    @property
    def has_voltage(self) -> bool:
        """Whether the run recorded voltage."""
        return (self.path / "voltage.h5").is_file()

    def size(self, population: str) -> int:
        """Number of cells."""
        return len(self.nodes(population))

    def nodes(self, population: str) -> pd.DataFrame:
        """One row per cell: label (its member, or how it was sampled), I_thr (nA), s_thr (Hz/nA), latents"""
        return self._nodes[self._known(population)]

    def spikes(self, population: str) -> pd.DataFrame:
        """All spikes as a table of ``time`` (ms) and ``cell``, sorted by time."""
        import pandas as pd

        times, cells = self.spike_arrays(population)
        return pd.DataFrame({"time": times, "cell": cells})

    def spike_arrays(self, population: str) -> tuple[Float64, Int64]:
        """All spikes as arrays (time in ms [n], cell [n]), sorted by time."""
        self._known(population)
        return self._spikes.get(population, (np.empty(0), np.empty(0, np.int64)))

    def trains(self, population: str) -> list[Float64]:
        """Spike times (ms) of every cell, one sorted array per cell."""
        times, cells = self.spike_arrays(population)
        order = np.argsort(cells, kind="stable")
        ends = np.cumsum(np.bincount(cells, minlength=self.size(population)))
        return [np.asarray(train) for train in np.split(times[order], ends[:-1])]

    def rates(self, population: str) -> Float64:
        """Firing rate of every cell over the recorded time, Hz [cells]."""
        counts = np.bincount(self.spike_arrays(population)[1], minlength=self.size(population))
        return counts.astype(np.float64) * (1000.0 / self.duration if self.duration else 0.0)

    def voltage(self, population: str, start: float = 0.0, stop: float = np.inf) -> pd.DataFrame:
        """Somatic voltage in mV: the report `voltage`, see `recording`."""
        return self.recording("voltage", population, start, stop)

    @property
    def recordings(self) -> tuple[str, ...]:
        """Reports the run left: `voltage`, `current` (nA), `conductance` (nS), `synapse-…` (nS or pA)."""
        plain = ("voltage", "current", "conductance")
        found = [name for name in plain if (self.path / f"{name}.h5").is_file()]
        return (*found, *sorted(path.stem for path in self.path.glob("synapse-*.h5")))

    def recording(
        self, report: str, population: str, start: float = 0.0, stop: float = np.inf
    ) -> pd.DataFrame:
        """A report of `recordings`: one row per frame (index: time in ms), one column per recorded cell, of which a
        population may have none.

        Only ``start`` ≤ time < ``stop`` (ms) is read.
        """
        import pandas as pd

        path = self.path / f"{report}.h5"
        if self._known(population) not in reported_populations(path):
            return pd.DataFrame(index=pd.Index([], name="time"), columns=pd.Index([], name="cell"))
        times, cells, data = read_report(path, population, start, stop)
        return pd.DataFrame(data, index=pd.Index(times, name="time"), columns=pd.Index(cells, name="cell"))

    def weights(self, projection: str) -> pd.DataFrame:
        """Synapses with STDP as they were at the end: source, target, weight (nS or pA), delay (ms), sorted by target
        as in edges.h5. OutputError for a projection that has none in weights.h5."""
        import pandas as pd

        edges = read_edges(self.path / "weights.h5", projection)
        columns = {"source": edges.source_node_id, "target": edges.target_node_id}
        return pd.DataFrame({**columns, "weight": edges.weight, "delay": edges.delay})

    def binned_rates(self) -> pd.DataFrame:
        """Firing rates as recorded during the run, Hz: one row per bin (index: its beginning in ms), one column per
        population and node set."""
        import pandas as pd

        rates = read_rates(self.path / "rates.h5")
        columns = {name: pd.Series(values, index=times) for name, (times, values) in rates.items()}
        return pd.DataFrame(columns).rename_axis("time")

    @cached_property
    def node_sets(self) -> dict[str, tuple[str, Int64]]:
        """Node sets of the network file: the population of each, and its cells."""
        sets = read_json(self.path / "node_sets.json", "node sets")
        return {
            name: (each["population"], np.array(each["node_id"], np.int64))
            for name, each in sets.items()
            if ":" not in name and "node_id" in each
        }

    def __repr__(self) -> str:
        cells = ", ".join(f"{name}: {self.size(name)}" for name in self.populations)
        return f"<Results of {self.name} ({self.backend}), {self.duration:g} ms, cells {{{cells}}}>"

    @cached_property
    def _spikes(self) -> dict[str, tuple[Float64, Int64]]:
        return read_spikes(self.path / "spikes.h5")

    def _known(self, population: str) -> str:
        if population not in self._nodes:
            raise OutputError(
                f"{self.path}: has no population {population!r}. There are: {', '.join(self._nodes)}."
            )
        return population
