"""Logs of long work: one JSON object a line, appended, readable after a kill at any moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a log, none where there is no file. A last line that a kill cut short is removed from the file, so
    that the next one is not written behind it."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
    return [json.loads(line) for line in content[:whole].splitlines() if line.strip()]
