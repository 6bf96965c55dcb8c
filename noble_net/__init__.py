"""Networks of biophysically detailed neurons at the price of small matrix products.

The public API; everything here is imported on first use, so that `import noble_net` stays quick.

>>> from noble_net import load_network, simulate           # doctest: +SKIP
>>> results = simulate(load_network("network.yaml"))       # doctest: +SKIP
>>> results.spikes("pv")                                   # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from noble_net.config import load_network, network_from
    from noble_net.registry import find_network, load_core, load_family, shipped
    from noble_net.report.compare import compare_runs
    from noble_net.results import load_results
    from noble_net.simulation import simulate

__all__ = [
    "compare_runs",
    "find_network",
    "load_core",
    "load_family",
    "load_network",
    "load_results",
    "network_from",
    "shipped",
    "simulate",
]

_HOMES = {
    "compare_runs": "noble_net.report.compare",
    "find_network": "noble_net.registry",
    "load_core": "noble_net.registry",
    "load_family": "noble_net.registry",
    "load_network": "noble_net.config",
    "load_results": "noble_net.results",
    "network_from": "noble_net.config",
    "shipped": "noble_net.registry",
    "simulate": "noble_net.simulation",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'noble_net' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
