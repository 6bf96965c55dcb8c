"""Which recurrence and which output a streaming core should have: trained alike, judged alike, on pv-stream's dataset.

    python benchmarks/architectures.py                 every variant that is not in the results yet
    python benchmarks/architectures.py --iterations 200 --try VARIANT     one, to try it out; writes nothing

Recurrences: the product's gated recurrent unit, and a conditioned state-space operator, h' = (1 − z)·h + z·c with gates
z and inputs c that depend on input and cell alone, whose time constants begin between 0.3 and 300 ms. Outputs:
increments on the last voltage, or an explicit membrane, whose conductance and drive per sample the network gives and
which is solved exactly, the true input among them. All have 48 units, conditioning by an embedded code, and some 20,000
multiply-adds a step. Needs the dataset of surrogate/recipes/pv-stream.yaml (extra [train]; made here if missing). A
variant takes eight minutes of one core. Results: benchmarks/results/architectures.json.
"""

from __future__ import annotations

import math

import torch
from scoreboard import RESULTS
from torch import Tensor, nn
from trials import Answer, Made, compare

from noble_net.cells.family import Family
from noble_net.specs.cores import CoreRecipe
from noble_net.surrogate import scaling as s
from noble_net.surrogate.streaming_torch import Dendrites, StreamingNet
from noble_net.training.streams import TrainingData
from noble_net.training.train import Trainer
from noble_net.types import DT

RESULT = RESULTS / "architectures.json"
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
        slow: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """See `StreamingNet.forward`; without dendrites and slow variables."""
        c_BK = self._embed(code)
        x_BTI = self._scale(drive, voltage, None, None)
        e_BTH = self._encode(x_BTI, self._fold(self.encode_in, c_BK)[:, None])
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
        late = self._late_bias(c_BK)[:, None]
        return self._answer(x_BTI, e_BTH, g_BTH, drive, voltage, c_BK[:, None], late), last

    @torch.no_grad()
    def free_run(self, drive: Tensor, voltage: Tensor, code: Tensor) -> Tensor:
        """Voltage [B, T, n] on the net's own answers; ``voltage`` [B, n] before the first step."""
        h, c_BK = drive.new_zeros(len(drive), self.hidden), self._embed(code)
        bias, late = self._fold(self.encode_in, c_BK), self._late_bias(c_BK)
        answers = []
        for t in range(drive.shape[1]):
            x = self._scale(drive[:, t], voltage, None, None)
            e = self._encode(x, bias)
            if self.recurrence == "gru":
                h = torch.gru_cell(e, h, *self.gru.parameters())
            else:
                keep, add = self._gated(e, c_BK)
                h = keep * h + add
            voltage = self._answer(x, e, h, drive[:, t], voltage, c_BK, late)
            answers.append(voltage)
        return torch.stack(answers, 1)

    def _gated(self, encoded: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """What is kept of the state, and what is added."""
        z, c = self.gates(torch.cat([encoded, code], -1)).chunk(2, -1)
        z = torch.sigmoid(z)
        return 1.0 - z, z * c

    def _answer(
        self,
        x: Tensor,
        encoded: Tensor,
        state: Tensor,
        drive: Tensor,
        voltage: Tensor,
        code: Tensor,
        late: Tensor,
    ) -> Tensor:
        if self.output == "increments":
            return self._decode(x, encoded, state, voltage, late)[0]
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


def training_of(recurrence: str, output: str) -> Made:
    """The product's training of another net."""

    def made(recipe: CoreRecipe, data: TrainingData, family: Family) -> tuple[Trainer, dict[str, Answer]]:
        trainer, model = Trainer(recipe, data), recipe.model
        torch.manual_seed(trainer.spec.seed)
        net = Variant(
            data.code.shape[1], model.hidden, model.step_samples, recurrence, output, model.code_units
        )
        trainer.learn(net)
        return trainer, {
            "": lambda drive, before, ids: net.free_run(drive, before, torch.from_numpy(family.codes(ids)))
        }

    return made


if __name__ == "__main__":
    compare(RESULT, __doc__, {name: training_of(*parts) for name, parts in VARIANTS.items()})
