"""What a run is on every backend: its network resolved, its phases timed, its blocks recorded and written.

A backend brings an `Engine` (the loop on surrogate cores, or the exact cells in NEURON) and `record_run` does
the rest, so that runs of different backends leave the same files.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from noble_net.config import NetworkSpec, config_error, load_network, with_overrides
from noble_net.errors import EnvelopeWarning, FamilyError, OutputError
from noble_net.output import read_json
from noble_net.provenance import OUTSIDE_WARNING, now, run_summary
from noble_net.registry import load_family
from noble_net.resuming import Resumable, Saving, Schedule, check_fits, made_of
from noble_net.run_directory import RunDirectory, add_report
from noble_net.run_state import RunState, fill, part, under
from noble_net.types import DT, Float32, Int64, Response

if TYPE_CHECKING:
    from noble_net.cells.family import Family
    from noble_net.network.build import Network

Progress = Callable[[float, float], None]
"""Called some times a second with (simulated, total) in ms, the warm-up included."""

_PROGRESS_INTERVAL = 0.1


class Engine(Protocol):
    """A network in motion."""

    network: Network
    block_samples: int

    @property
    def position(self) -> int:
        """The next sample, counted from the start of the warm-up."""

    def advance(self, samples: int | None = None) -> dict[str, Response]:
        """Run one block (of ``samples``, if not the usual length); returns every population's response."""

    def voltage(self) -> dict[str, Float32]:
        """The last voltage of every cell, mV [cells] per population."""

    def inputs(self, report: str, population: str) -> Float32:
        """What a report of inputs (`current`, `conductance`, `synapse-…`) tells of the last block, [cells, samples]."""

    def weights(self) -> dict[str, Float32]:
        """The weights now, nS or pA [synapses], of projections whose weights can change, at least."""


