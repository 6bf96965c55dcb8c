"""Which device a run takes, found out without importing PyTorch unless it is asked for."""

from __future__ import annotations

import os
from enum import StrEnum
from importlib.util import find_spec
from typing import NamedTuple

from noble_net.errors import BackendError, MissingExtraError


class Device(StrEnum):
    """Where a network's loop runs: compiled on CPUs, or in PyTorch on a GPU, or there if there is one."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Chosen(NamedTuple):
    """The device of a run. ``torch`` is PyTorch's name of it, None for the compiled loop on CPUs; ``card`` the GPU's
    name."""

    device: Device
    torch: str | None = None
    card: str | None = None


def choose(device: Device | str) -> Chosen:
    """The device asked for, there and ready. ``auto`` takes the GPU where PyTorch is installed and finds one.

    ValueError for an unknown name, MissingExtraError where PyTorch is missing, BackendError where it finds no GPU.
    """
    wanted = Device(device)
    if wanted is Device.cpu or (wanted is Device.auto and find_spec("torch") is None):
        return Chosen(Device.cpu)
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("--device cuda (PyTorch)", "device") from error
    if torch.cuda.is_available():
        return Chosen(Device.cuda, "cuda", torch.cuda.get_device_name())
    if wanted is Device.auto:
        return Chosen(Device.cpu)
    built = (
        "was built without CUDA" if torch.version.cuda is None else f"CUDA {torch.version.cuda}, finds no GPU"
    )
    hidden = ", and CUDA_VISIBLE_DEVICES hides some" if os.environ.get("CUDA_VISIBLE_DEVICES") else ""
    raise BackendError(f"--device cuda: PyTorch {torch.__version__} {built}{hidden}; take --device cpu")
