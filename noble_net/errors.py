"""Everything that can go wrong, as one tree.

NobleNetError
├── ConfigError          a network file or recipe is wrong: file, line, key, value and remedy
├── MissingExtraError    a part that needs an optional install (NEURON, torch …)
├── FamilyError          a cell family cannot be found, read or trusted
├── CheckpointError      a core cannot be found, read or does not fit its family
├── SolverError          NEURON cannot be set up, or a cell's voltage is not finite
├── RecordingError       a cell's recording, or its features, cannot be read, or no code be fitted to it
├── BackendError         a backend cannot hold something the network asks for
└── OutputError          results cannot be written or read

The command line prints any of these on stderr and exits with code 2. What may be meant, but should be known,
is a NobleNetWarning: LatentSpaceWarning, cells outside the hull of their family's members; EnvelopeWarning, cells
driven beyond what their core was trained on; StimulusWarning, a stimulus that never acts.
"""

from __future__ import annotations

from pathlib import Path

_LONGEST_KEY = 200


class NobleNetError(Exception):
    """Base of every error noble-net raises on purpose; its text says what to do."""


class ConfigError(NobleNetError):
    """A key of an input file is wrong. `str()` reads ``file:line: key = value: problem. remedy``.

    ``line`` is 1-based, or None when the file as a whole is meant.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: Path | str | None = None,
        line: int | None = None,
        key: str | None = None,
        value: object = None,
        remedy: str = "",
    ) -> None:
        self.problem, self.remedy = problem, remedy
        self.file, self.line, self.key, self.value = file, line, key, value
        place = f"{file or '<input>'}" + (f":{line}" if line is not None else "")
        shown = shortened(key, _LONGEST_KEY)
        subject = (
            "" if key is None else (f"{shown}: " if value is None else f"{shown} = {shortened(value)}: ")
        )
        super().__init__(f"{place}: {subject}{problem}" + (f". {remedy}" if remedy else ""))


class MissingExtraError(NobleNetError):
    """An optional dependency is not installed; names the extra that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional part: pip install 'noble-net[{extra}]'")


class FamilyError(NobleNetError):
    """A cell family cannot be found, read or trusted."""


class NobleNetWarning(UserWarning):
    """Base of every warning noble-net gives: what may be meant, but should be known."""


class LatentSpaceWarning(NobleNetWarning):
    """Cells lie outside the hull of their family's members, where nothing vouches for them."""


class EnvelopeWarning(NobleNetWarning):
    """Cells were driven beyond what their core was trained on."""


class StimulusWarning(NobleNetWarning):
    """A stimulus begins when the run is over."""


class CheckpointError(NobleNetError):
    """A core's checkpoint cannot be found, read, or was trained on another family."""


class SolverError(NobleNetError):
    """NEURON cannot be set up, or the voltage of a cell, in NEURON or on a core, is not finite."""


class RecordingError(NobleNetError):
    """A cell's recording, or its features, cannot be read, or no code can be fitted to it."""


class BackendError(NobleNetError):
    """A backend cannot hold something the network asks for; names it."""


class OutputError(NobleNetError):
    """Results cannot be written or read; names the path."""


def shortened(value: object, limit: int = 60) -> str:
    """``value`` as text of at most ``limit`` characters that can be shown on any terminal."""
    text = str(value)
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
