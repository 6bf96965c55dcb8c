"""The cells' mechanisms compiled for CoreNEURON, the engine for large networks in NEURON's own wheel.

They are compiled apart from those for NEURON alone, in minutes, and a process holds one or the other. `NaV.mod` is
compiled with `STEADYSTATE sparse` in the place of its LINEAR block, which CoreNEURON does not compile.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import os
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from noble_net.cache import cache_folder
from noble_net.cells import mechanisms

OWN = (
    "NobleDrive.mod",
    "NobleExpCurrent.mod",
    "NobleExp2Current.mod",
    "NobleNmda.mod",
    "coreneuron/NobleRelay.mod",
)
LEFT_OUT = ("vecevent",)
"""Of bmtk's: no cell here has it, and CoreNEURON does not compile it."""


def load_coreneuron() -> Any:
    """Compile the mechanisms if need be, load them and return `neuron.coreneuron`.

    Raises MissingExtraError without NEURON or bmtk, SolverError without a compiler or where NEURON's own are loaded.
    """
    library = compiled()
    os.environ["CORENEURONLIB"] = str(next(library.parent.glob("libcorenrnmech.*")))
    mechanisms.load_instead(library)
    from neuron import coreneuron

    return coreneuron


def compiled() -> Path:
    """The mechanisms compiled for NEURON and CoreNEURON, from the cache folder."""
    mechanisms.neuron()  # or say that it is missing
    own = Path(str(importlib.resources.files("noble_net.cells"))) / "mod"
    allen = mechanisms.bmtk_folder() / "mechanisms" / "modfiles"
    sources = [own / name for name in OWN]
    sources += [path for path in sorted(allen.glob("*.mod")) if path.stem not in LEFT_OUT]
    texts = {path.name: _solvable(path.read_text(encoding="utf-8")) for path in sources}
    digest = hashlib.sha256(repr((version("neuron"), texts)).encode()).hexdigest()[:16]
    folder = cache_folder("mechanisms") / f"coreneuron-{digest}"
    contents = {file: text.encode() for file, text in texts.items()}
    return mechanisms.built_library(contents, folder, "-coreneuron")


def _solvable(text: str) -> str:
    """NMODL that CoreNEURON compiles: the steady state of a KINETIC block by `sparse`, not by a LINEAR block."""
    found = re.search(r"^LINEAR (\w+) \{.*?^\}\n", text, flags=re.DOTALL | re.MULTILINE)
    kinetic = re.search(r"^KINETIC (\w+)", text, flags=re.MULTILINE)
    if found is None or kinetic is None:
        return text
    return text.replace(found[0], "").replace(f"SOLVE {found[1]}", f"SOLVE {kinetic[1]} STEADYSTATE sparse")
