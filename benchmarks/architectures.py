"""Which recurrence and which output a streaming core should have: trained alike, judged alike, on pv-stream's dataset.

    python benchmarks/architectures.py                 every variant that is not in the results yet
    python benchmarks/architectures.py --iterations 200 --try VARIANT     one, to try it out; writes nothing

Recurrences: the product's gated recurrent unit, and a conditioned state-space operator, h' = (1 − z)·h + z·c with gates
z and inputs c that depend on input and cell alone, whose time constants begin between 0.3 and 300 ms. Outputs:
increments on the last voltage, or an explicit membrane, whose conductance and drive per sample the network gives and
which is solved exactly, the true input among them. All have 48 units, conditioning by an embedded code, and some 20,000
multiply-adds a step. Needs the dataset of surrogate/recipes/pv-stream.yaml (extra [train]; made here if missing). A
variant takes ten minutes of one core. Results: benchmarks/results/architectures.json.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scoreboard import RESULTS
from torch import Tensor, nn

from noble_net.cells.family import Family
from noble_net.output import write_json
from noble_net.registry import load_family
from noble_net.specs.cores import CoreRecipe
from noble_net.specs.specification import validate_document
from noble_net.specs.yaml_source import load_document
from noble_net.surrogate import scaling as s
from noble_net.surrogate.streaming_torch import Dendrites, StreamingNet
from noble_net.training.dataset import ARRAYS, VOLTAGE_UNIT, build_dataset, open_dataset, regimes
from noble_net.training.evaluate import measure
from noble_net.training.inputs import FLUCTUATING
from noble_net.training.streams import TrainingData
from noble_net.training.train import Trainer
from noble_net.types import DT, Float32

RECIPE = Path(__file__).parent.parent / "surrogate/recipes/pv-stream.yaml"
RESULT = RESULTS / "architectures.json"
ITERATIONS = 7000
VARIANTS = {
    "gated recurrent unit, increments": ("gru", "increments"),
    "gated recurrent unit, membrane": ("gru", "membrane"),
    "state space, increments": ("state space", "increments"),
    "state space, membrane": ("state space", "membrane"),
}
TIME_CONSTANTS = (0.3, 300.0)
"""Of the state-space operator at the start of its training, ms."""


class Variant(StreamingNet):
    """The product's net with another recurrence or output; same arguments and answers."""

    def __init__(
        self, code: int, hidden: int, samples: int, recurrence: str, output: str, units: int
    ) -> None:
        super().__init__(code, hidden, samples, code_units=units, encoder_layers=1)
        self.recurrence, self.output = recurrence, output
        if recurrence == "state space":
            wide = 2 * hidden  # about as many products as the unit's gates have
            self.gates = nn.Sequential(
                nn.Linear(hidden + units, wide), nn.SiLU(), nn.Linear(wide, 2 * hidden)
            )
            time = torch.exp(torch.linspace(*map(math.log, TIME_CONSTANTS), hidden))
            open_share = 1.0 - torch.exp(-samples * DT / time)
            with torch.no_grad():
                last = self.gates[2]
                last.weight[:hidden].mul_(0.3)
                last.bias[:hidden] = torch.log(open_share / (1.0 - open_share))
            del self.gru
        if output == "membrane":
            self.decode_out = nn.Linear(self.decode_in.out_features, 2 * samples)
            self.capacitance = nn.Linear(units, 1)
            with torch.no_grad():
                self.decode_out.weight.mul_(0.1)

    def forward(
        self,
        drive: Tensor,
        voltage: Tensor,
        code: Tensor,
        state: Tensor | None = None,
        dendrites: Dendrites | None = None,
    ) -> tuple[Tensor, Tensor]:
        """See `StreamingNet.forward`."""
        c_BK = self._embed(code)
        e_BTH = self._encode(self._scale(drive, voltage, None), self._fold(self.encode_in, c_BK)[:, None])
        h = drive.new_zeros(len(drive), self.hidden) if state is None else state[0]
        if self.recurrence == "gru":
            g_BTH, last = self.gru(e_BTH, h[None])
        else:
            keep, add = self._gated(e_BTH, c_BK[:, None].expand(-1, e_BTH.shape[1], -1))
            steps = []
            for k, a in zip(keep.unbind(1), add.unbind(1), strict=True):
                h = k * h + a
                steps.append(h)
            g_BTH, last = torch.stack(steps, 1), h[None]
        return self._answer(e_BTH, g_BTH, drive, voltage, c_BK[:, None], self._late_bias(c_BK)[:, None]), last

    @torch.no_grad()
    def free_run(self, drive: Tensor, voltage: Tensor, code: Tensor) -> Tensor:
        """Voltage [B, T, n] on the net's own answers; ``voltage`` [B, n] before the first step."""
        h, c_BK = drive.new_zeros(len(drive), self.hidden), self._embed(code)
        bias, late = self._fold(self.encode_in, c_BK), self._late_bias(c_BK)
        answers = []
        for t in range(drive.shape[1]):
            e = self._encode(self._scale(drive[:, t], voltage, None), bias)
            if self.recurrence == "gru":
                h = torch.gru_cell(e, h, *self.gru.parameters())
            else:
                keep, add = self._gated(e, c_BK)
                h = keep * h + add
            voltage = self._answer(e, h, drive[:, t], voltage, c_BK, late)
            answers.append(voltage)
        return torch.stack(answers, 1)

    def _gated(self, encoded: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """What is kept of the state, and what is added."""
        z, c = self.gates(torch.cat([encoded, code], -1)).chunk(2, -1)
        z = torch.sigmoid(z)
        return 1.0 - z, z * c

    def _answer(
        self, encoded: Tensor, state: Tensor, drive: Tensor, voltage: Tensor, code: Tensor, late: Tensor
    ) -> Tensor:
        if self.output == "increments":
            return self._decode(encoded, state, voltage, late)
        weight = self.decode_in.weight[:, : 2 * self.hidden]
        hidden = nn.functional.linear(torch.cat([encoded, state], -1), weight) + late
        leak, push = self.decode_out(nn.functional.silu(hidden)).chunk(2, -1)
        current, conductance, reversal = drive.unbind(-2)
        per_picoampere = 1e-2 * torch.exp(
            self.capacitance(code) - 2.5
        )  # DT / capacitance, mV; 120 pF at first
        rate = nn.functional.softplus(leak - 2.0) + per_picoampere * conductance
        u = voltage[..., -1] - s.VOLTAGE_CENTRE
        pushed = push / (2.0 * s.VOLTAGE_SCALE) + per_picoampere * (
            1e3 * current + reversal - conductance * s.VOLTAGE_CENTRE
        )
        kept, gained = torch.exp(-rate), -torch.expm1(-rate) / rate
        answers = []
        for i in range(self.samples):
            u = u * kept[..., i] + pushed[..., i] * gained[..., i]
            answers.append(u)
        return (torch.stack(answers, -1) + s.VOLTAGE_CENTRE).clamp(s.VOLTAGE_LOW, s.VOLTAGE_HIGH)


class Training(Trainer):
    """The product's training of another net."""

    def __init__(self, recipe: CoreRecipe, data: TrainingData, recurrence: str, output: str) -> None:
        super().__init__(recipe, data)
        model = recipe.model
        torch.manual_seed(self.spec.seed)
        self.net = Variant(
            data.code.shape[1], model.hidden, model.step_samples, recurrence, output, model.code_units
        )
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=self.spec.learning_rate, weight_decay=1e-4, foreach=True
        )
        self.device = torch.device("cpu")


