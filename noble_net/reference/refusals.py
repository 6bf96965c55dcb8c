"""What a reference does not hold of a network file, told by name before anything is built."""

from __future__ import annotations

from noble_net.config import CLOSED_FORM, NetworkSpec, config_error
from noble_net.errors import BackendError


def refuse_closed_form(spec: NetworkSpec) -> None:
    """Raise BackendError, naming them, for populations that have no exact cells."""
    closed = [
        name
        for name, population in spec.populations.items()
        if population.family is None or spec.core_of(name) in CLOSED_FORM
    ]
    if closed:
        raise BackendError(
            f"{spec.source or spec.name}: populations {', '.join(closed)} run on core {spec.core_of(closed[0])}, "
            "for which there are no exact cells. Give them a family and another core, or take the surrogate "
            "backend."
        )


def refuse_reports(spec: NetworkSpec, simulator: str) -> None:
    """Raise ConfigError, at its line, for reports of conductances and synapses, which only the simulator holds."""
    for report in spec.record.reports:
        if report not in ("voltage", "current"):
            problem = f"the {simulator} backend records spikes, rates, voltage and current only"
            remedy = "leave it out, or take the surrogate backend"
            raise config_error(spec, ("record", *spec.record.place(report)), problem, remedy)


def refuse_junctions(spec: NetworkSpec, where: str, remedy: str) -> None:
    """Raise BackendError, naming them, for gap junctions, which do not go ``where``."""
    names = [each.name for each in spec.gap_junctions]
    if names:
        raise BackendError(
            f"{spec.source or spec.name}: gap junctions ({', '.join(names)}) do not go {where}. "
            f"Remove them, or {remedy}."
        )


def refuse_plasticity(spec: NetworkSpec, simulator: str) -> None:
    """Raise BackendError, naming them, for plastic synapses."""
    for kind in ("stdp", "tsodyks_markram"):
        plastic = [
            name
            for name, each in spec.synapses.items()
            if each.plasticity is not None and getattr(each.plasticity, kind) is not None
        ]
        if plastic:
            raise BackendError(
                f"{spec.source or spec.name}: synapses {', '.join(plastic)} have {kind}, which the {simulator} backend "
                "does not hold. Remove their `plasticity`, or take the neuron or the surrogate backend."
            )


def refuse_spread_stimuli(spec: NetworkSpec, simulator: str) -> None:
    """Raise BackendError, naming it, for a stimulus through synapses of a dendritic zone, which have no place there."""
    for stimulus in spec.stimuli:
        if stimulus.afferents and (zone := spec.synapses[stimulus.afferents.synapse].zone) != "soma":
            raise BackendError(
                f"{spec.source or spec.name}: the stimulus to {stimulus.to} acts through synapses "
                f"{stimulus.afferents.synapse} in zone {zone}. {simulator} has synapses at points, and those of a "
                "stimulus have none. Let it act at the soma, or take the neuron or the surrogate backend."
            )
