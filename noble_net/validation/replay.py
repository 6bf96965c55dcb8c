"""Decoupled replay: every cell gets, sample by sample, the input it had in the reference network.

The input is not recorded. It is made again, by the loop and the synapses that every run has, from the spikes that the
reference's cells sent and the same noise: spikes that the replayed cells fire go nowhere. So a cell's error is told
apart from what a network makes of it, and from its chaos. In either a spike leaves at the end of the sample that
confirms it; what input held over samples costs is measured (`Floor.check_gamma`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from noble_net.config import NetworkSpec
from noble_net.loop import Loop, compile_loop
from noble_net.network.build import Network, build_checked
from noble_net.recorded_run import load_families
from noble_net.results import Results
from noble_net.simulation import load_parts, used_threads
from noble_net.specs.validation import ReplaySpec
from noble_net.spikes import detect_block, new_detector, spike_times
from noble_net.surrogate.core import Core
from noble_net.training.metrics import clipped_error, coincidence
from noble_net.types import DT, CellTable, Drive, Float32, Float64, Int32, Int64, Response, Spiked
from noble_net.validation.backends import Backend
from noble_net.validation.listener import Listener, cell_drive, zones_used
from noble_net.validation.records import (
    EVERY,
    Floor,
    Record,
    Replayable,
    frame_times,
    kept_times,
    kept_voltage,
)

if TYPE_CHECKING:
    from noble_net.cells.family import Family


@dataclass(frozen=True)
class CellErrors:
    """A population under the reference's input: Γ(±2 ms) float64 [cells], NaN of cells that are silent on both sides or
    fire faster than Γ allows; clipped explained variance, float64 [first cells]; spike counts of either side, [cells];
    ``pooled``: Γ over all cells together."""

    gamma: Float64
    explained_variance: Float64
    reference_counts: Int64
    counts: Int64
    pooled: float


def replayable(network: NetworkSpec) -> str | None:
    """Why a network cannot be replayed; None if it can."""
    if network.gap_junctions:
        return "gap junctions let cells feel each other's voltage"
    return None


def record_of_replay(
    results: Results, network: NetworkSpec, settings: ReplaySpec, backend: Backend, refinement: int
) -> dict[str, Replayable]:
    """What a replay needs of a finished reference run, which recorded the voltage of all cells, with the floor."""
    found: dict[str, Replayable] = {}
    whole: dict[str, Float32] = {}
    for name in network.populations:
        frames = (
            results.voltage(name).to_numpy(np.float32).T
        )  # [cells, frames], frame 0 is the voltage at rest
        voltage = whole[name] = np.ascontiguousarray(frames)
        cell, sample, _ = detect_block(voltage[:, 1:], voltage[:, 0].copy(), new_detector(len(voltage)))
        kept = kept_voltage(voltage[: settings.voltage_cells])
        found[name] = Replayable(cell, sample.astype(np.int64), kept)
    floors = _floors(network, found, whole, settings, backend, refinement)
    return {name: Replayable(**{**vars(each), "floor": floors.get(name)}) for name, each in found.items()}


def replay(network: NetworkSpec, record: Record, settings: ReplaySpec) -> dict[str, CellErrors]:
    """Answer the reference's input on the surrogate cores, on one thread, and hold it against the reference."""
    cores, families = load_parts(network)
    built = build_checked(network, families, {name: core.info for name, core in cores.items()})
    compile_loop(built, cores)
    kept: dict[str, list[Float32]] = {each.name: [] for each in built.populations}
    times: dict[str, list[Float64]] = {each.name: [] for each in built.populations}
    cells: dict[str, list[Int32]] = {each.name: [] for each in built.populations}
    with used_threads(1):
        for start, _, responses in _driven(built, cores, record.replay):
            for name, response in responses.items():
                wanted = record.replay[name].voltage.shape[0]
                # As in a report whose frame 0 lies before the first sample: see `kept_voltage`.
                kept[name].append(response.voltage[:wanted, -(start + 1) % EVERY :: EVERY])
                times[name].append(start * DT + response.event_time)
                cells[name].append(response.event_cell)
    found = {}
    for each in built.populations:
        reference = record.replay[each.name]
        voltage = np.concatenate(kept[each.name], axis=1)[:, : reference.voltage.shape[1]]
        when, who = np.concatenate(times[each.name]), np.concatenate(cells[each.name])
        trains = [np.sort(kept_times(when[who == cell])) for cell in range(each.size)]
        found[each.name] = _errors(
            record.trains[each.name], trains, reference.voltage, voltage, settings, network.duration
        )
    return found


