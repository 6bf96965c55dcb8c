"""Pages of Markdown from jinja templates that lie in the packages whose numbers they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from noble_net.output import write_text


def write_markdown(
    path: Path,
    package: str,
    template: str,
    values: Mapping[str, Any],
    filters: Mapping[str, Callable[..., str]],
) -> Path:
    """Render the file ``template`` of ``package`` with ``values`` and ``filters`` into ``path``, which is returned.

    A name the template wants and ``values`` lacks is an error. Raises OutputError when the page cannot be written.
    """
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.filters.update(filters)
    source = (files(package) / template).read_text(encoding="utf-8")
    write_text(path, environment.from_string(source).render(values).rstrip() + "\n")
    return path
