"""A toy family of leaky integrate-and-fire cells whose step responses need no solver, and a NOBLE recipe for it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from noble_net.cells.family import Family
from noble_net.cells.features import FEATURES

RECIPE = {
    "kind": "noble",
    "name": "toy-noble",
    "family": "toy",
    "dataset": {
        "seed": 3,
        "traces": 40,
        "test_traces": 2,
        "fi_points": 4,
        "hyperpolarising": 12,
        "sampling": "0.6 ms",
        "dt": "0.1 ms",
        "settle": "0.1 ms",
    },
    "model": {"layers": 2, "channels": 8, "modes": 32, "padded": 864},
    "training": {"epochs": 4, "batch": 8, "learning_rate": 0.004, "validation": 0.1},
}


def solve(parameters, current, sampling):
    """A leaky integrate-and-fire cell with spikes of 3 ms and a slow sag, at 0.1 ms."""
    v = rest = -70.0
    u, left, trace = 0.0, 0, np.empty(len(current) + 1, np.float32)
    trace[0] = rest
    for k, i in enumerate(current):
        u += 0.1 * (0.05 * (v - rest) - u) / 40.0
        v += 0.1 * (rest - v + parameters["resistance"] * i - 5.0 * u) / 12.0
        if v > -50.0 and not left:
            left = 30
        v = -65.0 if left else v
        trace[k + 1] = 20.0 - 80.0 * abs(left - 15) / 15 if left else v
        left = max(left - 1, 0)
    return trace


def toy_family() -> Family:
    """Four training members and a held-out one, told apart by their resistance (MΩ)."""
    resistance = np.array([120.0, 140.0, 160.0, 180.0, 150.0])
    table = pd.DataFrame(
        {
            "role": ["train"] * 4 + ["held_out"],
            "resistance": resistance,
            **dict.fromkeys(FEATURES, 1.0),
            "I_thr": 20.0 / resistance,
            "s_thr": 2.0 * resistance,
        },
        index=[f"toy-{i}" for i in range(5)],
    )
    code = {"centre": 150.0, "sd": 0.25, "logarithmic": True}
    about = {"parameters": {"resistance": code}, "bound": None, "cell": {}}
    return Family("toy", table, about, "a" * 64)
