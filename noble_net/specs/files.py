"""Paths in input files: relative to the file that names them, or from Python to the working folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from noble_net.specs.specification import fault

_LONGEST_NAME = 255
"""Bytes of a file's name that every common file system takes."""


def whole_path(value: str, info: ValidationInfo) -> str:
    """``value`` as a whole path; a fault for what can be none."""
    if not value.strip() or "\0" in value:
        raise fault("is no path", "give the path of a file")
    folder = (info.context or {}).get("folder") or ""
    try:
        path = (Path(folder) / Path(value).expanduser()).resolve()
        longest = max(len(os.fsencode(part)) for part in path.parts)
    except (OSError, RuntimeError, ValueError) as error:  # nobody's home folder, links in a circle, no text
        raise fault("is no path that can be followed", "give the path of a file") from error
    if longest > _LONGEST_NAME:
        raise fault(f"has a name of more than {_LONGEST_NAME} bytes", "give the path of a file")
    return str(path)


InputFile = Annotated[str, Field(strict=True, max_length=4096), AfterValidator(whole_path)]
"""A file that something is read from. That it exists and fits is checked before a run, not when a spec is read, so
that the network file of an old run can always be read."""
