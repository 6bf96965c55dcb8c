"""Files a run leaves: the system's refusals become OutputError, small files come whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from noble_net.errors import OutputError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def unwritable(path: Path, error: OSError) -> OutputError:
    """The OutputError for a refused write: names the path, the system's reason and a remedy."""
    if error.errno in _FULL:
        remedy = "Free some space or give another folder; what was written before can still be read"
    elif error.errno in _FORBIDDEN:
        remedy = "Give a folder you may write to"
    else:
        remedy = "Give another folder"
    return OutputError(f"{path}: cannot be written: {error.strerror or error}. {remedy}.")


@contextmanager
def saving(path: Path | str) -> Iterator[None]:
    """Turn any OSError inside into an OutputError about ``path``: disk full, not permitted, no folder."""
    try:
        yield
    except OSError as error:
        raise unwritable(Path(path), error) from error


@contextmanager
def reading(path: Path | str, what: str) -> Iterator[None]:
    """Turn a missing, truncated or foreign file inside into an OutputError: ``path`` should be ``what``."""
    try:
        yield
    except FileNotFoundError as error:
        raise OutputError(f"{path}: there is no such file; a run writes its {what} there.") from error
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = str(error).strip("'\"").splitlines()[0] if str(error) else type(error).__name__
        raise OutputError(f"{path}: cannot be read as {what}: {reason}. Run the network again.") from error


def claim_folder(out: Path, ours: Collection[str], what: str) -> None:
    """Make the folder ``out``; OutputError when it holds anything but ``ours``, the names that ``what`` writes."""
    with saving(out):
        out.mkdir(parents=True, exist_ok=True)
        foreign = {entry.name for entry in out.iterdir()} - set(ours)
    if foreign:
        found = ", ".join(sorted(foreign)[:3])
        raise OutputError(
            f"{out}: holds something else ({found}). Give a new folder, or that of this {what}."
        )


def write_text(path: Path | str, text: str) -> None:
    """Write a small text file through a temporary neighbour, so that readers never see half of it."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    with saving(path):
        try:
            part.write_text(text, encoding="utf-8")
            os.replace(part, path)
        except BaseException:  # also on Ctrl-C
            part.unlink(missing_ok=True)
            raise


def write_json(path: Path | str, content: Mapping[str, Any]) -> None:
    """Write ``content`` as indented JSON, whole or not at all. NaN is refused: JSON has none."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str, what: str) -> dict[str, Any]:
    """Read a JSON object; OutputError when it is missing, broken or something else than an object."""
    with reading(path, what):
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise TypeError("not a JSON object")
        return content
