"""What a family's exact cells cost in CoreNEURON, the engine for large networks in NEURON's own wheel.

    python benchmarks/coreneuron.py FAMILY CELLS MS THREADS        prints seconds of wall time for a ms of one cell

Members at 1.5 times their threshold, Crank–Nicolson steps of 0.025 ms. Compiled at the first call, which takes minutes,
into the cache folder: NaV.mod with `STEADYSTATE sparse` for its LINEAR block, which CoreNEURON does not compile (see
docs/backends.md), and without the mechanisms of dendritic zones and gap junctions.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import os
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path

from noble_net.cache import cache_folder
from noble_net.cells import mechanisms
from noble_net.cells.solver import REFERENCE_DT, SECOND_ORDER, ExactCell
from noble_net.registry import load_family

BEFORE = 20.0
"""Simulated before what is timed, ms."""
OWN = ("NobleDrive",)
LEFT_OUT = ("vecevent",)


def main(name: str, cells: int, duration: float, threads: int) -> float:
    """Seconds for a ms of one cell, building left out."""
    library = compiled()
    os.environ["CORENEURONLIB"] = str(next(library.parent.glob("libcorenrnmech.*")))
    mechanisms._loaded[None] = library  # instead of those that are compiled for NEURON alone
    h = mechanisms.neuron().h
    if not mechanisms.neuron().load_mechanisms(str(library.parent.parent)):
        raise SystemExit(f"NEURON could not load {library}; delete that folder")
    from neuron import coreneuron

    family = load_family(name)
    members = family.cells(family.ids("train")[:cells])
    context = h.ParallelContext()
    context.nthread(threads)
    built = []
    for i in range(len(members.labels)):
        cell = ExactCell(family.model)
        cell.set_parameters({key: float(values[i]) for key, values in members.parameters.items()})
        cell.drive.i0 = 1.5 * float(members.features["I_thr"][i])
        built.append(cell)
    connections = [h.NetCon(cell.soma(0.5)._ref_v, None, sec=cell.soma) for cell in built]
    for gid, connection in enumerate(connections):
        context.set_gid2node(gid, context.id())
        context.cell(gid, connection)
    h.celsius, h.dt, h.secondorder = family.model.celsius, REFERENCE_DT, SECOND_ORDER
    h.CVode().cache_efficient(True)
    coreneuron.enable, coreneuron.verbose = True, 0
    context.set_maxstep(10)
    taken = []
    for stop in (BEFORE, BEFORE + duration):  # handing the model over costs the same in both
        h.finitialize(family.model.v_init)
        begin = time.perf_counter()
        context.psolve(stop)
        taken.append(time.perf_counter() - begin)
    return (taken[1] - taken[0]) / (cells * duration)


def compiled() -> Path:
    """The mechanisms compiled for NEURON and CoreNEURON, from the cache folder."""
    own = Path(str(importlib.resources.files("noble_net.cells"))) / "mod"
    allen = mechanisms.bmtk_folder() / "mechanisms" / "modfiles"
    sources = [own / f"{name}.mod" for name in OWN]
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


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
