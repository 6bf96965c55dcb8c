"""SONATA files: the only package that knows the format (https://github.com/AllenInstitute/sonata).

`storage` holds what all files share, `activity` spikes and voltage reports, `network` nodes and edges,
`configs` the JSON files that bind them. Written for the strictest of libsonata, bluepysnap and bmtk; read
tolerantly with h5py. Units in the files: ms, mV, nS (conductance), nA (current).
"""

from noble_net.sonata.activity import SpikeWriter, VoltageWriter, read_spikes, read_voltage
from noble_net.sonata.configs import write_configs
from noble_net.sonata.network import (
    EdgePopulation,
    NodePopulation,
    read_edges,
    read_nodes,
    write_edges,
    write_nodes,
)

__all__ = [
    "EdgePopulation",
    "NodePopulation",
    "SpikeWriter",
    "VoltageWriter",
    "read_edges",
    "read_nodes",
    "read_spikes",
    "read_voltage",
    "write_configs",
    "write_edges",
    "write_nodes",
]
