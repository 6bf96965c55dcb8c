"""Compiled functions: numba's, kept on disk under a name that tells what all of them are made of.

numba looks at a function's own file to know whether what it kept is still good, and compiled functions call others from
other files. Here the folder is named by the contents of every file that compiles anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from numba import config, njit

from noble_net.cache import cache_folder

_PACKAGE = Path(__file__).parent

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[Function], Function]:
    """`numba.njit` with ``options``, kept on disk. The environment variable NUMBA_CACHE_DIR moves what is kept."""

    def kept(function: Function) -> Function:
        before = config.CACHE_DIR  # type: ignore[attr-defined]
        config.CACHE_DIR = str(_folder(before))  # type: ignore[attr-defined]
        try:
            made: Function = njit(cache=True, **options)(function)
        finally:
            config.CACHE_DIR = before  # type: ignore[attr-defined]
        return made

    return kept


@cache
def _folder(given: str) -> Path:
    root = Path(given) / "noble-net" if given else cache_folder("compiled")
    return root / made_of(_PACKAGE)


def made_of(package: Path) -> str:
    """A digest of all files of a package that compile something."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        if b"numba" in content or b"import compiled" in content:
            digest.update(str(path.relative_to(package)).encode() + b"\0" + content)
    return digest.hexdigest()[:16]
