"""Codes of held-out members fitted to a few seconds of their voltage in NEURON: errors, coverage, what a fit buys.

    python benchmarks/fit.py [--members 8] [--seconds 3] [--regimes ou_current,steps] [--starts 1]

Recordings are the test regimes of pv-stream's dataset (`noble-net dataset surrogate/recipes/pv-stream.yaml`): unseen
members under inputs never trained on. The first seconds are fitted, the next ones held out. Writes results/fit.json and
the tables of docs/fitting.md. Needs [train] and the dataset; no NEURON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from noble_shared import table
from scoreboard import write_between

from noble_net.commands.making import core_recipe
from noble_net.fitting import Sweep, fit_features, fit_recording
from noble_net.registry import load_core
from noble_net.training.dataset import VOLTAGE_UNIT, dataset_path, open_dataset
from noble_net.types import DT

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "surrogate/recipes/pv-stream.yaml"
RESULT = Path(__file__).parent / "results/fit.json"
FEATURES = ("I_thr", "s_thr", "input_resistance", "voltage_base", "sag_amplitude", "AP1_width", "AHP_depth")
HELD_SECONDS = 2.0
PAGE = ROOT / "docs/fitting.md"


def main() -> None:
    """Fit, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--regimes", default="ou_current,steps")
    parser.add_argument("--starts", type=int, default=1)
    asked = parser.parse_args()
    recipe, family = core_recipe(RECIPE)
    load_core(recipe.name)  # compiled before anything is timed
    content: dict[str, Any] = {"seconds": asked.seconds, "starts": asked.starts, "regimes": {}}
    with open_dataset(dataset_path(recipe, family), family) as file:
        for regime in asked.regimes.split(","):
            rows = []
            for row in range(8, 8 + asked.members):
                member, first, held = sweeps(file["test"][regime], row, asked.seconds)
                rows.append(one(family, member, first, held, asked.starts))
                print(
                    f"{regime} {member}: " + ", ".join(f"{k} {v:.3g}" for k, v in rows[-1]["told"].items()),
                    flush=True,
                )
            content["regimes"][regime] = summary(rows, family.parameter_names)
            print(json.dumps(content["regimes"][regime], indent=1))
    RESULT.write_text(json.dumps(content, indent=1) + "\n")
    write_between(PAGE, page(content))


def page(content: Mapping[str, Any]) -> str:
    """The tables of docs/fitting.md, of what is in results/fit.json."""
    found = content["regimes"]

    def inside(of: Mapping[str, Any]) -> str:
        return ", ".join(f"{number} of {of['members']}" for number in of["features_within_90"].values())

    rows: list[tuple[str, Callable[[Mapping[str, Any]], str]]] = [
        ("root-mean-square error of the code, standard deviations", lambda of: f"{of['error']:.2f}"),
        ("of the family's mean", lambda of: f"{of['prior_error']:.2f}"),
        ("true values within the 90 % intervals", lambda of: f"{100 * of['within_90']:.0f} %"),
        ("members whose I_thr, s_thr, input resistance and resting voltage lie within theirs", inside),
        ("error of I_thr, pA", lambda of: f"{of['I_thr_error_pA']:.1f}"),
        ("Γ on the seconds held out", lambda of: f"{of['gamma']:.3f}"),
        ("of the family's mean cell", lambda of: f"{of['gamma_family_mean']:.3f}"),
        ("clipped RMSE there, mV", lambda of: f"{of['rmse']:.2f}"),
        ("of the family's mean cell", lambda of: f"{of['rmse_family_mean']:.2f}"),
    ]
    means = [[name, *(told(of) for of in found.values())] for name, told in rows]
    entries = next(iter(found.values()))["by_entry"]
    each = [
        [
            name,
            *(
                f"{of['by_entry'][name]['error']:.2f} ± {of['by_entry'][name]['sd']:.2f}"
                for of in found.values()
            ),
        ]
        for name in entries
    ]
    heads = [regime.replace("_", " ") for regime in found]
    return f"{table(['mean over members', *heads], means)}\n\n{table(['parameter', *heads], each)}"


def sweeps(group: Any, row: int, seconds: float) -> tuple[str, Sweep, Sweep]:
    """A member's id, the sweep to fit and the one held out."""

    def cut(name: str, start: float, duration: float) -> Sweep:
        a, b = round(1000 * start / DT), round(1000 * (start + duration) / DT)
        voltage = group["voltage"][row, a : b + 1].astype(np.float32) * np.float32(VOLTAGE_UNIT)
        return Sweep(name, voltage, group["current"][row, a:b], 10_000.0)

    member = str(group["ids"].asstr()[row])
    return member, cut("fitted", 0.0, seconds), cut("held", seconds, HELD_SECONDS)


def one(family: Any, member: str, fitted: Sweep, held: Sweep, starts: int) -> dict[str, Any]:
    """Errors of the fit of one member, in standard deviations, and how it runs on the sweep held out."""
    begun = time.perf_counter()
    fit = fit_recording([fitted, held], hold_out=["held"], starts=starts)
    seconds = time.perf_counter() - begun
    true = family.codes([member])[0].astype(float)
    error = fit.posterior.mean - true
    z2 = float(error @ np.linalg.solve(fit.posterior.covariance, error)) / len(true)
    measured = family.table.loc[member]
    told = {
        "error": float(np.sqrt(np.mean(error**2))),
        "prior_error": float(np.sqrt(np.mean((true - fit.prior.mean) ** 2))),
        "z2": z2,
        "I_thr_error_pA": 1000 * (fit.features["I_thr"].mean - float(measured["I_thr"])),
        "gamma": fit.checks["held out"].measures["gamma"],
        "gamma_family_mean": fit.checks["family mean"].measures["gamma"],
        "rmse": fit.checks["held out"].measures["clipped_rmse_mV"],
        "rmse_family_mean": fit.checks["family mean"].measures["clipped_rmse_mV"],
        "seconds": seconds,
    }
    from_features = fit_features({name: float(measured[name]) for name in FEATURES}, family)
    return {
        "told": told,
        "error": error,
        "sd": fit.posterior.sd,
        "features_error": from_features.posterior.mean - true,
        "features_sd": from_features.posterior.sd,
        "inside": {
            name: each.low <= float(measured[name]) <= each.high for name, each in fit.features.items()
        },
    }


def summary(rows: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, Any]:
    """Over members: means of what was told, errors and sd by entry, how often intervals hold the truth."""
    error, sd = (np.array([row[key] for row in rows]) for key in ("error", "sd"))
    of_features = (
        np.array([row["features_error"] for row in rows]),
        np.array([row["features_sd"] for row in rows]),
    )
    told = {key: round(float(np.nanmean([row["told"][key] for row in rows])), 4) for key in rows[0]["told"]}
    return {
        "members": len(rows),
        **told,
        "within_90": round(float((np.abs(error) < 1.645 * sd).mean()), 3),
        "features_within_90": {name: sum(row["inside"][name] for row in rows) for name in rows[0]["inside"]},
        "from_features_within_90": round(float((np.abs(of_features[0]) < 1.645 * of_features[1]).mean()), 3),
        "from_features_error": round(float(np.sqrt((of_features[0] ** 2).mean())), 3),
        "by_entry": {
            name: {
                "error": round(float(np.sqrt((error[:, j] ** 2).mean())), 3),
                "sd": round(float(sd[:, j].mean()), 3),
            }
            for j, name in enumerate(names)
        },
    }


if __name__ == "__main__":
    main()
