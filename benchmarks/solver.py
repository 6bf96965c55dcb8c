"""How far NEURON's step and order move a cell from its own converged solution: why the reference is what it is.

    python benchmarks/solver.py

The published PV fit under five inputs; the yardstick is a 0.0025 ms Crank–Nicolson solution. Needs [reference].
"""

from __future__ import annotations

import json

import numpy as np
from scoreboard import RESULTS

from noble_net.cells.model import CellModel
from noble_net.cells.solver import SECOND_ORDER, ExactCell
from noble_net.spikes import spike_times
from noble_net.training.inputs import test_input
from noble_net.training.metrics import clipped_error, matches

REGIMES = ("ou_current", "ou_current_fast", "ou_conductance", "poisson_conductance", "mean_driven")
DURATION = 2000.0
FINEST = (0.0025, SECOND_ORDER)
TRIED = (
    (0.05, 0),
    (0.025, 0),
    (0.0125, 0),
    (0.05, SECOND_ORDER),
    (0.025, SECOND_ORDER),
    (0.005, SECOND_ORDER),
)
NAMES = {0: "implicit Euler", SECOND_ORDER: "Crank–Nicolson"}


def main() -> None:
    """Measure and write results/solver.json."""
    cell = ExactCell(CellModel.from_fit("472912177", "Pvalb_470522102"))
    rows = []
    for regime in REGIMES:
        drive = test_input(regime, np.random.default_rng(9), DURATION)

        def solve(dt: float, order: int, drive=drive) -> np.ndarray:  # type: ignore[no-untyped-def,type-arg]
            cell.dt, cell.second_order = dt, order
            return cell.run(*drive)[None]

        truth = solve(*FINEST)
        expected = spike_times(truth)[0]
        for dt, order in TRIED:
            voltage = solve(dt, order)
            spikes = spike_times(voltage)[0]
            rmse, _ = clipped_error(truth, voltage)
            rows.append(
                {
                    "regime": regime,
                    "method": NAMES[order],
                    "dt_ms": dt,
                    "matched_spikes": 2 * matches(expected, spikes) / (len(expected) + len(spikes)),
                    "rate_bias": len(spikes) / len(expected) - 1,
                    "clipped_rmse_mv": rmse,
                }
            )
            print(
                "{regime:20s} {method:15s} {dt_ms:6g} ms  matched {matched_spikes:.3f}".format(**rows[-1]),
                end="",
            )
            print(
                "  bias {rate_bias:+.3f}  clipped RMSE {clipped_rmse_mv:.3f} mV".format(**rows[-1]),
                flush=True,
            )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "solver.json").write_text(
        json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
