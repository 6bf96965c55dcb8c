"""The user's table of cell types: which nodes of a circuit become cells of which family, on which core.

A .csv with a header, or a .yaml with rows under `cell_types`. The columns `family`, `core` and `member` say what nodes
become; every other column is an attribute they must have (`node_type_id`, `population`, or a column of the table of
node types such as `model_template` or `pop_name`; empty: any). The first row that fits a node type counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noble_net.errors import ConfigError
from noble_net.specs.yaml_source import load_document

ANSWERS = ("family", "core", "member")


@dataclass(frozen=True)
class Row:
    """One row: attributes wanted, what such nodes become, and where it stands."""

    wanted: Mapping[str, str]
    answers: Mapping[str, str]
    line: int | None

    def fits(self, attributes: Mapping[str, object]) -> bool:
        """Whether nodes with these attributes are meant."""
        return all(_text(attributes.get(key)) == value for key, value in self.wanted.items())


@dataclass(frozen=True)
class CellTypes:
    """The rows of such a table, or none."""

    file: Path | None = None
    rows: tuple[Row, ...] = ()

    def find(self, attributes: Mapping[str, object]) -> Mapping[str, str]:
        """`family`, `core` and `member`, as far as given, by the first row that fits; nothing if none does."""
        return next((row.answers for row in self.rows if row.fits(attributes)), {})


def read_cell_types(path: Path | str) -> CellTypes:
    """The table in a file. Raises ConfigError at its line."""
    file = Path(path)
    if file.suffix.lower() in (".yaml", ".yml"):
        return CellTypes(file, tuple(_from_yaml(file)))
    if file.suffix.lower() == ".csv":
        return CellTypes(file, tuple(_from_csv(file)))
    raise ConfigError("is neither .csv nor .yaml", file=file, remedy="give one of these")


def _from_csv(file: Path) -> list[Row]:
    import pandas as pd

    try:
        table = pd.read_csv(file, dtype=str, skipinitialspace=True, keep_default_na=False, comment="#")
    except FileNotFoundError:
        raise ConfigError("there is no such file", file=file, remedy="check the path") from None
    except (OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or ["damaged"])[0]
        raise ConfigError(f"is no table: {reason}", file=file, remedy="separate values by commas") from error
    if len(table.columns) == 1 and ";" in str(table.columns[0]):
        problem = "its columns are separated by semicolons"
        raise ConfigError(problem, file=file, line=1, remedy="separate values by commas")
    records = [
        {str(key).strip(): str(value) for key, value in each.items()} for each in table.to_dict("records")
    ]
    return [_row(file, index + 2, each) for index, each in enumerate(records)]


def _from_yaml(file: Path) -> list[Row]:
    document = load_document(file)
    rows = document.data.get("cell_types")
    if not isinstance(rows, list) or set(document.data) != {"cell_types"}:
        remedy = "write `cell_types:` and below it rows such as `- {pop_name: exc, family: allen-rorb}`"
        raise document.error((), "has not the one key `cell_types`", remedy)
    found = []
    for index, each in enumerate(rows):
        if not isinstance(each, dict):
            raise document.error(("cell_types", index), "is no row", "write keys with values")
        line = document.locate(("cell_types", index)).line
        found.append(_row(file, line, {key: _text(value) for key, value in each.items()}))
    return found


def _row(file: Path, line: int | None, given: Mapping[str, str]) -> Row:
    filled = {key: value.strip() for key, value in given.items() if value.strip()}
    answers = {key: value for key, value in filled.items() if key in ANSWERS}
    if not {"family", "core"} & set(answers):
        remedy = "give a column `family`, or `core: integrate-and-fire`"
        raise ConfigError("says neither family nor core", file=file, line=line, remedy=remedy)
    for key in ("family", "core"):  # paths start where the table lies
        value = answers.get(key, "")
        if "/" in value or value.endswith(".csv"):
            answers[key] = str((file.parent / value).resolve())
    return Row({key: value for key, value in filled.items() if key not in ANSWERS}, answers, line)


def _text(value: Any) -> str:
    """As it is compared: 100, 100.0 and "100" are one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None or value != value else str(value).strip()
