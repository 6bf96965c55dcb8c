"""SONATA in: a simulation config and the circuit it names, of any program, as a network like that of a network file.

`config_files` reads the configs, `mapping` the user's table of cell types, `cells` says what the nodes become,
`connections` what the edges, `node_sets` and `inputs` what the rest; `translate` puts them together. What cannot be
held is refused with file, key, value and remedy; what is left out, or stands for something else, is noted.
"""

from noble_net.sonata_in.translate import Translation, load_simulation

__all__ = ["Translation", "load_simulation"]
