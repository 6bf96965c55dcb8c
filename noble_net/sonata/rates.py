"""Firing rates in bins, appended while a run goes on. SONATA has no such file; it stands beside the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from noble_net.output import reading
from noble_net.sonata.storage import Closing, H5Output, keep_rows
from noble_net.types import Float64

_BINS_PER_CHUNK = 4096


class RateWriter(Closing):
    """Appends rates (Hz) of named populations and node sets; bin i of ``rates/<name>`` begins at i·``width`` ms.

    ``kept`` goes on with a file that exists, after so many bins; OutputError when it does not hold them. A context
    manager.
    """

    def __init__(self, path: Path | str, names: Sequence[str], width: float, kept: int | None = None) -> None:
        self._output = H5Output(path, append=kept is not None)
        with self._output.opening("firing rates"):
            if kept is None:
                self._create(names, width)
            else:
                for name in names:
                    keep_rows(self._output.file["rates"][name], kept)
        self.flush()

    def _create(self, names: Sequence[str], width: float) -> None:
        group = self._output.file.create_group("rates")
        group.attrs["bin"] = width
        group.attrs["bin_units"] = "ms"
        for name in names:
            rates = group.create_dataset(name, (0,), "f8", maxshape=(None,), chunks=(_BINS_PER_CHUNK,))
            rates.attrs["units"] = "Hz"

    def append(self, name: str, rates: Float64) -> None:
        """Add the next bins."""
        dataset = self._output.file["rates"][name]
        end = len(dataset)
        dataset.resize((end + len(rates),))
        dataset[end:] = rates
        self._output.check()

    def flush(self) -> None:
        """Bring everything to disk."""
        self._output.flush()

    def close(self) -> None:
        """Flush and close; safe to call twice."""
        self._output.close()


def read_rates(path: Path | str) -> dict[str, tuple[Float64, Float64]]:
    """All rates as {name: (beginnings of the bins in ms [bins], rates in Hz [bins])}.

    OutputError when the file is missing or damaged.
    """
    with reading(path, "firing rates"), h5py.File(path, "r") as file:
        width = float(file["rates"].attrs["bin"])
        rates = {name: np.asarray(each[:], np.float64) for name, each in file["rates"].items()}
    return {name: (width * np.arange(len(each), dtype=np.float64), each) for name, each in rates.items()}
