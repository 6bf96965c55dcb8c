"""A study from its file to its report: `run_study`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from noble_net.output import claim_folder, write_text
from noble_net.specs.studies import StudySpec, load_study

Progress = Callable[[float, float], None]

_FILES = ("study.csv", "study.yaml", "report.html")
_OURS = {"runs", "cells", "members", *_FILES, *(f"{name}.part" for name in _FILES)}
"""What may lie in the folder; a kill can leave the half-written neighbours."""


def run_study(
    study: StudySpec | Path | str,
    out: Path | str,
    *,
    jobs: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Run what is missing of a study in the folder ``out`` and write study.csv and report.html; returns the report.

    ``jobs``: processes (None: one per core). Everything is checked before anything runs; Ctrl-C and kills lose nothing
    but what was under way. ``overwrite``: replace results of another study there.

    Raises ConfigError for a fault in the study, at its line, and OutputError when ``out`` holds something else.
    """
    spec = study if isinstance(study, StudySpec) else load_study(study)
    out = Path(out)
    _check(spec, out)
    claim_folder(out, _OURS, "study")
    if spec.source is not None and spec.source.is_file():
        write_text(out / "study.yaml", spec.source.read_text(encoding="utf-8"))
    if spec.population is not None:
        from noble_net.study.population import plan, run_population
        from noble_net.study.report import write_population

        table = run_population(spec, out, jobs=jobs, overwrite=overwrite, progress=progress)
        return write_population(spec, table, plan(spec, out), out)
    from noble_net.study.report import write_map
    from noble_net.study.single_cell import map_features

    found = map_features(spec, out, jobs=jobs, overwrite=overwrite, progress=progress)
    return write_map(spec, found, out)


def _check(spec: StudySpec, out: Path) -> None:
    """Whatever is wrong with the study comes out here, before a folder is made."""
    if spec.population is not None:
        from noble_net.study.population import plan

        plan(spec, out)
    else:
        from noble_net.study.single_cell import check

        check(spec)
