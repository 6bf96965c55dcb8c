"""Tables of node and edge types: text files, values separated by spaces, one line a type."""

from __future__ import annotations

import ast
import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noble_net.errors import OutputError

if TYPE_CHECKING:
    import pandas as pd

NOTHING = ("NULL", "NONE", "None", "nan", "")


def read_types(path: Path | str, kind: str) -> pd.DataFrame:
    """The table of ``kind`` 'node' or 'edge' types, indexed by their ids; what is not given is NaN.

    OutputError when it is missing or no such table.
    """
    import pandas as pd

    key = f"{kind}_type_id"
    if not Path(path).is_file():
        raise OutputError(f"{path}: there is no such file")
    try:
        table = pd.read_csv(path, sep=" ", na_values=list(NOTHING), keep_default_na=False)
        table = table.astype({key: "int64"}).set_index(key)
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise OutputError(f"{path}: is no table of {kind} types: {reason[:120]}") from error
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        raise OutputError(f"{path}: {key} {twice} is given twice")
    return table


def types_text(kind: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The table whose type i has the values ``rows[i]``, as it is written to a file."""
    stream = io.StringIO()
    columns = [f"{kind}_type_id", *(dict.fromkeys(key for row in rows for key in row) or ["population"])]
    writer = csv.DictWriter(stream, columns, restval="NULL", delimiter=" ", lineterminator="\n")
    writer.writeheader()
    writer.writerows({columns[0]: index, **row} for index, row in enumerate(rows))
    return stream.getvalue()


def dynamics_of(value: object, folder: Path | str | None) -> dict[str, Any]:
    """What `dynamics_params` of a type says: JSON, a Python literal (as bmtk writes it), or a JSON file in ``folder``.

    Nothing if it is not given. OutputError when it is neither.
    """
    if not isinstance(value, str):
        return {}
    text = value.strip()
    if text.startswith("{"):
        for parse in (json.loads, ast.literal_eval):
            try:
                found = parse(text)
            except (ValueError, SyntaxError):
                continue
            if isinstance(found, dict):
                return {str(key): each for key, each in found.items()}
        raise OutputError(f"dynamics_params {text[:60]!r} cannot be parsed")
    path = Path(text) if folder is None else Path(folder) / text
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"dynamics_params {text!r}: {path} cannot be read as JSON ({error})") from error
    if not isinstance(found, dict):
        raise OutputError(f"dynamics_params {text!r}: {path} holds no names with values")
    return found
