"""A network file that uses every block and most keys, with the files it names, for the tests of damaged input."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from noble_net.sonata import SpikeWriter
from noble_net.sonata.edges import EdgePopulation, write_edges

RICH = """\
name: rich
seed: 7
noise_seed: 8
duration: 50 ms
warmup: 10 ms
dt: 0.1 ms
core: pv-stream
populations:
  pv: {family: allen-pv-peri, size: 8, sample: {from: circle, around: allen-pv-peri-017, radius: 0.1}}
  hull: {family: allen-pv-peri, size: 4, sample: {from: hull, role: train}}
  exc:
    core: integrate-and-fire
    size: 20
    parameters:
      capacitance: {normal: {mean: 100 pF, std: 10 pF, min: 50 pF}}
      v_threshold: {uniform: {low: -52 mV, high: -48 mV}}
    position: {box: {x: [0 um, 100 um], y: [0 um, 0.1 mm], z: [0 um, 10 um]}}
  inh: {core: integrate-and-fire, size: 10, position: {points: points.csv}}
node_sets:
  few: {population: exc, cells: [0, 5, 7]}
  part: {population: exc, fraction: 0.3}
  low: {population: pv, where: {I_thr: [0.1 nA, 0.4 nA]}}
synapses:
  ampa: {model: exp2, rise: 0.2 ms, decay: 2 ms, reversal: 0 mV}
  gaba: {model: alpha, decay: 3 ms, reversal: -80 mV, zone: soma}
  nmda: {model: nmda, rise: 1 ms, decay: 50 ms, reversal: 0 mV, magnesium: 1 mM}
  push: {model: exp, decay: 5 ms, plasticity: {tsodyks_markram: {U: 0.5, tau_rec: 800 ms, tau_facil: 0 ms}}}
  slow: {model: exp, decay: 5 ms, reversal: 0 mV,
         plasticity: {stdp: {tau_plus: 20 ms, tau_minus: 20 ms, a_plus: 0.01, a_minus: 0.012, w_max: 5 nS}}}
projections:
  - {name: a, from: exc, to: inh, rule: {distance: {p0: 0.5, sigma: 50 um, cutoff: 90 um}}, synapse: ampa,
     weight: {lognormal: {mean: 1 nS, std: 0.5 nS}}, delay: {distance: {velocity: 0.3 m/s, offset: 1 ms}}}
  - {name: b, from: inh, to: exc, rule: {fixed_indegree: {indegree: 3, multapses: true}}, synapse: gaba, weight: 1 nS,
     delay: {normal: {mean: 1.5 ms, std: 0.2 ms, min: 1 ms, max: 3 ms}}}
  - {name: c, from: exc, to: exc, rule: {small_world: {neighbours: 4, rewire: 0.1}}, synapse: slow, weight: 1 nS,
     delay: 1 ms}
  - {name: d, from: exc, to: pv, rule: {table: {file: table.csv}}, synapse: ampa}
  - {name: e, from: exc, to: inh, rule: {sonata: {file: edges.h5, population: x}}, synapse: nmda}
  - {name: f, from: exc, to: exc, rule: {graph: {file: graph.gml}}, synapse: ampa, weight: 1 nS, delay: 2 ms}
  - {name: g, from: pv, to: pv, rule: {graph: {generator: barabasi_albert_graph, arguments: {m: 2}}}, synapse: push,
     weight: -0.01 nA, delay: 2 ms}
  - {name: h, from: pv, to: exc, rule: {fixed_total_number: {number: 9}}, synapse: push, weight: {gamma: {mean: 5 pA,
     std: 1 pA}}, delay: 1 ms}
  - {name: i, from: inh, to: exc, rule: {table: {file: table.h5}}, synapse: ampa, weight: 1 nS, delay: 1 ms}
  - {name: j, from: exc, to: exc, rule: {graph: {file: graph.graphml}}, synapse: ampa, weight: 1 nS, delay: 2 ms}
gap_junctions:
  - {name: gap, from: exc, to: exc, rule: {pairwise_bernoulli: {p: 0.1}}, conductance: 0.5 nS}
