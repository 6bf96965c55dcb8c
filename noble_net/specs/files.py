"""Paths in input files: relative to the file that names them, or from Python to the working folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from noble_net.specs.specification import fault


def _beside(value: str, info: ValidationInfo) -> str:
    if not value.strip() or "\0" in value:
        raise fault("is no path", "give the path of a file")
    folder = (info.context or {}).get("folder") or ""
    return str((Path(folder) / value).resolve())


InputFile = Annotated[str, Field(strict=True, max_length=4096), AfterValidator(_beside)]
"""A file that a stimulus is read from. That it exists and fits is checked before a run, not when a spec is read, so
that the network file of an old run can always be read."""