def _driven(
    built: Network, cores: Mapping[str, Core], sent: Mapping[str, Replayable]
) -> Iterator[tuple[int, Loop, dict[str, Response]]]:
    """A loop after each block of a replay: the block's first sample, the loop, the responses."""
    loop = Loop(built, cores)
    step = built.step_samples
    total = -(-round((built.spec.warmup + built.spec.duration) / DT) // step) * step
    while loop.position < total:
        start = loop.position
        samples = min(loop.block_samples, total - start)
        responses = loop.advance(samples, _block(sent, start, samples))
        yield start, loop, responses


def _block(sent: Mapping[str, Replayable], start: int, samples: int) -> Spiked:
    found = {}
    for name, each in sent.items():
        begin, end = np.searchsorted(each.sample, [start, start + samples])
        found[name] = (each.cell[begin:end], (each.sample[begin:end] - start).astype(np.int32))
    return found


def _errors(
    reference: Sequence[Float64],
    trains: Sequence[Float64],
    reference_voltage: Float32,
    voltage: Float32,
    settings: ReplaySpec,
    duration: float,
) -> CellErrors:
    one, two = ([_later(train, settings.discard) for train in each] for each in (reference, trains))
    span = duration - settings.discard
    pairs = list(zip(one, two, strict=True))
    counted = frame_times(reference_voltage.shape[1]) > settings.discard
    return CellErrors(
        gamma=np.array([coincidence([a], [b], span).gamma for a, b in pairs]),
        explained_variance=_explained(reference_voltage[:, counted], voltage[:, counted]),
        reference_counts=np.array([len(each) for each in one], np.int64),
        counts=np.array([len(each) for each in two], np.int64),
        pooled=coincidence(one, two, span).gamma,
    )


def _explained(reference: Float32, voltage: Float32) -> Float64:
    """Clipped explained variance of each cell."""
    pairs = zip(reference[:, None], voltage[:, None], strict=True)
    return np.array([clipped_error(a, b)[1] for a, b in pairs], np.float64)


def _later(train: Float64, begin: float) -> Float64:
    return train[train >= begin] - begin


def _floors(
    network: NetworkSpec,
    sent: Mapping[str, Replayable],
    voltage: Mapping[str, Float32],
    settings: ReplaySpec,
    backend: Backend,
    refinement: int,
) -> dict[str, Floor]:
    """The reference at its finer step, and at its own, under the input that its first cells had in the network.

    None where single cells cannot be asked.
    """
    if backend.step is None or not settings.floor_cells:
        return {}
    families = load_families(network)
    found = {}
    for name, (cells, drive) in _drives(network, families, sent, settings.floor_cells).items():
        family = families.get(network.populations[name].family or "")
        known = voltage[name][: drive.current.shape[1]]
        measured = []
        for step in (backend.step / refinement, backend.step):
            answers = []
            for index in range(len(known)):
                answer = backend.answer(family, cells, index, cell_drive(drive, index), step)
                if answer is None:
                    return {}
                answers.append(answer[: known.shape[1]])
            traces = np.stack(answers)
            errors = _errors(
                [kept_times(train) for train in spike_times(known)],
                [kept_times(train) for train in spike_times(traces)],
                kept_voltage(known),
                kept_voltage(traces),
                settings,
                network.duration,
            )
            measured += [errors.gamma, errors.explained_variance]
        found[name] = Floor(*measured)
    return found


def _drives(
    network: NetworkSpec, families: Mapping[str, Family], sent: Mapping[str, Replayable], cells: int
) -> dict[str, tuple[CellTable, Drive]]:
    """The cells of every population, and what drove the first ones, [zones, cells, samples]."""
    zones = zones_used(network)
    listeners = {name: Listener(zones, cells) for name in network.populations}
    info = next(iter(listeners.values())).info
    built = build_checked(network, families, {network.core_of(name): info for name in listeners})
    heard = tuple(replace(each, core=each.name) for each in built.populations)
    with used_threads(1):
        for _ in _driven(replace(built, populations=heard), listeners, sent):
            pass  # the listeners keep it
    return {each.name: (each.cells, listeners[each.name].drive) for each in heard}
