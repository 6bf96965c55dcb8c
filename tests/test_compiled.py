"""Compiled functions kept on disk: never those of other sources."""

from pathlib import Path

from numba import config

from noble_net.cache import cache_folder
from noble_net.compiled import compiled, made_of
from noble_net.surrogate import kernels


def test_the_folder_is_named_by_what_compiles(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text("from noble_net.compiled import compiled\n")
    (tmp_path / "deeper").mkdir()
    tiles, plain = tmp_path / "deeper/tiles.py", tmp_path / "plain.py"
    tiles.write_text("import numba\n")
    plain.write_text("a = 1\n")
    first = made_of(tmp_path)
    plain.write_text("a = 2\n")
    assert made_of(tmp_path) == first
    tiles.write_text("import numba  # another body\n")
    assert made_of(tmp_path) != first
    tiles.write_text("import numba\n")
    assert made_of(tmp_path) == first
    tiles.rename(tmp_path / "tiles.py")
    assert made_of(tmp_path) != first


def test_others_keep_their_folder() -> None:
    before = config.CACHE_DIR

    @compiled()
    def twice(x):  # type: ignore[no-untyped-def]
        return 2 * x

    assert twice(3) == 6
    assert before == config.CACHE_DIR


def test_the_package_keeps_what_it_compiles_there() -> None:
    folder = before if (before := config.CACHE_DIR) else str(cache_folder("compiled"))
    assert kernels.advance.stats.cache_path.startswith(folder)


def test_nothing_is_kept_elsewhere() -> None:
    package = Path(kernels.__file__).parent.parent
    holders = [
        path.name for path in package.rglob("*.py") if "cache=True" in path.read_text(encoding="utf-8")
    ]
    assert holders == ["compiled.py"]
