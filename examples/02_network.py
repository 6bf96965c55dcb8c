"""A network from Python: load a file, change it, simulate, look at the results as tables.

python examples/02_network.py [OUTPUT_FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from noble_net import find_network, load_network, simulate

out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/example")

spec = load_network(find_network("quickstart"), {"duration": "300 ms", "seed": 7})
results = simulate(spec, out=out)

spikes = results.spikes("pv")  # pandas: one row a spike, columns time (ms) and cell
print(spikes.head())
nodes = results.nodes("pv")  # one row a cell, with its I_thr and s_thr
nodes["rate"] = results.rates("pv")
print(nodes[["I_thr", "s_thr", "rate"]].describe().round(3))
print(f"{len(spikes)} spikes; report: {out / 'report.html'}")
