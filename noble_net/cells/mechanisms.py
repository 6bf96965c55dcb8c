"""NMODL mechanisms: found in the installed bmtk package, compiled once into a cache folder, loaded into NEURON.

The folder is named by a hash of the sources and of NEURON's version, so a new release of either compiles anew
and nothing ever mixes. Compilation happens in a temporary folder that is renamed when complete: an interrupted
one leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

from noble_net.cache import cache_folder
from noble_net.errors import FamilyError, MissingExtraError, SolverError

_BIONET = Path("utils/scripts/bionet")
_loaded: dict[Path | None, Path] = {}
_owners: dict[str, Path] = {}
"""Mechanism of a user's folder → the library it was loaded from; NEURON holds one of a name per process."""

_DECLARED = re.compile(r"^\s*(?:SUFFIX|POINT_PROCESS|ARTIFICIAL_CELL)\s+(\w+)", re.MULTILINE)
_BUILT_IN = frozenset(
    {"pas", "hh", "fastpas", "capacitance", "extracellular", "morphology", "k_ion", "na_ion", "ca_ion"}
    | {
        "ExpSyn",
        "Exp2Syn",
        "AlphaSynapse",
        "IClamp",
        "SEClamp",
        "VClamp",
        "APCount",
        "NetStim",
        "PatternStim",
    }
    | {"IntFire1", "IntFire2", "IntFire4", "PointProcessMark"}
)


def bmtk_folder() -> Path:
    """Folder of bmtk's Allen models (fits, morphologies, mechanisms). Raises MissingExtraError without bmtk."""
    spec = importlib.util.find_spec("bmtk")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("the Allen cell models (bmtk)", "reference")
    return Path(spec.submodule_search_locations[0]) / _BIONET


def neuron() -> ModuleType:
    """The `neuron` package. Raises MissingExtraError when it is not installed."""
    os.environ.setdefault("NEURON_MODULE_OPTIONS", "-nogui")
    try:
        import neuron as module
    except ImportError as error:
        raise MissingExtraError("NEURON", "reference") from error
    return module  # type: ignore[no-any-return]


def load_mechanisms(extra: Path | None = None) -> Path:
    """Compile what is not compiled yet and load it into NEURON, once a process; returns the library.

    ``extra``: folder of further NMODL files, which are compiled on their own. Raises FamilyError when it has none or
    defines a mechanism anew, SolverError when there is no C++ compiler or a mechanism does not compile.
    """
    if extra is not None:
        extra = extra.resolve()
        load_mechanisms()
    if extra not in _loaded:
        library = compiled_library(extra)
        if extra is not None:
            _claim(extra, library)
        _load(extra, library)
    return _loaded[extra]


def load_instead(library: Path) -> None:
    """Load ``library`` in the place of what `load_mechanisms` compiles without ``extra``.

    Raises SolverError where that is loaded already, since a process holds mechanisms of a name once.
    """
    if None in _loaded and _loaded[None] != library:
        raise SolverError(
            f"NEURON has loaded {_loaded[None]} in this process already and cannot load {library}, too: use a process "
            "of its own"
        )
    if None not in _loaded:
        _load(None, library)


def _load(extra: Path | None, library: Path) -> None:
    if not neuron().load_mechanisms(str(library.parent.parent), warn_if_already_loaded=False):
        raise SolverError(f"NEURON could not load the compiled mechanisms in {library}; delete that folder")
    _loaded[extra] = library


def _claim(extra: Path, library: Path) -> None:
    """Refuse a second mechanism of a name in one process: NEURON would end it without a word of Python's."""
    for path in _extra_sources(extra):
        for name in declared(path):
            if _owners.setdefault(name, library) != library:
                raise FamilyError(
                    f"{path}: another mechanism {name!r} is loaded already, and NEURON holds one of a name: use the "
                    "cells in processes of their own, or rename one's SUFFIX"
                )


def declared(nmodl: Path) -> list[str]:
    """Names of the mechanisms an NMODL file declares."""
    text = nmodl.read_text(encoding="utf-8", errors="replace")
    return _DECLARED.findall(
        re.sub(r"COMMENT.*?ENDCOMMENT|[:?].*?$", "", text, flags=re.DOTALL | re.MULTILINE)
    )


def compiled_library(extra: Path | None = None) -> Path:
    """Path of the compiled mechanisms (of ``extra``, or else ours and bmtk's), compiling them first if need be."""
    neuron()  # or say that it is missing: its version is part of the folder's name
    sources = (extra is not None and _extra_sources(extra)) or _sources()  # a folder of copies adds nothing
    folder = cache_folder("mechanisms") / _hash(sources)
    return built_library({path.name: path.read_bytes() for path in sources}, folder)


def built_library(sources: Mapping[str, bytes], folder: Path, *flags: str) -> Path:
    """The library of NMODL files (name → content) in ``folder``, compiled with nrnivmodl's ``flags`` if need be.

    Raises SolverError when there is no C++ compiler or a mechanism does not compile.
    """
    library = _find_library(folder)
    if library is None:
        _compile(sources, folder, flags)
        library = _find_library(folder)
    if library is None:
        raise SolverError(f"nrnivmodl left no library in {folder}; delete that folder and try again")
    return library


def _sources() -> list[Path]:
    own = Path(str(importlib.resources.files("noble_net.cells"))) / "mod"
    allen = bmtk_folder() / "mechanisms" / "modfiles"
    return sorted([*own.glob("*.mod"), *allen.glob("*.mod")], key=lambda path: path.name)


def _extra_sources(folder: Path) -> list[Path]:
    """The NMODL files of a user's folder, less copies of those that come with bmtk; none may take a name of theirs."""
    found = sorted(folder.glob("*.mod"), key=lambda path: path.name)
    if not found:
        raise FamilyError(f"{folder} holds no NMODL files (*.mod)")
    known = {path.name: path.read_bytes() for path in _sources()}
    own = [path for path in found if known.get(path.name) != path.read_bytes()]
    taken = _BUILT_IN | {name for path in _sources() for name in declared(path)}
    for path in own:
        names = declared(path)
        clash = sorted({name for name in names if name in taken})
        if path.name in known or clash:
            raise FamilyError(
                f"{path} differs from the mechanism {', '.join(clash) or path.stem} which comes with NEURON or bmtk: "
                "rename its file and its SUFFIX"
            )
        taken |= set(names)
    return own


def _hash(sources: list[Path]) -> str:
    digest = hashlib.sha256(f"neuron {version('neuron')} {sys.platform}".encode())
    for path in sources:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _find_library(folder: Path) -> Path | None:
    return next(iter(folder.glob("*/libnrnmech.*")), None)


def _compile(sources: Mapping[str, bytes], folder: Path, flags: Sequence[str]) -> None:
    tool = shutil.which(
        "nrnivmodl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    )
    if tool is None:
        raise SolverError("nrnivmodl, which comes with NEURON, is not beside this Python: reinstall neuron")
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++", "c++")):
        raise SolverError(
            "compiling the cells' NMODL mechanisms needs a C++ compiler and none was found: install one "
            "(Debian: g++ and make; macOS: the command line tools) or set CXX"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as name:
        build = Path(name)
        (build / "mod").mkdir()
        for file, content in sources.items():
            (build / "mod" / file).write_bytes(content)
        command = [tool, *flags, "mod"]
        done = subprocess.run(command, cwd=build, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SolverError(f"nrnivmodl failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        try:
            build.rename(folder)
        except OSError:
            # Another process finished the same build first; its result is as good as ours.
            if _find_library(folder) is None:
                raise
        else:
            build.mkdir()
