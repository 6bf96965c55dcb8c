"""A network file that is right, and what typing errors may make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

GOOD = """\
name: pv-gamma
seed: 1
duration: 2 s
warmup: 100 ms
dt: 0.1 ms
core: pv-stream
populations:
  pv: {family: allen-pv-peri, size: 400, sample: {from: gaussian, spread: 0.5}}
  held: {family: allen-pv-peri, size: 50, sample: {role: held_out}}
  lif:
    core: integrate-and-fire
    size: 400
    parameters:
      capacitance: {normal: {mean: 100 pF, std: 10 pF, min: 50 pF}}
      v_threshold: -0.048 V
synapses:
  gaba: {model: exp2, rise: 0.3 ms, decay: 5 ms, reversal: -80 mV, zone: soma}
  ampa: {model: exp, decay: 2 ms, reversal: 0 mV}
  push: {model: exp, decay: 5 ms}
projections:
  - name: pv-pv
    from: pv
    to: pv
    rule: {pairwise_bernoulli: {p: 0.2}}
    synapse: gaba
    weight: {lognormal: {mean: 1.2 nS, std: 0.6 nS}}
    delay: {normal: {mean: 1.0 ms, std: 0.2 ms, min: 0.5 ms}}
  - {name: lif-pv, from: lif, to: pv, rule: one_to_one, synapse: push, weight: -0.8 nA, delay: 1.5 ms}
  - name: pv-lif
    from: pv
    to: lif
    rule: {fixed_indegree: {indegree: 30, multapses: true}}
    synapse: ampa
    weight: {uniform: {low: 0 nS, high: 1 nS}}
    delay: 1 ms
stimuli:
  - {to: pv, ornstein_uhlenbeck: {mean: 0.25 nA, sigma: 50 pA, tau: 5 ms}}
  - {to: pv, ornstein_uhlenbeck: {mean: 10 nS, sigma: 3 nS, tau: 5 ms, reversal: 0 mV}}
  - {to: lif, poisson: {rate: 0.8 kHz, synapse: ampa, weight: 0.5 nS}}
  - {name: kick, to: lif, step: {amplitude: {normal: {mean: 300 pA, std: 20 pA}}, start: 100 ms, stop: 0.3 s}}
record:
  spikes: all
  voltage: {cells: 20, dt: 0.5 ms}
node_sets:
  few: {population: pv, cells: [0, 5, 7]}
  low: {population: pv, where: {I_thr: [0.1 nA, 0.2 nA]}}
"""


SNIPPETS = [
    "-",
    "0",
    "1e99",
    " nS",
    " mV",
    "{",
    "}",
    "[",
    ":",
    "\n",
    "\t",
    "&a ",
    "*a",
    "!!int ",
    "~",
    "'",
    '"',
    "é",
    "null",
    "true",
    ".nan",
    "pv",
    "  ",
    "#",
    "|",
    "\x07",
    "%",
    "<<: ",
    "? ",
    "lognormal",
    "\u2028",
    ", ",
]

VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    10**30,
    1e300,
    float("nan"),
    "",
    "x",
    "1",
    "-1 nS",
    "3 ms",
    [],
    {},
    [1],
    {"a": 1},
]


def write(folder: Path, text: str) -> Path:
    path = folder / "net.yaml"
    path.write_text(text, encoding="utf-8")
    return path
