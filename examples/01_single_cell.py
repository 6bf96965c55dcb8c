"""Single cells by hand: drive three members of a family with the same current and compare their responses.

python examples/01_single_cell.py
"""

from __future__ import annotations

import numpy as np

from noble_net import load_core, load_family
from noble_net.spikes import spike_times
from noble_net.types import DT, Drive

core = load_core("pv-stream")
family = load_family(core.family)
cells = family.cells(family.ids("held_out")[:3])

# `begin` puts every cell at its own rest; `advance` takes it through one block of input, as often as you like.
state = core.begin(cells)
samples = round(500.0 / DT)
drive = Drive.zeros(core.zones, cells.size, samples)
drive.current[:, :, round(100.0 / DT) :] = 0.3  # nA, from 100 ms on

response, state = core.advance(state, drive)

for i, times in enumerate(spike_times(response.voltage)):
    rate = 1000.0 * len(times) / 400.0
    print(
        f"{cells.labels[i]}: I_thr {cells.features['I_thr'][i]:.3f} nA, rest {response.voltage[i, 500]:.1f} mV, "
        f"{len(times)} spikes ({rate:.0f} Hz) at 0.3 nA"
    )
assert np.isfinite(response.voltage).all()
