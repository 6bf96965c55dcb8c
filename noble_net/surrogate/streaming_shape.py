"""The shape of a streaming core, read off its weights and checked: compiled code reads beyond the end of arrays that
are too small."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from noble_net.surrogate.checkpoint import Checkpoint
from noble_net.types import DT, Float32


class Slow(NamedTuple):
    """A slow variable of the soma, never below 0, of which a core keeps account beside the voltage: the concentration
    of calcium, the inactivation of a channel. What the decoder lets in at a step is added, and what is above rest
    decays, dx/dt = (rest − x)/decay."""

    variable: str
    """Its name in NEURON, in whose unit it is."""
    rest: float
    unit: float
    """What it is about: the core is told the root of x/unit."""
    decay: float
    """ms; the shortest where it depends on the voltage."""
    influx: float
    """What flows in during a step per unit of the decoder's answer, in ``unit``."""
    start: float
    """Where it is in a cell at rest, as NEURON's runs begin: a slow one is not yet where it would stay."""

    def numbers(self, samples: int) -> tuple[float, float, float]:
        """What compiled code knows of it: rest in units, what a step of so many samples leaves of all above, and
        influx."""
        return self.rest / self.unit, math.exp(-samples * DT / self.decay), self.influx


def slow_numbers(slow: Sequence[Slow], samples: int) -> Float32:
    """`Slow.numbers` of each, [variables, 3]."""
    return np.array([each.numbers(samples) for each in slow], np.float32).reshape(-1, 3)


def slow_start(slow: Sequence[Slow]) -> Float32:
    """Where each is in a cell at rest, in its unit [variables]."""
    return np.array([each.start / each.unit for each in slow], np.float32)


def input_count(samples: int, zones: int, nmda: bool, slow: int = 0) -> int:
    """Inputs of the encoder without the code: three per sample, three (with NMDA four) per dendritic zone, one for the
    half of the magnesium block, one for each slow variable."""
    return 3 * samples + zones * (4 if nmda else 3) + int(nmda) + slow


class Shape(NamedTuple):
    """Sizes of a streaming core (`noble_net.surrogate.streaming_torch.StreamingNet`)."""

    hidden: int
    inputs: int
    """Of the encoder, without the code."""
    code: int
    """Numbers in a cell's code."""
    code_units: int
    """Numbers in the code's embedding, which encoder and decoder are told; 0: the encoder is told the code itself."""
    decoder: int
    """Units of the decoder."""
    code_hidden: int
    """Units between the code and its embedding."""
    direct: bool
    """Whether the step's input, but for slow variables, has a way of its own to the voltages."""
    dendritic_nmda: bool
    slow: tuple[Slow, ...]
    products: int
    """Multiply-adds of one step of a cell."""

    @staticmethod
    def of(checkpoint: Checkpoint, dendrites: int) -> Shape:
        """The shape of a core with so many dendritic zones. Raises CheckpointError unless every weight is there in
        its shape."""
        about, weights = checkpoint.about, checkpoint.weights
        n, code = int(about["step_samples"]), len(about["code"])
        h = max((len(each) for name, each in weights.items() if name == "encode_in.bias"), default=0)
        if h == 0 or h % 8:
            raise checkpoint.damaged(f"encode_in.bias has {h} numbers, where a multiple of 8 is wanted")
        nmda = bool(dendrites) and bool(about.get("nmda"))
        slow = _slow(checkpoint)
        inputs = input_count(n, dendrites, nmda, len(slow))
        answers = n + len(slow)
        units, between = (len(weights.get(name, ())) for name in ("code_out.bias", "code_in.bias"))
        decoder = len(weights.get("decode_in.bias", range(h)))
        shapes: dict[str, tuple[int, ...]] = {
            "encode_in.weight": (h, inputs + (units or code)),
            "encode_in.bias": (h,),
            "gru.weight_ih_l0": (3 * h, h),
            "gru.bias_ih_l0": (3 * h,),
            "gru.weight_hh_l0": (3 * h, h),
            "gru.bias_hh_l0": (3 * h,),
            "decode_in.weight": (decoder, 2 * h + units),
            "decode_in.bias": (decoder,),
            "decode_out.weight": (answers, decoder),
            "decode_out.bias": (answers,),
        }
        if dendrites:
            shapes["coupling"] = (dendrites,)
        if about.get("encoder_layers", 2) == 2:
            shapes |= {"encode_out.weight": (h, h), "encode_out.bias": (h,)}
        if units:
            shapes |= {"code_in.weight": (between, code), "code_in.bias": (between,)}
            shapes |= {"code_out.weight": (units, between), "code_out.bias": (units,)}
        if direct := bool(about.get("direct")):
            shapes["direct.weight"] = n, inputs - len(slow)
        for name, shape in shapes.items():
            if name not in weights:
                raise checkpoint.damaged(f"there is no weight {name}")
            if weights[name].shape != shape:
                raise checkpoint.damaged(f"weight {name} has the shape {weights[name].shape}, not {shape}")
        if units % 2:
            raise checkpoint.damaged(f"code_out.bias has {units} numbers, where an even number is wanted")
        odd = sorted(set(weights) - set(shapes))
        if odd:
            raise checkpoint.damaged(f"core.json knows no weight {odd[0]}")
        at_every_step = (size for name, size in _sizes(shapes) if not name.startswith("code_"))
        return Shape(
            h, inputs, code, units, decoder, between, direct, nmda, slow, products=sum(at_every_step)
        )


def _slow(checkpoint: Checkpoint) -> tuple[Slow, ...]:
    """The slow variables that core.json tells of. Raises CheckpointError where those cannot be."""
    told = checkpoint.about.get("slow", [])
    try:
        found = tuple(
            Slow(str(each["variable"]), *(float(each[name]) for name in Slow._fields[1:])) for each in told
        )
    except (KeyError, TypeError, ValueError):
        found = (Slow("", *[math.nan] * 5),)
    for each in found:
        above = each.unit, each.decay, each.influx
        if not (
            all(math.isfinite(number) and number >= 0.0 for number in each[1:])
            and all(n > 0.0 for n in above)
        ):
            raise checkpoint.damaged(
                "slow must list variables, each with a rest, a start, and a unit, a decay and an influx above 0"
            )
    return found


def _sizes(shapes: dict[str, tuple[int, ...]]) -> Iterator[tuple[str, int]]:
    """Names and sizes of the matrices."""
    return ((name, shape[0] * shape[1]) for name, shape in shapes.items() if len(shape) == 2)
