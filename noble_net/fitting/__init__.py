"""From a recording of a cell, or from its features alone, to its code with an uncertainty."""

from noble_net.fitting.fit import CellFit, fit_features, fit_recording
from noble_net.fitting.recordings import Sweep, read_recording

__all__ = ["CellFit", "Sweep", "fit_features", "fit_recording", "read_recording"]
