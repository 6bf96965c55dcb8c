"""The shape of a streaming core, read off its weights and checked: compiled code reads beyond the end of arrays that
are too small."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from noble_net.surrogate.checkpoint import Checkpoint
from noble_net.types import DT


class Calcium(NamedTuple):
    """Concentration of calcium in the soma, of which a core keeps account beside the voltage: what the decoder lets in
    at a step is added, and what is above rest decays, dc/dt = (rest − c)/decay."""

    rest: float
    """mM."""
    unit: float
    """mM; where the currents that follow it are half open."""
    decay: float
    """ms."""

    def numbers(self, samples: int) -> tuple[float, float]:
        """What compiled code knows of it: rest in units, and what a step of so many samples leaves of all above."""
        return self.rest / self.unit, math.exp(-samples * DT / self.decay)


def input_count(samples: int, zones: int, nmda: bool, calcium: bool = False) -> int:
    """Inputs of the encoder without the code: three per sample, three (with NMDA four) per dendritic zone, one for the
    half of the magnesium block, one for calcium."""
    return 3 * samples + zones * (4 if nmda else 3) + int(nmda) + int(calcium)


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
    dendritic_nmda: bool
    calcium: Calcium | None
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
        calcium = _calcium(checkpoint)
        inputs = input_count(n, dendrites, nmda, calcium is not None)
        answers = n + int(calcium is not None)
        units = len(weights.get("code_in.bias", ()))
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
            shapes |= {"code_in.weight": (units, code), "code_in.bias": (units,)}
            shapes |= {"code_out.weight": (units, units), "code_out.bias": (units,)}
        for name, shape in shapes.items():
            if name not in weights:
                raise checkpoint.damaged(f"there is no weight {name}")
            if weights[name].shape != shape:
                raise checkpoint.damaged(f"weight {name} has the shape {weights[name].shape}, not {shape}")
        if units % 2:
            raise checkpoint.damaged(f"code_in.bias has {units} numbers, where an even number is wanted")
        odd = sorted(set(weights) - set(shapes))
        if odd:
            raise checkpoint.damaged(f"core.json knows no weight {odd[0]}")
        at_every_step = (size for name, size in _sizes(shapes) if not name.startswith("code_"))
        return Shape(h, inputs, code, units, decoder, nmda, calcium, sum(at_every_step))


def _calcium(checkpoint: Checkpoint) -> Calcium | None:
    """The calcium that core.json tells of, if it does. Raises CheckpointError where that cannot be."""
    told = checkpoint.about.get("calcium")
    if told is None:
        return None
    try:
        found = Calcium(**{name: float(number) for name, number in told.items()})
    except (AttributeError, TypeError, ValueError):
        found = Calcium(math.nan, math.nan, math.nan)
    if not all(math.isfinite(number) and number > 0.0 for number in found):
        raise checkpoint.damaged("calcium must be a rest, a unit and a decay, each above 0")
    return found


def _sizes(shapes: dict[str, tuple[int, ...]]) -> Iterator[tuple[str, int]]:
    """Names and sizes of the matrices."""
    return ((name, shape[0] * shape[1]) for name, shape in shapes.items() if len(shape) == 2)
