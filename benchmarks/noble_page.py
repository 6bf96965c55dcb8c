"""The tables of docs/noble.md: NOBLE cores beside what the paper reports (arXiv 2506.04536), from what noble.py,
noble_variants.py, noble_interpolation.py, noble_sag.py and respond.py left.

    python benchmarks/noble_page.py
"""

from __future__ import annotations

import json

from noble_shared import errors, percent, read_recipe, table
from noble_variants import variants_table
from scoreboard import RESULTS, ROOT, load, write_between

from noble_net.training.noble_evaluate import paper_rows

PAGE = ROOT / "docs/noble.md"
SHOWN = {
    "V": "voltage",
    "Spikecount": "spike count",
    "AP1_width": "AP width",
    "mean_AP_amplitude": "AP amplitude",
    "steady_state_voltage": "steady voltage",
}
CORES = {
    "noble-small": {"ID": "PV, seen", "OOD": "PV, held out"},
    "noble-vip": {"ID": "VIP-like, seen", "OOD": "VIP-like, held out"},
}
PAPER_SAG = {"before": 69.6, "λ = 0": 19.2, "λ = 25": 9.6}
"""Relative error of the sag, %."""

ACCURACY = """Relative L2 errors, the paper's in brackets (another PVALB cell, another VIP cell). F–I curves off by more
than 10 % somewhere above 1.2 I_thr: {curves} (the paper: 3 of 50 deviate visibly)."""
EMBEDDING = """`noble-small`, trained on a tenth of its windows, told of a cell what stands in front. Its tables of
spikes are told no more, and nothing by rule: without features all members are one. The paper's voltage is of members
seen. I_thr alone is a poor name here: it is searched on a grid of currents, and many of the 50 members have the same.
`as published`: features in waves, no tables, as many windows."""
MEMBERS = "As many traces, of more or fewer members; the paper's voltage is of members held out."
INTERPOLATION = """Traces that lie within the family's ranges of all 16 e-features, taken over their own step, that and
its neighbours, or all steps. One of sixteen steps is none, 0 nA: there a cell's answer is its rest by rule
(`rest_within` in the recipe). NEURON's own held-out members say what a perfect model scores. In the paper the
conductances half-way between two models give "monsters"."""
SAG = """`{core}` trained on with L(λ) = L_data + λ·L_F on {trained} hyperpolarising steps (the paper has 19,600), on
{traces} others. What failed on the way stands in the card."""
SPEED = "Times faster than serial NEURON, in one run; the paper 230 and 4200 × on an RTX 4090."


def section() -> str:
    """All tables as Markdown."""
    parts = {
        "Accuracy on new currents": accuracy(),
        "What is embedded": f"{EMBEDDING}\n\n{variants_table('embedding')}",
        "How many members it is trained on": f"{MEMBERS}\n\n{variants_table('members')}",
        "Between members": interpolation(),
        "The sag": sag(),
        "Step responses a second": speed(),
    }
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in parts.items())


def accuracy() -> str:
    """ID and OOD of the cores that ship, and their F–I curves."""
    rows, curves = [], []
    for core, kinds in CORES.items():
        found = json.loads((ROOT / f"surrogate/checkpoints/{core}/accuracy.json").read_text(encoding="utf-8"))
        for kind, label in kinds.items():
            row = found["table"][kind]
            ours, theirs = errors(row), paper_rows(read_recipe(core).family)[kind]
            cells = [
                percent(ours.get(name)) + (f" ({percent(theirs[name])})" if theirs[name] else "")
                for name in SHOWN
            ]
            rows.append([f"`{core}`, {label}, {found['members'][kind]} members", *cells])
            fi = found["fi"][kind]
            curves.append(f"{label}: {fi['deviating']} of {len(fi['members'])}")
    return f"{ACCURACY.format(curves='; '.join(curves))}\n\n{table(['', *SHOWN.values()], rows)}"


def interpolation() -> str:
    """The share of traces within the family's ranges."""
    found = json.loads((RESULTS / "noble_interpolation.json").read_text(encoding="utf-8"))
    rows = [[label, *(percent(each[k]) for k in each)] for label, each in found["table"].items()]
    return f"{INTERPOLATION}\n\n{table(['cells', 'own step', 'and neighbours', 'all steps'], rows)}"


def sag() -> str:
    """Fine-tuning on the sag."""
    found = json.loads((RESULTS / "noble_sag.json").read_text(encoding="utf-8"))
    rows = [
        [
            label,
            percent(each["sag_amplitude"]),
            f"{PAPER_SAG[label]:g} %" if label in PAPER_SAG else "–",
            percent(each["V"]),
        ]
        for label, each in found["table"].items()
    ]
    return f"{SAG.format(**found)}\n\n{table(['', 'sag', 'the paper', 'voltage'], rows)}"


def speed() -> str:
    """What the scoreboard has of it."""
    rows = []
    for target in load():
        if target["name"].startswith("respond, noble"):
            what = target["name"].removeprefix("respond, ").replace(": times faster than serial NEURON", "")
            rows.append([what, f"{target['value']:g} ×"])
    return f"{SPEED}\n\n{table(['', ''], rows)}"


if __name__ == "__main__":
    write_between(PAGE, section())
