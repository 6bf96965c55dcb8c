"""README and the pages of docs/: their Python runs, their YAML is valid, their commands exist, their links lead on.
So do the commands in the comments of shipped networks and recipes.

A block marked `python sketch` takes too long to run: only its imports are. One marked `yaml fragment` is part of a
file, which the page's own tests look at. YAML that begins with a file's name, `# short.yaml`, is there as that file.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main

from noble_net.cli import app
from noble_net.config import NetworkSpec
from noble_net.specs.cores import CoreRecipe
from noble_net.specs.families import FamilyRecipe
from noble_net.specs.noble import NobleRecipe
from noble_net.specs.specification import Spec, validate_document
from noble_net.specs.studies import StudySpec
from noble_net.specs.validation import ValidationSpec
from noble_net.specs.windowed import WindowedRecipe
from noble_net.specs.yaml_source import load_document

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = sorted(DOCS.glob("*.md"))
KINDS: dict[str, type[Spec]] = {
    "populations": NetworkSpec,
    "population": StudySpec,
    "single_cell": StudySpec,
    "tolerances": ValidationSpec,
    "cell": FamilyRecipe,
}
"""What a file is, by a key that no other kind of file has; recipes of cores tell their kind."""
RECIPES: dict[str, type[Spec]] = {"streaming": CoreRecipe, "windowed": WindowedRecipe, "noble": NobleRecipe}


class Block(NamedTuple):
    """A block of code: the page and ``line`` it begins on, what stands behind its fence, and its text."""

    page: Path
    line: int
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield Block(page, text[: found.start()].count("\n") + 2, found[1].strip(), found[2])


BLOCKS = [block for page in [README, *PAGES] for block in blocks(page)]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def test_blocks_say_what_they_are() -> None:
    known = {"", "python", "python sketch", "yaml", "yaml fragment", "csv"}
    for block in BLOCKS:
        assert block.info in known, block
        assert block.info or not re.match(r"(from|import) |name: ", block.text), block


# --- Python -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks of a page, one after the other in one namespace, beside the files that the page shows by name."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page):
        if shown := re.match(r"# ([\w-]+\.yaml)\n", block.text):
            (tmp_path / shown[1]).write_text(block.text, encoding="utf-8")
        if not block.info.startswith("python"):
            continue
        tree = ast.parse(block.text, str(page))
        ast.increment_lineno(tree, block.line - 1)
        if block.info == "python sketch":
            tree.body = [each for each in tree.body if isinstance(each, ast.Import | ast.ImportFrom)]
            assert tree.body, f"{block}: nothing to check"
        exec(compile(tree, str(page), "exec"), names)


# --- YAML -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.info == "yaml"], ids=str)
def test_yaml_is_valid(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "block.yaml"
    file.write_text(block.text, encoding="utf-8")
    document = load_document(file)
    recipe = RECIPES[document.data.get("kind", "streaming")] if "dataset" in document.data else None
    kind = recipe or next((spec for key, spec in KINDS.items() if key in document.data), None)
    assert kind, "neither a file of any kind nor marked `yaml fragment`"
    validate_document(kind, document)


# --- commands ---------------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, list[str]]]:
    """Where a command stands, and its words after `noble-net`, in blocks, and in the text where it begins a span."""
    for block in BLOCKS:
        for line in block.text.splitlines() if block.info == "" else ():
            if found := re.match(r"(?:torchrun .* -m noble_net|noble-net) (.*)", line):
                yield str(block), shlex.split(found[1], comments=True)
    for page in [README, *PAGES]:
        for found in re.finditer(r"`noble-net\s+([^`]+)`", prose(page)):
            yield str(page.relative_to(ROOT)), shlex.split(found[1])
    for file in sorted((*ROOT.glob("networks/*.yaml"), *ROOT.glob("surrogate/recipes/*.yaml"))):
        for found in re.finditer(
            r"^#\s+noble-net (.*?)(?:\s{2,}.*)?$", file.read_text(encoding="utf-8"), re.MULTILINE
        ):
            yield str(file.relative_to(ROOT)), shlex.split(found[1])


COMMANDS = list(commands())


@pytest.mark.parametrize(("place", "words"), COMMANDS, ids=[f"{at}-{' '.join(w)}" for at, w in COMMANDS])
def test_commands_and_their_options_exist(place: str, words: list[str]) -> None:
    name, *arguments = words
    known: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert name in known, f"{place}: there is no command {name}"
    if arguments:  # else the text speaks of the command as such
        known[name].make_context(name, arguments)  # reads them, and complains, without running anything


def test_commands_are_found() -> None:
    assert len(COMMANDS) > 50
    assert {"run", "fit", "train", "schema", "validate"} <= {words[0] for _, words in COMMANDS}


# --- links and the index ----------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """What headings of a page are called in links, by GitHub's rule."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        led = (page.parent / path).resolve() if path else page
        assert led.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(led), f"{page.name} links to {target}, where no heading is"


def test_files_named_in_the_text_exist() -> None:
    for page in PAGES:
        for path in re.findall(
            r"`((?:noble_net|networks|benchmarks|surrogate|tests|examples)/[\w./*-]+)`", prose(page)
        ):
            assert list(ROOT.glob(path.rstrip("/"))), f"{page.name} names {path}"
        for module in re.findall(r"`(noble_net(?:\.[a-z_]+)+)", prose(page)):
            path = ROOT / module.replace(".", "/")
            there = (path.with_suffix(".py"), path / "__init__.py", path.parent.with_suffix(".py"))
            assert any(each.is_file() for each in there), f"{page.name} names {module}"


def test_the_index_has_every_page_and_readme_has_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"\]\(([a-z-]+\.md)\)", index)
    assert set(listed) == {page.name for page in PAGES} - {"README.md"}
    assert "](docs/README.md)" in README.read_text(encoding="utf-8")
