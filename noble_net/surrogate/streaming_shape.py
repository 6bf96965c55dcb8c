"""The shape of a streaming core, read off its weights and checked: compiled code reads beyond the end of arrays that
are too small."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from noble_net.surrogate.checkpoint import Checkpoint


def input_count(samples: int, zones: int, nmda: bool) -> int:
    """Inputs of the encoder without the code: three per sample, three (with NMDA four) per dendritic zone, one for the
    half of the magnesium block."""
    return 3 * samples + zones * (4 if nmda else 3) + (1 if nmda else 0)


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
        inputs = input_count(n, dendrites, nmda)
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
            "decode_out.weight": (n, decoder),
            "decode_out.bias": (n,),
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
        return Shape(h, inputs, code, units, decoder, nmda, sum(at_every_step))


def _sizes(shapes: dict[str, tuple[int, ...]]) -> Iterator[tuple[str, int]]:
    """Names and sizes of the matrices."""
    return ((name, shape[0] * shape[1]) for name, shape in shapes.items() if len(shape) == 2)