def main() -> None:
    """Train and judge what is missing."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--iterations", type=int, default=ITERATIONS)
    parser.add_argument("--try", dest="only")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    base = validate_document(CoreRecipe, load_document(RECIPE))
    family = load_family(base.family)
    build_dataset(base, family)
    shape = base.model.model_copy(update={"hidden": 48, "code_units": 16, "encoder_layers": 1})
    training = base.training.model_copy(
        update={
            "iterations": asked.iterations,
            "chunk": 50.0,
            "chunks": 80,
            "burn_in": 25.0,
            "voltage_noise": 0.7,
        }
    )
    recipe = base.model_copy(update={"model": shape, "training": training})
    found: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    data: TrainingData | None = None
    for name, parts in VARIANTS.items():
        if (asked.only and name != asked.only) or (not asked.only and name in found):
            continue
        data = data or TrainingData.read(build_dataset(recipe, family), family)
        row = compared(Training(recipe, data, *parts), recipe, family)
        print(name, json.dumps(row), flush=True)
        found[name] = row
        if not asked.only:
            write_json(RESULT, found)
    print(as_markdown(found))


def compared(training: Training, recipe: CoreRecipe, family: Family) -> dict[str, Any]:
    """Train, then free-run on the dataset's tests."""
    began = time.process_time()
    for done in range(recipe.training.iterations):
        loss = training.step()
        if (done + 1) % 500 == 0:
            print(f"  {done + 1} iterations, loss {loss:.4f}", flush=True)
    seconds = time.process_time() - began
    net = training.net
    assert isinstance(net, Variant)
    pooled: dict[str, list[tuple[Float32, Float32]]] = {}
    rows: dict[str, Any] = {}
    with open_dataset(build_dataset(recipe, family), family) as file:
        for regime in regimes(recipe.dataset):
            group = file["test"][regime]
            ids = [str(i) for i in group["ids"].asstr()[:]]
            truth = group["voltage"][:].astype(np.float32) * np.float32(VOLTAGE_UNIT)
            answer = answered(net, group, family.codes(ids), truth)
            half = len(ids) // 2
            for kind, part in (("seen", slice(half)), ("unseen", slice(half, None))):
                pair = truth[part], answer[part]
                if regime in FLUCTUATING:
                    pooled.setdefault(kind, []).append(pair)
                rows.setdefault(regime, {})[kind] = kept(measure(regime, *pair))
    rows["fluctuating, all"] = {
        kind: kept(measure("all", *(np.concatenate(each) for each in zip(*pairs, strict=True))))
        for kind, pairs in pooled.items()
    }
    parameters = sum(each.numel() for each in net.parameters())
    return {"parameters": parameters, "cpu_seconds": seconds, "rows": rows}


