"""The folder of a run: claimed by one run at a time, and everything in it written the same way by every
backend.

spikes.h5, voltage.h5 and other reports, rates.h5, the circuit (`noble_net.circuit_files`), network.yaml (as resolved),
summary.json, provenance.json and report.html. While a run is under way the file ``.running`` marks the folder as its
own, and state.safetensors holds what it takes to go on should it be cut short.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from noble_net.circuit_files import planned_reports, write_circuit, write_weights
from noble_net.config import NetworkSpec, dump_network
from noble_net.errors import OutputError
from noble_net.network.build import Network
from noble_net.network.injection import Target
from noble_net.network.node_sets import select_cells
from noble_net.output import saving, write_json, write_text
from noble_net.provenance import named_files
from noble_net.recording import RateRecorder, ReportRecorder, SpikeRecorder
from noble_net.resuming import what_is_left
from noble_net.run_files import FILES, MARK, PROVENANCE, REPORTS, mark_running, recover_files, unmark
from noble_net.run_state import FILE as STATE
from noble_net.run_state import Arrays, RunState, part, write_state
from noble_net.sonata import RateWriter, ReportWriter, SpikeWriter
from noble_net.sonata.edges import BYTES_PER_EDGE
from noble_net.sonata.journal import PART
from noble_net.types import DT, Float32

_BYTES_PER_CELL = 400
_BYTES_PER_CELL_SECOND = 50 * 16
_SLACK_BYTES = 20_000_000


class RunDirectory:
    """A claimed folder; use as a context manager, which releases it.

    OutputError if another run is writing there, if it holds something else, or if it holds an earlier run
    and ``overwrite`` is not asked for. With ``resume``, the network to run, an earlier run of it is left in place: as
    it is if ``completed``, or to go on from ``state`` if it left one. An earlier run is removed by `make_way` alone.
    """

    def __init__(
        self, path: Path | str, *, overwrite: bool = False, resume: NetworkSpec | None = None
    ) -> None:
        self.path = Path(path)
        self.completed = False
        self.state: RunState | None = None
        self._made = not self.path.exists()
        self._earlier = False
        with saving(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._mark = self._claim()
            try:
                self._look(overwrite, resume)
            except BaseException:
                self.release()
                raise

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let other runs have the folder; one that was made for this run and is still empty goes away."""
        with suppress(OSError):
            unmark(self.path, self._mark)
            if self._made:
                self.path.rmdir()

    def _claim(self) -> BinaryIO:
        mark = mark_running(self.path)
        if mark is None:
            raise OutputError(
                f"{self.path}: another run is writing there. Give another folder; if none is, remove "
                f"{self.path / MARK}."
            )
        return mark

    def _look(self, overwrite: bool, resume: NetworkSpec | None) -> None:
        recover_files(self.path)
        unfinished = {f"{name}{PART}" for name in FILES}  # of a run that was killed as it began
        held = {entry.name for entry in self.path.iterdir()} - {MARK} - unfinished
        if not held:
            return
        if not held & {"summary.json", PROVENANCE}:
            raise OutputError(f"{self.path}: is not empty and holds no run. Give a new or an empty folder.")
        if resume is not None:
            self.completed, self.state = what_is_left(self.path, resume)
            if self.completed or self.state is not None:
                return
        elif not overwrite:
            raise OutputError(
                f"{self.path}: holds an earlier run. Give another folder, or replace it (--overwrite), or go on "
                "with it (--resume)."
            )
        self._earlier = True

    def make_way(self, spec: NetworkSpec) -> None:
        """Remove an earlier run that is to be overwritten. OutputError where the network ``spec`` reads it.

        Its provenance.json stays until that of the new run replaces it, so that the folder holds a run at any moment,
        and so does the network file if ``spec`` itself came from there.
        """
        if not self._earlier:
            return
        old = [path for pattern in (*FILES, *REPORTS) for path in self.path.glob(pattern)]
        read = {file.resolve() for file in named_files(spec)}
        for path in old:
            if path.resolve() in read:
                raise OutputError(
                    f"{path}: the network reads it, so the run there cannot be overwritten. Give another folder."
                )
        source = None if spec.source is None else Path(spec.source).resolve()
        with saving(self.path):
            for path in old:
                if path.name != PROVENANCE and path.resolve() != source:
                    path.unlink()
        self._earlier = False

    def check_space(self, network: Network) -> None:
        """OutputError if the disk has no room for what the run is going to write."""
        needed = expected_bytes(network)
        with saving(self.path):
            free = shutil.disk_usage(self.path).free
        if needed > free:
            raise OutputError(
                f"{self.path}: the run needs about {needed / 1e6:,.0f} MB, the disk has {free / 1e6:,.0f} MB "
                "left. Free some space, give another folder, or record less voltage."
            )

    def write_network(self, network: Network) -> None:
        """Write what is known before the run: the network file as resolved, nodes, edges and configs.

        The network file, by which a run that is cut short here starts anew, comes before the edges, which take long.
        """
        write_text(self.path / "network.yaml", dump_network(network.spec))
        write_circuit(self.path, network)

    def spike_recorder(self, network: Network) -> SpikeRecorder:
        """Recorder of all spikes into spikes.h5, or one that only counts where the network says so."""
        spec = network.spec
        sizes = {population.name: population.size for population in network.populations}
        before = self._before("spikes")
        kept = None if before is None else _rows(part(before, "written"))
        writer = SpikeWriter(self.path / "spikes.h5", list(sizes), kept) if spec.record.spikes else None
        recorder = SpikeRecorder(writer, sizes, round(spec.warmup / DT), self._rate_recorder(network, before))
        if before is not None:
            recorder.restore(before)
        return recorder

    def _rate_recorder(self, network: Network, before: Arrays | None) -> RateRecorder | None:
        rates = network.spec.record.rates
        if rates is None:
            return None
        names = [*network.spec.populations, *network.spec.node_sets]
        groups = {name: _masked(select_cells(network, name)) for name in names}
        kept = None if before is None else int(before["rates/written"])
        return RateRecorder(RateWriter(self.path / "rates.h5", names, rates.bin, kept), groups, rates.bin)

    def report_recorders(self, network: Network) -> dict[str, ReportRecorder]:
        """Recorders of the reports the network asks for, each into the file of its name."""
        found = {}
        for name, report in planned_reports(network).items():
            before = self._before(f"reports/{name}")
            kept = None if before is None else _rows(part(before, "written"))
            writer = ReportWriter(self.path / f"{name}.h5", *report, kept=kept)
            first = round((network.spec.warmup + report.start) / DT)
            found[name] = ReportRecorder(writer, round(report.dt / DT), first, held=name != "voltage")
            if before is not None:
                found[name].restore(before)
        return found

    def _before(self, recorder: str) -> Arrays | None:
        """What a recorder needs to go on, in a run that does."""
        return None if self.state is None else part(self.state.arrays, recorder)

    def save_state(self, state: RunState) -> None:
        """Replace the state from which the run can go on."""
        write_state(self.path, state)

    def drop_state(self) -> None:
        """Remove the state: the run is complete."""
        with saving(self.path / STATE):
            (self.path / STATE).unlink(missing_ok=True)

    def write_weights(self, network: Network, weights: Mapping[str, Float32]) -> None:
        """Write projections with STDP with the weights they have now, [synapses] in the order of their arrays."""
        write_weights(self.path, network, weights)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json."""
        write_json(self.path / "summary.json", summary)

    def write_provenance(self, provenance: Mapping[str, Any]) -> None:
        """Write provenance.json."""
        write_json(self.path / PROVENANCE, provenance)


def add_report(directory: RunDirectory, summary: dict[str, Any], write: Callable[[Path], object]) -> None:
    """Let ``write`` make the report of a run whose summary is written; the summary notes how long it took."""
    begin = time.perf_counter()
    write(directory.path)
    summary["timings_s"]["report"] = time.perf_counter() - begin
    directory.write_summary(summary)


def _rows(arrays: Arrays) -> dict[str, int]:
    return {name: int(rows) for name, rows in arrays.items()}


def _masked(target: Target) -> tuple[str, NDArray[np.bool_]]:
    mask = np.zeros(target.size, bool)
    mask[target.cells] = True
    return target.population, mask


def expected_bytes(network: Network) -> int:
    """A generous estimate of the size of a run's folder."""
    seconds = network.spec.duration / 1000.0
    values = sum(
        sum(len(cells) for cells in report.cells.values()) * (report.stop - report.start) / report.dt
        for report in planned_reports(network).values()
    )
    per_cell = _BYTES_PER_CELL + _BYTES_PER_CELL_SECOND * seconds * network.spec.record.spikes
    edges = (network.n_synapses + 2 * network.n_gap_junctions) * network.writes_edges
    edges += sum(projection.size for projection in network.learned)
    return round(_SLACK_BYTES + BYTES_PER_EDGE * edges + per_cell * network.n_cells + 4 * values)


@contextmanager
def given_or_new(folder: Path | str | None, name: str) -> Iterator[Path]:
    """The folder that is given, or else the first of runs/name, runs/name-2 … that did not exist.

    That one is made at once, so that nobody else takes it, and goes away at the end if it is still empty. Raises
    OutputError.
    """
    if folder is not None:
        yield Path(folder)
        return
    made = next(filter(_make, _candidates(Path("runs") / name)))
    try:
        yield made
    finally:
        with suppress(OSError):
            made.rmdir()


def _make(path: Path) -> bool:
    with saving(path):
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            return False
        return True


def _candidates(path: Path) -> Iterator[Path]:
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.name}-{number}")
        number += 1
