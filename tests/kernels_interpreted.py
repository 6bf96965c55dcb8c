"""The device loop's Triton kernels, run by Triton's interpreter, beside PyTorch operation by operation.

`test_fused` runs this file in a process of its own, with TRITON_INTERPRET=1: Triton reads it when it is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from noble_net import load_family, network_from
from noble_net.config import NetworkSpec
from noble_net.network.build import build_network
from noble_net.network.stimuli import make_stimulus
from noble_net.registry import checkpoint_folder
from noble_net.surrogate.checkpoint import Checkpoint, load_checkpoint
from noble_net.surrogate.integrate_and_fire import IntegrateAndFire
from noble_net.surrogate.streaming import StreamingCore
from noble_net.surrogate.streaming_shape import Slow

torch = pytest.importorskip("torch")
pytest.importorskip("triton")
pytestmark = [
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings(
        "ignore:Conversion of an array:DeprecationWarning"
    ),  # Triton's interpreter does
]

from test_streaming import SLOW  # noqa: E402

from noble_net.device import (  # noqa: E402 - needs torch
    delivery,
    detection,
    integrate_and_fire,
    stimuli,
    streaming,
    synapses,
)
from noble_net.device.cores import DeviceDrive, NmdaInput  # noqa: E402
from noble_net.device.delivery import Route  # noqa: E402
from noble_net.device.integrate_and_fire import DeviceIntegrateAndFire  # noqa: E402
from noble_net.device.streaming import DeviceStreaming  # noqa: E402
from noble_net.device.synapses import DeviceBank  # noqa: E402
from noble_net.network.connect import ProjectionArrays  # noqa: E402
from noble_net.types import DT  # noqa: E402

CPU = torch.device("cpu")
FAMILY = "allen-pv-peri"
CORE = IntegrateAndFire()


def network_of(**changes: Any) -> NetworkSpec:
    """The file of 300 cells."""
    data = {"name": "cells", "duration": "20 ms", "core": "integrate-and-fire"}
    return network_from({**data, "populations": {"cells": {"size": 300}}, **changes})


def both(work: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, *modules: Any) -> tuple[Any, Any]:
    """What ``work`` gives with kernels and without."""
    fused = work()
    for module in modules:
        monkeypatch.setattr(module, "fused", lambda _: False)
    return fused, work()


def test_spikes_are_detected_by_the_same_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    course = np.cumsum(random.normal(0.0, 8.0, (60, 300)), axis=0) - 45.0 + random.normal(0.0, 15.0, 300)
    voltage = torch.tensor(np.clip(course, -90.0, 20.0).astype(np.float32))
    detector = torch.tensor(random.choice([-np.inf, np.inf, 0.3, 2.5], 300).astype(np.float32))
    ours, theirs = both(
        lambda: detection.detect(voltage[1:].clone(), voltage[0], detector), monkeypatch, detection
    )
    assert theirs[0].sum() > 100 and torch.equal(ours[0], theirs[0]) and torch.equal(ours[2], theirs[2])
    assert torch.equal(ours[1][ours[0]], theirs[1][theirs[0]])


SYNAPSES: list[dict[str, Any]] = [
    {"model": "exp", "decay": "3 ms"},
    {"model": "exp2", "rise": "0.5 ms", "decay": "4 ms", "reversal": "0 mV"},
    {"model": "alpha", "decay": "5 ms", "reversal": "-75 mV"},
]


@pytest.mark.parametrize("data", SYNAPSES, ids=[each["model"] for each in SYNAPSES])
def test_synapses_have_the_same_course(data: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    conducts = "reversal" in data

    def run() -> list[Any]:
        memory = None if conducts else np.linspace(5.0, 20.0, 300)
        bank = DeviceBank(network_of(synapses={"s": data}).synapses["s"], 300, 12, 10, memory, CPU)
        random = torch.Generator().manual_seed(1)
        bank.ring[:] = torch.randint(0, 2**33, bank.ring.shape, generator=random)
        told = []
        for start in (7, 12, 22):  # around the ring's end
            inward, opened = torch.zeros((2, 10 if start > 7 else 5, 300))
            bank.drive_block(start, opened if conducts else None, inward)
            told += [inward, opened]
        return [*told, bank.ring, bank.decaying, bank.rising]

    for ours, theirs in zip(*both(run, monkeypatch, synapses), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("opened", [False, True])
def test_noise_is_the_same(opened: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = "nS" if opened else "nA"
    noise = {"mean": f"0.2 {unit}", "sigma": f"0.3 {unit}", "tau": "5 ms", "delay": "2 ms"}
    noise |= {"reversal": "0 mV"} if opened else {}
    spec = network_of(stimuli=[{"to": "cells", "ornstein_uhlenbeck": noise}])

    def run() -> Any:
        source = stimuli.device_source(make_stimulus(spec.stimuli[0], spec), CPU)
        current, conductance, inward = torch.zeros((3, 200, 300))
        for start in range(0, 200, 50):
            part = slice(start, start + 50)
            source.inject(start, current[part], conductance[part], inward[part])
        return torch.stack([current, conductance, inward])

    ours, theirs = both(run, monkeypatch, stimuli)
    assert theirs.abs().max() > 0.5
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shares", [False, True])
def test_what_arrives_is_the_same(shares: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    counts = random.integers(0, 30, 40)
    counts[3] = 1500  # more than are sent at once
    indptr = np.concatenate([[0], counts.cumsum()]).astype(np.int64)
    size = int(indptr[-1])
    target, delay = (
        random.integers(0, 50, size).astype(np.int32),
        random.integers(1, 60, size).astype(np.uint16),
    )
    projection = ProjectionArrays(
        "all", "a", "b", "s", indptr, target, random.normal(0.0, 2.0, size).astype(np.float32), delay
    )
    data: dict[str, Any] = {"model": "exp", "decay": "3 ms"}
    if shares:
        data["plasticity"] = {"tsodyks_markram": {"U": 0.5, "tau_rec": "80 ms", "tau_facil": "20 ms"}}

    def run() -> Any:
        bank = DeviceBank(network_of(synapses={"s": data}).synapses["s"], 50, 60, 10, None, CPU)
        route = Route(projection, bank)
        fired = torch.from_numpy(np.random.default_rng(3).random((10, 40)) < 0.2)
        fired[0, 3] = True
        route.send(55, fired, *fired.nonzero(as_tuple=True))
        return bank.ring

    ours, theirs = both(run, monkeypatch, delivery)
    assert theirs.count_nonzero() > 1000 and torch.equal(ours, theirs)


@pytest.mark.parametrize("on_grid", [False, True])
@pytest.mark.parametrize("opened", [False, True])
def test_integrate_and_fire_cells_do_the_same(
    opened: bool, on_grid: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (population,) = build_network(network_of(core=CORE.name), {}, {CORE.name: CORE.info}).populations
    random = torch.Generator().manual_seed(4)
    current = 1.5 + 0.5 * torch.randn((1, 60, 300), generator=random).double()
    current[0, 3, 5] = -100.0  # out of the envelope
    current[0, :, 9] = torch.nan  # which is not to be hidden
    reversal = 400.0 * torch.randn((1, 60, 300), generator=random).double()
    conductance = nmda = None
    if opened:
        conductance = 20.0 * torch.rand((1, 60, 300), generator=random).double() - 1.0
        blocked = torch.rand((2, 1, 60, 300), generator=random).double()
        nmda = NmdaInput(5.0 * blocked[0], 20.0 * blocked[1], torch.full((300,), -20.0))

    def run() -> list[Any]:
        core = DeviceIntegrateAndFire(IntegrateAndFire(on_grid=on_grid), "cpu")
        state, told = core.begin(population.cells), []
        for part in (slice(0, 25), slice(25, 60)):
            nmda_part = nmda and NmdaInput(nmda[0][:, part], nmda[1][:, part], nmda.half)
            opened_part = None if conductance is None else conductance[:, part]
            drive = DeviceDrive(current[:, part], opened_part, reversal[:, part], nmda_part)
            answer = core.advance(state, drive)
            told += [answer.voltage, answer.fired, answer.outside, torch.where(answer.fired, answer.lag, 0.0)]
        return [*told, *state.values()]

    ours, theirs = both(run, monkeypatch, integrate_and_fire)
    assert theirs[1].sum() > 50 and theirs[2].sum() > 0
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-5, equal_nan=True)
    assert ours[0][:, 9].isnan().all()


def trained_core(slow: tuple[Slow, ...], direct: bool) -> StreamingCore:
    """`pv-stream` with these slow variables, of which it knows nothing, in the place of its own, and with its direct
    way of the input to the answer, or without."""
    checkpoint = load_checkpoint(checkpoint_folder("pv-stream"))
    about = {**checkpoint.about, "slow": [each._asdict() for each in slow], "direct": direct}
    weights = dict(checkpoint.weights)
    n = about["step_samples"]
    known = [*range(3 * n, 3 * n + len(checkpoint.about.get("slow", [])))]
    random = np.random.default_rng(0)
    h, d = len(weights["encode_in.weight"]), weights["decode_out.weight"].shape[1]
    more = 0.03 * random.standard_normal((h, len(slow))), 0.3 * random.standard_normal((len(slow), d + 1))
    encode = np.delete(weights["encode_in.weight"], known, axis=1)
    weights["encode_in.weight"] = np.hstack([encode[:, : 3 * n], more[0], encode[:, 3 * n :]]).astype(
        np.float32
    )
    answered = np.column_stack([weights["decode_out.weight"], weights["decode_out.bias"]])[:n]
    answered = np.vstack([answered, more[1]]).astype(np.float32)
    weights |= {"decode_out.weight": answered[:, :-1].copy(), "decode_out.bias": answered[:, -1].copy()}
    if not direct:
        del weights["direct.weight"]
    return StreamingCore(Checkpoint(about, weights, ""))


@pytest.mark.parametrize(
    ("opened", "slow", "direct"),
    [(False, (), False), (True, (), False), (True, SLOW, False), (False, (), True), (True, SLOW, True)],
)
def test_the_trained_core_answers_the_same(
    opened: bool, slow: tuple[Slow, ...], direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From rest, which is found under input of no length; 130 cells are a tile and two cells of another."""
    monkeypatch.setattr("noble_net.surrogate.streaming.SETTLE", 50 * DT)
    monkeypatch.setattr("noble_net.surrogate.streaming.HELD", 20 * DT)
    family = load_family(FAMILY)
    cells = family.cells(family.ids()[:130])
    random = torch.Generator().manual_seed(0)
    current = 0.6 + 0.4 * torch.randn((1, 40, 130), generator=random)
    current[0, 5, 7] = 4.0  # out of the envelope
    current[0, 20, 9] = torch.nan  # which is not to be hidden
    reversal = 100.0 * torch.randn((1, 40, 130), generator=random)
    conductance = 20.0 * torch.rand((1, 40, 130), generator=random) - 1.0 if opened else None

    def run() -> list[Any]:
        core = DeviceStreaming(trained_core(slow, direct), "cpu")
        state = core.begin(cells)
        answer = core.advance(state, DeviceDrive(current, conductance, reversal))
        assert (core._packed is not None) == streaming.fused(CPU), "the kernel does not hold it"
        return [answer.voltage, answer.outside, *state.values()]

    ours, theirs = both(run, monkeypatch, streaming)
    assert theirs[1].sum() > 0
    assert (
        not direct or theirs[0].nan_to_num(-90.0).max() > -20.0
    )  # what it learned with the way needs the way
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0.01, equal_nan=True)
    assert ours[0][20:, 9].isnan().all()