class Clock:
    """Seconds spent in each phase of a run."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(("load", "build", "run", "write"), 0.0)
        self._begun: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        self._begun[phase] = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = self.so_far(phase)
            del self._begun[phase]

    def so_far(self, phase: str) -> float:
        """Seconds spent in a phase, which may be going on."""
        begun = self._begun.get(phase)
        return self.seconds[phase] + (0.0 if begun is None else time.perf_counter() - begun)


def resolve_network(
    network: NetworkSpec | Path | str, seed: int | None, duration: float | str | None
) -> NetworkSpec:
    """The network, loaded if it is a path, with the seed and duration (ms, or text with a unit) if given."""
    spec = network if isinstance(network, NetworkSpec) else load_network(network)
    overrides = {"seed": seed, "duration": duration}
    given = {key: value for key, value in overrides.items() if value is not None}
    return with_overrides(spec, given) if given else spec


def load_families(spec: NetworkSpec) -> dict[str, Family]:
    """The families of a network, by the names the file gives them.

    Raises ConfigError at the line of a name that is unknown.
    """
    families: dict[str, Family] = {}
    for name, population in spec.populations.items():
        if population.family is None:
            continue
        try:
            families.setdefault(population.family, load_family(population.family))
        except FamilyError as error:
            raise config_error(spec, ("populations", name, "family"), str(error)) from error
    return families


def record_run(
    engine: Engine,
    directory: RunDirectory,
    clock: Clock,
    provenance: Mapping[str, Any],
    *,
    details: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    report: bool = True,
    checkpoint_every: float | None = None,
) -> None:
    """Run ``engine`` through the warm-up and duration of its network, and write everything a run leaves.

    ``provenance`` is that of `run_provenance`; ``details`` are further entries of summary.json; ``report``:
    whether report.html is made. Whatever happens, also on Ctrl-C, files are closed and can be read, and the
    cause is passed on. The state of a `Resumable` engine is saved every ``checkpoint_every`` ms of simulated time,
    or by the wall clock (see `noble_net.resuming.Schedule`); in a directory that holds one, the run goes on from there.
    """
    saving = Saving(Schedule(checkpoint_every), made_of(engine.network, provenance))
    with clock("write"):
        if directory.state is not None:
            check_fits(directory.state, saving.made_of, directory.path)
        else:
            directory.make_way(engine.network.spec)
            directory.write_provenance(provenance)
            directory.write_network(engine.network)
    run = _Run(engine, directory, clock, provenance, details or {}, saving)
    try:
        run.to_the_end(progress)
    except BaseException:  # files are closed whatever happened, also on Ctrl-C; the cause goes on its way
        with suppress(OutputError):
            run.close()
        raise
    run.close()
    _warn(run.summary()["populations"])
    if report:
        _report(directory, run.summary())


def complete_report(directory: RunDirectory) -> None:
    """Make the report of a complete run that was killed before it had one."""
    if not (directory.path / "report.html").is_file():
        _report(directory, read_json(directory.path / "summary.json", "summary"))


def _report(directory: RunDirectory, summary: dict[str, Any]) -> None:
    from noble_net.report.html import write_report

    add_report(directory, summary, write_report)


def _warn(populations: Mapping[str, Mapping[str, Any]]) -> None:
    """Say which populations were driven beyond what their cores were trained on (EnvelopeWarning)."""
    for name, told in populations.items():
        if told["outside_share"] > OUTSIDE_WARNING:
            warnings.warn(
                f"population {name} spent {told['outside_share']:.1%} of its cell-time outside the envelope of core "
                f"{told['core']}: there its answers are extrapolated. Weaken its input, or use a core trained for it",
                EnvelopeWarning,
                stacklevel=4,
            )


class Rehearsal(NamedTuple):
    """How the beginning of a run went: s of wall time a simulated ms took, and the spikes of every cell."""

    seconds_per_ms: float
    counts: Mapping[str, Int64]


def rehearse(engine: Engine, directory: RunDirectory, seconds: float) -> Rehearsal:
    """Run ``engine`` with all it records for about so many ``seconds``, or to its end. The second half of the time
    counts, as first blocks are slow."""
    run = _Run(engine, directory, Clock(), {}, {})
    begin, step = time.perf_counter(), engine.network.step_samples
    marks = [(0, 0.0)]
    try:
        run.begin()
        while engine.position < run.total and marks[-1][1] < seconds:
            run.advance(step)
            marks.append((engine.position, time.perf_counter() - begin))
    finally:
        with ExitStack() as stack:
            for recorder in run.reports.values():
                stack.callback(recorder.close)
            stack.callback(run.spikes.close)
    middle = next(mark for mark in marks if mark[1] >= marks[-1][1] / 2 or mark is marks[-2])
    (before, early), (after, late) = middle, marks[-1]
    return Rehearsal((late - early) / ((after - before) * DT), run.spikes.counts)


class _Run:
    """One pass of an engine, with what it records."""

    def __init__(
        self,
        engine: Engine,
        directory: RunDirectory,
        clock: Clock,
        provenance: Mapping[str, Any],
        details: Mapping[str, Any],
        saving: Saving | None = None,
    ) -> None:
        self.engine, self.directory, self.clock = engine, directory, clock
        self.provenance, self.details, self.saving = dict(provenance), details, saving
        network = engine.network
        self.total = round((network.spec.warmup + network.spec.duration) / DT)
        self.outside: dict[str, Int64] = {
            population.name: np.zeros(population.size, np.int64) for population in network.populations
        }
        self.spikes = directory.spike_recorder(network)
        self.reports = directory.report_recorders(network)
        if directory.state is not None:
            self._restore(directory.state)
        if saving is not None:
            saving.schedule.start(engine.position)

    def _restore(self, state: RunState) -> None:
        if not isinstance(self.engine, Resumable):
            raise TypeError("an engine that cannot go on has left no state")
        self.engine.restore(part(state.arrays, "engine"))
        for name, count in self.outside.items():
            fill(count, state.arrays, f"outside/{name}")
        for phase, seconds in state.about["timings_s"].items():
            self.clock.seconds[phase] += seconds
        again = {"at_ms": round(self.engine.position * DT, 1), "started": self.provenance["started"]}
        self.provenance["started"] = state.about["started"]
        self.provenance["resumed"] = [*state.about["resumed"], again]

    def _save(self, saving: Saving) -> None:
        """Where it is time to, bring everything recorded to disk, then the state."""
        engine = self.engine
        if not saving.schedule.due(engine.position) or not isinstance(engine, Resumable):
            return
        begin = time.perf_counter()
        arrays = under("engine", engine.state()) | under("spikes", self.spikes.save())
        for name, recorder in self.reports.items():
            arrays |= under(f"reports/{name}", recorder.save())
        about = {
            "made_of": saving.made_of,
            "started": self.provenance["started"],
            "resumed": self.provenance.get("resumed", []),
            "timings_s": {**self.clock.seconds, "run": self.clock.so_far("run")},
        }
        self.directory.save_state(RunState(arrays | under("outside", self.outside), about))
        saving.schedule.saved(self.engine.position, time.perf_counter() - begin)

    def to_the_end(self, progress: Progress | None) -> None:
        """Advance block by block, recording. A last part shorter than the cores' step is run and cut off."""
        engine, step = self.engine, self.engine.network.step_samples
        told = 0.0
        with self.clock("run"):
            if engine.position == 0:
                self.begin()
            while engine.position < self.total:
                if self.saving is not None:
                    self._save(self.saving)
                self.advance(step)
                if progress is not None and time.monotonic() - told > _PROGRESS_INTERVAL:
                    told = time.monotonic()
                    progress(min(engine.position, self.total) * DT, self.total * DT)
        if progress is not None:
            progress(self.total * DT, self.total * DT)

    def begin(self) -> None:
        """Record the voltage before the first sample."""
        if "voltage" in self.reports:
            for name, voltage in self.engine.voltage().items():
                self.reports["voltage"].begin(name, voltage)

    def advance(self, step: int) -> None:
        """Run and record a block, or what is left in multiples of ``step``."""
        start = self.engine.position
        left = -(-(self.total - start) // step) * step
        self._record(start, self.engine.advance(min(self.engine.block_samples, left)))

    def _record(self, start: int, responses: Mapping[str, Response]) -> None:
        over = self.engine.position > self.total
        for name, response in responses.items():
            if over:
                response = _until(response, self.total - start)
            self.outside[name] += response.outside
            if response.event_cell.size:
                self.spikes.record(name, start, response)
            if "voltage" in self.reports:
                self.reports["voltage"].record(name, start, response.voltage)
        self.spikes.advance(min(self.engine.position, self.total))
        for report, recorder in self.reports.items():
            for name in recorder.populations if report != "voltage" else ():
                values = self.engine.inputs(report, name)
                recorder.record(name, start, values[:, : self.total - start])
            recorder.advance()

    def close(self) -> None:
        """Close all files, then write the summary; a file that fails does not keep the others open."""
        with ExitStack() as stack, self.clock("write"):
            stack.callback(self._tell)
            stack.callback(self._write_weights)
            for recorder in self.reports.values():
                stack.callback(recorder.close)
            stack.callback(self.spikes.close)

    def _write_weights(self) -> None:
        self.directory.write_weights(self.engine.network, self.engine.weights())

    def _tell(self) -> None:
        summary = self.summary()
        self.directory.write_summary(summary)
        if summary["completed"]:
            self.directory.drop_state()
        timings = {"finished": now(), "timings_s": self.clock.seconds}
        self.directory.write_provenance({**self.provenance, **timings})

    def summary(self) -> dict[str, Any]:
        """The content of summary.json as things stand."""
        done = min(self.engine.position, self.total)
        summary = run_summary(
            self.engine.network,
            backend=self.provenance["backend"],
            counts=self.spikes.counts,
            outside_share={
                name: float(count.sum()) / max(1, count.size * done) for name, count in self.outside.items()
            },
            samples=done,
            completed=self.engine.position >= self.total,
            timings=self.clock.seconds,
        )
        return {**summary, **self.details}


def _until(response: Response, samples: int) -> Response:
    """The first samples of a response."""
    early = response.event_sample < samples
    return Response(
        voltage=response.voltage[:, :samples],
        event_cell=response.event_cell[early],
        event_sample=response.event_sample[early],
        event_time=response.event_time[early],
        outside=response.outside,
    )
