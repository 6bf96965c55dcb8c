"""A network on surrogate cores held against a reference: `validate`.

>>> from noble_net.validation.validate import validate                           # doctest: +SKIP
>>> found = validate(load_network("networks/pv-small.yaml"), out="runs/v")       # doctest: +SKIP
>>> found.holds, [each for each in found.verdicts if each.holds is False]        # doctest: +SKIP
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from noble_net.cache import cache_folder
from noble_net.config import NetworkSpec, dump_network
from noble_net.output import claim_folder, write_text
from noble_net.report.compare import summary_numbers
from noble_net.specs.validation import ValidationSpec
from noble_net.validation.backends import REFERENCES, Backend, Surrogate
from noble_net.validation.execute import Progress, complete
from noble_net.validation.plan import REFERENCE, REPLAY, Plan, Run, make_plan
from noble_net.validation.records import Record, Store
from noble_net.validation.replay import CellErrors, replay
from noble_net.validation.responses import (
    ChangeResponse,
    change_responses,
    change_verdicts,
    replay_verdicts,
)
from noble_net.validation.verdicts import (
    Distances,
    Sides,
    Verdict,
    distances,
    distribution_verdicts,
    overall,
    rate_verdicts,
    rhythm_verdicts,
    without_nan,
)

JSON, PAGE, NETWORK, RUNS, WORK = "validation.json", "report.html", "network.yaml", "runs", "work"
CACHE = "reference-runs"
_FILES = (JSON, PAGE, NETWORK)
_OURS = {RUNS, WORK, *_FILES, *(f"{name}.part" for name in _FILES)}


@dataclass(frozen=True)
class Validation:
    """What a validation found, and all it was found from."""

    plan: Plan
    records: Mapping[str, Record]
    sides: Sides
    distances: tuple[Distances, ...]
    replay: Mapping[str, CellErrors]
    responses: tuple[ChangeResponse, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def holds(self) -> bool:
        """Whether everything that can be judged holds."""
        return overall(self.verdicts)

    @property
    def reference(self) -> Backend:
        """What it was held against."""
        return next(run.backend for run in self.plan.runs if run.side == REFERENCE)

    def to_json(self) -> str:
        """Everything as a JSON object; what is undefined is null."""
        content = {
            "network": self.plan.network.name,
            "reference": self.reference.name,
            "holds": self.holds,
            "verdicts": [asdict(each) for each in self.verdicts],
            "notes": self.plan.notes,
            "backends": {
                run.side: {**run.backend.identity(run.network), "step_ms": run.step} for run in self._first
            },
            "settings": self.plan.settings.model_dump(mode="json"),
            "distances": [asdict(each) for each in self.distances],
            "replay": self._replay(),
            "changes": [asdict(each) for each in self.responses],
            "runs": [{"key": run.key, **self.told(run)} for run in self.plan.runs],
        }
        return json.dumps(without_nan(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def told(self, run: Run) -> dict[str, Any]:
        """What a run was, how it went and its numbers, as plain data."""
        duration = run.network.duration
        runs = {
            name: self.sides.of(run.side, run.condition, name, duration) for name in self.sides.populations
        }
        numbers = {name: summary_numbers(each[run.seed]) for name, each in runs.items()}
        told: dict[str, Any] = without_nan({**self.records[run.key].about, "populations": numbers})
        return told

    @property
    def _first(self) -> list[Run]:
        """A run of each side."""
        return list({run.side: run for run in reversed(self.plan.runs)}.values())

    def _replay(self) -> dict[str, Any]:
        runs = self.plan.of(REFERENCE, REPLAY)
        found: dict[str, Any] = {}
        for name, errors in self.replay.items():
            floor = self.records[runs[0].key].replay[name].floor
            found[name] = {**vars(errors), "floor": None if floor is None else vars(floor)}
        return found


def validate(
    network: NetworkSpec,
    reference: Backend | str = "neuron",
    *,
    out: Path | str,
    settings: ValidationSpec | None = None,
    reference_data: Path | str | None = None,
    jobs: int | None = None,
    surrogate: Backend | None = None,
    report: bool = True,
    progress: Progress | None = None,
) -> Validation:
    """Run what is missing, measure, judge, and write validation.json and report.html into the folder ``out``.

    ``reference``: a name of `REFERENCES`, or any `Backend`. ``reference_data``: a folder of reference runs, read first
    and added to, so that a machine without the reference can validate; other reference runs are kept in the user's
    cache folder, surrogate runs in ``out``: whatever was finished is not run again. ``jobs``: processes (None: one per
    core). ``report``: whether report.html is made.

    Everything is checked before anything runs. Raises what the backends raise for networks they cannot hold,
    MissingExtraError if the reference is wanted and not installed, OutputError when ``out`` holds something else.
    """
    if isinstance(reference, str):
        reference = REFERENCES[reference]
    out, plan = (
        Path(out),
        make_plan(network, reference, surrogate or Surrogate(), settings or ValidationSpec()),
    )
    claim_folder(out, _OURS, "validation")
    given = [] if reference_data is None else [Path(reference_data)]
    cache, own = cache_folder(CACHE), out / RUNS
    kept = Store([*given, cache], [cache, *given])
    stores = {run.side: kept if run.side == REFERENCE else Store([own], [own]) for run in plan.runs}
    records = complete(plan, stores, out / WORK, jobs=jobs, progress=progress)
    found = judge(plan, records)
    for folder in given:
        kept.write_index(folder, {run.key: found.told(run) for run in plan.runs if run.side == REFERENCE})
    write_text(out / NETWORK, dump_network(plan.network))
    write_text(out / JSON, found.to_json())
    if report:
        from noble_net.validation.page import page

        write_text(out / PAGE, page(found))
    return found


def judge(plan: Plan, records: Mapping[str, Record]) -> Validation:
    """Measure and judge the records of a plan, by key."""
    sides = Sides(plan, records)
    apart = distances(plan, sides)
    errors: dict[str, CellErrors] = {}
    for run in plan.of(REFERENCE, REPLAY):
        if run.replay is not None:
            errors = replay(run.network, records[run.key], run.replay)
    responses = change_responses(plan, sides)
    verdicts = (
        *rate_verdicts(plan, sides),
        *distribution_verdicts(plan, apart),
        *rhythm_verdicts(plan, sides),
        *replay_verdicts(plan, records, errors),
        *change_verdicts(plan, responses),
    )
    return Validation(plan, records, sides, tuple(apart), errors, tuple(responses), verdicts)
