"""SONATA files: the only package that knows the format (https://github.com/AllenInstitute/sonata).

`storage` holds what all files share, `spikes`, `reports` and `rates` what cells did, `nodes` and `edges` the network,
`configs` the JSON files that bind them, `inputs` the stimuli. Of other programs' files, `given_nodes`, `given_edges`
and `types_table` read what may differ from our own. Written for the strictest of libsonata, bluepysnap and bmtk; read
tolerantly with h5py. Units in the files: ms, mV, nS (conductance), nA (current).
"""

from noble_net.sonata.configs import write_configs
from noble_net.sonata.edges import (
    CompressedEdges,
    EdgePopulation,
    Ends,
    electrical_edges,
    read_edges,
    synapse_columns,
    write_edges,
)
from noble_net.sonata.inputs import inputs_of
from noble_net.sonata.nodes import NodePopulation, read_nodes, write_nodes
from noble_net.sonata.rates import RateWriter, read_rates
from noble_net.sonata.reports import Report, ReportWriter, read_report, reported_populations
from noble_net.sonata.spikes import SpikeStream, SpikeWriter, read_spikes

__all__ = [
    "CompressedEdges",
    "EdgePopulation",
    "Ends",
    "NodePopulation",
    "RateWriter",
    "Report",
    "ReportWriter",
    "SpikeStream",
    "SpikeWriter",
    "electrical_edges",
    "inputs_of",
    "read_edges",
    "read_nodes",
    "read_rates",
    "read_report",
    "read_spikes",
    "reported_populations",
    "synapse_columns",
    "write_configs",
    "write_edges",
    "write_nodes",
]
