"""The stimuli of a network as inputs of a simulation config, as far as SONATA knows such ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from noble_net.specs.distribution import Distribution
from noble_net.specs.stimuli import (
    LinearSpec,
    NoiseSpec,
    OrnsteinUhlenbeckSpec,
    PulseSpec,
    ShotNoiseSpec,
    SinusoidalSpec,
    StepSpec,
    StimulusSpec,
)

FROM_WARMUP = "from_warmup"
"""A key of our own: the input acts from the start of the warm-up, which SONATA does not know, not from its end."""


def inputs_of(
    stimuli: Iterable[StimulusSpec], duration: float
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The inputs by the stimuli's names, and the names of stimuli that SONATA has no input for.

    These are what acts through synapses, tables of currents, noise that cells share, and numbers that differ from cell
    to cell. ``duration``: of the run, ms; what begins later is in neither.
    """
    inputs, left_out = {}, []
    for stimulus in stimuli:
        if stimulus.begins >= duration:  # as an input it would last 0 ms
            continue
        name, given = str(stimulus.name), _input(stimulus, duration)
        if given is None:
            left_out.append(name)
        else:
            inputs[name] = {"input_type": "current_clamp", "node_set": stimulus.to, **given}
    return inputs, left_out


def _input(stimulus: StimulusSpec, duration: float) -> dict[str, Any] | None:
    spec = stimulus.parameters
    numbers = [value for _, value in spec if isinstance(value, Distribution)]
    if any(each.kind != "constant" for each in numbers):
        return None
    match spec:
        case StepSpec():
            when = {"delay": spec.start, "duration": round(spec.stop - spec.start, 9)}
            return {"module": "linear", "amp_start": spec.amplitude.a, "amp_end": spec.amplitude.a, **when}
        case LinearSpec():
            return {
                "module": "linear",
                "amp_start": spec.amp_start.a,
                "amp_end": spec.amp_end.a,
                **_when(spec, duration),
            }
        case PulseSpec():
            shape = {"amp_start": spec.amp.a, "width": spec.width.a, "frequency": spec.frequency.a}
            return {"module": "pulse", **shape, **_when(spec, duration)}
        case SinusoidalSpec() if spec.phase.a == 0.0:
            shape = {"amp_start": spec.amp.a, "frequency": spec.frequency.a, "dt": spec.dt}
            return {"module": "sinusoidal", **shape, **_when(spec, duration)}
        case NoiseSpec():
            shape = {"mean": spec.mean.a, "variance": spec.sigma.a**2, "dt": spec.dt}
            return {"module": "noise", **shape, **_when(spec, duration)}
        case ShotNoiseSpec():
            shape = {"rise_time": spec.rise.a, "decay_time": spec.decay.a, "rate": spec.rate.a}
            shape |= {"amp_mean": spec.amp_mean.a, "amp_var": spec.amp_std.a**2, **_conductance(spec)}
            return {"module": "shot_noise", **shape, **_when(spec, duration)}
        case OrnsteinUhlenbeckSpec() if not spec.shared:
            shape = {"mean": spec.mean.a, "sigma": spec.sigma.a, "tau": spec.tau.a, **_conductance(spec)}
            return {"module": "ornstein_uhlenbeck", **shape, **_when(spec, duration)}
    return None


def _conductance(spec: ShotNoiseSpec | OrnsteinUhlenbeckSpec) -> dict[str, Any]:
    return {} if spec.reversal is None else {"input_type": "conductance", "reversal": spec.reversal}


def _when(
    spec: LinearSpec | PulseSpec | SinusoidalSpec | NoiseSpec | ShotNoiseSpec | OrnsteinUhlenbeckSpec,
    duration: float,
) -> dict[str, Any]:
    """`delay` and `duration`, which SONATA always asks for."""
    start = spec.delay or 0.0
    length = max(duration - start, 0.0) if spec.duration is None else spec.duration
    found: dict[str, Any] = {"delay": start, "duration": length}
    return {**found, FROM_WARMUP: True} if spec.delay is None else found