def answered(net: Variant, group: Any, code: Float32, truth: Float32) -> Float32:
    """Free-running voltage [cells, samples + 1]."""
    n = net.samples
    drive = torch.from_numpy(np.stack([group[name][:] for name in ARRAYS], axis=1))
    steps = drive.shape[2] // n
    drive = drive[..., : steps * n].reshape(len(truth), 3, steps, n).transpose(1, 2)
    start = torch.from_numpy(truth[:, :1]).expand(-1, n)
    answer = net.free_run(drive, start, torch.from_numpy(code)).reshape(len(truth), -1).numpy()
    return np.concatenate([truth[:, :1], answer], axis=1)


def kept(measures: dict[str, float]) -> dict[str, float | None]:
    """What the table shows."""
    names = ("gamma", "rate_error", "clipped_rmse", "clipped_ev")
    return {name: None if math.isnan(measures[name]) else round(measures[name], 4) for name in names}


def as_markdown(found: dict[str, Any]) -> str:
    """The table."""
    lines = [
        "| | parameters | Γ fluctuating, seen / unseen | RMSE, mV | Γ ramp | rate error steps, % | CPU minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in found.items():

        def both(regime: str, measure: str, scale: float, rows: Any = row["rows"]) -> str:
            return " / ".join(f"{scale * rows[regime][kind][measure]:.3g}" for kind in ("seen", "unseen"))

        cells = (
            both("fluctuating, all", "gamma", 1.0),
            both("fluctuating, all", "clipped_rmse", 1.0),
            both("ramp", "gamma", 1.0),
            both("steps", "rate_error", 100.0),
        )
        lines.append(
            f"| {name} | {row['parameters']:,} | {' | '.join(cells)} | {row['cpu_seconds'] / 60:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
