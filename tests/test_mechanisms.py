"""Mechanisms are compiled once, whole or not at all, and what is missing is said plainly."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from noble_net.cells import mechanisms
from noble_net.errors import MissingExtraError, SolverError

Compiler = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and a process that has not loaded any mechanism yet."""
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    monkeypatch.delenv("NOBLE_NET_CACHE", raising=False)
    monkeypatch.setattr(mechanisms, "_loaded", {})
    return tmp_path / "noble-net" / "mechanisms"


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Stands in for nrnivmodl, which takes half a minute; the list holds the folders it was called in."""
    calls: list[Path] = []

    def run(command: list[str], cwd: Path, **_: Any) -> subprocess.CompletedProcess[str]:
        assert {path.name for path in (cwd / command[1]).iterdir()} >= {"NobleDrive.mod", "NaV.mod"}
        calls.append(cwd)
        leave_library(cwd)
        return subprocess.CompletedProcess(command, 0, "", "")

    use(monkeypatch, run)
    return calls


def use(monkeypatch: pytest.MonkeyPatch, run: Compiler) -> None:
    monkeypatch.setattr(mechanisms.subprocess, "run", run)


def leave_library(folder: Path) -> None:
    (folder / "x86_64").mkdir(parents=True)
    (folder / "x86_64" / "libnrnmech.so").touch()


def test_compiled_once_and_found_again(cache: Path, compiler: list[Path]) -> None:
    first = mechanisms.compiled_library()
    assert first.is_file() and first.is_relative_to(cache)
    assert mechanisms.compiled_library() == first
    assert len(compiler) == 1
    assert [path.name for path in cache.iterdir()] == [first.parents[1].name]


def test_changed_sources_are_compiled_anew(
    cache: Path, compiler: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = mechanisms.compiled_library()
    sources = mechanisms._sources()
    changed = tmp_path / sources[0].name
    changed.write_text(sources[0].read_text() + "\n: changed\n")
    monkeypatch.setattr(mechanisms, "_sources", lambda: [changed, *sources[1:]])
    second = mechanisms.compiled_library()
    assert second.parents[1] != first.parents[1]
    assert first.is_file() and len(compiler) == 2


def test_no_compiler_is_said_with_a_remedy(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(SolverError, match=r"C\+\+ compiler.*install one"):
        mechanisms.load_mechanisms()
    assert not cache.exists()


def test_no_nrnivmodl(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(SolverError, match="nrnivmodl"):
        mechanisms.compiled_library()


def test_a_failed_compilation_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], cwd: Path, **_: Any) -> subprocess.CompletedProcess[str]:
        leave_library(cwd)
        return subprocess.CompletedProcess(command, 1, "", "NaV.mod:3: syntax error")

    use(monkeypatch, run)
    with pytest.raises(SolverError, match="syntax error"):
        mechanisms.compiled_library()
    assert list(cache.iterdir()) == []


def test_a_compilation_without_library_is_an_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, lambda command, **_: subprocess.CompletedProcess(command, 0, "", ""))
    with pytest.raises(SolverError, match="delete that folder"):
        mechanisms.compiled_library()


def test_another_process_may_finish_first(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], cwd: Path, **_: Any) -> subprocess.CompletedProcess[str]:
        leave_library(cwd)
        leave_library(cache / mechanisms._hash(mechanisms._sources()))
        return subprocess.CompletedProcess(command, 0, "", "")

    use(monkeypatch, run)
    assert mechanisms.compiled_library().is_file()
    assert len(list(cache.iterdir())) == 1


def test_without_neuron_the_extra_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neuron", None)
    with pytest.raises(MissingExtraError, match=r"NEURON.*noble-net\[reference\]"):
        mechanisms.load_mechanisms()


def test_without_bmtk_the_extra_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "bmtk" else found(name, *rest)
    )
    with pytest.raises(MissingExtraError, match=r"bmtk.*noble-net\[reference\]"):
        mechanisms.load_mechanisms()


def test_loaded_once_into_neuron() -> None:
    library = mechanisms.load_mechanisms()
    assert mechanisms.load_mechanisms() == library
    h = mechanisms.neuron().h
    for name in ("NobleDrive", "NobleExpCurrent", "NobleExp2Current", "NobleZoneInput"):
        assert hasattr(h, name)