stimuli:
  - {to: pv, ornstein_uhlenbeck: {mean: 0.25 nA, sigma: 50 pA, tau: 5 ms}}
  - {to: few, step: {amplitude: {normal: {mean: 300 pA, std: 20 pA}}, start: 10 ms, stop: 0.03 s}}
  - {to: exc, linear: {amp_start: 0 nA, amp_end: 0.1 nA, duration: 20 ms}}
  - {to: exc, pulse: {amp: 0.1 nA, width: 1 ms, frequency: 100 Hz}}
  - {to: low, sinusoidal: {amp: 0.1 nA, frequency: 8 Hz, phase: 90 deg}}
  - {to: inh, noise: {mean: 0.1 nA, sigma: 0.01 nA, dt: 0.2 ms}}
  - {to: inh, shot_noise: {rise: 0.5 ms, decay: 3 ms, rate: 100 Hz, amp_mean: 0.05 nA, amp_std: 0.01 nA}}
  - {to: inh, current_table: {file: currents.csv, dt: 1 ms}}
  - {to: exc, current_table: {file: currents.h5, dataset: group/currents, dt: 1 ms}}
  - {to: part, poisson: {rate: 0.8 kHz, synapse: ampa, weight: 0.5 nS, modulation: 0.5, frequency: 3 Hz}}
  - {name: tabled, to: exc, poisson: {rate_table: rates.csv, synapse: ampa, weight: 0.5 nS}}
  - {to: exc, synapse_replay: {file: spikes.h5, population: pre, synapse: ampa, weight: 1 nS, delay: 1 ms}}
record:
  spikes: all
  voltage: {cells: [few, low], dt: 0.5 ms, start: 1 ms, stop: 40 ms}
  current: {cells: 3}
  conductance: {cells: all}
  synapses: {ampa: {cells: exc}}
  rates: {bin: 5 ms}
"""

FILES = (
    "points.csv",
    "table.csv",
    "table.h5",
    "edges.h5",
    "graph.gml",
    "graph.graphml",
    "currents.csv",
    "currents.h5",
    "rates.csv",
    "spikes.h5",
)
"""What `RICH` names."""


def write_rich(folder: Path) -> Path:
    """Write `RICH` as net.yaml into a folder, and all `FILES` beside it; returns its path."""
    import networkx

    rng = np.random.default_rng(1)
    np.savetxt(
        folder / "points.csv", rng.uniform(0, 100, (10, 3)), delimiter=",", header="x,y,z", comments=""
    )
    rows = "\n".join(f"{i % 20},{i % 8},{1 + i / 10},1.5" for i in range(30))
    (folder / "table.csv").write_text(f"source,target,weight,delay\n{rows}\n")
    with h5py.File(folder / "table.h5", "w") as file:
        file["source"], file["target"] = rng.integers(0, 10, 25), rng.integers(0, 20, 25)
    ends = rng.integers(0, 20, 40), rng.integers(0, 10, 40)
    edges = EdgePopulation(
        "x", "exc", "inh", *ends, np.full(40, 0.1), "conductance", np.full(40, 1.5), "nmda"
    )
    write_edges(folder / "edges.h5", [edges], {"exc": 20, "inh": 10})
    graph = networkx.watts_strogatz_graph(20, 4, 0.1, seed=1)
    networkx.write_gml(graph, folder / "graph.gml")
    networkx.write_graphml(graph, folder / "graph.graphml")
    np.savetxt(folder / "currents.csv", rng.normal(0, 0.1, (20, 10)), delimiter=",", header="i," * 9 + "i")
    with h5py.File(folder / "currents.h5", "w") as file:
        file["group/currents"] = rng.normal(0, 1, (30, 20))
        file["group/currents"].attrs["units"] = "pA"
    (folder / "rates.csv").write_text("time,rate\n0,100\n10,300\n30,0\n")
    with SpikeWriter(folder / "spikes.h5", ["pre", "other"]) as writer:
        writer.append("pre", np.sort(rng.uniform(0, 50, 200)), rng.integers(0, 20, 200))
    path = folder / "net.yaml"
    path.write_text(RICH)
    return path
